//! A multiplexer that closes in bounded time and takes its streams with it.
//!
//! Closing says goodbye over the connection, and the swarm reports the connection as closed only when that is
//! written. On a half-open link with a full send buffer it never is, and until TCP gives up (a quarter of an
//! hour) the relay client would go on choosing the dead connection. So the goodbye has [`CLOSE_TIMEOUT`].
//!
//! And yamux, when it is this side that closes, wakes nobody who waits on one of its streams: a reader would sleep
//! for ever, and the relay keep a circuit whose other half is gone. So streams here end with their connection.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use crate::transport::defaults::CLOSE_TIMEOUT;

pub(super) struct BoundedClose {
    inner: StreamMuxerBox,
    closing: Option<Pin<Box<Sleep>>>,
    /// Cancelled when this is dropped, which is when the connection is gone.
    gone: DropGuard,
}

impl BoundedClose {
    /// Wraps `inner`.
    pub(super) fn new(inner: StreamMuxerBox) -> Self {
        Self { inner, closing: None, gone: CancellationToken::new().drop_guard() }
    }

    fn bind(&self, inner: SubstreamBox) -> Bound {
        Bound { inner, gone: self.gone.token().clone(), reading: None, writing: None }
    }
}

impl StreamMuxer for BoundedClose {
    type Substream = Bound;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Bound, Self::Error>> {
        let stream = Pin::new(&mut self.inner).poll_inbound(cx);
        stream.map_ok(|stream| self.bind(stream))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Bound, Self::Error>> {
        let stream = Pin::new(&mut self.inner).poll_outbound(cx);
        stream.map_ok(|stream| self.bind(stream))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Poll::Ready(result) = Pin::new(&mut self.inner).poll_close(cx) {
            return Poll::Ready(result);
        }
        let closing = self.closing.get_or_insert_with(|| Box::pin(sleep(CLOSE_TIMEOUT)));
        closing.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// A stream that ends with its connection.
pub(super) struct Bound {
    inner: SubstreamBox,
    gone: CancellationToken,
    /// Two, since a reader and a writer may wait in different tasks.
    reading: Option<Waiting>,
    writing: Option<Waiting>,
}

type Waiting = Pin<Box<WaitForCancellationFutureOwned>>;

/// Lets a pending operation end when the connection goes.
fn unless_gone<T>(
    outcome: Poll<io::Result<T>>,
    gone: &CancellationToken,
    waiting: &mut Option<Waiting>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    if outcome.is_ready() {
        // What was read before the connection went is still given out.
        return outcome;
    }
    waiting
        .get_or_insert_with(|| Box::pin(gone.clone().cancelled_owned()))
        .as_mut()
        .poll(cx)
        .map(|()| Err(io::ErrorKind::ConnectionAborted.into()))
}

impl AsyncRead for Bound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let outcome = Pin::new(&mut this.inner).poll_read(cx, buffer);
        unless_gone(outcome, &this.gone, &mut this.reading, cx)
    }
}

impl AsyncWrite for Bound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let outcome = Pin::new(&mut this.inner).poll_write(cx, bytes);
        unless_gone(outcome, &this.gone, &mut this.writing, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let outcome = Pin::new(&mut this.inner).poll_flush(cx);
        unless_gone(outcome, &this.gone, &mut this.writing, cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let outcome = Pin::new(&mut this.inner).poll_close(cx);
        unless_gone(outcome, &this.gone, &mut this.writing, cx)
    }
}
