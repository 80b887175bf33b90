//! `cargo demo`: the main job of the line with real processes on loopback, told as it happens, with measured times at the end.
//! It fails if anything it tells did not happen. `cargo demo -- --keep` leaves the nodes running and prints commands to type.
//!
//! [`acts`] is the story, [`told`] the voice and the table of times, [`built`] the two programs. What founds the channel and runs the
//! nodes is shared with the tests.

mod acts;
mod built;
#[path = "../../tests/support/mod.rs"]
mod support;
mod told;

use std::process::ExitCode;

use clap::Parser;

/// Plays the line between two capitals on this machine.
#[derive(Parser)]
#[command(name = "cargo demo --")]
struct Arguments {
    /// Leave the nodes running, and print commands to type
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match built::programs() {
        Ok(programs) => {
            acts::play(programs, arguments.keep);
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
