//! The live session, from its bytes to the choice between several.

mod attacker;
mod choosing;
mod handshakes;
mod hostile_carrier;
mod impostors;
mod lifetime;
mod line;
mod silence;
mod support;
mod vectors;
