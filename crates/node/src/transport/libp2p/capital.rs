//! The network task at a capital: keeps a connection and a reservation at every mediator, and opens streams to
//! peers over their circuits.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{
    Multiaddr, PeerId,
    core::transport::ListenerId,
    swarm::{
        ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    driver::{Answered, Connection, Driver, Purpose},
    errors::{circuit_error, dial_trouble},
    identity::{node_id, peer_id},
    link::{Link, Step},
    multiaddr::{before_circuit, circuit, multiaddr},
    streams::Reply,
};
use crate::transport::{
    Address, Admission, Carrier, NodeId, OpenError, StreamKind, TransportEvent,
    defaults::{MAX_WAITING_OPENS, STRANGER_TIME},
};

/// Opens that wait for one circuit.
#[derive(Default)]
pub(super) struct Waiting(Vec<(StreamKind, Reply)>);

/// An open that waits for somebody to answer at an address.
pub(super) struct Errand {
    /// Attempts under way, one for each carrier.
    attempts: Vec<ConnectionId>,
    reply: Option<oneshot::Sender<Result<Answered, OpenError>>>,
    trouble: String,
}

impl Driver {
    /// The directory was replaced.
    pub(super) fn on_directory(&mut self) {
        if self.is_mediator {
            return;
        }
        let now = Instant::now();
        let directory = self.directory.borrow_and_update().clone();
        // One node may mediate several channels, each listing it with addresses of its own.
        let mut wanted: BTreeMap<NodeId, crate::transport::MediatorPath> = BTreeMap::new();
        for path in directory.mediators {
            match wanted.get_mut(&path.node) {
                Some(merged) => merged.addresses.extend(path.addresses),
                None => {
                    wanted.insert(path.node, path);
                }
            }
        }
        let mut known = directory.peers;
        known.extend(wanted.keys());
        self.known.replace(known, Admission::new());

        let gone: Vec<_> = self.links.keys().filter(|node| !wanted.contains_key(node)).copied().collect();
        for node in gone {
            self.drop_link(node);
        }
        for (node, path) in wanted {
            match self.links.get_mut(&node) {
                Some(link) => link.set_addresses(&path.addresses, now),
                None => {
                    self.links.insert(node, Link::new(&path, now));
                }
            }
        }
        self.apply_known();
    }

    fn drop_link(&mut self, node: NodeId) {
        let Some(link) = self.links.remove(&node) else {
            return;
        };
        if let Some(up) = link.up() {
            self.close(up.connection, "the mediator left the directory");
            self.backlog.tell(TransportEvent::MediatorDown {
                node,
                reason: "the mediator left the directory".to_owned(),
            });
        }
    }

    /// Dials and reserves whatever is due.
    pub(super) fn drive_links(&mut self, now: Instant) {
        let nodes: Vec<_> = self.links.keys().copied().collect();
        for node in nodes {
            while let Some(step) = self.links.get(&node).and_then(|link| link.step(now)) {
                match step {
                    Step::Dial { candidate, address } => {
                        self.dial_mediator(node, candidate, address, now);
                    }
                    Step::Reserve { base } => self.reserve(node, &base, now),
                }
            }
        }
    }

    fn dial_mediator(&mut self, node: NodeId, candidate: usize, address: Multiaddr, now: Instant) {
        // Whoever answers there: a renewed mediator has another key, and that must be seen, not fail unseen.
        let opts = DialOpts::unknown_peer_id().address(address).build();
        let id = opts.connection_id();
        self.dials.insert(id, Purpose::Link(node));
        if let Some(link) = self.links.get_mut(&node) {
            link.dialling(candidate, id);
        }
        if let Err(error) = self.swarm.dial(opts) {
            self.on_dial_failed(id, &error, now);
        }
    }

    fn reserve(&mut self, node: NodeId, base: &Multiaddr, now: Instant) {
        let Some(relay) = peer_id(node) else {
            return;
        };
        let listening = self.swarm.listen_on(circuit(base, relay));
        let Some(link) = self.links.get_mut(&node) else {
            return;
        };
        match listening {
            Ok(listener) => link.asked(listener),
            Err(error) => {
                tracing::warn!(?node, %error, "cannot ask for a reservation");
                link.not_asked(now);
            }
        }
    }

    /// A direct connection of ours stands.
    pub(super) fn on_dialled(
        &mut self,
        id: ConnectionId,
        node: NodeId,
        purpose: Option<Purpose>,
        now: Instant,
    ) {
        if let Some(Purpose::Link(expected)) = purpose
            && expected != node
        {
            self.on_wrong_node(id, expected, node, now);
            return;
        }
        let mut surplus = true;
        if let Some(Purpose::Errand(errand)) = purpose {
            self.run_errand(errand, id, node);
            surplus = false;
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.ends_at = Some(now + STRANGER_TIME);
            }
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        // When the relay client dialled, the address ends in the mediator's peer id.
        let base = before_circuit(&connection.address);
        let dialled = self.links.get_mut(&node).and_then(|link| link.dialled(id));
        // The relay client may dial by itself, too, when a connection is lost while it is asked something.
        if let Some(link) = self.links.get_mut(&node)
            && link.connected(id, &base, now)
        {
            connection.ends_at = None;
            if let Some((address, carrier)) = dialled.or_else(|| plain(&base)) {
                self.backlog.tell(TransportEvent::MediatorUp { node, address, carrier });
            }
        } else if surplus {
            self.close(id, "one connection to a mediator is enough");
        }
    }

    fn on_wrong_node(&mut self, id: ConnectionId, expected: NodeId, found: NodeId, now: Instant) {
        let trouble = format!("another node answers there: {found}");
        if let Some(link) = self.links.get_mut(&expected)
            && let Some(address) = link.dial_failed(id, &trouble, now)
        {
            self.backlog.tell(TransportEvent::WrongNode { address, expected, found });
        }
        self.close(id, "not the node that was looked for");
    }

    /// A connection attempt of ours failed.
    pub(super) fn on_dial_failed(&mut self, id: ConnectionId, error: &DialError, now: Instant) {
        match self.dials.remove(&id) {
            Some(Purpose::Link(node)) => {
                let reason = dial_trouble(error);
                if let Some(link) = self.links.get_mut(&node)
                    && let Some(address) = link.dial_failed(id, &reason, now)
                {
                    self.backlog.tell(TransportEvent::MediatorUnreachable { node, address, reason });
                }
            }
            Some(Purpose::Circuit { peer, via }) => {
                let error = circuit_error(error);
                for (_, reply) in self.waiting.remove(&(peer, via)).unwrap_or_default().0 {
                    let _ = reply.send(Err(error.clone()));
                }
            }
            Some(Purpose::Errand(errand)) => self.errand_failed(errand, id, &dial_trouble(error)),
            None => {}
        }
    }

    /// A mediator granted a reservation.
    pub(super) fn on_reserved(&mut self, relay: &PeerId) {
        if let Some(node) = node_id(relay)
            && let Some(link) = self.links.get_mut(&node)
            && link.reserved()
        {
            self.backlog.tell(TransportEvent::Reserved { node });
        }
    }

    /// A listener closed: a reservation was refused or lost.
    pub(super) fn on_listener_closed(&mut self, listener: ListenerId, trouble: &str, now: Instant) {
        for (node, link) in &mut self.links {
            if let Some(news) = link.listener_closed(listener, trouble, now) {
                if news {
                    self.backlog
                        .tell(TransportEvent::ReservationLost { node: *node, reason: trouble.to_owned() });
                }
                return;
            }
        }
    }

    /// A circuit stands, ours or a peer's.
    pub(super) fn on_circuit(
        &mut self,
        id: ConnectionId,
        peer: NodeId,
        via: Option<NodeId>,
        purpose: Option<Purpose>,
    ) {
        let Some(via) = via.filter(|via| self.links.contains_key(via)) else {
            self.close(id, "its mediator left the directory");
            return;
        };
        let known = self.connections.get(&id).is_some_and(Connection::known);
        if known && self.circuits_between(peer, via).len() == 1 {
            self.backlog.tell(TransportEvent::CircuitUp { peer, via });
        }
        if let Some(Purpose::Circuit { peer, via }) = purpose {
            for (kind, reply) in self.waiting.remove(&(peer, via)).unwrap_or_default().0 {
                if known {
                    self.open_on(id, kind, reply);
                } else {
                    // The directory dropped the peer while the circuit was being made.
                    let _ = reply.send(Err(OpenError::NotInDirectory));
                }
            }
        }
    }

    /// A connection of a capital ended.
    pub(super) fn on_path_lost(
        &mut self,
        id: ConnectionId,
        connection: &Connection,
        reason: &str,
        now: Instant,
    ) {
        let node = connection.node;
        if let Some(via) = connection.via {
            if connection.known() && self.circuits_between(node, via).is_empty() {
                self.backlog.tell(TransportEvent::CircuitDown { peer: node, via, reason: reason.to_owned() });
            }
        } else if let Some(link) = self.links.get_mut(&node)
            && link.disconnected(id, now)
        {
            self.backlog.tell(TransportEvent::MediatorDown { node, reason: reason.to_owned() });
        }
    }

    /// The usable circuits to `peer` over `via`, newest last.
    fn circuits_between(&self, peer: NodeId, via: NodeId) -> BTreeSet<ConnectionId> {
        self.connections
            .iter()
            .filter(|(_, c)| c.node == peer && c.via == Some(via) && c.closing.is_none())
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn open_over_circuit(&mut self, peer: NodeId, via: NodeId, kind: StreamKind, reply: Reply) {
        let (Some(link), true, Some(peer_id), Some(relay)) =
            (self.links.get(&via), self.known.contains(peer), peer_id(peer), peer_id(via))
        else {
            let _ = reply.send(Err(OpenError::NotInDirectory));
            return;
        };
        if let Some(id) = self.circuits_between(peer, via).last() {
            self.open_on(*id, kind, reply);
            return;
        }
        let Some(up) = link.up() else {
            let _ = reply.send(Err(OpenError::MediatorDown));
            return;
        };
        let address = circuit(&up.address, relay);
        let under_way = self.waiting.contains_key(&(peer, via));
        let waiting = self.waiting.entry((peer, via)).or_default();
        waiting.0.retain(|(_, reply)| !reply.is_closed());
        if waiting.0.len() >= MAX_WAITING_OPENS {
            let _ = reply.send(Err(OpenError::Busy));
            return;
        }
        waiting.0.push((kind, reply));
        if under_way {
            return;
        }
        let opts = DialOpts::peer_id(peer_id)
            // The peer may be connected over another mediator, or be dialling us at this moment.
            .condition(PeerCondition::Always)
            .addresses(vec![address])
            .build();
        let id = opts.connection_id();
        self.dials.insert(id, Purpose::Circuit { peer, via });
        if let Err(error) = self.swarm.dial(opts) {
            self.on_dial_failed(id, &error, Instant::now());
        }
    }

    pub(super) fn open_to_mediator(&mut self, node: NodeId, kind: StreamKind, reply: Reply) {
        match self.links.get(&node).map(Link::up) {
            None => {
                let _ = reply.send(Err(OpenError::NotInDirectory));
            }
            Some(None) => {
                let _ = reply.send(Err(OpenError::MediatorDown));
            }
            Some(Some(up)) => {
                let id = up.connection;
                self.open_on(id, kind, reply);
            }
        }
    }

    pub(super) fn open_to_address(
        &mut self,
        address: &Address,
        reply: oneshot::Sender<Result<Answered, OpenError>>,
    ) {
        let addresses = [Carrier::Tcp, Carrier::Quic].map(|carrier| multiaddr(address, carrier));
        let standing = self
            .connections
            .iter()
            .find(|(_, c)| c.via.is_none() && c.closing.is_none() && addresses.contains(&c.address));
        if let Some((id, connection)) = standing {
            let (id, node) = (*id, connection.node);
            self.answer(id, node, reply);
            return;
        }
        if self.errands.len() >= MAX_WAITING_OPENS {
            let _ = reply.send(Err(OpenError::Busy));
            return;
        }
        let errand = self.next_errand;
        self.next_errand += 1;
        let dials = addresses.map(|address| DialOpts::unknown_peer_id().address(address).build());
        self.errands.insert(
            errand,
            Errand {
                attempts: dials.iter().map(DialOpts::connection_id).collect(),
                reply: Some(reply),
                trouble: String::new(),
            },
        );
        for opts in dials {
            let id = opts.connection_id();
            self.dials.insert(id, Purpose::Errand(errand));
            if let Err(error) = self.swarm.dial(opts) {
                self.on_dial_failed(id, &error, Instant::now());
            }
        }
    }

    /// Somebody answered at an errand's address; the second carrier to get there comes too late.
    fn run_errand(&mut self, errand: u64, id: ConnectionId, node: NodeId) {
        let reply = self.errands.get_mut(&errand).and_then(|errand| {
            errand.attempts.retain(|attempt| *attempt != id);
            errand.reply.take()
        });
        if self.errands.get(&errand).is_some_and(|errand| errand.attempts.is_empty()) {
            self.errands.remove(&errand);
        }
        match reply {
            Some(reply) => self.answer(id, node, reply),
            None => self.close(id, "another connection was faster"),
        }
    }

    fn errand_failed(&mut self, number: u64, id: ConnectionId, trouble: &str) {
        let Some(errand) = self.errands.get_mut(&number) else {
            return;
        };
        errand.attempts.retain(|attempt| *attempt != id);
        if !errand.trouble.is_empty() {
            errand.trouble.push_str("; ");
        }
        errand.trouble.push_str(trouble);
        if errand.attempts.is_empty()
            && let Some(errand) = self.errands.remove(&number)
            && let Some(reply) = errand.reply
        {
            let _ = reply.send(Err(OpenError::Failed(errand.trouble)));
        }
    }

    fn answer(
        &mut self,
        id: ConnectionId,
        node: NodeId,
        reply: oneshot::Sender<Result<Answered, OpenError>>,
    ) {
        let (sender, stream) = oneshot::channel();
        self.open_on(id, StreamKind::Roster, sender);
        let _ = reply.send(Ok(Answered { node, stream }));
    }

    fn open_on(&mut self, id: ConnectionId, kind: StreamKind, reply: Reply) {
        if let Some(connection) = self.connections.get(&id) {
            let peer = connection.peer;
            self.swarm.behaviour_mut().streams.open(peer, id, kind, reply);
        }
    }
}

/// A multiaddr as our address and carrier, where it is that simple.
fn plain(address: &Multiaddr) -> Option<(Address, Carrier)> {
    let ip = super::multiaddr::ip(address)?;
    let port = super::multiaddr::port(address)?;
    let candidate = Address::from_ip(ip, port);
    [Carrier::Tcp, Carrier::Quic]
        .into_iter()
        .find(|carrier| multiaddr(&candidate, *carrier) == *address)
        .map(|carrier| (candidate, carrier))
}
