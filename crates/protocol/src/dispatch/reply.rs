//! A reply: the position that a party takes on a case.

use super::{need_body, terms::terms};
use crate::{
    document::{DocumentError, Fields, Writer},
    hash::DocumentId,
};

terms! {
    /// What the party says to the notice.
    Position ("a position") {
        /// It happened as stated.
        Confirm = "confirm",
        /// It did not happen.
        Deny = "deny",
        /// It happened, and here is why.
        Explain = "explain",
        /// Being looked into.
        Investigating = "investigating",
        /// It has been put right.
        Remedied = "remedied",
        /// The other side is in breach.
        Counter = "counter",
        /// This party does not answer for what happened.
        NoCompetence = "no-competence",
    }
}

/// The content of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The notice of the case.
    pub case: DocumentId,
    /// The position taken.
    pub position: Position,
    /// The text.
    pub body: String,
}

impl Reply {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, DocumentError> {
        Ok(Self {
            case: fields.parsed("case", str::parse)?,
            position: fields.parsed("position", str::parse)?,
            body: need_body(fields, "body")?,
        })
    }

    pub(super) fn write(&self, writer: Writer) -> Writer {
        writer
            .string("case", &self.case.to_string())
            .string("position", self.position.as_str())
            .text("body", &self.body)
    }
}
