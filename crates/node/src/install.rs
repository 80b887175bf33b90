//! Taking in what `install` left in the channels' directories: each document is verified, made durable, and its file
//! removed; one that is refused is moved to `refused/` with the reason beside it.

use std::{path::Path, time::Duration};

use demarche_control::{
    layout::{self, ChannelDir, DataDir, PRIVATE},
    types::{Installed, Outcome},
};
use demarche_protocol::{
    document::{DocumentType, SignedDocument},
    hash::DocumentId,
    identity::{
        officer::Officer,
        revocation::{Revocation, Revoked},
        roots::Roots,
    },
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::{
    home::{self, Channel, HomeError, Identity},
    line::Line,
    runtime::{
        channel::{AskError, Handle},
        rosters::Offered,
    },
    store::JournalIndex,
};

/// How long the own card has to become durable: far more than a commit takes.
const OWN_CARD_WITHIN: Duration = Duration::from_secs(2);

/// Takes in everything that lies there for these channels.
pub(crate) async fn take_in(
    data: &DataDir,
    identity: &Identity,
    channels: &[Channel],
    line: &Line,
    durable: &watch::Receiver<JournalIndex>,
) -> Result<Vec<Installed>, HomeError> {
    let mut all = Vec::new();
    for channel in channels {
        let directory = data.channel(&channel.name);
        let mut waiting = home::documents_in(&directory.incoming())?;
        // What is refused may rest on what comes after it: it is offered again as long as anything else is taken.
        while !waiting.is_empty() {
            let mut refused = Vec::new();
            let mut taken = false;
            for (path, document) in waiting {
                let offered = match &document {
                    Err(why) => Offered::Refused(why.clone()),
                    Ok(document) => offer(identity, channel, line, durable, document).await,
                };
                if let Offered::Refused(why) = offered {
                    refused.push((path, document, why));
                } else {
                    taken |= offered == Offered::Taken;
                    all.push(put_away(data, &directory, &path, document.ok(), offered));
                }
            }
            waiting = Vec::new();
            for (path, document, why) in refused {
                if taken && document.is_ok() {
                    waiting.push((path, document));
                } else {
                    let refused = Offered::Refused(why);
                    all.push(put_away(data, &directory, &path, document.ok(), refused));
                }
            }
        }
    }
    Ok(all)
}

/// Tidies up after a document, and tells what became of it.
fn put_away(
    data: &DataDir,
    directory: &ChannelDir,
    path: &Path,
    document: Option<SignedDocument>,
    offered: Offered,
) -> Installed {
    let id = document.map(|document| document.id());
    let tidied = tidy(directory, path, id, &offered);
    let (outcome, why) = match offered {
        Offered::Taken => (Outcome::Taken, None),
        Offered::Already => (Outcome::Already, None),
        Offered::Refused(why) | Offered::Later(why) => (Outcome::Refused, Some(why)),
    };
    let file = path.strip_prefix(data.path()).unwrap_or(path).display().to_string();
    tracing::info!(file, %outcome, why, "installed");
    if let Err(error) = tidied {
        tracing::error!(file, %error, "the file could not be put away");
    }
    Installed { file, document: id, outcome, why }
}

fn tidy(
    directory: &ChannelDir,
    path: &Path,
    id: Option<DocumentId>,
    offered: &Offered,
) -> std::io::Result<()> {
    match offered {
        Offered::Taken | Offered::Already => layout::remove(path),
        Offered::Later(_) => Ok(()),
        Offered::Refused(why) => {
            layout::make_directory(&directory.refused(), 0o700)?;
            // What could not even be read keeps the name it came with.
            let name = id
                .map_or_else(|| path.file_stem().unwrap_or_default().to_owned(), |id| id.to_string().into());
            let file = directory.refused().join(&name);
            layout::write(&file.with_extension("why"), format!("{why}\n").as_bytes(), PRIVATE)?;
            layout::rename(path, &file.with_extension("json"))?;
            // What is not in force here is not to be brought back either.
            id.map_or(Ok(()), |id| layout::remove(&directory.installed_file(id)))
        }
    }
}

async fn offer(
    identity: &Identity,
    channel: &Channel,
    line: &Line,
    durable: &watch::Receiver<JournalIndex>,
    document: &SignedDocument,
) -> Offered {
    if let Some(rosters) = &line.rosters {
        return rosters.offer(channel.id(), document).await;
    }
    let Some(handle) = line.channel(channel.id()) else {
        return Offered::Later("the channel does not run".to_owned());
    };
    let refused = |why: &dyn std::fmt::Display| Offered::Refused(why.to_string());
    match document.document_type() {
        Some(DocumentType::Card) => match to_roster(handle, document).await {
            Offered::Already => once_durable(handle, durable.clone(), document).await,
            other => other,
        },
        Some(DocumentType::Roots) => match Roots::parse(document.text()) {
            Err(why) => refused(&why),
            // Our own log has to say who may sign from here on.
            Ok(roots) if roots.member == identity.me => match to_roster(handle, document).await {
                Offered::Taken | Offered::Already => to_log(handle, document).await,
                other => other,
            },
            Ok(_) => to_roster(handle, document).await,
        },
        Some(DocumentType::Revocation) => match Revocation::parse(document.text()) {
            Err(why) => refused(&why),
            Ok(Revocation { revoked: Revoked::Card { .. }, .. }) => to_roster(handle, document).await,
            Ok(revocation) if revocation.member == identity.me => to_log(handle, document).await,
            Ok(revocation) => refused(&format_args!(
                "it is for {}'s node: officers are revoked in their own party's log",
                revocation.member
            )),
        },
        Some(DocumentType::Officer) => match Officer::parse(document.text()) {
            Err(why) => refused(&why),
            Ok(officer) if officer.party == identity.me => to_log(handle, document).await,
            Ok(officer) => refused(&format_args!(
                "it is for {}'s node: officers are entered in their own party's log",
                officer.party
            )),
        },
        Some(DocumentType::Suspension) => to_log(handle, document).await,
        Some(kind @ (DocumentType::Charter | DocumentType::Dispatch)) => {
            refused(&format_args!("a {kind} is not installed like this"))
        }
        None => refused(&"it is not a document"),
    }
}

async fn to_roster(handle: &Handle, document: &SignedDocument) -> Offered {
    let mut roster = handle.roster().borrow().clone();
    match roster.offer(document) {
        Err(why) => Offered::Refused(why.to_string()),
        Ok(false) => Offered::Already,
        Ok(true) => asked(handle.roster_document(document.clone()).await.map(|()| true)),
    }
}

/// Our own card counts from the start of the line, before the entry that carries it is durable; its file must outlive that.
async fn once_durable(
    handle: &Handle,
    mut durable: watch::Receiver<JournalIndex>,
    document: &SignedDocument,
) -> Offered {
    let id = document.id();
    let until = Instant::now() + OWN_CARD_WITHIN;
    loop {
        durable.mark_unchanged();
        let own = handle.query(move |look| {
            let machine = look.machine;
            machine.card().id() != id || machine.transcript().entries_of(&id).next().is_some()
        });
        match own.await {
            Ok(true) => return Offered::Already,
            Ok(false) => {}
            Err(why) => return Offered::Later(why.to_string()),
        }
        if !matches!(timeout_at(until, durable.changed()).await, Ok(Ok(()))) {
            return Offered::Later("the card could not be entered in the log yet".to_owned());
        }
    }
}

async fn to_log(handle: &Handle, document: &SignedDocument) -> Offered {
    asked(handle.append(document.clone()).await.map(|recorded| recorded.new))
}

fn asked(answer: Result<bool, AskError>) -> Offered {
    use demarche_protocol::channel::Refusal;
    match answer {
        Ok(true) => Offered::Taken,
        Ok(false) => Offered::Already,
        // Nothing is wrong with the document: it stays where it is.
        Err(
            why @ (AskError::Stopping
            | AskError::Refused(
                Refusal::NoSpace | Refusal::OutcomeUnknown | Refusal::Busy | Refusal::NeedsNewCard(_),
            )),
        ) => Offered::Later(why.to_string()),
        Err(why) => Offered::Refused(why.to_string()),
    }
}
