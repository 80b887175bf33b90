//! A multiplexer that closes in bounded time.
//!
//! Closing says goodbye over the connection, and the swarm reports the connection as closed only when that is
//! written. On a half-open link with a full send buffer it never is, and until TCP gives up (a quarter of an
//! hour) the relay client would go on choosing the dead connection. So the goodbye has [`CLOSE_TIMEOUT`].

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use tokio::time::{Sleep, sleep};

use crate::transport::defaults::CLOSE_TIMEOUT;

pub(super) struct BoundedClose {
    inner: StreamMuxerBox,
    closing: Option<Pin<Box<Sleep>>>,
}

impl BoundedClose {
    /// Wraps `inner`.
    pub(super) fn new(inner: StreamMuxerBox) -> Self {
        Self { inner, closing: None }
    }
}

impl StreamMuxer for BoundedClose {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.inner).poll_inbound(cx)
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        Pin::new(&mut self.inner).poll_outbound(cx)
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
