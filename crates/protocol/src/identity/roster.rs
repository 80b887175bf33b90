//! The roster (docs/protocol.md §5): the current cards, roots and card revocations of a channel. Documents may come
//! from anybody, in any order; once all have been offered, what they say together does not depend on the order, so
//! an outdated roster never reopens a door (threat M16b).
//!
//! One rule says whose signatures count when roots have been replaced: what opens a door needs the list
//! in force, what closes one may bear any list that ever was. So a card speaks only if the roots in force
//! have signed it, while a higher serial or a revocation signed under an earlier list still shuts out what it did.

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
    revoked: BTreeMap<DocumentId, Verified<Revocation>>,
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

    /// Those signatures on a card that are good and of its node or of a root, each signer's once. Others would
    /// be carried from node to node without saying anything.
    fn good_signatures(&self, card: &Verified<Card>, signatures: &[KeySignature]) -> Vec<KeySignature> {
        let text = card.document().text().as_bytes();
        let counts = |key: &PublicKey| {
            *key == card.node || self.lists.iter().any(|(list, _)| list.keys().contains(key))
        };
        let mut signers = BTreeSet::new();
        signatures
            .iter()
            .filter(|signature| counts(&signature.key) && signature.verify(Namespace::Card, text).is_ok())
            .filter(|signature| signers.insert(signature.key))
            .copied()
            .collect()
    }

    /// Adds to a known card what new roots have signed since. True when there was something.
    fn more_signatures(&mut self, at: usize, document: &SignedDocument) -> bool {
        let Some(card) = self.cards.get(at) else { return false };
        let known = card.document().signatures();
        let is_new = |new: &&KeySignature| known.iter().all(|known| known.key != new.key);
        let new: Vec<KeySignature> = document.signatures().iter().filter(is_new).copied().collect();
        let new = self.good_signatures(card, &new);
        if new.is_empty() {
            return false;
        }
        let signatures = known.iter().copied().chain(new).collect();
        let document = SignedDocument::new(document.shared_text(), signatures);
        let card = Verified::new(card.clone().into_inner(), document);
        if let Some(slot) = self.cards.get_mut(at) {
            *slot = card;
        }
        true
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
                    lists: vec![(member.roots.clone(), charter.id())],
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
        let signatures = member.good_signatures(&card, document.signatures());
        let card = Verified::new(claimed, SignedDocument::new(document.shared_text(), signatures));
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
        let Revoked::Card(card) = claimed.revoked else {
            // Officers' revocations speak by their position in the party's own log.
            return Err(Refusal::NotRoster(DocumentType::Revocation));
        };
        // Of several for one card everybody keeps the same one, that with the lowest name.
        let known = member.revoked.get(&card).map(Verified::id);
        if known.is_some_and(|known| known <= document.id()) || !claimed.holds_for(channel) {
            return Ok(false);
        }
        let revocation = member.with_any_list(|list| Revocation::verify(document, &claimed.member, list))?;
        member.revoked.insert(card, revocation);
        Ok(true)
    }

    fn offer_roots(&mut self, document: &SignedDocument) -> Result<bool, Refusal> {
        let claimed = Roots::parse(document.text()).map_err(CredentialError::from)?;
        let member = self.member_mut(&claimed.member)?;
        if member.roots_documents.iter().any(|known| known.id() == document.id()) {
            return Ok(false);
        }
        match member.lists.first() {
            Some((list, set_by)) if claimed.replaces == *set_by => {
                let roots = Roots::verify(document, list)?;
                member.lists.insert(0, (roots.list.clone(), roots.id()));
                member.roots_documents.push(document.clone());
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
            [card] if !state.revoked.contains_key(&card.id()) && state.speaks(card).is_ok() => Some(card),
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
            [card] if card.id() == document.id() => {
                state.speaks(card)?;
                Ok((card.clone(), changed))
            }
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
