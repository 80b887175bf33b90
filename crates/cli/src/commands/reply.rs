//! `demarche reply`: the party's position on a case whose notice was verified here.

use std::path::PathBuf;

use clap::Args;
use demarche_protocol::dispatch::{Content, Dispatch, Position, Precedence, Reply as Replying};

use super::release::{self, Author, Typed};
use crate::{
    args::{Globals, Sending, term},
    compose,
    error::Result,
    exit::Exit,
    reference::Reference,
    view,
    world::World,
};

const POSITIONS: [&str; 7] =
    ["confirm", "deny", "explain", "investigating", "remedied", "counter", "no-competence"];
pub(super) const PRECEDENCES: [&str; 4] = ["flash", "immediate", "priority", "routine"];

/// Take a position on a case.
#[derive(Args, Debug)]
pub struct Reply {
    /// The case: its notice's serial.
    pub case: Reference,
    /// The position.
    #[arg(long, value_name = "POSITION", value_parser = term::<Position>(&POSITIONS))]
    pub position: Position,
    /// The file that holds the text, instead of stdin.
    #[arg(long, value_name = "FILE")]
    pub body_file: Option<PathBuf>,
    /// Order of service [default: the notice's].
    #[arg(long, value_name = "PRECEDENCE", value_parser = term::<Precedence>(&PRECEDENCES))]
    pub precedence: Option<Precedence>,
    /// How to send.
    #[command(flatten)]
    pub sending: Sending,
}

pub(super) async fn run(command: Reply, globals: &Globals, world: &mut World) -> Result<Exit> {
    let typed = Typed::read(command.body_file.as_ref(), world).await?;
    let keeping = release::keeping(&command.sending, world);
    let interrupts = world.interrupts.clone();
    let drafted = interrupts.or(draft(&command, &typed, globals, world)).await;
    let done = release::drafted(drafted, &command.sending, world).await;
    typed.kept_if_failed(done, &keeping, &globals.invocation)
}

async fn draft(
    command: &Reply,
    typed: &Typed,
    globals: &Globals,
    world: &mut World,
) -> Result<(Author, Dispatch)> {
    let text = typed.tidied()?;
    compose::check_body("the reply", &text.text)?;
    let author = Author::of(globals, world, command.case.channel.as_deref()).await?;
    let (shown, original) = author.original(&command.case).await?;
    let case = release::notice_of(&shown, &original)?;
    view::whole(&mut world.screen, &shown, Some(&author.pin.charter), Some(&original));
    release::tell_changes(&text.changes, world);
    let of = &original.dispatch;
    let content = Content::Reply(Replying { case, position: command.position, body: text.text });
    let precedence = command.precedence.unwrap_or(of.precedence);
    let dispatch = author.dispatch(world, of.nature, precedence, content);
    Ok((author, dispatch))
}
