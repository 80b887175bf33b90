//! The channel: the sans-IO machine that keeps a party's log and replicates all logs.
//!
//! One [`Input`] goes in, one ordered stream of [`Output`] comes out, time is passed in. Nothing that claims durability is produced
//! before the [`Commit`](Output::Commit) that it rests on has been answered by [`Input::Committed`]: "durable before spoken" is a property of this
//! type that the simulator checks, not of call order in the driver.

pub mod frame;
pub mod io;

pub use frame::{CloseReason, Confirm, Frame, FrameError, Hello, LineTest, SignedLineTest, Want};
pub use io::{
    Batch, CommitFailure, Event, Input, LineTestResult, Outgoing, Output, Record, Refusal, RequestId, Ticket,
};
