//! The node's own secrets, read from `keys/SERIAL/` and nowhere else. Every file must be a regular one of the node's own
//! user and closed to all others, or the node refuses to start and names it (threat L2).

use demarche_control::layout::{self, DataDir, SecretFileError};
use demarche_protocol::{
    hash::unhex,
    identity::{
        card::{Card, CardSerial, Role},
        keys::SecretKey,
        openssh::{self, PrivateKeyError},
    },
    session::SessionSecret,
};
use zeroize::Zeroizing;

/// The secrets that belong to one card.
#[derive(Clone)]
pub struct NodeKeys {
    /// Signs entries and receipts, and is the node's identity on the network.
    pub node: SecretKey,
    /// The static key of live sessions; a mediator has none.
    pub session: Option<SessionSecret>,
}

/// Why the secrets of a card cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// A file that must not be read, or cannot be.
    #[error("{source}{}", help_line(source))]
    File {
        /// Which, and why.
        source: SecretFileError,
    },
    /// Not an OpenSSH key without passphrase.
    #[error("{path} is not usable: {source}")]
    Key {
        /// Which.
        path: String,
        /// Why.
        source: PrivateKeyError,
    },
    /// Not a session key.
    #[error("{path} is not a session key: it must hold `x25519-secret:` and 64 hexadecimal digits")]
    Session {
        /// Which.
        path: String,
    },
    /// The keys are another card's.
    #[error(
        "the keys in keys/{serial} are not those of card {serial}\nhelp: restore them from the backup made with that card, or renew: demarche card renew"
    )]
    OtherCard {
        /// The card's number.
        serial: CardSerial,
    },
}

fn help_line(error: &SecretFileError) -> String {
    error.help().map_or_else(String::new, |help| format!("\nhelp: {help}"))
}

/// Reads the keys of `card` and checks that they are the ones it names.
pub fn read(data: &DataDir, card: &Card) -> Result<NodeKeys, KeystoreError> {
    let keys = read_serial(data, card.serial, matches!(card.role, Role::Party { .. }))?;
    let session = keys.session.as_ref().map(SessionSecret::public);
    if keys.node.public() != card.node || session != card.session_key() {
        return Err(KeystoreError::OtherCard { serial: card.serial });
    }
    Ok(keys)
}

/// Checks every key file here, whatever card it belongs to.
pub fn check(data: &DataDir) -> Result<(), KeystoreError> {
    for serial in data.key_serials().unwrap_or_default() {
        for path in [data.node_key(serial), data.session_key(serial), data.prekey(serial)] {
            if path.symlink_metadata().is_ok() {
                layout::read_secret(&path).map_err(|source| KeystoreError::File { source })?;
            }
        }
    }
    Ok(())
}

/// Whether keys lie here for a card of this number.
pub fn has_keys(data: &DataDir, serial: CardSerial) -> bool {
    // Anything but plain absence is for `read` to report.
    data.node_key(serial).symlink_metadata().is_ok()
}

fn read_serial(data: &DataDir, serial: CardSerial, party: bool) -> Result<NodeKeys, KeystoreError> {
    let file = |source| KeystoreError::File { source };
    let path = data.node_key(serial);
    let text = layout::read_secret(&path).map_err(file)?;
    let node = openssh::read(&text, None)
        .map_err(|source| KeystoreError::Key { path: path.display().to_string(), source })?;
    let session = if party {
        let path = data.session_key(serial);
        let text = layout::read_secret(&path).map_err(file)?;
        let secret = text.trim().strip_prefix("x25519-secret:").and_then(unhex).map(Zeroizing::new);
        let secret = secret.ok_or_else(|| KeystoreError::Session { path: path.display().to_string() })?;
        Some(SessionSecret::from_bytes(&secret))
    } else {
        None
    };
    Ok(NodeKeys { node, session })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use demarche_control::layout::{PRIVATE, make_directory, write};
    use tempfile::tempdir;

    use super::*;

    const SERIAL: CardSerial = CardSerial(1);

    fn with_keys() -> (tempfile::TempDir, DataDir) {
        let directory = tempdir().unwrap();
        let data = DataDir::new(directory.path());
        make_directory(&data.keys(SERIAL), 0o700).unwrap();
        let key = openssh::write(&SecretKey::from_seed(&[1; 32]), "node", None).unwrap();
        write(&data.node_key(SERIAL), key.as_bytes(), PRIVATE).unwrap();
        let session = format!("x25519-secret:{}\n", "07".repeat(32));
        write(&data.session_key(SERIAL), session.as_bytes(), PRIVATE).unwrap();
        (directory, data)
    }

    #[test]
    fn keys_are_read_back() {
        let (_directory, data) = with_keys();
        let keys = read_serial(&data, SERIAL, true).unwrap();
        assert_eq!(keys.node.public(), SecretKey::from_seed(&[1; 32]).public());
        assert_eq!(keys.session.unwrap().public(), SessionSecret::from_bytes(&[7; 32]).public());
    }

    #[test]
    fn l2_a_key_that_others_may_read_is_refused_by_name() {
        let (_directory, data) = with_keys();
        for path in [data.node_key(SERIAL), data.session_key(SERIAL)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            let why = read_serial(&data, SERIAL, true).err().unwrap().to_string();
            assert!(why.contains(&path.display().to_string()) && why.contains("help: chmod 600"), "{why}");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    #[test]
    fn l2_a_link_instead_of_a_key_is_refused() {
        let (_directory, data) = with_keys();
        let path = data.node_key(SERIAL);
        let elsewhere = path.with_extension("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let why = read_serial(&data, SERIAL, true).err().unwrap().to_string();
        assert!(why.contains("a link"), "{why}");
    }

    #[test]
    fn half_a_session_key_is_none() {
        let (_directory, data) = with_keys();
        write(&data.session_key(SERIAL), b"x25519-secret:0707", PRIVATE).unwrap();
        assert!(matches!(read_serial(&data, SERIAL, true), Err(KeystoreError::Session { .. })));
    }
}
