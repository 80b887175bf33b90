//! The bytes on a stream: a preamble in clear from the opener, then Noise messages with their lengths.
//!
//! ```text
//! opener    → version: u8 = 1 ‖ channel: 32 bytes
//! both      → length: u16, big-endian, not 0 ‖ message: `length` bytes, again and again
//! ```
//! Nothing is allocated for what is only announced (threat B1).

use crate::{hash::ChannelId, labels, limits};

/// The version of the live protocol.
pub const VERSION: u8 = 1;
/// Bytes of an encoded [`Preamble`].
pub const PREAMBLE_LENGTH: usize = 33;
/// Bytes of the length before each message.
pub(super) const PREFIX: usize = 2;
/// What a [`Deframer`] holds at most: one whole message, or the start of a stream.
const BUFFER: usize = PREFIX + limits::NOISE_MESSAGE;

/// What the opener says in clear before the first Noise message. Both sides bind it into the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The channel that the session is for.
    pub channel: ChannelId,
}

impl Preamble {
    /// The bytes.
    pub fn encode(&self) -> [u8; PREAMBLE_LENGTH] {
        let mut bytes = [VERSION; PREAMBLE_LENGTH];
        if let Some((_, channel)) = bytes.split_first_mut() {
            channel.copy_from_slice(self.channel.as_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; PREAMBLE_LENGTH]) -> Result<Self, StreamError> {
        let (version, channel) = bytes.split_first_chunk::<1>().ok_or(StreamError::Empty)?;
        let [version] = *version;
        if version != VERSION {
            return Err(StreamError::Version(version));
        }
        let channel = <[u8; 32]>::try_from(channel).map_err(|_| StreamError::Empty)?;
        Ok(Self { channel: ChannelId::from_bytes(channel) })
    }

    /// The Noise prologue of the session that this preamble opens.
    pub(super) fn prologue(&self) -> Vec<u8> {
        [labels::LIVE_PROLOGUE, &self.encode()].concat()
    }
}

/// Why a stream's bytes are refused. The stream is to be dropped: where its next message begins is not known.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum StreamError {
    /// A version that is not spoken here.
    #[error("version {0} of the live protocol is not spoken here, only {VERSION}")]
    Version(u8),
    /// A message of no bytes.
    #[error("an empty message")]
    Empty,
    /// A message longer than may come at this point. Refused on its announcement.
    #[error("a message of {length} bytes where at most {limit} are allowed")]
    TooLong {
        /// Bytes announced.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

/// Cuts a stream's bytes into the preamble and whole messages. Holds at most one message.
#[derive(Debug, Default)]
pub struct Deframer {
    buffer: Vec<u8>,
    /// How much of `buffer` has been given out.
    taken: usize,
}

impl Deframer {
    /// Nothing received yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in bytes as they came, and gives back those that find no room: to be pushed again once
    /// messages have been taken out.
    #[must_use = "the rest must be pushed again"]
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let room = BUFFER.saturating_sub(self.buffer.len());
        let (fits, rest) = bytes.split_at(room.min(bytes.len()));
        self.buffer.extend_from_slice(fits);
        rest
    }

    /// The preamble, once it has come. Only to be asked for once, at the start of a stream that the other
    /// side opened.
    pub fn preamble(&mut self) -> Result<Option<Preamble>, StreamError> {
        let Some(bytes) = self.pending().first_chunk::<PREAMBLE_LENGTH>() else { return Ok(None) };
        let preamble = Preamble::decode(bytes)?;
        self.taken += PREAMBLE_LENGTH;
        Ok(Some(preamble))
    }

    /// The next whole message of at most `limit` bytes, without its length.
    pub fn message(&mut self, limit: usize) -> Result<Option<Vec<u8>>, StreamError> {
        let Some((prefix, rest)) = self.pending().split_first_chunk::<PREFIX>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes(*prefix));
        if length == 0 {
            return Err(StreamError::Empty);
        }
        if length > limit {
            return Err(StreamError::TooLong { length, limit });
        }
        let Some(message) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
        self.taken += PREFIX + length;
        Ok(Some(message))
    }

    /// True when the stream could end here without cutting a message.
    pub fn is_empty(&self) -> bool {
        self.pending().is_empty()
    }

    fn pending(&self) -> &[u8] {
        self.buffer.get(self.taken..).unwrap_or_default()
    }
}

/// A Noise message with its length before it. `None` for one that is empty or too long to exist.
pub(super) fn framed(message: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(message.len()).ok().filter(|length| *length != 0)?;
    Some([&length.to_be_bytes(), message].concat())
}
