//! What travels through the local API. Names are stable: scripts read the same JSON from `demarche --json`.
//!
//! Optional fields are left out when absent. A reader ignores fields that it does not know.

mod dispatch;
mod status;

pub use dispatch::{
    Case, CaseState, Chain, Effect, Event, EventKind, Evidence, EvidenceKind, Header, Kind, OpenRequest,
    Sent, Shown, State,
};
pub use status::{
    ChannelInfo, ChannelStatus, Installed, LineTest, LineTestRequest, LinkState, LogHead, OfficerInfo,
    OfficerState, Outcome, Path, Peer, Status, Verdict,
};

/// A word of a fixed list, as it stands in JSON and on screens.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$case_doc])* #[serde(rename = $text)] $case,)+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$case),+];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$case => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
use words;

#[cfg(test)]
mod tests;
