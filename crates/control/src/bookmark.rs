//! A place in a node's feed, to go on behind: `41`, or `41-9f3ac01d22ab34ef` with the seal of the record that stands there.
//!
//! Indexes begin anew in a new store. By the seal a node sees that a place is of a store that was replaced or set back, even
//! when its own has come as far since (docs/decisions/0045).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::serde_text;

/// Behind which record to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bookmark {
    /// The record's index; 0 is before the first.
    pub index: u64,
    /// The record's seal. Whoever types an index has none, and then only an index that is not there is noticed.
    pub seal: Option<u64>,
}

impl Bookmark {
    /// Before everything.
    pub const START: Self = Self::behind(0);

    /// Behind an index, whatever record stands there.
    pub const fn behind(index: u64) -> Self {
        Self { index, seal: None }
    }
}

/// Why a text is no place.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an event's place is its number, like 41")]
pub struct BookmarkError;

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seal {
            Some(seal) => write!(f, "{}-{seal:016x}", self.index),
            None => self.index.fmt(f),
        }
    }
}

impl FromStr for Bookmark {
    type Err = BookmarkError;

    fn from_str(text: &str) -> Result<Self, BookmarkError> {
        let (index, seal) = match text.split_once('-') {
            Some((index, seal)) => (index, Some(seal)),
            None => (text, None),
        };
        if !index.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BookmarkError);
        }
        let index = index.parse().map_err(|_| BookmarkError)?;
        let seal = seal.map(|seal| match seal.len() {
            16 if seal.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                u64::from_str_radix(seal, 16).map_err(|_| BookmarkError)
            }
            _ => Err(BookmarkError),
        });
        Ok(Self { index, seal: seal.transpose()? })
    }
}

impl Serialize for Bookmark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Bookmark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmark_is_read_as_it_is_written() {
        for place in [Bookmark::START, Bookmark::behind(41), Bookmark { index: 41, seal: Some(0x9f) }] {
            assert_eq!(place.to_string().parse(), Ok(place), "{place}");
        }
        assert_eq!(Bookmark { index: 41, seal: Some(0x9f) }.to_string(), "41-000000000000009f");
        for wrong in
            ["", "-", "-1", "+1", "41-", "41-9f", "41-00000000000000zz", "41-+00000000000009f", "yesterday"]
        {
            assert_eq!(wrong.parse::<Bookmark>(), Err(BookmarkError), "{wrong}");
        }
    }
}
