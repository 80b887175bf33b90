//! What an envelope holds before it is sealed: a salt and frames, filled up with zeros to one of a few lengths, so that sizes tell
//! little of what is inside (threat M20).
//!
//! ```text
//! salt: 32 bytes ‖ length of all frames: u32 ‖ (length: u16 ‖ frame) again and again ‖ zeros up to a power of two
//! ```
//! Lengths are big-endian, as on a stream. There is one way to write given frames, and nothing else is read.

use bincode::{Decode, Encode};
use sha2::{Digest as _, Sha256};

use crate::{
    frame::{Frame, FrameError},
    hash::{ContentHash, EntryHash},
    limits,
    transcript::SignedEntry,
};

/// The shortest padded length: a notice of a page with its entry.
const SHORTEST: usize = 2 * 1024;
const SALT: usize = 32;
/// Bytes before the frames.
const HEADER: usize = SALT + 4;

/// Why frames cannot be put into an envelope.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum FillError {
    /// Too many, or too long. Put some of them into another one.
    #[error("contents of {0} bytes are more than an envelope holds ({max})", max = limits::ENVELOPE_CONTENTS)]
    TooLong(usize),
    /// Too many frames. Put some of them into another one.
    #[error("{0} frames are more than an envelope holds ({max})", max = limits::ENVELOPE_FRAMES)]
    TooMany(usize),
    /// A frame that only the session vouches for, which brings it.
    #[error("a frame of kind {0} is not for envelopes")]
    Kind(u8),
}

/// Why bytes that were sealed are no contents.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ContentsError {
    /// Not written as [`write`] writes.
    #[error("the contents are not well-formed")]
    Malformed,
    /// The envelope says outside that it holds other entries.
    #[error("the envelope does not hold the entries that it names")]
    Untrue,
}

/// The padded bytes, and what the envelope's outside says of them.
pub(super) fn write(salt: &[u8; SALT], frames: &[Frame]) -> Result<(Vec<u8>, ContentHash), FillError> {
    if frames.len() > limits::ENVELOPE_FRAMES {
        return Err(FillError::TooMany(frames.len()));
    }
    let mut bytes = Vec::from(*salt);
    bytes.extend_from_slice(&[0; HEADER - SALT]);
    for frame in frames {
        let frame = frame.encode();
        if let Some(kind) = frame.first().copied().filter(|kind| !travels(*kind)) {
            return Err(FillError::Kind(kind));
        }
        let length = u16::try_from(frame.len()).map_err(|_| FillError::TooLong(frame.len()))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&frame);
    }
    let too_long = FillError::TooLong(bytes.len());
    let padded = padded(bytes.len()).ok_or(too_long)?;
    let length = u32::try_from(bytes.len() - HEADER).map_err(|_| too_long)?;
    if let Some(place) = bytes.get_mut(SALT..HEADER) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    bytes.resize(padded, 0);
    Ok((bytes, content(salt, frames.iter())))
}

/// The frames, each as its bytes say. One of a kind from the future is told as such and hinders no other.
pub(super) fn read(bytes: &[u8], says: ContentHash) -> Result<Vec<Result<Frame, FrameError>>, ContentsError> {
    let malformed = ContentsError::Malformed;
    let (salt, rest) = bytes.split_first_chunk::<SALT>().ok_or(malformed)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(malformed)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| malformed)?;
    let (mut written, padding) = rest.split_at_checked(length).ok_or(malformed)?;
    if padded(HEADER + length) != Some(bytes.len()) || padding.iter().any(|byte| *byte != 0) {
        return Err(malformed);
    }
    let mut frames = Vec::new();
    while let Some((length, rest)) = written.split_first_chunk::<2>() {
        let (frame, rest) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(malformed)?;
        if frame.first().is_none_or(|kind| !travels(*kind)) || frames.len() == limits::ENVELOPE_FRAMES {
            return Err(malformed);
        }
        frames.push(Frame::decode(frame));
        written = rest;
    }
    if !written.is_empty() {
        return Err(malformed);
    }
    if content(salt, frames.iter().flatten()) != says {
        return Err(ContentsError::Untrue);
    }
    Ok(frames)
}

/// Whether a frame of this kind bears signatures of its own, and so says something outside a session: entries, receipts, documents
/// of the roster, prekeys. Whether one that is invented later does, whoever knows it will say.
const fn travels(kind: u8) -> bool {
    matches!(kind, 1 | 2 | 4 | 8 | 10..)
}

/// Power of two that holds so many bytes.
fn padded(bytes: usize) -> Option<usize> {
    let padded = bytes.max(SHORTEST).next_power_of_two();
    (padded <= limits::ENVELOPE_CONTENTS).then_some(padded)
}

fn content<'a>(salt: &[u8; SALT], frames: impl Iterator<Item = &'a Frame>) -> ContentHash {
    Salt(*salt).content(frames.filter_map(|frame| match frame {
        Frame::Entry(item) => Some(SignedEntry::hash(&item.entry)),
        _ => None,
    }))
}

/// What hides the entries of an envelope from whoever carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Salt(pub [u8; SALT]);

impl Salt {
    /// What an envelope with this salt says of these entries: SHA-256 of the salt and their names, in their order. Whoever is shown the
    /// salt can check which entries an envelope held that a mediator signed for; whoever is not learns nothing.
    pub fn content(&self, entries: impl Iterator<Item = EntryHash>) -> ContentHash {
        let mut hash = Sha256::new_with_prefix(self.0);
        for entry in entries {
            hash.update(entry.as_bytes());
        }
        ContentHash::from_bytes(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{identity::keys::Signature, transcript::SignedReceipt};

    const SALTED: [u8; SALT] = [7; SALT];

    fn written() -> (Vec<u8>, ContentHash) {
        let receipt = SignedReceipt::from_parts([1, 2, 3], Signature::Ed25519([0; 64]));
        write(&SALTED, &[Frame::Receipt(receipt)]).unwrap()
    }

    #[test]
    fn what_was_written_is_read_and_names_its_entries() {
        let (bytes, content) = written();
        assert_eq!(bytes.len(), SHORTEST);
        assert_eq!(read(&bytes, content).unwrap().len(), 1);
        let other = ContentHash::from_bytes([0; 32]);
        assert_eq!(read(&bytes, other), Err(ContentsError::Untrue));
    }

    /// K11: contents have one form; a sealer who chooses another, to mark the envelope or to say what none may, is refused.
    #[test]
    fn k11_contents_have_one_form() {
        let (bytes, content) = written();
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = bytes.clone();
            change(&mut bytes);
            read(&bytes, content)
        };
        let malformed = Err(ContentsError::Malformed);
        assert_eq!(changed(&|bytes| *bytes.last_mut().unwrap() = 1), malformed, "padding that is not zero");
        assert_eq!(changed(&|bytes| bytes.push(0)), malformed, "a length between two classes");
        assert_eq!(changed(&|bytes| bytes.resize(2 * SHORTEST, 0)), malformed, "a class too long");
        assert_eq!(changed(&|bytes| bytes.truncate(HEADER)), malformed);
        assert_eq!(changed(&|bytes| bytes[HEADER - 1] += 1), malformed, "half a frame after the last");
        assert_eq!(changed(&|bytes| bytes[HEADER + 1] += 1), malformed, "a frame that ends beyond them");
        for kind in [0, 3, 5, 6, 7, 9] {
            assert_eq!(changed(&|bytes| bytes[HEADER + 2] = kind), malformed, "kind {kind}");
        }
        let frames = changed(&|bytes| bytes[HEADER + 2] = 99).unwrap();
        assert_eq!(frames, [Err(FrameError::UnknownKind(99))]);
    }
}
