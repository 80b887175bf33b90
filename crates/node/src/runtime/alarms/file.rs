//! What of the alarms outlives the process: their numbers, which stand, and who has taken them. One small file, replaced whole
//! (docs/decisions/0050-alarms-are-seen-anew-and-their-numbers-kept.md).

use std::{io, path::PathBuf};

use demarche_control::{
    layout::{self, PRIVATE},
    types::Alarm,
};
use serde::{Deserialize, Serialize};

use super::book::Book;

/// Longest file that is read, in bytes: thousands of alarms.
const LONGEST: u64 = 4 << 20;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// The number of the next alarm.
    pub(crate) next: u64,
    /// Those that stand.
    pub(crate) alarms: Vec<Alarm>,
}

/// The file.
pub(crate) struct File {
    path: PathBuf,
    /// The [changes](Book::changes) up to which it is written; none when it says more than the book.
    written: Option<u64>,
}

impl File {
    /// The file at this path, and what it says. One that cannot be read is as good as none: what stands is found again and calls
    /// again, which is better than a node that does not start.
    pub(crate) fn read(path: PathBuf) -> (Self, Saved) {
        let read = layout::read_bounded(&path, LONGEST)
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from));
        let saved = read.unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "who has taken which alarm is forgotten");
            }
            Saved::default()
        });
        (Self { path, written: Some(0) }, saved)
    }

    /// Writes what the book says; not when nothing has changed, unless `always`.
    pub(crate) fn write(&mut self, always: bool, book: &Book) -> io::Result<()> {
        if always || self.written != Some(book.changes()) {
            self.replace(book)?;
            self.written = Some(book.changes());
        }
        Ok(())
    }

    /// Writes what the book is going to say.
    pub(crate) fn write_ahead(&mut self, book: &Book) -> io::Result<()> {
        self.replace(book)?;
        self.written = None;
        Ok(())
    }

    fn replace(&self, book: &Book) -> io::Result<()> {
        layout::write(&self.path, &serde_json::to_vec_pretty(&book.saved())?, PRIVATE)
    }
}
