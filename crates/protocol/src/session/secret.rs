//! A party node's static secret in live sessions.

use zeroize::Zeroizing;

use crate::identity::card::SessionKey;

/// An X25519 private key (RFC 7748): the half of [`SessionKey`] that never leaves the node. Has no `Debug`; its
/// memory is wiped when dropped.
#[derive(Clone)]
pub struct SessionSecret(Zeroizing<[u8; 32]>);

impl SessionSecret {
    /// From 32 bytes, which the caller drew or read, and wipes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// The 32 bytes, for the keystore.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.clone()
    }

    /// The public half, as it stands on the card.
    pub fn public(&self) -> SessionKey {
        let secret = x25519_dalek::StaticSecret::from(*self.0);
        SessionKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.0.as_slice()
    }
}
