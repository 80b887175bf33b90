//! What is said on the stream between a capital and its mediator: one byte of kind, then the canonical encoding of that kind's content.
//! An unknown kind is named and skipped; it never ends the stream.

use bincode::{Decode, Encode};

use super::statement::SignedStatement;
use crate::{
    codec::{self, CodecError, Wire},
    envelope::Envelope,
    hash::{ChannelId, EnvelopeHash},
    identity::signed_prekey::SignedPrekey,
};

/// What a capital says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMediator {
    /// Keep this.
    Deposit(Envelope),
    /// How an envelope that was handed out has ended: collected, or unopenable.
    Ended(SignedStatement),
    /// How an envelope that was deposited has ended is durable here: forget it.
    Noted(Named),
    /// The next envelope is welcome, once there is one: none that was handed out before waits for an answer.
    Next(ChannelId),
    /// How have envelopes ended that we deposited and not noted?
    Ends(ChannelId),
    /// Our newest prekey, for those who seal to us.
    Prekey(Published),
}

/// What a mediator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToCapital {
    /// An envelope that was deposited is kept.
    Kept(Keeps),
    /// It is not.
    Refused(Refused),
    /// An envelope to collect.
    Envelope(Envelope),
    /// How an envelope that was deposited has ended: collected, unopenable, or expired.
    Ended(SignedStatement),
    /// Another party's newest prekey.
    Prekey(Published),
}

/// An envelope by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Named {
    /// Its channel.
    pub channel: ChannelId,
    /// Its name.
    pub envelope: EnvelopeHash,
}

impl Wire for Named {
    const LIMIT: usize = 64;
    const NAME: &'static str = "name of an envelope";
}

/// A prekey with its channel.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Published {
    /// The channel.
    pub channel: ChannelId,
    /// The prekey.
    pub prekey: SignedPrekey,
}

impl Wire for Published {
    const LIMIT: usize = SignedPrekey::LIMIT + 32;
    const NAME: &'static str = "published prekey";
}

/// The mediator's signed word, and how much of the quota is used.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Keeps {
    /// That it is kept.
    pub statement: SignedStatement,
    /// Bytes kept in this channel and direction, this envelope included.
    pub used: u64,
}

impl Wire for Keeps {
    const LIMIT: usize = SignedStatement::LIMIT + 9;
    const NAME: &'static str = "answer to a deposit";
}

/// A deposit that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Refused {
    /// Which.
    pub named: Named,
    /// Why.
    pub why: NotKept,
}

impl Wire for Refused {
    const LIMIT: usize = 96;
    const NAME: &'static str = "refusal of a deposit";
}

/// Why a mediator does not keep an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum NotKept {
    /// What the charter lets it keep in this direction is kept already.
    #[error("its custody is full: {used} of {quota} bytes are used")]
    Full {
        /// Bytes that are kept.
        used: u64,
        /// Bytes that the charter allows.
        quota: u64,
    },
    /// Its disk is.
    #[error("its disk is full")]
    NoSpace,
    /// Whoever deposits is no party of that channel there, or the recipient is none.
    #[error("it does not serve this channel between these two")]
    NotServed,
    /// A version that it does not know.
    #[error("it does not know this version of envelopes")]
    Version,
}

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MessageError {
    /// No bytes.
    #[error("an empty message")]
    Empty,
    /// A kind from the future: skipped, not an offence.
    #[error("a message of kind {0} is not known here")]
    UnknownKind(u8),
    /// The content is not what the kind says.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Longest message, in bytes.
pub const LONGEST: usize = Envelope::LIMIT + 1;

impl Wire for ChannelId {
    const LIMIT: usize = 32;
    const NAME: &'static str = "name of a channel";
}

fn kinded(kind: u8, mut content: Vec<u8>) -> Vec<u8> {
    content.insert(0, kind);
    content
}

fn split(bytes: &[u8]) -> Result<(u8, &[u8]), MessageError> {
    bytes.split_first().map(|(kind, content)| (*kind, content)).ok_or(MessageError::Empty)
}

impl ToMediator {
    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Deposit(envelope) => kinded(0, codec::encode(envelope)),
            Self::Ended(statement) => kinded(1, codec::encode(statement)),
            Self::Noted(named) => kinded(2, codec::encode(named)),
            Self::Next(channel) => kinded(3, codec::encode(channel)),
            Self::Ends(channel) => kinded(4, codec::encode(channel)),
            Self::Prekey(published) => kinded(5, codec::encode(published)),
        }
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let (kind, content) = split(bytes)?;
        Ok(match kind {
            0 => Self::Deposit(codec::decode(content)?),
            1 => Self::Ended(codec::decode(content)?),
            2 => Self::Noted(codec::decode(content)?),
            3 => Self::Next(codec::decode(content)?),
            4 => Self::Ends(codec::decode(content)?),
            5 => Self::Prekey(codec::decode(content)?),
            unknown => return Err(MessageError::UnknownKind(unknown)),
        })
    }

    /// The channel that it is about, as far as it says.
    pub fn channel(&self) -> Result<ChannelId, CodecError> {
        match self {
            Self::Deposit(envelope) => Ok(envelope.channel()),
            Self::Ended(statement) => statement.channel(),
            Self::Noted(named) => Ok(named.channel),
            Self::Next(channel) | Self::Ends(channel) => Ok(*channel),
            Self::Prekey(published) => Ok(published.channel),
        }
    }
}

impl ToCapital {
    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Kept(keeps) => kinded(0, codec::encode(keeps)),
            Self::Refused(refused) => kinded(1, codec::encode(refused)),
            Self::Envelope(envelope) => kinded(2, codec::encode(envelope)),
            Self::Ended(statement) => kinded(3, codec::encode(statement)),
            Self::Prekey(published) => kinded(4, codec::encode(published)),
        }
    }

    /// Reads a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let (kind, content) = split(bytes)?;
        Ok(match kind {
            0 => Self::Kept(codec::decode(content)?),
            1 => Self::Refused(codec::decode(content)?),
            2 => Self::Envelope(codec::decode(content)?),
            3 => Self::Ended(codec::decode(content)?),
            4 => Self::Prekey(codec::decode(content)?),
            unknown => return Err(MessageError::UnknownKind(unknown)),
        })
    }

    /// The channel that it is about, as far as it says.
    pub fn channel(&self) -> Result<ChannelId, CodecError> {
        match self {
            Self::Kept(keeps) => keeps.statement.channel(),
            Self::Refused(refused) => Ok(refused.named.channel),
            Self::Envelope(envelope) => Ok(envelope.channel()),
            Self::Ended(statement) => statement.channel(),
            Self::Prekey(published) => Ok(published.channel),
        }
    }
}
