//! A receipt: a node's signed statement that it holds an entry durably, or displayed it to an officer. It
//! says nothing about the entry's validity, and nothing about what the officer thought.

use std::sync::Arc;

use bincode::{Decode, Encode};

use super::entry::{Head, VERSION};
use crate::{
    codec::{self, CodecError, Wire},
    hash::{ChannelId, DocumentId, hex},
    identity::{
        card::CardSerial,
        keys::{BadSignature, PublicKey, SecretKey, Signature},
        member::MemberId,
    },
    labels::Namespace,
    limits,
    time::Timestamp,
};

/// What a receipt states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum ReceiptKind {
    /// The node holds the entry durably.
    Held,
    /// The node displayed it to the officer of this document.
    Opened(DocumentId),
}

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Receipt {
    /// [`VERSION`].
    pub version: u8,
    /// What is stated.
    pub kind: ReceiptKind,
    /// The channel.
    pub channel: ChannelId,
    /// The entry it is about.
    pub of: Head,
    /// Whose node states it.
    pub by: MemberId,
    /// Under which card.
    pub by_card: CardSerial,
    /// When, by that node's clock.
    pub at: Timestamp,
    /// The head of that party's own log at the time.
    pub head: Option<Head>,
}

impl Wire for Receipt {
    const LIMIT: usize = limits::RECEIPT;
    const NAME: &'static str = "receipt";
}

impl Receipt {
    /// Encodes and signs it.
    pub fn sign(&self, key: &SecretKey) -> SignedReceipt {
        let bytes = codec::encode(self);
        let signature = key.sign(Namespace::Receipt, &bytes).signature;
        SignedReceipt { bytes: bytes.into(), signature }
    }
}

/// The name of a receipt: SHA-256 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ReceiptId(pub [u8; 32]);

impl std::fmt::Debug for ReceiptId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReceiptId({})", hex(self.0.first_chunk::<4>().unwrap_or(&[0; 4])))
    }
}

/// A receipt's bytes as they travelled, and the node's signature over them. Says nothing until verified.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedReceipt {
    bytes: Arc<[u8]>,
    signature: Signature,
}

impl Wire for SignedReceipt {
    const LIMIT: usize = limits::RECEIPT + 128;
    const NAME: &'static str = "signed receipt";
}

/// Why a receipt does not hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReceiptError {
    /// Not a receipt.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A version from the future.
    #[error("a receipt of version {0} is not known here")]
    Version(u8),
    /// It belongs elsewhere.
    #[error("a receipt of another channel")]
    Channel,
    /// Not signed by the node of its card.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

impl SignedReceipt {
    /// From bytes and signature that were stored or carried elsewhere.
    pub fn from_parts(bytes: impl Into<Arc<[u8]>>, signature: Signature) -> Self {
        Self { bytes: bytes.into(), signature }
    }

    /// Its name.
    pub fn id(&self) -> ReceiptId {
        ReceiptId(crate::hash::sha256(&self.bytes))
    }

    /// The signed bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The node's signature.
    pub const fn signature(&self) -> Signature {
        self.signature
    }

    /// Whether it claims, unverified, that an entry is held.
    pub fn is_of_held(&self) -> bool {
        codec::decode::<Receipt>(&self.bytes).is_ok_and(|receipt| receipt.kind == ReceiptKind::Held)
    }

    /// What it claims, unverified.
    pub fn claims(&self, channel: ChannelId) -> Result<Receipt, ReceiptError> {
        let receipt: Receipt = codec::decode(&self.bytes)?;
        if receipt.version != VERSION {
            return Err(ReceiptError::Version(receipt.version));
        }
        if receipt.channel != channel {
            return Err(ReceiptError::Channel);
        }
        Ok(receipt)
    }

    /// Checks that `node` signed it.
    pub fn verify(&self, channel: ChannelId, node: &PublicKey) -> Result<Receipt, ReceiptError> {
        let receipt = self.claims(channel)?;
        node.verify(Namespace::Receipt, &self.bytes, &self.signature)?;
        Ok(receipt)
    }
}
