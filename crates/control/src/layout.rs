//! Every name and path of a data directory, once for node and tool, and how files in it are written and read.
//!
//! Writing is durable: a temporary file, its fsync, the rename, the directory's fsync. A file that holds a secret is
//! only read when it is a regular file of the caller's own that nobody else may read (threat L2).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use demarche_protocol::{
    hash::DocumentId,
    identity::{card::CardSerial, member::MemberId},
};
use rustix::{fs::OFlags, io::Errno};
use zeroize::Zeroizing;

/// Permission bits of files that hold nothing secret.
pub const PUBLIC: u32 = 0o644;
/// Permission bits of files that only their owner reads.
pub const PRIVATE: u32 = 0o600;
/// Longest secret file that is read, in bytes: an OpenSSH key is about 400, a prekey pair about 250.
pub const SECRET_FILE: u64 = 16 * 1024;
/// Longest signed file that is read, in bytes: the longest document as JSON with the most signatures it may carry.
pub const SIGNED_FILE: u64 = 1024 * 1024;

/// A node's data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// The directory at this path, existing or not.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `demarched.toml`: the configuration.
    pub fn config(&self) -> PathBuf {
        self.0.join("demarched.toml")
    }

    /// `node.lock`: flock held by the running node.
    pub fn lock(&self) -> PathBuf {
        self.0.join("node.lock")
    }

    /// `control.sock`, unless the configuration names another place.
    pub fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// `ID.card`: the text that `setup` or `card renew` drafted. Signatures lie beside it: [`signature_file`].
    pub fn card(&self, member: &MemberId) -> PathBuf {
        self.0.join(format!("{member}.card"))
    }

    /// `keys/SERIAL/`: the keys of one card, mode 0700.
    pub fn keys(&self, serial: CardSerial) -> PathBuf {
        self.0.join("keys").join(serial.to_string())
    }

    /// The serials that have keys here, ascending.
    pub fn key_serials(&self) -> io::Result<Vec<CardSerial>> {
        let mut serials: Vec<CardSerial> = names_in(&self.0.join("keys"))?
            .iter()
            .filter_map(|name| name.parse().ok().map(CardSerial))
            .collect();
        serials.sort();
        Ok(serials)
    }

    /// `keys/SERIAL/node.key`: OpenSSH Ed25519, no passphrase.
    pub fn node_key(&self, serial: CardSerial) -> PathBuf {
        self.keys(serial).join("node.key")
    }

    /// `keys/SERIAL/session.key`, in the form of [`secret_file::session`](crate::secret_file::session).
    pub fn session_key(&self, serial: CardSerial) -> PathBuf {
        self.keys(serial).join("session.key")
    }

    /// `keys/SERIAL/prekey.key`, in the form of [`secret_file::prekey`](crate::secret_file::prekey).
    pub fn prekey(&self, serial: CardSerial) -> PathBuf {
        self.keys(serial).join("prekey.key")
    }

    /// `keys/SERIAL/prekey-N.key`: a later prekey under the same card, made by the node; number 0 is the card's.
    pub fn prekey_numbered(&self, serial: CardSerial, number: u64) -> PathBuf {
        match number {
            0 => self.prekey(serial),
            later => self.keys(serial).join(format!("prekey-{later}.key")),
        }
    }

    /// `keys/SERIAL/prekeys`: when each prekey was made and confirmed.
    pub fn prekey_times(&self, serial: CardSerial) -> PathBuf {
        self.keys(serial).join("prekeys")
    }

    /// `channels/`.
    pub fn channels(&self) -> PathBuf {
        self.0.join("channels")
    }

    /// Local names of the channels that have a charter here, in order.
    pub fn channel_names(&self) -> io::Result<Vec<String>> {
        let mut names = names_in(&self.channels())?;
        names.retain(|name| self.channel(name).charter().is_file());
        names.sort();
        Ok(names)
    }

    /// `channels/NAME/`. The name must be a [`slug`].
    pub fn channel(&self, name: &str) -> ChannelDir {
        ChannelDir(self.channels().join(name))
    }

    /// `store/`: the node's database.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// `custody/`: at a mediator, what it keeps for the channels' parties, a directory for each channel.
    pub fn custody(&self) -> PathBuf {
        self.0.join("custody")
    }

    /// `alarms.json`: the alarms that stand, and who has taken them.
    pub fn alarms(&self) -> PathBuf {
        self.0.join("alarms.json")
    }

    /// `restore/`: what `restore` left of a backup's journal, until the node has taken it into its store.
    pub fn restore(&self) -> PathBuf {
        self.0.join("restore")
    }

    /// `spare.recipients`: for whom the last spare card's keys were sealed, a public key a line. A renewal makes the next one for them.
    pub fn spare_recipients(&self) -> PathBuf {
        self.0.join("spare.recipients")
    }

    /// `standby.json`: a signed card whose keys lie here, which the node takes when its disk was lost or set back.
    pub fn standby(&self) -> PathBuf {
        self.0.join("standby.json")
    }

    /// `set-back`: the card under which peers hold what this node has signed and lost.
    pub fn set_back(&self) -> PathBuf {
        self.0.join("set-back")
    }

    /// `last-card`: the highest serial of a card under which this node has written.
    pub fn last_card(&self) -> PathBuf {
        self.0.join("last-card")
    }
}

/// The directory of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelDir(PathBuf);

impl ChannelDir {
    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `charter.json`: the charter as a signed file.
    pub fn charter(&self) -> PathBuf {
        self.0.join("charter.json")
    }

    /// `incoming/`: what `install` left for the node.
    pub fn incoming(&self) -> PathBuf {
        self.0.join("incoming")
    }

    /// `incoming/ID.json`.
    pub fn incoming_file(&self, document: DocumentId) -> PathBuf {
        self.incoming().join(format!("{document}.json"))
    }

    /// `installed/`: a copy of every document that `install` has verified and left here, so that the tool knows them
    /// while the node is stopped, and the node has them again when its store lost them.
    pub fn installed(&self) -> PathBuf {
        self.0.join("installed")
    }

    /// `installed/ID.json`.
    pub fn installed_file(&self, document: DocumentId) -> PathBuf {
        self.installed().join(format!("{document}.json"))
    }

    /// `refused/`.
    pub fn refused(&self) -> PathBuf {
        self.0.join("refused")
    }

    /// `refused/ID.json`: what the node refused.
    pub fn refused_file(&self, document: DocumentId) -> PathBuf {
        self.refused().join(format!("{document}.json"))
    }

    /// `refused/ID.why`: why.
    pub fn refused_why(&self, document: DocumentId) -> PathBuf {
        self.refused().join(format!("{document}.why"))
    }
}

/// The file of signature number `number` (from 1) on the text file `text`: `FILE.sig`, `FILE.2.sig`, ….
pub fn signature_file(text: &Path, number: usize) -> PathBuf {
    if number <= 1 { with_ending(text, ".sig") } else { with_ending(text, &format!(".{number}.sig")) }
}

/// The same for a charter, where every member signs: `FILE.ID.sig`, `FILE.ID.2.sig`, ….
pub fn member_signature_file(text: &Path, member: &MemberId, number: usize) -> PathBuf {
    signature_file(&with_ending(text, &format!(".{member}")), number)
}

/// `FILE.node.sig`: the node's own signature on its card, the proof that it holds the key.
pub fn possession_file(card: &Path) -> PathBuf {
    with_ending(card, ".node.sig")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A channel's local name made from a title: lower-case ASCII letters, digits and hyphens, at most 32; `channel` when
/// nothing of the title is left.
pub fn slug(title: &str) -> String {
    let mut slug = String::new();
    for character in title.chars() {
        if slug.len() >= 32 {
            break;
        }
        if character.is_ascii_alphanumeric() {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "channel".to_owned() } else { slug.to_owned() }
}

/// Whether a text can be a channel's local name: what [`slug`] makes, and no 64-digit hash.
pub fn is_channel_name(name: &str) -> bool {
    !name.is_empty() && slug(name) == name
}

fn names_in(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is not UTF-8 is none of ours.
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}

/// Makes a directory and its parents with this mode; one that exists keeps its own.
pub fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Writes a whole file durably and with this mode, replacing what was there. After an error the old content stands.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_beside(path);
    let written = write_new(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_parent(path)
}

/// Writes a whole file durably and with this mode, unless something is there already.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_beside(path);
    // A hard link refuses to replace, where a rename would not.
    let written = write_new(&temporary, bytes, mode).and_then(|()| fs::hard_link(&temporary, path));
    let _ = fs::remove_file(&temporary);
    written?;
    sync_parent(path)
}

/// A file on its way to be written by parts: it is seen when it is finished, durably and whole, and never replaces anything. What is
/// dropped before leaves nothing behind.
#[derive(Debug)]
pub struct Unfinished {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Unfinished {
    /// Begins a file that will have this name and mode.
    pub fn create(path: &Path, mode: u32) -> io::Result<Self> {
        let temporary = temporary_beside(path);
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        Ok(Self { file, temporary, path: path.to_owned() })
    }

    /// Makes it durable under its name, unless something is there by now.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::hard_link(&self.temporary, &self.path)?;
        sync_parent(&self.path)
    }
}

impl io::Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // One that stays is hidden, and nobody's.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn temporary_beside(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.{number}.tmp", std::process::id()))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // What a killed process of the same id left behind is nobody's.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes a file durably; none is fine.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed?,
    }
    sync_parent(path)
}

/// Moves a file durably within one file system.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_parent(to)?;
    sync_parent(from)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// `FILE.keys.age`: the keys of a spare card, sealed for the safe.
pub fn sealed_keys_file(card: &Path) -> PathBuf {
    with_ending(card, ".keys.age")
}

/// Why a file that should hold a secret is not read.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It could not be opened or read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A link, directory or device.
    #[error("{} is {what}, not a regular file", path.display())]
    Kind {
        /// Which.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Somebody else could change it.
    #[error("{} belongs to user {owner}, not to user {me} who reads it", path.display())]
    Owner {
        /// Which.
        path: PathBuf,
        /// Its owner's uid.
        owner: u32,
        /// The effective uid here.
        me: u32,
    },
    /// Somebody else may read or change it.
    #[error("{} can be read by others (mode {mode:04o}); a key must be its owner's alone (0600)", path.display())]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Longer than any key.
    #[error("{} is longer than any key file", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
    },
    /// Not text.
    #[error("{} is not a text file", path.display())]
    NotText {
        /// Which.
        path: PathBuf,
    },
}

impl SecretFileError {
    /// The command that puts it right, where one does.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Mode { path, .. } => Some(format!("chmod 600 {}", path.display())),
            Self::Owner { path, .. } => Some(format!("chown $(id -un) {}", path.display())),
            Self::Kind { what: "a link", .. } => Some("name the file itself instead of the link".to_owned()),
            _ => None,
        }
    }
}

/// Reads a file that holds a secret, after checking that it is a regular file, of the effective user, and closed to
/// group and others (threat L2). The checks are made on the open file, so it cannot be exchanged in between.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    let io = |source| SecretFileError::Io { path: path.to_owned(), source };
    let kind = |what| SecretFileError::Kind { path: path.to_owned(), what };
    // NONBLOCK: opening a named pipe must not wait for a writer.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits();
    let opened = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => kind("a link"),
        _ => io(error),
    })?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(kind(kind_of(&metadata)));
    }
    let me = rustix::process::geteuid().as_raw();
    if metadata.uid() != me {
        return Err(SecretFileError::Owner { path: path.to_owned(), owner: metadata.uid(), me });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Mode { path: path.to_owned(), mode });
    }
    if metadata.len() > SECRET_FILE {
        return Err(SecretFileError::TooLong { path: path.to_owned() });
    }
    // Room from the start: a growing buffer would leave copies of the secret behind.
    let room = usize::try_from(SECRET_FILE).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(SECRET_FILE).read_to_end(&mut bytes).map_err(io)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretFileError::NotText { path: path.to_owned() })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads a file of at most `limit` bytes. Only a regular file: a device may give bytes for ever, a pipe may give none. The
/// check is made on the open file, so it cannot be exchanged in between.
pub fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // NONBLOCK: opening a named pipe must not wait for a writer.
    let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        let why = format!("it is {}, not a regular file", kind_of(&metadata));
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut bytes = Vec::new();
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if read as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {limit} bytes")));
    }
    Ok(bytes)
}

fn kind_of(metadata: &fs::Metadata) -> &'static str {
    if metadata.is_dir() { "a directory" } else { "a device or pipe" }
}

#[cfg(test)]
mod tests;
