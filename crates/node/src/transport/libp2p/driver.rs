//! The network task: owns the swarm, keeps the table of connections, and decides which of them may live.
//!
//! Everything else talks to it through bounded channels, and it waits for nobody. What only a capital does is in
//! `capital.rs`, what only a mediator does in `mediator.rs`.

use std::collections::{BTreeMap, HashMap};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Stream, Swarm,
    core::ConnectedPoint,
    ping, relay,
    swarm::{ConnectionId, SwarmEvent},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use super::{
    backlog::Backlog,
    capital::{Errand, Waiting},
    errors::chain,
    identity::node_id,
    known::Known,
    link::Link,
    multiaddr::{before_circuit, is_quic, readable},
    stack::{Behaviour, BehaviourEvent},
    streams::{Inbound, Reply},
    twice::Displacements,
};
use crate::transport::{
    Address, Admission, Directory, Incoming, NodeId, OpenError, Refusal, StreamKind, TransportEvent,
    defaults::{CLOSE_TIMEOUT, QUIC_SILENCE_LIMIT, SILENCE_LIMIT, STRANGER_TIME, WELCOME_TIME},
};

/// What the handle asks of the task.
pub(super) enum Command {
    /// Open a stream to a peer over a mediator's circuit.
    OverCircuit {
        peer: NodeId,
        via: NodeId,
        kind: StreamKind,
        reply: Reply,
    },
    /// Open a stream to a mediator of the directory.
    ToMediator {
        node: NodeId,
        kind: StreamKind,
        reply: Reply,
    },
    /// Open a roster stream to whoever answers at an address.
    ToAddress {
        address: Address,
        reply: oneshot::Sender<Result<Answered, OpenError>>,
    },
    Shutdown(oneshot::Sender<()>),
}

/// Who answered at an address, and the stream that is being opened to it.
pub(super) struct Answered {
    pub(super) node: NodeId,
    pub(super) stream: oneshot::Receiver<Result<Stream, OpenError>>,
}

pub(super) struct Driver {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) is_mediator: bool,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) directory: watch::Receiver<Directory>,
    pub(super) admission: watch::Receiver<Admission>,
    pub(super) backlog: Backlog,
    pub(super) known: Known,
    pub(super) connections: HashMap<ConnectionId, Connection>,
    /// Capital: the way to each mediator of the directory.
    pub(super) links: BTreeMap<NodeId, Link>,
    /// Why each connection attempt of ours was made.
    pub(super) dials: HashMap<ConnectionId, Purpose>,
    /// Opens that wait for a circuit, by peer and mediator.
    pub(super) waiting: BTreeMap<(NodeId, NodeId), Waiting>,
    /// Opens that wait for an address to answer.
    pub(super) errands: HashMap<u64, Errand>,
    pub(super) next_errand: u64,
    /// Mediator: the circuits that stand, source first.
    pub(super) circuits: Vec<(NodeId, NodeId)>,
    pub(super) displacements: Displacements,
}

/// Why a connection was dialled.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Link(NodeId),
    Circuit { peer: NodeId, via: NodeId },
    Errand(u64),
}

/// One established connection.
pub(super) struct Connection {
    pub(super) node: NodeId,
    pub(super) peer: PeerId,
    /// The mediator whose circuit it is; `None` if it is direct.
    pub(super) via: Option<NodeId>,
    /// The other side's address as dialled or as seen.
    pub(super) address: Multiaddr,
    /// What its node was when it began; that does not change.
    standing: Standing,
    /// Whether the other side dialled.
    inbound: bool,
    pub(super) last_pong: Instant,
    /// When it ends whatever happens.
    pub(super) ends_at: Option<Instant>,
    /// Set once it is being closed, with the reason.
    pub(super) closing: Option<String>,
    /// Mediator: whether it holds a reservation.
    pub(super) reserved: bool,
    /// Mediator: circuits asked for that the gate refused.
    pub(super) refused_circuits: usize,
}

impl Driver {
    /// Runs until told to shut down or until every handle is gone.
    pub(super) async fn run(mut self) {
        let done = loop {
            let wake_at = self.act();
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                command = self.commands.recv() => match command {
                    Some(Command::Shutdown(done)) => break Some(done),
                    Some(command) => self.on_command(command),
                    None => break None,
                },
                Ok(()) = self.directory.changed() => self.on_directory(),
                Ok(()) = self.admission.changed() => self.on_admission(),
                () = self.backlog.flush_one(), if !self.backlog.is_empty() => {}
                () = sleep_until(wake_at) => {}
            }
        };
        self.close_all().await;
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    /// Says goodbye to everybody, for as long as a close may take.
    async fn close_all(&mut self) {
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            self.close(id, "shutting down");
        }
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while !self.connections.is_empty() {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                () = sleep_until(deadline) => return,
            }
        }
    }

    /// Does all that is due and gives the time at which the next thing will be.
    fn act(&mut self) -> Instant {
        let now = Instant::now();
        let overdue: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.closing.is_none())
            .filter_map(|(id, connection)| {
                let (at, why) = connection.end();
                (at <= now).then_some((*id, why))
            })
            .collect();
        for (id, why) in overdue {
            self.close(id, why);
        }
        self.drive_links(now);
        let ends = self
            .connections
            .values()
            .filter(|connection| connection.closing.is_none())
            .map(|connection| connection.end().0);
        let dials = self.links.values().filter_map(Link::wake_at);
        ends.chain(dials).min().unwrap_or_else(|| now + SILENCE_LIMIT)
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::OverCircuit { peer, via, kind, reply } => self.open_over_circuit(peer, via, kind, reply),
            Command::ToMediator { node, kind, reply } => self.open_to_mediator(node, kind, reply),
            Command::ToAddress { address, reply } => self.open_to_address(&address, reply),
            Command::Shutdown(_) => {}
        }
    }

    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event, now),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_established(connection_id, peer_id, &endpoint, now);
            }
            SwarmEvent::ConnectionClosed { connection_id, cause, .. } => {
                let cause = cause.map(|cause| chain(&cause));
                self.on_closed(connection_id, cause, now);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.on_dial_failed(connection_id, &error, now);
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                let trouble = match reason {
                    Ok(()) => "the reservation ended".to_owned(),
                    Err(error) => chain(&error),
                };
                self.on_listener_closed(listener_id, &trouble, now);
            }
            SwarmEvent::ListenerError { error, .. } => {
                // Out of file descriptors, mostly. The listener goes on when there are some again.
                tracing::warn!(error = %chain(&error), "cannot take a connection");
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                tracing::debug!(error = %chain(&error), "a handshake failed");
            }
            _ => {}
        }
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent, now: Instant) {
        match event {
            BehaviourEvent::Door(turned) => self.refuse(turned.who, turned.why),
            BehaviourEvent::Ping(ping) => self.on_ping(&ping, now),
            BehaviourEvent::Streams(inbound) => self.on_inbound_stream(inbound),
            BehaviourEvent::Client(relay::client::Event::ReservationReqAccepted {
                relay_peer_id, ..
            }) => self.on_reserved(&relay_peer_id),
            BehaviourEvent::Client(_) => {}
            BehaviourEvent::Relay(event) => self.on_relay_event(&event, now),
        }
    }

    fn on_ping(&mut self, ping: &ping::Event, now: Instant) {
        let Some(connection) = self.connections.get_mut(&ping.connection) else {
            return;
        };
        match &ping.result {
            Ok(rtt) => {
                connection.last_pong = now;
                if connection.known() {
                    let event = TransportEvent::Rtt { peer: connection.node, via: connection.via, rtt: *rtt };
                    self.backlog.tell(event);
                }
            }
            // A failed ping may succeed at the next try; what counts is how long none has been answered.
            Err(error) => {
                tracing::debug!(node = ?connection.node, error = %chain(error), "a ping failed");
            }
        }
    }

    fn on_established(&mut self, id: ConnectionId, peer: PeerId, endpoint: &ConnectedPoint, now: Instant) {
        let purpose = self.dials.remove(&id);
        let Some(node) = node_id(&peer) else {
            // The door lets only Ed25519 keys in.
            self.swarm.close_connection(id);
            return;
        };
        let known = self.known.contains(node);
        let via = self.carried_by(endpoint, purpose);
        let inbound = endpoint.is_listener();
        self.connections.insert(
            id,
            Connection {
                node,
                peer,
                via,
                address: endpoint.get_remote_address().clone(),
                standing: if known { Standing::Known } else { Standing::Stranger { served: false } },
                inbound,
                last_pong: now,
                ends_at: (!known).then(|| now + STRANGER_TIME),
                closing: None,
                reserved: false,
                refused_circuits: 0,
            },
        );
        if endpoint.is_relayed() {
            self.on_circuit(id, node, via, purpose);
        } else if inbound {
            self.on_inbound(id);
        } else {
            self.on_dialled(id, node, purpose, now);
        }
    }

    /// Which mediator carries a connection.
    fn carried_by(&self, endpoint: &ConnectedPoint, purpose: Option<Purpose>) -> Option<NodeId> {
        if let Some(Purpose::Circuit { via, .. }) = purpose {
            return Some(via);
        }
        let ConnectedPoint::Listener { local_addr, .. } = endpoint else {
            return None;
        };
        if !endpoint.is_relayed() {
            return None;
        }
        let base = before_circuit(local_addr);
        self.links
            .iter()
            .find(|(_, link)| link.up().is_some_and(|up| up.address == base))
            .map(|(node, _)| *node)
    }

    fn on_closed(&mut self, id: ConnectionId, cause: Option<String>, now: Instant) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        let reason =
            connection.closing.clone().or(cause).unwrap_or_else(|| "closed by the other side".to_owned());
        tracing::debug!(node = ?connection.node, via = ?connection.via, reason, "connection closed");
        if self.is_mediator {
            self.on_node_left(&connection, reason);
        } else {
            self.on_path_lost(id, &connection, &reason, now);
        }
    }

    fn on_inbound_stream(&mut self, inbound: Inbound) {
        let Inbound { connection: id, kind, stream } = inbound;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if connection.closing.is_some() {
            return;
        }
        let node = connection.node;
        let welcome = match kind {
            StreamKind::Live => !self.is_mediator && connection.known() && connection.via.is_some(),
            StreamKind::Custody => self.is_mediator && connection.known() && connection.via.is_none(),
            StreamKind::Roster => true,
        };
        if !welcome {
            self.refuse(Some(node), Refusal::UnknownNode(kind));
            return;
        }
        let served = Standing::Stranger { served: true };
        if connection.standing == served {
            self.refuse(Some(node), Refusal::SecondStream);
            self.close(id, "a stranger opened a second stream");
            return;
        }
        if !connection.known() {
            connection.standing = served;
        }
        let incoming = Incoming {
            peer: node,
            via: connection.via,
            kind,
            known: connection.known(),
            stream: Box::new(stream.compat()),
        };
        if !self.backlog.deliver(incoming) {
            self.refuse(Some(node), Refusal::Busy);
        }
    }

    /// Ends connections of nodes that are known no more, at once, and those of strangers that now are known, soon:
    /// their rights were fixed when they began.
    pub(super) fn apply_known(&mut self) {
        let now = Instant::now();
        let mut removed = Vec::new();
        for (id, connection) in &mut self.connections {
            let known = self.known.contains(connection.node);
            if connection.known() && !known {
                removed.push((*id, connection.node));
            } else if !connection.known() && known {
                // Nothing is lost with a connection on which it said nothing yet.
                let idle =
                    connection.inbound && connection.standing == (Standing::Stranger { served: false });
                let soon = if idle { now } else { now + WELCOME_TIME };
                connection.ends_at = Some(connection.ends_at.map_or(soon, |at| at.min(soon)));
            }
        }
        for (id, node) in removed {
            self.refuse(Some(node), Refusal::Removed);
            self.close(id, "no longer known");
        }
    }

    /// Begins to close a connection; it takes part in nothing from here on.
    pub(super) fn close(&mut self, id: ConnectionId, reason: &str) {
        if let Some(connection) = self.connections.get_mut(&id)
            && connection.closing.is_none()
        {
            connection.closing = Some(reason.to_owned());
            self.swarm.close_connection(id);
        }
    }

    pub(super) fn refuse(&mut self, who: Option<NodeId>, why: Refusal) {
        // In the log it stands where its words are weighed: what strangers do must not fill the disk.
        tracing::debug!(?who, ?why, "refused");
        self.backlog.tell(TransportEvent::Refused { who, why });
    }
}

/// What a connection may be used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// In the directory, or admitted.
    Known,
    /// Nobody we know. It has one roster stream.
    Stranger {
        /// Whether it has used that up.
        served: bool,
    },
}

impl Connection {
    /// Whether its node was known when it began.
    pub(super) fn known(&self) -> bool {
        self.standing == Standing::Known
    }

    /// When it has to end if nothing more is heard, and why.
    fn end(&self) -> (Instant, &'static str) {
        let limit = if is_quic(&self.address) { QUIC_SILENCE_LIMIT } else { SILENCE_LIMIT };
        let silent = self.last_pong + limit;
        match self.ends_at {
            Some(at) if at < silent => (at, "its time was up"),
            _ => (silent, "nothing heard for too long"),
        }
    }

    /// Its other end for logs and operators.
    pub(super) fn place(&self) -> String {
        readable(&self.address)
    }
}
