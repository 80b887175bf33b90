//! Files that are named on the command line: how they are read, and how each way of not being readable ends (see
//! [`Exit`](crate::exit::Exit)). Nothing but a regular file is read, and never more than its kind can have.

use std::{fmt, io, path::Path};

use demarche_control::layout;

use crate::error::{Failure, failed, refused};

/// Reads a file of at most `limit` bytes.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    layout::read_bounded(path, limit).map_err(|why| {
        if why.kind() == io::ErrorKind::FileTooLarge { malformed(path, &why) } else { unreadable(path, &why) }
    })
}

/// A file that cannot be read, and why: exit 1.
pub fn unreadable(path: &Path, why: &dyn fmt::Display) -> Failure {
    failed(format!("{} cannot be read: {why}", path.display()))
        .help("name a file that is there and that you may read")
}

/// A file that can be read and is not of the form it should have: exit 4.
pub fn malformed(path: &Path, why: &dyn fmt::Display) -> Failure {
    refused(format!("{}: {why}", path.display()))
        .help("correct the file or name another; a text that is changed must be signed again")
}
