//! Every signature namespace and hash label, in one table (docs/protocol.md §3.2). A signature made for one is refused for
//! every other (threat K10).

use std::fmt;

/// What a signature is for: the SSHSIG namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the document or statement of its name")]
pub enum Namespace {
    Charter,
    Roots,
    Card,
    Officer,
    Suspension,
    Revocation,
    Dispatch,
    Entry,
    Receipt,
    LineTest,
    Prekey,
    Custody,
    Collected,
    Unopenable,
    Expired,
    Presence,
}

impl Namespace {
    /// All of them, for tests that try each against each.
    pub const ALL: [Self; 16] = [
        Self::Charter,
        Self::Roots,
        Self::Card,
        Self::Officer,
        Self::Suspension,
        Self::Revocation,
        Self::Dispatch,
        Self::Entry,
        Self::Receipt,
        Self::LineTest,
        Self::Prekey,
        Self::Custody,
        Self::Collected,
        Self::Unopenable,
        Self::Expired,
        Self::Presence,
    ];

    /// As it stands in the signature and after `ssh-keygen -n`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charter => "charter@demarche.v1",
            Self::Roots => "roots@demarche.v1",
            Self::Card => "card@demarche.v1",
            Self::Officer => "officer@demarche.v1",
            Self::Suspension => "suspension@demarche.v1",
            Self::Revocation => "revocation@demarche.v1",
            Self::Dispatch => "dispatch@demarche.v1",
            Self::Entry => "entry@demarche.v1",
            Self::Receipt => "receipt@demarche.v1",
            Self::LineTest => "linetest@demarche.v1",
            Self::Prekey => "prekey@demarche.v1",
            Self::Custody => "custody@demarche.v1",
            Self::Collected => "collected@demarche.v1",
            Self::Unopenable => "unopenable@demarche.v1",
            Self::Expired => "expired@demarche.v1",
            Self::Presence => "presence@demarche.v1",
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// First part of the Noise prologue of a live session.
pub const LIVE_PROLOGUE: &[u8] = b"demarche.v1 live session";

/// The Noise protocol of a live session, as it enters the transcript hash.
pub const LIVE_NOISE: &str = "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_SHA256";

/// First part of the Noise prologue of an envelope.
pub const ENVELOPE_PROLOGUE: &[u8] = b"demarche.v1 envelope";

/// The Noise protocol of an envelope.
pub const ENVELOPE_NOISE: &str = "Noise_Npsk0_25519_ChaChaPoly_SHA256";

/// Hashed before a roster's documents to give its digest.
pub const ROSTER_DIGEST: &[u8] = b"demarche.v1 roster";
