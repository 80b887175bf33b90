//! An entry: a document in its place in a party's log, signed by the node under one card. Its text travels beside it.

use std::{fmt, sync::Arc};

use bincode::{Decode, Encode};

use crate::{
    codec::{self, CodecError, Wire},
    document::SignedDocument,
    hash::{ChannelId, DocumentId, EntryHash},
    identity::{
        card::CardSerial,
        keys::{BadSignature, KeySignature, PublicKey, SecretKey, Signature},
        member::MemberId,
    },
    labels::Namespace,
    limits,
    time::Timestamp,
    transcript::facts::Facts,
};

/// The number of an entry in its party's log, from 1, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Seq(pub u64);

impl Seq {
    /// The first.
    pub const FIRST: Self = Self(1);

    /// The next.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One entry, named by place and hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Head {
    /// Whose log.
    pub party: MemberId,
    /// In which volume.
    pub card: CardSerial,
    /// Its number.
    pub seq: Seq,
    /// Its name.
    pub hash: EntryHash,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.party, self.seq)
    }
}

/// An earlier entry of the same log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Pointer {
    /// Its number.
    pub seq: Seq,
    /// Its name.
    pub hash: EntryHash,
}

/// The version of entries and receipts that this program writes and reads.
pub const VERSION: u8 = 1;

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// [`VERSION`].
    pub version: u8,
    /// The channel.
    pub channel: ChannelId,
    /// Whose log.
    pub party: MemberId,
    /// The card under which the node signs: the volume.
    pub card: CardSerial,
    /// The number.
    pub seq: Seq,
    /// The entry before; for the first of a log, the channel's name.
    pub prev: EntryHash,
    /// The last card, roots, officer, suspension, revocation or charter entry before this one in the same log.
    pub authority: Option<Pointer>,
    /// The ends of all branches of the other logs when this was written: bounds back-dating (threat M18), and shows what was there
    /// before a revocation (threat K2).
    pub seen: Vec<Head>,
    /// When it was recorded, by the node's clock.
    pub recorded_at: Timestamp,
    /// The document.
    pub document: DocumentId,
    /// The signatures on the document.
    pub signatures: Vec<KeySignature>,
}

impl Wire for Entry {
    const LIMIT: usize = limits::ENTRY;
    const NAME: &'static str = "entry";
}

impl Entry {
    /// Its place and name.
    pub fn head(&self, hash: EntryHash) -> Head {
        Head { party: self.party.clone(), card: self.card, seq: self.seq, hash }
    }

    /// Encodes and signs it.
    pub fn sign(&self, key: &SecretKey) -> SignedEntry {
        let bytes = codec::encode(self);
        let signature = key.sign(Namespace::Entry, &bytes).signature;
        SignedEntry { bytes: bytes.into(), signature }
    }
}

/// An entry's bytes as they travelled, and the node's signature over them. Says nothing until verified.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedEntry {
    bytes: Arc<[u8]>,
    signature: Signature,
}

/// Why an entry is not authentic.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EntryError {
    /// Not an entry.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A version from the future.
    #[error("an entry of version {0} is not known here")]
    Version(u8),
    /// It belongs elsewhere.
    #[error("an entry of another channel")]
    Channel,
    /// The text beside it is not the document it names.
    #[error("the text beside the entry is not its document")]
    Text,
    /// The text is longer than any document.
    #[error("a text of {0} bytes")]
    TextTooLong(usize),
    /// More signatures or heads than an entry may carry.
    #[error("more signatures or heads than an entry may carry")]
    TooMany,
    /// Number zero, or a first entry that does not begin at the channel.
    #[error("an entry with an impossible number")]
    Seq,
    /// Not signed by the node of its card.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

impl SignedEntry {
    /// From bytes and signature that were stored or carried elsewhere.
    pub fn from_parts(bytes: impl Into<Arc<[u8]>>, signature: Signature) -> Self {
        Self { bytes: bytes.into(), signature }
    }

    /// Its name: SHA-256 of its bytes.
    pub fn hash(&self) -> EntryHash {
        EntryHash::of(&self.bytes)
    }

    /// The signed bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The node's signature.
    pub const fn signature(&self) -> Signature {
        self.signature
    }

    /// What it claims, unverified.
    pub fn claims(&self) -> Result<Entry, EntryError> {
        let entry: Entry = codec::decode(&self.bytes)?;
        if entry.version != VERSION {
            return Err(EntryError::Version(entry.version));
        }
        if entry.seen.len() > limits::SEEN || entry.signatures.len() > limits::ENTRY_SIGNATURES {
            return Err(EntryError::TooMany);
        }
        let begins = entry.prev.as_bytes() == entry.channel.as_bytes();
        if entry.seq.0 == 0 || (entry.seq == Seq::FIRST) != begins {
            return Err(EntryError::Seq);
        }
        Ok(entry)
    }
}

/// An entry with its document's text: what is stored, sent and exported.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Item {
    /// The node's signed bytes.
    pub entry: SignedEntry,
    /// The document's text.
    pub text: Arc<str>,
}

impl Wire for Item {
    const LIMIT: usize = limits::FRAME;
    const NAME: &'static str = "entry with its text";
}

impl Item {
    /// Checks everything that can be checked without knowing who may sign.
    pub fn claims(self, channel: ChannelId) -> Result<Claimed, EntryError> {
        let entry = self.entry.claims()?;
        if entry.channel != channel {
            return Err(EntryError::Channel);
        }
        if self.text.len() > limits::DOCUMENT_TEXT {
            return Err(EntryError::TextTooLong(self.text.len()));
        }
        if DocumentId::of(self.text.as_bytes()) != entry.document {
            return Err(EntryError::Text);
        }
        Ok(Claimed { entry, item: self })
    }

    /// The document with the signatures that the entry carries.
    pub fn document(&self, entry: &Entry) -> SignedDocument {
        SignedDocument::new(Arc::clone(&self.text), entry.signatures.clone())
    }

    /// For an item read back from this node's own store, which only holds authentic ones.
    pub fn from_own_store(self, channel: ChannelId) -> Result<Authentic, EntryError> {
        Ok(self.claims(channel)?.into_authentic())
    }
}

/// An entry whose text and encoding were found good; its node's signature is still to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    entry: Entry,
    item: Item,
}

impl Claimed {
    /// What it says.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its document.
    pub fn document(&self) -> SignedDocument {
        self.item.document(&self.entry)
    }

    /// Checks that one of these nodes signed it: of two cards with one serial either may have.
    pub fn authenticate<'a>(
        self,
        nodes: impl IntoIterator<Item = &'a PublicKey>,
    ) -> Result<Authentic, EntryError> {
        let signature = self.item.entry.signature();
        let signed =
            |node: &PublicKey| node.verify(Namespace::Entry, self.item.entry.bytes(), &signature).is_ok();
        if !nodes.into_iter().any(signed) {
            return Err(BadSignature.into());
        }
        Ok(self.into_authentic())
    }

    fn into_authentic(self) -> Authentic {
        let facts = Facts::of(&self.document());
        Authentic { hash: self.item.entry.hash(), entry: self.entry, item: self.item, facts }
    }
}

/// An entry whose node signature, text and encoding were found good, with what its document says. Only checking makes
/// one, or signing it here.
#[derive(Clone, Debug)]
pub struct Authentic {
    hash: EntryHash,
    entry: Entry,
    item: Item,
    facts: Facts,
}

impl Authentic {
    /// One that this node signs now. `facts` are those of `document`.
    pub(crate) fn written(entry: Entry, key: &SecretKey, document: &SignedDocument, facts: Facts) -> Self {
        let item = Item { entry: entry.sign(key), text: document.shared_text() };
        Self { hash: item.entry.hash(), entry, item, facts }
    }

    /// Its name.
    pub const fn hash(&self) -> EntryHash {
        self.hash
    }

    /// What it says.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The bytes and the text.
    pub const fn item(&self) -> &Item {
        &self.item
    }

    /// What its document says.
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Its place and name.
    pub fn head(&self) -> Head {
        self.entry.head(self.hash)
    }
}
