//! `install FILE --data DIR`: verifies a signed document against the charter's roots and leaves it where the node looks,
//! whether the node is running or not. Whoever types it twice is told so.

mod charter;
mod credential;

use std::path::PathBuf;

use clap::Args;
use demarche_control::{
    ClientError,
    types::{Installed, Outcome},
};
use demarche_protocol::{document::DocumentType, hash::DocumentId};
use serde_json::{Value, json};

use super::{
    Desk,
    beside::{Beside, quoted},
    channels::Left,
    said::Said,
};
use crate::error::{Result, refused, usage};

/// What to install.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// A charter, card, officer, revocation, list of roots or suspension, its signatures beside it.
    file: PathBuf,
    /// With a charter: a member's signed card. May be repeated. The node's own is found in the data directory.
    #[arg(long = "card", value_name = "FILE")]
    cards: Vec<PathBuf>,
    /// With a charter: the channel's local name. Default: made from the title.
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
}

/// One document that was left for the node, or was there.
struct Item {
    /// In plain words: `card 1 of muscat`.
    what: String,
    channel: String,
    document: DocumentId,
    left: Left,
}

/// Installs.
pub(super) fn run(args: &InstallArgs, desk: &Desk<'_>) -> Result<Said> {
    let beside = Beside::read(&args.file)?;
    let misplaced = match beside.kind {
        DocumentType::Charter => None,
        DocumentType::Dispatch => {
            return Err(usage(format!("{} is a dispatch: it is sent, not installed", args.file.display()))
                .help(format!("demarche send {}", quoted(&args.file))));
        }
        _ if args.name.is_some() => Some("--as"),
        _ if !args.cards.is_empty() => Some("--card"),
        _ => None,
    };
    if let Some(option) = misplaced {
        return Err(usage(format!(
            "{option} belongs to a charter; {} is a {}",
            args.file.display(),
            beside.kind
        )));
    }
    let mut said = Said::default();
    let items = if beside.kind == DocumentType::Charter {
        charter::install(args, &beside, desk, &mut said)?
    } else {
        credential::install(&beside, desk)?
    };
    tell_node(said, &items, desk)
}

/// Asks a running node to take it in now, and says what became of it.
fn tell_node(mut said: Said, items: &[Item], desk: &Desk<'_>) -> Result<Said> {
    let answer = desk.with_node(|client| async move { client.install().await });
    let (running, outcomes) = match answer {
        Ok(outcomes) => (true, outcomes),
        Err(ClientError::NotReachable { .. }) => (false, Vec::new()),
        // It is left all the same; the node looks again at its next start.
        Err(other) => {
            said = said.line(format!("the node was asked to take it in and did not: {other}"));
            (false, Vec::new())
        }
    };
    let outcome = |item: &Item| outcomes.iter().find(|outcome| outcome.document == Some(item.document));
    let mut json = Vec::new();
    let mut why_not = None;
    for item in items {
        let found = outcome(item);
        said = said.line(format!("{}: {} ({})", item.channel, item.what, in_words(item, found, running)));
        json.push(item_json(item, found, running));
        if let Some(Installed { outcome: Outcome::Refused, why, .. }) = found {
            let why = why.clone().unwrap_or_else(|| "it does not say why".to_owned());
            why_not.get_or_insert((item, why));
        }
    }
    if let Some((item, why)) = why_not {
        return Err(refused(format!("the node refuses {}: {why}", item.what))
            .help("put that right, then install it again"));
    }
    if !running {
        let all_known = items.iter().all(|item| item.left == Left::Already);
        said = if all_known {
            said.line("the node does not answer now")
        } else {
            said.line("the node is not running; it takes this in when it starts")
        };
        said = said.next(format!("demarched --data {}", quoted(desk.data.path())));
    }
    Ok(said.json(json!({ "running": running, "installed": json })))
}

fn in_words(item: &Item, found: Option<&Installed>, running: bool) -> &'static str {
    match (item.left, found.map(|found| found.outcome)) {
        (_, Some(Outcome::Refused)) => "refused by the node",
        (Left::Already, _) | (_, Some(Outcome::Already)) => "already installed",
        (_, Some(Outcome::Taken)) => "installed, and taken in by the node",
        (_, None) if running => "installed; the node takes it in by itself",
        (_, None) => "installed, waiting for the node",
    }
}

fn item_json(item: &Item, found: Option<&Installed>, running: bool) -> Value {
    let state = match (item.left, found.map(|found| found.outcome)) {
        (_, Some(Outcome::Refused)) => "refused",
        (Left::Already, _) | (_, Some(Outcome::Already)) => "already",
        (_, Some(Outcome::Taken)) => "taken",
        (_, None) if running => "left",
        (_, None) => "waiting",
    };
    json!({
        "what": item.what,
        "channel": item.channel,
        "document": item.document.to_string(),
        "outcome": state,
        "why": found.and_then(|found| found.why.clone()),
    })
}
