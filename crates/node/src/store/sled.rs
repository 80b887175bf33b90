//! The sled backend. One tree, so that a group is one atomic batch:
//!
//! `j` ‖ index (u64, big-endian) ‖ part (u8) → a record's bytes, in parts of [`PART`]; whole they are
//! SHA-256 ‖ channel ‖ canonical encoding, and the hash covers index, channel and encoding.
//! `e` ‖ channel ‖ entry hash → index. `v` → format version.
//!
//! sled's `flush` does not reach the platter on Linux (it calls `sync_file_range`), so a commit is: apply, flush,
//! `fsync` of the file `db`. After any error the store refuses everything, for good.

use std::{
    fs::{self, File},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use demarche_protocol::{
    channel::Record,
    codec,
    hash::{ChannelId, EntryHash, sha256},
    transcript::Item,
};
use rustix::fs::{FlockOperation, flock};
use sled::{Batch as Writes, IVec};
use tokio::sync::oneshot;

use super::{
    Commit, CommitError, JournalIndex, Journaled, Records, Store, StoreError,
    ballast::{AMPLIFICATION, Ballast, MARGIN, free_bytes},
    mark::{Lost, Mark},
};

/// Bytes of a value at most. A leaf of sled holds 16 values and is rewritten whole; beyond half a megabyte it would
/// move to a file of its own, outside the `fsync` of `db`.
const PART: usize = 8 << 10;
/// What this program writes and reads.
const FORMAT: u64 = 1;
/// sled's default is a gigabyte. A leaf is at most 128 KiB; the newest few dozen are all that is read again.
const CACHE: u64 = 8 << 20;
const HASH: usize = 32;
/// sled's threads are in the middle of one write at most.
const LET_GO_WITHIN: Duration = Duration::from_secs(10);

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or its files.
    #[error("the store in {} cannot be opened", .path.display())]
    Io {
        /// The store's directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// sled refuses, or panicked over what it found.
    #[error(
        "the store in {} cannot be read: {why}\nhelp: keep a copy of that directory, and put the last backup of it in its place; before the first start, a new card: demarche card renew --data DIR, sign it, install it. What peers hold comes back from them",
        .path.display()
    )]
    Backend {
        /// The store's directory.
        path: PathBuf,
        /// What it said.
        why: String,
    },
    /// Written by a later program (threat S11).
    #[error("the store in {} has format {found}; this program knows {FORMAT}\nhelp: start the newer demarched that wrote it", .path.display())]
    Format {
        /// The store's directory.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
}

/// Makes the file durable. A field, so that a test can fail it.
type Sync = Box<dyn FnMut(&File) -> io::Result<()> + Send>;

struct Writer {
    next: JournalIndex,
    /// Set once the outcome of a commit is unknown.
    stopped: Option<String>,
    file: File,
    sync: Sync,
    ballast: Ballast,
    mark: Mark,
}

/// A store on disk.
pub struct SledStore {
    directory: PathBuf,
    db: sled::Db,
    writer: Mutex<Writer>,
    durable: AtomicU64,
    margin: u64,
    lost: Option<Lost>,
    /// Last, so that it goes when the directory can be opened again.
    closed: Closing,
}

/// Resolves when a store is closed: when nobody holds it any more, and its directory can be opened again.
pub struct Closed(oneshot::Receiver<()>);

impl Closed {
    /// Waits for it.
    pub async fn wait(self) {
        // Nothing is ever sent: the sender goes with the store.
        let _ = self.0.await;
    }
}

/// The other end of every [`Closed`].
#[derive(Default)]
struct Closing(Vec<oneshot::Sender<()>>);

impl SledStore {
    /// Opens or creates the store in `directory`. Its parent must exist.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        Self::open_with(directory, MARGIN, Box::new(File::sync_all))
    }

    /// Opens the store of a node that has written before: one that is not there any more is a loss.
    pub fn open_again(directory: &Path) -> Result<Self, OpenError> {
        if !directory.join("db").exists() {
            let made = fs::create_dir_all(directory);
            made.and_then(|()| Mark::another(directory))
                .map_err(|source| OpenError::Io { path: directory.to_owned(), source })?;
        }
        Self::open(directory)
    }

    /// Marks the store in `directory` as set back. Whoever opens it next is told.
    pub fn note_set_back(directory: &Path) -> io::Result<()> {
        Mark::another(directory)
    }

    /// As [`SledStore::open`], with another margin of free bytes and another way to make the file durable.
    pub(super) fn open_with(directory: &Path, margin: u64, sync: Sync) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: directory.to_owned(), source };
        let backend = |why: String| OpenError::Backend { path: directory.to_owned(), why };
        fs::create_dir_all(directory).map_err(io)?;
        let mut ballast = Ballast::before_open(directory).map_err(io)?;
        let config = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE)
            .flush_every_ms(None)
            .print_profile_on_drop(false);
        until_let_go(&directory.join("db")).map_err(io)?;
        // sled checks some of what it reads with assertions.
        let db = catch_unwind(AssertUnwindSafe(|| config.open()))
            .map_err(|panic| backend(format!("it is damaged ({})", panic_text(panic.as_ref()))))?
            .map_err(|error| backend(error.to_string()))?;
        let read = |error: sled::Error| backend(error.to_string());
        match db.get(b"v").map_err(read)?.as_deref().map(|bytes| <[u8; 8]>::try_from(bytes).ok()) {
            None => {
                db.insert(b"v", &FORMAT.to_be_bytes()).map_err(read)?;
                db.flush().map_err(read)?;
            }
            Some(Some(found)) if u64::from_be_bytes(found) == FORMAT => {}
            Some(found) => {
                let found = found.map_or(0, u64::from_be_bytes);
                return Err(OpenError::Format { path: directory.to_owned(), found });
            }
        }
        let file = File::open(directory.join("db")).map_err(io)?;
        file.sync_all().map_err(io)?;
        for made in [Some(directory), directory.parent()].into_iter().flatten() {
            File::open(made).and_then(|made| made.sync_all()).map_err(io)?;
        }
        ballast.restore(free_bytes(directory).map_err(io)?);
        let last = last_index(&db).map_err(read)?;
        let (mark, lost) = Mark::open(directory, last).map_err(io)?;
        let writer = Writer { next: last.next(), stopped: None, file, sync, ballast, mark };
        Ok(Self {
            directory: directory.to_owned(),
            db,
            writer: Mutex::new(writer),
            durable: AtomicU64::new(last.0),
            margin,
            lost,
            closed: Closing::default(),
        })
    }

    /// Tells when the store is closed.
    pub fn closed(&mut self) -> Closed {
        let (closing, closed) = oneshot::channel();
        self.closed.0.push(closing);
        Closed(closed)
    }

    /// What was found missing when the store was opened.
    pub const fn lost(&self) -> Option<Lost> {
        self.lost
    }

    fn apply(&self, writer: &mut Writer, batch: Writes) -> Result<(), String> {
        let applied = catch_unwind(AssertUnwindSafe(|| {
            self.db.apply_batch(batch)?;
            self.db.flush()
        }));
        match applied {
            Ok(Ok(_)) => (writer.sync)(&writer.file).map_err(|error| format!("fsync failed: {error}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => Err(panic_text(panic.as_ref())),
        }
    }

    /// Bytes free, if they are enough for so many more.
    fn room(&self, bytes: u64) -> Result<u64, CommitError> {
        let free = free_bytes(&self.directory).map_err(|error| CommitError::Unknown(error.to_string()))?;
        let needed = self.margin + AMPLIFICATION * bytes;
        if free < needed { Err(CommitError::NoSpace { free, needed }) } else { Ok(free) }
    }

    fn read_from(&self, first: JournalIndex, last: JournalIndex) -> Raw {
        let range = self.db.range(record_key(first, 0)..=record_key(last, u8::MAX));
        Raw { range, held: None, expected: first, last, over: first > last }
    }
}

impl Store for SledStore {
    fn commit(&self, group: &[Commit]) -> Result<Vec<JournalIndex>, CommitError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &writer.stopped {
            return Err(CommitError::Unknown(why.clone()));
        }
        let mut batch = Writes::default();
        let mut next = writer.next;
        let mut bytes = 0_u64;
        let mut places = Vec::with_capacity(group.len());
        for commit in group {
            for record in &commit.batch.records {
                bytes += write_record(&mut batch, next, commit.channel, record);
                next = next.next();
            }
            places.push(JournalIndex(next.0 - 1));
        }
        if next == writer.next {
            return Ok(places);
        }
        match self.room(bytes) {
            Ok(free) => writer.ballast.restore(free),
            // Nothing was applied, but a disk that cannot even be asked is not one to go on with.
            Err(CommitError::Unknown(why)) => return Err(stop(&mut writer, why)),
            Err(full) => return Err(full),
        }
        if let Err(why) = self.apply(&mut writer, batch) {
            return Err(stop(&mut writer, why));
        }
        writer.next = next;
        // The group is durable; a mark that stays behind would only miss a later loss.
        if let Err(error) = writer.mark.set(JournalIndex(next.0 - 1)) {
            tracing::error!(%error, "how far the store reaches could not be marked");
        }
        self.durable.store(next.0 - 1, Ordering::Release);
        Ok(places)
    }

    fn load(&self, channel: ChannelId) -> Records<'_> {
        let raw = self.read_from(JournalIndex(1), self.durable());
        Box::new(raw.filter_map(move |found| match found {
            Err(error) => Some(Err(error)),
            Ok((index, value)) if channel_of(&value) == Some(channel) => {
                Some(read_record(index, &value).map(|found| (index, found.record)))
            }
            Ok(_) => None,
        }))
    }

    fn item(&self, channel: ChannelId, entry: EntryHash) -> Result<Option<Item>, StoreError> {
        let Some(place) = self.db.get(entry_key(channel, entry)).map_err(backend)? else { return Ok(None) };
        let index =
            <[u8; 8]>::try_from(&*place).map_or(JournalIndex::START, |b| JournalIndex(u64::from_be_bytes(b)));
        if index > self.durable() {
            return Ok(None);
        }
        let wrong = |what: &str| StoreError::Damaged { index, what: what.to_owned() };
        let (_, value) = self.read_from(index, index).next().ok_or_else(|| wrong("it is missing"))??;
        match read_record(index, &value)?.record {
            Record::Entry(item) if item.entry.hash() == entry => Ok(Some(item)),
            _ => Err(wrong("it is not the entry that the index says")),
        }
    }

    fn journal(&self, after: JournalIndex, limit: usize) -> Result<Vec<Journaled>, StoreError> {
        self.read_from(after.next(), self.durable())
            .take(limit)
            .map(|found| found.and_then(|(index, value)| read_record(index, &value)))
            .collect()
    }

    fn hindrance(&self) -> Option<CommitError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let stopped = writer.stopped.clone().map(CommitError::Unknown);
        stopped.or_else(|| self.room(0).err())
    }

    fn durable(&self) -> JournalIndex {
        JournalIndex(self.durable.load(Ordering::Acquire))
    }
}

fn stop(writer: &mut Writer, why: String) -> CommitError {
    writer.stopped = Some(why.clone());
    CommitError::Unknown(why)
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn backend(error: sled::Error) -> StoreError {
    StoreError::Backend(error.to_string())
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
}

fn record_key(index: JournalIndex, part: u8) -> [u8; 10] {
    let mut key = [b'j'; 10];
    key[1..9].copy_from_slice(&index.0.to_be_bytes());
    key[9] = part;
    key
}

fn entry_key(channel: ChannelId, entry: EntryHash) -> [u8; 65] {
    let mut key = [b'e'; 65];
    key[1..33].copy_from_slice(channel.as_bytes());
    key[33..].copy_from_slice(entry.as_bytes());
    key
}

fn last_index(db: &sled::Db) -> Result<JournalIndex, sled::Error> {
    let last = db.scan_prefix(b"j").keys().next_back().transpose()?;
    Ok(last.and_then(|key| index_of(&key)).unwrap_or(JournalIndex::START))
}

fn index_of(key: &[u8]) -> Option<JournalIndex> {
    Some(JournalIndex(u64::from_be_bytes(key.get(1..9)?.try_into().ok()?)))
}

fn digest(index: JournalIndex, body: &[u8]) -> [u8; HASH] {
    let mut covered = Vec::with_capacity(8 + body.len());
    covered.extend_from_slice(&index.0.to_be_bytes());
    covered.extend_from_slice(body);
    sha256(&covered)
}

/// Adds a record's keys. Gives the bytes they hold.
fn write_record(writes: &mut Writes, index: JournalIndex, channel: ChannelId, record: &Record) -> u64 {
    let encoded = codec::encode(record);
    let mut value = vec![0; HASH];
    value.extend_from_slice(channel.as_bytes());
    value.extend_from_slice(&encoded);
    let hash = digest(index, &value[HASH..]);
    value[..HASH].copy_from_slice(&hash);
    for (part, bytes) in (0..=u8::MAX).zip(value.chunks(PART)) {
        writes.insert(&record_key(index, part), bytes);
    }
    if let Record::Entry(item) = record {
        writes.insert(&entry_key(channel, item.entry.hash())[..], &index.0.to_be_bytes());
    }
    value.len() as u64
}

fn channel_of(value: &[u8]) -> Option<ChannelId> {
    Some(ChannelId::from_bytes(value.get(HASH..2 * HASH)?.try_into().ok()?))
}

fn read_record(index: JournalIndex, value: &[u8]) -> Result<Journaled, StoreError> {
    let wrong = |what: String| StoreError::Damaged { index, what };
    let channel = channel_of(value).ok_or_else(|| wrong("it is too short".to_owned()))?;
    let (hash, body) = value.split_at(HASH);
    if hash != digest(index, body) {
        return Err(wrong("its bytes do not have the hash they were written with".to_owned()));
    }
    let record = codec::decode(&body[HASH..]).map_err(|error| wrong(error.to_string()))?;
    Ok(Journaled { index, channel, record })
}

/// Records put together from their parts, none left out.
struct Raw {
    range: sled::Iter,
    /// The first part of the next record, read already.
    held: Option<(IVec, IVec)>,
    expected: JournalIndex,
    last: JournalIndex,
    over: bool,
}

impl Raw {
    fn next_part(&mut self) -> Result<Option<(IVec, IVec)>, StoreError> {
        match self.held.take() {
            Some(held) => Ok(Some(held)),
            None => self.range.next().transpose().map_err(backend),
        }
    }

    fn record(&mut self) -> Result<(JournalIndex, Vec<u8>), StoreError> {
        let index = self.expected;
        let mut value = Vec::new();
        while let Some((key, bytes)) = self.next_part()? {
            if index_of(&key) != Some(index) {
                self.held = Some((key, bytes));
                break;
            }
            value.extend_from_slice(&bytes);
        }
        if value.is_empty() {
            return Err(StoreError::Damaged { index, what: "it is missing".to_owned() });
        }
        self.expected = index.next();
        Ok((index, value))
    }
}

impl Iterator for Raw {
    type Item = Result<(JournalIndex, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over || self.expected > self.last {
            return None;
        }
        let record = self.record();
        self.over = record.is_err();
        Some(record)
    }
}

/// sled's own threads hold its file for a moment after the last handle of a database is gone, and it does not wait for them. That
/// no other node holds it is not its business: the data directory has a lock of its own.
fn until_let_go(file: &Path) -> io::Result<()> {
    let Ok(file) = File::open(file) else { return Ok(()) };
    let deadline = Instant::now() + LET_GO_WITHIN;
    while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if Instant::now() >= deadline {
            return Err(error.into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
