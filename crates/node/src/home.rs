//! What lies in the data directory: whose node this is, which channels it holds, and which card it may use.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use demarche_control::{
    SignedFile,
    layout::{self, DataDir, SIGNED_FILE},
};
use demarche_protocol::{
    channel::Record,
    charter::Charter,
    document::{DocumentType, SignedDocument},
    hash::ChannelId,
    identity::{
        Verified,
        card::{Card, CardSerial},
        member::MemberId,
        officer::Officer,
        revocation::Revocation,
        roots::Roots,
        roster::Roster,
        suspension::Suspension,
    },
    time::Timestamp,
};

use crate::{
    keystore::{self, KeystoreError, NodeKeys},
    recall::Recalled,
    store::{Lost, Store, StoreError},
};

/// Whose node it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The party or mediator.
    pub(crate) me: MemberId,
    /// Whether it mediates.
    pub(crate) mediates: bool,
}

/// A channel that was installed.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    /// The local name.
    pub(crate) name: Arc<str>,
    /// The charter.
    pub(crate) charter: Verified<Charter>,
}

impl Channel {
    /// The channel.
    pub(crate) fn id(&self) -> ChannelId {
        ChannelId::from(self.charter.id())
    }
}

/// A channel that was installed and cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the channel {name} cannot be used: {}: {why}", path.display())]
pub struct Broken {
    /// The local name.
    pub name: String,
    /// The file that is not what it should be.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

impl Broken {
    /// The next step.
    pub(crate) fn help(&self) -> String {
        format!(
            "put {} back from a backup, or move it away and install the charter again: demarche install charter.toml --as {}; then start demarched anew",
            self.path.display(),
            self.name
        )
    }
}

/// What is installed.
#[derive(Default)]
pub(crate) struct Channels {
    /// Channels that name this node.
    pub(crate) sound: Vec<Channel>,
    /// Those that cannot be used.
    pub(crate) broken: Vec<Broken>,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// A file or directory in it.
    #[error("{} cannot be read\nhelp: start demarched as the account that owns the data directory", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file in it could not be written.
    #[error("{} cannot be written\nhelp: free space there, and start demarched as the account that owns the data directory", path.display())]
    Unwritten {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No card was drafted here.
    #[error("{} is not the data directory of a node\nhelp: demarche setup party --data {} …", path.display(), path.display())]
    NoCard {
        /// The directory.
        path: PathBuf,
    },
    /// Cards of several members.
    #[error(
        "{} is a card of {}, and {} one of {}\nhelp: keep the cards of one node there, and move the other away",
        one.0.display(), one.1, other.0.display(), other.1
    )]
    Several {
        /// A card, and whose.
        one: (PathBuf, MemberId),
        /// Another's.
        other: (PathBuf, MemberId),
    },
    /// No channel that was installed can be used.
    #[error("{0}\nhelp: {help}", help = .0.help())]
    Charter(Broken),
    /// Something was lost that this node has written under the card that it would go on with.
    #[error(
        "{lost}: it may have been written under card {card}, and peers may hold it, so nothing more may be written under that card\nhelp: have the disk looked at, then give the node a new card: demarche card renew --data {}, sign it with the roots, install it, and start again; what was lost comes back from the peers",
        data.display()
    )]
    Lost {
        /// What.
        lost: Lost,
        /// The card.
        card: CardSerial,
        /// The directory.
        data: PathBuf,
    },
    /// The card is not one.
    #[error("{} is not a card: {why}\nhelp: put it back from a backup, or move it away if it is no card of this node", path.display())]
    Card {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The store.
    #[error(
        "{0}\nhelp: look after the disk, keep a copy of store/ and move it away; then start demarched again, which says what else it takes"
    )]
    Store(#[from] StoreError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeystoreError),
}

/// Finds out whose node the directory is, from the card that `setup` drafted.
pub(crate) fn identity(data: &DataDir) -> Result<Identity, HomeError> {
    let io = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => HomeError::NoCard { path: data.path().to_owned() },
        _ => HomeError::Io { path: data.path().to_owned(), source },
    };
    let mut found: Option<(PathBuf, Identity)> = None;
    for entry in fs::read_dir(data.path()).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_none_or(|ending| ending != "card") {
            continue;
        }
        let bytes = layout::read_bounded(&path, SIGNED_FILE)
            .map_err(|source| HomeError::Io { path: path.clone(), source })?;
        let text = String::from_utf8_lossy(&bytes);
        let card =
            Card::parse(&text).map_err(|why| HomeError::Card { path: path.clone(), why: why.to_string() })?;
        let identity = Identity { mediates: card.is_mediator(), me: card.member };
        match &found {
            Some((known, other)) if *other != identity => {
                let mut cards = [(known.clone(), other.me.clone()), (path, identity.me)];
                cards.sort();
                let [one, other] = cards;
                return Err(HomeError::Several { one, other });
            }
            _ => found = Some((path, identity)),
        }
    }
    found.map(|(_, identity)| identity).ok_or_else(|| HomeError::NoCard { path: data.path().to_owned() })
}

/// Checks that the keys here belong to the card that was drafted here last, where it has keys here.
pub(crate) fn check_keys(data: &DataDir, identity: &Identity) -> Result<(), HomeError> {
    let path = data.card(&identity.me);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(|source| HomeError::Io { path: path.clone(), source })?,
    };
    let card = Card::parse(&text).map_err(|why| HomeError::Card { path, why: why.to_string() })?;
    if keystore::has_keys(data, card.serial) {
        keystore::read(data, &card)?;
    }
    Ok(())
}

/// The installed channels, and those of them that cannot be used.
pub(crate) fn channels(data: &DataDir, identity: &Identity) -> Result<Channels, HomeError> {
    let names = data.channel_names().map_err(|source| HomeError::Io { path: data.channels(), source })?;
    let mut channels = Channels::default();
    for name in names {
        match channel(data, identity, &name) {
            Ok(channel) if channels.sound.iter().any(|other| other.id() == channel.id()) => {
                tracing::error!(name, "the same charter is installed under two names; this one is left out");
            }
            Ok(channel) => channels.sound.push(channel),
            Err(why) => {
                let path = data.channel(&name).charter();
                tracing::error!(name, path = %path.display(), why, "a channel cannot be used");
                channels.broken.push(Broken { name, path, why });
            }
        }
    }
    Ok(channels)
}

/// The same at the start: a node with channels of which none can be used must not look like one without.
pub(crate) fn channels_at_start(data: &DataDir, identity: &Identity) -> Result<Channels, HomeError> {
    let mut channels = channels(data, identity)?;
    match channels.broken.pop_if(|_| channels.sound.is_empty()) {
        Some(broken) => Err(HomeError::Charter(broken)),
        None => Ok(channels),
    }
}

fn channel(data: &DataDir, identity: &Identity, name: &str) -> Result<Channel, String> {
    let document = signed_file(&data.channel(name).charter())?;
    let charter = Charter::verify(&document).map_err(|why| why.to_string())?;
    let members = if identity.mediates { &charter.mediators } else { &charter.parties };
    if !members.iter().any(|member| member.id == identity.me) {
        return Err(format!("the charter does not name {}", identity.me));
    }
    Ok(Channel { name: name.into(), charter })
}

/// Reads a signed file, signatures unverified.
pub(crate) fn signed_file(path: &Path) -> Result<SignedDocument, String> {
    let bytes = layout::read_bounded(path, SIGNED_FILE).map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    SignedFile::from_json(&text).and_then(|file| file.document()).map_err(|error| error.to_string())
}

/// A file that `install` left: where, and the document in it, or why it is none.
pub(crate) type Left = (PathBuf, Result<SignedDocument, String>);

/// The documents that `install` left in a folder, in the order in which they were issued: so officers, their suspensions and lists
/// of roots take effect one after another as they did when they were installed one by one.
pub(crate) fn documents_in(folder: &Path) -> Result<Vec<Left>, HomeError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(HomeError::Io { path: folder.to_owned(), source }),
        Ok(entries) => entries,
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    files.sort();
    let mut found: Vec<_> = files.into_iter().map(|path| (path.clone(), signed_file(&path))).collect();
    found.sort_by_key(|(_, document)| {
        let document = document.as_ref().ok();
        let issued_at = document.and_then(issued_at);
        (issued_at.is_none(), issued_at, document.map_or(u8::MAX, turn))
    });
    Ok(found)
}

fn issued_at(document: &SignedDocument) -> Option<Timestamp> {
    let text = document.text();
    match document.document_type()? {
        DocumentType::Roots => Roots::parse(text).ok().map(|roots| roots.issued_at),
        DocumentType::Card => Card::parse(text).ok().map(|card| card.issued_at),
        DocumentType::Officer => Officer::parse(text).ok().map(|officer| officer.issued_at),
        DocumentType::Suspension => Suspension::parse(text).ok().map(|suspension| suspension.issued_at),
        DocumentType::Revocation => Revocation::parse(text).ok().map(|revocation| revocation.issued_at),
        DocumentType::Charter | DocumentType::Dispatch => None,
    }
}

/// What others rest on comes first: lists of roots, then cards, then officers.
pub(crate) fn turn(document: &SignedDocument) -> u8 {
    match document.document_type() {
        Some(DocumentType::Roots) => 0,
        Some(DocumentType::Card) => 1,
        Some(DocumentType::Officer) => 2,
        _ => 3,
    }
}

/// What is in the store and says who may speak: the roster documents of a channel, and those in our own log.
pub(crate) fn stored_documents(
    store: &dyn Store,
    channel: ChannelId,
    me: &MemberId,
) -> Result<Vec<SignedDocument>, StoreError> {
    let mut documents = Vec::new();
    for found in store.load(channel) {
        match found?.1 {
            Record::Roster(document) => documents.push(document),
            // A volume's first entry carries its card.
            Record::Entry(item) if DocumentType::of(&item.text) != Some(DocumentType::Dispatch) => {
                if let Ok(entry) = item.entry.claims()
                    && entry.party == *me
                {
                    documents.push(item.document(&entry));
                }
            }
            _ => {}
        }
    }
    Ok(documents)
}

/// A channel's roster from documents, taken in any order.
pub(crate) fn roster<'a>(
    charter: &Verified<Charter>,
    documents: impl IntoIterator<Item = &'a SignedDocument>,
) -> Roster {
    let mut roster = Roster::new(charter);
    let documents: Vec<SignedDocument> = documents.into_iter().cloned().collect();
    // What does not hold says nothing.
    roster.offer_all(&documents);
    roster
}

/// The highest card under which this node has written; none when it has not.
pub(crate) fn last_card(data: &DataDir) -> Result<Option<CardSerial>, HomeError> {
    let path = data.last_card();
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HomeError::Io { path, source }),
        // What is no number was not written here, and may have been any.
        Ok(noted) => Ok(noted.trim().parse().ok().map(CardSerial)),
    }
}

/// Notes that peers hold what this node has signed under a card and does not hold: after the next start as well.
pub(crate) fn note_set_back(data: &DataDir, card: CardSerial) -> Result<(), HomeError> {
    let path = data.set_back();
    layout::write(&path, format!("{card}\n").as_bytes(), layout::PUBLIC)
        .map_err(|source| HomeError::Unwritten { path, source })
}

/// Whether that was noted of this card, or of a later one.
pub(crate) fn is_set_back(data: &DataDir, card: CardSerial) -> bool {
    // What cannot be read was written here all the same.
    let noted = || fs::read_to_string(data.set_back()).ok()?.trim().parse().ok().map(CardSerial);
    data.set_back().exists() && noted().is_none_or(|noted| noted >= card)
}

/// Refuses a card under which the node has written when something was lost of that: it might sign two entries with one number
/// (docs/protocol.md §6.2).
pub(crate) fn may_write_under(data: &DataDir, card: CardSerial, lost: Option<Lost>) -> Result<(), HomeError> {
    let Some(lost) = lost else { return Ok(()) };
    let noted = last_card(data)?;
    if noted.is_some_and(|noted| noted < card) {
        return Ok(());
    }
    if noted.is_none() {
        // Nobody knows under which it has written; a card after this one will do.
        write_under(data, card)?;
    }
    Err(HomeError::Lost { lost, card, data: data.path().to_owned() })
}

/// Notes that this node writes under a card from now on.
pub(crate) fn write_under(data: &DataDir, card: CardSerial) -> Result<(), HomeError> {
    if last_card(data)?.is_none_or(|noted| noted < card) {
        let path = data.last_card();
        layout::write(&path, format!("{card}\n").as_bytes(), layout::PUBLIC)
            .map_err(|source| HomeError::Unwritten { path, source })?;
    }
    Ok(())
}

/// The own card to use: the highest that was installed here in some channel and whose keys are here, with its keys. One that only peers
/// know was in use before this disk was set back, or is in use elsewhere: nothing may be written under it.
pub(crate) fn own_card(
    data: &DataDir,
    identity: &Identity,
    channels: &[Channel],
    recalled: &[Recalled],
) -> Result<Option<(Verified<Card>, NodeKeys)>, HomeError> {
    let mut best: Option<Verified<Card>> = None;
    for (channel, recalled) in channels.iter().zip(recalled) {
        let roster = roster(&channel.charter, recalled.all());
        let Some(roots) = roster.roots(&identity.me) else { continue };
        let cards = recalled.here().filter(|document| document.document_type() == Some(DocumentType::Card));
        for card in cards.filter_map(|document| Card::verify(document, &identity.me, roots).ok()) {
            if keystore::has_keys(data, card.serial)
                && best.as_ref().is_none_or(|best| card.serial > best.serial)
            {
                best = Some(card);
            }
        }
    }
    let Some(card) = best else { return Ok(None) };
    let keys = keystore::read(data, &card)?;
    Ok(Some((card, keys)))
}
