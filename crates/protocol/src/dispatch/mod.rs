//! A dispatch (docs/protocol.md §4.7): the document that an officer signs. All kinds share a head; one file holds each kind's own part.

pub mod acknowledgement;
pub mod breach;
pub mod reply;
pub mod statement;
pub mod terms;

pub use acknowledgement::Acknowledgement;
pub use breach::{Breach, Occurred, ReplyBy};
pub use reply::{Position, Reply};
pub use statement::Statement;
pub use terms::{Confidence, Means, Nature, Precedence};

use crate::{
    document::{DocumentError, DocumentType, Fields, Writer},
    hash::{ChannelId, DocumentId},
    identity::{member::MemberId, officer::Duty},
    limits,
    time::Timestamp,
};

/// What a dispatch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// The channel it belongs to.
    pub channel: ChannelId,
    /// The party that speaks.
    pub party: MemberId,
    /// Real, exercise or test.
    pub nature: Nature,
    /// Order of service, fixed by the releasing officer.
    pub precedence: Precedence,
    /// When it was written, by the writer's clock.
    pub written_at: Timestamp,
    /// The kind's own part.
    pub content: Content,
}

/// The kinds of dispatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Notice of a breach: opens a case.
    Breach(Breach),
    /// An officer's statement of receipt and understanding.
    Acknowledgement(Acknowledgement),
    /// The party's position on a case.
    Reply(Reply),
    /// Discussion.
    Statement(Statement),
}

/// A kind of dispatch, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the content of its name")]
pub enum Kind {
    Breach,
    Acknowledgement,
    Reply,
    Statement,
}

impl Kind {
    /// As it stands in the document and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Breach => "breach",
            Self::Acknowledgement => "acknowledgement",
            Self::Reply => "reply",
            Self::Statement => "statement",
        }
    }

    /// The duty that at least one of its signers needs.
    pub const fn duty(self) -> Duty {
        match self {
            Self::Acknowledgement => Duty::Acknowledge,
            Self::Breach | Self::Reply | Self::Statement => Duty::Release,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Dispatch {
    /// Reads a dispatch's text.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let mut fields = Fields::of(text, DocumentType::Dispatch)?;
        let channel = fields.parsed("channel", str::parse)?;
        let party = fields.parsed("party", str::parse)?;
        let kind = fields.string("kind")?;
        let nature = fields.parsed("nature", str::parse)?;
        let precedence = fields.parsed("precedence", str::parse)?;
        let written_at = fields.time("written_at")?;
        let content = match kind.as_str() {
            "breach" => Content::Breach(Breach::read(&mut fields)?),
            "acknowledgement" => Content::Acknowledgement(Acknowledgement::read(&mut fields)?),
            "reply" => Content::Reply(Reply::read(&mut fields)?),
            "statement" => Content::Statement(Statement::read(&mut fields)?),
            unknown => {
                return Err(fields.refuse(
                    "kind",
                    format!("a dispatch of kind `{}` is not known here", unknown.escape_debug()),
                ));
            }
        };
        fields.finish()?;
        Ok(Self { channel, party, nature, precedence, written_at, content })
    }

    /// The fixed rendering.
    pub fn render(&self) -> String {
        let writer = Writer::new(DocumentType::Dispatch)
            .string("channel", &self.channel.to_string())
            .string("party", self.party.as_str())
            .string("kind", self.kind().as_str())
            .string("nature", self.nature.as_str())
            .string("precedence", self.precedence.as_str())
            .time("written_at", self.written_at);
        let writer = match &self.content {
            Content::Breach(breach) => breach.write(writer),
            Content::Acknowledgement(acknowledgement) => acknowledgement.write(writer),
            Content::Reply(reply) => reply.write(writer),
            Content::Statement(statement) => statement.write(writer),
        };
        writer.finish()
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self.content {
            Content::Breach(_) => Kind::Breach,
            Content::Acknowledgement(_) => Kind::Acknowledgement,
            Content::Reply(_) => Kind::Reply,
            Content::Statement(_) => Kind::Statement,
        }
    }

    /// The document it answers or belongs to: the notice of its case, or what it acknowledges.
    pub const fn refers_to(&self) -> Option<DocumentId> {
        match &self.content {
            Content::Breach(_) => None,
            Content::Acknowledgement(acknowledgement) => Some(acknowledgement.of),
            Content::Reply(reply) => Some(reply.case),
            Content::Statement(statement) => statement.case,
        }
    }

    /// The title, where the kind has one.
    pub fn title(&self) -> Option<&str> {
        match &self.content {
            Content::Breach(breach) => Some(&breach.title),
            Content::Statement(statement) => statement.title.as_deref(),
            Content::Acknowledgement(_) | Content::Reply(_) => None,
        }
    }

    /// The prose, where there is any.
    pub fn body(&self) -> Option<&str> {
        match &self.content {
            Content::Breach(breach) => breach.body.as_deref(),
            Content::Acknowledgement(acknowledgement) => acknowledgement.note.as_deref(),
            Content::Reply(reply) => Some(&reply.body),
            Content::Statement(statement) => Some(&statement.body),
        }
    }
}

/// Reads prose of several lines, neither empty nor longer than [`limits::BODY`], or absent.
fn read_body(fields: &mut Fields<'_>, key: &str) -> Result<Option<String>, DocumentError> {
    fields.optional(key, check_body)
}

/// Reads prose that must be there.
fn need_body(fields: &mut Fields<'_>, key: &str) -> Result<String, DocumentError> {
    fields.parsed(key, check_body)
}

fn check_body(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        Err("must not be empty".to_owned())
    } else if text.len() > limits::BODY {
        Err(format!("has {} bytes; at most {} are allowed", text.len(), limits::BODY))
    } else {
        Ok(text.to_owned())
    }
}
