//! The transcript: every party's hash-chained log, and what can be said of each entry in it.
//!
//! Three judgements, never mixed. *Authentic*: the node's signature and the encoding are good; only such entries are stored and receipted.
//! *Chained*: everything before it is there. *Effective*: accepted or void with a reason, a pure function of the
//! logs, so two nodes that hold the same logs always agree.

pub mod effect;
pub mod entry;
pub mod receipt;

pub use entry::{Authentic, Entry, EntryError, Head, Item, Pointer, Seq, SignedEntry};
pub use receipt::{Receipt, ReceiptError, ReceiptId, ReceiptKind, SignedReceipt};
