//! An officer (docs/protocol.md §4.4): a person with a signing key, and the duties that the party's roots gave that key.

use std::{fmt, str::FromStr};

use super::{Verified, card::CredentialError, keys::PublicKey, member::MemberId, roots::RootList};
use crate::{
    document::{DocumentError, DocumentType, Fields, SignedDocument, Writer},
    hash::ChannelId,
    labels::Namespace,
    limits,
    time::Timestamp,
};

/// What an officer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Duty {
    /// Write a dispatch that somebody else releases.
    Draft,
    /// Release a notice, a reply or a statement.
    Release,
    /// Acknowledge a notice.
    Acknowledge,
    /// Suspend another officer at once.
    Administer,
}

impl Duty {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Draft, Self::Release, Self::Acknowledge, Self::Administer];

    /// As it stands in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Release => "release",
            Self::Acknowledge => "acknowledge",
            Self::Administer => "administer",
        }
    }
}

impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Duty {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|duty| duty.as_str() == text)
            .ok_or("a duty is one of draft, release, acknowledge, administer")
    }
}

/// What an officer's document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Officer {
    /// The party the officer serves.
    pub party: MemberId,
    /// The officer's name or post, as both sides will see it.
    pub name: String,
    /// The key the officer signs with.
    pub key: PublicKey,
    /// What the officer may do.
    pub duties: Vec<Duty>,
    /// The channels it holds for; empty: every channel of the party.
    pub channels: Vec<ChannelId>,
    /// When it was drafted.
    pub issued_at: Timestamp,
    /// When it is due for renewal. Warns, never silences.
    pub expires_at: Timestamp,
}

impl Officer {
    /// Reads an officer's document.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let mut fields = Fields::of(text, DocumentType::Officer)?;
        let officer = Self {
            party: fields.parsed("party", str::parse)?,
            name: fields.line("name")?,
            key: fields.parsed("key", PublicKey::from_openssh)?,
            duties: fields.list("duties", Duty::ALL.len(), str::parse)?,
            channels: fields.list("channels", limits::CHANNELS, str::parse)?,
            issued_at: fields.time("issued_at")?,
            expires_at: fields.time("expires_at")?,
        };
        if officer.duties.is_empty() {
            return Err(fields.refuse("duties", "an officer needs at least one duty"));
        }
        fields.finish()?;
        Ok(officer)
    }

    /// The fixed rendering.
    pub fn render(&self) -> String {
        Writer::new(DocumentType::Officer)
            .string("party", self.party.as_str())
            .string("name", &self.name)
            .string("key", &self.key.to_openssh())
            .list("duties", &self.duties.iter().map(|duty| duty.as_str()).collect::<Vec<_>>())
            .list("channels", &self.channels.iter().map(ChannelId::to_string).collect::<Vec<_>>())
            .time("issued_at", self.issued_at)
            .time("expires_at", self.expires_at)
            .finish()
    }

    /// Checks that the `roots` of `party` have signed.
    pub fn verify(
        document: &SignedDocument,
        party: &MemberId,
        roots: &RootList,
    ) -> Result<Verified<Self>, CredentialError> {
        let officer = Self::parse(document.text())?;
        if officer.party != *party {
            return Err(CredentialError::Member { found: officer.party, wanted: party.clone() });
        }
        roots.check(party, document, Namespace::Officer)?;
        Ok(Verified::new(officer, document.clone()))
    }

    /// Whether the document holds for `channel`.
    pub fn holds_for(&self, channel: ChannelId) -> bool {
        self.channels.is_empty() || self.channels.contains(&channel)
    }
}
