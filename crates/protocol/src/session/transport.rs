//! An established session: seals frames and opens them, in order, until the first failure, which ends it.
//!
//! Each direction counts its messages in the nonce, so one that is missing, repeated, out of place, from
//! another session or from the other direction does not open (threats M4, M5, M8, M9, M13).

use super::{choose::OpenedBy, stream::PREFIX};
use crate::limits;

/// Bytes of the authenticator at the end of each message.
const TAG: usize = limits::NOISE_MESSAGE - limits::FRAME;

/// A session. Belongs to one task; keys live in its memory alone and are overwritten when it ends.
pub struct Session {
    /// `None` once it is dead.
    state: Option<Box<snow::TransportState>>,
    opened_by: OpenedBy,
    binding: [u8; 32],
    sealed: u64,
    opened: u64,
}

/// Why a frame was neither sealed nor opened.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum SessionError {
    /// The peer or whoever carries the stream: the message is not the next one that the peer sealed. The
    /// session is dead.
    #[error("a message that is not the next one of this session")]
    NotAuthentic,
    /// The peer: shorter or longer than a message can be. The session is dead.
    #[error("a message of {0} bytes, which none can have")]
    Length(usize),
    /// The caller: longer than [`limits::FRAME`]. Nothing was sealed, and the session lives.
    #[error("a frame of {0} bytes is longer than {max}", max = limits::FRAME)]
    TooLong(usize),
    /// The session has ended, by an earlier error or by [`Session::end`].
    #[error("the session has ended")]
    Dead,
}

impl Session {
    pub(super) fn new(state: snow::TransportState, binding: [u8; 32]) -> Self {
        let opened_by = if state.is_initiator() { OpenedBy::Us } else { OpenedBy::Peer };
        Self { state: Some(Box::new(state)), opened_by, binding, sealed: 0, opened: 0 }
    }

    /// Seals a frame: the bytes to put on the stream, length included.
    pub fn seal(&mut self, frame: &[u8]) -> Result<Vec<u8>, SessionError> {
        if frame.len() > limits::FRAME {
            return Err(SessionError::TooLong(frame.len()));
        }
        let state = self.state.as_mut().ok_or(SessionError::Dead)?;
        let mut bytes = vec![0; PREFIX + frame.len() + TAG];
        let sealed = bytes.split_first_chunk_mut::<PREFIX>().and_then(|(length, message)| {
            *length = u16::try_from(message.len()).ok()?.to_be_bytes();
            state.write_message(frame, message).ok()
        });
        // Only an exhausted counter leads here, and no session lives to see 2^64 frames.
        if sealed.is_none() {
            self.end();
            return Err(SessionError::Dead);
        }
        self.sealed = self.sealed.saturating_add(1);
        Ok(bytes)
    }

    /// Opens a message, without its length: the frame that the peer sealed. Any error ends the session.
    pub fn open(&mut self, message: &[u8]) -> Result<Vec<u8>, SessionError> {
        let state = self.state.as_mut().ok_or(SessionError::Dead)?;
        let length = message.len();
        if !(TAG..=limits::NOISE_MESSAGE).contains(&length) {
            self.end();
            return Err(SessionError::Length(length));
        }
        let mut frame = vec![0; length - TAG];
        if state.read_message(message, &mut frame).is_err() {
            self.end();
            return Err(SessionError::NotAuthentic);
        }
        self.opened = self.opened.saturating_add(1);
        Ok(frame)
    }

    /// Ends it: the keys are gone, nothing is sealed or opened any more.
    pub fn end(&mut self) {
        self.state = None;
    }

    /// Whether it has ended.
    pub const fn is_dead(&self) -> bool {
        self.state.is_none()
    }

    /// Which side opened it; only that side rehandshakes.
    pub const fn opened_by(&self) -> OpenedBy {
        self.opened_by
    }

    /// Frames sealed so far.
    pub const fn sealed(&self) -> u64 {
        self.sealed
    }

    /// Frames opened so far.
    pub const fn opened(&self) -> u64 {
        self.opened
    }

    /// The handshake's hash: the same 32 bytes at both ends and in no other session. For logs, not a secret.
    pub const fn binding(&self) -> &[u8; 32] {
        &self.binding
    }

    /// Whether it has carried [`limits::REHANDSHAKE_FRAMES`] in one direction: tell [`Sessions::worn`].
    ///
    /// [`Sessions::worn`]: super::Sessions::worn
    pub const fn is_worn(&self) -> bool {
        self.sealed >= limits::REHANDSHAKE_FRAMES || self.opened >= limits::REHANDSHAKE_FRAMES
    }
}

/// The two counters; never a key.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("opened_by", &self.opened_by)
            .field("sealed", &self.sealed)
            .field("opened", &self.opened)
            .field("dead", &self.is_dead())
            .finish_non_exhaustive()
    }
}
