//! The envelope: entries, receipts and documents of the roster, sealed in one piece for one node that is not there. Custody keeps
//! it and a pouch carries it; who opens it handles what is inside as if it had come by a session.
//!
//! One-shot Noise `Npsk0` to the recipient's prekey, whose pre-shared key an ML-KEM-768 encapsulation carries. Who sealed it is not asked:
//! what is inside bears the signatures of those who wrote it, and whoever repeats an envelope says nothing new. Nothing is counted, so
//! there is nothing that a crash could use twice.

mod contents;

use bincode::{Decode, Encode};
pub use contents::{ContentsError, FillError, Salt};
use rand_core::CryptoRng;
use snow::{Builder, HandshakeState, TransportState};
use zeroize::Zeroizing;

use crate::{
    codec::{self, Wire},
    frame::{Frame, FrameError},
    hash::{ChannelId, ContentHash, EnvelopeHash},
    identity::{
        card::{CardSerial, Prekey},
        member::MemberId,
        prekey::PrekeySecret,
        signed_prekey::PrekeyNumber,
    },
    labels, limits,
    noise::{self, Drawn, KEM_CIPHERTEXT, KEM_SHARED, Resolver},
};

const VERSION: u8 = 1;
const TAG: usize = limits::NOISE_MESSAGE - limits::FRAME;
/// Bytes of the one handshake message: an X25519 key, and the tag of no payload.
const HANDSHAKE: usize = 32 + TAG;

/// To whom, and to which of the keys that are known of him.
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'a> {
    /// The channel.
    pub channel: ChannelId,
    /// The party.
    pub member: &'a MemberId,
    /// The serial of the card of its node.
    pub card: CardSerial,
    /// The number of the prekey under that card.
    pub number: PrekeyNumber,
    /// That prekey.
    pub prekey: &'a Prekey,
}

/// What whoever carries an envelope can read.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Outside {
    version: u8,
    channel: ChannelId,
    to: MemberId,
    card: CardSerial,
    prekey: PrekeyNumber,
    kem: [u8; KEM_CIPHERTEXT],
    content: ContentHash,
}

impl Wire for Outside {
    const LIMIT: usize = 1_280;
    const NAME: &'static str = "outside of an envelope";
}

impl Outside {
    fn prologue(&self) -> Vec<u8> {
        [labels::ENVELOPE_PROLOGUE, &codec::encode(self)].concat()
    }
}

/// A sealed envelope.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Envelope {
    outside: Box<Outside>,
    sealed: Vec<u8>,
}

impl Wire for Envelope {
    // Contents in whole messages, each with its tag, and the outside.
    const LIMIT: usize = limits::ENVELOPE_CONTENTS + 2 * 1024;
    const NAME: &'static str = "envelope";
}

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SealError {
    /// The caller: what an envelope does not hold.
    #[error(transparent)]
    Fill(#[from] FillError),
    /// The recipient: a prekey of low order or not reduced, which no honest node makes (threat K7).
    #[error("the prekey of the recipient is none")]
    BadPrekey,
    /// Our bug: the Noise library refused what it must take.
    #[error("the Noise library failed: {0}")]
    Internal(snow::Error),
}

/// Why an envelope stays closed. All but a version from the future are answered with *unopenable*, so that it is sealed anew.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum OpenError {
    /// A version from the future.
    #[error("an envelope of version {0} is not known here")]
    Version(u8),
    /// Changed on the way, or sealed to another key.
    #[error("the envelope does not open with this key")]
    NotAuthentic,
    /// Sealed by somebody who does not keep to the protocol.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// Our bug: the Noise library refused what it must take.
    #[error("the Noise library failed: {0}")]
    Internal(snow::Error),
}

impl Envelope {
    /// Seals frames for a recipient: entries, receipts and documents of the roster. Gives the salt beside it, with which its
    /// [`content`](Self::content) is shown to others.
    pub fn seal(
        to: &Recipient<'_>,
        frames: &[Frame],
        rng: &mut dyn CryptoRng,
    ) -> Result<(Self, Salt), SealError> {
        let drawn = Drawn::from(rng);
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        let (contents, content) = contents::write(&salt, frames)?;
        let contents = Zeroizing::new(contents);
        let (kem, shared) = noise::encapsulate(to.prekey.ml_kem.as_slice(), drawn.encapsulated())
            .ok_or(SealError::BadPrekey)?;
        let outside = Outside {
            version: VERSION,
            channel: to.channel,
            to: to.member.clone(),
            card: to.card,
            prekey: to.number,
            kem,
            content,
        };
        let state = sealing(&outside, drawn, &shared, &to.prekey.x25519);
        let sealed = state.and_then(|state| write(state, &contents)).map_err(|error| match error {
            snow::Error::Dh => SealError::BadPrekey,
            other => SealError::Internal(other),
        })?;
        Ok((Self { outside: Box::new(outside), sealed }, Salt(salt)))
    }

    /// Opens it with the private half of the prekey that it names: the frames, each as its bytes say. One of a kind from the future is
    /// told as such and hinders no other.
    pub fn open(&self, secret: &PrekeySecret) -> Result<Vec<Result<Frame, FrameError>>, OpenError> {
        if self.outside.version != VERSION {
            return Err(OpenError::Version(self.outside.version));
        }
        let shared = secret.decapsulate(&self.outside.kem);
        let state = opening(&self.outside, secret, &shared).map_err(OpenError::Internal)?;
        let contents = Zeroizing::new(read(state, &self.sealed).ok_or(OpenError::NotAuthentic)?);
        Ok(contents::read(&contents, self.outside.content)?)
    }

    /// Its name: SHA-256 of its encoding.
    pub fn hash(&self) -> EnvelopeHash {
        EnvelopeHash::of(&codec::encode(self))
    }

    /// Whether its version is known here.
    pub const fn is_known(&self) -> bool {
        self.outside.version == VERSION
    }

    /// The channel that it belongs to.
    pub const fn channel(&self) -> ChannelId {
        self.outside.channel
    }

    /// The party that can open it.
    pub const fn to(&self) -> &MemberId {
        &self.outside.to
    }

    /// The card and the number under it of the prekey that opens it.
    pub const fn prekey(&self) -> (CardSerial, PrekeyNumber) {
        (self.outside.card, self.outside.prekey)
    }

    /// What it says of the entries inside, and opening checks: SHA-256 of a salt, which is inside, and their names.
    pub const fn content(&self) -> ContentHash {
        self.outside.content
    }
}

fn builder<'a>(
    prologue: &'a [u8],
    drawn: Drawn,
    shared: &'a Zeroizing<[u8; KEM_SHARED]>,
) -> Result<Builder<'a>, snow::Error> {
    Builder::with_resolver(labels::ENVELOPE_NOISE.parse()?, Box::new(Resolver(drawn)))
        .prologue(prologue)?
        .psk(0, shared)
}

fn sealing(
    outside: &Outside,
    drawn: Drawn,
    shared: &Zeroizing<[u8; KEM_SHARED]>,
    recipient: &[u8; 32],
) -> Result<HandshakeState, snow::Error> {
    builder(&outside.prologue(), drawn, shared)?.remote_public_key(recipient)?.build_initiator()
}

fn opening(
    outside: &Outside,
    secret: &PrekeySecret,
    shared: &Zeroizing<[u8; KEM_SHARED]>,
) -> Result<HandshakeState, snow::Error> {
    builder(&outside.prologue(), Drawn::none(), shared)?
        .local_private_key(secret.x25519().as_slice())?
        .build_responder()
}

/// The handshake message, then the contents in messages that are full but for the last.
fn write(mut state: HandshakeState, contents: &[u8]) -> Result<Vec<u8>, snow::Error> {
    let mut sealed = vec![0; HANDSHAKE];
    let length = state.write_message(&[], &mut sealed)?;
    sealed.truncate(length);
    let mut state: TransportState = state.into_transport_mode()?;
    for piece in contents.chunks(limits::FRAME) {
        let mut message = vec![0; piece.len() + TAG];
        let length = state.write_message(piece, &mut message)?;
        sealed.extend_from_slice(message.get(..length).unwrap_or_default());
    }
    Ok(sealed)
}

fn read(mut state: HandshakeState, sealed: &[u8]) -> Option<Vec<u8>> {
    let (handshake, pieces) = sealed.split_at_checked(HANDSHAKE)?;
    state.read_message(handshake, &mut [0; TAG]).ok()?;
    let mut state = state.into_transport_mode().ok()?;
    let mut contents = Vec::with_capacity(pieces.len());
    for message in pieces.chunks(limits::NOISE_MESSAGE) {
        let mut piece = Zeroizing::new(vec![0; message.len().checked_sub(TAG)?]);
        let length = state.read_message(message, &mut piece).ok()?;
        contents.extend_from_slice(piece.get(..length)?);
    }
    Some(contents)
}
