//! How many connections the officers' socket holds, and whose: no account can take the places of the others, or of the
//! node's own, by leaving connections open (threats S9, L1). One too many is closed at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        UnixListener, UnixStream,
        unix::{SocketAddr, UCred},
    },
};

use crate::defaults::{CONNECTIONS, CONNECTIONS_OF_ONE};

/// Connections that are open, by account. Bounded by [`CONNECTIONS`].
#[derive(Default)]
struct Taken {
    by_account: BTreeMap<Option<u32>, usize>,
    /// An account was told in the log that it has too many, and has had them ever since.
    told: BTreeSet<Option<u32>>,
}

impl Taken {
    fn take(&mut self, account: Option<u32>, node: u32) -> bool {
        let own = account == Some(node);
        let others: usize =
            self.by_account.iter().filter(|(known, _)| **known != Some(node)).map(|(_, count)| count).sum();
        let count = self.by_account.get(&account).copied().unwrap_or_default();
        let fits = count < CONNECTIONS_OF_ONE && (own || others < CONNECTIONS);
        if fits {
            self.by_account.insert(account, count + 1);
        }
        fits
    }

    fn leave(&mut self, account: Option<u32>) {
        if let Some(count) = self.by_account.get_mut(&account) {
            *count -= 1;
            if *count == 0 {
                self.by_account.remove(&account);
            }
        }
        self.told.remove(&account);
    }
}

/// The officers' socket, with a bound on its connections.
pub(super) struct Placing {
    listener: UnixListener,
    taken: Arc<Mutex<Taken>>,
    node: u32,
}

/// A connection and its place.
pub(super) struct Placed {
    stream: UnixStream,
    account: Option<u32>,
    taken: Arc<Mutex<Taken>>,
}

impl Placing {
    pub(super) fn new(listener: UnixListener) -> Self {
        Self { listener, taken: Arc::default(), node: rustix::process::geteuid().as_raw() }
    }

    fn place(&self, stream: UnixStream) -> Option<Placed> {
        let account = stream.peer_cred().ok().map(|credentials| credentials.uid());
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.take(account, self.node) {
            return Some(Placed { stream, account, taken: Arc::clone(&self.taken) });
        }
        if taken.told.insert(account) {
            tracing::warn!(
                uid = account,
                "too many connections to the officers' socket: the next are closed"
            );
        }
        None
    }
}

impl Placed {
    /// Who is at the other end.
    pub(super) fn peer_credentials(&self) -> Option<UCred> {
        self.stream.peer_cred().ok()
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).leave(self.account);
    }
}

impl Listener for Placing {
    type Io = Placed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Placed, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            if let Some(placed) = self.place(stream) {
                return (placed, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: u32 = 100;

    fn fill(taken: &mut Taken, account: u32) -> usize {
        (0..10_000).take_while(|_| taken.take(Some(account), NODE)).count()
    }

    /// L1, S9: whatever other accounts leave open, each account finds its share, and the node's own account always does.
    #[test]
    fn l1_s9_no_account_takes_the_places_of_others() {
        let mut taken = Taken::default();
        assert_eq!(fill(&mut taken, 1000), CONNECTIONS_OF_ONE);
        assert_eq!(fill(&mut taken, 1001), CONNECTIONS_OF_ONE);
        assert_eq!(fill(&mut taken, 1002), CONNECTIONS - 2 * CONNECTIONS_OF_ONE);
        assert_eq!(fill(&mut taken, 1003), 0, "all together have a bound");
        assert_eq!(fill(&mut taken, NODE), CONNECTIONS_OF_ONE);
        taken.leave(Some(1000));
        assert_eq!(fill(&mut taken, 1003), 1);
        assert_eq!(fill(&mut taken, 1000), 0);
    }
}
