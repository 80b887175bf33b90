//! A member's roots (docs/protocol.md §4.2): offline keys, and how many of them must sign. The charter's list holds until a `roots`
//! document, signed by the threshold of the old list, replaces it (threat K1c).

use std::fmt;

use super::{
    Verified,
    keys::{BadSignature, PublicKey},
    member::MemberId,
};
use crate::{
    document::{DocumentError, DocumentType, Fields, SignedDocument, Writer},
    hash::DocumentId,
    labels::Namespace,
    limits,
    time::Timestamp,
};

/// Root keys and how many of them must sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootList {
    keys: Vec<PublicKey>,
    needed: usize,
}

/// Why a list of roots is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RootListError {
    /// No key.
    #[error("at least one root is needed")]
    Empty,
    /// One key twice would let one person count as two.
    #[error("the root {0} stands twice")]
    Twice(PublicKey),
    /// A threshold of none or of more than there are.
    #[error("{needed} of {keys} roots cannot be needed")]
    Threshold {
        /// How many should sign.
        needed: usize,
        /// How many there are.
        keys: usize,
    },
    /// More than [`limits::ROOTS`].
    #[error("more than {max} roots", max = limits::ROOTS)]
    TooMany,
}

/// Why the roots have not signed a document.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RootsError {
    /// A root's signature does not fit.
    #[error("the signature by root {} of {member} does not fit this text", key.fingerprint())]
    Wrong {
        /// Whose root.
        member: MemberId,
        /// Which.
        key: PublicKey,
        /// Why.
        source: BadSignature,
    },
    /// Not enough of them.
    #[error("{have} of the {needed} signatures needed by roots of {member}")]
    TooFew {
        /// Whose roots.
        member: MemberId,
        /// How many have signed.
        have: usize,
        /// How many must.
        needed: usize,
    },
}

impl RootList {
    /// A list, checked.
    pub fn new(keys: Vec<PublicKey>, needed: usize) -> Result<Self, RootListError> {
        if keys.is_empty() {
            return Err(RootListError::Empty);
        }
        if keys.len() > limits::ROOTS {
            return Err(RootListError::TooMany);
        }
        if let Some((_, key)) =
            keys.iter().enumerate().find(|(at, key)| keys.iter().take(*at).any(|k| k == *key))
        {
            return Err(RootListError::Twice(*key));
        }
        if needed == 0 || needed > keys.len() {
            return Err(RootListError::Threshold { needed, keys: keys.len() });
        }
        Ok(Self { keys, needed })
    }

    /// The keys.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// How many must sign.
    pub const fn needed(&self) -> usize {
        self.needed
    }

    /// The roots of this list that have signed, in the list's order. A root's wrong signature is an error.
    pub fn signers(
        &self,
        member: &MemberId,
        document: &SignedDocument,
        namespace: Namespace,
    ) -> Result<Vec<PublicKey>, RootsError> {
        let mut signers = Vec::new();
        for key in &self.keys {
            for signature in document.signatures().iter().filter(|signature| signature.key == *key) {
                signature
                    .verify(namespace, document.text().as_bytes())
                    .map_err(|source| RootsError::Wrong { member: member.clone(), key: *key, source })?;
                if signers.last() != Some(key) {
                    signers.push(*key);
                }
            }
        }
        Ok(signers)
    }

    /// Refuses unless enough roots have signed.
    pub fn check(
        &self,
        member: &MemberId,
        document: &SignedDocument,
        namespace: Namespace,
    ) -> Result<(), RootsError> {
        let have = self.signers(member, document, namespace)?.len();
        if have >= self.needed {
            Ok(())
        } else {
            Err(RootsError::TooFew { member: member.clone(), have, needed: self.needed })
        }
    }

    /// Reads `roots` and `roots_needed`; the latter is 1 when absent.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, DocumentError> {
        let keys = fields.list("roots", limits::ROOTS, PublicKey::from_openssh)?;
        let needed = fields.optional_number("roots_needed", limits::ROOTS as u64)?.unwrap_or(1);
        Self::new(keys, usize::try_from(needed).unwrap_or(usize::MAX))
            .map_err(|why| fields.refuse("roots", why))
    }

    pub(crate) fn write(&self, writer: Writer) -> Writer {
        let keys: Vec<String> = self.keys.iter().map(PublicKey::to_openssh).collect();
        writer.list("roots", &keys).number("roots_needed", self.needed as u64)
    }
}

impl fmt::Display for RootList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.needed, self.keys.len())
    }
}

/// The `roots` document: a member's new list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// Whose roots.
    pub member: MemberId,
    /// The new list.
    pub list: RootList,
    /// The charter or `roots` document whose list this one replaces.
    pub replaces: DocumentId,
    /// When it was drafted.
    pub issued_at: Timestamp,
}

impl Roots {
    /// Reads the text of a `roots` document.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let mut fields = Fields::of(text, DocumentType::Roots)?;
        let roots = Self {
            member: fields.parsed("member", str::parse)?,
            list: RootList::read(&mut fields)?,
            replaces: fields.parsed("replaces", str::parse)?,
            issued_at: fields.time("issued_at")?,
        };
        fields.finish()?;
        Ok(roots)
    }

    /// The fixed rendering.
    pub fn render(&self) -> String {
        let writer = Writer::new(DocumentType::Roots).string("member", self.member.as_str());
        self.list
            .write(writer)
            .string("replaces", &self.replaces.to_string())
            .time("issued_at", self.issued_at)
            .finish()
    }

    /// Checks that the threshold of the `old` list has signed.
    pub fn verify(
        document: &SignedDocument,
        old: &RootList,
    ) -> Result<Verified<Self>, super::card::CredentialError> {
        let roots = Self::parse(document.text())?;
        old.check(&roots.member, document, Namespace::Roots)?;
        Ok(Verified::new(roots, document.clone()))
    }
}
