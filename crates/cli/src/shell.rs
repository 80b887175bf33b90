//! Words as a shell takes them: what a help line tells to type must mean what it says.

use std::{ffi::OsStr, fmt::Write as _, path::Path};

use crate::escape;

/// A word as a shell takes it.
pub fn word(word: &OsStr) -> String {
    // A shell that expands `=ls` does it at the beginning of a word only.
    let plain =
        |(at, c): (usize, char)| c.is_ascii_alphanumeric() || "/._-+:@,%".contains(c) || c == '=' && at > 0;
    match word.to_str() {
        Some(text) if !text.is_empty() && text.char_indices().all(plain) => text.to_owned(),
        Some(text) if escape::line(text) == text => format!("'{}'", text.replace('\'', r"'\''")),
        _ => in_octal(word.as_encoded_bytes()),
    }
}

/// A path as a shell takes it.
pub fn path(path: &Path) -> String {
    word(path.as_os_str())
}

/// What a terminal would not show as it is, in the one form of quotes that spells it out.
fn in_octal(bytes: &[u8]) -> String {
    let mut text = String::from("$'");
    for byte in bytes {
        match byte {
            b' '..=b'~' if !b"'\\".contains(byte) => text.push(char::from(*byte)),
            // Writing into a String cannot fail.
            _ => {
                let _ = write!(text, "\\{byte:03o}");
            }
        }
    }
    text + "'"
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_word_is_quoted_only_where_a_shell_needs_it() {
        assert_eq!(path(Path::new("kept/demarche-breach-1a.json")), "kept/demarche-breach-1a.json");
        assert_eq!(path(Path::new("my files/it's")), r"'my files/it'\''s'");
        assert_eq!(word(OsStr::new("")), "''");
        assert_eq!(word(OsStr::new("=ls")), "'=ls'");
        assert_eq!(word(OsStr::new("$HOME `x` \"y\"")), "'$HOME `x` \"y\"'");
        assert_eq!(word(OsStr::new("Boárding")), "'Boárding'");
    }

    #[test]
    fn what_does_not_show_is_spelt_out() {
        assert_eq!(word(OsStr::new("a\tb'c")), r"$'a\011b\047c'");
        assert_eq!(word(OsStr::from_bytes(b"a\xff")), r"$'a\377'");
    }
}
