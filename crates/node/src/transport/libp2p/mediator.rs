//! The network task at a mediator: who is connected, reserved and joined, and who has to go.

use libp2p::{PeerId, relay, swarm::ConnectionId};
use tokio::time::Instant;

use super::{
    driver::{Connection, Driver},
    gate,
    identity::node_id,
};
use crate::transport::{
    NodeId, Refusal, TransportEvent,
    defaults::{MAX_REFUSED_CIRCUITS, PING_INTERVAL},
};

impl Driver {
    /// The admission was replaced.
    pub(super) fn on_admission(&mut self) {
        if !self.is_mediator {
            return;
        }
        let admission = self.admission.borrow_and_update().clone();
        self.known.replace(admission.nodes(), admission.clone());
        self.displacements.retain(|node| admission.admits(node));
        self.apply_known();
        // A single circuit cannot be cut from here. Its source comes back at once with those it may still have.
        let cut: Vec<_> = self
            .circuits
            .iter()
            .filter(|(source, destination)| !admission.share_a_channel(*source, *destination))
            .map(|(source, _)| *source)
            .collect();
        for source in cut {
            self.close_node(source, "a circuit lost its channel");
        }
    }

    /// A node connected to us.
    pub(super) fn on_inbound(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let node = connection.node;
        if self.connections_of(node).len() == 1 {
            self.backlog.tell(TransportEvent::PeerConnected {
                node,
                from: connection.place(),
                admitted: connection.known(),
            });
        }
    }

    /// A node's connection ended.
    pub(super) fn on_node_left(&mut self, connection: &Connection, reason: String) {
        let node = connection.node;
        if self.connections_of(node).is_empty() {
            self.backlog.tell(TransportEvent::PeerDisconnected { node, reason });
        }
    }

    pub(super) fn on_relay_event(&mut self, event: &gate::Event, now: Instant) {
        match event {
            gate::Event::Refused { source, destination } => self.on_refused_circuit(*source, *destination),
            gate::Event::Relay(relay::Event::ReservationReqAccepted { src_peer_id, .. }) => {
                self.on_reservation(*src_peer_id, now);
            }
            gate::Event::Relay(relay::Event::ReservationReqDenied { src_peer_id, .. }) => {
                self.refuse(node_id(src_peer_id), Refusal::Reservation);
            }
            gate::Event::Relay(relay::Event::CircuitReqAccepted { src_peer_id, dst_peer_id }) => {
                self.on_joined(src_peer_id, dst_peer_id);
            }
            gate::Event::Relay(relay::Event::CircuitReqDenied { src_peer_id, dst_peer_id, .. }) => {
                if !self.known.contains_peer(src_peer_id)
                    && let Some(destination) = node_id(dst_peer_id)
                {
                    self.refuse(node_id(src_peer_id), Refusal::Circuit { destination });
                }
            }
            gate::Event::Relay(relay::Event::CircuitClosed { src_peer_id, dst_peer_id, .. }) => {
                self.on_parted(src_peer_id, dst_peer_id);
            }
            gate::Event::Relay(_) => {}
        }
    }

    /// Reserved: the connection it came on is the one that counts, and older ones must not be chosen for circuits
    /// any more. They are half-open relics, mostly.
    fn on_reservation(&mut self, peer: PeerId, now: Instant) {
        let from = self.known.reserving_from(&peer);
        let Some((id, node, place)) = self
            .connections
            .iter_mut()
            .find(|(_, c)| c.peer == peer && c.closing.is_none() && Some(&c.address) == from.as_ref())
            .map(|(id, connection)| {
                connection.reserved = true;
                (*id, connection.node, connection.place())
            })
        else {
            return;
        };
        self.backlog.tell(TransportEvent::PeerReserved { node });
        let older: Vec<_> = self
            .connections
            .iter()
            .filter(|(other, c)| c.peer == peer && **other < id && c.closing.is_none())
            .map(|(other, c)| {
                let alive = now.duration_since(c.last_pong) < 2 * PING_INTERVAL;
                (*other, c.reserved && alive, c.place())
            })
            .collect();
        for (other, alive, other_place) in older {
            self.close(other, "a newer connection of the same node reserved");
            if alive && self.displacements.note(node, now) {
                self.backlog.tell(TransportEvent::SeenTwice { node, places: [other_place, place.clone()] });
            }
        }
    }

    fn on_joined(&mut self, source: &PeerId, destination: &PeerId) {
        let (Some(source), Some(destination)) = (node_id(source), node_id(destination)) else {
            return;
        };
        if !self.known.may_be_joined(source, destination) {
            // The gate lets none through; this stands in case the relay ever begins circuits in another way, or the
            // admission changed while this one was being made.
            self.refuse(Some(source), Refusal::Circuit { destination });
            self.close_node(source, "a circuit without a common channel");
            return;
        }
        self.circuits.push((source, destination));
        self.backlog.tell(TransportEvent::CircuitOpened { source, destination });
    }

    fn on_parted(&mut self, source: &PeerId, destination: &PeerId) {
        let (Some(source), Some(destination)) = (node_id(source), node_id(destination)) else {
            return;
        };
        let ends = (source, destination);
        if let Some(index) = self.circuits.iter().position(|circuit| *circuit == ends) {
            self.circuits.swap_remove(index);
            self.backlog.tell(TransportEvent::CircuitClosed { source, destination });
        }
    }

    /// The relay goes on counting a refused circuit as being made until its connection ends. An honest node asks in
    /// vain once or twice, while rosters spread; one that does not stop loses the connection and the count with it.
    fn on_refused_circuit(&mut self, source: NodeId, destination: NodeId) {
        self.refuse(Some(source), Refusal::Circuit { destination });
        let mut worst = 0;
        for connection in self.connections.values_mut().filter(|c| c.node == source) {
            connection.refused_circuits += 1;
            worst = worst.max(connection.refused_circuits);
        }
        if worst >= MAX_REFUSED_CIRCUITS {
            self.close_node(source, "asked for too many circuits in vain");
        }
    }

    fn close_node(&mut self, node: NodeId, reason: &str) {
        for id in self.connections_of(node) {
            self.close(id, reason);
        }
    }

    fn connections_of(&self, node: NodeId) -> Vec<ConnectionId> {
        self.connections.iter().filter(|(_, c)| c.node == node).map(|(id, _)| *id).collect()
    }
}
