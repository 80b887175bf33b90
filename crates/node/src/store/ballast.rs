//! Room kept back on the disk: how much must be free before anything is written, and a file of zeros that is given up
//! when the store could not be opened otherwise (threat S4).

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

/// Bytes that must stay free after a group: sled writes whole segments of 512 KiB, rewrites pages while it cleans up, and
/// writes a snapshot when it opens. 16 MiB are 32 segments.
pub(super) const MARGIN: u64 = 16 << 20;

/// Bytes of disk a record may cost while it is being written, for each of its own: new page, old page, index page.
pub(super) const AMPLIFICATION: u64 = 8;

/// Bytes of ballast: what sled needs to open (a snapshot and a few segments) on a disk that others have filled.
pub(super) const BALLAST: u64 = 8 << 20;

/// The ballast file of one store.
pub(super) struct Ballast {
    directory: PathBuf,
    present: bool,
}

/// Bytes free for this user on the disk of `directory`.
pub(super) fn free_bytes(directory: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

impl Ballast {
    /// For the store in `directory`. On a disk too full to open the store, gives the ballast up.
    pub(super) fn before_open(directory: &Path) -> io::Result<Self> {
        let mut ballast = Self { directory: directory.to_owned(), present: false };
        ballast.present =
            fs::metadata(ballast.path()).is_ok_and(|found| found.is_file() && found.len() == BALLAST);
        if free_bytes(directory)? < BALLAST {
            match fs::remove_file(ballast.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => ballast.present = false,
            }
        }
        Ok(ballast)
    }

    /// Lays the ballast in again once there is room for it. Cheap when it is there.
    pub(super) fn restore(&mut self, free: u64) {
        if self.present || free < MARGIN + 2 * BALLAST {
            return;
        }
        match self.write() {
            Ok(()) => self.present = true,
            Err(error) => {
                let _ = fs::remove_file(self.path());
                tracing::warn!(%error, "no ballast could be kept for a full disk");
            }
        }
    }

    fn write(&self) -> io::Result<()> {
        let mut file = fs::File::create(self.path())?;
        let zeros = [0; 8 << 10];
        for _ in 0..BALLAST / (8 << 10) {
            file.write_all(&zeros)?;
        }
        file.sync_all()
    }

    fn path(&self) -> PathBuf {
        self.directory.join("ballast")
    }
}
