//! Randomness from the kernel, for the protocol, which draws none of its own.

use std::{fs::File, io, io::Read as _};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use zeroize::Zeroizing;

/// A generator for one handshake, seeded by the kernel's.
pub(crate) fn generator() -> io::Result<ChaCha20Rng> {
    let mut seed = Zeroizing::new([0; 32]);
    File::open("/dev/urandom")?.read_exact(&mut seed[..])?;
    Ok(ChaCha20Rng::from_seed(*seed))
}
