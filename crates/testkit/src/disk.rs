//! A disk that loses at a crash what was not committed, and fails on demand. It keeps what the driver of a real node keeps:
//! records in the order of their commits.

use std::collections::{BTreeMap, VecDeque};

use demarche_protocol::{
    channel::{Batch, CommitFailure, Record, Ticket},
    hash::EntryHash,
    transcript::Item,
};

use crate::rng::Chance;

/// One node's disk.
#[derive(Default)]
pub struct Disk {
    durable: Vec<Record>,
    entries: BTreeMap<EntryHash, Item>,
    writing: VecDeque<(Ticket, Batch)>,
    failing: Option<CommitFailure>,
}

impl Disk {
    /// Begins a commit.
    pub fn begin(&mut self, ticket: Ticket, batch: Batch) {
        self.writing.push_back((ticket, batch));
    }

    /// Whether a commit is under way.
    pub fn is_writing(&self) -> bool {
        !self.writing.is_empty()
    }

    /// From now on every commit fails like this; `None` mends the disk.
    pub fn fail(&mut self, how: Option<CommitFailure>) {
        self.failing = how;
    }

    /// Ends the oldest commit. The ticket and how it went.
    pub fn end(&mut self) -> Option<(Ticket, Result<(), CommitFailure>)> {
        let (ticket, batch) = self.writing.pop_front()?;
        match self.failing {
            None => {
                self.store(batch);
                Some((ticket, Ok(())))
            }
            Some(failure) => {
                // The failure covers all that was begun after this one.
                self.writing.clear();
                Some((ticket, Err(failure)))
            }
        }
    }

    /// The node dies. Of what was under way, some first batches may have reached the disk, each whole or not at all.
    pub fn crash(&mut self, chance: &mut Chance) {
        let reached = chance.below(self.writing.len() as u64 + 1);
        for _ in 0..reached {
            if let Some((_, batch)) = self.writing.pop_front() {
                self.store(batch);
            }
        }
        self.writing.clear();
    }

    fn store(&mut self, batch: Batch) {
        for record in &batch.records {
            if let Record::Entry(item) = record {
                self.entries.insert(item.entry.hash(), item.clone());
            }
        }
        self.durable.extend(batch.records);
    }

    /// What a restart finds.
    pub fn records(&self) -> &[Record] {
        &self.durable
    }

    /// A stored entry, as the driver reads it to send it.
    pub fn item(&self, hash: &EntryHash) -> Option<&Item> {
        self.entries.get(hash)
    }
}
