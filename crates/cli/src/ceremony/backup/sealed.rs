//! The seal around backups and the keys of spare cards: the age format (age-encryption.org/v1), to people's `ssh-ed25519` keys, so that
//! `age -d -i KEY` opens it as well. Read in a stream: nothing is held but one chunk of 64 KiB.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use age::{DecryptError, Decryptor, Encryptor, stream::StreamWriter};
use demarche_protocol::identity::{keys::PublicKey, openssh};

use crate::{
    ceremony::{Desk, beside::quoted, words},
    error::{Failure, Result, failed, refused, unverified},
    files,
    keyfile::{self, Passphrase},
};

/// Those for whom something is sealed, as typed after `--recipient`: a public key's line, or the file that holds it.
pub(in crate::ceremony) fn recipients(typed: &[String]) -> Result<Vec<PublicKey>> {
    typed.iter().map(|typed| words::public_key("--recipient", typed)).collect()
}

/// Seals what is written to the one that is returned; [`StreamWriter::finish`] ends it.
pub(in crate::ceremony) fn seal<W: Write>(recipients: &[PublicKey], to: W) -> Result<StreamWriter<W>> {
    let read = |key: &PublicKey| {
        key.to_openssh()
            .parse::<age::ssh::Recipient>()
            .map_err(|why| failed(format!("{} cannot be sealed for: {why:?}", key.fingerprint())))
    };
    let recipients = recipients.iter().map(read).collect::<Result<Vec<_>>>()?;
    let each = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let encryptor = Encryptor::with_recipients(each).map_err(|why| failed(why.to_string()))?;
    encryptor.wrap_output(to).map_err(|why| failed(format!("it cannot be sealed: {why}")))
}

/// A sealed file that is being read, and its name.
pub(in crate::ceremony) struct Opened {
    pub(in crate::ceremony) path: PathBuf,
    read: Box<dyn Read>,
}

/// Opens a sealed file with a private key, which may have a passphrase.
pub(in crate::ceremony) fn open(path: &Path, identity: &Path, desk: &Desk<'_>) -> Result<Opened> {
    let file = File::open(path).map_err(|why| files::unreadable(path, &why))?;
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return Err(files::unreadable(path, &"it is not a regular file"));
    }
    let decryptor = Decryptor::new_buffered(BufReader::new(file)).map_err(|why| match why {
        DecryptError::Io(why) if why.kind() == io::ErrorKind::UnexpectedEof => damaged(path, &why),
        why => refused(format!("{} is no file in the age format: {why}", path.display()))
            .help("name the file that `demarche backup` or `demarche card spare` wrote"),
    })?;
    let key = keyfile::read(identity, Passphrase::from_option(desk.passphrase_file.as_ref()))?;
    let pem = openssh::write(&key, "", None).map_err(|why| failed(why.to_string()))?;
    let identity_of = |pem: &str| age::ssh::Identity::from_buffer(pem.as_bytes(), None);
    let opener = identity_of(&pem).map_err(|why| failed(format!("{}: {why}", identity.display())))?;
    let read =
        decryptor.decrypt(std::iter::once(&opener as &dyn age::Identity)).map_err(|why| match why {
            DecryptError::NoMatchingKeys => refused(format!(
                "{} was not sealed for the key in {} ({})",
                path.display(),
                identity.display(),
                key.public().fingerprint()
            ))
            .help("give the private key of one of its recipients: --identity KEY"),
            why => damaged(path, &why),
        })?;
    Ok(Opened { path: path.to_owned(), read: Box::new(read) })
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read.read(buffer)
    }
}

/// A file whose seal or end does not hold.
pub(in crate::ceremony) fn damaged(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    unverified(format!("{} is cut or altered: {why}", path.display())).help(format!(
        "use another copy of it, or an earlier one; what a copy holds: demarche backup verify {} --identity KEY",
        quoted(path)
    ))
}
