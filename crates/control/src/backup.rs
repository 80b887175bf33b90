//! What a backup is made of, once for the tool that writes and reads it and the node that gives and takes its journal.
//!
//! A backup is a tar archive, sealed with age, that holds files of the data directory ([`in_data`]) and the node's journal up to one
//! record, in segments ([`journal_file`]). A segment is a row of records, each of them: its index in the journal (8 bytes, big-endian),
//! its channel (32 bytes), the length of what follows (4 bytes, big-endian), and the record in its canonical encoding
//! (docs/protocol.md). No key of a node, a session or a prekey is among the files, and no record holds one.

use demarche_protocol::{
    channel::Record,
    codec::{self, CodecError},
    hash::ChannelId,
    identity::member::MemberId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{
    layout::is_channel_name,
    serde_text::{self, moment},
};

/// The version of the container that this program writes, and the highest that it reads.
pub const VERSION: u32 = 1;
/// About how many bytes a segment has: the bound of what is held in memory at once.
pub const SEGMENT: usize = 1 << 20;
/// What a segment may have at most: the last record may begin just below [`SEGMENT`].
pub const LONGEST_SEGMENT: u64 = 2 << 20;
/// The file that says what the backup is.
pub const ABOUT: &str = "backup.json";
/// The file that names all others with their hashes, as `sha256sum` prints and checks them. It comes last.
pub const SUMS: &str = "SHA256SUMS";

const HEAD: usize = 8 + 32 + 4;

/// What a backup is: whose, of when, and how far it reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// [`VERSION`].
    pub version: u32,
    /// Whose node.
    #[serde(with = "serde_text")]
    pub party: MemberId,
    /// Whether it mediates.
    pub mediates: bool,
    /// The last record of its journal that is in here.
    pub journal: u64,
    /// When it was made.
    #[serde(with = "moment")]
    pub made_at: Timestamp,
    /// The node program's version.
    pub program: String,
}

/// A record with its place in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its index.
    pub index: u64,
    /// The channel it belongs to.
    pub channel: ChannelId,
    /// The record.
    pub record: Record,
}

/// Why bytes are not a segment.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// It ends in the middle of a record.
    #[error("it ends in the middle of a record")]
    Cut,
    /// A record that is none.
    #[error("record {index}: {source}")]
    Record {
        /// Its place.
        index: u64,
        /// Why.
        source: CodecError,
    },
}

impl Placed {
    /// Adds it to a segment.
    pub fn put(&self, segment: &mut Vec<u8>) {
        let encoded = codec::encode(&self.record);
        segment.extend_from_slice(&self.index.to_be_bytes());
        segment.extend_from_slice(self.channel.as_bytes());
        // A record has a frame's length at most.
        segment.extend_from_slice(&u32::try_from(encoded.len()).unwrap_or(u32::MAX).to_be_bytes());
        segment.extend_from_slice(&encoded);
    }
}

/// The records of a segment.
pub fn segment(mut bytes: &[u8]) -> Result<Vec<Placed>, SegmentError> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_first_chunk::<HEAD>().ok_or(SegmentError::Cut)?;
        let (index, channel) = head.split_first_chunk::<8>().ok_or(SegmentError::Cut)?;
        let (channel, length) = channel.split_first_chunk::<32>().ok_or(SegmentError::Cut)?;
        let length = u32::from_be_bytes(length.try_into().map_err(|_| SegmentError::Cut)?);
        let length = usize::try_from(length).map_err(|_| SegmentError::Cut)?;
        let (encoded, rest) = rest.split_at_checked(length).ok_or(SegmentError::Cut)?;
        let index = u64::from_be_bytes(*index);
        let record = codec::decode(encoded).map_err(|source| SegmentError::Record { index, source })?;
        records.push(Placed { index, channel: ChannelId::from_bytes(*channel), record });
        bytes = rest;
    }
    Ok(records)
}

/// The name of a segment, after its first record.
pub fn journal_file(first: u64) -> String {
    format!("journal/{first:020}.records")
}

/// Whether a name in the archive is that of a segment.
pub fn is_journal_file(name: &str) -> bool {
    let number = name.strip_prefix("journal/").and_then(|name| name.strip_suffix(".records"));
    number.is_some_and(|number| number.len() == 20 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The place in the data directory of a file that the archive calls `data/…`; none for what a backup does not hold: so nothing is
/// ever written elsewhere, and no key is ever taken along.
pub fn in_data(name: &str) -> Option<&str> {
    let path = name.strip_prefix("data/")?;
    let plain = |part: &str| {
        !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let held = match *path.split('/').collect::<Vec<_>>() {
        ["demarched.toml" | "last-card" | "spare.recipients"] => true,
        [file] => plain(file) && is_card_file(file),
        ["channels", channel, "charter.json"] => is_channel_name(channel),
        ["channels", channel, "installed", file] => {
            is_channel_name(channel) && plain(file) && file.strip_suffix(".json").is_some()
        }
        _ => false,
    };
    held.then_some(path)
}

/// A card's text, or a signature on one.
fn is_card_file(name: &str) -> bool {
    let text = name.strip_suffix(".card");
    text.or_else(|| name.strip_suffix(".sig").filter(|signed| signed.contains(".card"))).is_some()
}

#[cfg(test)]
mod tests {
    use demarche_protocol::{document::SignedDocument, transcript::ReceiptId};

    use super::*;

    #[test]
    fn a_segment_is_read_back_and_a_cut_one_is_none() {
        let records: Vec<Placed> = (1..4)
            .map(|index| Placed {
                index,
                channel: ChannelId::from_bytes([7; 32]),
                record: if index == 2 {
                    Record::Confirmed(ReceiptId([3; 32]))
                } else {
                    Record::Roster(SignedDocument::unsigned("a card"))
                },
            })
            .collect();
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for record in &records {
            record.put(&mut bytes);
            ends.push(bytes.len());
        }
        assert_eq!(segment(&bytes).unwrap(), records);
        for cut in (0..bytes.len()).filter(|cut| !ends.contains(cut)) {
            assert!(segment(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn only_what_a_backup_holds_has_a_place_in_a_data_directory() {
        for held in [
            "data/demarched.toml",
            "data/last-card",
            "data/washington.card",
            "data/washington.2.card.node.sig",
            "data/channels/memo26/charter.json",
            "data/channels/memo26/installed/00ff.json",
        ] {
            assert!(in_data(held).is_some(), "{held}");
        }
        for other in [
            "demarched.toml",
            "data/keys/1/node.key",
            "data/washington.2.card.keys.age",
            "data/../washington.card",
            "data//etc/a.card",
            "data/channels/../keys/charter.json",
            "data/channels/memo26/installed/../../a.json",
            "data/channels/memo26/incoming/00ff.json",
            "data/.card",
            "data/a b.card",
            "data/store/db",
        ] {
            assert!(in_data(other).is_none(), "{other}");
        }
        assert!(is_journal_file(&journal_file(1)) && !is_journal_file("journal/1.records"));
    }
}
