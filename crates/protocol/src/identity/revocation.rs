//! A revocation (docs/protocol.md §4.6): the roots say that a card, or an officer's key in every document, no longer speaks.

use super::{
    Verified,
    card::{CardSerial, CredentialError},
    keys::PublicKey,
    member::MemberId,
    roots::RootList,
};
use crate::{
    document::{DocumentError, DocumentType, Fields, SignedDocument, Writer},
    hash::{ChannelId, DocumentId},
    labels::Namespace,
    limits,
    time::Timestamp,
};

/// What no longer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// One card, and with it every card of the member of its serial or a lower one. That is what lets everybody keep
    /// no more than one revocation of each member's cards (docs/decisions/0012).
    Card {
        /// The card's name.
        card: DocumentId,
        /// Its serial, which decides.
        serial: CardSerial,
    },
    /// An officer's key, in whatever document it stands.
    Officer(PublicKey),
}

/// What a revocation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Whose card or officer.
    pub member: MemberId,
    /// What no longer speaks.
    pub revoked: Revoked,
    /// Why.
    pub reason: String,
    /// The channels it holds for; empty: every channel of the member.
    pub channels: Vec<ChannelId>,
    /// When it was drafted.
    pub issued_at: Timestamp,
}

impl Revocation {
    /// Reads a revocation.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let mut fields = Fields::of(text, DocumentType::Revocation)?;
        let member = fields.parsed("member", str::parse)?;
        let card = fields.optional("card", str::parse)?;
        let serial = fields.optional_number("serial", u64::from(u32::MAX))?.map(CardSerial);
        let officer = fields.optional("officer_key", PublicKey::from_openssh)?;
        let revoked = match (card, serial, officer) {
            (Some(card), Some(serial), None) => Revoked::Card { card, serial },
            (None, None, Some(key)) => Revoked::Officer(key),
            (Some(_), None, None) => {
                return Err(fields.refuse("card", "a revocation of a card names its `serial` as well"));
            }
            (None, Some(_), Some(_)) => {
                return Err(fields.refuse("serial", "only a card has a `serial`"));
            }
            _ => return Err(fields.refuse("card", "a revocation names either `card` or `officer_key`")),
        };
        let revocation = Self {
            member,
            revoked,
            reason: fields.line("reason")?,
            channels: fields.list("channels", limits::CHANNELS, str::parse)?,
            issued_at: fields.time("issued_at")?,
        };
        fields.finish()?;
        Ok(revocation)
    }

    /// The fixed rendering.
    pub fn render(&self) -> String {
        let writer = Writer::new(DocumentType::Revocation).string("member", self.member.as_str());
        let writer = match self.revoked {
            Revoked::Card { card, serial } => {
                writer.string("card", &card.to_string()).number("serial", serial.0)
            }
            Revoked::Officer(key) => writer.string("officer_key", &key.to_openssh()),
        };
        writer
            .string("reason", &self.reason)
            .list("channels", &self.channels.iter().map(ChannelId::to_string).collect::<Vec<_>>())
            .time("issued_at", self.issued_at)
            .finish()
    }

    /// Checks that the `roots` of `member` have signed.
    pub fn verify(
        document: &SignedDocument,
        member: &MemberId,
        roots: &RootList,
    ) -> Result<Verified<Self>, CredentialError> {
        let revocation = Self::parse(document.text())?;
        if revocation.member != *member {
            return Err(CredentialError::Member { found: revocation.member, wanted: member.clone() });
        }
        roots.check(member, document, Namespace::Revocation)?;
        Ok(Verified::new(revocation, document.clone()))
    }

    /// Whether it is this card that it names; it shuts out older ones as well.
    pub fn names(&self, name: DocumentId) -> bool {
        matches!(self.revoked, Revoked::Card { card, .. } if card == name)
    }

    /// Whether it holds for `channel`.
    pub fn holds_for(&self, channel: ChannelId) -> bool {
        self.channels.is_empty() || self.channels.contains(&channel)
    }
}
