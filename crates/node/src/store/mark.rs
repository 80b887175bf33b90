//! How far the journal is known to have reached, kept in a small file beside sled's.
//!
//! sled reads its log up to the first bytes that do not hold and takes that for the end: after a power cut that is right, and after a
//! disk that has changed a byte it silently drops what was recorded. The mark shows it (threat S6). It is written after each
//! group, over itself and without an `fsync` of its own, so it may lie behind the journal and never ahead of what was durable.
//!
//! A store that is gone took its mark along, and one that was set back brought an older one. Whoever knows of it marks the store
//! as [`ANOTHER`], which holds until something is written in it.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use demarche_protocol::hash::sha256;

use super::JournalIndex;

const NAME: &str = "mark";
/// The index, and the first bytes of its SHA-256.
const BYTES: usize = 16;
/// No journal reaches so far.
const ANOTHER: JournalIndex = JournalIndex(u64::MAX);

/// The store does not hold what was durable: the disk has lost or changed something, or it was set back (threat S6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The journal ends early.
    End {
        /// The last record found.
        found: JournalIndex,
        /// The last record that was written at least; `None` when that is lost as well.
        marked: Option<JournalIndex>,
    },
    /// This is another store than the one in which the node has written: a new one, or an older copy.
    Another,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End { found, marked: Some(marked) } => {
                write!(f, "the store ends with record {found}, and record {marked} was written")
            }
            Self::End { found, marked: None } => {
                write!(f, "the store ends with record {found}, and its mark of how far it reached is damaged")
            }
            Self::Another => {
                f.write_str("the store is a new one or an older copy: it lacks what this node has written")
            }
        }
    }
}

/// The mark of one store.
pub(super) struct Mark(File);

impl Mark {
    /// Opens or makes the mark of the store in `directory`, whose journal ends at `last`. Tells what is missing.
    pub(super) fn open(directory: &Path, last: JournalIndex) -> io::Result<(Self, Option<Lost>)> {
        let mark = Self::file(directory)?;
        let lost = match mark.read()? {
            Read::Index(marked) if marked <= last => None,
            Read::Index(ANOTHER) => Some(Lost::Another),
            Read::Index(marked) => Some(Lost::End { found: last, marked: Some(marked) }),
            Read::Nothing => None,
            Read::Damaged => Some(Lost::End { found: last, marked: None }),
        };
        // What is missing stays known until something new is written.
        if lost.is_none() {
            mark.set(last)?;
            mark.0.sync_all()?;
        }
        Ok((mark, lost))
    }

    /// Marks the store in `directory`, which there may be none of yet, as another than the node has written in.
    pub(super) fn another(directory: &Path) -> io::Result<()> {
        let mark = Self::file(directory)?;
        mark.set(ANOTHER)?;
        mark.0.sync_all()?;
        File::open(directory)?.sync_all()
    }

    fn file(directory: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.open(directory.join(NAME)).map(Self)
    }

    /// The journal reaches so far now.
    pub(super) fn set(&self, last: JournalIndex) -> io::Result<()> {
        self.0.write_all_at(&bytes(last), 0)
    }

    fn read(&self) -> io::Result<Read> {
        let mut found = [0; BYTES];
        match self.0.read_exact_at(&mut found, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Read::Nothing),
            read => read?,
        }
        let [index, _] = found.as_chunks::<8>().0 else { return Ok(Read::Damaged) };
        let index = JournalIndex(u64::from_be_bytes(*index));
        Ok(if found == bytes(index) { Read::Index(index) } else { Read::Damaged })
    }
}

enum Read {
    Nothing,
    Index(JournalIndex),
    Damaged,
}

fn bytes(index: JournalIndex) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let (number, check) = bytes.split_at_mut(8);
    number.copy_from_slice(&index.0.to_be_bytes());
    check.copy_from_slice(&sha256(number)[..8]);
    bytes
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    #[test]
    fn a_journal_that_ends_early_is_missing_something_until_more_is_written() {
        let directory = tempdir().unwrap();
        let open = |last| Mark::open(directory.path(), JournalIndex(last)).unwrap();
        assert_eq!(open(0).1, None);
        open(0).0.set(JournalIndex(7)).unwrap();
        assert_eq!(open(9).1, None, "written after the last mark");
        let lost = Some(Lost::End { found: JournalIndex(8), marked: Some(JournalIndex(9)) });
        assert_eq!(open(8).1, lost);
        let (mark, again) = open(8);
        assert_eq!(again, lost, "looking changes nothing");
        mark.set(JournalIndex(8)).unwrap();
        assert_eq!(open(8).1, None);
    }

    #[test]
    fn a_store_that_is_not_the_one_in_which_the_node_wrote_is_known_for_it_until_more_is_written() {
        let directory = tempdir().unwrap();
        let open = |last| Mark::open(directory.path(), JournalIndex(last)).unwrap();
        for last in [0, 7] {
            Mark::another(directory.path()).unwrap();
            assert_eq!(open(last).1, Some(Lost::Another));
            let (mark, again) = open(last);
            assert_eq!(again, Some(Lost::Another), "looking changes nothing");
            mark.set(JournalIndex(last + 1)).unwrap();
            assert_eq!(open(last + 1).1, None);
        }
    }

    #[test]
    fn a_damaged_mark_is_not_believed() {
        let directory = tempdir().unwrap();
        Mark::open(directory.path(), JournalIndex(7)).unwrap();
        for at in 0..BYTES {
            let path = directory.path().join(NAME);
            let good = std::fs::read(&path).unwrap();
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, bad).unwrap();
            let (_, lost) = Mark::open(directory.path(), JournalIndex(7)).unwrap();
            assert_eq!(lost, Some(Lost::End { found: JournalIndex(7), marked: None }), "byte {at}");
            std::fs::write(&path, good).unwrap();
        }
    }
}
