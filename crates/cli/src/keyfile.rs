//! Private keys on disk: read after the checks of threat L2, opened with a passphrase that is asked on the terminal
//! without echo or comes from a file; never from an argument or the environment, where others could see it (L3).

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use demarche_control::layout::{self, SecretFileError};
use demarche_protocol::identity::{
    keys::{PublicKey, SecretKey},
    openssh::{self, PrivateKeyError},
};
use zeroize::Zeroizing;

use crate::{
    error::{Failure, Result, chain, failed, refused},
    interrupts::Ending,
    shell,
};

/// Longest passphrase that is taken, in bytes.
const PASSPHRASE: usize = 1024;

/// Where a key's passphrase comes from.
#[derive(Clone, Copy, Debug, Default)]
pub enum Passphrase<'a> {
    /// Asked on the terminal, when the key needs one.
    #[default]
    Asked,
    /// The first line of this file, which must be its owner's alone.
    File(&'a Path),
}

impl<'a> Passphrase<'a> {
    /// From `--passphrase-file`.
    pub fn from_option(file: Option<&'a PathBuf>) -> Self {
        file.map_or(Self::Asked, |file| Self::File(file))
    }
}

/// Reads a private key. The failure names the file and the command that puts it right.
pub fn read(path: &Path, passphrase: Passphrase<'_>) -> Result<SecretKey> {
    let pem = layout::read_secret(path).map_err(|error| match error {
        // Who else may read it is of no account if it is no key.
        SecretFileError::Mode { .. } | SecretFileError::Owner { .. } => {
            no_key_in(path).unwrap_or_else(|| unreadable(&error, Secret::Key))
        }
        _ => unreadable(&error, Secret::Key),
    })?;
    let name = path.display();
    match openssh::read(&pem, None) {
        Err(PrivateKeyError::NeedsPassphrase) => {
            let (secret, help) = match passphrase {
                Passphrase::File(file) => {
                    let help =
                        format!("put the passphrase of {name} in the first line of {}", file.display());
                    (passphrase_of(file)?, help)
                }
                Passphrase::Asked => {
                    (ask(&format!("Passphrase for {name}: "))?, "the same command again".to_owned())
                }
            };
            openssh::read(&pem, Some(&secret)).map_err(|why| refused(format!("{name}: {why}")).help(help))
        }
        other => other.map_err(|why| {
            let broken = || {
                refused(format!("{name}: {why}"))
                    .help("make one with: demarche key new (or ssh-keygen -t ed25519)")
                    .wrong("key")
            };
            no_key(path, &pem).unwrap_or_else(broken)
        }),
    }
}

/// What a file holds that is no private key, whatever its mode; `None` where it may be one.
fn no_key_in(path: &Path) -> Option<Failure> {
    let bytes = Zeroizing::new(layout::read_bounded(path, layout::SECRET_FILE).ok()?);
    no_key(path, std::str::from_utf8(&bytes).unwrap_or_default())
}

fn no_key(path: &Path, text: &str) -> Option<Failure> {
    let name = path.display();
    if PublicKey::from_openssh(text).is_ok() {
        let beside = path.with_extension("key");
        let private = if beside.exists() { beside } else { path.with_extension("") };
        let failure = refused(format!("{name} holds a public key; the private one is needed"));
        return Some(failure.help(format!("--key {}", shell::path(&private))).wrong("key"));
    }
    // As every form of private keys begins.
    if text.contains("PRIVATE KEY-----") {
        return None;
    }
    let failure = refused(format!("{name} holds no private key"));
    Some(failure.help("name the file that holds your private key: --key FILE").wrong("key"))
}

/// The first line of a passphrase file, which must be its owner's alone.
pub fn passphrase_of(file: &Path) -> Result<Zeroizing<String>> {
    let text = layout::read_secret(file).map_err(|error| unreadable(&error, Secret::Passphrase))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(refused(format!("{} begins with an empty line, not a passphrase", file.display()))
            .help("put the passphrase in its first line, or leave --passphrase-file out and be asked"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Asks for a new passphrase twice, until both are the same.
pub fn ask_new(what: &str) -> Result<Zeroizing<String>> {
    loop {
        let first = ask(&format!("New passphrase for {what}: "))?;
        if first.is_empty() {
            return Err(refused("an empty passphrase protects nothing")
                .help("--no-passphrase makes a key without one, for tests and machines nobody else enters"));
        }
        if *first == *ask("The same again: ")? {
            return Ok(first);
        }
        let mut terminal = terminal()?;
        // A terminal that is gone fails at the next question.
        let _ = terminal.write_all(b"They differ. Once more.\n");
    }
}

/// Asks on the controlling terminal without echo.
pub fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    let mut terminal = terminal()?;
    terminal.write_all(crate::escape::line(prompt).as_bytes()).map_err(lost)?;
    let silence = Silence::on(&terminal).map_err(lost)?;
    let answer = read_line(&mut terminal).map_err(lost);
    drop(silence);
    let _ = terminal.write_all(b"\n");
    answer
}

/// The public half of a key: from the file beside it when that is there, so that no passphrase is needed.
pub fn public_of(path: &Path, passphrase: Passphrase<'_>) -> Result<PublicKey> {
    match public_beside(path) {
        Some((_, key)) => Ok(key),
        None => read(path, passphrase).map(|key| key.public()),
    }
}

/// The file that holds the public half of a key, and what it holds.
pub fn public_beside(path: &Path) -> Option<(PathBuf, PublicKey)> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    // `officer.key.pub` as ssh-keygen names it, or `officer.pub` as `key new` does.
    let beside = [beside.into(), path.with_extension("pub")].into_iter().filter(|file| file != path);
    beside.into_iter().find_map(|file: PathBuf| {
        let bytes = layout::read_bounded(&file, layout::SECRET_FILE).ok()?;
        Some((file, PublicKey::from_openssh(std::str::from_utf8(&bytes).ok()?).ok()?))
    })
}

/// Fresh random bytes of the system.
pub fn random<const N: usize>() -> io::Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    File::open("/dev/urandom")?.read_exact(&mut *bytes)?;
    Ok(bytes)
}

/// Which of the two secrets a file should hold.
#[derive(Clone, Copy)]
enum Secret {
    Key,
    Passphrase,
}

fn unreadable(error: &SecretFileError, secret: Secret) -> Failure {
    let not_read = match error {
        SecretFileError::Io { .. } => true,
        SecretFileError::Kind { what, .. } => *what != "a link",
        _ => false,
    };
    // What could be read and is not, or is not a key, is refused by rule.
    let failure = if not_read { failed(chain(error)) } else { refused(chain(error)) };
    match error.help() {
        Some(help) => failure.help(help),
        None => match secret {
            Secret::Key => failure.help("name a file that holds your private key: --key FILE").wrong("key"),
            Secret::Passphrase => failure
                .help("name the file whose first line is the passphrase: --passphrase-file FILE; without it you are asked")
                .wrong("passphrase_file"),
        },
    }
}

fn terminal() -> Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| {
        refused("a passphrase is needed, and there is no terminal to ask for it on")
            .help("--passphrase-file FILE, a file that only you can read (chmod 600)")
    })
}

/// Ctrl-C is a key at this prompt, and ends as everywhere.
fn lost(why: io::Error) -> Failure {
    if why.kind() == io::ErrorKind::Interrupted {
        return Failure::from(Ending::Interrupted)
            .help("nothing was signed or made; the same command asks again");
    }
    refused(format!("the terminal cannot be used: {why}")).help("--passphrase-file FILE")
}

/// Reads a line key by key, since the terminal neither echoes nor edits it meanwhile.
fn read_line(from: &mut impl io::Read) -> io::Result<Zeroizing<String>> {
    const INTERRUPT: u8 = 0x03;
    const END: u8 = 0x04;
    const KILL: u8 = 0x15;
    const ERASE: [u8; 2] = [0x08, 0x7f];
    let mut line = Zeroizing::new(Vec::with_capacity(PASSPHRASE));
    let mut byte = Zeroizing::new([0]);
    loop {
        match from.read(&mut *byte) {
            Ok(1) => {}
            // A signal that is heeded elsewhere.
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            ended => {
                ended?;
                break;
            }
        }
        match byte[0] {
            b'\n' | b'\r' | END => break,
            INTERRUPT => return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
            KILL => line.clear(),
            key if ERASE.contains(&key) => {
                // A character of several bytes goes as a whole.
                while line.pop().is_some_and(|last| last & 0xc0 == 0x80) {}
            }
            _ if line.len() == PASSPHRASE => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the passphrase is too long"));
            }
            key => line.push(key),
        }
    }
    let text = std::str::from_utf8(&line);
    text.map(|text| Zeroizing::new(text.to_owned()))
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the passphrase is not UTF-8"))
}

/// While this lives the terminal neither echoes nor acts on Ctrl-C, which would end the process and leave echo off.
struct Silence {
    terminal: File,
    before: rustix::termios::Termios,
}

impl Silence {
    fn on(terminal: &File) -> io::Result<Self> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        let terminal = terminal.try_clone()?;
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use demarche_control::layout::{PRIVATE, PUBLIC};
    use demarche_protocol::identity::openssh::Protection;

    use super::*;
    use crate::exit::Exit;

    fn put(name: &str, text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        layout::write(&path, text.as_bytes(), mode).unwrap();
        (directory, path)
    }

    #[test]
    fn a_key_with_a_passphrase_is_opened_by_a_passphrase_file() {
        let key = SecretKey::from_seed(&[9; 32]);
        let protection = Protection { passphrase: "correct horse", salt: [1; 16], check: 7 };
        let pem = openssh::write(&key, "", Some(&protection)).unwrap();
        let (directory, path) = put("officer.key", &pem, PRIVATE);
        let file = directory.path().join("pass");
        layout::write(&file, b"correct horse\n", PRIVATE).unwrap();
        assert_eq!(read(&path, Passphrase::File(&file)).unwrap().public(), key.public());

        layout::write(&file, b"wrong\n", PRIVATE).unwrap();
        let failure = read(&path, Passphrase::File(&file)).err().unwrap();
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.what.contains("the passphrase is wrong"), "{}", failure.what);
    }

    #[test]
    fn l2_a_key_that_others_may_read_is_refused_with_the_remedy() {
        let pem = openssh::write(&SecretKey::from_seed(&[9; 32]), "", None).unwrap();
        let (_directory, path) = put("officer.key", &pem, PUBLIC);
        let failure = read(&path, Passphrase::Asked).err().unwrap();
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(failure.help, [format!("chmod 600 {}", path.display())]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read(&path, Passphrase::Asked).is_ok());
    }

    #[test]
    fn a_public_key_in_place_of_a_private_one_is_named() {
        let line = SecretKey::from_seed(&[9; 32]).public().to_openssh();
        let (_directory, path) = put("officer.pub", &line, PRIVATE);
        let failure = read(&path, Passphrase::Asked).err().unwrap();
        assert!(failure.what.ends_with("holds a public key; the private one is needed"), "{}", failure.what);
        assert!(failure.help[0].ends_with("/officer"), "{}", failure.help[0]);
    }

    #[test]
    fn a_passphrase_is_edited_as_it_is_typed() {
        let typed = |keys: &[u8]| read_line(&mut &*keys).map(|line| line.to_string());
        assert_eq!(typed(b"correct\rrest").unwrap(), "correct");
        assert_eq!(typed("wr\u{e9}\u{7f}\u{8}orse\u{15}horse\n".as_bytes()).unwrap(), "horse");
        assert_eq!(typed("caf\u{e9}\u{7f}e\n".as_bytes()).unwrap(), "cafe");
        let interrupted = typed(b"abc\x03def\n").unwrap_err();
        assert_eq!(interrupted.kind(), io::ErrorKind::Interrupted);
        assert_eq!(lost(interrupted).exit.code(), 130);
        assert!(typed(&[b'x'; PASSPHRASE + 1]).is_err());
    }

    #[test]
    fn randomness_is_not_the_same_twice() {
        assert_ne!(*random::<32>().unwrap(), *random::<32>().unwrap());
    }
}
