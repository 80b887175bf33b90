//! Who may sign for a party at one position of its log: roots, officers, suspensions, revocations. Position
//! decides, not a clock (threats K2, K3).

use std::sync::Arc;

use crate::{
    charter::Charter,
    document::{DocumentType, SignedDocument},
    hash::{ChannelId, DocumentId, EntryHash},
    identity::{
        Verified,
        card::Card,
        keys::PublicKey,
        member::MemberId,
        officer::{Duty, Officer},
        revocation::{Revocation, Revoked},
        roots::{RootList, Roots},
        roster::Refusal as RosterRefusal,
        suspension::Suspension,
    },
    labels::Namespace,
    limits,
    transcript::{effect::Void, facts::DispatchFacts, layers::Layers},
};

/// What holds after some entry of a party's log.
#[derive(Clone, Debug)]
pub struct Authority {
    party: MemberId,
    channel: ChannelId,
    roots: RootList,
    roots_set_by: DocumentId,
    /// How often the roots were replaced: bounded here as in the roster, so that both stay with the same list.
    roots_replaced: usize,
    officers: Layers<PublicKey, Arc<Verified<Officer>>>,
    suspended: Layers<PublicKey, EntryHash>,
    revoked: Layers<PublicKey, EntryHash>,
    /// Documents that have taken effect so far, and where: each does so once.
    taken: Layers<DocumentId, EntryHash>,
}

fn credential(why: impl ToString) -> Void {
    Void::Credential(why.to_string())
}

impl Authority {
    /// What the charter founds for `party`; nothing for a party it does not name.
    pub fn founding(charter: &Verified<Charter>, party: &MemberId) -> Option<Self> {
        Some(Self {
            party: party.clone(),
            channel: ChannelId::from(charter.id()),
            roots: charter.party(party)?.roots.clone(),
            roots_set_by: charter.id(),
            roots_replaced: 0,
            officers: Layers::default(),
            suspended: Layers::default(),
            revoked: Layers::default(),
            taken: Layers::default(),
        })
    }

    /// The officers' documents in force, revoked keys left out, suspended ones included.
    pub fn officers(&self) -> impl Iterator<Item = &Verified<Officer>> {
        let officers = self.officers.iter().map(|(_, officer)| &**officer);
        officers.filter(|officer| !self.revoked.contains(&officer.key))
    }

    /// The document in force for an officer's key, revoked or not.
    pub fn officer(&self, key: &PublicKey) -> Option<&Verified<Officer>> {
        self.officers.get(key).map(|officer| &**officer)
    }

    /// Whether the key is suspended.
    pub fn is_suspended(&self, key: &PublicKey) -> bool {
        self.suspended.contains(key)
    }

    /// The entry that revoked the key, if one did.
    pub fn revoked_by(&self, key: &PublicKey) -> Option<EntryHash> {
        self.revoked.get(key).copied()
    }

    /// Every revoked officer's key with the entry that revoked it.
    pub fn revocations(&self) -> impl Iterator<Item = (&PublicKey, &EntryHash)> {
        self.revoked.iter()
    }

    /// The roots in force.
    pub const fn roots(&self) -> &RootList {
        &self.roots
    }

    /// What holds after a document that changes who may sign, entered as `entry`.
    pub fn after(
        &self,
        kind: DocumentType,
        document: &SignedDocument,
        entry: EntryHash,
    ) -> Result<Self, Void> {
        if let Some(first) = self.taken.get(&document.id()) {
            return Err(Void::AlreadyInEffect(*first));
        }
        let mut next = self.clone();
        match kind {
            DocumentType::Card => {
                Card::verify(document, &self.party, &self.roots).map_err(credential)?;
            }
            DocumentType::Roots => {
                let roots = Roots::verify(document, &self.roots).map_err(credential)?;
                if roots.member != self.party {
                    return Err(Void::WrongParty);
                }
                if roots.replaces != self.roots_set_by {
                    return Err(credential("this list of roots replaces one that is not in force"));
                }
                if self.roots_replaced >= limits::ROOTS_REPLACED {
                    return Err(credential(RosterRefusal::TooManyLists(roots.member.clone())));
                }
                next.roots_replaced += 1;
                next.roots = roots.list.clone();
                next.roots_set_by = roots.id();
            }
            DocumentType::Officer => next.take_officer(document)?,
            DocumentType::Suspension => next.take_suspension(document, entry)?,
            DocumentType::Revocation => {
                let revocation =
                    Revocation::verify(document, &self.party, &self.roots).map_err(credential)?;
                if !revocation.holds_for(self.channel) {
                    return Err(Void::WrongChannel);
                }
                if let Revoked::Officer(key) = revocation.revoked
                    && !next.revoked.contains(&key)
                {
                    next.revoked.insert(key, entry);
                }
            }
            DocumentType::Charter => return Err(Void::OutOfPlace("charter")),
            DocumentType::Dispatch => return Err(Void::OutOfPlace("dispatch")),
        }
        next.taken.insert(document.id(), entry);
        Ok(next)
    }

    fn take_officer(&mut self, document: &SignedDocument) -> Result<(), Void> {
        let officer = Officer::verify(document, &self.party, &self.roots).map_err(credential)?;
        if !officer.holds_for(self.channel) {
            return Err(Void::WrongChannel);
        }
        if self.revoked.contains(&officer.key) {
            return Err(Void::RevokedOfficer(officer.key));
        }
        // The roots' new document is their decision on a suspension.
        self.suspended.remove(&officer.key);
        self.officers.insert(officer.key, Arc::new(officer));
        Ok(())
    }

    fn take_suspension(&mut self, document: &SignedDocument, entry: EntryHash) -> Result<(), Void> {
        let suspension =
            Suspension::parse(document.text()).map_err(|why| Void::NotADocument(why.to_string()))?;
        if suspension.party != self.party {
            return Err(Void::WrongParty);
        }
        let administrators = document.verified_keys(Namespace::Suspension);
        if !administrators.iter().any(|key| self.may(key, Duty::Administer).is_ok()) {
            return Err(credential("it is not signed by an officer with the duty to administer"));
        }
        self.suspended.insert(suspension.key, entry);
        Ok(())
    }

    /// The officer of this key, if it may act at all.
    fn acting(&self, key: &PublicKey) -> Result<&Verified<Officer>, Void> {
        if self.revoked.contains(key) {
            return Err(Void::RevokedOfficer(*key));
        }
        let officer = self.officers.get(key).ok_or(Void::UnknownOfficer(*key))?;
        if self.suspended.contains(key) {
            return Err(Void::SuspendedOfficer(officer.name.clone()));
        }
        Ok(officer)
    }

    fn may(&self, key: &PublicKey, duty: Duty) -> Result<&Verified<Officer>, Void> {
        let officer = self.acting(key)?;
        if officer.duties.contains(&duty) {
            Ok(officer)
        } else {
            Err(Void::MissingDuty { officer: officer.name.clone(), duty })
        }
    }

    /// Whether a dispatch has effect here: the right channel and party, good signatures, officers with their
    /// duties, enough of them, a provision that exists.
    pub fn judge(&self, dispatch: &DispatchFacts, charter: &Charter) -> Result<(), Void> {
        if dispatch.channel != self.channel {
            return Err(Void::WrongChannel);
        }
        if dispatch.party != self.party {
            return Err(Void::WrongParty);
        }
        if let Some(key) = dispatch.bad_signer {
            return Err(Void::BadSignature(key));
        }
        if let Some(code) = &dispatch.provision
            && charter.provision(code).is_none()
        {
            return Err(Void::UnknownProvision(code.clone()));
        }
        self.judge_signers(dispatch, charter)
    }

    fn judge_signers(&self, dispatch: &DispatchFacts, charter: &Charter) -> Result<(), Void> {
        let duty = dispatch.kind.duty();
        let mut names = Vec::new();
        let mut released = Err(Void::TooFewSignatures { have: 0, needed: 1 });
        for key in &dispatch.signers {
            let officer = self.acting(key)?;
            // One person with two keys is one.
            if !names.contains(&&officer.name) {
                names.push(&officer.name);
            }
            match self.may(key, duty) {
                Ok(_) => released = Ok(()),
                // A second pair of eyes needs the duty to draft at least.
                Err(why) if !officer.duties.contains(&Duty::Draft) => return Err(why),
                Err(why) => released = released.or(Err(why)),
            }
        }
        released?;
        let needed = if dispatch.provision.is_some() {
            usize::try_from(charter.policy.of(dispatch.precedence).signatures).unwrap_or(usize::MAX)
        } else {
            1
        };
        if names.len() < needed {
            return Err(Void::TooFewSignatures { have: names.len(), needed });
        }
        Ok(())
    }
}
