//! What operators type, made fit for a signed text: names and titles, dates, roots.

use std::path::{Path, PathBuf};

use demarche_protocol::{
    charter::policy::Span,
    document::reader::forbidden_character,
    identity::keys::PublicKey,
    limits,
    time::{Timestamp, TimestampError},
};
use unicode_normalization::UnicodeNormalization as _;

use super::beside::{malformed, read_text, with_suffix};
use crate::error::{Result, failed, usage};

/// A name or title for a signed text: one line, trimmed, in normal form C. What was changed is added to `notes`.
pub(super) fn line(option: &str, typed: &str, notes: &mut Vec<String>) -> Result<String> {
    let tidy: String = typed.trim().nfc().collect();
    if tidy.is_empty() {
        return Err(usage(format!("{option} is empty")));
    }
    if let Some((_, character)) = forbidden_character(&tidy) {
        let code = u32::from(character);
        return Err(usage(format!(
            "{option} holds the character U+{code:04X}, which may not stand in a signed text"
        ))
        .help("type it anew rather than paste it"));
    }
    if tidy.contains('\n') {
        return Err(usage(format!("{option} must be one line")));
    }
    if tidy.len() > limits::LINE {
        return Err(usage(format!(
            "{option} has {} bytes; at most {} are allowed",
            tidy.len(),
            limits::LINE
        )));
    }
    if tidy != typed.trim() {
        notes.push(format!("{option} was put into Unicode normal form C; it looks the same"));
    }
    Ok(tidy)
}

/// When a card or officer is due for renewal, unless `--expires` says otherwise.
pub(super) const VALID_FOR: &str = "365d";

/// `365d`, `2027-11-23` or `2027-11-23T09:00:00Z`, after `now`.
pub(super) fn expires(typed: &str, now: Timestamp) -> Result<Timestamp> {
    let wrong = || {
        usage(format!("--expires {typed}: neither a day, a UTC time nor a duration"))
            .help("like 2027-11-23, 2027-11-23T09:00:00Z or 365d")
    };
    let at = if let Ok(span) = typed.parse::<Span>() {
        now.plus(span.0)
    } else {
        let moment: std::result::Result<Timestamp, TimestampError> =
            typed.parse().or_else(|_| format!("{typed}T00:00:00Z").parse());
        moment.map_err(|_| wrong())?
    };
    if at <= now {
        return Err(usage(format!("--expires {typed} is in the past")));
    }
    // Whole seconds: milliseconds would be noise to whoever reads it before signing.
    Ok(Timestamp::from_millis(at.as_millis() / 1000 * 1000))
}

/// A public key given as the line itself or as the file that holds it.
pub(super) fn public_key(option: &str, typed: &str) -> Result<PublicKey> {
    if typed.trim_start().starts_with("ssh-") {
        return PublicKey::from_openssh(typed).map_err(|why| usage(format!("{option}: {why}")));
    }
    let path = public_file(typed);
    let text = read_text(&path)?;
    if text.contains("PRIVATE KEY") {
        return Err(usage(format!("{option} {typed} is a private key; its public half is needed"))
            .help(format!("give the file beside it: {option} {}", public_of(path.as_path()).display())));
    }
    PublicKey::from_openssh(&text).map_err(|why| malformed(&path, &why))
}

/// The file as named; where it is not there and `root.pub` was meant for what `ssh-keygen -f root.key` calls
/// `root.key.pub`, that one.
fn public_file(typed: &str) -> PathBuf {
    let named = PathBuf::from(typed);
    let by_keygen = typed.strip_suffix(".pub").map(|stem| PathBuf::from(format!("{stem}.key.pub")));
    by_keygen.filter(|other| !named.exists() && other.exists()).unwrap_or(named)
}

/// The public file that lies beside a private one.
fn public_of(private: &Path) -> PathBuf {
    let short = private.with_extension("pub");
    if short.exists() { short } else { with_suffix(private, ".pub") }
}

/// Refuses an output that is there already: nothing that may have been signed is overwritten.
pub(super) fn refuse_existing(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(failed(format!("{} is there already; it is not overwritten", path.display()))
            .help("give another name with --out, or remove the old file"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_430_400_123);

    #[test]
    fn a_pasted_name_is_put_right_and_said_so() {
        let mut notes = Vec::new();
        assert_eq!(line("--name", "  Re\u{301}publique ", &mut notes).unwrap(), "République");
        assert_eq!(notes, ["--name was put into Unicode normal form C; it looks the same"]);
        assert_eq!(line("--name", "ایران", &mut Vec::new()).unwrap(), "ایران");
    }

    #[test]
    fn b2_b3_a_name_with_a_hidden_direction_or_control_is_refused_with_its_code() {
        for (typed, code) in [("a\u{202e}b", "U+202E"), ("a\u{1b}[2Jb", "U+001B"), ("a\u{2066}b", "U+2066")] {
            let refused = line("--name", typed, &mut Vec::new()).unwrap_err().to_string();
            assert!(refused.contains(code), "{refused}");
        }
        assert!(line("--name", " ", &mut Vec::new()).is_err());
        assert!(line("--name", "two\nlines", &mut Vec::new()).is_err());
        assert!(line("--name", &"a".repeat(513), &mut Vec::new()).is_err());
    }

    #[test]
    fn dates_come_as_day_time_or_duration() {
        let at = |typed| expires(typed, NOW).unwrap().to_string();
        assert_eq!(
            at("365d"),
            NOW.plus(std::time::Duration::from_secs(365 * 86_400)).to_string().replace(".123", ".000")
        );
        assert_eq!(at("2027-11-23"), "2027-11-23T00:00:00.000Z");
        assert_eq!(at("2027-11-23T09:00:00Z"), "2027-11-23T09:00:00.000Z");
        for wrong in ["2020-01-01", "soon", "", "2027-13-01"] {
            assert!(expires(wrong, NOW).is_err(), "{wrong}");
        }
    }
}
