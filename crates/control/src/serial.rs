//! How a dispatch is called: `washington/7`, the seventh entry of Washington's log.

use std::{fmt, str::FromStr};

use demarche_protocol::identity::member::MemberId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::serde_text;

/// `PARTY/SEQ`. Stands for one entry within a channel; the channel is named beside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial {
    /// Whose log.
    pub party: MemberId,
    /// The entry's number in it, from 1.
    pub seq: u64,
}

/// Why a text is not a serial.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a serial is PARTY/NUMBER, like washington/7")]
pub struct SerialError;

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.party.as_str(), self.seq))
    }
}

impl FromStr for Serial {
    type Err = SerialError;

    fn from_str(text: &str) -> Result<Self, SerialError> {
        let (party, seq) = text.split_once('/').ok_or(SerialError)?;
        // `+7` and `007` would be second names for one thing.
        let plain = seq.bytes().all(|byte| byte.is_ascii_digit()) && !seq.starts_with('0');
        let seq = seq.parse().ok().filter(|_| plain).ok_or(SerialError)?;
        Ok(Self { party: party.parse().map_err(|_| SerialError)?, seq })
    }
}

impl Serialize for Serial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_text::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_has_one_form() {
        let serial: Serial = "washington/7".parse().unwrap();
        assert_eq!((serial.party.as_str(), serial.seq), ("washington", 7));
        assert_eq!(serial.to_string(), "washington/7");
        for wrong in [
            "washington",
            "washington/",
            "/7",
            "washington/07",
            "washington/+7",
            "washington/0",
            "W/7",
            "a/b/7",
        ] {
            assert_eq!(wrong.parse::<Serial>(), Err(SerialError), "{wrong}");
        }
    }
}
