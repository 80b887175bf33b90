//! The live session, from its bytes to the choice between several.

mod handshakes;
mod support;
