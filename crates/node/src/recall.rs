//! What was installed in a channel, wherever it is: in the store, still lying where `install` left it, or in `installed/` alone.
//!
//! `install` keeps a copy of whatever it has left, and the node takes a document out of `incoming/` only when it is durable. So
//! what lies in `installed/` and in neither of the others was taken in by a store that this one is not: it is gone, or was set
//! back. The node then leaves it for itself once more, and takes it in, verified again, like anything that is installed. What speaks
//! in its own log it writes anew only under a card under which it has not written yet (docs/decisions/0042).

use std::{collections::BTreeSet, path::Path};

use demarche_control::{
    SignedFile,
    layout::{self, ChannelDir, DataDir, PRIVATE},
};
use demarche_protocol::{
    document::{DocumentType, SignedDocument},
    hash::DocumentId,
    identity::{
        card::{Card, CardSerial},
        officer::Officer,
        revocation::{Revocation, Revoked},
        roots::Roots,
        suspension::Suspension,
    },
};

use crate::{
    home::{self, Channel, HomeError, Identity},
    store::Store,
};

/// The documents of one channel that say who may speak.
pub(crate) struct Recalled {
    directory: ChannelDir,
    /// Those in the store: the roster's, and our own log's.
    pub(crate) stored: Vec<SignedDocument>,
    /// Those that `install` left and the node has not taken in yet.
    left: Vec<SignedDocument>,
    /// The copies of all that `install` left and the node has not refused.
    installed: Vec<SignedDocument>,
    /// The copies that say something which the others do not.
    missing: Vec<SignedDocument>,
}

/// Reads them for every channel.
pub(crate) fn recall(
    data: &DataDir,
    identity: &Identity,
    channels: &[Channel],
    store: &dyn Store,
) -> Result<Vec<Recalled>, HomeError> {
    channels.iter().map(|channel| Recalled::read(data, identity, channel, store)).collect()
}

impl Recalled {
    fn read(
        data: &DataDir,
        identity: &Identity,
        channel: &Channel,
        store: &dyn Store,
    ) -> Result<Self, HomeError> {
        let directory = data.channel(&channel.name);
        // In the order in which a document goes from one to the next.
        let installed = home::documents_in(&directory.installed())?;
        let left = home::documents_in(&directory.incoming())?;
        let stored = home::stored_documents(store, channel.id(), &identity.me)?;
        let left: Vec<SignedDocument> = left.into_iter().filter_map(|(_, document)| document.ok()).collect();
        let mut installed: Vec<SignedDocument> = installed.into_iter().filter_map(sound).collect();
        installed.retain(|document| !directory.refused_file(document.id()).exists());
        installed.sort_by_key(home::turn);
        let mut roster = home::roster(&channel.charter, stored.iter().chain(&left));
        let known: BTreeSet<DocumentId> = stored.iter().chain(&left).map(SignedDocument::id).collect();
        let mut missing = installed.clone();
        missing.retain(|document| {
            let is_news = roster.offer(document) == Ok(true) || speaks_in_the_log(document, identity);
            is_news && !known.contains(&document.id())
        });
        Ok(Self { directory, stored, left, installed, missing })
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &SignedDocument> {
        self.stored.iter().chain(&self.left).chain(&self.installed)
    }

    /// Those that were installed here, and not only heard of from others.
    pub(crate) fn here(&self) -> impl Iterator<Item = &SignedDocument> {
        self.left.iter().chain(&self.installed)
    }

    /// What was durable in our own log and is not in it any more, if we went on under this card.
    pub(crate) fn lost_from_the_log(
        &self,
        identity: &Identity,
        card: CardSerial,
    ) -> impl Iterator<Item = &SignedDocument> {
        self.missing.iter().filter(move |document| match document.document_type() {
            Some(DocumentType::Card) => Card::parse(document.text())
                .is_ok_and(|found| found.member == identity.me && found.serial == card),
            _ => speaks_in_the_log(document, identity),
        })
    }

    /// Leaves what is missing where the node looks.
    pub(crate) fn leave_again(&self) -> Result<(), HomeError> {
        for document in &self.missing {
            tracing::warn!(?document, "it was installed and is not in the store: it is taken in again");
            write(&self.directory.incoming_file(document.id()), document)?;
        }
        Ok(())
    }

    /// Installs a document that was verified, as the tool does.
    pub(crate) fn install(&self, document: &SignedDocument) -> Result<(), HomeError> {
        // In this order: what lies in `installed/` alone was taken in.
        write(&self.directory.incoming_file(document.id()), document)?;
        write(&self.directory.installed_file(document.id()), document)
    }
}

fn write(path: &Path, document: &SignedDocument) -> Result<(), HomeError> {
    let unwritten = |source| HomeError::Unwritten { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        layout::make_directory(folder, 0o700).map_err(unwritten)?;
    }
    match SignedFile::of(document) {
        Ok(file) => layout::write(path, file.to_json().as_bytes(), PRIVATE).map_err(unwritten)?,
        Err(error) => tracing::error!(?document, %error, "it cannot be left"),
    }
    Ok(())
}

fn sound((path, document): home::Left) -> Option<SignedDocument> {
    match document {
        Ok(document) => Some(document),
        Err(why) => {
            tracing::warn!(file = %path.display(), why, "the copy of an installed document cannot be read");
            None
        }
    }
}

/// Whether it says who may sign for this party, and so stands in its own log.
fn speaks_in_the_log(document: &SignedDocument, identity: &Identity) -> bool {
    let text = document.text();
    let of = match document.document_type() {
        Some(DocumentType::Roots) => Roots::parse(text).ok().map(|roots| roots.member),
        Some(DocumentType::Officer) => Officer::parse(text).ok().map(|officer| officer.party),
        Some(DocumentType::Suspension) => Suspension::parse(text).ok().map(|suspension| suspension.party),
        Some(DocumentType::Revocation) => match Revocation::parse(text) {
            Ok(Revocation { member, revoked: Revoked::Officer(_), .. }) => Some(member),
            _ => None,
        },
        _ => None,
    };
    !identity.mediates && of.is_some_and(|member| member == identity.me)
}
