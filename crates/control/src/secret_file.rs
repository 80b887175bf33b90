//! The form of a party's secret files in `keys/SERIAL/`, once for the tool that writes them and the node that reads them:
//! a line for each secret, its kind, a colon, and lower-case hexadecimal digits.
//!
//! - `session.key`: `x25519-secret:<64 digits>`
//! - `prekey.key`: the same, and a second line `ml-kem-768-seed:<128 digits>`
//!
//! Every copy of a secret that is made here is wiped when dropped. `node.key` has OpenSSH's form and is not read here.

use demarche_protocol::{
    hash::{hex, unhex},
    identity::prekey::PrekeySecret,
    session::SessionSecret,
};
use zeroize::Zeroizing;

const X25519: &str = "x25519-secret:";
const ML_KEM: &str = "ml-kem-768-seed:";

/// What `session.key` holds, for whoever has to be told.
pub const SESSION_FORM: &str = "`x25519-secret:` and 64 hexadecimal digits";
/// What `prekey.key` holds, for whoever has to be told.
pub const PREKEY_FORM: &str =
    "`x25519-secret:` and 64 hexadecimal digits, and on a second line `ml-kem-768-seed:` and 128";

/// The text of `session.key`.
pub fn session(secret: &SessionSecret) -> Zeroizing<String> {
    line(X25519, &*secret.to_bytes())
}

/// The secret in the text of `session.key`; none when it has another form.
pub fn read_session(text: &str) -> Option<SessionSecret> {
    let mut lines = text.lines();
    let secret = read_line(lines.next()?, X25519)?;
    lines.next().is_none().then(|| SessionSecret::from_bytes(&secret))
}

/// The text of `prekey.key`.
pub fn prekey(secret: &PrekeySecret) -> Zeroizing<String> {
    let (x25519, seed) = (line(X25519, &*secret.x25519()), line(ML_KEM, &*secret.ml_kem_seed()));
    Zeroizing::new([x25519.as_str(), seed.as_str()].concat())
}

/// The secret in the text of `prekey.key`; none when it has another form.
pub fn read_prekey(text: &str) -> Option<PrekeySecret> {
    let mut lines = text.lines();
    let (x25519, seed) = (read_line(lines.next()?, X25519)?, read_line(lines.next()?, ML_KEM)?);
    lines.next().is_none().then(|| PrekeySecret::from_bytes(&x25519, &seed))
}

fn line(kind: &str, secret: &[u8]) -> Zeroizing<String> {
    let digits = Zeroizing::new(hex(secret));
    Zeroizing::new([kind, digits.as_str(), "\n"].concat())
}

fn read_line<const N: usize>(line: &str, kind: &str) -> Option<Zeroizing<[u8; N]>> {
    line.trim_end().strip_prefix(kind).and_then(unhex).map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let secret = SessionSecret::from_bytes(&[7; 32]);
        let text = session(&secret);
        assert_eq!(*text, format!("x25519-secret:{}\n", "07".repeat(32)));
        assert_eq!(read_session(&text).unwrap().public(), secret.public());
        let secret = PrekeySecret::from_bytes(&[7; 32], &[9; 64]);
        let text = prekey(&secret);
        assert_eq!(
            *text,
            format!("x25519-secret:{}\nml-kem-768-seed:{}\n", "07".repeat(32), "09".repeat(64))
        );
        assert_eq!(read_prekey(&text).unwrap().public(), secret.public());
    }

    #[test]
    fn half_a_file_or_another_one_is_none() {
        let session = session(&SessionSecret::from_bytes(&[7; 32]));
        let prekey = prekey(&PrekeySecret::from_bytes(&[7; 32], &[9; 64]));
        for cut in 0..session.len() - 1 {
            assert!(read_session(&session[..cut]).is_none(), "{cut}");
        }
        for cut in 0..prekey.len() - 1 {
            assert!(read_prekey(&prekey[..cut]).is_none(), "{cut}");
        }
        assert!(read_session(&prekey).is_none());
        assert!(read_prekey(&session).is_none());
        assert!(read_prekey(&format!("{}{}", *prekey, *session)).is_none());
    }
}
