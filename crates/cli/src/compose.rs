//! Composing is kind: what a person typed or pasted is made fit for a signed text, and every change is told before
//! anything is signed. What cannot be mended is refused with its place.

use demarche_protocol::{dispatch::Dispatch, document::SignedDocument, limits};
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

use crate::error::{Result, refused};

/// A text fit to be signed, and what was changed to make it so.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tidied {
    /// The text.
    pub text: String,
    /// What was changed, each as `removed 2 invisible or control characters (U+202E)`.
    pub changes: Vec<String>,
}

/// Reads bytes as text. `what` names them in the refusal, which says where they stop being UTF-8.
pub fn decode(bytes: Vec<u8>, what: &str) -> Result<String> {
    String::from_utf8(bytes).map_err(|why| {
        let good = why.utf8_error().valid_up_to();
        let bytes = why.as_bytes();
        let before = String::from_utf8_lossy(bytes.get(..good).unwrap_or_default()).into_owned();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        let byte = bytes.get(good).copied().unwrap_or_default();
        refused(format!("{what} is not UTF-8: byte 0x{byte:02X} at line {line}, column {column}"))
            .help("convert it first, for example: iconv -f WINDOWS-1252 -t UTF-8 FILE")
    })
}

/// Normalises a text of several lines: no byte order mark, LF line ends, no white space at line ends nor around the
/// whole, normal form C, no characters that a signed text may not hold.
pub fn tidy(raw: &str) -> Tidied {
    let mut changes = Vec::new();
    let mut text = raw.to_owned();
    if let Some(rest) = text.strip_prefix('\u{FEFF}') {
        text = rest.to_owned();
        changes.push("removed the byte order mark".to_owned());
    }
    if text.contains('\r') {
        text = text.replace("\r\n", "\n").replace('\r', "\n");
        changes.push("line ends are now LF".to_owned());
    }
    text = without_forbidden(&text, &mut changes);
    if !is_nfc(&text) {
        text = text.nfc().collect();
        changes.push("put into Unicode normal form C; it looks the same".to_owned());
    }
    let lines: Vec<&str> = text.split('\n').map(|line| line.trim_end_matches([' ', '\t'])).collect();
    let trimmed = lines.join("\n");
    // An editor's newline at the end is not worth a word.
    if trimmed.len() != text.len() {
        changes.push("removed white space at line ends".to_owned());
    }
    Tidied { text: trimmed.trim_matches('\n').to_owned(), changes }
}

fn without_forbidden(text: &str, changes: &mut Vec<String>) -> String {
    let mut removed: Vec<char> = Vec::new();
    let mut count = 0;
    let mut buffer = [0; 4];
    let kept = text.chars().filter(|character| {
        let text = character.encode_utf8(&mut buffer);
        let forbidden = demarche_protocol::document::reader::forbidden_character(text).is_some();
        // A mark inside the text is invisible; it is the only other thing that never carries meaning.
        let forbidden = forbidden || *character == '\u{FEFF}';
        if forbidden {
            count += 1;
            if !removed.contains(character) {
                removed.push(*character);
            }
        }
        !forbidden
    });
    let kept = kept.collect();
    if count > 0 {
        let names: Vec<String> = removed.iter().map(|c| format!("U+{:04X}", u32::from(*c))).collect();
        let characters = if count == 1 { "character" } else { "characters" };
        changes.push(format!("removed {count} control or direction {characters} ({})", names.join(", ")));
    }
    kept
}

/// Normalises a text of one line. `what` names it in refusals; `id` is its argument, if it was one.
pub fn tidy_line(
    what: &str,
    id: Option<&'static str>,
    raw: &str,
    changes: &mut Vec<String>,
) -> Result<String> {
    let wrong = |why: String| {
        let failure = refused(format!("{what} {why}"));
        Err(match id {
            Some(id) => failure.wrong(id),
            None => failure,
        })
    };
    let tidied = tidy(raw);
    let text = tidied.text.trim().to_owned();
    if text.is_empty() {
        return wrong("is empty".to_owned());
    }
    if text.contains('\n') {
        return wrong("must be one line".to_owned());
    }
    if text.len() > limits::LINE {
        return wrong(format!("has {} bytes; at most {} are allowed", text.len(), limits::LINE));
    }
    changes.extend(tidied.changes.into_iter().map(|change| format!("{what}: {change}")));
    Ok(text)
}

/// Refuses prose that is missing or too long. `what` names it.
pub fn check_body(what: &str, body: &str) -> Result<()> {
    if body.trim().is_empty() {
        return Err(refused(format!("{what} is empty")));
    }
    if body.len() > limits::BODY {
        return Err(refused(format!(
            "{what} has {} bytes; at most {} are allowed",
            body.len(),
            limits::BODY
        ))
        .help("shorten it, or say the rest in the case: demarche say --case CASE < rest"));
    }
    Ok(())
}

/// The first line that is not empty, and what follows it.
pub fn split_title(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches('\n');
    let (title, rest) = text.split_once('\n').unwrap_or((text, ""));
    (title.trim(), rest.trim_matches('\n'))
}

/// The text to sign. Read back strictly before anybody signs it, so that only what every node takes is signed.
pub fn render(dispatch: &Dispatch) -> Result<SignedDocument> {
    let text = dispatch.render();
    if text.len() > limits::DOCUMENT_TEXT {
        return Err(refused(format!(
            "the document would have {} bytes; at most {} are allowed",
            text.len(),
            limits::DOCUMENT_TEXT
        ))
        .help("shorten the text; backslashes and quotes count twice"));
    }
    match Dispatch::parse(&text) {
        Ok(read) if read == *dispatch => Ok(SignedDocument::unsigned(text)),
        Ok(_) => {
            Err(refused("the text cannot be written down so that it reads back the same; nothing was signed"))
        }
        Err(why) => Err(refused(format!("the text would be refused everywhere: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b2_what_is_pasted_is_mended_and_every_change_told() {
        let tidied = tidy("\u{FEFF}Boa\u{0301}rding \r\nof\u{202E} a\u{7} vessel\t\r\n\r\n");
        assert_eq!(tidied.text, "Boárding\nof a vessel");
        assert_eq!(
            tidied.changes,
            [
                "removed the byte order mark",
                "line ends are now LF",
                "removed 2 control or direction characters (U+202E, U+0007)",
                "put into Unicode normal form C; it looks the same",
                "removed white space at line ends",
            ]
        );
        assert_eq!(tidy(&tidied.text), Tidied { text: tidied.text.clone(), changes: Vec::new() });
    }

    #[test]
    fn a_clean_text_is_left_alone_and_persian_keeps_its_joiners() {
        let text = "می\u{200C}شود\n\n\tindented\nend";
        assert_eq!(tidy(text), Tidied { text: text.to_owned(), changes: Vec::new() });
        assert!(tidy("one line\n").changes.is_empty());
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_with_their_place() {
        let failure = decode(b"one\nt\xc3\xa9w\xff".to_vec(), "the text").unwrap_err();
        assert_eq!(failure.what, "the text is not UTF-8: byte 0xFF at line 2, column 4");
        assert_eq!(failure.exit, crate::exit::Exit::Refused);
    }

    #[test]
    fn a_title_is_the_first_line_with_anything_on_it() {
        assert_eq!(split_title("\n\nBoarding\n\nAt 09:31\n"), ("Boarding", "At 09:31"));
        assert_eq!(split_title("Boarding"), ("Boarding", ""));
        assert_eq!(split_title(""), ("", ""));
    }

    #[test]
    fn lines_and_bodies_have_their_limits() {
        let long = "x".repeat(limits::LINE + 1);
        assert!(
            tidy_line("--title", None, &long, &mut Vec::new())
                .unwrap_err()
                .what
                .contains("513 bytes; at most 512")
        );
        assert!(tidy_line("--title", None, "a\nb", &mut Vec::new()).unwrap_err().what.contains("one line"));
        let long = "x".repeat(limits::BODY + 1);
        assert!(check_body("the text", &long).unwrap_err().what.contains("at most 32768"));
    }
}
