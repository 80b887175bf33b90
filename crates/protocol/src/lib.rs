//! What is said and signed on the line, as pure functions and state machines.
//!
//! Nothing here reads a clock, draws randomness or touches a file or socket: time and randomness are
//! arguments, durability is an answer (`channel::Input::Committed`). So a simulation can replay a run
//! exactly, and a second implementation can be written from `docs/protocol.md` alone.
//!
//! Arrows: `codec`, `document` ← `identity` ← `charter` ← `dispatch` ← `transcript` ← `frame`; `session` uses
//! `identity` and `codec`; `envelope` seals frames, and `channel`, which nothing points at, gives and takes them in plain.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod channel;
pub mod charter;
pub mod codec;
pub mod custody;
pub mod dispatch;
pub mod document;
pub mod envelope;
pub mod frame;
pub mod hash;
pub mod identity;
pub mod labels;
pub mod limits;
mod noise;
pub mod session;
pub mod time;
pub mod transcript;
