//! Private keys in OpenSSH's file format (docs/protocol.md §3.1), with or without passphrase.

use base64ct::{Base64, Encoding as _};
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use zeroize::Zeroizing;

use super::keys::{PublicKey, SecretKey};

/// Why a private key file cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PrivateKeyError {
    /// Not in OpenSSH's form.
    #[error("not an OpenSSH private key")]
    NotOpenSsh,
    /// Encrypted, and no passphrase was given.
    #[error("the key is protected by a passphrase")]
    NeedsPassphrase,
    /// The passphrase does not open it.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// Not an Ed25519 key.
    #[error("a key of type {0}; only ssh-ed25519 is taken")]
    Algorithm(String),
    /// The key could not be written in that form.
    #[error("the key could not be encoded")]
    Encoding,
}

/// Reads a private key. `passphrase` is only used when the file is encrypted.
pub fn read(pem: &str, passphrase: Option<&str>) -> Result<SecretKey, PrivateKeyError> {
    let mut key = ssh_key::PrivateKey::from_openssh(pem).map_err(|_| {
        foreign_algorithm(pem).map_or(PrivateKeyError::NotOpenSsh, PrivateKeyError::Algorithm)
    })?;
    // Its kind stands in clear: nobody is asked for the passphrase of a key that is not taken.
    if key.algorithm() != ssh_key::Algorithm::Ed25519 {
        return Err(PrivateKeyError::Algorithm(key.algorithm().to_string()));
    }
    if key.is_encrypted() {
        let passphrase = passphrase.ok_or(PrivateKeyError::NeedsPassphrase)?;
        key = key.decrypt(passphrase).map_err(|_| PrivateKeyError::WrongPassphrase)?;
    }
    match key.key_data() {
        KeypairData::Ed25519(pair) => Ok(SecretKey::from_seed(&Zeroizing::new(pair.private.to_bytes()))),
        _ => Err(PrivateKeyError::NotOpenSsh),
    }
}

/// The algorithm that a key file names, if it is one that is not taken. Asked when `ssh_key` cannot read the file, as of an ECDSA
/// key in 256, whose secret number begins with a zero that OpenSSH leaves out.
fn foreign_algorithm(pem: &str) -> Option<String> {
    const KNOWN: [&str; 7] = [
        "sk-ecdsa-sha2-nistp256@openssh.com",
        "sk-ssh-ed25519@openssh.com",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "ssh-dss",
        "ssh-rsa",
    ];
    let body: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let bytes = Base64::decode_vec(&body).ok().filter(|bytes| bytes.starts_with(b"openssh-key-v1\0"))?;
    let names = |name: &&&str| bytes.windows(name.len()).any(|window| window == name.as_bytes());
    KNOWN.iter().find(names).map(|name| (*name).to_owned())
}

/// What protects a private key file.
pub struct Protection<'a> {
    /// The passphrase.
    pub passphrase: &'a str,
    /// Fresh random bytes for bcrypt's salt and the check value.
    pub salt: [u8; 16],
    /// Fresh random bytes: the format's check value.
    pub check: u32,
}

/// bcrypt rounds, as `ssh-keygen` uses them by default.
const BCRYPT_ROUNDS: u32 = 16;

/// Writes a private key as `ssh-keygen` would, encrypted when `protection` is given.
pub fn write(
    key: &SecretKey,
    comment: &str,
    protection: Option<&Protection<'_>>,
) -> Result<Zeroizing<String>, PrivateKeyError> {
    let private = Ed25519PrivateKey::from_bytes(&key.seed());
    let pair = Ed25519Keypair::from(private);
    let mut file = ssh_key::PrivateKey::new(KeypairData::Ed25519(pair), comment)
        .map_err(|_| PrivateKeyError::Encoding)?;
    if let Some(protection) = protection {
        let kdf = ssh_key::Kdf::Bcrypt { salt: protection.salt.to_vec(), rounds: BCRYPT_ROUNDS };
        file = file
            .encrypt_with(ssh_key::Cipher::Aes256Ctr, kdf, protection.check, protection.passphrase)
            .map_err(|_| PrivateKeyError::Encoding)?;
    }
    file.to_openssh(ssh_key::LineEnding::LF).map_err(|_| PrivateKeyError::Encoding)
}

/// The line of a `.pub` file, with `comment`.
pub fn public_line(key: &PublicKey, comment: &str) -> String {
    format!("{} {comment}\n", key.to_openssh())
}
