//! One node on one data directory (threat S10): a lock that the kernel drops with the process, and that names its holder.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

/// A node that has just ended still holds it for as long as a process that it was about to start has not begun.
const LET_GO_WITHIN: Duration = Duration::from_secs(1);

/// The lock, held for as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another node holds it.
    #[error("another demarched runs on this data directory{}\nhelp: stop it first, or give this one its own --data", pid.map_or_else(String::new, |pid| format!(" (pid {pid})")))]
    Held {
        /// Its process.
        pid: Option<u32>,
    },
    /// The file cannot be used.
    #[error("the lock file cannot be used")]
    Io(#[from] io::Error),
}

impl Lock {
    /// Takes the lock in the file at `path`, which is made if need be.
    pub(crate) fn take(path: &Path) -> Result<Self, LockError> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let deadline = Instant::now() + LET_GO_WITHIN;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(LockError::Io(error.into()));
            }
            if Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
                continue;
            }
            let mut text = String::new();
            // Whatever stands there is only a courtesy.
            let _ = (&file).take(32).read_to_string(&mut text);
            return Err(LockError::Held { pid: text.trim().parse().ok() });
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s10_a_second_node_is_refused_and_told_who_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.lock");
        let first = Lock::take(&path).unwrap();
        let refused = Lock::take(&path).unwrap_err();
        assert!(
            matches!(refused, LockError::Held { pid: Some(pid) } if pid == std::process::id()),
            "{refused}"
        );
        drop(first);
        Lock::take(&path).unwrap();
    }
}
