//! One task per channel. It polls everything that concerns the channel itself (streams, answers of the store, requests,
//! time), so that between a frame's arrival and what follows from it there is no other task and no queue but the disk's.
//!
//! `task.rs` is the loop, `events.rs` what follows from what the machine tells, `sessions.rs` keeps the sessions with each peer, `custody.rs` is its way to mediators' custody, `handle.rs` is what others hold,
//! `parts.rs` what it is made of.

mod custody;
mod events;
mod handle;
mod parts;
mod sessions;
mod task;

pub(crate) use handle::{AskError, Handle, Look, Recorded};
pub(crate) use parts::Parts;
pub(crate) use sessions::PeerState;
pub(crate) use task::{End, spawn};
