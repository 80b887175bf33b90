//! The channels of a data directory as `install` knows them: the charter, and a copy of every document it has left
//! for the node, kept in `installed/` for the questions that are asked while the node is stopped. Whether the node still has a
//! document is for the node to say: it is left there each time.

use std::fs;

use demarche_control::{
    SignedFile,
    layout::{self, ChannelDir, DataDir},
    types::{OfficerInfo, OfficerState},
};
use demarche_protocol::{
    charter::Charter,
    document::{DocumentType, SignedDocument},
    hash::{ChannelId, DocumentId},
    identity::{
        Verified,
        officer::Officer,
        revocation::{Revocation, Revoked},
        roster::Roster,
        suspension::Suspension,
    },
    time::Timestamp,
};

use crate::{
    error::{Failure, Result, failed, unverified, usage},
    files,
};

/// One channel's directory, its charter verified anew.
pub(super) struct Channel {
    pub(super) name: String,
    pub(super) directory: ChannelDir,
    pub(super) charter: Verified<Charter>,
    /// What was installed, in the order in which a roster takes it.
    pub(super) documents: Vec<SignedDocument>,
}

/// What installing something did here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    /// It was not known here, and is left for the node.
    New,
    /// It was installed before, and is left for the node once more.
    Again,
    /// It is in its place, and not the node's to take in: a charter.
    InPlace,
}

/// Every channel that has a charter here.
pub(super) fn all(data: &DataDir) -> Result<Vec<Channel>> {
    let names = data
        .channel_names()
        .map_err(|why| failed(format!("{} cannot be read: {why}", data.channels().display())))?;
    names.into_iter().map(|name| Channel::read(data, name)).collect()
}

/// The channels called `wanted` by local name or hash; all when nothing is asked for.
pub(super) fn chosen(data: &DataDir, wanted: Option<&str>) -> Result<Vec<Channel>> {
    let mut channels = all(data)?;
    let Some(wanted) = wanted else { return Ok(channels) };
    let names: Vec<String> = channels.iter().map(|channel| channel.name.clone()).collect();
    channels.retain(|channel| channel.name == wanted || channel.id().to_string() == wanted);
    if channels.is_empty() {
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(usage(format!("no channel `{wanted}` in {}", data.path().display()))
            .help(format!("channels here: {known}")));
    }
    Ok(channels)
}

impl Channel {
    fn read(data: &DataDir, name: String) -> Result<Self> {
        let directory = data.channel(&name);
        let path = directory.charter();
        let document = read_signed(&path)?;
        let charter =
            Charter::verify(&document).map_err(|why| unverified(format!("{}: {why}", path.display())))?;
        let mut documents = Vec::new();
        for path in json_files(&directory.installed())? {
            documents.push(read_signed(&path)?);
        }
        // Roots first, and among them each after the list that it replaces: `Roster::offer` refuses one out of turn,
        // so `roster` tries again until nothing changes.
        documents
            .sort_by_key(|document| (document.document_type() != Some(DocumentType::Roots), document.id()));
        Ok(Self { name, directory, charter, documents })
    }

    /// The channel's hash.
    pub(super) fn id(&self) -> ChannelId {
        ChannelId::from(self.charter.id())
    }

    /// The roster that the installed documents make.
    pub(super) fn roster(&self) -> Roster {
        let mut roster = Roster::new(&self.charter);
        let rounds = self.documents.len();
        for _ in 0..rounds {
            let changed = self.documents.iter().filter(|document| roster.offer(document) == Ok(true)).count();
            if changed == 0 {
                break;
            }
        }
        roster
    }

    /// Whether it was installed, and the node has not refused it since.
    pub(super) fn knows(&self, document: DocumentId) -> bool {
        knows(&self.directory, document)
    }

    /// The officers as the installed documents have them at `now`.
    pub(super) fn officers(&self, now: Timestamp) -> Vec<OfficerInfo> {
        let id = self.id();
        let of = |kind| self.documents.iter().filter(move |document| document.document_type() == Some(kind));
        let revoked: Vec<_> = of(DocumentType::Revocation)
            .filter_map(|document| Revocation::parse(document.text()).ok())
            .filter(|revocation| revocation.holds_for(id))
            .filter_map(|revocation| match revocation.revoked {
                Revoked::Officer(key) => Some(key),
                Revoked::Card { .. } => None,
            })
            .collect();
        let suspended: Vec<_> = of(DocumentType::Suspension)
            .filter_map(|document| Suspension::parse(document.text()).ok())
            .map(|suspension| suspension.key)
            .collect();
        let info = |document: &SignedDocument| {
            let officer = Officer::parse(document.text()).ok()?;
            let state = match () {
                () if revoked.contains(&officer.key) => OfficerState::Revoked,
                () if suspended.contains(&officer.key) => OfficerState::Suspended,
                () if officer.expires_at <= now => OfficerState::Expired,
                () => OfficerState::InForce,
            };
            Some(OfficerInfo {
                party: officer.party,
                name: officer.name,
                key: officer.key.to_openssh(),
                duties: officer.duties,
                document: document.id(),
                state,
                expires_at: officer.expires_at,
            })
        };
        of(DocumentType::Officer).filter_map(info).collect()
    }

    /// Leaves a verified document for the node to take in.
    pub(super) fn leave(&self, document: &SignedDocument) -> Result<Left> {
        leave(&self.directory, document)
    }
}

/// Leaves a verified document in a channel's directory: first where the node looks, then where this tool remembers.
pub(super) fn leave(directory: &ChannelDir, document: &SignedDocument) -> Result<Left> {
    let id = document.id();
    let left = if knows(directory, id) { Left::Again } else { Left::New };
    let file = SignedFile::of(document).map_err(|why| failed(why.to_string()))?.to_json();
    for folder in [directory.incoming(), directory.installed()] {
        layout::make_directory(&folder, 0o700).map_err(|why| unwritten(&folder, &why))?;
    }
    // Before a node that runs can refuse it anew.
    for path in [directory.refused_file(id), directory.refused_why(id)] {
        layout::remove(&path).map_err(|why| unwritten(&path, &why))?;
    }
    // In this order: what lies in `installed/` alone was taken in by the node.
    for path in [directory.incoming_file(id), directory.installed_file(id)] {
        layout::write(&path, file.as_bytes(), layout::PRIVATE).map_err(|why| unwritten(&path, &why))?;
    }
    Ok(left)
}

fn knows(directory: &ChannelDir, document: DocumentId) -> bool {
    directory.installed_file(document).exists() && !directory.refused_file(document).exists()
}

/// A file that cannot be written.
pub(super) fn unwritten(path: &std::path::Path, why: &std::io::Error) -> Failure {
    failed(format!("{} cannot be written: {why}", path.display()))
}

fn read_signed(path: &std::path::Path) -> Result<SignedDocument> {
    crate::profile::read_signed_file(path)?
        .document()
        .map_err(|why| files::malformed(path, &crate::error::chain(&why)))
}

fn json_files(folder: &std::path::Path) -> Result<Vec<std::path::PathBuf>> {
    let unreadable = |why: std::io::Error| failed(format!("{} cannot be read: {why}", folder.display()));
    let entries = match fs::read_dir(folder) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        // Temporary files of a write under way begin with a dot.
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|ending| ending == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
