//! A statement: discussion, within a case or outside any.

use super::need_body;
use crate::{
    document::{DocumentError, Fields, Writer},
    hash::DocumentId,
};

/// The content of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The notice of the case it belongs to, if any.
    pub case: Option<DocumentId>,
    /// One line.
    pub title: Option<String>,
    /// The text.
    pub body: String,
}

impl Statement {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, DocumentError> {
        Ok(Self {
            case: fields.optional("case", str::parse)?,
            title: fields.optional_line("title")?,
            body: need_body(fields, "body")?,
        })
    }

    pub(super) fn write(&self, writer: Writer) -> Writer {
        writer
            .optional("case", self.case.map(|case| case.to_string()).as_deref())
            .optional("title", self.title.as_deref())
            .text("body", &self.body)
    }
}
