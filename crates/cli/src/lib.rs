//! The officers' commands.
//!
//! [`args`] is the command line; [`commands`] holds one file for each command, `ceremony` those by which a
//! channel is founded. They share: [`world`] (screen, input, environment, clock), [`screen`] (the one door to the
//! terminal), [`error`] and [`exit`] (how a command fails), [`keyfile`] and [`profile`]. A dispatch goes through
//! [`compose`], [`station`] (which node, channel, key), [`original`] (what is answered is verified first), [`outbox`]
//! and [`wait`]; what ends it from outside on that way is heeded by [`interrupts`].

pub mod args;
pub mod ceremony;
pub mod commands;
pub mod compose;
pub mod error;
pub mod escape;
pub mod exit;
pub mod interrupts;
pub mod keyfile;
pub mod original;
pub mod outbox;
pub mod profile;
pub mod reference;
pub mod runtime;
pub mod screen;
pub mod station;
pub mod view;
pub mod wait;
pub mod when;
pub mod world;

use std::{ffi::OsString, process::ExitCode};

use clap::Parser as _;

use args::Cli;
use exit::Exit;
use world::World;

/// The program: the process's arguments, streams and environment.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os(), &mut World::of_process()).code())
}

/// One command, with all it touches given.
pub fn run(arguments: impl IntoIterator<Item = OsString>, world: &mut World) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, world),
    };
    world.screen.set_json(cli.globals.json);
    match commands::run(cli.command, &cli.globals, world) {
        Ok(exit) => exit,
        Err(failure) => {
            world.screen.fail(&failure);
            failure.exit
        }
    }
}

/// Prints clap's help or complaint.
fn usage(error: &clap::Error, world: &mut World) -> Exit {
    let text = error.render().to_string();
    let wrong = error.use_stderr();
    for line in text.trim_end().lines() {
        if wrong {
            world.screen.note(line);
        } else {
            world.screen.say(line);
        }
    }
    if wrong { Exit::Usage } else { Exit::Done }
}
