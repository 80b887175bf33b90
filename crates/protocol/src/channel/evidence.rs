//! The receipts of a channel: others' for our entries, and our own for theirs.

use std::collections::BTreeMap;

use crate::{
    hash::EntryHash,
    identity::member::MemberId,
    transcript::{Receipt, ReceiptId, ReceiptKind, SignedReceipt},
};

/// All durable receipts, by the entry they are about.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    receipts: BTreeMap<EntryHash, Vec<(Receipt, SignedReceipt)>>,
}

impl Evidence {
    pub(super) fn insert(&mut self, receipt: Receipt, signed: SignedReceipt) {
        let kept = self.receipts.entry(receipt.of.hash).or_default();
        if !kept.iter().any(|(known, _)| *known == receipt) {
            kept.push((receipt, signed));
        }
    }

    /// The receipts for an entry, in the order in which they became durable here.
    pub fn of(&self, entry: &EntryHash) -> impl Iterator<Item = &(Receipt, SignedReceipt)> {
        self.receipts.get(entry).into_iter().flatten()
    }

    pub(super) fn holds(&self, entry: &EntryHash, id: ReceiptId) -> bool {
        self.of(entry).any(|(_, signed)| signed.id() == id)
    }

    /// The newest statement of this kind that `by` made about an entry.
    pub fn by(
        &self,
        entry: &EntryHash,
        by: &MemberId,
        kind: ReceiptKind,
    ) -> Option<&(Receipt, SignedReceipt)> {
        self.of(entry)
            .filter(|(receipt, _)| receipt.by == *by && receipt.kind == kind)
            .max_by_key(|(r, _)| r.by_card)
    }
}
