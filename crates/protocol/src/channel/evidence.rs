//! The receipts of a channel: others' for our entries, and our own for theirs.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    custody::Statement,
    hash::EntryHash,
    identity::member::MemberId,
    limits,
    transcript::{Receipt, ReceiptId, ReceiptKind, SignedReceipt},
};

/// All durable receipts, by the entry they are about.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    receipts: BTreeMap<EntryHash, Vec<(Receipt, SignedReceipt)>>,
    /// What mediators and recipients have signed about envelopes with an entry of ours, in the order in which it became durable here.
    custody: BTreeMap<EntryHash, Vec<Arc<Statement>>>,
}

impl Evidence {
    pub(super) fn insert(&mut self, receipt: Receipt, signed: SignedReceipt) {
        let kept = self.receipts.entry(receipt.of.hash).or_default();
        if !kept.iter().any(|(known, _)| *known == receipt) {
            kept.push((receipt, signed));
        }
    }

    /// A statement about an envelope that held these entries.
    pub(super) fn add_statement(&mut self, statement: &Statement, entries: &[EntryHash]) {
        let statement = Arc::new(statement.clone());
        for entry in entries {
            self.custody.entry(*entry).or_default().push(Arc::clone(&statement));
        }
    }

    /// What was stated of the envelopes that held an entry, in the order in which it became durable here.
    pub fn custody_of(&self, entry: &EntryHash) -> impl Iterator<Item = &Statement> {
        self.custody.get(entry).into_iter().flatten().map(Arc::as_ref)
    }

    /// The receipts for an entry, in the order in which they became durable here.
    pub fn of(&self, entry: &EntryHash) -> impl Iterator<Item = &(Receipt, SignedReceipt)> {
        self.receipts.get(entry).into_iter().flatten()
    }

    pub(super) fn holds(&self, entry: &EntryHash, id: ReceiptId) -> bool {
        self.of(entry).any(|(_, signed)| signed.id() == id)
    }

    /// Why a statement by another party is one too many: each stands once under one card, and an entry is not displayed to
    /// officers without end. Else a node could fill our disk by stating one thing in many ways. `under_way` are those whose
    /// commit is.
    pub(super) fn refuses<'a>(
        &'a self,
        receipt: &Receipt,
        under_way: impl Iterator<Item = &'a Receipt>,
    ) -> Option<&'static str> {
        let known = self.of(&receipt.of.hash).map(|(known, _)| known).chain(under_way);
        let by_it = known.filter(|known| {
            known.of.hash == receipt.of.hash && known.by == receipt.by && known.by_card == receipt.by_card
        });
        let mut count = 0;
        for known in by_it {
            count += 1;
            if known.kind == receipt.kind {
                return Some("it has stated that already in other words");
            }
        }
        (count >= limits::RECEIPTS_OF_ENTRY).then_some("it has stated more of that entry than is kept")
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
