//! A store that fails, waits and counts on demand, for the tests of what stands on it (threats S4, S5).

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

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
    /// The next one is durable, and is [`Fault::Held`] then.
    Late,
    /// One is durable, and whoever asked for it is told when this is over.
    Held,
}

/// The store, and what a test does to it or sees of it from outside.
pub(crate) struct FaultStore<S> {
    store: S,
    fault: Arc<Mutex<Fault>>,
    /// How often the journal was read.
    reads: Arc<AtomicUsize>,
    /// Each commit waits here until it is let go.
    gate: Option<Mutex<mpsc::Receiver<()>>>,
}

impl<S: Store> FaultStore<S> {
    /// One that fails as the switch says.
    pub(crate) fn new(store: S) -> (Self, Arc<Mutex<Fault>>) {
        let fault = Arc::new(Mutex::new(Fault::None));
        (Self { store, fault: Arc::clone(&fault), reads: Arc::default(), gate: None }, fault)
    }

    /// One that counts how often its journal is read.
    pub(crate) fn counted(store: S) -> (Self, Arc<AtomicUsize>) {
        let store = Self::new(store).0;
        let reads = Arc::clone(&store.reads);
        (store, reads)
    }

    /// One whose commits wait until they are let go, one for each word; all when there is nobody to do it.
    pub(crate) fn gated(store: S) -> (Self, mpsc::Sender<()>) {
        let (let_go, gate) = mpsc::channel();
        (Self { gate: Some(Mutex::new(gate)), ..Self::new(store).0 }, let_go)
    }

    fn commit_late(&self, group: &[Commit]) -> Result<Vec<JournalIndex>, CommitError> {
        let places = self.store.commit(group);
        *self.fault.lock().unwrap() = Fault::Held;
        while *self.fault.lock().unwrap() == Fault::Held {
            thread::yield_now();
        }
        places
    }
}

impl<S: Store> Store for FaultStore<S> {
    fn commit(&self, group: &[Commit]) -> Result<Vec<JournalIndex>, CommitError> {
        if let Some(gate) = &self.gate {
            // Nobody to let it go: it goes.
            let _ = gate.lock().unwrap().recv();
        }
        let fault = *self.fault.lock().unwrap();
        match fault {
            Fault::None | Fault::Held => self.store.commit(group),
            Fault::Late => self.commit_late(group),
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
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.store.journal(after, limit)
    }

    fn hindrance(&self) -> Option<CommitError> {
        match *self.fault.lock().unwrap() {
            Fault::None => self.store.hindrance(),
            Fault::Full => Some(CommitError::NoSpace { free: 0, needed: 1 }),
            Fault::Sync | Fault::Panic | Fault::Late | Fault::Held => None,
        }
    }

    fn durable(&self) -> JournalIndex {
        self.store.durable()
    }
}
