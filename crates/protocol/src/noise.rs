//! The primitives that snow is given, for sessions and envelopes: its own cipher and hash, X25519 that refuses an
//! all-zero output (threat K7), ML-KEM-768, and no randomness but what was drawn beforehand.

use ml_kem::{Decapsulate as _, KeyExport as _, TryKeyInit as _, ml_kem_768};
use rand_core::CryptoRng;
use snow::{
    Error,
    params::{CipherChoice, DHChoice, HashChoice, KemChoice},
    resolvers::{CryptoResolver, DefaultResolver},
    types::{Cipher, Dh, Hash, Kem, Random},
};
use zeroize::{Zeroize as _, Zeroizing};

/// Bytes of an ML-KEM-768 encapsulation key, a ciphertext and a shared secret (FIPS 203, table 3).
pub(crate) const KEM_PUBLIC: usize = 1184;
pub(crate) const KEM_CIPHERTEXT: usize = 1088;
pub(crate) const KEM_SHARED: usize = 32;

/// Everything random that one side of one handshake needs, drawn in this order at its start.
///
/// snow's KEM trait gives `encapsulate` no generator, and a generator shared behind a lock would make the order
/// of draws part of the behaviour; drawn beforehand, a handshake is a function of 96 bytes.
pub(crate) struct Drawn {
    /// The secret of the ephemeral X25519 key.
    ephemeral: Zeroizing<[u8; 32]>,
    /// Opener: the seed `d ‖ z` of the ML-KEM key. Responder: the first half is the encapsulated `m`.
    kem: Zeroizing<[u8; 64]>,
}

impl Drawn {
    pub(crate) fn from(rng: &mut dyn CryptoRng) -> Self {
        let mut drawn = Self { ephemeral: Zeroizing::new([0; 32]), kem: Zeroizing::new([0; 64]) };
        rng.fill_bytes(drawn.ephemeral.as_mut());
        rng.fill_bytes(drawn.kem.as_mut());
        drawn
    }

    /// For whoever only opens what others sealed.
    pub(crate) fn none() -> Self {
        Self { ephemeral: Zeroizing::new([0; 32]), kem: Zeroizing::new([0; 64]) }
    }

    /// What is encapsulated, `m` of FIPS 203, section 6.2.
    pub(crate) fn encapsulated(&self) -> &[u8; 32] {
        self.kem.first_chunk().unwrap_or(&self.ephemeral)
    }
}

/// What snow asks for primitives. Lives only while one handshake state is built.
pub(crate) struct Resolver(pub(crate) Drawn);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Once(Some(self.0.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        (*choice == DHChoice::Curve25519).then(|| Box::new(X25519::default()) as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice).map(|cipher| Box::new(Erased(cipher)) as Box<dyn Cipher>)
    }

    fn resolve_kem(&self, _choice: &KemChoice) -> Option<Box<dyn Kem>> {
        Some(Box::new(MlKem { drawn: self.0.kem.clone(), secret: None, public: [0; KEM_PUBLIC] }))
    }
}

/// Gives out the ephemeral secret, once: a second draw would be a reused key.
struct Once(Option<Zeroizing<[u8; 32]>>);

impl Random for Once {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let bytes = self.0.take().ok_or(Error::Rng)?;
        if dest.len() != bytes.len() {
            return Err(Error::Rng);
        }
        dest.copy_from_slice(bytes.as_slice());
        Ok(())
    }
}

/// X25519 (RFC 7748) that refuses an all-zero output, as its section 6.1 lets it.
#[derive(Default)]
struct X25519 {
    secret: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl X25519 {
    fn derive(&mut self) {
        let secret = x25519_dalek::StaticSecret::from(*self.secret);
        self.public = x25519_dalek::PublicKey::from(&secret).to_bytes();
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, privkey: &[u8]) {
        // The trait knows no failure; our only caller passes a `SessionSecret`, of 32 bytes.
        if let Ok(bytes) = <[u8; 32]>::try_from(privkey) {
            self.secret = Zeroizing::new(bytes);
            self.derive();
        }
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        rng.try_fill_bytes(self.secret.as_mut())?;
        self.derive();
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        self.secret.as_slice()
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        // snow passes its longest buffers; the first 32 bytes of each are meant.
        let theirs = pubkey.first_chunk::<32>().ok_or(Error::Dh)?;
        let out = out.first_chunk_mut::<32>().ok_or(Error::Dh)?;
        let secret = x25519_dalek::StaticSecret::from(*self.secret);
        let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(*theirs));
        if !shared.was_contributory() {
            return Err(Error::Dh);
        }
        out.copy_from_slice(shared.as_bytes());
        Ok(())
    }
}

/// ML-KEM-768 (FIPS 203) with the randomness drawn at the start.
struct MlKem {
    drawn: Zeroizing<[u8; 64]>,
    secret: Option<ml_kem_768::DecapsulationKey>,
    public: [u8; KEM_PUBLIC],
}

impl Kem for MlKem {
    fn name(&self) -> &'static str {
        "MLKEM768"
    }

    fn pub_len(&self) -> usize {
        KEM_PUBLIC
    }

    fn ciphertext_len(&self) -> usize {
        KEM_CIPHERTEXT
    }

    fn shared_secret_len(&self) -> usize {
        KEM_SHARED
    }

    fn generate(&mut self, _rng: &mut dyn Random) {
        let mut seed = ml_kem::Seed::from(*self.drawn);
        let secret = ml_kem_768::DecapsulationKey::from_seed(seed);
        seed.zeroize();
        self.public = secret.encapsulation_key().to_bytes().into();
        self.secret = Some(secret);
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn encapsulate(
        &self,
        pubkey: &[u8],
        shared_secret_out: &mut [u8],
        ciphertext_out: &mut [u8],
    ) -> Result<(usize, usize), Error> {
        let m = self.drawn.first_chunk::<32>().ok_or(Error::Kem)?;
        let (ciphertext, shared) = encapsulate(pubkey, m).ok_or(Error::Kem)?;
        copy(shared.as_slice(), shared_secret_out)?;
        copy(&ciphertext, ciphertext_out)?;
        Ok((KEM_SHARED, KEM_CIPHERTEXT))
    }

    fn decapsulate(&self, ciphertext: &[u8], shared_secret_out: &mut [u8]) -> Result<usize, Error> {
        let secret = self.secret.as_ref().ok_or(Error::Kem)?;
        let mut shared = secret.decapsulate_slice(ciphertext).map_err(|_| Error::Kem)?;
        copy(&shared, shared_secret_out)?;
        shared.zeroize();
        Ok(KEM_SHARED)
    }
}

/// A ciphertext and the secret that it carries to whoever holds the key's other half (FIPS 203, section 6.2). Nothing for a key that
/// is not reduced (section 7.2).
pub(crate) fn encapsulate(
    public: &[u8],
    m: &[u8; 32],
) -> Option<([u8; KEM_CIPHERTEXT], Zeroizing<[u8; KEM_SHARED]>)> {
    let key = ml_kem_768::EncapsulationKey::new_from_slice(public).ok()?;
    let mut m = ml_kem::B32::from(*m);
    let (ciphertext, mut shared) = key.encapsulate_deterministic(&m);
    m.zeroize();
    let carried = Zeroizing::new(shared.into());
    shared.zeroize();
    Some((ciphertext.into(), carried))
}

fn copy(from: &[u8], to: &mut [u8]) -> Result<(), Error> {
    to.get_mut(..from.len()).ok_or(Error::Kem)?.copy_from_slice(from);
    Ok(())
}

/// A cipher whose key is overwritten when it is dropped, which snow's own does not do.
struct Erased(Box<dyn Cipher>);

impl Drop for Erased {
    fn drop(&mut self) {
        self.0.set(&[0; 32]);
    }
}

impl Cipher for Erased {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0.set(key);
    }

    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        self.0.encrypt(nonce, authtext, plaintext, out)
    }

    fn decrypt(
        &self,
        nonce: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        self.0.decrypt(nonce, authtext, ciphertext, out)
    }

    fn rekey(&mut self) {
        self.0.rekey();
    }
}

#[cfg(test)]
mod tests;
