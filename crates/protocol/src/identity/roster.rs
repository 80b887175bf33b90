//! The roster (docs/protocol.md §5): the current cards, roots and card revocations of a channel. Documents may come
//! from anybody, in any order; once all have been offered, what they say together does not depend on the order, so
//! an outdated roster never reopens a door (threat M16b).
//!
//! One rule says whose signatures count when roots have been replaced: what opens a door needs the list
//! in force, what closes one may bear any list that ever was. So a card speaks only if the roots in force
//! have signed it, while a higher serial or a revocation signed under an earlier list still shuts out what it did.
//!
//! What is kept of one member is bounded whatever its roots sign: the lists of roots, two cards, one revocation.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::{
    Verified,
    card::{Card, CardSerial, CredentialError},
    keys::{KeySignature, PublicKey},
    member::MemberId,
    revocation::{Revocation, Revoked},
    roots::{RootList, Roots},
};
use crate::{
    charter::Charter,
    document::{DocumentType, SignedDocument},
    hash::{ChannelId, DocumentId},
    labels::{self, Namespace},
    limits,
};

/// What is known of every member of a channel.
#[derive(Clone, Debug)]
pub struct Roster {
    channel: ChannelId,
    members: BTreeMap<MemberId, Member>,
}

#[derive(Clone, Debug)]
struct Member {
    /// Every list of roots there was, the one in force first, with the document (charter or `roots`) that set it.
    lists: Vec<(RootList, DocumentId)>,
    roots_documents: Vec<SignedDocument>,
    /// Cards of the highest serial seen, in the order of their names: two of them contradict each other, and neither counts.
    cards: Vec<Verified<Card>>,
    /// The revocation of the highest serial: it shuts out that card and every older one, so no other is needed.
    revoked: Option<(CardSerial, Verified<Revocation>)>,
}

impl Member {
    /// The list in force. There always is one: the charter's, at the end of the row.
    fn in_force(&self) -> Option<&RootList> {
        self.lists.first().map(|(list, _)| list)
    }

    /// Tries `check` with the list in force, then with those before it. What is returned if none will do
    /// is what the list in force had to say.
    fn with_any_list<T>(
        &self,
        check: impl Fn(&RootList) -> Result<T, CredentialError>,
    ) -> Result<T, Refusal> {
        let mut answers = self.lists.iter().map(|(list, _)| check(list));
        let first = answers.next().ok_or(Refusal::NotDocument)?;
        first.or_else(|why| answers.find_map(Result::ok).ok_or(why)).map_err(Refusal::Credential)
    }

    /// The document with those signatures alone that say something: the good ones, each signer's once, of the newest
    /// list that vouches for it, of the list in force, and of the card's own node. Anybody could add others, and they
    /// would be carried from node to node.
    fn stripped(&self, document: &SignedDocument, node: Option<&PublicKey>) -> SignedDocument {
        let Some(namespace) = document.document_type().map(DocumentType::namespace) else {
            return document.clone();
        };
        let text = document.text().as_bytes();
        let is_known = |key: &PublicKey| {
            Some(key) == node || self.lists.iter().any(|(list, _)| list.keys().contains(key))
        };
        let mut good: Vec<KeySignature> = document
            .signatures()
            .iter()
            .filter(|signature| is_known(&signature.key) && signature.verify(namespace, text).is_ok())
            .copied()
            .collect();
        // They are in the order of their keys.
        good.dedup_by_key(|signature| signature.key);
        let has_signed = |key: &&PublicKey| good.iter().any(|signature| signature.key == **key);
        let vouches = |list: &&RootList| list.keys().iter().filter(has_signed).count() >= list.needed();
        let vouching = self.lists.iter().map(|(list, _)| list).find(vouches);
        let counts: BTreeSet<PublicKey> = vouching
            .into_iter()
            .chain(self.in_force())
            .flat_map(RootList::keys)
            .chain(node)
            .copied()
            .collect();
        good.retain(|signature| counts.contains(&signature.key));
        SignedDocument::new(document.shared_text(), good)
    }

    /// Adds to a known card what new roots have signed since. True when there was something.
    fn more_signatures(&mut self, at: usize, document: &SignedDocument) -> bool {
        let Some(card) = self.cards.get(at) else { return false };
        let known = self.signers_in_force(card);
        let all = card.document().signatures().iter().chain(document.signatures()).copied().collect();
        let whole = self.stripped(&SignedDocument::new(document.shared_text(), all), Some(&card.node));
        let card = Verified::new(card.clone().into_inner(), whole);
        let is_news = self.signers_in_force(&card) != known;
        if is_news && let Some(slot) = self.cards.get_mut(at) {
            *slot = card;
        }
        is_news
    }

    /// The roots in force that have signed a card.
    fn signers_in_force(&self, card: &Verified<Card>) -> BTreeSet<PublicKey> {
        let signed = card.document().signatures().iter().map(|signature| signature.key);
        signed.filter(|key| self.in_force().is_some_and(|list| list.keys().contains(key))).collect()
    }

    /// Whether the list in force has signed a card that some list has.
    fn speaks(&self, card: &Verified<Card>) -> Result<(), CredentialError> {
        let Some(list) = self.in_force() else { return Ok(()) };
        list.check(&card.member, card.document(), Namespace::Card).map_err(CredentialError::Roots)
    }

    /// The revocation that shuts out cards of this serial.
    fn revocation(&self, serial: CardSerial) -> Option<&Verified<Revocation>> {
        self.revoked.as_ref().filter(|(up_to, _)| serial <= *up_to).map(|(_, revocation)| revocation)
    }

    /// What makes the roster what it is for this member, in an order in which [`Roster::offer`] takes it.
    fn documents(&self) -> impl Iterator<Item = &SignedDocument> {
        let cards = self.cards.iter().map(Verified::document);
        let revoked = self.revoked.iter().map(|(_, revocation)| revocation.document());
        self.roots_documents.iter().chain(cards).chain(revoked)
    }
}

/// Why a card does not admit its node.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// The document does not hold by itself.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Not a document of a roster.
    #[error("a {0} is not a document of the roster")]
    NotRoster(DocumentType),
    /// Not a document at all.
    #[error("not a document")]
    NotDocument,
    /// No party or mediator of the channel.
    #[error("{0} is neither party nor mediator of this channel")]
    Stranger(String),
    /// The roots have revoked it.
    #[error("card {serial} of {member} is revoked: {reason}")]
    Revoked {
        /// Whose card.
        member: MemberId,
        /// Which.
        serial: CardSerial,
        /// The roots' reason.
        reason: String,
    },
    /// A newer one is known.
    #[error("card {serial} of {member} is replaced by card {newest}")]
    Replaced {
        /// Whose card.
        member: MemberId,
        /// Which.
        serial: CardSerial,
        /// The newest known.
        newest: CardSerial,
    },
    /// Two different cards bear this serial.
    #[error("two cards of {member} bear the serial {serial}: neither counts until a higher one comes")]
    Contested {
        /// Whose cards.
        member: MemberId,
        /// Which serial.
        serial: CardSerial,
    },
    /// A `roots` document that does not continue from the list in force.
    #[error("this list of roots of {0} replaces one that is not in force")]
    RootsOutOfTurn(MemberId),
    /// More lists than [`limits::ROOTS_REPLACED`].
    #[error(
        "the roots of {0} were replaced {max} times: the next list takes an amended charter",
        max = limits::ROOTS_REPLACED
    )]
    TooManyLists(MemberId),
    /// A text longer than [`limits::ROSTER_TEXT`].
    #[error("a {kind} of {length} bytes, and a roster keeps none longer than {max}", max = limits::ROSTER_TEXT)]
    TooLong {
        /// What it is.
        kind: DocumentType,
        /// Its length, in bytes.
        length: usize,
    },
    /// More signatures than [`limits::ROSTER_SIGNATURES`]: none of them is looked at.
    #[error(
        "a {kind} with {signatures} signatures, and no more than {max} say anything",
        max = limits::ROSTER_SIGNATURES
    )]
    TooManySignatures {
        /// What it is.
        kind: DocumentType,
        /// How many it bears.
        signatures: usize,
    },
}

impl Roster {
    /// The roster as the charter founds it: roots, and no cards yet.
    pub fn new(charter: &Verified<Charter>) -> Self {
        let members = charter
            .members()
            .map(|member| {
                let state = Member {
                    lists: vec![(member.roots.clone(), charter.id())],
                    roots_documents: Vec::new(),
                    cards: Vec::new(),
                    revoked: None,
                };
                (member.id.clone(), state)
            })
            .collect();
        Self { channel: ChannelId::from(charter.id()), members }
    }

    /// What is known of the member alone that a document is about: enough to see what [`Roster::offer`] says of it,
    /// without a copy of all the others.
    #[must_use]
    pub fn about(&self, document: &SignedDocument) -> Self {
        let text = document.text();
        let member = match document.document_type() {
            Some(DocumentType::Card) => Card::parse(text).ok().map(|card| card.member),
            Some(DocumentType::Revocation) => {
                Revocation::parse(text).ok().map(|revocation| revocation.member)
            }
            Some(DocumentType::Roots) => Roots::parse(text).ok().map(|roots| roots.member),
            _ => None,
        };
        let known = member.and_then(|member| self.members.get_key_value(&member));
        let members = known.map(|(id, state)| (id.clone(), state.clone())).into_iter().collect();
        Self { channel: self.channel, members }
    }

    /// Takes a document in. True when it changed what is known.
    pub fn offer(&mut self, document: &SignedDocument) -> Result<bool, Refusal> {
        let kind = document.document_type().ok_or(Refusal::NotDocument)?;
        let length = document.text().len();
        let signatures = document.signatures().len();
        match kind {
            DocumentType::Card | DocumentType::Revocation | DocumentType::Roots
                if signatures > limits::ROSTER_SIGNATURES =>
            {
                Err(Refusal::TooManySignatures { kind, signatures })
            }
            DocumentType::Card | DocumentType::Revocation | DocumentType::Roots
                if length > limits::ROSTER_TEXT =>
            {
                Err(Refusal::TooLong { kind, length })
            }
            DocumentType::Card => self.offer_card(document),
            DocumentType::Revocation => self.offer_revocation(document),
            DocumentType::Roots => self.offer_roots(document),
            other => Err(Refusal::NotRoster(other)),
        }
    }

    /// Offers documents in whatever order they are at hand, again and again until none changes
    /// anything: one may need another that comes later (a list of roots, say). True when something changed.
    pub fn offer_all(&mut self, documents: &[SignedDocument]) -> bool {
        let mut changed = false;
        while documents.iter().filter(|document| self.offer(document) == Ok(true)).count() > 0 {
            changed = true;
        }
        changed
    }

    fn offer_card(&mut self, document: &SignedDocument) -> Result<bool, Refusal> {
        let claimed = Card::parse(document.text()).map_err(CredentialError::from)?;
        let member = self.member_mut(&claimed.member)?;
        let newest = member.cards.first().map(|card| card.serial);
        // Older than what is known: nothing new, and its signatures are not worth checking.
        if newest.is_some_and(|newest| claimed.serial < newest) {
            return Ok(false);
        }
        if let Some(at) = member.cards.iter().position(|card| card.id() == document.id()) {
            return Ok(member.more_signatures(at, document));
        }
        let card = member.with_any_list(|list| Card::verify(document, &claimed.member, list))?;
        let card = Verified::new(claimed, member.stripped(document, Some(&card.node)));
        if newest.is_some_and(|newest| card.serial > newest) {
            member.cards.clear();
        }
        // Two suffice to prove that the serial is contested. Everybody keeps the same two, those with the lowest names.
        let place = member.cards.partition_point(|known| known.id() < card.id());
        member.cards.insert(place, card);
        member.cards.truncate(2);
        Ok(place < 2)
    }

    fn offer_revocation(&mut self, document: &SignedDocument) -> Result<bool, Refusal> {
        let claimed = Revocation::parse(document.text()).map_err(CredentialError::from)?;
        let channel = self.channel;
        let member = self.member_mut(&claimed.member)?;
        let Revoked::Card { serial, .. } = claimed.revoked else {
            // Officers' revocations speak by their position in the party's own log.
            return Err(Refusal::NotRoster(DocumentType::Revocation));
        };
        // The one that shuts out most is kept; of several alike everybody keeps the same, that with the lowest name.
        let says_no_more = |(up_to, known): &(CardSerial, Verified<Revocation>)| {
            *up_to > serial || *up_to == serial && known.id() <= document.id()
        };
        if member.revoked.as_ref().is_some_and(says_no_more) || !claimed.holds_for(channel) {
            return Ok(false);
        }
        member.with_any_list(|list| Revocation::verify(document, &claimed.member, list))?;
        let revocation = Verified::new(claimed, member.stripped(document, None));
        member.revoked = Some((serial, revocation));
        Ok(true)
    }

    fn offer_roots(&mut self, document: &SignedDocument) -> Result<bool, Refusal> {
        let claimed = Roots::parse(document.text()).map_err(CredentialError::from)?;
        let member = self.member_mut(&claimed.member)?;
        if member.roots_documents.iter().any(|known| known.id() == document.id()) {
            return Ok(false);
        }
        match member.lists.first() {
            Some((_, set_by))
                if claimed.replaces == *set_by && member.lists.len() > limits::ROOTS_REPLACED =>
            {
                Err(Refusal::TooManyLists(claimed.member))
            }
            Some((list, set_by)) if claimed.replaces == *set_by => {
                let roots = Roots::verify(document, list)?;
                // Stripped by the list that it replaces, while that is the one in force.
                member.roots_documents.push(member.stripped(document, None));
                member.lists.insert(0, (roots.list.clone(), roots.id()));
                Ok(true)
            }
            // Also the second of two that replace one list: only a threshold of the old roots can make both, and
            // whoever took in one of them must not be turned by the other.
            _ => Err(Refusal::RootsOutOfTurn(claimed.member)),
        }
    }

    fn member_mut(&mut self, id: &MemberId) -> Result<&mut Member, Refusal> {
        self.members.get_mut(id).ok_or_else(|| Refusal::Stranger(id.to_string()))
    }

    /// The roots of a member that are in force.
    pub fn roots(&self, member: &MemberId) -> Option<&RootList> {
        self.members.get(member)?.in_force()
    }

    /// The channel whose roster this is.
    pub const fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The card that speaks for a member now: the highest serial, neither contested nor revoked, signed by the
    /// roots in force.
    pub fn current(&self, member: &MemberId) -> Option<&Verified<Card>> {
        let state = self.members.get(member)?;
        match state.cards.as_slice() {
            [card] if state.revocation(card.serial).is_none() && state.speaks(card).is_ok() => Some(card),
            _ => None,
        }
    }

    /// Every current card.
    pub fn cards(&self) -> impl Iterator<Item = &Verified<Card>> {
        self.members.keys().filter_map(|member| self.current(member))
    }

    /// The current card of the node with this key, if it has one here.
    pub fn admits(&self, node: &PublicKey) -> Option<&Verified<Card>> {
        self.cards().find(|card| card.node == *node)
    }

    /// The revocation that shuts out a member's cards of this serial: of that card, or of a later one.
    pub fn revocation(&self, member: &MemberId, serial: CardSerial) -> Option<&Verified<Revocation>> {
        self.members.get(member)?.revocation(serial)
    }

    /// A card for which its member's roots vouch, those in force or any before them: it may be revoked or replaced long since, and
    /// still names the node that signed what was written under it.
    pub fn vouches(&self, member: &MemberId, document: &SignedDocument) -> Option<Verified<Card>> {
        let state = self.members.get(member)?;
        state.with_any_list(|list| Card::verify(document, member, list)).ok()
    }

    /// Takes in a card that a node presents for itself, and says whether it is the one that speaks now.
    /// True beside the card when the roster changed.
    pub fn present(&mut self, document: &SignedDocument) -> Result<(Verified<Card>, bool), Refusal> {
        let claimed = Card::parse(document.text()).map_err(CredentialError::from)?;
        let changed = self.offer(document)?;
        let member = claimed.member.clone();
        let state = self.members.get(&member).ok_or_else(|| Refusal::Stranger(member.to_string()))?;
        let newest = state.cards.first().map_or(claimed.serial, |card| card.serial);
        if let Some(revocation) = state.revocation(claimed.serial)
            && (newest <= claimed.serial || revocation.names(document.id()))
        {
            let reason = revocation.reason.clone();
            return Err(Refusal::Revoked { member, serial: claimed.serial, reason });
        }
        if newest > claimed.serial {
            return Err(Refusal::Replaced { member, serial: claimed.serial, newest });
        }
        match state.cards.as_slice() {
            // The known copy, whose signatures were verified: those of the presented one may differ.
            [card] if card.id() == document.id() => {
                state.speaks(card)?;
                Ok((card.clone(), changed))
            }
            _ => Err(Refusal::Contested { member, serial: claimed.serial }),
        }
    }

    /// Every document that makes the roster what it is, in an order in which [`Roster::offer`] takes them. Members
    /// of whom there is least to say come first: where not all fits, one that signs much cuts off nobody but itself.
    pub fn documents(&self) -> Vec<SignedDocument> {
        let mut members: Vec<&Member> = self.members.values().collect();
        members.sort_by_cached_key(|member| -> usize {
            member.documents().map(|document| document.text().len()).sum()
        });
        members.into_iter().flat_map(Member::documents).cloned().collect()
    }

    /// One hash of what the documents say: two rosters with the same digest say the same. Of a card it counts which
    /// roots in force have signed, because new roots may sign an old card.
    pub fn digest(&self) -> [u8; 32] {
        let mut parts: BTreeMap<DocumentId, BTreeSet<PublicKey>> =
            self.documents().iter().map(|document| (document.id(), BTreeSet::new())).collect();
        for member in self.members.values() {
            parts.extend(member.cards.iter().map(|card| (card.id(), member.signers_in_force(card))));
        }
        let mut hasher = Sha256::new();
        hasher.update(labels::ROSTER_DIGEST);
        for (name, signers) in &parts {
            hasher.update(name.as_bytes());
            // A list has at most sixteen keys.
            hasher.update([u8::try_from(signers.len()).unwrap_or(u8::MAX)]);
            for signer in signers {
                hasher.update(signer.as_bytes());
            }
        }
        hasher.finalize().into()
    }
}
