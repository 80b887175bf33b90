//! Byte streams between nodes that know each other by key.
//!
//! A capital keeps a connection and a reservation at every mediator of its directory and opens streams to
//! peers over their circuits; a mediator relays between the nodes that its admission holds. What the bytes
//! mean (Noise sessions, roster documents) is not known here. The runtime sees [`Transport`] and plain types only;
//! `libp2p` implements it on the network and `memory` within one process, for tests.

pub(crate) mod address;
pub(crate) mod admission;
pub(crate) mod defaults;
pub(crate) mod event;
pub(crate) mod libp2p;
mod node_id;

use std::{collections::BTreeSet, fmt};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use self::{
    address::{Address, AddressError},
    admission::{Admission, ChannelName},
    event::{Carrier, Events, Incoming, Refusal, StreamKind, TransportEvent},
    node_id::NodeId,
};

/// A duplex stream of bytes to another node.
///
/// End of stream does not mean that the other side finished: a cut circuit looks the same. Whoever needs
/// to know puts an end mark into the bytes.
pub(crate) type ByteStream = Box<dyn Duplex>;

/// What a [`ByteStream`] can do.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Whom a node deals with. Pushed whole at every change; links that it no longer holds are dropped at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    /// The mediators to keep a connection and a reservation at.
    pub mediators: Vec<MediatorPath>,
    /// The nodes whose live streams are taken and to whom circuits may be opened.
    pub peers: BTreeSet<NodeId>,
}

/// How to reach one mediator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediatorPath {
    /// Its name in the charter, for logs.
    pub name: String,
    /// The key on its current card.
    pub node: NodeId,
    /// The addresses on its current card. The first [`MAX_ADDRESSES`](defaults::MAX_ADDRESSES) are dialled, all at once.
    pub addresses: Vec<Address>,
}

/// Whom to open a roster stream to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RosterTarget {
    /// A mediator of the directory, over the standing connection.
    Mediator(NodeId),
    /// Whoever answers there, whatever its key. Its card and our pins decide whether to believe it.
    Address(Address),
    /// A peer, over a mediator's circuit.
    Peer {
        /// The peer.
        peer: NodeId,
        /// The mediator whose circuit to use.
        via: NodeId,
    },
}

/// An opened roster stream and who answers at its other end.
pub(crate) struct RosterStream {
    /// The node that answered; its possession of the key is proven.
    pub node: NodeId,
    /// The bytes.
    pub stream: ByteStream,
}

impl fmt::Debug for RosterStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RosterStream").field("node", &self.node).finish_non_exhaustive()
    }
}

/// Why a stream could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum OpenError {
    /// The directory does not hold this peer or mediator.
    #[error("the node is not in the directory")]
    NotInDirectory,
    /// There is no connection to the mediator now; it is being dialled.
    #[error("not connected to the mediator")]
    MediatorDown,
    /// The mediator says that the peer is not connected to it.
    #[error("the peer is not connected to the mediator")]
    PeerAbsent,
    /// The mediator, or the node itself, refuses.
    #[error("refused by the other side")]
    Refused,
    /// The other side does not speak this protocol.
    #[error("the other side does not support the protocol")]
    Unsupported,
    /// It took longer than [`OPEN_TIMEOUT`](defaults::OPEN_TIMEOUT).
    #[error("timed out")]
    Timeout,
    /// Too many opens are under way; try again when one has ended.
    #[error("too many streams are being opened")]
    Busy,
    /// The connection failed; the text is for logs.
    #[error("connection failed: {0}")]
    Failed(String),
    /// The transport has been shut down.
    #[error("the transport is shut down")]
    Shutdown,
}

/// Moves byte streams between nodes. Cheap to share behind an `Arc`; no method blocks.
///
/// The returned futures do not borrow, may run on any task, and when dropped give up the attempt.
pub(crate) trait Transport: Send + Sync {
    /// Replaces the directory. The latest one wins; connections, circuits and streams of nodes that it no
    /// longer holds end at once.
    fn set_directory(&self, directory: Directory);

    /// Mediators: replaces the admission. The latest one wins; nodes that it no longer holds are thrown
    /// out with their reservations and circuits at once. Without effect at a capital.
    fn set_admission(&self, admission: Admission);

    /// Opens a live stream to `peer` over the circuit of the mediator `via`; makes the circuit if none
    /// stands.
    fn open(&self, peer: NodeId, via: NodeId) -> BoxFuture<'static, Result<ByteStream, OpenError>>;

    /// Opens a stream to a mediator's custody, over the standing connection.
    fn open_custody(&self, mediator: NodeId) -> BoxFuture<'static, Result<ByteStream, OpenError>>;

    /// Opens the small stream that carries roster documents.
    fn open_roster(&self, target: RosterTarget) -> BoxFuture<'static, Result<RosterStream, OpenError>>;

    /// Closes every connection and ends the transport's tasks. Resolves when that is done.
    fn shutdown(&self) -> BoxFuture<'static, ()>;
}

#[cfg(test)]
pub(crate) mod memory;
