//! Frames: what two nodes say to each other inside a session. One byte of kind, then the canonical encoding of
//! that kind's content. An unknown kind is named and skipped; it never ends the session.

use bincode::{Decode, Encode};

use crate::{
    codec::{self, CodecError, Wire},
    document::SignedDocument,
    hash::ChannelId,
    identity::{
        card::CardSerial,
        keys::{BadSignature, PublicKey, SecretKey, Signature},
        member::MemberId,
        signed_prekey::{PrekeyNumber, SignedPrekey},
    },
    labels::Namespace,
    limits,
    time::Timestamp,
    transcript::{Head, Item, ReceiptId, Seq, SignedReceipt},
};

/// The first frame on a path: what this side holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The contiguous end of every volume held, of every party.
    pub heads: Vec<Head>,
    /// Digest of the roster.
    pub roster: [u8; 32],
}

impl Wire for Hello {
    const LIMIT: usize = limits::FRAME;
    const NAME: &'static str = "hello";
}

/// Asks for entries of a volume, from anyone who holds them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Want {
    /// Whose log.
    pub party: MemberId,
    /// Which volume.
    pub card: CardSerial,
    /// The first number wanted.
    pub from: Seq,
    /// The last number wanted; at most [`limits::WANT_SPAN`] in all.
    pub to: Seq,
}

impl Wire for Want {
    const LIMIT: usize = 128;
    const NAME: &'static str = "want";
}

/// States that receipts which nobody receipts again (those of kind *opened*) are held durably.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Confirm {
    /// The receipt.
    pub receipt: ReceiptId,
}

impl Wire for Confirm {
    const LIMIT: usize = 32;
    const NAME: &'static str = "confirmation";
}

/// States that a prekey of the other side is held durably, or a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PrekeyHeld {
    /// Under which card it was published.
    pub card: CardSerial,
    /// Its number.
    pub number: PrekeyNumber,
}

impl Wire for PrekeyHeld {
    const LIMIT: usize = 18;
    const NAME: &'static str = "confirmation of a prekey";
}

/// A test of the line: asked by one node, answered by the other, each signing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LineTest {
    /// The channel.
    pub channel: ChannelId,
    /// Who asked.
    pub from: MemberId,
    /// Who was asked.
    pub to: MemberId,
    /// The asker's number for it.
    pub number: u64,
    /// When it was asked, by the asker's clock.
    pub asked_at: Timestamp,
    /// When it was answered, by the answerer's clock; absent in the question.
    pub answered_at: Option<Timestamp>,
}

impl Wire for LineTest {
    const LIMIT: usize = 256;
    const NAME: &'static str = "line test";
}

/// A line test with its signer's signature, for namespace `linetest@`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedLineTest {
    /// What is signed.
    pub test: LineTest,
    /// By the node that sends it.
    pub signature: Signature,
}

impl Wire for SignedLineTest {
    const LIMIT: usize = 512;
    const NAME: &'static str = "signed line test";
}

impl LineTest {
    /// Signs it.
    pub fn sign(self, key: &SecretKey) -> SignedLineTest {
        let signature = key.sign(Namespace::LineTest, &codec::encode(&self)).signature;
        SignedLineTest { test: self, signature }
    }
}

impl SignedLineTest {
    /// Checks that `node` signed it.
    pub fn verify(&self, node: &PublicKey) -> Result<&LineTest, BadSignature> {
        node.verify(Namespace::LineTest, &codec::encode(&self.test), &self.signature)?;
        Ok(&self.test)
    }
}

/// Why a session is ended on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum CloseReason {
    /// A newer session takes over.
    Rekeyed,
    /// The node is stopping.
    Stopping,
    /// The other side broke the protocol.
    Misbehaved,
    /// The other side's card no longer admits it.
    NotAdmitted,
    /// This node cannot store at the moment.
    Busy,
}

impl Wire for CloseReason {
    const LIMIT: usize = 1;
    const NAME: &'static str = "close";
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// What this side holds.
    Hello(Hello),
    /// An entry with its text.
    Entry(Item),
    /// A receipt.
    Receipt(SignedReceipt),
    /// A receipt is held.
    Confirm(Confirm),
    /// A document of the roster.
    Card(SignedDocument),
    /// Entries are wanted.
    Want(Want),
    /// A test of the line.
    LineTest(SignedLineTest),
    /// The end.
    Close(CloseReason),
    /// A prekey of whoever sends it.
    Prekey(SignedPrekey),
    /// A prekey is held.
    PrekeyHeld(PrekeyHeld),
}

/// Why bytes are not a frame.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    /// No bytes.
    #[error("an empty frame")]
    Empty,
    /// A kind from the future: skipped, not an offence.
    #[error("a frame of kind {0} is not known here")]
    UnknownKind(u8),
    /// The content is not what the kind says.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Frame {
    /// The bytes to seal.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, content) = match self {
            Self::Hello(hello) => (0, codec::encode(hello)),
            Self::Entry(item) => (1, codec::encode(item)),
            Self::Receipt(receipt) => (2, codec::encode(receipt)),
            Self::Confirm(confirm) => (3, codec::encode(confirm)),
            Self::Card(document) => (4, codec::encode(document)),
            Self::Want(want) => (5, codec::encode(want)),
            Self::LineTest(test) => (6, codec::encode(test)),
            Self::Close(reason) => (7, codec::encode(reason)),
            Self::Prekey(prekey) => (8, codec::encode(prekey)),
            Self::PrekeyHeld(held) => (9, codec::encode(held)),
        };
        let mut bytes = Vec::with_capacity(content.len() + 1);
        bytes.push(kind);
        bytes.extend_from_slice(&content);
        bytes
    }

    /// Whether every node answers it by itself: an entry with a receipt, an *opened* receipt with a confirmation, a test of the line.
    pub fn asks(&self) -> bool {
        match self {
            Self::Entry(_) => true,
            Self::Receipt(receipt) => !receipt.is_of_held(),
            Self::LineTest(signed) => signed.test.answered_at.is_none(),
            _ => false,
        }
    }

    /// How many frames that [ask](Self::asks) it answers, the oldest first. A test's answer shows that all before it have come,
    /// whatever became of them.
    pub fn answers(&self) -> usize {
        match self {
            Self::Receipt(receipt) => usize::from(receipt.is_of_held()),
            Self::Confirm(_) => 1,
            Self::LineTest(signed) if signed.test.answered_at.is_some() => usize::MAX,
            _ => 0,
        }
    }

    /// Reads a frame that a session opened.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let (kind, content) = bytes.split_first().ok_or(FrameError::Empty)?;
        Ok(match kind {
            0 => Self::Hello(codec::decode(content)?),
            1 => Self::Entry(codec::decode(content)?),
            2 => Self::Receipt(codec::decode(content)?),
            3 => Self::Confirm(codec::decode(content)?),
            4 => Self::Card(codec::decode(content)?),
            5 => Self::Want(codec::decode(content)?),
            6 => Self::LineTest(codec::decode(content)?),
            7 => Self::Close(codec::decode(content)?),
            8 => Self::Prekey(codec::decode(content)?),
            9 => Self::PrekeyHeld(codec::decode(content)?),
            unknown => return Err(FrameError::UnknownKind(*unknown)),
        })
    }
}
