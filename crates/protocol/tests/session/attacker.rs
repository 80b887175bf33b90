//! A node that keeps to no rule: Noise by hand, with static keys that are not what they claim to be. It also
//! serves as a second implementation of the handshake, written from `docs/protocol.md` §7.

use demarche_protocol::{
    codec,
    document::SignedDocument,
    hash::ChannelId,
    identity::card::SessionKey,
    labels,
    session::{Introduction, SessionSecret},
};
use ml_kem::{Decapsulate as _, KeyExport as _, TryKeyInit as _, ml_kem_768};
use snow::{
    Error, HandshakeState,
    params::{CipherChoice, DHChoice, HashChoice, KemChoice, NoiseParams},
    resolvers::{CryptoResolver, DefaultResolver},
    types::{Cipher, Dh, Hash, Kem, Random},
};
use x25519_dalek::x25519;

/// How the attacker's static key pair is made up.
#[derive(Clone)]
pub(crate) struct Claim {
    /// The private half it really has.
    pub(crate) secret: SessionSecret,
    /// The public half it sends.
    pub(crate) public: SessionKey,
}

impl Claim {
    /// An honest one.
    pub(crate) fn honest(secret: &SessionSecret) -> Self {
        Self { secret: secret.clone(), public: secret.public() }
    }
}

/// The handshake's state for whoever has this claim.
pub(crate) fn noise(channel: ChannelId, claim: &Claim, opens: bool) -> HandshakeState {
    noise_named(labels::LIVE_NOISE, channel, claim, opens)
}

/// The same under another protocol name.
pub(crate) fn noise_named(name: &str, channel: ChannelId, claim: &Claim, opens: bool) -> HandshakeState {
    let mut params: NoiseParams = "Noise_XXhfs_25519+Kyber1024_ChaChaPoly_SHA256".parse().unwrap();
    name.clone_into(&mut params.name);
    let prologue = [labels::LIVE_PROLOGUE, &[1], channel.as_bytes()].concat();
    let secret = claim.secret.to_bytes();
    let builder = snow::Builder::with_resolver(params, Box::new(Resolver(claim.clone())))
        .local_private_key(secret.as_slice())
        .unwrap()
        .prologue(&prologue)
        .unwrap();
    if opens { builder.build_initiator().unwrap() } else { builder.build_responder().unwrap() }
}

/// The encoded introduction that shows this card.
pub(crate) fn introduction(card: &SignedDocument, channel: ChannelId) -> Vec<u8> {
    codec::encode(&Introduction { card: card.clone(), charter: channel.into() })
}

/// The next message.
pub(crate) fn write(noise: &mut HandshakeState, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 65_535];
    let length = noise.write_message(payload, &mut message).unwrap();
    message.truncate(length);
    message
}

/// The payload of a message.
pub(crate) fn read(noise: &mut HandshakeState, message: &[u8]) -> Result<Vec<u8>, Error> {
    let mut payload = vec![0; 65_535];
    let length = noise.read_message(message, &mut payload)?;
    payload.truncate(length);
    Ok(payload)
}

struct Resolver(Claim);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        DefaultResolver.resolve_rng()
    }

    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::new(LyingDh { claim: self.0.clone(), secret: [0; 32], public: [0; 32] }))
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }

    fn resolve_kem(&self, _: &KemChoice) -> Option<Box<dyn Kem>> {
        Some(Box::new(MlKem(None, Vec::new())))
    }
}

struct LyingDh {
    claim: Claim,
    secret: [u8; 32],
    public: [u8; 32],
}

impl Dh for LyingDh {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, secret: &[u8]) {
        self.secret.copy_from_slice(secret);
        self.public = self.claim.public.0;
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        rng.try_fill_bytes(&mut self.secret)?;
        self.public = x25519(self.secret, x25519_dalek::X25519_BASEPOINT_BYTES);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &self.secret
    }

    fn dh(&self, theirs: &[u8], out: &mut [u8]) -> Result<(), Error> {
        out[..32].copy_from_slice(&x25519(self.secret, theirs[..32].try_into().unwrap()));
        Ok(())
    }
}

struct MlKem(Option<ml_kem_768::DecapsulationKey>, Vec<u8>);

impl Kem for MlKem {
    fn name(&self) -> &'static str {
        "MLKEM768"
    }

    fn pub_len(&self) -> usize {
        1184
    }

    fn ciphertext_len(&self) -> usize {
        1088
    }

    fn shared_secret_len(&self) -> usize {
        32
    }

    fn generate(&mut self, rng: &mut dyn Random) {
        let mut seed = ml_kem::Seed::default();
        rng.try_fill_bytes(&mut seed).unwrap();
        let key = ml_kem_768::DecapsulationKey::from_seed(seed);
        self.1 = key.encapsulation_key().to_bytes().to_vec();
        self.0 = Some(key);
    }

    fn pubkey(&self) -> &[u8] {
        &self.1
    }

    fn encapsulate(&self, key: &[u8], shared: &mut [u8], out: &mut [u8]) -> Result<(usize, usize), Error> {
        let key = ml_kem_768::EncapsulationKey::new_from_slice(key).map_err(|_| Error::Kem)?;
        let (ciphertext, secret) = key.encapsulate_deterministic(&[77; 32].into());
        shared.copy_from_slice(&secret);
        out.copy_from_slice(&ciphertext);
        Ok((32, 1088))
    }

    fn decapsulate(&self, ciphertext: &[u8], shared: &mut [u8]) -> Result<usize, Error> {
        let key = self.0.as_ref().ok_or(Error::Kem)?;
        shared.copy_from_slice(&key.decapsulate_slice(ciphertext).map_err(|_| Error::Kem)?);
        Ok(32)
    }
}
