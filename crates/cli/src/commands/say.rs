//! `demarche say`: discussion, within a case or outside any.

use std::path::PathBuf;

use clap::Args;
use demarche_protocol::dispatch::{Content, Dispatch, Nature, Precedence, Statement};

use super::{
    release::{self, Author, Typed},
    reply::PRECEDENCES,
};
use crate::{
    args::{Globals, Sending, term},
    compose,
    error::Result,
    exit::Exit,
    reference::Reference,
    world::World,
};

pub(super) const NATURES: [&str; 3] = ["real", "exercise", "test"];

/// Say something.
#[derive(Args, Debug)]
pub struct Say {
    /// The case it belongs to: its notice's serial.
    #[arg(long, value_name = "CASE")]
    pub case: Option<Reference>,
    /// One line above the text.
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// The file that holds the text, instead of stdin.
    #[arg(long, value_name = "FILE")]
    pub body_file: Option<PathBuf>,
    /// Order of service [default: the case's, else routine].
    #[arg(long, value_name = "PRECEDENCE", value_parser = term::<Precedence>(&PRECEDENCES))]
    pub precedence: Option<Precedence>,
    /// Whether it is meant [default: the case's, else real].
    #[arg(long, value_name = "NATURE", value_parser = term::<Nature>(&NATURES))]
    pub nature: Option<Nature>,
    /// How to send.
    #[command(flatten)]
    pub sending: Sending,
}

pub(super) async fn run(command: Say, globals: &Globals, world: &mut World) -> Result<Exit> {
    let typed = Typed::read(command.body_file.as_ref(), world).await?;
    let keeping = release::keeping(&command.sending, world);
    let interrupts = world.interrupts.clone();
    let drafted = interrupts.or(draft(&command, &typed, globals, world)).await;
    let done = release::drafted(drafted, &command.sending, world).await;
    typed.kept_if_failed(done, &keeping, &globals.invocation)
}

async fn draft(
    command: &Say,
    typed: &Typed,
    globals: &Globals,
    world: &mut World,
) -> Result<(Author, Dispatch)> {
    let text = typed.tidied()?;
    compose::check_body("the statement", &text.text)?;
    let mut changes = text.changes;
    let title = command
        .title
        .as_deref()
        .map(|title| compose::tidy_line("--title", Some("title"), title, &mut changes))
        .transpose()?;
    let channel = command.case.as_ref().and_then(|case| case.channel.as_deref());
    let author = Author::of(globals, world, channel).await?;
    let mut case = None;
    let (mut nature, mut precedence) = (Nature::Real, Precedence::Routine);
    if let Some(reference) = &command.case {
        let (shown, original) = author.original(reference).await?;
        case = Some(release::notice_of(&shown, &original)?);
        (nature, precedence) = (original.dispatch.nature, original.dispatch.precedence);
    }
    release::tell_changes(&changes, world);
    let content = Content::Statement(Statement { case, title, body: text.text });
    let (nature, precedence) = (command.nature.unwrap_or(nature), command.precedence.unwrap_or(precedence));
    let dispatch = author.dispatch(world, nature, precedence, content);
    Ok((author, dispatch))
}
