//! A notice of breach (docs/protocol.md §4.7): which provision, what happened, when, where, and what is asked. Opens a case.

use super::{Confidence, Means, read_body};
use crate::{
    charter::{check_code, policy::Span},
    document::{DocumentError, Fields, Writer},
    time::Timestamp,
};

/// When it happened: a moment, or from a moment to a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurred {
    /// Begin.
    pub from: Timestamp,
    /// End, if it was not a moment.
    pub to: Option<Timestamp>,
}

/// By when a reply is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyBy {
    /// So long after delivery.
    Within(Span),
    /// At this moment.
    At(Timestamp),
}

/// The content of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The code of the provision that was breached.
    pub provision: String,
    /// One line.
    pub title: String,
    /// The account.
    pub body: Option<String>,
    /// When.
    pub occurred: Option<Occurred>,
    /// Where.
    pub place: Option<String>,
    /// How it became known.
    pub means: Option<Means>,
    /// How sure.
    pub confidence: Option<Confidence>,
    /// What is asked of the other side.
    pub request: Option<String>,
    /// By when a reply is asked.
    pub reply_by: Option<ReplyBy>,
}

impl Breach {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, DocumentError> {
        let provision = fields.parsed("provision", |text| check_code(text).map(|()| text.to_owned()))?;
        let title = fields.line("title")?;
        let occurred = read_occurred(fields)?;
        Ok(Self {
            provision,
            title,
            occurred,
            place: fields.optional_line("place")?,
            means: fields.optional("means", str::parse)?,
            confidence: fields.optional("confidence", str::parse)?,
            request: fields.optional_line("request")?,
            reply_by: read_reply_by(fields)?,
            body: read_body(fields, "body")?,
        })
    }

    pub(super) fn write(&self, writer: Writer) -> Writer {
        let writer = writer
            .string("provision", &self.provision)
            .string("title", &self.title)
            .optional_time("occurred_from", self.occurred.map(|occurred| occurred.from))
            .optional_time("occurred_to", self.occurred.and_then(|occurred| occurred.to))
            .optional("place", self.place.as_deref())
            .optional("means", self.means.map(Means::as_str))
            .optional("confidence", self.confidence.map(Confidence::as_str))
            .optional("request", self.request.as_deref());
        let writer = match self.reply_by {
            None => writer,
            Some(ReplyBy::Within(span)) => writer.string("reply_within", &span.to_string()),
            Some(ReplyBy::At(at)) => writer.time("reply_by", at),
        };
        match &self.body {
            None => writer,
            Some(body) => writer.text("body", body),
        }
    }
}

fn read_occurred(fields: &mut Fields<'_>) -> Result<Option<Occurred>, DocumentError> {
    let from = fields.optional_time("occurred_from")?;
    let to = fields.optional_time("occurred_to")?;
    match (from, to) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(fields.refuse("occurred_to", "an end needs a beginning, `occurred_from`")),
        (Some(from), Some(to)) if to < from => {
            Err(fields.refuse("occurred_to", "the end is before the beginning"))
        }
        (Some(from), to) => Ok(Some(Occurred { from, to })),
    }
}

fn read_reply_by(fields: &mut Fields<'_>) -> Result<Option<ReplyBy>, DocumentError> {
    let within = fields.optional("reply_within", str::parse)?;
    let at = fields.optional_time("reply_by")?;
    match (within, at) {
        (None, None) => Ok(None),
        (Some(span), None) => Ok(Some(ReplyBy::Within(span))),
        (None, Some(at)) => Ok(Some(ReplyBy::At(at))),
        (Some(_), Some(_)) => Err(fields.refuse("reply_by", "either `reply_within` or `reply_by`, not both")),
    }
}
