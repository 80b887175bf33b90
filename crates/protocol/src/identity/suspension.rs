//! A suspension (docs/protocol.md §4.5): an officer with the duty to administer stops another officer's key at
//! once; the roots decide later.

use super::{keys::PublicKey, member::MemberId};
use crate::{
    document::{DocumentError, DocumentType, Fields, Writer},
    time::Timestamp,
};

/// What a suspension says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// The party.
    pub party: MemberId,
    /// The officer's key that may not act until the roots decide.
    pub key: PublicKey,
    /// Why.
    pub reason: String,
    /// When it was drafted.
    pub issued_at: Timestamp,
}

impl Suspension {
    /// Reads a suspension.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let mut fields = Fields::of(text, DocumentType::Suspension)?;
        let suspension = Self {
            party: fields.parsed("party", str::parse)?,
            key: fields.parsed("key", PublicKey::from_openssh)?,
            reason: fields.line("reason")?,
            issued_at: fields.time("issued_at")?,
        };
        fields.finish()?;
        Ok(suspension)
    }

    /// The fixed rendering.
    pub fn render(&self) -> String {
        Writer::new(DocumentType::Suspension)
            .string("party", self.party.as_str())
            .string("key", &self.key.to_openssh())
            .string("reason", &self.reason)
            .time("issued_at", self.issued_at)
            .finish()
    }
}
