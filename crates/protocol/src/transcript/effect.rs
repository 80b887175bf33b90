//! Whether an entry has effect: accepted, or void with a reason.

use crate::{
    hash::EntryHash,
    identity::{keys::PublicKey, officer::Duty},
};

/// What is said of an entry's effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It counts.
    Accepted,
    /// It does not, and keeps its number.
    Void(Void),
    /// The entries that say who may sign are not all here yet.
    AuthorityUnknown,
}

/// Why an entry has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// The text is not a document.
    #[error("not a document: {0}")]
    NotADocument(String),
    /// A document that has no place in a log.
    #[error("a {0} has no place in a log")]
    OutOfPlace(&'static str),
    /// Another channel's.
    #[error("it is for another channel")]
    WrongChannel,
    /// Another party's.
    #[error("it speaks for another party")]
    WrongParty,
    /// The charter has no such provision.
    #[error("the charter has no provision {0}")]
    UnknownProvision(String),
    /// A signature does not fit the text.
    #[error("the signature by {} does not fit the text", .0.fingerprint())]
    BadSignature(PublicKey),
    /// Signed by somebody who is no officer of the party.
    #[error("{} is no officer's key of this party", .0.fingerprint())]
    UnknownOfficer(PublicKey),
    /// Signed by a key that was revoked before.
    #[error("the officer's key {} was revoked before", .0.fingerprint())]
    RevokedOfficer(PublicKey),
    /// Signed by an officer who was suspended before.
    #[error("the officer {0} was suspended before")]
    SuspendedOfficer(String),
    /// The officer may not do that.
    #[error("the officer {officer} does not have the duty to {duty}")]
    MissingDuty {
        /// Who signed.
        officer: String,
        /// What is needed.
        duty: Duty,
    },
    /// Not enough officers have signed.
    #[error("{have} of the {needed} officers' signatures that are needed")]
    TooFewSignatures {
        /// How many have.
        have: usize,
        /// How many must.
        needed: usize,
    },
    /// The roots have not signed it, or it contradicts them.
    #[error("{0}")]
    Credential(String),
    /// The same document speaks elsewhere in the log.
    #[error("this document already has effect as entry {0}")]
    AlreadyInEffect(EntryHash),
    /// Its number or card does not follow from the entry before.
    #[error("its number or card does not follow from the entry before it")]
    Misplaced,
    /// It points to another authority than the one before it in the log.
    #[error("it points to another authority than the one in force before it")]
    FalseAuthority,
}
