//! Custody: what a mediator keeps for a node that is not there, and what all three sign about it.
//!
//! A depositor hands an [`Envelope`](crate::envelope::Envelope) over; the mediator makes it durable and then signs that it keeps it. The
//! recipient collects it, if need be when the depositor is long gone, and signs that it has, or that it cannot open it; or its time runs out, and the mediator
//! signs that. How it ended is passed to the depositor, who seals again what still needs to arrive. Nobody has to trust the mediator: that something
//! arrived is said by receipts alone.
//!
//! [`statement`] holds what is signed, [`message`] what is said on a capital's stream to its mediator, and [`keeper`] what a mediator does about it.

pub mod keeper;
pub mod message;
pub mod statement;

pub use keeper::{Change, Keeper, Kept, Turned};
pub use message::{MessageError, NotKept, ToCapital, ToMediator};
pub use statement::{SignedStatement, Stated, Statement, StatementError};
