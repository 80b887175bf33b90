//! An acknowledgement: an officer's signed statement of receipt and understanding, not of agreement. A human
//! act, never automatic.

use super::read_body;
use crate::{
    document::{DocumentError, Fields, Writer},
    hash::DocumentId,
};

/// The content of an acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The dispatch that is acknowledged.
    pub of: DocumentId,
    /// A remark.
    pub note: Option<String>,
}

impl Acknowledgement {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, DocumentError> {
        Ok(Self { of: fields.parsed("of", str::parse)?, note: read_body(fields, "note")? })
    }

    pub(super) fn write(&self, writer: Writer) -> Writer {
        let writer = writer.string("of", &self.of.to_string());
        match &self.note {
            None => writer,
            Some(note) => writer.text("note", note),
        }
    }
}
