//! The daemon: libp2p, stores, mediator services, control server.

pub mod transport;
