//! The daemon: libp2p, stores, mediator services, control server. `node.rs` puts the parts together; everything else is one
//! part each.

pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod defaults;
pub(crate) mod heartbeat;
pub(crate) mod home;
pub(crate) mod hook;
pub(crate) mod install;
pub(crate) mod keystore;
pub(crate) mod line;
pub(crate) mod link;
pub(crate) mod lock;
pub(crate) mod logging;
pub(crate) mod lookout;
pub(crate) mod node;
pub(crate) mod notify;
pub(crate) mod program;
pub(crate) mod recall;
pub(crate) mod restore;
pub(crate) mod runtime;
pub(crate) mod standby;
pub mod store;
pub(crate) mod throttle;
pub(crate) mod transport;

pub use config::LogFormat;
pub use node::{NodeError, Options, check_config, run};
pub use restore::RestoreError;

#[cfg(test)]
mod tests;
