//! The handshake: three messages, as states that consume themselves.
//!
//! ```text
//! opener → responder   e, e1                        no payload
//! opener ← responder   e, ee, ekem1, s, es          introduction
//! opener → responder   s, se                        introduction
//! ```
//! Noise XX with hybrid forward secrecy. Each side shows its card inside; neither goes on before the other's
//! is found current, so an opener never tells its name to somebody it would not talk to. A state that
//! refuses is gone, and with it its ephemeral keys.

use std::fmt;

use rand_core::CryptoRng;
use snow::{HandshakeState, params::NoiseParams};

use super::{
    admission::{Admission, Host, Peer, Refusal, admit},
    introduction::Introduction,
    secret::SessionSecret,
    stream::{Preamble, framed},
    transport::Session,
};
use crate::{
    charter::Charter,
    codec::{self, CodecError, Wire as _},
    hash::ChannelId,
    identity::{
        Verified,
        card::{Card, SessionKey},
    },
    labels,
    noise::{Drawn, KEM_CIPHERTEXT, KEM_PUBLIC, Resolver},
};

const KEY: usize = 32;
const TAG: usize = 16;
/// Bytes of message 1, always: an X25519 key and an ML-KEM key.
const MESSAGE_1: usize = KEY + KEM_PUBLIC;
/// Bytes of message 2 around its payload: a key, a ciphertext and a static key, each with its tag but the first.
const AROUND_2: usize = KEY + KEM_CIPHERTEXT + TAG + KEY + TAG + TAG;
/// Bytes of message 3 around its payload: a static key and two tags.
const AROUND_3: usize = KEY + TAG + TAG;

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the handshake's messages, in order")]
pub enum MessageNumber {
    One,
    Two,
    Three,
}

impl fmt::Display for MessageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One => "handshake message 1",
            Self::Two => "handshake message 2",
            Self::Three => "handshake message 3",
        })
    }
}

/// Why a handshake ended without a session. The stream is to be dropped.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum HandshakeError {
    /// The peer: not the length that this message has, or message 1 with a payload.
    #[error("{message} of {length} bytes, which it cannot have")]
    Length {
        /// Which message.
        message: MessageNumber,
        /// Its length.
        length: usize,
    },
    /// The peer, or whoever carries the stream: changed on the way, replayed, of another channel or version, or sealed
    /// by somebody who does not hold the keys.
    #[error("{0} does not authenticate")]
    NotAuthentic(MessageNumber),
    /// The peer: an X25519 key that makes the output all zero (threat K7).
    #[error("{0} carries an X25519 key of low order")]
    LowOrder(MessageNumber),
    /// The peer: no ML-KEM-768 encapsulation key.
    #[error("{0} carries no valid ML-KEM-768 key")]
    BadKem(MessageNumber),
    /// The peer: its introduction is not one.
    #[error("the introduction in {message}")]
    Introduction {
        /// Which message.
        message: MessageNumber,
        /// Why.
        source: CodecError,
    },
    /// The peer is authentic, and not admitted.
    #[error("the peer is not admitted")]
    Refused(#[source] Refusal),
    /// The caller: the card is not of the node that holds this secret.
    #[error("our own card does not bear the session key that this node holds")]
    NotOurCard,
    /// The caller: the card and its signatures are longer than an introduction may be.
    #[error("our own card is too long for an introduction")]
    CardTooLong,
    /// Our bug: the Noise library refused what it must take.
    #[error("the Noise library failed: {0}")]
    Internal(snow::Error),
}

/// What this side brings to a handshake.
#[derive(Clone, Copy)]
pub struct Local<'a> {
    /// The channel.
    pub channel: ChannelId,
    /// The charter in force at this side: its parties are who may be at the other end.
    pub charter: &'a Verified<Charter>,
    /// Our node's current card.
    pub card: &'a Verified<Card>,
    /// The secret of the session key on that card.
    pub secret: &'a SessionSecret,
}

/// A session and who is at the other end. Cannot be had without admission.
#[derive(Debug)]
pub struct Established {
    /// The session.
    pub session: Session,
    /// The other end.
    pub peer: Peer,
}

/// The opener, waiting for message 2.
pub struct Opener(Side);

/// The responder, waiting for message 1.
pub struct Responder(Side);

/// The responder, waiting for message 3.
pub struct Answered(Side);

struct Side {
    noise: Box<HandshakeState>,
    host: Host,
    introduction: Vec<u8>,
}

impl Opener {
    /// Longest message that may come next, for [`Deframer::message`].
    ///
    /// [`Deframer::message`]: super::Deframer::message
    pub const LIMIT: usize = AROUND_2 + Introduction::LIMIT;

    /// Begins a handshake. Gives the first bytes for the stream: preamble, length and message 1.
    pub fn start(local: &Local<'_>, rng: &mut dyn CryptoRng) -> Result<(Self, Vec<u8>), HandshakeError> {
        let mut side = Side::new(local, rng, true)?;
        let message = side.write(&[], MESSAGE_1)?;
        let preamble = Preamble { channel: local.channel }.encode();
        Ok((Self(side), [preamble.as_slice(), &message].concat()))
    }

    /// Takes message 2, without its length. When the peer is admitted, gives the session and the bytes for the
    /// stream: length and message 3, to be sent before anything that the session seals.
    pub fn read_message2(
        self,
        message: &[u8],
        admission: &mut Admission<'_>,
    ) -> Result<(Established, Vec<u8>), HandshakeError> {
        let Self(mut side) = self;
        let peer = side.read_introduction(MessageNumber::Two, AROUND_2, message, admission)?;
        let introduction = std::mem::take(&mut side.introduction);
        let message = side.write(&introduction, AROUND_3)?;
        Ok((side.finish(peer)?, message))
    }
}

impl Responder {
    /// Longest message that may come next, for [`Deframer::message`].
    ///
    /// [`Deframer::message`]: super::Deframer::message
    pub const LIMIT: usize = MESSAGE_1;

    /// Gets ready for a stream that the other side opened with this channel's preamble.
    pub fn new(local: &Local<'_>, rng: &mut dyn CryptoRng) -> Result<Self, HandshakeError> {
        Side::new(local, rng, false).map(Self)
    }

    /// Takes message 1, without its length. Gives the bytes for the stream: length and message 2.
    pub fn read_message1(self, message: &[u8]) -> Result<(Answered, Vec<u8>), HandshakeError> {
        let Self(mut side) = self;
        if message.len() != MESSAGE_1 {
            return Err(HandshakeError::Length { message: MessageNumber::One, length: message.len() });
        }
        side.read(MessageNumber::One, message, 0)?;
        let introduction = std::mem::take(&mut side.introduction);
        // What message 1 carried is used only now: a bad key in it shows here.
        let message = side.write_after(MessageNumber::One, &introduction, AROUND_2)?;
        Ok((Answered(side), message))
    }
}

impl Answered {
    /// Longest message that may come next, for [`Deframer::message`].
    ///
    /// [`Deframer::message`]: super::Deframer::message
    pub const LIMIT: usize = AROUND_3 + Introduction::LIMIT;

    /// Takes message 3, without its length. When the peer is admitted, gives the session.
    pub fn read_message3(
        self,
        message: &[u8],
        admission: &mut Admission<'_>,
    ) -> Result<Established, HandshakeError> {
        let Self(mut side) = self;
        let peer = side.read_introduction(MessageNumber::Three, AROUND_3, message, admission)?;
        side.finish(peer)
    }
}

impl Side {
    fn new(local: &Local<'_>, rng: &mut dyn CryptoRng, opens: bool) -> Result<Self, HandshakeError> {
        let key = local.secret.public();
        if local.card.session_key() != Some(key) {
            return Err(HandshakeError::NotOurCard);
        }
        let introduction = Introduction { card: local.card.document().clone(), charter: local.charter.id() };
        let introduction = codec::encode(&introduction);
        if introduction.len() > Introduction::LIMIT {
            return Err(HandshakeError::CardTooLong);
        }
        let host = Host {
            member: local.card.member.clone(),
            key,
            parties: local.charter.parties.iter().map(|party| party.id.clone()).collect(),
            charter: local.charter.id(),
        };
        let noise = build(local, Drawn::from(rng), opens).map_err(HandshakeError::Internal)?;
        Ok(Self { noise: Box::new(noise), host, introduction })
    }

    /// Writes the next message: length and message.
    fn write(&mut self, payload: &[u8], around: usize) -> Result<Vec<u8>, HandshakeError> {
        // snow wants room for a tag even where none is written.
        let mut message = vec![0; around + payload.len() + TAG];
        let length = self.noise.write_message(payload, &mut message).map_err(HandshakeError::Internal)?;
        message.truncate(length);
        framed(&message).ok_or(HandshakeError::Internal(snow::Error::Input))
    }

    /// As [`Side::write`], where a failure is due to the keys in the message read before.
    fn write_after(
        &mut self,
        read: MessageNumber,
        payload: &[u8],
        around: usize,
    ) -> Result<Vec<u8>, HandshakeError> {
        self.write(payload, around).map_err(|error| match error {
            HandshakeError::Internal(error) => blame(read, error),
            other => other,
        })
    }

    /// Reads the next message; gives its payload, which is at most `most` bytes long.
    fn read(
        &mut self,
        number: MessageNumber,
        message: &[u8],
        most: usize,
    ) -> Result<Vec<u8>, HandshakeError> {
        let mut payload = vec![0; most];
        let length = self.noise.read_message(message, &mut payload).map_err(|error| blame(number, error))?;
        payload.truncate(length);
        Ok(payload)
    }

    fn read_introduction(
        &mut self,
        number: MessageNumber,
        around: usize,
        message: &[u8],
        admission: &mut Admission<'_>,
    ) -> Result<Peer, HandshakeError> {
        let length = message.len();
        let payload = length.checked_sub(around).filter(|payload| *payload <= Introduction::LIMIT);
        let most = payload.ok_or(HandshakeError::Length { message: number, length })?;
        let payload = self.read(number, message, most)?;
        let introduction = codec::decode::<Introduction>(&payload)
            .map_err(|source| HandshakeError::Introduction { message: number, source })?;
        let key = self
            .noise
            .get_remote_static()
            .and_then(|key| <[u8; 32]>::try_from(key).ok())
            .ok_or(HandshakeError::NotAuthentic(number))?;
        admit(&self.host, &introduction, SessionKey(key), admission).map_err(HandshakeError::Refused)
    }

    fn finish(self, peer: Peer) -> Result<Established, HandshakeError> {
        let internal = HandshakeError::Internal;
        let binding = <[u8; 32]>::try_from(self.noise.get_handshake_hash())
            .map_err(|_| internal(snow::Error::Input))?;
        let state = self.noise.into_transport_mode().map_err(internal)?;
        Ok(Established { session: Session::new(state, binding), peer })
    }
}

fn build(local: &Local<'_>, drawn: Drawn, opens: bool) -> Result<HandshakeState, snow::Error> {
    let prologue = Preamble { channel: local.channel }.prologue();
    let builder = snow::Builder::with_resolver(params()?, Box::new(Resolver(drawn)))
        .local_private_key(local.secret.as_slice())?
        .prologue(&prologue)?;
    if opens { builder.build_initiator() } else { builder.build_responder() }
}

/// snow knows one KEM by name, which fixes nothing but the name.
const PARSED_AS: &str = "Noise_XXhfs_25519+Kyber1024_ChaChaPoly_SHA256";

/// The protocol, under the name that enters the transcript hash.
fn params() -> Result<NoiseParams, snow::Error> {
    let mut params: NoiseParams = PARSED_AS.parse()?;
    labels::LIVE_NOISE.clone_into(&mut params.name);
    Ok(params)
}

/// Whose fault a failure of the Noise library is.
fn blame(message: MessageNumber, error: snow::Error) -> HandshakeError {
    match error {
        snow::Error::Dh => HandshakeError::LowOrder(message),
        snow::Error::Kem => HandshakeError::BadKem(message),
        snow::Error::Decrypt | snow::Error::Input => HandshakeError::NotAuthentic(message),
        other => HandshakeError::Internal(other),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_that_is_hashed_is_the_true_one() {
        assert_eq!(super::params().unwrap().name, "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_SHA256");
    }
}
