//! Strict reading of a document's text (docs/protocol.md §2). Everything is refused that two readers could
//! understand differently: unknown or repeated keys, other types, text that is not NFC, control and
//! bidirectional characters (threat B2). Every refusal names line and column.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use unicode_normalization::UnicodeNormalization as _;

use super::{DocumentType, shape};
use crate::{limits, time::Timestamp};

/// A place in a text, counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Position {
    fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).map_or(0, |line| line.chars().count()) + 1,
        }
    }
}

/// Why a text is not the document it should be.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {}, column {}: {problem}", at.line, at.column)]
pub struct DocumentError {
    /// Where.
    pub at: Position,
    /// What.
    pub problem: Problem,
}

/// What is wrong with a text at one place.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Problem {
    /// Bytes that are not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Not TOML; the parser's words.
    #[error("{0}")]
    Syntax(String),
    /// A key or a table that stands there already.
    #[error("`{0}` stands twice")]
    Repeated(String),
    /// A form of TOML that signed texts do without.
    #[error("{0}")]
    Form(&'static str),
    /// The first line does not name a document type.
    #[error("the first line must be `demarche = \"TYPE/1\"`")]
    NoType,
    /// A type or version that this program does not know.
    #[error("a document of type `{0}` is not known here")]
    UnknownType(String),
    /// A document of another type than was asked for.
    #[error("a document of type {found}, where one of type {wanted} is needed")]
    WrongType {
        /// What it is.
        found: DocumentType,
        /// What is needed.
        wanted: DocumentType,
    },
    /// A key that this type of document does not have.
    #[error("unknown key `{0}`")]
    UnknownKey(String),
    /// A key that must be there is not.
    #[error("key `{0}` is missing")]
    Missing(String),
    /// The value has another type than the key wants.
    #[error("`{key}` must be {wanted}, not {found}")]
    Type {
        /// The key.
        key: String,
        /// What it must be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// The value has the right type but is not allowed.
    #[error("`{key}`: {why}")]
    Value {
        /// The key.
        key: String,
        /// Why not.
        why: String,
    },
    /// A character that may not stand in a signed text.
    #[error("the character U+{:04X} is not allowed", u32::from(*.0))]
    Character(char),
    /// The text is not in Unicode normalisation form C.
    #[error("the text is not in Unicode normal form C")]
    NotNfc,
    /// The whole text is too long.
    #[error("the text has {0} bytes; at most {max} are allowed", max = limits::DOCUMENT_TEXT)]
    TooLong(usize),
}

/// The first character of `text` that may not stand in a document, with its offset in bytes.
pub fn forbidden_character(text: &str) -> Option<(usize, char)> {
    text.char_indices().find(|(_, character)| is_forbidden(*character))
}

fn is_forbidden(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        // Explicit embeddings, overrides and isolates turn what follows around on the screen; line and paragraph
        // separator end a line for some readers only; a byte order mark is dropped by some only.
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{FEFF}' => true,
        other => other.is_control(),
    }
}

/// The text that some bytes are; the refusal says where they are not UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str, DocumentError> {
    std::str::from_utf8(bytes).map_err(|why| {
        let good = bytes.get(..why.valid_up_to()).and_then(|good| std::str::from_utf8(good).ok());
        let good = good.unwrap_or_default();
        DocumentError { at: Position::of(good, good.len()), problem: Problem::NotUtf8 }
    })
}

/// Offset of the first character at which `text` departs from its normal form C.
pub fn not_nfc(text: &str) -> Option<usize> {
    if unicode_normalization::is_nfc(text) {
        return None;
    }
    let same: usize =
        text.chars().zip(text.nfc()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    Some(same)
}

/// The keys and values of one table, taken out one by one; what is left over at [`Fields::finish`] is unknown.
pub struct Fields<'a> {
    text: &'a str,
    path: String,
    start: usize,
    entries: Vec<Entry<'a>>,
    /// Where each value stands, kept after it is taken, for refusals that come later.
    places: BTreeMap<String, usize>,
}

struct Entry<'a> {
    key: String,
    at: usize,
    value: Spanned<DeValue<'a>>,
}

impl<'a> Fields<'a> {
    /// The fields of a document of type `wanted`, its first key already taken.
    pub fn of(text: &'a str, wanted: DocumentType) -> Result<Self, DocumentError> {
        let fields = Self::of_any(text)?;
        if fields.0 == wanted {
            Ok(fields.1)
        } else {
            let problem = Problem::WrongType { found: fields.0, wanted };
            Err(DocumentError { at: Position { line: 1, column: 1 }, problem })
        }
    }

    /// The type and the remaining fields of a document.
    pub fn of_any(text: &'a str) -> Result<(DocumentType, Self), DocumentError> {
        let error = |offset, problem| DocumentError { at: Position::of(text, offset), problem };
        clean(text)?;
        // The first line comes first: a later version may differ in everything else.
        let kind = match super::named_type(text) {
            None => return Err(error(0, Problem::NoType)),
            Some(named) => DocumentType::named(named)
                .ok_or_else(|| error(TYPE_AT, Problem::UnknownType(named.to_owned())))?,
        };
        if let Some((offset, problem)) = shape::refused(text) {
            return Err(error(offset, problem));
        }
        let mut fields = Self::of_clean(text)?;
        fields.string("demarche")?;
        Ok((kind, fields))
    }

    /// The fields of a TOML text that nobody signs, such as `provisions.toml`: characters, types and keys are as
    /// strict as a document's, but any form of TOML 1.0 will do.
    pub fn of_toml(text: &'a str) -> Result<Self, DocumentError> {
        clean(text)?;
        Self::of_clean(text)
    }

    fn of_clean(text: &'a str) -> Result<Self, DocumentError> {
        let table = DeTable::parse(text).map_err(|source| {
            let span = source.span().unwrap_or(0..0);
            let problem = if source.message() == "duplicate key" {
                Problem::Repeated(text.get(span.clone()).unwrap_or_default().escape_debug().to_string())
            } else {
                Problem::Syntax(source.message().trim().replace('\n', ", "))
            };
            DocumentError { at: Position::of(text, span.start), problem }
        })?;
        Ok(Self::from_table(text, String::new(), 0, table.into_inner()))
    }

    fn from_table(text: &'a str, path: String, start: usize, table: DeTable<'a>) -> Self {
        let mut entries: Vec<Entry<'a>> = table
            .into_iter()
            .map(|(key, value)| Entry { at: key.span().start, key: key.into_inner().into_owned(), value })
            .collect();
        entries.sort_by_key(|entry| entry.at);
        let places = entries.iter().map(|entry| (entry.key.clone(), entry.value.span().start)).collect();
        Self { text, path, start, entries, places }
    }

    fn take(&mut self, key: &str) -> Option<Entry<'a>> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn error(&self, offset: usize, problem: Problem) -> DocumentError {
        DocumentError { at: Position::of(self.text, offset), problem }
    }

    /// An error about the value of `key`, taken or not; about the table as a whole where there is none.
    pub fn refuse(&self, key: &str, why: impl fmt::Display) -> DocumentError {
        let at = self.places.get(key).copied().unwrap_or(self.start);
        self.error(at, Problem::Value { key: self.path_of(key), why: why.to_string() })
    }

    fn missing(&self, key: &str) -> DocumentError {
        self.error(self.start, Problem::Missing(self.path_of(key)))
    }

    fn wrong_type(&self, key: &str, wanted: &'static str, value: &Spanned<DeValue<'a>>) -> DocumentError {
        let found = type_name(value.get_ref());
        self.error(value.span().start, Problem::Type { key: self.path_of(key), wanted, found })
    }

    fn text_of(&self, key: &str, value: &Spanned<DeValue<'a>>) -> Result<String, DocumentError> {
        let at = value.span().start;
        let DeValue::String(string) = value.get_ref() else {
            return Err(self.wrong_type(key, "a string", value));
        };
        // Escapes such as \u202E bring in what the raw text may not hold.
        if let Some((_, character)) = forbidden_character(string) {
            return Err(self.error(at, Problem::Character(character)));
        }
        if not_nfc(string).is_some() {
            return Err(self.error(at, Problem::NotNfc));
        }
        Ok(string.clone().into_owned())
    }

    /// A string that may be absent.
    pub fn optional_string(&mut self, key: &str) -> Result<Option<String>, DocumentError> {
        self.take(key).map(|entry| self.text_of(key, &entry.value)).transpose()
    }

    /// A string.
    pub fn string(&mut self, key: &str) -> Result<String, DocumentError> {
        self.optional_string(key)?.ok_or_else(|| self.missing(key))
    }

    /// A string that `parse` understands, or absent; its refusal is reported at the value.
    pub fn optional<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, DocumentError> {
        let Some(entry) = self.take(key) else { return Ok(None) };
        let at = entry.value.span().start;
        let text = self.text_of(key, &entry.value)?;
        let refuse = |why: E| self.error(at, Problem::Value { key: self.path_of(key), why: why.to_string() });
        parse(&text).map(Some).map_err(refuse)
    }

    /// A string that `parse` understands.
    pub fn parsed<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, DocumentError> {
        self.optional(key, parse)?.ok_or_else(|| self.missing(key))
    }

    /// A string of one line, neither empty nor longer than [`limits::LINE`], or absent.
    pub fn optional_line(&mut self, key: &str) -> Result<Option<String>, DocumentError> {
        self.optional(key, |text| {
            if text.trim().is_empty() {
                Err("must not be empty".to_owned())
            } else if text.contains('\n') {
                Err("must be one line".to_owned())
            } else if text.len() > limits::LINE {
                Err(format!("has {} bytes; at most {} are allowed", text.len(), limits::LINE))
            } else {
                Ok(text.to_owned())
            }
        })
    }

    /// A string of one line.
    pub fn line(&mut self, key: &str) -> Result<String, DocumentError> {
        self.optional_line(key)?.ok_or_else(|| self.missing(key))
    }

    /// A whole number within `1..=max`, or absent.
    pub fn optional_number(&mut self, key: &str, max: u64) -> Result<Option<u64>, DocumentError> {
        let Some(entry) = self.take(key) else { return Ok(None) };
        let at = entry.value.span().start;
        let DeValue::Integer(integer) = entry.value.get_ref() else {
            return Err(self.wrong_type(key, "a whole number", &entry.value));
        };
        // Decimal digits alone: signs, underscores and other bases are second ways to write the same.
        let raw = self.text.get(entry.value.span()).unwrap_or_default();
        let plain = integer.radix() == 10 && raw.bytes().all(|byte| byte.is_ascii_digit());
        if !plain {
            let why = "must be written in decimal digits alone".to_owned();
            return Err(self.error(at, Problem::Value { key: self.path_of(key), why }));
        }
        let number = raw.parse().ok().filter(|number| (1..=max).contains(number));
        let why = format!("must be between 1 and {max}");
        number.map(Some).ok_or_else(|| self.error(at, Problem::Value { key: self.path_of(key), why }))
    }

    /// A whole number within `1..=max`.
    pub fn number(&mut self, key: &str, max: u64) -> Result<u64, DocumentError> {
        self.optional_number(key, max)?.ok_or_else(|| self.missing(key))
    }

    /// A UTC date-time, or absent.
    pub fn optional_time(&mut self, key: &str) -> Result<Option<Timestamp>, DocumentError> {
        let Some(entry) = self.take(key) else { return Ok(None) };
        let span = entry.value.span();
        if !entry.value.get_ref().is_datetime() {
            return Err(self.wrong_type(key, "a UTC date-time", &entry.value));
        }
        let raw = self.text.get(span.clone()).unwrap_or_default();
        raw.parse().map(Some).map_err(|why: crate::time::TimestampError| {
            self.error(span.start, Problem::Value { key: self.path_of(key), why: why.to_string() })
        })
    }

    /// A UTC date-time.
    pub fn time(&mut self, key: &str) -> Result<Timestamp, DocumentError> {
        self.optional_time(key)?.ok_or_else(|| self.missing(key))
    }

    /// A list of strings that `parse` understands, at most `max` and none twice; absent is empty.
    pub fn list<T, E: fmt::Display>(
        &mut self,
        key: &str,
        max: usize,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, DocumentError> {
        let Some(entry) = self.take(key) else { return Ok(Vec::new()) };
        let at = entry.value.span().start;
        if !entry.value.get_ref().is_array() {
            return Err(self.wrong_type(key, "a list of strings", &entry.value));
        }
        let DeValue::Array(items) = entry.value.into_inner() else { return Ok(Vec::new()) };
        let refuse = |at, why: String| self.error(at, Problem::Value { key: self.path_of(key), why });
        if items.len() > max {
            return Err(refuse(at, format!("has {} items; at most {max} are allowed", items.len())));
        }
        let mut seen = BTreeSet::new();
        items
            .into_iter()
            .map(|item| {
                let at = item.span().start;
                let text = self.text_of(key, &item)?;
                let value = parse(&text).map_err(|why| refuse(at, why.to_string()))?;
                if seen.insert(text) { Ok(value) } else { Err(refuse(at, "this item stands twice".into())) }
            })
            .collect()
    }

    /// A table, or absent.
    pub fn optional_table(&mut self, key: &str) -> Result<Option<Fields<'a>>, DocumentError> {
        let Some(entry) = self.take(key) else { return Ok(None) };
        if !entry.value.get_ref().is_table() {
            return Err(self.wrong_type(key, "a table", &entry.value));
        }
        let DeValue::Table(table) = entry.value.into_inner() else { return Ok(None) };
        Ok(Some(Self::from_table(self.text, self.path_of(key), entry.at, table)))
    }

    /// A table.
    pub fn table(&mut self, key: &str) -> Result<Fields<'a>, DocumentError> {
        self.optional_table(key)?.ok_or_else(|| self.missing(key))
    }

    /// The tables of `[[key]]`, at most `max`; absent is empty.
    pub fn tables(&mut self, key: &str, max: usize) -> Result<Vec<Fields<'a>>, DocumentError> {
        let Some(entry) = self.take(key) else { return Ok(Vec::new()) };
        if !entry.value.get_ref().is_array() {
            return Err(self.wrong_type(key, "tables, each begun by [[…]]", &entry.value));
        }
        let DeValue::Array(items) = entry.value.into_inner() else { return Ok(Vec::new()) };
        if items.len() > max {
            let why = format!("stands {} times; at most {max} are allowed", items.len());
            return Err(self.error(entry.at, Problem::Value { key: self.path_of(key), why }));
        }
        items
            .into_iter()
            .map(|item| {
                let start = item.span().start;
                if !item.get_ref().is_table() {
                    return Err(self.wrong_type(key, "tables, each begun by [[…]]", &item));
                }
                let DeValue::Table(table) = item.into_inner() else { return Err(self.missing(key)) };
                Ok(Self::from_table(self.text, self.path_of(key), start, table))
            })
            .collect()
    }

    /// The keys still there, in the order of the text.
    pub fn keys(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.key.clone()).collect()
    }

    /// Refuses whatever was not taken.
    pub fn finish(self) -> Result<(), DocumentError> {
        match self.entries.first() {
            None => Ok(()),
            Some(entry) => Err(self.error(entry.at, Problem::UnknownKey(self.path_of(&entry.key)))),
        }
    }
}

/// Offset of TYPE in `demarche = "TYPE/1"`.
const TYPE_AT: usize = "demarche = \"".len();

/// Length and characters, before anything is parsed.
fn clean(text: &str) -> Result<(), DocumentError> {
    let error = |offset, problem| Err(DocumentError { at: Position::of(text, offset), problem });
    if text.len() > limits::DOCUMENT_TEXT {
        return error(0, Problem::TooLong(text.len()));
    }
    // Nearly every line of nearly every text: nothing of it is forbidden, and nothing composes.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t')) {
        return Ok(());
    }
    if let Some((offset, character)) = forbidden_character(text) {
        return error(offset, Problem::Character(character));
    }
    match not_nfc(text) {
        None => Ok(()),
        Some(offset) => error(offset, Problem::NotNfc),
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
