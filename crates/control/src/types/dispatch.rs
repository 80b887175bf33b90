//! Dispatches as the node shows them: header, whole, case, evidence, and the events that tell of them.

use std::collections::BTreeMap;

use demarche_protocol::{
    dispatch::{Content, Dispatch, Nature, Precedence, ReplyBy},
    hash::{ChannelId, DocumentId, EntryHash},
    identity::member::MemberId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{Alarm, words};
use crate::{
    SignedFile,
    serde_text::{self, moment},
    serial::Serial,
};

words! {
    /// The kind of a dispatch.
    Kind ("a kind") {
        /// Notice of a breach: opens a case.
        Breach = "breach",
        /// Receipt and understanding; not agreement.
        Acknowledgement = "acknowledgement",
        /// A position on a case.
        Reply = "reply",
        /// Discussion.
        Statement = "statement",
        /// An entry whose text is no dispatch that this node can read. Void.
        Unknown = "unknown",
    }
}

impl From<demarche_protocol::dispatch::Kind> for Kind {
    fn from(kind: demarche_protocol::dispatch::Kind) -> Self {
        use demarche_protocol::dispatch::Kind as Read;
        match kind {
            Read::Breach => Self::Breach,
            Read::Acknowledgement => Self::Acknowledgement,
            Read::Reply => Self::Reply,
            Read::Statement => Self::Statement,
        }
    }
}

words! {
    /// How far a dispatch has come. The first five are steps, in order; the last three are ends.
    ///
    /// Of one's own dispatch to several peers it is the step of the one that lags most. Another party's dispatch is
    /// `delivered` (held here), `opened` (displayed here) or `acknowledged` (by an officer of this party).
    State ("a state") {
        /// Durable here, not yet delivered.
        Recorded = "recorded",
        /// A mediator signed that it keeps it.
        Custody = "custody",
        /// Their node signed that it holds it.
        Delivered = "delivered",
        /// Their node signed that it was displayed to an officer.
        Opened = "opened",
        /// Their officer signed.
        Acknowledged = "acknowledged",
        /// Of no effect; `void_reason` says why.
        Void = "void",
        /// Its party's node went on without it after a loss; it is kept, with its effect.
        Disowned = "disowned",
        /// A mediator signed that its time in custody ran out.
        Expired = "expired",
    }
}

words! {
    /// Whether an entry counts.
    Effect ("an effect") {
        /// It does.
        Accepted = "accepted",
        /// It does not; `void_reason` says why.
        Void = "void",
        /// The entries that say who may sign are not all here yet.
        AuthorityUnknown = "authority-unknown",
    }
}

words! {
    /// Whether everything before an entry is here.
    Chain ("a chain's state") {
        /// It is.
        Complete = "complete",
        /// It overtook something.
        Pending = "pending",
        /// It does not follow from what is before it.
        Misplaced = "misplaced",
    }
}

/// A dispatch without its text: what an inbox shows. Reading it does not betray that one has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Local name of the channel.
    pub channel: String,
    /// Its place in its party's log.
    pub serial: Serial,
    /// The serial of its case's notice; of a notice, its own. Absent when it belongs to no case, or the notice
    /// is not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<Serial>,
    /// SHA-256 of its text.
    #[serde(with = "serde_text")]
    pub document: DocumentId,
    /// SHA-256 of its entry.
    #[serde(with = "serde_text")]
    pub entry: EntryHash,
    /// Its kind.
    pub kind: Kind,
    /// Real, exercise or test. Absent for [`Kind::Unknown`].
    #[serde(default, with = "serde_text::optional", skip_serializing_if = "Option::is_none")]
    pub nature: Option<Nature>,
    /// Order of service. Absent for [`Kind::Unknown`].
    #[serde(default, with = "serde_text::optional", skip_serializing_if = "Option::is_none")]
    pub precedence: Option<Precedence>,
    /// The code of the provision, of a notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provision: Option<String>,
    /// The title, where the kind has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The party that speaks.
    #[serde(with = "serde_text")]
    pub from: MemberId,
    /// The officers who signed, by their enrolled names, joined by `, `; a key's fingerprint where no document of it is here.
    pub officer: String,
    /// When it was written, by its officer's clock.
    #[serde(default, with = "moment::optional", skip_serializing_if = "Option::is_none")]
    pub written_at: Option<Timestamp>,
    /// When its party's node recorded it, by that node's clock.
    #[serde(with = "moment")]
    pub recorded_at: Timestamp,
    /// When it became durable here, by this node's clock. Absent for one's own.
    #[serde(default, with = "moment::optional", skip_serializing_if = "Option::is_none")]
    pub received_at: Option<Timestamp>,
    /// How far it has come.
    pub state: State,
    /// Whether it counts.
    pub effect: Effect,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub void_reason: Option<String>,
    /// Whether everything before it is here.
    pub chain: Chain,
}

/// A dispatch whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The header.
    #[serde(flatten)]
    pub header: Header,
    /// The prose, where there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The signed document, exactly.
    pub text: String,
    /// The signatures on it, armoured.
    pub signatures: Vec<String>,
    /// What else the document says, by the names of its keys; see [`Shown::fields_of`].
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// What is known of its way, in order of time.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// The documents of its party's log that say who may sign (card, roots, officer, suspension, revocation), in the
    /// log's order, up to this entry: with them the tool verifies from the roots of its own pinned charter.
    #[serde(default)]
    pub authority: Vec<SignedFile>,
    /// Other documents under the same serial: its party's log branched, by a fork or by a restored backup.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "serde_text::list")]
    pub same_serial: Vec<DocumentId>,
}

impl Shown {
    /// The document, its signatures not yet verified.
    pub fn file(&self) -> SignedFile {
        SignedFile { text: self.text.clone(), signatures: self.signatures.clone() }
    }

    /// A dispatch's own keys and values beyond header and prose, as text.
    pub fn fields_of(dispatch: &Dispatch) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        let mut put = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                fields.insert(key.to_owned(), value);
            }
        };
        match &dispatch.content {
            Content::Breach(breach) => {
                put("occurred_from", breach.occurred.map(|occurred| occurred.from.to_string()));
                put("occurred_to", breach.occurred.and_then(|occurred| occurred.to).map(|to| to.to_string()));
                put("place", breach.place.clone());
                put("means", breach.means.map(|means| means.to_string()));
                put("confidence", breach.confidence.map(|confidence| confidence.to_string()));
                put("request", breach.request.clone());
                match breach.reply_by {
                    Some(ReplyBy::Within(span)) => put("reply_within", Some(span.to_string())),
                    Some(ReplyBy::At(at)) => put("reply_by", Some(at.to_string())),
                    None => {}
                }
            }
            Content::Acknowledgement(acknowledgement) => put("of", Some(acknowledgement.of.to_string())),
            Content::Reply(reply) => {
                put("case", Some(reply.case.to_string()));
                put("position", Some(reply.position.to_string()));
            }
            Content::Statement(statement) => put("case", statement.case.map(|case| case.to_string())),
        }
        fields
    }
}

words! {
    /// What a piece of evidence shows (docs/protocol.md, "What an officer is told").
    EvidenceKind ("a kind of evidence") {
        /// Durable in its party's log.
        Recorded = "recorded",
        /// A mediator keeps it, signed.
        Custody = "custody",
        /// A node has collected it from custody, signed.
        Collected = "collected",
        /// A node could not open it when it collected it, signed. It is sealed anew.
        Unopenable = "unopenable",
        /// A node holds it, signed.
        Delivered = "delivered",
        /// A node states that it was displayed, signed.
        Opened = "opened",
        /// An officer acknowledged it, signed.
        Acknowledged = "acknowledged",
        /// Judged to be of no effect.
        Void = "void",
        /// Its party went on without it.
        Disowned = "disowned",
        /// Its time in custody ran out, signed.
        Expired = "expired",
    }
}

/// One thing known of a dispatch's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What it shows.
    pub kind: EvidenceKind,
    /// Who states it: a party or a mediator.
    #[serde(with = "serde_text")]
    pub by: MemberId,
    /// When, by that one's clock.
    #[serde(with = "moment")]
    pub at: Timestamp,
    /// Whether this node verified the signature it rests on.
    pub verified: bool,
    /// The officer it names (opened, acknowledged).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub officer: Option<String>,
    /// The dispatch that it is (acknowledged).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<Serial>,
    /// A reason or remark (void, acknowledged with a note).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The answer to a posted document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Its place in the log.
    pub serial: Serial,
    /// Its case; of a notice, its own serial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<Serial>,
    /// SHA-256 of its text.
    #[serde(with = "serde_text")]
    pub document: DocumentId,
    /// SHA-256 of its entry.
    #[serde(with = "serde_text")]
    pub entry: EntryHash,
    /// How far it has come: more than `recorded` when it was posted before.
    pub state: State,
}

/// The body of `POST …/open`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRequest {
    /// The officer who will see it: the line of a `.pub` file.
    pub officer_key: String,
}

words! {
    /// How far a case has come.
    CaseState ("a case's state") {
        /// Nobody of the other side has acknowledged the notice.
        Open = "open",
        /// It is acknowledged.
        Acknowledged = "acknowledged",
        /// The other side has taken a position.
        Answered = "answered",
    }
}

/// A notice and everything that answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Local name of the channel.
    pub channel: String,
    /// The notice's serial: the case bears it.
    pub serial: Serial,
    /// SHA-256 of the notice's text.
    #[serde(with = "serde_text")]
    pub document: DocumentId,
    /// The notice's title.
    pub title: String,
    /// The provision.
    pub provision: String,
    /// The notice's precedence.
    #[serde(with = "serde_text")]
    pub precedence: Precedence,
    /// The notice's nature.
    #[serde(with = "serde_text")]
    pub nature: Nature,
    /// Who gave notice.
    #[serde(with = "serde_text")]
    pub from: MemberId,
    /// How far it has come.
    pub state: CaseState,
    /// The newest position taken on it, in the document's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// When the notice was recorded.
    #[serde(with = "moment")]
    pub opened_at: Timestamp,
    /// The notice and all that answers it, by the time they became durable here.
    pub entries: Vec<Header>,
}

words! {
    /// What an event tells.
    EventKind ("a kind of event") {
        /// An own dispatch became durable here.
        Recorded = "recorded",
        /// A mediator took one into custody.
        Custody = "custody",
        /// A peer's node holds one.
        Delivered = "delivered",
        /// A peer's node displayed one.
        Opened = "opened",
        /// A peer's officer acknowledged one.
        Acknowledged = "acknowledged",
        /// One was judged to be of no effect: at once, or when what it rests on came in. The evidence says why; without a
        /// header it is an entry that says who may sign, and `detail` names it.
        Void = "void",
        /// One that had come before the entries that say who may sign has effect, now that they are here.
        Accepted = "accepted",
        /// A peer's dispatch became durable here.
        Arrived = "arrived",
        /// A peer's node went on without one, or this one did and has it again: its disk was lost or set back.
        Disowned = "disowned",
        /// A node goes on in a new volume: its card was renewed, or it was restored. `detail` says which, and where it begins.
        Volume = "volume",
        /// A link came up or went down. Transient.
        Link = "link",
        /// A card, officer or revocation changed who may speak.
        Roster = "roster",
        /// An alarm calls somebody, is taken, or is over. Transient.
        Alarm = "alarm",
        /// What was asked for is not in the node's store any more: all that it holds follows, from its beginning. Transient.
        Anew = "anew",
    }
}

/// One event of the node's feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The node's durable index of the record it tells of; `?after=` takes it, and the [`crate::Bookmark`] that the feed names with it.
    /// Absent for transient events. What one
    /// record tells may be several events, which all bear its index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The channel's SHA-256. Absent for what concerns the node itself, such as its hook: that is for whoever listens, whichever
    /// channel it is about.
    #[serde(default, with = "serde_text::optional", skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelId>,
    /// What it tells.
    pub kind: EventKind,
    /// When, as it is recorded, so that it is the same whenever it is read: when an entry became durable here, and when a receipt
    /// was signed, by its signer's clock. Of transient events when they were told. Absent where no record says when, as with
    /// roster documents.
    #[serde(default, with = "moment::optional", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The dispatch it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// What it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// The peer it is about.
    #[serde(default, with = "serde_text::optional", skip_serializing_if = "Option::is_none")]
    pub peer: Option<MemberId>,
    /// The alarm, as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Alarm>,
    /// A sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
