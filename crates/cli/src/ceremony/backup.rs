//! `backup`: the node's memory in one sealed file, taken while it runs, and `backup verify`, which says what such a file holds and needs
//! no node. [`sealed`] is the seal, [`archive`] what lies in it, [`contents`] looks at it as it is read.
//!
//! The tool reads the files of the data directory and asks the node for its journal, so nothing is locked and nothing stands
//! still. No key is taken along: a backup that is opened by the wrong hands tells what was said, and speaks for nobody.

pub(super) mod archive;
pub(super) mod contents;
pub(super) mod sealed;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use age::stream::StreamWriter;
use clap::{Args, Subcommand};
use demarche_control::{
    Client,
    backup::{ABOUT, About, in_data, journal_file},
    layout::{self, PRIVATE, SIGNED_FILE, Unfinished},
};
use demarche_protocol::identity::keys::PublicKey;
use serde_json::{Value, json};

use self::{archive::Writer, contents::Contents};
use super::{Desk, beside::quoted, channels::unwritten, said::Said, words};
use crate::{
    error::{Result, failed, refused, unverified, usage},
    exit::Exit,
    files,
    runtime::block_on,
};

/// Where the backup goes and who can open it; or another act on one.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    /// Where the backup goes. Nothing is overwritten.
    #[arg(long, value_name = "FILE", required = true)]
    out: Option<PathBuf>,
    /// Who can open it: an `ssh-ed25519` public key's line, or the .pub file that holds it. Once for each.
    #[arg(long = "recipient", value_name = "KEY", required = true)]
    recipients: Vec<String>,
}

/// Acts on a backup that is there.
#[derive(Debug, Subcommand)]
pub(super) enum BackupCommand {
    /// Open a backup, check every file, record and signature in it, and say how far it reaches.
    ///
    /// It needs no node. Exit 6 when anything is wrong, with its name.
    Verify(VerifyArgs),
}

/// Which backup, and the key that opens it.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The backup.
    file: PathBuf,
    /// The private key of one of its recipients.
    #[arg(long, value_name = "KEY")]
    identity: PathBuf,
}

/// Makes or verifies one.
pub(super) fn run(args: BackupArgs, desk: &Desk<'_>) -> Result<Said> {
    match (args.command, args.out) {
        (Some(BackupCommand::Verify(args)), _) => verify(&args, desk),
        (None, Some(out)) => make(&out, &args.recipients, desk),
        (None, None) => Err(usage("it is not said where the backup goes").help("--out FILE")),
    }
}

fn make(out: &Path, recipients: &[String], desk: &Desk<'_>) -> Result<Said> {
    let recipients = sealed::recipients(recipients)?;
    words::refuse_existing(out)?;
    let client = Client::new(desk.socket());
    let about = block_on(async { Ok(client.backup().await?) }).map_err(|failure| match failure.exit {
        Exit::NodeAway => failure.line("a backup is made while the node runs: it alone reads its store"),
        _ => failure,
    })?;
    if !desk.data.card(&about.party).exists() {
        return Err(refused(format!(
            "{} is not the data directory of the node that answers, {}'s",
            desk.data.path().display(),
            about.party
        ))
        .help("name both or neither: --data DIR, --socket FILE"));
    }
    let full = |why: io::Error| {
        unwritten(out, &why)
            .help("free space there, or name another place with --out; nothing was left behind")
    };
    let file = Unfinished::create(out, PRIVATE).map_err(|why| {
        unwritten(out, &why).help("name a directory that is there and that you may write: --out FILE")
    })?;
    let mut archive = Writer::new(sealed::seal(&recipients, file)?, about.made_at);
    let text = serde_json::to_vec_pretty(&about).map_err(|why| failed(why.to_string()))?;
    archive.put(ABOUT, &text).map_err(full)?;
    let mut kept = 0;
    for name in names(desk)? {
        let path = desk.data.path().join(in_data(&name).unwrap_or_default());
        let bytes = match layout::read_bounded(&path, SIGNED_FILE) {
            // A document that the node refuses is taken away at any moment.
            Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
            bytes => bytes.map_err(|why| files::unreadable(&path, &why))?,
        };
        archive.put(&name, &bytes).map_err(full)?;
        kept += 1;
    }
    put_journal(&client, &about, &mut |name, bytes| archive.put(name, bytes).map_err(full))?;
    let file = archive.finish().and_then(StreamWriter::finish).map_err(full)?;
    file.finish().map_err(full)?;
    let sealed_for: Vec<String> = recipients.iter().map(PublicKey::fingerprint).collect();
    Ok(Said::new(format!("backup of {}'s node made: {}", about.party, out.display()))
        .line(format!("  of             {}", about.made_at))
        .line(format!("  journal        up to record {}", about.journal))
        .line(format!("  sealed for     {}", sealed_for.join(", ")))
        .line(
            "  it holds no key of the node: to speak again, a restored node needs a new card, or a spare one",
        )
        .next(format!("where that key is: demarche backup verify {} --identity KEY", quoted(out)))
        .json(json!({
            "file": out.display().to_string(),
            "party": about.party.as_str(),
            "made_at": about.made_at.to_string(),
            "journal": about.journal,
            "files": kept,
            "recipients": sealed_for,
        })))
}

/// The journal, segment by segment.
fn put_journal(client: &Client, about: &About, put: &mut dyn FnMut(&str, &[u8]) -> Result<()>) -> Result<()> {
    block_on(async {
        let mut after = 0;
        while after < about.journal {
            let segment = client.backup_segment(after, about.journal).await?;
            let records = demarche_control::backup::segment(&segment)
                .map_err(|why| failed(format!("the node's journal behind record {after}: {why}")))?;
            let Some(last) = records.last() else {
                return Err(failed(format!("the node gives no record behind {after}"))
                    .help("look at the node's log, and see how it is: demarche status"));
            };
            put(&journal_file(after + 1), &segment)?;
            after = last.index;
        }
        Ok(())
    })
}

/// The names under which files of the data directory stand in the archive: charters before what was installed under them.
fn names(desk: &Desk<'_>) -> Result<Vec<String>> {
    let root = desk.data.path();
    let mut names = Vec::new();
    let mut list = |below: &str| -> Result<()> {
        let folder = root.join(below);
        let unreadable = |why: io::Error| files::unreadable(&folder, &why);
        let entries = match fs::read_dir(&folder) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(unreadable)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let file = entry.map_err(unreadable)?.file_name();
            let name = format!("data/{below}{}", file.to_string_lossy());
            found.extend(in_data(&name).is_some().then_some(name));
        }
        found.sort();
        names.append(&mut found);
        Ok(())
    };
    list("")?;
    let channels = desk.data.channel_names().map_err(|why| files::unreadable(&desk.data.channels(), &why))?;
    for channel in channels {
        list(&format!("channels/{channel}/"))?;
        list(&format!("channels/{channel}/installed/"))?;
    }
    Ok(names)
}

fn verify(args: &VerifyArgs, desk: &Desk<'_>) -> Result<Said> {
    let found = check(&args.file, &args.identity, desk, &mut |_, _| Ok(()))?;
    let about = &found.about;
    let mut said = Said::new(format!("{}: a whole backup of {}'s node", args.file.display(), about.party))
        .line(format!("  of             {}", about.made_at))
        .line(format!("  journal        up to record {}, every hash and signature good", about.journal))
        .line(format!("  cards          up to card {}", found.highest()));
    for channel in &found.channels {
        let heads: Vec<String> =
            channel.heads().iter().map(|head| format!("{head} {}", head.hash.short())).collect();
        let heads = if heads.is_empty() { "no entry".to_owned() } else { heads.join(", ") };
        said = said.line(format!("  {:<14} as of {heads}  ({})", channel.name, channel.charter.title));
    }
    let channels: Vec<Value> = found
        .channels
        .iter()
        .map(|channel| {
            let heads: Vec<Value> = channel
                .heads()
                .iter()
                .map(|head| {
                    json!({ "serial": head.to_string(), "card": head.card.0, "hash": head.hash.to_string() })
                })
                .collect();
            json!({ "name": channel.name, "channel": channel.charter.id().to_string(), "heads": heads })
        })
        .collect();
    Ok(said
        .next(format!(
            "on an empty machine: demarche restore {} --identity {} --data DIR",
            quoted(&args.file),
            quoted(&args.identity)
        ))
        .json(json!({
            "file": args.file.display().to_string(),
            "party": about.party.as_str(),
            "made_at": about.made_at.to_string(),
            "journal": about.journal,
            "highest_card": found.highest().0,
            "channels": channels,
        })))
}

/// Reads a backup, looks at all that it holds, and hands each file on.
pub(super) fn check(
    file: &Path,
    identity: &Path,
    desk: &Desk<'_>,
    take: archive::Take<'_>,
) -> Result<contents::Found> {
    let opened = sealed::open(file, identity, desk)?;
    let mut contents = Contents::default();
    let wrong = |why: String| {
        unverified(format!("{}: {why}", file.display())).help("use another copy of it, or an earlier one")
    };
    archive::read(opened, &mut |name, bytes| {
        contents.take(name, bytes).map_err(wrong)?;
        take(name, bytes)
    })?;
    contents.finish().map_err(wrong)
}
