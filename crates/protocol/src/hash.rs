//! Names that are hashes (docs/protocol.md §1.1): SHA-256 of exactly the bytes that travelled, as `sha256sum` prints it.

use std::{fmt, str::FromStr};

use bincode::{Decode, Encode};
use sha2::{Digest, Sha256};

/// SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Why a text is not a SHA-256 in hexadecimal.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a SHA-256: 64 lower-case hexadecimal digits")]
pub struct HashError;

/// Lower-case hexadecimal of some bytes.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing into a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Bytes of a lower-case hexadecimal text of exactly `N` bytes.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (slot, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *slot = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

macro_rules! hash_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The name of these bytes.
            pub fn of(bytes: &[u8]) -> Self {
                Self(sha256(bytes))
            }

            /// From a hash that was computed or read elsewhere.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first eight hexadecimal digits, for logs and screens.
            pub fn short(&self) -> String {
                hex(self.0.first_chunk::<4>().unwrap_or(&[0; 4]))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = HashError;

            fn from_str(text: &str) -> Result<Self, HashError> {
                unhex(text).map(Self).ok_or(HashError)
            }
        }
    };
}

hash_name!(
    /// A document's name: SHA-256 of its text.
    DocumentId
);
hash_name!(
    /// An entry's name: SHA-256 of its encoded bytes.
    EntryHash
);
hash_name!(
    /// A channel's name: SHA-256 of its founding charter's text.
    ChannelId
);
hash_name!(
    /// An envelope's name: SHA-256 of its encoded bytes.
    EnvelopeHash
);
hash_name!(
    /// What an envelope says of the entries inside: SHA-256 of a salt and their names.
    ContentHash
);

impl From<DocumentId> for ChannelId {
    fn from(charter: DocumentId) -> Self {
        Self(charter.0)
    }
}

impl From<ChannelId> for DocumentId {
    fn from(channel: ChannelId) -> Self {
        Self(channel.0)
    }
}
