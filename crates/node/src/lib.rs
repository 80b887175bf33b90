//! The daemon: libp2p, stores, mediator services, control server.

pub mod config;
pub mod defaults;
pub mod hook;
pub mod keystore;
pub mod logging;
pub mod store;
pub mod transport;
