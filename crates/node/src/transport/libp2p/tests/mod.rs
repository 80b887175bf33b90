//! Real libp2p over loopback: capitals and mediators in one process. Every wait is for an event, with a generous limit.

mod admission;
mod circuits;
mod links;
mod strangers;

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use zeroize::Zeroizing;

use super::{Config, Libp2pTransport, Role, start};
use crate::transport::{
    Address, Admission, ByteStream, ChannelName, Directory, Events, Incoming, MediatorPath, NodeId,
    OpenError, StreamKind, Transport, TransportEvent,
};

/// No wait of these tests comes near it on a machine that is not overwhelmed.
const PATIENCE: Duration = Duration::from_secs(60);

const CHANNEL: ChannelName = ChannelName([7; 32]);

struct Node {
    transport: Libp2pTransport,
    events: Events,
}

impl Node {
    async fn capital(seed: u8) -> Self {
        Self::start(seed, Role::Capital).await
    }

    async fn mediator(seed: u8) -> Self {
        Self::mediator_at(seed, "127.0.0.1:0".parse().unwrap()).await
    }

    async fn mediator_at(seed: u8, listen: Address) -> Self {
        let role = Role::Mediator { listen: vec![listen], public: Vec::new() };
        Self::start(seed, role).await
    }

    async fn start(seed: u8, role: Role) -> Self {
        let config = Config { seed: Zeroizing::new([seed; 32]), role };
        let (transport, events) = start(config).await.expect("starts");
        Self { transport, events }
    }

    fn id(&self) -> NodeId {
        self.transport.local()
    }

    fn address(&self) -> Address {
        self.transport.listening()[0].clone()
    }

    /// Waits for the first event for which `pick` gives something; others are passed over.
    async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(TransportEvent) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.next().await.expect("the task lives");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("waited in vain for: {what}"))
    }

    async fn reserved_at(&mut self, mediator: NodeId) {
        self.wait("a reservation", |event| {
            matches!(event, TransportEvent::Reserved { node } if node == mediator).then_some(())
        })
        .await;
    }

    async fn incoming(&mut self, wanted: StreamKind) -> Incoming {
        self.wait("a stream", |event| match event {
            TransportEvent::Incoming(incoming) if incoming.kind == wanted => Some(incoming),
            _ => None,
        })
        .await
    }

    /// Opens a live stream, again and again until it succeeds, as a runtime does while links come back.
    async fn open(&self, peer: NodeId, via: NodeId) -> ByteStream {
        let attempts = async {
            loop {
                match self.transport.open(peer, via).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        timeout(PATIENCE, attempts).await.expect("opens in time")
    }
}

fn directory(mediator: &Node, peers: &[NodeId]) -> Directory {
    directory_at(mediator.id(), mediator.address(), peers)
}

fn directory_at(node: NodeId, address: Address, peers: &[NodeId]) -> Directory {
    Directory {
        mediators: vec![MediatorPath { name: "Muscat".to_owned(), node, addresses: vec![address] }],
        peers: peers.iter().copied().collect(),
    }
}

fn admission(nodes: &[NodeId]) -> Admission {
    let mut admission = Admission::new();
    admission.set_channel(CHANNEL, nodes.iter().copied().collect());
    admission
}

/// Two capitals that are reserved at a mediator which admits both.
async fn trio(seeds: [u8; 3]) -> (Node, Node, Node) {
    let mediator = Node::mediator(seeds[0]).await;
    let mut a = Node::capital(seeds[1]).await;
    let mut b = Node::capital(seeds[2]).await;
    mediator.transport.set_admission(admission(&[a.id(), b.id()]));
    a.transport.set_directory(directory(&mediator, &[b.id()]));
    b.transport.set_directory(directory(&mediator, &[a.id()]));
    a.reserved_at(mediator.id()).await;
    b.reserved_at(mediator.id()).await;
    (mediator, a, b)
}

/// Sends `bytes` one way and the same back, and checks that nothing changed on the way.
async fn echo(near: &mut ByteStream, far: &mut ByteStream, bytes: &[u8]) {
    let there_and_back = async {
        let near_side = async {
            let (mut reader, mut writer) = tokio::io::split(near);
            let mut back = vec![0; bytes.len()];
            let (sent, read) = tokio::join!(
                async {
                    writer.write_all(bytes).await?;
                    writer.flush().await
                },
                reader.read_exact(&mut back)
            );
            sent.expect("sent");
            read.expect("came back");
            back
        };
        let far_side = async {
            let mut buffer = vec![0; 16 << 10];
            let mut left = bytes.len();
            while left > 0 {
                let read = far.read(&mut buffer).await.expect("arrives");
                assert!(read > 0, "cut with {left} bytes to come");
                far.write_all(&buffer[..read]).await.expect("returns");
                far.flush().await.expect("returns");
                left -= read;
            }
        };
        tokio::join!(near_side, far_side).0
    };
    let back = timeout(PATIENCE, there_and_back).await.expect("in time");
    assert!(back == bytes, "the bytes changed on the way");
}

/// Reads until the stream ends, however it ends.
async fn until_end(stream: &mut ByteStream) {
    let reading = async {
        let mut buffer = [0; 1024];
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
    };
    timeout(PATIENCE, reading).await.expect("the stream ends");
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
