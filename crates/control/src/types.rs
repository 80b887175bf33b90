//! What travels through the local API. Names are stable: scripts read the same JSON from `demarche --json`.
//!
//! Optional fields are left out when absent. A reader ignores fields that it does not know.

mod alarm;
mod dispatch;
mod status;

pub use alarm::{Alarm, AlarmCount, Cause, NAME, TakeRequest, Taken, is_name};
pub use dispatch::{
    Case, CaseState, Chain, Effect, Event, EventKind, Evidence, EvidenceKind, Header, Kind, OpenRequest,
    Sent, Shown, State,
};
pub use status::{
    ChannelInfo, ChannelStatus, Installed, LineTest, LineTestRequest, LinkState, LogHead, OfficerInfo,
    OfficerState, Outcome, Path, Peer, Status, Verdict,
};

/// A list of words, each of which stands in JSON as on screens.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident ($what:literal) $cases:tt) => {
        demarche_protocol::terms! { $(#[$doc])* $name ($what) $cases }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::serde_text::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::serde_text::deserialize(deserializer)
            }
        }
    };
}
use words;

#[cfg(test)]
mod tests;
