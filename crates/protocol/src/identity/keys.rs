//! Ed25519 keys and their signatures, in the forms of OpenSSH (docs/protocol.md §3).
//!
//! A signature is an SSHSIG (OpenSSH `PROTOCOL.sshsig`) with SHA-512 over exactly the bytes that
//! travelled. On the wire only its 64 raw bytes go; armoured, `ssh-keygen -Y verify` takes it.
//! Verification is dalek's `verify_strict`, which refuses small-order and non-canonical points (threat K8).

use std::{fmt, str::FromStr};

use bincode::{Decode, Encode};
use ed25519_dalek::Signer as _;
use sha2::{Digest, Sha256, Sha512};
use ssh_key::public::{Ed25519PublicKey, KeyData};

use crate::{hash::hex, labels::Namespace};

/// An Ed25519 public key: of a root, a node or an officer.
///
/// One that came in bytes may still be no usable key: every check of a signature refuses it then.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct PublicKey([u8; 32]);

/// Why a text is not a public key we take.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// Not in OpenSSH's one-line form.
    #[error("not an OpenSSH public key, like `ssh-ed25519 AAAA…`")]
    NotOpenSsh,
    /// A key of a kind that is not taken yet (RSA, ECDSA, FIDO `sk-`).
    #[error("a key of type {0}; only ssh-ed25519 is taken")]
    Algorithm(String),
    /// 32 bytes that are no point of the curve, one of small order, or a second spelling of a point.
    #[error("not a usable Ed25519 public key")]
    NotAPoint,
}

impl PublicKey {
    /// From the 32 raw bytes (RFC 8032, section 5.1.2).
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        point(&bytes).map(|_| Self(bytes)).ok_or(KeyError::NotAPoint)
    }

    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From a line `ssh-ed25519 AAAA… comment`, as in a `.pub` file.
    pub fn from_openssh(line: &str) -> Result<Self, KeyError> {
        let line = line.trim();
        if line.contains('\n') {
            return Err(KeyError::NotOpenSsh);
        }
        let Ok(key) = ssh_key::PublicKey::from_openssh(line) else {
            return Err(foreign_algorithm(line).map_or(KeyError::NotOpenSsh, KeyError::Algorithm));
        };
        match key.key_data() {
            KeyData::Ed25519(key) => Self::from_bytes(key.0),
            other => Err(KeyError::Algorithm(other.algorithm().to_string())),
        }
    }

    /// The line of a `.pub` file, without comment.
    pub fn to_openssh(&self) -> String {
        ssh_key::PublicKey::new(self.key_data(), "").to_openssh().unwrap_or_default()
    }

    /// The fingerprint as `ssh-keygen -l` prints it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        self.key_data().fingerprint(ssh_key::HashAlg::Sha256).to_string()
    }

    /// Twelve groups of five decimal digits of the key's SHA-256, to read aloud. Each group is two and a half bytes
    /// (20 bits, modulo 100,000), which leaves about 199 bits to compare.
    pub fn spoken(&self) -> String {
        let digest = Sha256::digest(self.0);
        let groups: Vec<String> = digest
            .chunks_exact(5)
            .flat_map(|five| {
                let forty = five.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
                [(forty >> 20) % 100_000, (forty & 0xf_ffff) % 100_000]
            })
            .map(|group| format!("{group:05}"))
            .collect();
        groups.join(" ")
    }

    /// Sixteen hexadecimal digits of the key's SHA-256: short, for file names and logs.
    pub fn short(&self) -> String {
        hex(Sha256::digest(self.0).first_chunk::<8>().unwrap_or(&[0; 8]))
    }

    /// Checks a signature over `bytes` made for `namespace`.
    pub fn verify(
        &self,
        namespace: Namespace,
        bytes: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let Signature::Ed25519(raw) = signature;
        let key = point(&self.0).ok_or(BadSignature)?;
        key.verify_strict(&signed_data(namespace, bytes), &ed25519_dalek::Signature::from_bytes(raw))
            .map_err(|_| BadSignature)
    }

    pub(crate) fn key_data(&self) -> KeyData {
        KeyData::Ed25519(Ed25519PublicKey(self.0))
    }
}

/// The point that 32 bytes are, if they are its one canonical encoding and it is not of small order (threat K8).
///
/// RFC 8032, section 5.1.3, refuses a y of p = 2^255 - 19 or more; dalek takes it modulo p, which would give some
/// keys two spellings.
fn point(bytes: &[u8; 32]) -> Option<ed25519_dalek::VerifyingKey> {
    let [lowest, middle @ .., highest] = bytes;
    let beyond_p = highest & 0x7f == 0x7f && middle.iter().all(|byte| *byte == 0xff) && *lowest >= 0xed;
    let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).ok()?;
    (!beyond_p && !key.is_weak()).then_some(key)
}

/// The algorithm that a line names, if it looks like a key of one that `ssh_key` cannot read.
fn foreign_algorithm(line: &str) -> Option<String> {
    let (algorithm, rest) = line.split_once(' ')?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-@.".contains(&byte);
    let looks = algorithm.len() <= 64 && algorithm.bytes().all(plain) && rest.starts_with("AAAA");
    (looks && algorithm != "ssh-ed25519").then(|| algorithm.to_owned())
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_openssh())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.short())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(line: &str) -> Result<Self, KeyError> {
        Self::from_openssh(line)
    }
}

/// A signature that does not belong to this key, namespace and text.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("the signature does not fit the key, the purpose and the text")]
pub struct BadSignature;

/// A raw signature. An enum, so that FIDO `sk-` signatures can join.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Signature {
    /// RFC 8032, 64 bytes.
    Ed25519([u8; 64]),
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ed25519(raw) = self;
        write!(f, "Signature({}…)", hex(raw.first_chunk::<4>().unwrap_or(&[0; 4])))
    }
}

/// A signature and the key that it claims to be of. Says nothing until verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct KeySignature {
    /// Who is said to have signed.
    pub key: PublicKey,
    /// The signature.
    pub signature: Signature,
}

/// Why an armoured signature is not one we take.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArmourError {
    /// Not `-----BEGIN SSH SIGNATURE-----` … in OpenSSH's form.
    #[error("not an armoured SSH signature, as `ssh-keygen -Y sign` writes it")]
    NotSshSig,
    /// Made for another purpose.
    #[error("a signature for `{found}`, where one for `{wanted}` is needed")]
    Namespace {
        /// What it was made for.
        found: String,
        /// What is needed.
        wanted: Namespace,
    },
    /// The key or signature is of a kind that is not taken yet.
    #[error("a signature of type {0}; only ssh-ed25519 with SHA-512 is taken")]
    Algorithm(String),
    /// The public key inside is unusable.
    #[error("its public key is unusable")]
    Key(#[from] KeyError),
}

impl KeySignature {
    /// Checks it over `bytes` for `namespace`.
    pub fn verify(&self, namespace: Namespace, bytes: &[u8]) -> Result<(), BadSignature> {
        self.key.verify(namespace, bytes, &self.signature)
    }

    /// The form that `ssh-keygen -Y verify` reads.
    pub fn to_armoured(&self, namespace: Namespace) -> String {
        let Signature::Ed25519(raw) = self.signature;
        ssh_key::Signature::new(ssh_key::Algorithm::Ed25519, raw)
            .and_then(|raw| {
                ssh_key::SshSig::new(self.key.key_data(), namespace.as_str(), ssh_key::HashAlg::Sha512, raw)
            })
            .and_then(|sig| sig.to_pem(ssh_key::LineEnding::LF))
            .map(|pem| if pem.ends_with('\n') { pem } else { pem + "\n" })
            .unwrap_or_default()
    }

    /// Reads what `ssh-keygen -Y sign -n NAMESPACE` wrote. The signature itself is not yet checked.
    pub fn from_armoured(text: &str, namespace: Namespace) -> Result<Self, ArmourError> {
        let sig = ssh_key::SshSig::from_pem(text).map_err(|_| ArmourError::NotSshSig)?;
        if sig.namespace() != namespace.as_str() {
            return Err(ArmourError::Namespace { found: sig.namespace().to_owned(), wanted: namespace });
        }
        if sig.hash_alg() != ssh_key::HashAlg::Sha512 {
            return Err(ArmourError::Algorithm(format!("{} with {}", sig.algorithm(), sig.hash_alg())));
        }
        let KeyData::Ed25519(key) = sig.public_key() else {
            return Err(ArmourError::Algorithm(sig.algorithm().to_string()));
        };
        if sig.algorithm() != ssh_key::Algorithm::Ed25519 {
            return Err(ArmourError::Algorithm(sig.algorithm().to_string()));
        }
        let raw = <[u8; 64]>::try_from(sig.signature_bytes()).map_err(|_| ArmourError::NotSshSig)?;
        Ok(Self { key: PublicKey::from_bytes(key.0)?, signature: Signature::Ed25519(raw) })
    }
}

/// An Ed25519 private key. Has no `Debug`; its memory is wiped when dropped.
#[derive(Clone)]
pub struct SecretKey(ed25519_dalek::SigningKey);

impl SecretKey {
    /// From the 32-byte seed (RFC 8032, section 5.1.5), which the caller drew and wipes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, for the keystore and the transport's identity.
    pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `bytes` for `namespace`.
    pub fn sign(&self, namespace: Namespace, bytes: &[u8]) -> KeySignature {
        let raw = self.0.sign(&signed_data(namespace, bytes)).to_bytes();
        KeySignature { key: self.public(), signature: Signature::Ed25519(raw) }
    }
}

/// What is signed: OpenSSH `PROTOCOL.sshsig`, section 3, with SHA-512.
fn signed_data(namespace: Namespace, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    out.extend_from_slice(b"SSHSIG");
    let digest = Sha512::digest(bytes);
    for part in [namespace.as_str().as_bytes(), b"", b"sha512", digest.as_slice()] {
        // No part is longer than a digest.
        out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}
