//! The node's durable memory, in the verbs of the domain.
//!
//! A channel's whole state is the sequence of its [`Record`]s; a store keeps those of all channels in one journal, in
//! the order in which they were committed. A record's place in it, its [`JournalIndex`], is given at commit, never
//! changes, and is the id under which local listeners resume. What is not yet durable is invisible to every reader.
//!
//! [`conformance`] is what every backend must pass; [`service`] owns the thread that commits in groups.

mod ballast;
#[cfg(test)]
pub(crate) mod conformance;
#[cfg(test)]
pub(crate) mod fault;
mod mark;
mod service;
mod sled;
mod vault;

use std::fmt;

use demarche_control::Bookmark;
use demarche_protocol::{
    channel::{Batch, Record},
    codec,
    hash::{ChannelId, EntryHash, sha256},
    transcript::Item,
};

pub(crate) use self::vault::{Vault, VaultError};
pub use self::{
    mark::Lost,
    service::{Answer, Answers, Commits, Outcome, Service, start},
    sled::{Closed, OpenError, SledStore},
};

/// The place of a record in the node's journal: from 1, without gaps, across all channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalIndex(pub u64);

impl JournalIndex {
    /// Before the first record.
    pub const START: Self = Self(0);

    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for JournalIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One batch of one channel, as it goes into a group.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Whose records.
    pub channel: ChannelId,
    /// The records.
    pub batch: Batch,
}

/// A record with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journaled {
    /// The place.
    pub index: JournalIndex,
    /// The channel it belongs to.
    pub channel: ChannelId,
    /// The record.
    pub record: Record,
}

impl Journaled {
    /// Names the record beside its place: eight bytes of its SHA-256. In another store another record stands there.
    pub fn seal(&self) -> u64 {
        let mut covered = self.channel.as_bytes().to_vec();
        covered.extend_from_slice(&codec::encode(&self.record));
        let hash = sha256(&covered);
        hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// Where a listener who has heard of it goes on.
    pub fn bookmark(&self) -> Bookmark {
        Bookmark { index: self.index.0, seal: Some(self.seal()) }
    }
}

/// Why a group is not durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The disk is nearly full. Found before anything was applied: nothing of the group is stored.
    #[error("the disk is nearly full: {free} bytes are free and {needed} are needed")]
    NoSpace {
        /// Bytes free for this user.
        free: u64,
        /// Bytes that must be free before so much is written.
        needed: u64,
    },
    /// Anything else: the group may or may not be stored. The store refuses everything from now on, since what the
    /// kernel says after a failed `fsync` cannot be believed (threat S5).
    #[error("it is not known whether the last records are on disk: {0}")]
    Unknown(String),
}

/// Why the store could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A record is not what was written, or is missing (threat S6).
    #[error("record {index} of the store is damaged: {what}")]
    Damaged {
        /// Its place.
        index: JournalIndex,
        /// What is wrong with it.
        what: String,
    },
    /// The backend failed.
    #[error("the store cannot be read: {0}")]
    Backend(String),
}

/// Records of a channel with their places, each checked as it is read.
pub type Records<'a> = Box<dyn Iterator<Item = Result<(JournalIndex, Record), StoreError>> + 'a>;

/// A node's durable memory. Reading never waits for a commit under way.
pub trait Store: Send + Sync {
    /// Makes a group of batches durable in one step: all of it or nothing, in this order. Gives the place of the last
    /// record of each batch (for an empty batch, of the last record before it).
    fn commit(&self, group: &[Commit]) -> Result<Vec<JournalIndex>, CommitError>;

    /// Every durable record of a channel, in commit order.
    fn load(&self, channel: ChannelId) -> Records<'_>;

    /// A durable entry with its text.
    fn item(&self, channel: ChannelId, entry: EntryHash) -> Result<Option<Item>, StoreError>;

    /// Durable records of all channels after a place, at most `limit`.
    fn journal(&self, after: JournalIndex, limit: usize) -> Result<Vec<Journaled>, StoreError>;

    /// What would keep even a small batch from being stored now.
    fn hindrance(&self) -> Option<CommitError>;

    /// The place of the last durable record.
    fn durable(&self) -> JournalIndex;
}
