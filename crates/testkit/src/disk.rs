//! A disk that loses at a crash what was not committed, fails on demand, and may be replaced by an old backup or an empty one. It keeps what
//! the driver of a real node keeps: records in the order of their commits.

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
    /// How many records there were after each commit.
    commits: Vec<usize>,
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
        self.entries.extend(batch.records.iter().filter_map(stored));
        self.durable.extend(batch.records);
        self.commits.push(self.durable.len());
    }

    /// Only what some first commits brought is left: a backup was restored, or nothing was (threats S1, T9). How
    /// many commits are left is chance.
    pub fn lose(&mut self, chance: &mut Chance) {
        self.writing.clear();
        let kept = if chance.percent(50) { 0 } else { chance.below(self.commits.len() as u64 + 1) };
        self.commits.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        self.durable.truncate(self.commits.last().copied().unwrap_or(0));
        self.entries = self.durable.iter().filter_map(stored).collect();
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

fn stored(record: &Record) -> Option<(EntryHash, Item)> {
    match record {
        Record::Entry(item) => Some((item.entry.hash(), item.clone())),
        _ => None,
    }
}
