//! The forms of TOML that signed texts do without (docs/protocol.md §2.2): those that TOML 1.0 and 1.1 read
//! differently, and those that only give a second way to write the same. It looks at the very tokens
//! that the parser will read, so the two cannot disagree on where a string ends.

use toml_parser::{
    Source,
    lexer::{Token, TokenKind},
};

use super::reader::Problem;

/// Where in a statement the next token stands.
#[derive(Clone, Copy)]
enum Place {
    /// Before the first token of a line.
    Start,
    /// Between the brackets of `[table]`, after so many dots.
    Header(u32),
    /// After a key, before `=`.
    Key,
    /// After `=`, so many brackets deep.
    Value(u32),
    /// Where only a comment may follow, or what the parser will refuse.
    Rest,
}

/// The first form in `text` that is refused, with its offset in bytes. Says nothing of whether the rest is TOML.
pub(super) fn refused(text: &str) -> Option<(usize, Problem)> {
    let mut place = Place::Start;
    for token in Source::new(text).lex() {
        let raw = text.get(token.span().start()..token.span().end()).unwrap_or_default();
        match step(place, &token, raw) {
            Ok(next) => place = next,
            Err((within, problem)) => return Some((token.span().start() + within, problem)),
        }
    }
    None
}

fn step(place: Place, token: &Token, raw: &str) -> Result<Place, (usize, Problem)> {
    let refuse = |why| Err((0, Problem::Form(why)));
    let is_string = matches!(
        token.kind(),
        TokenKind::BasicString
            | TokenKind::LiteralString
            | TokenKind::MlBasicString
            | TokenKind::MlLiteralString
    );
    match (place, token.kind()) {
        (Place::Value(depth), TokenKind::Newline) if depth > 0 => Ok(place),
        (_, TokenKind::Newline) => Ok(Place::Start),
        (_, TokenKind::Whitespace | TokenKind::Comment) => Ok(place),
        (Place::Start, TokenKind::LeftSquareBracket) => Ok(Place::Header(0)),
        (Place::Start | Place::Header(_), TokenKind::Atom) if !is_plain(raw) => {
            refuse("a key is made of ASCII letters, digits, `-` and `_`")
        }
        (Place::Start, TokenKind::Atom) => Ok(Place::Key),
        (Place::Start | Place::Header(_), _) if is_string => refuse("a key is written without quotes"),
        (Place::Key, TokenKind::Dot) => refuse("a key with dots is not used here: begin a table, [NAME]"),
        (Place::Key, TokenKind::Equals) => Ok(Place::Value(0)),
        (Place::Value(_), TokenKind::LeftCurlyBracket) => {
            refuse("a table in braces is not used here: begin a table, [NAME]")
        }
        (Place::Value(0), TokenKind::LeftSquareBracket) => Ok(Place::Value(1)),
        (Place::Value(_), TokenKind::LeftSquareBracket) => refuse("a list within a list is not used here"),
        (Place::Value(depth), TokenKind::RightSquareBracket) => Ok(Place::Value(depth.saturating_sub(1))),
        (Place::Value(_), TokenKind::BasicString | TokenKind::MlBasicString) => match new_escape(raw) {
            None => Ok(place),
            Some(within) => Err((within, Problem::Form("the escapes \\e and \\x are not used here"))),
        },
        (Place::Header(0), TokenKind::Dot) => Ok(Place::Header(1)),
        (Place::Header(_), TokenKind::Dot) => refuse("tables lie at most two deep, [NAME.NAME]"),
        (
            Place::Header(_),
            TokenKind::Atom | TokenKind::RightSquareBracket | TokenKind::LeftSquareBracket,
        )
        | (Place::Value(_), _) => Ok(place),
        _ => Ok(Place::Rest),
    }
}

fn is_plain(key: &str) -> bool {
    key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// The escapes that TOML 1.1 added to 1.0.
fn new_escape(raw: &str) -> Option<usize> {
    let mut bytes = raw.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if byte == b'\\' && matches!(bytes.next(), Some((_, b'e' | b'x'))) {
            return Some(at);
        }
    }
    None
}
