//! What a step of the ceremony tells: what was done or found, who or what is missing, and what to type next.

use serde_json::Value;

/// The words of one step. Texts are as they are in the documents; they are escaped when printed.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// What was done or found, one a line.
    pub(super) lines: Vec<String>,
    /// What to do next, in words or as a command.
    pub(super) next: Vec<String>,
    /// A document's own text, byte for byte where no terminal is.
    pub(super) text: Option<String>,
    /// The same for programs.
    pub(super) json: Value,
    /// Whether the step did what was asked, or found what should be: else exit 1.
    pub(super) incomplete: bool,
}

impl Said {
    pub(super) fn new(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()], ..Self::default() }
    }

    pub(super) fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    pub(super) fn lines(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.lines.extend(lines);
        self
    }

    pub(super) fn next(mut self, next: impl Into<String>) -> Self {
        self.next.push(next.into());
        self
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    pub(super) fn json(mut self, json: Value) -> Self {
        self.json = json;
        self
    }
}
