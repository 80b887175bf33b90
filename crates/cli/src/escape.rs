//! Makes any text harmless on a terminal (threats B3, B4): whatever could move the cursor, change colours, ring, reorder
//! or hide what stands beside it becomes visible as `<U+001B>`.

use std::fmt::Write as _;

/// Whether a character may reach a terminal as it is. Space is the only white space that may: line ends and tabs
/// are layout, and layout is the screen's own.
fn is_harmless(character: char) -> bool {
    !(character.is_control()
        || matches!(character,
            // Embeddings, overrides and isolates reorder what stands around them.
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
            // Line and paragraph separators break lines on some terminals.
            | '\u{2028}' | '\u{2029}'
            // Nothing to see: zero-width space, word joiner and invisible operators, byte order mark, soft hyphen,
            // deprecated format characters, interlinear annotation, tags. ZWNJ and ZWJ stay: Persian needs them.
            | '\u{200B}' | '\u{2060}'..='\u{2065}' | '\u{206A}'..='\u{206F}' | '\u{FEFF}' | '\u{00AD}'
            | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}'))
}

/// One line of text, escaped. Line ends and tabs are escaped as well, so the result stays one line.
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmless(character) {
            out.push(character);
        } else {
            // Writing into a String cannot fail.
            let _ = write!(out, "<U+{:04X}>", u32::from(character));
        }
    }
    out
}

/// A text of several lines, each escaped; a tab becomes four spaces.
pub fn lines(text: &str) -> impl Iterator<Item = String> {
    text.split('\n').map(|part| line(&part.replace('\t', "    ")))
}

/// Bytes that should be text, on one line: what is not UTF-8 becomes `<FF>`.
pub fn bytes(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(&line(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(out, "<{byte:02X}>");
        }
    }
    out
}

/// JSON whose strings hold nothing that acts on a terminal: the same value, such characters written as `\uXXXX`.
/// Outside strings JSON has none of them but line ends, which stay.
pub fn json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character == '\n' || is_harmless(character) {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What may never reach a terminal, written down apart from the code under test.
    fn acts_on_a_terminal(character: char) -> bool {
        let code = u32::from(character);
        code < 0x20
            || (0x7f..0xa0).contains(&code)
            || (0x202a..=0x202e).contains(&code)
            || (0x2066..=0x2069).contains(&code)
            || code == 0x2028
            || code == 0x2029
    }

    #[test]
    fn b4_no_character_of_unicode_acts_on_the_terminal() {
        for character in '\0'..=char::MAX {
            let text = format!("a{character}b");
            let shown = line(&text);
            assert!(!shown.chars().any(acts_on_a_terminal), "U+{:04X}", u32::from(character));
            assert!(shown.starts_with('a') && shown.ends_with('b'));
            for part in lines(&text) {
                assert!(!part.chars().any(acts_on_a_terminal), "U+{:04X}", u32::from(character));
            }
        }
    }

    #[test]
    fn b4_no_byte_acts_on_the_terminal_wherever_it_stands() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let shown = bytes(&[b'a', first, second, b'b']);
                assert!(!shown.chars().any(acts_on_a_terminal), "{first:02x} {second:02x}");
            }
        }
    }

    #[test]
    fn b4_golden_escapes() {
        for (raw, shown) in [
            ("\u{1b}[2J\u{1b}]0;owned\u{7}", "<U+001B>[2J<U+001B>]0;owned<U+0007>"),
            ("\u{9b}31mred", "<U+009B>31mred"),
            ("safe\u{202e}txt.exe", "safe<U+202E>txt.exe"),
            ("one\r\ntwo", "one<U+000D><U+000A>two"),
            ("آزادی کشتیرانی می\u{200c}شود", "آزادی کشتیرانی می\u{200c}شود"),
            ("a\u{200b}\u{feff}b", "a<U+200B><U+FEFF>b"),
            ("tab\there", "tab<U+0009>here"),
        ] {
            assert_eq!(line(raw), shown);
        }
        assert_eq!(bytes(b"\xff\xc3(\xe2\x82"), "<FF><C3>(<E2><82>");
        assert_eq!(lines("a\tb\n\u{1b}c").collect::<Vec<_>>(), ["a    b", "<U+001B>c"]);
    }

    #[test]
    fn b4_json_keeps_its_value_and_holds_nothing_that_acts() {
        let text: String = ('\0'..=char::MAX).collect();
        let written = json(&serde_json::to_string_pretty(&[&text]).unwrap());
        assert!(!written.chars().any(|c| acts_on_a_terminal(c) && c != '\n'));
        assert_eq!(serde_json::from_str::<Vec<String>>(&written).unwrap(), [text]);
    }
}
