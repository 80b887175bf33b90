//! Entries that were committed a moment ago: most are sent at once, and need not be read back from the disk.

use std::collections::{HashMap, VecDeque};

use demarche_protocol::{hash::EntryHash, transcript::Item};

use crate::defaults::ITEMS;

/// The newest entries, up to [`ITEMS`] bytes of them.
#[derive(Default)]
pub(super) struct Items {
    held: HashMap<EntryHash, Item>,
    order: VecDeque<EntryHash>,
    bytes: usize,
}

impl Items {
    pub(super) fn insert(&mut self, item: &Item) {
        let hash = item.entry.hash();
        if self.held.insert(hash, item.clone()).is_some() {
            return;
        }
        self.order.push_back(hash);
        self.bytes += size(item);
        while self.bytes > ITEMS {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(item) = self.held.remove(&oldest) {
                self.bytes -= size(&item);
            }
        }
    }

    pub(super) fn get(&self, hash: &EntryHash) -> Option<&Item> {
        self.held.get(hash)
    }
}

fn size(item: &Item) -> usize {
    item.text.len() + item.entry.bytes().len()
}
