//! `charter draft|explain|verify|show`: the document that founds a channel, from the first draft to the last signature.

mod draft;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use demarche_protocol::{charter::Charter, dispatch::Precedence, document::DocumentType, hash::ChannelId};
use serde_json::{Value, json};

use super::{
    Desk,
    beside::{Beside, malformed, quoted},
    channels,
    check::charter_standing,
    plain,
    said::Said,
};
use crate::error::{Result, refused, usage};

/// Commands about charters.
#[derive(Debug, Subcommand)]
pub enum CharterCommand {
    /// Draft a charter from the members' signed cards and a file of provisions.
    Draft(draft::DraftArgs),
    /// Say in plain words what a charter says: parties, roots to read aloud, every rule that is not as usual.
    Explain(FileArgs),
    /// Say who has signed, who is missing, and what to do next.
    Verify(FileArgs),
    /// Show the text of a charter: a file, or the one installed.
    Show(ShowArgs),
}

/// A charter's file.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// The charter.
    pub(super) file: PathBuf,
}

/// Which charter to show.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The charter's file. Default: the one installed in the data directory.
    file: Option<PathBuf>,
}

pub(super) fn run(command: CharterCommand, desk: &Desk<'_>) -> Result<Said> {
    match command {
        CharterCommand::Draft(args) => draft::run(&args, desk),
        CharterCommand::Explain(args) => explain(&args),
        CharterCommand::Verify(args) => verify::run(&args),
        CharterCommand::Show(args) => show(args, desk),
    }
}

/// A charter's file and what it says; another type of document is refused by name.
pub(super) fn read(file: &std::path::Path) -> Result<(Beside, Charter)> {
    let beside = Beside::read(file)?;
    if beside.kind != DocumentType::Charter {
        return Err(refused(format!("{} is a {}, not a charter", file.display(), beside.kind))
            .help("name the charter's text, as demarche charter draft wrote it"));
    }
    let charter = Charter::parse(beside.text()).map_err(|why| malformed(file, &why))?;
    Ok((beside, charter))
}

fn explain(args: &FileArgs) -> Result<Said> {
    let (beside, charter) = read(&args.file)?;
    let plain = plain::charter(&charter);
    let channel = ChannelId::from(beside.document().id());
    Ok(Said::new(plain.headline)
        .line(format!("{:<14}{channel}", "channel"))
        .lines(plain.lines)
        .line("")
        .line(
            "Read each root's groups of digits aloud to its owner, over a line on which you know the voice.",
        )
        .line("The channel's hash is the charter's: whoever compares it compares the whole text.")
        .next(format!("each member's roots: demarche sign {} --key ROOT.key", quoted(&args.file)))
        .json(describe(&beside, &charter)))
}

fn show(args: ShowArgs, desk: &Desk<'_>) -> Result<Said> {
    if let Some(file) = args.file {
        let (beside, charter) = read(&file)?;
        return Ok(Said::default().text(beside.text()).json(describe(&beside, &charter)));
    }
    let channels = channels::chosen(&desk.data, desk.channel.as_deref())?;
    match channels.as_slice() {
        [] => Err(usage(format!("no charter is installed in {}", desk.data.path().display()))
            .help("demarche charter show FILE")),
        [channel] => {
            let text = channel.charter.document().text();
            let json = json!({
                "name": channel.name,
                "channel": channel.id().to_string(),
                "title": channel.charter.title,
                "text": text,
            });
            Ok(Said::default().text(text).json(json))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|channel| channel.name.as_str()).collect();
            Err(usage("several channels are installed here: say which")
                .help(format!("--channel {}", names.join(" or "))))
        }
    }
}

/// A charter for programs.
fn describe(beside: &Beside, charter: &Charter) -> Value {
    let standing = charter_standing(beside, charter);
    let members: Vec<Value> = charter
        .members()
        .zip(&standing)
        .map(|(member, standing)| {
            json!({
                "id": member.id.as_str(),
                "name": member.name,
                "role": if charter.party(&member.id).is_some() { "party" } else { "mediator" },
                "roots": member.roots.keys().iter().map(|key| json!({
                    "key": key.to_openssh(),
                    "fingerprint": key.fingerprint(),
                    "spoken": key.spoken(),
                    "signed": standing.signed.contains(key),
                })).collect::<Vec<_>>(),
                "needed": member.roots.needed(),
                "signed": standing.signed.len(),
                "complete": standing.complete(),
            })
        })
        .collect();
    json!({
        "type": DocumentType::Charter.name(),
        "channel": beside.document().id().to_string(),
        "title": charter.title,
        "drafted_at": charter.drafted_at.to_string(),
        "members": members,
        "provisions": charter.provisions.iter().map(|provision| json!({
            "code": provision.code,
            "title": provision.title,
            "precedence": provision.precedence.map(Precedence::as_str),
        })).collect::<Vec<_>>(),
        "departures": charter.policy.departures(),
        "complete": standing.iter().all(super::check::Standing::complete),
        "text": beside.text(),
    })
}
