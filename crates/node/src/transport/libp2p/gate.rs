//! The relay, behind a gate: circuits only between nodes that share a channel.
//!
//! libp2p's relay lets its caller judge who reserves and who asks for circuits, but not where a circuit leads. The
//! gate sees the one moment at which both ends are known and nothing has been said to the destination yet: the relay
//! telling the destination's connection to negotiate on behalf of the source. A source that may not do so never
//! reaches the destination; its request ends unanswered and the network task closes its connection.
//! Should a future relay take another way, the event that a circuit was accepted is judged again by the network task.

use std::{
    collections::HashMap,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    relay,
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
        THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished,
    },
};

use super::{identity::node_id, known::Known};
use crate::transport::{
    NodeId,
    defaults::{
        CIRCUIT_TIME, MAX_CIRCUITS, MAX_CIRCUITS_PER_NODE, MAX_CONNECTIONS_PER_NODE, MAX_RESERVATIONS,
        RESERVATION_TIME,
    },
};

pub(super) struct Gate {
    relay: relay::Behaviour,
    known: Known,
    /// Whose connection each is.
    owners: HashMap<ConnectionId, PeerId>,
}

/// What the gate tells the network task.
#[derive(Debug)]
pub(super) enum Event {
    /// An event of the relay itself.
    Relay(relay::Event),
    /// A circuit was asked for between nodes that share no channel; it was not made.
    Refused { source: NodeId, destination: NodeId },
}

impl Gate {
    pub(super) fn new(local: PeerId, known: Known) -> Self {
        let reservations = known.clone();
        let circuits = known.clone();
        let config = relay::Config {
            max_reservations: MAX_RESERVATIONS,
            max_reservations_per_peer: MAX_CONNECTIONS_PER_NODE,
            reservation_duration: RESERVATION_TIME,
            // The one place where the relay asks somebody; it is no rate that is limited here.
            reservation_rate_limiters: vec![Box::new(move |peer, from: &Multiaddr, _| {
                reservations.may_reserve(peer, from)
            })],
            max_circuits: MAX_CIRCUITS,
            max_circuits_per_peer: MAX_CIRCUITS_PER_NODE,
            max_circuit_duration: CIRCUIT_TIME,
            // Unlimited. A limit would look like a clean end of stream to the reader.
            max_circuit_bytes: 0,
            circuit_src_rate_limiters: vec![Box::new(move |peer, _: &Multiaddr, _| {
                circuits.may_ask_for_circuits(&peer)
            })],
        };
        let mut relay = relay::Behaviour::new(local, config);
        relay.set_status(Some(relay::Status::Enable));
        Self { relay, known, owners: HashMap::new() }
    }

    /// The two ends, if `action` begins a circuit: it is addressed to one node's connection in another's name.
    fn begins_circuit(
        &self,
        action: &ToSwarm<relay::Event, THandlerInEvent<relay::Behaviour>>,
    ) -> Option<(PeerId, PeerId)> {
        let ToSwarm::NotifyHandler { peer_id: source, handler: NotifyHandler::One(connection), .. } = action
        else {
            return None;
        };
        let destination = self.owners.get(connection)?;
        (source != destination).then_some((*source, *destination))
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = <relay::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.relay.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.relay.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match &event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, peer_id, .. }) => {
                self.owners.insert(*connection_id, *peer_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.owners.remove(connection_id);
            }
            _ => {}
        }
        self.relay.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.relay.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        self.relay.poll(cx).map(|action| {
            if let Some((source, destination)) = self.begins_circuit(&action)
                && let (Some(source), Some(destination)) = (node_id(&source), node_id(&destination))
                && !self.known.may_be_joined(source, destination)
            {
                return ToSwarm::GenerateEvent(Event::Refused { source, destination });
            }
            action.map_out(Event::Relay)
        })
    }
}
