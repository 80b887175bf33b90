//! A store that fails on demand, for the tests of what stands on it (threats S4, S5).

use std::sync::{Arc, Mutex};

use demarche_protocol::{
    hash::{ChannelId, EntryHash},
    transcript::Item,
};

use super::{Commit, CommitError, JournalIndex, Journaled, Records, Store, StoreError};

/// How the next commits go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// As the store below says.
    None,
    /// No room.
    Full,
    /// An `fsync` error.
    Sync,
    /// A panic in the backend.
    Panic,
}

/// The store and its fault, which a test changes from outside.
pub(crate) struct FaultStore<S> {
    store: S,
    fault: Arc<Mutex<Fault>>,
}

impl<S: Store> FaultStore<S> {
    pub(crate) fn new(store: S) -> (Self, Arc<Mutex<Fault>>) {
        let fault = Arc::new(Mutex::new(Fault::None));
        (Self { store, fault: Arc::clone(&fault) }, fault)
    }
}

impl<S: Store> Store for FaultStore<S> {
    fn commit(&self, group: &[Commit]) -> Result<Vec<JournalIndex>, CommitError> {
        match *self.fault.lock().unwrap() {
            Fault::None => self.store.commit(group),
            Fault::Full => Err(CommitError::NoSpace { free: 0, needed: 1 }),
            Fault::Sync => Err(CommitError::Unknown("EIO".to_owned())),
            Fault::Panic => panic!("a fault of the test"),
        }
    }

    fn load(&self, channel: ChannelId) -> Records<'_> {
        self.store.load(channel)
    }

    fn item(&self, channel: ChannelId, entry: EntryHash) -> Result<Option<Item>, StoreError> {
        self.store.item(channel, entry)
    }

    fn journal(&self, after: JournalIndex, limit: usize) -> Result<Vec<Journaled>, StoreError> {
        self.store.journal(after, limit)
    }

    fn hindrance(&self) -> Option<CommitError> {
        match *self.fault.lock().unwrap() {
            Fault::None => self.store.hindrance(),
            Fault::Full => Some(CommitError::NoSpace { free: 0, needed: 1 }),
            Fault::Sync | Fault::Panic => None,
        }
    }

    fn durable(&self) -> JournalIndex {
        self.store.durable()
    }
}
