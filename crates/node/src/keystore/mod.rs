//! The node's own secrets, read from `keys/SERIAL/` and nowhere else. Every file must be a regular one of the node's own
//! user and closed to all others, or the node refuses to start and names it (threat L2).

mod prekeys;

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use demarche_control::{
    layout::{self, DataDir, SecretFileError},
    secret_file,
};
use demarche_protocol::{
    identity::{
        card::{Card, CardSerial, Role},
        keys::SecretKey,
        openssh::{self, PrivateKeyError},
    },
    session::SessionSecret,
};
pub(crate) use prekeys::Prekeys;

/// The secrets that belong to one card.
#[derive(Clone)]
pub(crate) struct NodeKeys {
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
    /// Not in the form of its kind.
    #[error("{path} is no such key: it must hold {form}")]
    Form {
        /// Which.
        path: String,
        /// What it must hold.
        form: &'static str,
    },
    /// A key is another card's.
    #[error(
        "{path} is not the key that card {serial} names\nhelp: restore it from the backup made with that card, or renew: demarche card renew"
    )]
    OtherCard {
        /// Which.
        path: String,
        /// The card's number.
        serial: CardSerial,
    },
}

fn help_line(error: &SecretFileError) -> String {
    let restore = || {
        let lost =
            matches!(error, SecretFileError::Io { source, .. } if source.kind() == ErrorKind::NotFound);
        lost.then(|| {
            "restore it from the backup made with that card, or renew: demarche card renew".to_owned()
        })
    };
    error.help().or_else(restore).map_or_else(String::new, |help| format!("\nhelp: {help}"))
}

/// Reads the keys of `card` and checks that they are the ones it names. A prekey that is lost or another's would
/// otherwise be missed when the first envelope cannot be opened, long after a backup was at hand.
pub(crate) fn read(data: &DataDir, card: &Card) -> Result<NodeKeys, KeystoreError> {
    let serial = card.serial;
    let named = |fits: bool, path: PathBuf| {
        let other = || KeystoreError::OtherCard { path: path.display().to_string(), serial };
        fits.then_some(()).ok_or_else(other)
    };
    let node = read_node(&data.node_key(serial))?;
    named(node.public() == card.node, data.node_key(serial))?;
    let Role::Party { session: session_key, prekey: prekey_named } = &card.role else {
        return Ok(NodeKeys { node, session: None });
    };
    let session =
        read_line_file(&data.session_key(serial), secret_file::read_session, secret_file::SESSION_FORM)?;
    named(session.public() == *session_key, data.session_key(serial))?;
    // It is erased in time, when later ones have taken its place.
    if data.prekey(serial).exists() || !data.prekey_times(serial).exists() {
        let prekey =
            read_line_file(&data.prekey(serial), secret_file::read_prekey, secret_file::PREKEY_FORM)?;
        named(prekey.public() == *prekey_named, data.prekey(serial))?;
    }
    Ok(NodeKeys { node, session: Some(session) })
}

/// Checks every key file here, whatever card it belongs to.
pub(crate) fn check(data: &DataDir) -> Result<(), KeystoreError> {
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
pub(crate) fn has_keys(data: &DataDir, serial: CardSerial) -> bool {
    // Anything but plain absence is for `read` to report.
    data.node_key(serial).symlink_metadata().is_ok()
}

fn read_node(path: &Path) -> Result<SecretKey, KeystoreError> {
    let text = layout::read_secret(path).map_err(|source| KeystoreError::File { source })?;
    openssh::read(&text, None)
        .map_err(|source| KeystoreError::Key { path: path.display().to_string(), source })
}

fn read_line_file<T>(
    path: &Path,
    read: impl FnOnce(&str) -> Option<T>,
    form: &'static str,
) -> Result<T, KeystoreError> {
    let text = layout::read_secret(path).map_err(|source| KeystoreError::File { source })?;
    read(&text).ok_or_else(|| KeystoreError::Form { path: path.display().to_string(), form })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use demarche_control::layout::{PRIVATE, make_directory, write};
    use demarche_protocol::identity::prekey::PrekeySecret;
    use demarche_testkit::fixtures::{self, NodeKeys as Drawn};
    use tempfile::tempdir;

    use super::*;

    const SERIAL: CardSerial = CardSerial(1);

    /// The keys of washington's first card, and the card.
    fn with_keys() -> (tempfile::TempDir, DataDir, Card) {
        let directory = tempdir().unwrap();
        let data = DataDir::new(directory.path());
        make_directory(&data.keys(SERIAL), 0o700).unwrap();
        let keys = Drawn::of("washington", SERIAL.0);
        let node = openssh::write(&keys.node, "node", None).unwrap();
        write(&data.node_key(SERIAL), node.as_bytes(), PRIVATE).unwrap();
        let session = secret_file::session(&keys.session);
        write(&data.session_key(SERIAL), session.as_bytes(), PRIVATE).unwrap();
        let prekey = secret_file::prekey(&fixtures::prekey());
        write(&data.prekey(SERIAL), prekey.as_bytes(), PRIVATE).unwrap();
        let card = Card::parse(fixtures::card("washington", SERIAL.0).text()).unwrap();
        (directory, data, card)
    }

    fn refused(data: &DataDir, card: &Card) -> String {
        read(data, card).err().expect("a refusal").to_string()
    }

    #[test]
    fn keys_are_read_back() {
        let (_directory, data, card) = with_keys();
        let keys = read(&data, &card).unwrap();
        assert_eq!(keys.node.public(), card.node);
        assert_eq!(keys.session.map(|session| session.public()), card.session_key());
    }

    #[test]
    fn l2_a_key_that_others_may_read_is_refused_by_name() {
        let (_directory, data, card) = with_keys();
        for path in [data.node_key(SERIAL), data.session_key(SERIAL), data.prekey(SERIAL)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            let why = refused(&data, &card);
            assert!(why.contains(&path.display().to_string()) && why.contains("help: chmod 600"), "{why}");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    #[test]
    fn l2_a_link_instead_of_a_key_is_refused() {
        let (_directory, data, card) = with_keys();
        let path = data.node_key(SERIAL);
        let elsewhere = path.with_extension("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let why = refused(&data, &card);
        assert!(why.contains("a link"), "{why}");
    }

    #[test]
    fn a_key_that_is_lost_damaged_or_another_cards_is_named() {
        let (_directory, data, card) = with_keys();
        let other = Drawn::of("washington", 2);
        let foreign = [
            (data.node_key(SERIAL), openssh::write(&other.node, "node", None).unwrap()),
            (data.session_key(SERIAL), secret_file::session(&other.session)),
            (data.prekey(SERIAL), secret_file::prekey(&PrekeySecret::from_bytes(&[7; 32], &[8; 64]))),
        ];
        for (path, foreign) in foreign {
            let name = path.display().to_string();
            let own = fs::read(&path).unwrap();
            write(&path, foreign.as_bytes(), PRIVATE).unwrap();
            let why = refused(&data, &card);
            assert!(why.contains(&name) && why.contains("not the key that card 1 names"), "{why}");
            write(&path, &own[..own.len() / 2], PRIVATE).unwrap();
            assert!(refused(&data, &card).contains(&name));
            fs::remove_file(&path).unwrap();
            let why = refused(&data, &card);
            assert!(why.contains(&name) && why.contains("help: restore"), "{why}");
            write(&path, &own, PRIVATE).unwrap();
        }
        read(&data, &card).unwrap();
    }
}
