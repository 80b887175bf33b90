//! The transport on the network: libp2p, with the swarm in one task behind bounded channels.
//!
//! `stack.rs` composes the protocols, `driver.rs` is the task, this file is the handle and how a node starts. No
//! libp2p type leaves this folder.

mod backlog;
mod backoff;
mod capital;
mod close;
mod door;
mod driver;
mod errors;
mod gate;
mod gather;
mod identity;
mod known;
mod link;
mod mediator;
mod multiaddr;
mod stack;
mod start;
mod streams;
#[cfg(test)]
mod tests;
mod twice;

use futures::{FutureExt, future::BoxFuture};
use libp2p::Stream;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use self::driver::{Answered, Command};
pub(crate) use self::start::{Config, Role, start};
use super::{
    Admission, ByteStream, Directory, NodeId, OpenError, RosterStream, RosterTarget, StreamKind, Transport,
    defaults::OPEN_TIMEOUT,
};

/// A handle to a running network task. The task ends when the last handle is dropped, or at [`Transport::shutdown`].
#[derive(Clone)]
pub(crate) struct Libp2pTransport {
    #[cfg(test)]
    local: NodeId,
    #[cfg(test)]
    listening: Vec<super::Address>,
    commands: mpsc::Sender<Command>,
    directory: watch::Sender<Directory>,
    admission: watch::Sender<Admission>,
}

impl Libp2pTransport {
    #[cfg(test)]
    fn local(&self) -> NodeId {
        self.local
    }

    /// The addresses at which a mediator listens, for TCP and QUIC alike, with the ports that were really bound.
    #[cfg(test)]
    fn listening(&self) -> &[super::Address] {
        &self.listening
    }

    fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, OpenError>>) -> Command,
    ) -> BoxFuture<'static, Result<T, OpenError>> {
        let (reply, answer) = oneshot::channel();
        let command = command(reply);
        let commands = self.commands.clone();
        async move {
            commands.send(command).await.map_err(|_| OpenError::Shutdown)?;
            settle(answer).await
        }
        .boxed()
    }

    fn stream(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<Stream, OpenError>>) -> Command,
    ) -> BoxFuture<'static, Result<ByteStream, OpenError>> {
        let asked = self.ask(command);
        within_time(async move { Ok(boxed(asked.await?)) })
    }
}

impl Transport for Libp2pTransport {
    fn set_directory(&self, directory: Directory) {
        self.directory.send_replace(directory);
    }

    fn set_admission(&self, admission: Admission) {
        self.admission.send_replace(admission);
    }

    fn open(&self, peer: NodeId, via: NodeId) -> BoxFuture<'static, Result<ByteStream, OpenError>> {
        self.stream(|reply| Command::OverCircuit { peer, via, kind: StreamKind::Live, reply })
    }

    fn open_custody(&self, mediator: NodeId) -> BoxFuture<'static, Result<ByteStream, OpenError>> {
        self.stream(|reply| Command::ToMediator { node: mediator, kind: StreamKind::Custody, reply })
    }

    fn open_roster(&self, target: RosterTarget) -> BoxFuture<'static, Result<RosterStream, OpenError>> {
        let kind = StreamKind::Roster;
        match target {
            RosterTarget::Mediator(node) => {
                let stream = self.stream(|reply| Command::ToMediator { node, kind, reply });
                stream.map(move |stream| stream.map(|stream| RosterStream { node, stream })).boxed()
            }
            RosterTarget::Peer { peer, via } => {
                let stream = self.stream(|reply| Command::OverCircuit { peer, via, kind, reply });
                stream.map(move |stream| stream.map(|stream| RosterStream { node: peer, stream })).boxed()
            }
            RosterTarget::Address(address) => {
                let asked = self.ask(|reply| Command::ToAddress { address, reply });
                within_time(async move {
                    let Answered { node, stream } = asked.await?;
                    let stream = boxed(settle(stream).await?);
                    Ok(RosterStream { node, stream })
                })
            }
        }
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        let commands = self.commands.clone();
        async move {
            let (done, finished) = oneshot::channel();
            if commands.send(Command::Shutdown(done)).await.is_ok() {
                let _ = finished.await;
            }
            // The task drops its sockets after that; the channel closes with them.
            commands.closed().await;
        }
        .boxed()
    }
}

fn boxed(stream: Stream) -> ByteStream {
    Box::new(stream.compat())
}

/// Waits for an answer. One that never comes means that the connection or the task went meanwhile.
async fn settle<T>(answer: oneshot::Receiver<Result<T, OpenError>>) -> Result<T, OpenError> {
    answer.await.unwrap_or_else(|_| Err(OpenError::Failed("the connection ended".to_owned())))
}

fn within_time<T>(
    opening: impl Future<Output = Result<T, OpenError>> + Send + 'static,
) -> BoxFuture<'static, Result<T, OpenError>> {
    timeout(OPEN_TIMEOUT, opening).map(|outcome| outcome.unwrap_or(Err(OpenError::Timeout))).boxed()
}
