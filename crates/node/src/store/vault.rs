//! Files named by their hash, each durable before anybody is told of it: what is too big for the journal, or leaves it again. A mediator keeps
//! envelopes here.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use demarche_control::layout::{self, PRIVATE};
use demarche_protocol::hash::{EnvelopeHash, hex};

use super::ballast::{MARGIN, free_bytes};

/// Who else may look into the directory: nobody.
const DIRECTORY: u32 = 0o700;

/// Why something was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    /// Found before anything was written.
    #[error("the disk is nearly full")]
    NoSpace,
    /// The file system.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A directory of such files.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    directory: PathBuf,
}

impl Vault {
    /// Opens or creates it.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        layout::make_directory(directory, DIRECTORY)?;
        Ok(Self { directory: directory.to_owned() })
    }

    fn path(&self, name: EnvelopeHash) -> PathBuf {
        self.directory.join(hex(name.as_bytes()))
    }

    /// Keeps something under a name, in place of what was there.
    pub(crate) fn put(&self, name: EnvelopeHash, bytes: &[u8]) -> Result<(), VaultError> {
        let path = self.path(name);
        let at = |source| VaultError::Io { path: path.clone(), source };
        if free_bytes(&self.directory).map_err(at)? < MARGIN + bytes.len() as u64 {
            return Err(VaultError::NoSpace);
        }
        layout::write(&path, bytes, PRIVATE).map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => VaultError::NoSpace,
            _ => at(source),
        })
    }

    /// Forgets it; nothing there is fine.
    pub(crate) fn remove(&self, name: EnvelopeHash) -> Result<(), VaultError> {
        let path = self.path(name);
        layout::remove(&path).map_err(|source| VaultError::Io { path, source })
    }

    /// What is kept under a name.
    pub(crate) fn get(&self, name: EnvelopeHash) -> Result<Option<Vec<u8>>, VaultError> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(VaultError::Io { path, source }),
        }
    }

    /// The names of all that is kept. What a crash left half written is removed.
    pub(crate) fn names(&self) -> io::Result<Vec<EnvelopeHash>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            match name.to_str().and_then(|name| name.parse().ok()) {
                Some(name) => names.push(name),
                None if name.to_str().is_some_and(|name| name.starts_with('.')) => {
                    fs::remove_file(entry.path())?;
                }
                None => tracing::warn!(file = ?name, "a file that is none of ours lies in the custody"),
            }
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_and_half_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("custody");
        let vault = Vault::open(&path).unwrap();
        let [one, other] = [&b"one"[..], b"other"].map(EnvelopeHash::of);
        vault.put(one, b"first").unwrap();
        vault.put(one, b"second").unwrap();
        vault.put(other, b"other").unwrap();
        fs::write(path.join(".half.1.2.tmp"), b"hal").unwrap();
        let again = Vault::open(&path).unwrap();
        let mut names = again.names().unwrap();
        names.sort_unstable();
        let mut both = [one, other];
        both.sort_unstable();
        assert_eq!(names, both);
        assert!(!path.join(".half.1.2.tmp").exists());
        assert_eq!(again.get(one).unwrap().unwrap(), b"second");
        again.remove(one).unwrap();
        again.remove(one).unwrap();
        assert_eq!(again.get(one).unwrap(), None);
        assert_eq!(again.names().unwrap(), [other]);
    }
}
