//! The archive inside the seal: a tar file that says first what it is and last what each of its files hashes to, so that a person with
//! `age`, `tar` and `sha256sum` reads it without us. It is written and read in one go, one file at a time in memory.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Read, Write},
};

use demarche_control::{
    backup::{ABOUT, LONGEST_SEGMENT, SUMS, in_data, is_journal_file},
    layout::SIGNED_FILE,
};
use demarche_protocol::{
    hash::{hex, sha256},
    time::Timestamp,
};

use super::sealed::{Opened, damaged};
use crate::error::{Failure, Result, unverified};

/// Longest [`SUMS`] that is read, in bytes: a line of some 200 for each file, in a backup of half a million files.
const LONGEST_SUMS: u64 = 64 << 20;

/// Writes an archive.
pub(in crate::ceremony) struct Writer<W: Write> {
    tar: tar::Builder<W>,
    sums: String,
    at: Timestamp,
}

impl<W: Write> Writer<W> {
    /// One made at this time.
    pub(in crate::ceremony) fn new(to: W, at: Timestamp) -> Self {
        Self { tar: tar::Builder::new(to), sums: String::new(), at }
    }

    /// Adds a file.
    pub(in crate::ceremony) fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // Writing into a String cannot fail.
        let _ = writeln!(self.sums, "{}  {name}", hex(&sha256(bytes)));
        self.append(name, bytes)
    }

    /// Adds what the others hash to, and ends it.
    pub(in crate::ceremony) fn finish(mut self) -> io::Result<W> {
        let sums = std::mem::take(&mut self.sums);
        self.append(SUMS, sums.as_bytes())?;
        self.tar.into_inner()
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.at.as_millis() / 1000);
        self.tar.append_data(&mut header, name, bytes)
    }
}

/// Takes one file of an archive.
pub(in crate::ceremony) type Take<'a> = &'a mut dyn FnMut(&str, &[u8]) -> Result<()>;

/// Reads an archive to its very end, and hands out its files as they come. What they were when it was made is known only when this
/// has returned: whoever uses them before must be able to take it back.
pub(in crate::ceremony) fn read(mut opened: Opened, take: Take<'_>) -> Result<()> {
    let path = opened.path.clone();
    let cut = |why: io::Error| damaged(&path, &why);
    let wrong = |what: String| {
        Failure::help(
            unverified(format!("{}: {what}", path.display())),
            "use another copy of it, or an earlier one",
        )
    };
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut sums = None;
    let mut archive = tar::Archive::new(&mut opened);
    for entry in archive.entries().map_err(cut)? {
        let mut entry = entry.map_err(cut)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(limit) = limit(&name).filter(|_| entry.header().entry_type().is_file()) else {
            return Err(wrong(format!("`{name}` does not belong into it")));
        };
        if sums.is_some() || found.is_empty() != (name == ABOUT) || found.contains_key(&name) {
            return Err(wrong(format!("`{name}` is out of its place")));
        }
        if entry.size() > limit {
            return Err(wrong(format!("`{name}` has {} bytes, more than any such file", entry.size())));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(cut)?;
        if name == SUMS {
            sums = Some(String::from_utf8_lossy(&bytes).into_owned());
        } else {
            found.insert(name.clone(), hex(&sha256(&bytes)));
            take(&name, &bytes)?;
        }
    }
    // The seal of the last chunk is checked only when it is read.
    io::copy(&mut opened, &mut io::sink()).map_err(cut)?;
    let sums = sums.ok_or_else(|| wrong(format!("it ends without {SUMS}")))?;
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").ok_or_else(|| wrong(format!("{SUMS}: `{line}`")))?;
        match found.remove(name) {
            Some(hash) if hash == sum => {}
            Some(_) => return Err(wrong(format!("`{name}` is not what it was when the backup was made"))),
            None => return Err(wrong(format!("`{name}` is missing"))),
        }
    }
    match found.keys().next() {
        Some(name) => Err(wrong(format!("`{name}` was not there when the backup was made"))),
        None => Ok(()),
    }
}

/// How long a file of this name may be; none for one that an archive does not hold.
fn limit(name: &str) -> Option<u64> {
    match name {
        ABOUT => Some(SIGNED_FILE),
        SUMS => Some(LONGEST_SUMS),
        _ if is_journal_file(name) => Some(LONGEST_SEGMENT),
        _ => in_data(name).map(|_| SIGNED_FILE),
    }
}
