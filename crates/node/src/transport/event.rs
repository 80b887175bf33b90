//! What a transport tells the runtime: streams that came in, and the state of every link by name.

use std::{fmt, time::Duration};

use tokio::sync::mpsc;

use super::{Address, ByteStream, NodeId};

/// The purposes of a stream; each has its own protocol name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum StreamKind {
    /// A session between two capitals, over a mediator's circuit.
    Live,
    /// What a capital says to a mediator's custody and hears from it, directly.
    Custody,
    /// A few roster documents; the only kind that a stranger may open, and only one.
    Roster,
}

/// A stream that another node opened.
pub(crate) struct Incoming {
    /// The node that opened it; its possession of the key is proven.
    pub peer: NodeId,
    /// The mediator whose circuit carries it; `None` for a direct connection.
    pub via: Option<NodeId>,
    /// What it is for.
    pub kind: StreamKind,
    /// Whether `peer` was known (directory or admission) when its connection began. A stranger's
    /// connection ends after [`STRANGER_TIME`](super::defaults::STRANGER_TIME), whatever happens on it.
    pub known: bool,
    /// The bytes.
    pub stream: ByteStream,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("peer", &self.peer)
            .field("via", &self.via)
            .field("kind", &self.kind)
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

/// Something that happened to a transport. The texts called `reason` are for logs and operators.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum TransportEvent {
    /// Another node opened a stream.
    Incoming(Incoming),

    /// Capital: connected to a mediator of the directory.
    MediatorUp {
        /// The mediator.
        node: NodeId,
        /// The address that answered.
        address: Address,
        /// TCP or QUIC.
        carrier: Carrier,
    },
    /// Capital: the connection to a mediator ended, and with it the reservation and all circuits over it. It is being
    /// dialled again.
    MediatorDown {
        /// The mediator.
        node: NodeId,
        /// Why, as far as it can be seen from here.
        reason: String,
    },
    /// Capital: attempts to connect fail. Told when the reason changes and every half minute,
    /// not at each attempt.
    MediatorUnreachable {
        /// The mediator.
        node: NodeId,
        /// The address of the last attempt.
        address: Address,
        /// Why it failed.
        reason: String,
    },
    /// Capital: at a mediator's address another key answered than its card says. Its successor may be
    /// there: ask it for its card with [`RosterTarget::Address`](super::RosterTarget::Address).
    WrongNode {
        /// The address that was dialled.
        address: Address,
        /// Whom the directory expects there.
        expected: NodeId,
        /// Who answered.
        found: NodeId,
    },
    /// Capital: the mediator holds a reservation for us: peers can reach us through it.
    Reserved {
        /// The mediator.
        node: NodeId,
    },
    /// Capital: the reservation is gone or was refused; it is being asked for again.
    ReservationLost {
        /// The mediator.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// Capital: a circuit to a peer stands. Streams over it cost no further handshake.
    CircuitUp {
        /// The other end.
        peer: NodeId,
        /// The mediator that carries it.
        via: NodeId,
    },
    /// Capital: the last circuit to a peer over this mediator ended.
    CircuitDown {
        /// The other end.
        peer: NodeId,
        /// The mediator that carried it.
        via: NodeId,
        /// Why.
        reason: String,
    },
    /// A round-trip time, measured by ping every few seconds. May be left out when the reader is slow.
    Rtt {
        /// The node that answered.
        peer: NodeId,
        /// The mediator whose circuit was measured; `None` for a direct connection.
        via: Option<NodeId>,
        /// The round trip.
        rtt: Duration,
    },

    /// Somebody was turned away. May be left out when refusals come faster than they are read.
    Refused {
        /// Who, if it got far enough to be known.
        who: Option<NodeId>,
        /// Why.
        why: Refusal,
    },

    /// Mediator: a node connected.
    PeerConnected {
        /// The node.
        node: NodeId,
        /// Its address as seen from here.
        from: String,
        /// Whether a channel admits it.
        admitted: bool,
    },
    /// Mediator: a node's last connection ended.
    PeerDisconnected {
        /// The node.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// Mediator: an admitted node reserved, so others can reach it through us.
    PeerReserved {
        /// The node.
        node: NodeId,
    },
    /// Mediator: a circuit between two nodes stands.
    CircuitOpened {
        /// The node that asked for it.
        source: NodeId,
        /// The node it leads to.
        destination: NodeId,
    },
    /// Mediator: a circuit ended.
    CircuitClosed {
        /// The node that asked for it.
        source: NodeId,
        /// The node it led to.
        destination: NodeId,
    },
    /// Mediator: one key is in use at two places at once. Either a copy runs by mistake or it was stolen.
    SeenTwice {
        /// The key.
        node: NodeId,
        /// The two addresses, as seen from here.
        places: [String; 2],
    },
}

/// What carries a direct connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Carrier {
    /// TLS 1.3 over TCP.
    Tcp,
    /// QUIC over UDP.
    Quic,
}

/// Why somebody was turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum Refusal {
    /// A live stream by a node that is not in the directory or admission.
    UnknownNode(StreamKind),
    /// A stranger's second stream on one connection.
    SecondStream,
    /// Too many strangers are connected, in all or from one address.
    TooManyStrangers,
    /// One known node has too many connections.
    TooManyConnections,
    /// Too many handshakes are unfinished, in all or from one address.
    TooManyHandshakes,
    /// The runtime does not take streams as fast as they come.
    Busy,
    /// A reservation asked for by a node that no channel admits.
    Reservation,
    /// A circuit to `destination`, with whom the source shares no channel.
    Circuit {
        /// The node that was asked for.
        destination: NodeId,
    },
    /// A key that is not Ed25519.
    ForeignKey,
    /// A node that the new directory or admission no longer holds.
    Removed,
}

/// The receiving end of a transport's events; there is one per transport.
pub(crate) struct Events(pub(crate) mpsc::Receiver<TransportEvent>);

impl Events {
    /// The next event, or `None` once the transport has shut down and all events were taken.
    ///
    /// `None` without a [`shutdown`](super::Transport::shutdown) means that the network task died: restart the node.
    pub(crate) async fn next(&mut self) -> Option<TransportEvent> {
        self.0.recv().await
    }
}
