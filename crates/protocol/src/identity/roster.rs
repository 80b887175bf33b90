//! The roster: the current cards, roots and card revocations of a channel. Documents may come from anybody, in any order;
//! what they say together does not depend on the order, so an outdated roster never reopens a door (threat M16b).

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{
    Verified,
    card::{Card, CardSerial, CredentialError},
    keys::PublicKey,
    member::MemberId,
    revocation::{Revocation, Revoked},
    roots::{RootList, Roots},
};
use crate::{
    charter::Charter,
    document::{DocumentType, SignedDocument},
    hash::{ChannelId, DocumentId},
    labels,
};

/// What is known of every member of a channel.
#[derive(Clone, Debug)]
pub struct Roster {
    channel: ChannelId,
    members: BTreeMap<MemberId, Member>,
}

#[derive(Clone, Debug)]
struct Member {
    /// The list in force, and the document (charter or `roots`) that set it.
    roots: RootList,
    set_by: DocumentId,
    roots_documents: Vec<SignedDocument>,
    /// Cards of the highest serial seen: two of them contradict each other, and neither counts.
    cards: Vec<Verified<Card>>,
    revoked: BTreeMap<DocumentId, Verified<Revocation>>,
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
}

impl Roster {
    /// The roster as the charter founds it: roots, and no cards yet.
    pub fn new(charter: &Verified<Charter>) -> Self {
        let members = charter
            .members()
            .map(|member| {
                let state = Member {
                    roots: member.roots.clone(),
                    set_by: charter.id(),
                    roots_documents: Vec::new(),
                    cards: Vec::new(),
                    revoked: BTreeMap::new(),
                };
                (member.id.clone(), state)
            })
            .collect();
        Self { channel: ChannelId::from(charter.id()), members }
    }

    /// Takes a document in. True when it changed what is known.
    pub fn offer(&mut self, document: &SignedDocument) -> Result<bool, Refusal> {
        match document.document_type().ok_or(Refusal::NotDocument)? {
            DocumentType::Card => self.offer_card(document),
            DocumentType::Revocation => self.offer_revocation(document),
            DocumentType::Roots => self.offer_roots(document),
            other => Err(Refusal::NotRoster(other)),
        }
    }

    fn offer_card(&mut self, document: &SignedDocument) -> Result<bool, Refusal> {
        let claimed = Card::parse(document.text()).map_err(CredentialError::from)?;
        let member = self.member_mut(&claimed.member)?;
        let newest = member.cards.first().map(|card| card.serial);
        // Older than what is known: nothing new, and its signatures are not worth checking.
        if newest.is_some_and(|newest| claimed.serial < newest)
            || member.cards.iter().any(|card| card.id() == document.id())
        {
            return Ok(false);
        }
        let card = Card::verify(document, &claimed.member, &member.roots)?;
        if newest.is_some_and(|newest| card.serial > newest) {
            member.cards.clear();
        }
        // Two suffice to prove that the serial is contested.
        if member.cards.len() >= 2 {
            return Ok(false);
        }
        member.cards.push(card);
        member.cards.sort_by_key(Verified::id);
        Ok(true)
    }

    fn offer_revocation(&mut self, document: &SignedDocument) -> Result<bool, Refusal> {
        let claimed = Revocation::parse(document.text()).map_err(CredentialError::from)?;
        let channel = self.channel;
        let member = self.member_mut(&claimed.member)?;
        let Revoked::Card(card) = claimed.revoked else {
            // Officers' revocations speak by their position in the party's own log.
            return Err(Refusal::NotRoster(DocumentType::Revocation));
        };
        if member.revoked.contains_key(&card) || !claimed.holds_for(channel) {
            return Ok(false);
        }
        let revocation = Revocation::verify(document, &claimed.member, &member.roots)?;
        member.revoked.insert(card, revocation);
        Ok(true)
    }

    fn offer_roots(&mut self, document: &SignedDocument) -> Result<bool, Refusal> {
        let claimed = Roots::parse(document.text()).map_err(CredentialError::from)?;
        let member = self.member_mut(&claimed.member)?;
        if member.roots_documents.iter().any(|known| known.id() == document.id()) {
            return Ok(false);
        }
        if claimed.replaces != member.set_by {
            return Err(Refusal::RootsOutOfTurn(claimed.member));
        }
        let roots = Roots::verify(document, &member.roots)?;
        member.roots = roots.list.clone();
        member.set_by = roots.id();
        member.roots_documents.push(document.clone());
        Ok(true)
    }

    fn member_mut(&mut self, id: &MemberId) -> Result<&mut Member, Refusal> {
        self.members.get_mut(id).ok_or_else(|| Refusal::Stranger(id.to_string()))
    }

    /// The roots of a member that are in force.
    pub fn roots(&self, member: &MemberId) -> Option<&RootList> {
        self.members.get(member).map(|member| &member.roots)
    }

    /// The channel whose roster this is.
    pub const fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The card that speaks for a member now: the highest serial, neither contested nor revoked.
    pub fn current(&self, member: &MemberId) -> Option<&Verified<Card>> {
        let state = self.members.get(member)?;
        match state.cards.as_slice() {
            [card] if !state.revoked.contains_key(&card.id()) => Some(card),
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

    /// Why a revoked card was revoked.
    pub fn revocation(&self, member: &MemberId, card: &DocumentId) -> Option<&Verified<Revocation>> {
        self.members.get(member)?.revoked.get(card)
    }

    /// Takes in a card that a node presents for itself, and says whether it is the one that speaks now.
    /// True beside the card when the roster changed.
    pub fn present(&mut self, document: &SignedDocument) -> Result<(Verified<Card>, bool), Refusal> {
        let claimed = Card::parse(document.text()).map_err(CredentialError::from)?;
        let changed = self.offer_card(document)?;
        let member = claimed.member.clone();
        let state = self.members.get(&member).ok_or_else(|| Refusal::Stranger(member.to_string()))?;
        if let Some(revocation) = state.revoked.get(&document.id()) {
            let reason = revocation.reason.clone();
            return Err(Refusal::Revoked { member, serial: claimed.serial, reason });
        }
        let newest = state.cards.first().map_or(claimed.serial, |card| card.serial);
        if newest > claimed.serial {
            return Err(Refusal::Replaced { member, serial: claimed.serial, newest });
        }
        match state.cards.as_slice() {
            // The known copy, whose signatures were verified: those of the presented one may differ.
            [card] if card.id() == document.id() => Ok((card.clone(), changed)),
            _ => Err(Refusal::Contested { member, serial: claimed.serial }),
        }
    }

    /// Every document that makes the roster what it is, in an order in which [`Roster::offer`] takes them.
    pub fn documents(&self) -> Vec<SignedDocument> {
        self.members
            .values()
            .flat_map(|member| {
                let roots = member.roots_documents.iter().cloned();
                let cards = member.cards.iter().map(|card| card.document().clone());
                let revoked = member.revoked.values().map(|revocation| revocation.document().clone());
                roots.chain(cards).chain(revoked)
            })
            .collect()
    }

    /// One hash of all the documents' names: two rosters with the same digest say the same.
    pub fn digest(&self) -> [u8; 32] {
        let mut names: Vec<DocumentId> = self.documents().iter().map(SignedDocument::id).collect();
        names.sort();
        let mut hasher = Sha256::new();
        hasher.update(labels::ROSTER_DIGEST);
        for name in &names {
            hasher.update(name.as_bytes());
        }
        hasher.finalize().into()
    }
}
