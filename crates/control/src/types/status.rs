//! How node, channels and links are, and what operators ask of them.

use demarche_protocol::{
    hash::{ChannelId, DocumentId, EntryHash},
    identity::{member::MemberId, officer::Duty},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{AlarmCount, words};
use crate::serde_text::{self, moment};

words! {
    /// What stands behind the verdict line.
    Verdict ("a verdict's level") {
        /// Every peer is reached.
        Up = "up",
        /// Some way or some peer is not.
        Degraded = "degraded",
        /// No peer is.
        Down = "down",
    }
}

/// How the node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Whose node: a party or a mediator.
    #[serde(with = "serde_text")]
    pub party: MemberId,
    /// One line for people: `line open to tehran via muscat`.
    pub verdict: String,
    /// The same for programs.
    pub level: Verdict,
    /// Its channels.
    pub channels: Vec<ChannelStatus>,
    /// Channels that are installed and cannot be used: which, why, and the next step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unusable: Vec<String>,
    /// How many alarms there are.
    #[serde(default)]
    pub alarms: AlarmCount,
    /// The node program's version.
    pub version: String,
}

/// How one channel is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelStatus {
    /// The local name.
    pub name: String,
    /// The channel: SHA-256 of its charter.
    #[serde(with = "serde_text")]
    pub channel: ChannelId,
    /// The charter's title.
    pub title: String,
    /// One line for people, of this channel alone.
    pub verdict: String,
    /// The same for programs.
    pub level: Verdict,
    /// Parties and mediators, this node left out.
    pub peers: Vec<Peer>,
    /// The end of one's own log; absent while it is empty, and at a mediator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogHead>,
    /// The highest serial of a card of this node that is known in this channel, whether it counts or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_card: Option<u64>,
    /// Whose node was restored or replaced, where its new volume begins, and what that left behind: of the newest volume of each log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restored: Vec<String>,
    /// Why nothing can be recorded here at the moment: the disk is full, or the node needs a new card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_record: Option<String>,
}

/// The end of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHead {
    /// The last entry's number.
    pub seq: u64,
    /// Its hash.
    #[serde(with = "serde_text")]
    pub hash: EntryHash,
}

words! {
    /// How a link is.
    LinkState ("a link's state") {
        /// Works.
        Up = "up",
        /// Being made.
        Connecting = "connecting",
        /// Does not work; `cause` says why.
        Down = "down",
    }
}

/// How one peer is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Which.
    #[serde(with = "serde_text")]
    pub party: MemberId,
    /// How the link to it is.
    pub state: LinkState,
    /// Why, in plain words: `mediator muscat unreachable since 09:40:00Z`. Absent when up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Since when it is so.
    #[serde(default, with = "moment::optional", skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When anything was heard of it last.
    #[serde(default, with = "moment::optional", skip_serializing_if = "Option::is_none")]
    pub last_heard: Option<Timestamp>,
    /// The ways to it.
    #[serde(default)]
    pub paths: Vec<Path>,
    /// How many entries of the own log it has not receipted.
    pub to_deliver: u64,
}

/// One way to a peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Path {
    /// The mediator; of a way to a mediator, its address.
    pub via: String,
    /// How it is.
    pub state: LinkState,
    /// Whether what is said goes over it now; the others stand by.
    #[serde(default)]
    pub carries: bool,
    /// The newest round trip, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
}

/// A channel that the node holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelInfo {
    /// The local name.
    pub name: String,
    /// SHA-256 of its charter.
    #[serde(with = "serde_text")]
    pub channel: ChannelId,
    /// The charter's title.
    pub title: String,
    /// Who this node is in it: a party or a mediator.
    #[serde(with = "serde_text")]
    pub party: MemberId,
    /// All parties.
    #[serde(with = "serde_text::list")]
    pub parties: Vec<MemberId>,
    /// All mediators.
    #[serde(with = "serde_text::list")]
    pub mediators: Vec<MemberId>,
}

words! {
    /// Whether an officer's key speaks.
    OfficerState ("an officer's state") {
        /// It does.
        InForce = "in-force",
        /// It does; its document is past its date.
        Expired = "expired",
        /// Not until the roots decide.
        Suspended = "suspended",
        /// No longer.
        Revoked = "revoked",
    }
}

/// An officer that the node knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfficerInfo {
    /// The party served.
    #[serde(with = "serde_text")]
    pub party: MemberId,
    /// Name or post.
    pub name: String,
    /// The key: the line of a `.pub` file.
    pub key: String,
    /// What the officer may do.
    #[serde(with = "serde_text::list")]
    pub duties: Vec<Duty>,
    /// SHA-256 of the officer's document.
    #[serde(with = "serde_text")]
    pub document: DocumentId,
    /// Whether the key speaks.
    pub state: OfficerState,
    /// When the document is due for renewal.
    #[serde(with = "moment")]
    pub expires_at: Timestamp,
}

/// The body of `POST …/line-test`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineTestRequest {
    /// One peer; absent: all parties.
    #[serde(default, with = "serde_text::optional", skip_serializing_if = "Option::is_none")]
    pub peer: Option<MemberId>,
}

/// A signed question and answer over one path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LineTest {
    /// The peer.
    #[serde(with = "serde_text")]
    pub peer: MemberId,
    /// The mediator it went over.
    pub via: String,
    /// Milliseconds there, by both clocks: negative when they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub there_ms: Option<f64>,
    /// Milliseconds back, by both clocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_ms: Option<f64>,
    /// Milliseconds there and back, by this node's monotonic clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// When it was sent.
    #[serde(with = "moment")]
    pub at: Timestamp,
    /// Whether the peer's signed answer was verified.
    pub verified: bool,
    /// The path carries no session: another one does. The round trip is that of a ping, which nobody signs.
    #[serde(default)]
    pub stands_by: bool,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

words! {
    /// What became of a file that `install` left.
    Outcome ("an installation's outcome") {
        /// Taken in.
        Taken = "taken",
        /// Was there already.
        Already = "already",
        /// Refused; `why` says why, and the file lies in `refused/`.
        Refused = "refused",
    }
}

/// One file that `install` left, after the node looked at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Its path below the data directory.
    pub file: String,
    /// SHA-256 of the text, where it could be read.
    #[serde(default, with = "serde_text::optional", skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentId>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
