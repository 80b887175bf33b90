//! The secret half of a party node's prekey. It never leaves the node; what it opens is an [`Envelope`](crate::envelope::Envelope).

use ml_kem::{Decapsulate as _, DecapsulationKey, KeyExport as _, MlKem768};
use zeroize::{Zeroize as _, Zeroizing};

use super::card::{ML_KEM_768_PUBLIC, Prekey};
use crate::noise::{KEM_CIPHERTEXT, KEM_SHARED};

/// An X25519 private key (RFC 7748) and an ML-KEM-768 seed `d ‖ z` (FIPS 203, section 7.1). Has no `Debug`; its memory
/// is wiped when dropped.
#[derive(Clone)]
pub struct PrekeySecret {
    x25519: Zeroizing<[u8; 32]>,
    ml_kem_seed: Zeroizing<[u8; 64]>,
}

impl PrekeySecret {
    /// From bytes that the caller drew or read, and wipes.
    pub fn from_bytes(x25519: &[u8; 32], ml_kem_seed: &[u8; 64]) -> Self {
        Self { x25519: Zeroizing::new(*x25519), ml_kem_seed: Zeroizing::new(*ml_kem_seed) }
    }

    /// The 32 bytes of the X25519 key, for the keystore.
    pub fn x25519(&self) -> Zeroizing<[u8; 32]> {
        self.x25519.clone()
    }

    /// The 64 bytes of the ML-KEM seed, for the keystore.
    pub fn ml_kem_seed(&self) -> Zeroizing<[u8; 64]> {
        self.ml_kem_seed.clone()
    }

    /// The secret that an encapsulation carries (FIPS 203, section 6.3). One that was made for another key gives another secret.
    pub(crate) fn decapsulate(&self, ciphertext: &[u8; KEM_CIPHERTEXT]) -> Zeroizing<[u8; KEM_SHARED]> {
        let key = DecapsulationKey::<MlKem768>::from_seed((*self.ml_kem_seed).into());
        let mut shared = key.decapsulate(&(*ciphertext).into());
        let carried = Zeroizing::new(shared.into());
        shared.zeroize();
        carried
    }

    /// The public half, as it stands on the card.
    pub fn public(&self) -> Prekey {
        let x25519 = x25519_dalek::StaticSecret::from(*self.x25519);
        let ml_kem = DecapsulationKey::<MlKem768>::from_seed((*self.ml_kem_seed).into());
        let mut encoded = [0; ML_KEM_768_PUBLIC];
        encoded.copy_from_slice(&ml_kem.encapsulation_key().to_bytes());
        Prekey { x25519: x25519_dalek::PublicKey::from(&x25519).to_bytes(), ml_kem: Box::new(encoded) }
    }
}
