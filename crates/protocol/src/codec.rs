//! The one door for bytes (docs/protocol.md §1.2): bounded, canonical, complete. Nothing else in the project
//! names bincode.
//!
//! Encoding is bincode 2 `standard()` (variable-length little-endian integers). Decoding refuses what is longer than
//! the type allows, what leaves bytes over, and what would not encode to the same bytes again, so every
//! value has exactly one encoding and a hash of bytes is a hash of a value (threats B1, K11).
//! Encoded types hold no maps, floats, `usize`, recursion or zero-sized elements.

use bincode::{Decode, Encode, config};

use crate::limits;

/// A type that travels or is stored: how long its encoding may be, and its name in errors.
pub trait Wire: Encode + Decode<()> {
    /// Longest encoding, in bytes.
    const LIMIT: usize;
    /// The name in errors.
    const NAME: &'static str;
}

/// Why bytes are not a value.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CodecError {
    /// More bytes than the type allows; nothing was allocated.
    #[error("{name} of {length} bytes is longer than {limit}")]
    TooLong {
        /// The type.
        name: &'static str,
        /// Bytes given.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not an encoding of the type.
    #[error("not a well-formed {name}")]
    Malformed {
        /// The type.
        name: &'static str,
    },
    /// Bytes are left over.
    #[error("{extra} bytes after the end of {name}")]
    Trailing {
        /// The type.
        name: &'static str,
        /// Bytes left over.
        extra: usize,
    },
    /// The value has a shorter encoding than this one.
    #[error("not the one canonical encoding of {name}")]
    NotCanonical {
        /// The type.
        name: &'static str,
    },
}

/// The canonical encoding.
pub fn encode<T: Wire>(value: &T) -> Vec<u8> {
    // Encoding into a growing vector has no failure of its own: no type here has one.
    bincode::encode_to_vec(value, config::standard()).unwrap_or_default()
}

/// The value whose canonical encoding these bytes are.
pub fn decode<T: Wire>(bytes: &[u8]) -> Result<T, CodecError> {
    let name = T::NAME;
    if bytes.len() > T::LIMIT {
        return Err(CodecError::TooLong { name, length: bytes.len(), limit: T::LIMIT });
    }
    let config = config::standard().with_limit::<{ limits::DECODED }>();
    let (value, used) =
        bincode::decode_from_slice::<T, _>(bytes, config).map_err(|_| CodecError::Malformed { name })?;
    if used != bytes.len() {
        return Err(CodecError::Trailing { name, extra: bytes.len() - used });
    }
    if encode(&value) != bytes {
        return Err(CodecError::NotCanonical { name });
    }
    Ok(value)
}
