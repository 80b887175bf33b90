//! What one peer is owed, whatever way it goes: entries of ours that it has not receipted, and statements of ours that it has not
//! confirmed. There is no outbox beside the log: this is made again from what is durable.

use std::collections::BTreeMap;

use crate::{
    hash::EntryHash,
    identity::card::CardSerial,
    limits,
    transcript::{Node, ReceiptId, Seq, SignedReceipt},
};

/// Where an entry stands in the order of service: authority first, then by precedence, first in first out within one, so that a
/// FLASH passes a backlog of any length (threat T8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    rank: u8,
    card: CardSerial,
    seq: Seq,
    pub(super) hash: EntryHash,
}

impl Turn {
    pub(super) fn of(node: &Node) -> Self {
        Self { rank: node.facts.rank(), card: node.head.card, seq: node.head.seq, hash: node.head.hash }
    }

    /// IMMEDIATE and above, and who may say so: what a mediator's last quarter is kept for.
    pub(super) const fn is_urgent(self) -> bool {
        self.rank <= 2
    }

    /// Authority and FLASH go even when enough is on its way already.
    pub(super) const fn breaks_in(self) -> bool {
        self.rank <= 1
    }
}

/// What a peer is owed.
#[derive(Default)]
pub(super) struct Debt {
    /// Entries of ours without the peer's receipt under this card or a later one. By name: a turn changes when an entry is found
    /// to have no effect.
    entries: BTreeMap<EntryHash, (Turn, CardSerial)>,
    /// Statements *opened* of ours that the peer has not confirmed.
    statements: BTreeMap<ReceiptId, SignedReceipt>,
    /// Receipts for what came in envelopes: they go back in one. Lost, they are asked for by the entry that comes again.
    unsaid: BTreeMap<ReceiptId, SignedReceipt>,
}

impl Debt {
    /// How many entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// An entry of ours that the peer has to receipt under `since` or a later card.
    pub(super) fn owe(&mut self, turn: Turn, since: CardSerial) {
        let (_, known) = self.entries.entry(turn.hash).or_insert((turn, since));
        *known = since.max(*known);
    }

    /// The peer's receipt for an entry is durable here: the turn that this makes needless.
    pub(super) fn settle(&mut self, entry: &EntryHash, by_card: CardSerial) -> Option<Turn> {
        let (_, since) = self.entries.get(entry)?;
        if by_card < *since {
            return None;
        }
        self.entries.remove(entry).map(|(turn, _)| turn)
    }

    pub(super) fn owes(&self, entry: &EntryHash) -> bool {
        self.entries.contains_key(entry)
    }

    pub(super) fn turns(&self) -> impl Iterator<Item = Turn> {
        self.entries.values().map(|(turn, _)| *turn)
    }

    /// To be stated until the peer confirms.
    pub(super) fn state(&mut self, receipt: SignedReceipt) {
        self.statements.insert(receipt.id(), receipt);
    }

    pub(super) fn confirmed(&mut self, id: ReceiptId) {
        self.statements.remove(&id);
    }

    pub(super) fn statement(&self, id: ReceiptId) -> Option<&SignedReceipt> {
        self.statements.get(&id)
    }

    pub(super) fn statements(&self) -> impl Iterator<Item = ReceiptId> {
        self.statements.keys().copied()
    }

    /// To be said in an envelope, once.
    pub(super) fn say(&mut self, receipt: SignedReceipt) {
        if self.unsaid.len() < limits::ANSWERS_WAITING {
            self.unsaid.insert(receipt.id(), receipt);
        }
    }

    pub(super) fn said(&mut self, id: ReceiptId) {
        self.unsaid.remove(&id);
    }

    pub(super) fn unsaid(&self) -> impl Iterator<Item = ReceiptId> {
        self.unsaid.keys().copied()
    }

    /// A receipt that is to be stated or said.
    pub(super) fn receipt(&self, id: ReceiptId) -> Option<&SignedReceipt> {
        self.unsaid.get(&id).or_else(|| self.statement(id))
    }

    /// Whether the peer has anything to confirm.
    pub(super) fn is_owed(&self) -> bool {
        !self.entries.is_empty() || !self.statements.is_empty()
    }
}
