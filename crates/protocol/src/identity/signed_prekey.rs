//! A prekey: what an envelope is sealed to. The first stands on the card, so that a node can be written to before it was ever online. Later ones are
//! numbered under it and signed by the node; the highest number is meant, and the private half of a lower one is erased after a time, so
//! that what was sealed to it stays closed whatever is stolen then (threat K4).

use std::sync::Arc;

use bincode::{Decode, Encode};

use crate::{
    codec::{self, CodecError, Wire},
    identity::{
        card::{Card, CardSerial, ML_KEM_768_PUBLIC, Prekey},
        keys::{BadSignature, PublicKey, SecretKey, Signature},
        member::MemberId,
    },
    labels::Namespace,
};

const VERSION: u8 = 1;

/// The number of a prekey under one card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct PrekeyNumber(pub u64);

impl PrekeyNumber {
    /// The one that stands on the card.
    pub const OF_CARD: Self = Self(0);
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Statement {
    version: u8,
    party: MemberId,
    card: CardSerial,
    number: PrekeyNumber,
    x25519: [u8; 32],
    ml_kem: [u8; ML_KEM_768_PUBLIC],
}

impl Wire for Statement {
    const LIMIT: usize = 1_536;
    const NAME: &'static str = "prekey";
}

/// A prekey's bytes as they travelled, and the node's signature over them. Says nothing until verified.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedPrekey {
    bytes: Arc<[u8]>,
    signature: Signature,
}

impl Wire for SignedPrekey {
    const LIMIT: usize = Statement::LIMIT + 128;
    const NAME: &'static str = "signed prekey";
}

/// Why a prekey is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PrekeyError {
    /// Not a prekey.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A version from the future.
    #[error("a prekey of version {0} is not known here")]
    Version(u8),
    /// It belongs to another node or card.
    #[error("a prekey of {0} under card {card}", card = .1.0)]
    Elsewhere(MemberId, CardSerial),
    /// Number 0 stands on the card and nowhere else.
    #[error("a prekey that bears the number of the one on the card")]
    OfCard,
    /// Not signed by the node of its card.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

impl SignedPrekey {
    /// The node of `card` publishes a prekey under this number.
    pub fn publish(card: &Card, number: PrekeyNumber, prekey: &Prekey, node: &SecretKey) -> Self {
        let statement = Statement {
            version: VERSION,
            party: card.member.clone(),
            card: card.serial,
            number,
            x25519: prekey.x25519,
            ml_kem: *prekey.ml_kem,
        };
        let bytes = codec::encode(&statement);
        let signature = node.sign(Namespace::Prekey, &bytes).signature;
        Self { bytes: bytes.into(), signature }
    }

    /// What it claims, unverified: whose, under which card, the number and the keys.
    pub fn claims(&self) -> Result<(MemberId, CardSerial, PrekeyNumber, Prekey), PrekeyError> {
        let said: Statement = codec::decode(&self.bytes)?;
        if said.version != VERSION {
            return Err(PrekeyError::Version(said.version));
        }
        if said.number == PrekeyNumber::OF_CARD {
            return Err(PrekeyError::OfCard);
        }
        let prekey = Prekey { x25519: said.x25519, ml_kem: Box::new(said.ml_kem) };
        Ok((said.party, said.card, said.number, prekey))
    }

    /// Checks that the node of `card` published it: the number and the keys.
    pub fn verify(&self, card: &Card) -> Result<(PrekeyNumber, Prekey), PrekeyError> {
        let (party, serial, number, prekey) = self.claims()?;
        if party != card.member || serial != card.serial {
            return Err(PrekeyError::Elsewhere(party, serial));
        }
        self.signed_by(&card.node)?;
        Ok((number, prekey))
    }

    /// Checks that this node signed it, under whatever card.
    pub fn signed_by(&self, node: &PublicKey) -> Result<(), BadSignature> {
        node.verify(Namespace::Prekey, &self.bytes, &self.signature)
    }
}
