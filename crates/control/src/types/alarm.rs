//! Alarms: what somebody must look at. One stands until its cause is over; it calls until then, or until somebody takes it by name.

use demarche_protocol::{
    hash::{ChannelId, EntryHash},
    identity::member::MemberId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::words;
use crate::{
    serde_text::{self, moment},
    serial::Serial,
};

/// Longest name under which an alarm is taken, in bytes.
pub const NAME: usize = 128;

words! {
    /// Why somebody must look, the gravest first.
    Cause ("an alarm's cause") {
        /// Another node of ours has taken over.
        NodeReplaced = "node-replaced",
        /// This node may not write under its card.
        NeedsNewCard = "needs-new-card",
        /// This node was restored, or went on by itself after a loss.
        Restored = "restored",
        /// The disk is full.
        DiskFull = "disk-full",
        /// The store does not give back what it should hold.
        Store = "store",
        /// Two entries of one number.
        Fork = "fork",
        /// Another's dispatch of IMMEDIATE or above is here, and nobody has opened it.
        UrgentArrival = "urgent-arrival",
        /// Another's dispatch was not opened here in time.
        UnopenedHere = "unopened-here",
        /// Another's notice was opened here, and not acknowledged in time.
        UnacknowledgedHere = "unacknowledged-here",
        /// An own dispatch was not delivered in time.
        Undelivered = "undelivered",
        /// An own dispatch was delivered, and not opened there in time.
        Unopened = "unopened",
        /// An own notice was opened there, and not acknowledged in time.
        Unacknowledged = "unacknowledged",
        /// The line to a party that once stood is down.
        LineDown = "line-down",
        /// A mediator is not reached.
        MediatorUnreachable = "mediator-unreachable",
        /// A mediator keeps nothing more for a peer.
        CustodyRefused = "custody-refused",
        /// What a mediator kept for a peer was not collected in its time.
        CustodyExpired = "custody-expired",
        /// The peer goes by another charter.
        OtherCharter = "other-charter",
        /// A clock is wrong.
        Clock = "clock",
        /// The hook failed.
        HookFailed = "hook-failed",
        /// More alarms than the hook can take.
        HookBehind = "hook-behind",
        /// No heartbeat was given.
        HeartbeatFailed = "heartbeat-failed",
    }
}

/// One alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// By which it is taken; no other alarm of this node ever bears it.
    pub number: u64,
    /// Why.
    pub cause: Cause,
    /// The channel's SHA-256. Absent for what concerns the node itself.
    #[serde(default, with = "serde_text::optional", skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelId>,
    /// The party or mediator it is about.
    #[serde(default, with = "serde_text::optional", skip_serializing_if = "Option::is_none")]
    pub peer: Option<MemberId>,
    /// The dispatch it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<Serial>,
    /// The SHA-256 of that dispatch's entry.
    #[serde(default, with = "serde_text::optional", skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryHash>,
    /// A sentence.
    pub detail: String,
    /// By when, as the charter says, what it is about should happen or should have happened.
    #[serde(default, with = "moment::optional", skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Since when its cause stands.
    #[serde(with = "moment")]
    pub since: Timestamp,
    /// When it came last.
    #[serde(with = "moment")]
    pub last: Timestamp,
    /// How often it came; how many it stands for, where it stands for several.
    pub times: u64,
    /// Who has taken it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Taken>,
    /// Since when its cause is over.
    #[serde(default, with = "moment::optional", skip_serializing_if = "Option::is_none")]
    pub over: Option<Timestamp>,
}

impl Alarm {
    /// Whether its cause still stands.
    pub const fn stands(&self) -> bool {
        self.over.is_none()
    }

    /// Whether it still calls somebody.
    pub const fn calls(&self) -> bool {
        self.stands() && self.taken.is_none()
    }
}

/// That somebody has taken an alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The name that was given.
    pub by: String,
    /// When.
    #[serde(with = "moment")]
    pub at: Timestamp,
}

/// The body of `POST /v1/alarms/take`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeRequest {
    /// Which: all of them, or none if one cannot be.
    pub numbers: Vec<u64>,
    /// Who takes them: see [`is_name`].
    pub by: String,
}

/// How many alarms there are, for status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmCount {
    /// Those whose cause stands.
    pub standing: u64,
    /// Of those, how many somebody has taken.
    pub taken: u64,
    /// The gravest of those that call somebody; when all are taken, of all that stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<Alarm>,
}

/// Whether an alarm can be taken by this name: one line that says something, of at most [`NAME`] bytes.
pub fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= NAME && !name.chars().any(char::is_control)
}
