//! Who was at the other end: the step between an authenticated key and a peer. A session that fails here
//! never carries a frame, and the refusal names the culprit.

use std::collections::BTreeSet;

use super::introduction::Introduction;
use crate::{
    hash::DocumentId,
    identity::{
        Verified,
        card::{Card, CardSerial, SessionKey},
        keys::PublicKey,
        member::MemberId,
        roster::{self, Roster},
    },
};

/// What the caller knows when the other side introduces itself.
#[derive(Debug)]
pub struct Admission<'a> {
    /// The roster as it is now. A newer card that the peer presents is taken in.
    pub roster: &'a mut Roster,
    /// Whom the caller expects.
    pub expected: Expected,
}

/// Whom the caller expects at the other end. What is `None` is not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The party to whom the stream was opened.
    pub party: Option<MemberId>,
    /// The node key that the transport has authenticated at the other end of the stream.
    pub node: Option<PublicKey>,
}

/// Who is at the other end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The party.
    pub member: MemberId,
    /// The card that speaks for it now.
    pub card: Verified<Card>,
    /// The charter in force at its side, when that is another than at ours. To be reported, not refused:
    /// an amendment reaches the two logs at different times (threat M11).
    pub other_charter: Option<DocumentId>,
    /// Whether the card was news: the roster has changed, and the document is worth keeping.
    pub roster_changed: bool,
}

impl Peer {
    /// The node's key, as it stands on the card: it signs entries, and is the node's network identity.
    pub fn node(&self) -> PublicKey {
        self.card.node
    }
}

/// Why the other side is not admitted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// Its card does not speak for its member.
    #[error(transparent)]
    Card(#[from] roster::Refusal),
    /// A mediator, say: on the roster, but with no log of its own.
    #[error("{0} is not a party of this channel")]
    NotAParty(MemberId),
    /// The card is good, and of somebody else than the one who showed it.
    #[error("whoever answered shows card {serial} of {member} and does not hold the session key on it")]
    NotItsCard {
        /// Whose card was shown.
        member: MemberId,
        /// Which.
        serial: CardSerial,
    },
    /// Our own party: our messages come back to us, or another node runs in our name (threat M13).
    #[error("the node at the other end is of our own party, {0}")]
    Ourselves(MemberId),
    /// Another party than the one to whom the stream was opened (threat M12).
    #[error("{found} answered where {expected} was called")]
    AnotherParty {
        /// Who was called.
        expected: MemberId,
        /// Who answered.
        found: MemberId,
    },
    /// The transport has authenticated another node than the card names.
    #[error("the stream leads to another node than card {serial} of {member} names")]
    AnotherNode {
        /// Whose card was shown.
        member: MemberId,
        /// Which.
        serial: CardSerial,
    },
}

/// What one side knows of itself when it judges the other.
pub(super) struct Host {
    pub(super) member: MemberId,
    pub(super) key: SessionKey,
    pub(super) parties: BTreeSet<MemberId>,
    pub(super) charter: DocumentId,
}

/// The peer whose static key the handshake has authenticated as `key`, if the roster lets it in.
pub(super) fn admit(
    host: &Host,
    introduction: &Introduction,
    key: SessionKey,
    admission: &mut Admission<'_>,
) -> Result<Peer, Refusal> {
    // Before anything else, so that a reflection leaves no trace in the roster.
    if key == host.key {
        return Err(Refusal::Ourselves(host.member.clone()));
    }
    let (card, roster_changed) = admission.roster.present(&introduction.card)?;
    let member = card.member.clone();
    if member == host.member {
        return Err(Refusal::Ourselves(member));
    }
    if !host.parties.contains(&member) {
        return Err(Refusal::NotAParty(member));
    }
    if card.session_key() != Some(key) {
        return Err(Refusal::NotItsCard { member, serial: card.serial });
    }
    if let Some(expected) = admission.expected.party.as_ref().filter(|expected| **expected != member) {
        return Err(Refusal::AnotherParty { expected: expected.clone(), found: member });
    }
    if admission.expected.node.is_some_and(|node| node != card.node) {
        return Err(Refusal::AnotherNode { member, serial: card.serial });
    }
    let other_charter = (introduction.charter != host.charter).then_some(introduction.charter);
    Ok(Peer { member, card, other_charter, roster_changed })
}
