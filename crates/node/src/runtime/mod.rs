//! What moves: one task per channel drives the channel's machine between sessions, store and officers; the switchboard
//! takes what the transport brings to the right channel; the roster stream carries cards between nodes.
//!
//! The runtime sees transport and store as traits only, so that a test runs two capitals in one process.

pub(crate) mod alarms;
pub(crate) mod channel;
pub(crate) mod clock;
pub(crate) mod courier;
pub(crate) mod custodian;
mod framed;
mod handshake;
mod items;
mod mail;
pub(crate) mod names;
pub(crate) mod news;
mod places;
pub(crate) mod random;
pub(crate) mod roster_stream;
pub(crate) mod rosters;
pub(crate) mod switchboard;
pub(crate) mod view;
pub(crate) mod volumes;
