//! Simulated network, clock and disk for the protocol, and fixtures.
