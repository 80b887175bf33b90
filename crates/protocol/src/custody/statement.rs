//! What is signed about an envelope in custody: that it is kept, and how that ended.

use std::sync::Arc;

use bincode::{Decode, Encode};

use crate::{
    codec::{self, CodecError, Wire},
    hash::{ChannelId, ContentHash, EnvelopeHash},
    identity::{
        card::CardSerial,
        keys::{BadSignature, PublicKey, SecretKey, Signature},
        member::MemberId,
        signed_prekey::SignedPrekey,
    },
    labels::Namespace,
    time::Timestamp,
};

const VERSION: u8 = 1;

/// What is stated of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Stated {
    /// By the mediator: it keeps the envelope, durably.
    Kept {
        /// Who deposited it.
        from: MemberId,
        /// Who is to collect it.
        to: MemberId,
        /// What the envelope says of the entries inside.
        content: ContentHash,
        /// How long it is kept, by the mediator's clock.
        until: Timestamp,
    },
    /// By the recipient: it has opened the envelope, and what it took of it is durable.
    Collected {
        /// Whether it has taken everything, and refused nothing.
        all: bool,
    },
    /// By the recipient: it has not the key to open it, or what is inside is not what it says.
    Unopenable {
        /// The recipient's newest prekey; none when that is the one on its card.
        newest: Option<SignedPrekey>,
    },
    /// By the mediator: nobody came for it in its time.
    Expired {
        /// Who deposited it.
        from: MemberId,
        /// Who did not collect it.
        to: MemberId,
        /// Since when it was kept.
        since: Timestamp,
    },
}

impl Stated {
    const fn namespace(&self) -> Namespace {
        match self {
            Self::Kept { .. } => Namespace::Custody,
            Self::Collected { .. } => Namespace::Collected,
            Self::Unopenable { .. } => Namespace::Unopenable,
            Self::Expired { .. } => Namespace::Expired,
        }
    }
}

/// A statement about one envelope.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Statement {
    version: u8,
    /// The channel.
    pub channel: ChannelId,
    /// The envelope.
    pub envelope: EnvelopeHash,
    /// Whose node states it.
    pub by: MemberId,
    /// Under which card.
    pub by_card: CardSerial,
    /// When, by that node's clock.
    pub at: Timestamp,
    /// What.
    pub says: Stated,
}

impl Wire for Statement {
    // A prekey is the most that one carries.
    const LIMIT: usize = 2_048;
    const NAME: &'static str = "statement of custody";
}

impl Statement {
    /// A statement of this edition, to be signed.
    pub fn new(
        channel: ChannelId,
        envelope: EnvelopeHash,
        (by, by_card): (MemberId, CardSerial),
        at: Timestamp,
        says: Stated,
    ) -> Self {
        Self { version: VERSION, channel, envelope, by, by_card, at, says }
    }

    /// Encodes and signs it.
    pub fn sign(&self, node: &SecretKey) -> SignedStatement {
        let bytes = codec::encode(self);
        let signature = node.sign(self.says.namespace(), &bytes).signature;
        SignedStatement { bytes: bytes.into(), signature }
    }
}

/// A statement's bytes as they travelled, and the node's signature over them. Says nothing until verified.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedStatement {
    bytes: Arc<[u8]>,
    signature: Signature,
}

impl Wire for SignedStatement {
    const LIMIT: usize = Statement::LIMIT + 128;
    const NAME: &'static str = "signed statement of custody";
}

/// Why a statement does not hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StatementError {
    /// Not a statement.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A version from the future.
    #[error("a statement of custody of version {0} is not known here")]
    Version(u8),
    /// It belongs elsewhere.
    #[error("a statement of custody of another channel")]
    Channel,
    /// Not signed by the node of its card.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

impl SignedStatement {
    /// The signed bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The node's signature.
    pub const fn signature(&self) -> Signature {
        self.signature
    }

    /// Whether it claims to be about this envelope.
    pub fn is_about(&self, envelope: EnvelopeHash) -> bool {
        codec::decode::<Statement>(&self.bytes).is_ok_and(|statement| statement.envelope == envelope)
    }

    /// Which channel it claims to be of.
    pub fn channel(&self) -> Result<ChannelId, CodecError> {
        codec::decode::<Statement>(&self.bytes).map(|statement| statement.channel)
    }

    /// What it claims, unverified.
    pub fn claims(&self, channel: ChannelId) -> Result<Statement, StatementError> {
        let statement: Statement = codec::decode(&self.bytes)?;
        if statement.version != VERSION {
            return Err(StatementError::Version(statement.version));
        }
        if statement.channel != channel {
            return Err(StatementError::Channel);
        }
        Ok(statement)
    }

    /// Checks that `node` signed it.
    pub fn verify(&self, channel: ChannelId, node: &PublicKey) -> Result<Statement, StatementError> {
        let statement = self.claims(channel)?;
        node.verify(statement.says.namespace(), &self.bytes, &self.signature)?;
        Ok(statement)
    }
}
