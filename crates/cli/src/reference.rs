//! How an officer names a dispatch: `washington/7`, `memo26:washington/7`, or a document's 64-digit hash.

use std::{fmt, str::FromStr};

use demarche_control::Serial;
use demarche_protocol::hash::DocumentId;

/// A dispatch as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The channel, if it was named.
    pub channel: Option<String>,
    /// Which.
    pub target: Target,
}

/// What names a dispatch within its channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Its place.
    Serial(Serial),
    /// Its text's SHA-256.
    Document(DocumentId),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(serial) => serial.fmt(f),
            Self::Document(document) => document.fmt(f),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(channel) = &self.channel {
            write!(f, "{channel}:")?;
        }
        self.target.fmt(f)
    }
}

impl FromStr for Reference {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHY: &str =
            "not a serial like washington/7 or memo26:washington/7, nor a document's 64-digit hash";
        let (channel, target) = match text.split_once(':') {
            Some((channel, target)) if !channel.is_empty() => (Some(channel.to_owned()), target),
            Some(_) => return Err(WHY),
            None => (None, text),
        };
        let document = || target.parse().map(Target::Document);
        let target = target.parse().map(Target::Serial).or_else(|_| document()).map_err(|_| WHY)?;
        Ok(Self { channel, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dispatch_is_named_by_place_or_hash_with_or_without_its_channel() {
        let hash = "ab".repeat(32);
        for text in ["washington/7", "memo26:washington/7", hash.as_str(), &format!("memo26:{hash}")] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        let with = "memo26:washington/7".parse::<Reference>().unwrap();
        assert_eq!(with.channel.as_deref(), Some("memo26"));
        for wrong in ["", "7", ":washington/7", "washington/0", "Washington/7", "abc", "a:b:c/1"] {
            assert!(wrong.parse::<Reference>().is_err(), "{wrong}");
        }
    }
}
