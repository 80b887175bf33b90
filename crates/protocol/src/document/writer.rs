//! The fixed rendering of a document (docs/protocol.md §2.6): keys in the order they are given, one form for each kind of value.
//! Reading back what was written always gives the same values.

use std::fmt::Write as _;

use super::DocumentType;
use crate::time::Timestamp;

/// Builds a text field by field.
pub struct Writer(String);

impl Writer {
    /// A document of this type: its first line is written.
    pub fn new(kind: DocumentType) -> Self {
        Self(format!("demarche = \"{}/1\"\n", kind.name()))
    }

    fn put(mut self, key: &str, value: &str) -> Self {
        // Writing into a String cannot fail.
        let _ = writeln!(self.0, "{key} = {value}");
        self
    }

    /// A string on one line.
    #[must_use]
    pub fn string(self, key: &str, value: &str) -> Self {
        let quoted = quote(value);
        self.put(key, &quoted)
    }

    /// A string, if there is one.
    #[must_use]
    pub fn optional(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.string(key, value),
            None => self,
        }
    }

    /// A text of several lines, readable as it stands.
    #[must_use]
    pub fn text(self, key: &str, value: &str) -> Self {
        let quoted = quote_lines(value);
        self.put(key, &quoted)
    }

    /// A whole number.
    #[must_use]
    pub fn number(self, key: &str, value: u64) -> Self {
        self.put(key, &value.to_string())
    }

    /// A UTC date-time.
    #[must_use]
    pub fn time(self, key: &str, value: Timestamp) -> Self {
        self.put(key, &value.to_string())
    }

    /// A UTC date-time, if there is one.
    #[must_use]
    pub fn optional_time(self, key: &str, value: Option<Timestamp>) -> Self {
        match value {
            Some(value) => self.time(key, value),
            None => self,
        }
    }

    /// A list of strings; left out when empty, one item a line when there are several.
    #[must_use]
    pub fn list<S: AsRef<str>>(self, key: &str, values: &[S]) -> Self {
        match values {
            [] => self,
            [one] => {
                let value = format!("[{}]", quote(one.as_ref()));
                self.put(key, &value)
            }
            several => {
                let items: String = several
                    .iter()
                    .fold(String::new(), |out, item| out + "  " + &quote(item.as_ref()) + ",\n");
                self.put(key, &format!("[\n{items}]"))
            }
        }
    }

    /// Begins the table `[name]`.
    #[must_use]
    pub fn table(mut self, name: &str) -> Self {
        let _ = write!(self.0, "\n[{name}]\n");
        self
    }

    /// Begins one more table of `[[name]]`.
    #[must_use]
    pub fn next_table(mut self, name: &str) -> Self {
        let _ = write!(self.0, "\n[[{name}]]\n");
        self
    }

    /// A comment line, for texts that people will edit before signing.
    #[must_use]
    pub fn comment(mut self, line: &str) -> Self {
        for line in line.lines() {
            let _ = writeln!(self.0, "# {line}");
        }
        self
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

fn quote(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// A multi-line basic string (TOML 1.0, "String"): the newline after the opening quotes does not count. A quote is
/// escaped where it follows another one or ends the text, so that no three ever stand together.
fn quote_lines(value: &str) -> String {
    if !value.contains('\n') {
        return quote(value);
    }
    let mut out = String::with_capacity(value.len() + 8);
    out.push_str("\"\"\"\n");
    let mut rest = value.chars().peekable();
    let mut after_quote = false;
    while let Some(character) = rest.next() {
        match character {
            '"' if after_quote || rest.peek().is_none() => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            other => out.push(other),
        }
        after_quote = character == '"';
    }
    out.push_str("\"\"\"");
    out
}
