//! The officers' commands.
//!
//! [`args`] is the command line; [`commands`] holds one file for each command, `ceremony` those by which a
//! channel is founded. They share: [`world`] (screen, input, environment, clock), [`screen`] (the one door to the
//! terminal), [`error`] and [`exit`] (how a command fails), [`files`], [`keyfile`] and [`profile`]. A dispatch goes through
//! [`compose`], [`station`] (which node, channel, key), [`original`] (what is answered is verified first), [`outbox`]
//! and [`wait`]; what ends it from outside on that way is heeded by [`interrupts`], and what was kept is gone on with by the
//! line that [`invocation`] gives back.

pub mod args;
pub mod ceremony;
pub mod commands;
pub mod compose;
pub mod error;
pub mod escape;
pub mod exit;
pub mod files;
pub mod interrupts;
pub mod invocation;
pub mod keyfile;
pub mod original;
pub mod outbox;
pub mod profile;
pub mod reference;
pub mod runtime;
pub mod screen;
pub mod shell;
pub mod station;
mod typing;
mod usage;
pub mod view;
pub mod wait;
pub mod when;
pub mod world;

use std::{ffi::OsString, process::ExitCode};

use args::Cli;
use exit::Exit;
use world::World;

/// The program: the process's arguments, streams and environment.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os(), &mut World::of_process()).code())
}

/// One command, with all it touches given.
pub fn run(arguments: impl IntoIterator<Item = OsString>, world: &mut World) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let done = match Cli::read(&arguments) {
        Ok(cli) => {
            world.screen.set_json(cli.globals.json);
            commands::run(cli.command, &cli.globals, world)
        }
        Err(error) => {
            world.screen.set_json(error.use_stderr() && usage::wants_json(&arguments));
            usage::told(&error, &arguments, world)
        }
    };
    match done {
        Ok(exit) => exit,
        Err(mut failure) => {
            if failure.help.is_empty() {
                // No failure leaves the officer without a next step.
                failure.help.push(format!("{} --help", usage::command_of(&arguments)));
            }
            world.screen.fail(&failure);
            failure.exit
        }
    }
}
