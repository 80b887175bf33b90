//! The daemon: libp2p, stores, mediator services, control server. [`node`] puts the parts together; everything else is one
//! part each.

pub mod config;
pub mod control;
pub mod defaults;
pub mod home;
pub mod hook;
pub(crate) mod install;
pub mod keystore;
pub mod line;
pub(crate) mod link;
pub mod lock;
pub mod logging;
pub mod node;
pub(crate) mod notify;
pub(crate) mod runtime;
pub mod store;
pub(crate) mod throttle;
pub mod transport;

pub use node::{NodeError, Options, check_config, run};

#[cfg(test)]
mod tests;
