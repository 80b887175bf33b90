//! A stream cut into Noise messages, and a live session on one. Both are polled by whoever owns them: between the network and
//! the channel's task there is no other task and no queue.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use demarche_protocol::{
    channel::{CloseReason, Frame, FrameError},
    hash::DocumentId,
    limits,
    session::{Deframer, Preamble, Session, SessionError, StreamError},
};
use tokio::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};

use crate::{
    defaults::{FAREWELL, READING, SENDING},
    transport::{ByteStream, NodeId},
};

/// Why a stream gives no more.
#[derive(Debug)]
pub(super) enum Ended {
    /// It ended: the other side finished, or the circuit was cut.
    Eof,
    /// The transport failed.
    Io(String),
    /// Its bytes are no messages.
    Stream(StreamError),
    /// A message does not belong to the session.
    Session(SessionError),
    /// A frame is not one.
    Frame(FrameError),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eof => f.write_str("the connection was interrupted"),
            Self::Io(why) => write!(f, "the connection failed: {why}"),
            Self::Stream(why) => write!(f, "the peer sent {why}"),
            Self::Session(why) => write!(f, "the peer sent {why}"),
            Self::Frame(why) => write!(f, "the peer sent {why}"),
        }
    }
}

impl From<StreamError> for Ended {
    fn from(why: StreamError) -> Self {
        Self::Stream(why)
    }
}

/// A stream and what came in on it but is not yet a whole message.
pub(super) struct Framed {
    pub(super) stream: ByteStream,
    deframer: Deframer,
    /// Read, and without room in the deframer yet.
    spare: Vec<u8>,
    /// Bytes were read since this was last asked.
    heard: bool,
}

impl Framed {
    pub(super) fn new(stream: ByteStream) -> Self {
        Self { stream, deframer: Deframer::new(), spare: Vec::new(), heard: false }
    }

    /// The opener's first words.
    pub(super) fn poll_preamble(&mut self, cx: &mut Context<'_>) -> Poll<Result<Preamble, Ended>> {
        loop {
            if let Some(preamble) = self.deframer.preamble()? {
                return Poll::Ready(Ok(preamble));
            }
            ready!(self.poll_more(cx))?;
        }
    }

    /// The next message of at most `limit` bytes.
    pub(super) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Poll<Result<Vec<u8>, Ended>> {
        loop {
            if let Some(message) = self.deframer.message(limit)? {
                return Poll::Ready(Ok(message));
            }
            ready!(self.poll_more(cx))?;
        }
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        if !self.spare.is_empty() {
            let spare = std::mem::take(&mut self.spare);
            self.spare = self.deframer.push(&spare).to_vec();
            return Poll::Ready(Ok(()));
        }
        let mut bytes = [std::mem::MaybeUninit::uninit(); READING];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
        read.map_err(|error| Ended::Io(error.to_string()))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(Ended::Eof));
        }
        self.heard = true;
        self.spare = self.deframer.push(buffer.filled()).to_vec();
        Poll::Ready(Ok(()))
    }
}

/// A session that carries frames.
pub(super) struct Live {
    framed: Framed,
    session: Session,
    /// Sealed and not yet taken by the stream, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    unflushed: bool,
    /// The mediator that carries it.
    pub(super) via: NodeId,
    /// The peer's card, under which it was admitted.
    pub(super) card: DocumentId,
    /// The machine is to be told how much room there is.
    pub(super) tell_room: bool,
}

impl Live {
    pub(super) fn new(framed: Framed, session: Session, via: NodeId, card: DocumentId) -> Self {
        Self { framed, session, out: Vec::new(), sent: 0, unflushed: false, via, card, tell_room: true }
    }

    /// Whether bytes have come since this was last asked, be they part of a frame.
    pub(super) const fn has_heard(&mut self) -> bool {
        std::mem::replace(&mut self.framed.heard, false)
    }

    /// Seals a frame and queues it. Gives how many bytes it takes.
    pub(super) fn queue(&mut self, frame: &Frame) -> Result<usize, SessionError> {
        let sealed = self.session.seal(&frame.encode())?;
        if self.sent > 0 && self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        self.out.extend_from_slice(&sealed);
        self.tell_room = true;
        Ok(sealed.len())
    }

    /// Bytes that may be queued before the stream has taken more.
    pub(super) fn room(&self) -> usize {
        SENDING.saturating_sub(self.out.len() - self.sent)
    }

    /// Whether the session has carried as many frames as one should.
    pub(super) const fn is_worn(&self) -> bool {
        self.session.is_worn()
    }

    /// Hands what is queued to the stream. `Pending` while it does not take all.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let failed = |error: std::io::Error| Ended::Io(error.to_string());
        while self.sent < self.out.len() {
            let rest = &self.out[self.sent..];
            let wrote = ready!(Pin::new(&mut self.framed.stream).poll_write(cx, rest)).map_err(failed)?;
            if wrote == 0 {
                return Poll::Ready(Err(Ended::Eof));
            }
            self.sent += wrote;
            self.unflushed = true;
        }
        self.out.clear();
        self.sent = 0;
        // What a large frame needed is given back.
        self.out.shrink_to(SENDING);
        if self.unflushed {
            ready!(Pin::new(&mut self.framed.stream).poll_flush(cx)).map_err(failed)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// The next frame; `None` for one of a kind that is not known here.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, Ended>> {
        let message = ready!(self.framed.poll_message(cx, limits::NOISE_MESSAGE))?;
        let bytes = self.session.open(&message).map_err(Ended::Session)?;
        Poll::Ready(match Frame::decode(&bytes) {
            Ok(frame) => Ok(Some(frame)),
            Err(FrameError::UnknownKind(kind)) => {
                tracing::debug!(kind, "a frame of an unknown kind was skipped");
                Ok(None)
            }
            Err(why) => Err(Ended::Frame(why)),
        })
    }

    /// Says goodbye and ends the stream, if the other side still takes it.
    pub(super) async fn farewell(mut self, reason: CloseReason) {
        if self.queue(&Frame::Close(reason)).is_err() {
            return;
        }
        let rest = self.out.split_off(self.sent);
        let mut stream = self.framed.stream;
        let goodbye = async {
            stream.write_all(&rest).await?;
            stream.flush().await?;
            stream.shutdown().await
        };
        // The frame is a courtesy: without it the other side sees an interruption.
        let _ = tokio::time::timeout(FAREWELL, goodbye).await;
    }
}
