//! How the node refuses: a stable code, a sentence, the next step, and the tool's exit code.

use serde::{Deserialize, Serialize};

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// What kind of refusal; stable.
    pub code: Code,
    /// What failed, in one sentence. May quote a peer's text.
    pub message: String,
    /// The next step, as a command where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The exit code of the tool (docs/commands.md, "Exit codes").
    pub exit: u8,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $exit:literal;)+) => {
        /// The stable word of a refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
            /// A code that this program does not know: from a newer node.
            #[serde(other)]
            Other,
        }

        impl Code {
            /// All that this program knows.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// As it stands in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ Self::Other => "other" }
            }

            /// The HTTP status it travels with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ Self::Other => 500 }
            }

            /// The exit code of the tool.
            pub const fn exit(self) -> u8 {
                match self { $(Self::$name => $exit,)+ Self::Other => 1 }
            }
        }
    };
}

codes! {
    /// No channel of this name or hash here.
    UnknownChannel = "unknown-channel", 404, 2;
    /// Several channels fit.
    AmbiguousChannel = "ambiguous-channel", 409, 2;
    /// No such entry here.
    UnknownSerial = "unknown-serial", 404, 1;
    /// No alarm of this number stands.
    UnknownAlarm = "unknown-alarm", 404, 1;
    /// The key that asks is no officer's of this party.
    NotAuthorised = "not-authorised", 403, 4;
    /// The officer does not have the duty.
    MissingDuty = "missing-duty", 422, 4;
    /// Signed by a key of nobody.
    UnknownOfficer = "unknown-officer", 422, 4;
    /// Signed by a key that no longer speaks.
    RevokedOfficer = "revoked-officer", 422, 4;
    /// A signature does not fit.
    BadSignature = "bad-signature", 422, 6;
    /// Not enough officers have signed.
    TooFewSignatures = "too-few-signatures", 422, 4;
    /// The charter has no such provision.
    UnknownProvision = "unknown-provision", 422, 4;
    /// For another channel.
    WrongChannel = "wrong-channel", 422, 4;
    /// Speaks for another party.
    WrongParty = "wrong-party", 422, 4;
    /// Not a document.
    Malformed = "malformed", 400, 4;
    /// Longer than allowed.
    TooLong = "too-long", 413, 4;
    /// It answers something that is not here.
    UnknownReference = "unknown-reference", 422, 4;
    /// Nothing can be written; nothing was.
    DiskFull = "disk-full", 507, 1;
    /// It may or may not be durable; sending the same file again is safe.
    OutcomeUnknown = "outcome-unknown", 500, 1;
    /// The node is shutting down.
    Stopping = "stopping", 503, 3;
    /// The node may not write under its card any more.
    NeedsNewCard = "needs-new-card", 409, 1;
    /// The caller's account may not do that.
    Forbidden = "forbidden", 403, 1;
    /// Too much is under way; try again.
    Busy = "busy", 429, 1;
}

impl Problem {
    /// A refusal with its code's own exit code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, exit: code.exit() }
    }

    /// The same, with the next step.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_and_an_unknown_one_is_no_error() {
        for code in Code::ALL {
            let problem = Problem::new(*code, "no").with_help("try");
            let json = serde_json::to_string(&problem).unwrap();
            assert!(json.contains(&format!("\"code\":\"{}\"", code.as_str())), "{json}");
            assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
            assert!((400..600).contains(&code.status()) && (1..=7).contains(&code.exit()), "{code:?}");
        }
        let newer: Problem = serde_json::from_str(r#"{"code":"comet","message":"m","exit":7}"#).unwrap();
        assert_eq!((newer.code, newer.exit), (Code::Other, 7));
    }
}
