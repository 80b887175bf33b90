//! Taking in what `demarche restore` left of a backup: the journal, into the store of a node that has none yet. It is done before anything
//! else is, and again from where it was broken off.
//!
//! The store then counts as set back: what it holds was written by a node whose disk is gone, and how far that one went on nobody here
//! knows. So nothing is written under any card under which it may have written (docs/decisions/0053).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use demarche_control::{
    backup::{ABOUT, About, LONGEST_SEGMENT, Placed, SegmentError, segment},
    layout::{self, DataDir},
};
use demarche_protocol::channel::Batch;

use crate::store::{Commit, CommitError, JournalIndex, Lost, SledStore, Store};

/// Why a backup was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A file of it, or the directory.
    #[error("{} cannot be read or removed\nhelp: start demarched as the account that owns the data directory", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is not what `restore` left.
    #[error("{} is damaged: {why}\nhelp: restore the backup anew, into an empty directory: demarche restore", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The store did not take it.
    #[error(
        "the backup could not be taken in: {0}\nhelp: free space there, and start demarched again: it goes on where it stopped"
    )]
    Commit(#[from] CommitError),
}

/// Takes it in, if there is any. Gives what the backup was.
pub(crate) fn take_in(data: &DataDir, store: &dyn Store) -> Result<Option<About>, RestoreError> {
    let folder = data.restore();
    if !folder.exists() {
        return Ok(None);
    }
    let io = |path: &Path| {
        let path = path.to_owned();
        |source| RestoreError::Io { path, source }
    };
    let said = folder.join(ABOUT);
    let about = layout::read_bounded(&said, layout::SIGNED_FILE).map_err(io(&said))?;
    let about: About = serde_json::from_slice(&about)
        .map_err(|why| RestoreError::Damaged { path: said, why: why.to_string() })?;
    let mut segments = Vec::new();
    for entry in fs::read_dir(&folder).map_err(io(&folder))? {
        let path = entry.map_err(io(&folder))?.path();
        segments.extend(path.extension().is_some_and(|ending| ending == "records").then_some(path));
    }
    // Named after their first record, with leading zeros.
    segments.sort();
    for path in segments {
        let damaged = |why: String| RestoreError::Damaged { path: path.clone(), why };
        let bytes = layout::read_bounded(&path, LONGEST_SEGMENT).map_err(io(&path))?;
        let records = segment(&bytes).map_err(|why: SegmentError| damaged(why.to_string()))?;
        let durable = store.durable();
        let left: Vec<Placed> = records.into_iter().filter(|one| one.index > durable.0).collect();
        let follows = left.iter().zip(durable.0 + 1..).all(|(one, place)| one.index == place);
        if !follows {
            return Err(damaged(format!("it does not follow record {durable}")));
        }
        let commit =
            |one: Placed| Commit { channel: one.channel, batch: Batch { records: vec![one.record] } };
        store.commit(&left.into_iter().map(commit).collect::<Vec<_>>())?;
    }
    if store.durable() < JournalIndex(about.journal) {
        let why = format!("it ends with record {}, not {}", store.durable(), about.journal);
        return Err(RestoreError::Damaged { path: folder, why });
    }
    let directory = data.store();
    SledStore::note_set_back(&directory).map_err(io(&directory))?;
    // In one step: what is half removed would be taken for a damaged one.
    let done = folder.with_file_name(".restored");
    layout::rename(&folder, &done).map_err(io(&folder))?;
    fs::remove_dir_all(&done).map_err(io(&done))?;
    tracing::warn!(made_at = %about.made_at, journal = about.journal, lost = %Lost::Another, "a backup was taken in");
    Ok(Some(about))
}
