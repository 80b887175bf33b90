//! One file for each command. What those that sign share is [`release`].

pub mod ack;
pub mod alarms;
pub mod breach;
pub mod cases;
pub mod completions;
pub mod inbox;
pub mod line;
pub mod open;
pub mod release;
pub mod reply;
pub mod say;
pub mod send;
pub mod show;
pub mod status;
pub mod watch;

use crate::{
    args::{Command, Globals},
    ceremony,
    error::Result,
    exit::Exit,
    runtime::block_on,
    world::World,
};

/// Does what was asked.
pub fn run(command: Command, globals: &Globals, world: &mut World) -> Result<Exit> {
    match command {
        Command::Breach(command) => block_on(breach::run(*command, globals, world)),
        Command::Inbox(command) => block_on(inbox::run(command, globals, world)),
        Command::Open(command) => block_on(open::run(command, globals, world)),
        Command::Ack(command) => block_on(ack::run(command, globals, world)),
        Command::Reply(command) => block_on(reply::run(command, globals, world)),
        Command::Say(command) => block_on(say::run(command, globals, world)),
        Command::Send(command) => block_on(send::run(command, globals, world)),
        Command::Cases(command) => block_on(cases::run(command, globals, world)),
        Command::Show(command) => block_on(show::run(command, globals, world)),
        Command::Alarms(command) => block_on(alarms::run(command, globals, world)),
        Command::Watch(command) => block_on(watch::run(command, globals, world)),
        Command::Status(command) => block_on(status::run(command, globals, world)),
        Command::Line(command) => block_on(line::run(command, globals, world)),
        Command::Ceremony(command) => ceremony::run(command, globals, world),
        Command::Completions(command) => {
            completions::run(&command, world);
            Ok(Exit::Done)
        }
    }
}
