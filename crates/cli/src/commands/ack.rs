//! `demarche ack`: an officer's signed statement of receipt and understanding, for a dispatch that was verified here.

use clap::Args;
use demarche_control::types::{Evidence, EvidenceKind};
use demarche_protocol::dispatch::{Acknowledgement, Content};

use super::release::{self, Author};
use crate::{
    args::{Globals, Sending},
    compose,
    error::{Result, refused},
    exit::Exit,
    reference::Reference,
    view,
    world::World,
};

/// Acknowledge a dispatch.
#[derive(Args, Debug)]
pub struct Ack {
    /// Which: `tehran/7`, `memo26:tehran/7`, or its document's hash.
    pub serial: Reference,
    /// A remark that is signed with it.
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// How to send.
    #[command(flatten)]
    pub sending: Sending,
}

pub(super) async fn run(command: Ack, globals: &Globals, world: &mut World) -> Result<Exit> {
    let mut changes = Vec::new();
    let note = match &command.note {
        None => None,
        Some(note) => {
            let tidied = compose::tidy(note);
            compose::check_body("--note", &tidied.text)?;
            changes = tidied.changes;
            Some(tidied.text)
        }
    };
    let author = Author::of(globals, world, command.serial.channel.as_deref()).await?;
    let (shown, original) = author.original(&command.serial).await?;
    if original.dispatch.party == author.pin.party {
        return Err(refused(format!(
            "{} is your own party's: the other side acknowledges it",
            shown.header.serial
        ))
        .help(format!("who has: demarche show {}", shown.header.serial)));
    }
    view::whole(&mut world.screen, &shown, Some(&author.pin.charter), Some(&original));
    let own = |piece: &&Evidence| piece.kind == EvidenceKind::Acknowledged && piece.by == author.pin.party;
    if let Some(before) = shown.evidence.iter().find(own) {
        let serial = before.serial.as_ref().map(|serial| format!(" ({serial})")).unwrap_or_default();
        world.screen.note(format!("note: already acknowledged{serial}; this is one more"));
    }
    release::tell_changes(&changes, world);
    world
        .screen
        .say(format!("Acknowledging {}: receipt and understanding; not agreement.", shown.header.serial));
    let content = Content::Acknowledgement(Acknowledgement { of: original.document, note });
    let of = &original.dispatch;
    let dispatch = author.dispatch(world, of.nature, of.precedence, content);
    release::release(dispatch, &author, &command.sending, world).await
}
