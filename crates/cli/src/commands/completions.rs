//! `demarche completions`: for the shells.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{args::Cli, world::World};

/// Print completions.
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell.
    pub shell: Shell,
}

pub(super) fn run(command: &Completions, world: &mut World) {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Cli::command(), "demarche", &mut script);
    world.screen.verbatim(&String::from_utf8_lossy(&script));
}
