//! The officers' commands.
//!
//! [`args`] is the command line; `commands` holds one file for each command, `ceremony` those by which a
//! channel is founded. They share: [`world`] (screen, input, environment, clock), [`screen`] (the one door to the
//! terminal), [`error`] and [`exit`] (how a command fails), [`keyfile`] and [`profile`].

pub mod error;
pub mod escape;
pub mod exit;
pub mod keyfile;
pub mod profile;
pub mod screen;
pub mod world;
