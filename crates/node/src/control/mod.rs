//! The officers' socket: HTTP/1.1 with JSON on a Unix socket. Who called is known from the kernel and logged; what
//! administers the node is for the node's own user.
//!
//! `server.rs` binds and serves, `dispatches.rs`, `reads.rs`, `events.rs`, `alarms.rs` and `admin.rs` answer, `problems.rs` refuses.

mod admin;
mod alarms;
mod backup;
mod caller;
mod dispatches;
mod events;
mod places;
mod problems;
mod reads;
mod server;

pub(crate) use server::ServeError;
pub(crate) use server::{Api, InstallRequest, Server, Standing};
