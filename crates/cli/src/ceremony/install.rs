//! `install FILE --data DIR`: verifies a signed document against the charter's roots and leaves it where the node looks,
//! whether the node is running or not. Whoever types it twice is told so, and a node whose store was lost has it again.

mod charter;
mod credential;
mod standby;

use std::path::PathBuf;

use clap::Args;
use demarche_control::{
    ClientError,
    layout::{self, ChannelDir},
    types::{ChannelInfo, Installed, Outcome},
};
use demarche_protocol::{
    document::DocumentType,
    hash::{ChannelId, DocumentId},
};
use serde_json::json;

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
    /// With a charter: a member's signed card. The node's own is found in the data directory.
    #[arg(long = "card", value_name = "FILE")]
    cards: Vec<PathBuf>,
    /// With a charter: the channel's local name. Default: made from the title.
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// With a card of this node's own whose keys are here: lay it ready. The node goes on under it by itself when it finds that its disk was
    /// lost or set back, and not before.
    #[arg(long, conflicts_with_all = ["cards", "name"])]
    standby: bool,
}

/// One document that was left for the node, or was there.
struct Item {
    /// In plain words: `card 1 of muscat`.
    what: String,
    channel: String,
    document: DocumentId,
    left: Left,
}

/// What became of an item.
enum Fate {
    /// It was there before: in its place, or in the node.
    Already,
    /// The node has it.
    Taken,
    /// It lies there; the node does not run.
    Waiting,
    /// The same, and it was installed before.
    Again,
    /// It lies there, and the node that runs has not taken it yet.
    Left,
    /// The node does not want it.
    Refused(String),
}

/// Installs.
pub(super) fn run(args: &InstallArgs, desk: &Desk<'_>) -> Result<Said> {
    let beside = Beside::read(&args.file)?;
    if args.standby {
        return standby::lay_ready(&beside, desk);
    }
    let misplaced = match beside.kind {
        DocumentType::Charter => None,
        DocumentType::Dispatch => {
            return Err(refused(format!("{} is a dispatch: it is sent, not installed", args.file.display()))
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
    let answer = desk.with_node(|client| async move {
        let outcomes = client.install().await?;
        Ok(Node { outcomes, channels: client.channels().await? })
    });
    let node = match answer {
        Ok(node) => Some(node),
        Err(ClientError::NotReachable { .. }) => None,
        // It is left all the same; the node looks again at its next start.
        Err(other) => {
            said = said.line(format!("the node was asked to take it in and did not: {other}"));
            None
        }
    };
    let mut json = Vec::new();
    let mut refusal = None;
    for item in items {
        let fate = fate(item, node.as_ref(), desk);
        said = said.line(format!("{}: {} ({})", item.channel, item.what, fate.in_words()));
        json.push(json!({
            "what": item.what,
            "channel": item.channel,
            "document": item.document.to_string(),
            "outcome": fate.word(),
        }));
        if let Fate::Refused(why) = fate {
            refusal.get_or_insert((item, why));
        }
    }
    if let Some((item, why)) = refusal {
        return Err(refused(format!("the node refuses {}: {}", item.what, why.trim()))
            .help("put that right, then install it again"));
    }
    if node.is_none() {
        said = said
            .line("the node is not running; it takes in what it does not have when it starts")
            .next(format!("demarched --data {}", quoted(desk.data.path())));
    }
    Ok(said.json(json!({ "running": node.is_some(), "installed": json })))
}

/// What a running node says.
struct Node {
    outcomes: Vec<Installed>,
    channels: Vec<ChannelInfo>,
}

fn fate(item: &Item, node: Option<&Node>, desk: &Desk<'_>) -> Fate {
    let directory = desk.data.channel(&item.channel);
    let outcome = node.and_then(|node| {
        node.outcomes.iter().find(|outcome| {
            // One document may be left in several channels.
            outcome.document == Some(item.document)
                && desk.data.path().join(&outcome.file).starts_with(directory.path())
        })
    });
    match outcome {
        Some(Installed { outcome: Outcome::Refused, why, .. }) => {
            return Fate::Refused(why.clone().unwrap_or_else(|| "it does not say why".to_owned()));
        }
        Some(Installed { outcome: Outcome::Already, .. }) => return Fate::Already,
        Some(Installed { outcome: Outcome::Taken, .. }) => return Fate::Taken,
        None => {}
    }
    // The node may have looked by itself just before it was asked.
    if let Ok(why) = layout::read_bounded(&directory.refused_why(item.document), layout::SECRET_FILE) {
        return Fate::Refused(String::from_utf8_lossy(&why).into_owned());
    }
    let lies_there = directory.incoming_file(item.document).exists();
    let is_channel = ChannelId::from(item.document);
    match (node, item.left) {
        (_, Left::InPlace) => Fate::Already,
        (None, Left::New) => Fate::Waiting,
        (None, Left::Again) => Fate::Again,
        (Some(_), _) if lies_there => Fate::Left,
        (Some(node), _) if item.is_charter(&directory) => {
            if node.channels.iter().any(|info| info.channel == is_channel) { Fate::Taken } else { Fate::Left }
        }
        (Some(_), Left::New) => Fate::Taken,
        (Some(_), Left::Again) => Fate::Already,
    }
}

impl Item {
    /// The charter is no incoming document: it is the channel's own file.
    fn is_charter(&self, directory: &ChannelDir) -> bool {
        !directory.installed_file(self.document).exists()
    }
}

impl Fate {
    const fn in_words(&self) -> &'static str {
        match self {
            Self::Already => "already installed",
            Self::Taken => "installed, and taken in by the node",
            Self::Waiting => "installed, waiting for the node",
            Self::Again => "installed before, waiting for the node again",
            Self::Left => "installed; the node takes it in by itself",
            Self::Refused(_) => "refused by the node",
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Already => "already",
            Self::Taken => "taken",
            Self::Waiting | Self::Again => "waiting",
            Self::Left => "left",
            Self::Refused(_) => "refused",
        }
    }
}
