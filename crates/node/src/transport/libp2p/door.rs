//! How many may come in: bounds on handshakes under way, on strangers, and on connections of one node.
//!
//! There is no allow list: a renewed node comes as a stranger and brings its new card. So strangers get in, few at a
//! time, and the network task ends their connections after a short while. A flood of handshakes is
//! cut before it costs more than a socket, and cannot use up the places kept for hosts where known nodes live.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
    net::IpAddr,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, ListenFailure, NetworkBehaviour,
        THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished, dummy,
    },
};

use super::{identity::node_id, known::Known, multiaddr::ip};
use crate::transport::{
    NodeId, Refusal,
    defaults::{
        EVENT_QUEUE, MAX_CONNECTIONS_PER_NODE, MAX_FAMILIAR_HOSTS, MAX_HANDSHAKES, MAX_HANDSHAKES_PER_HOST,
        MAX_STRANGERS, MAX_STRANGERS_PER_HOST, RESERVED_HANDSHAKES,
    },
};

/// Somebody was turned away at the door.
#[derive(Debug)]
pub(super) struct TurnedAway {
    pub(super) who: Option<NodeId>,
    pub(super) why: Refusal,
}

#[derive(Debug, thiserror::Error)]
#[error("turned away")]
struct Denied;

pub(super) struct Behaviour {
    known: Known,
    handshakes: HashMap<ConnectionId, Option<Host>>,
    strangers: HashMap<ConnectionId, Option<Host>>,
    /// How many connections each known node has.
    connections: HashMap<PeerId, HashSet<ConnectionId>>,
    familiar: HashSet<Host>,
    /// Refusals to report; further ones are left out until these are taken.
    turned_away: VecDeque<TurnedAway>,
}

/// What one subscriber or machine has: an IPv4 address, or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Host {
    V4([u8; 4]),
    V6(u128),
}

impl Host {
    fn of(address: &Multiaddr) -> Option<Self> {
        Some(match ip(address)?.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => Self::V6(u128::from(ip) >> 64),
        })
    }
}

impl Behaviour {
    pub(super) fn new(known: Known) -> Self {
        Self {
            known,
            handshakes: HashMap::new(),
            strangers: HashMap::new(),
            connections: HashMap::new(),
            familiar: HashSet::new(),
            turned_away: VecDeque::new(),
        }
    }

    fn deny(&mut self, who: Option<NodeId>, why: Refusal) -> ConnectionDenied {
        if self.turned_away.len() < EVENT_QUEUE {
            self.turned_away.push_back(TurnedAway { who, why });
        }
        ConnectionDenied::new(Denied)
    }

    fn admit_handshake(&self, host: Option<Host>) -> bool {
        let all = self.handshakes.len();
        let same_host = occupied_by(&self.handshakes, host);
        if all < MAX_HANDSHAKES && same_host < MAX_HANDSHAKES_PER_HOST {
            return true;
        }
        host.is_some_and(|host| self.familiar.contains(&host))
            && all < MAX_HANDSHAKES + RESERVED_HANDSHAKES
            && same_host < MAX_HANDSHAKES_PER_HOST + RESERVED_HANDSHAKES
    }

    /// Judges a node whose key is now proven; both directions, circuits included.
    fn admit_node(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        host: Option<Host>,
        inbound: bool,
    ) -> Result<(), ConnectionDenied> {
        let Some(node) = node_id(&peer) else {
            return Err(self.deny(None, Refusal::ForeignKey));
        };
        if self.known.contains(node) {
            let connections = self.connections.entry(peer).or_default();
            if connections.len() >= MAX_CONNECTIONS_PER_NODE {
                return Err(self.deny(Some(node), Refusal::TooManyConnections));
            }
            connections.insert(connection);
            if let Some(host) = host
                && self.familiar.len() < MAX_FAMILIAR_HOSTS
            {
                self.familiar.insert(host);
            }
        } else if inbound {
            // Circuits have no host of their own: each is limited by the number of all strangers alone.
            let same_host = host.map_or(0, |_| occupied_by(&self.strangers, host));
            if self.strangers.len() >= MAX_STRANGERS || same_host >= MAX_STRANGERS_PER_HOST {
                return Err(self.deny(Some(node), Refusal::TooManyStrangers));
            }
            self.strangers.insert(connection, host);
        }
        Ok(())
    }
}

fn occupied_by(places: &HashMap<ConnectionId, Option<Host>>, host: Option<Host>) -> usize {
    places.values().filter(|&&other| other == host).count()
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = TurnedAway;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let host = Host::of(remote);
        if !self.admit_handshake(host) {
            return Err(self.deny(None, Refusal::TooManyHandshakes));
        }
        self.handshakes.insert(connection, host);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handshakes.remove(&connection);
        self.admit_node(connection, peer, Host::of(remote), true)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit_node(connection, peer, None, false)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { connection_id, .. }) => {
                self.handshakes.remove(&connection_id);
            }
            // Also when another behaviour refused the connection after this one had let it in.
            FromSwarm::ListenFailure(ListenFailure { connection_id, peer_id, .. }) => {
                self.handshakes.remove(&connection_id);
                self.leave(connection_id, peer_id);
            }
            FromSwarm::DialFailure(failure) => self.leave(failure.connection_id, failure.peer_id),
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, peer_id, .. }) => {
                self.leave(connection_id, Some(peer_id));
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<TurnedAway, THandlerInEvent<Self>>> {
        self.turned_away
            .pop_front()
            .map_or(Poll::Pending, |event| Poll::Ready(ToSwarm::<_, Infallible>::GenerateEvent(event)))
    }
}

impl Behaviour {
    fn leave(&mut self, connection: ConnectionId, peer: Option<PeerId>) {
        self.strangers.remove(&connection);
        if let Some(peer) = peer
            && let Some(connections) = self.connections.get_mut(&peer)
        {
            connections.remove(&connection);
            if connections.is_empty() {
                self.connections.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(host: u8) -> Multiaddr {
        format!("/ip4/192.0.2.{host}/tcp/9").parse().unwrap()
    }

    fn knock(door: &mut Behaviour, id: usize, host: u8) -> bool {
        let here = Multiaddr::empty();
        door.handle_pending_inbound_connection(ConnectionId::new_unchecked(id), &here, &from(host)).is_ok()
    }

    /// M23: ten thousand half-open handshakes hold no more places than the limits say.
    #[test]
    fn m23_a_flood_of_handshakes_stops_at_the_limits() {
        let mut door = Behaviour::new(Known::default());
        let one_host = (0..10_000).filter(|id| knock(&mut door, *id, 1)).count();
        assert_eq!(one_host, MAX_HANDSHAKES_PER_HOST);
        assert!(knock(&mut door, 10_000, 2), "another host is not kept out by the first");
        let all =
            (20_000..30_000).filter(|id| knock(&mut door, *id, u8::try_from(id % 200).unwrap() + 3)).count();
        assert_eq!(all + one_host + 1, MAX_HANDSHAKES);
        assert!(door.turned_away.len() <= EVENT_QUEUE);
    }

    /// M23: a host where a known node lives still gets in when strangers hold all other places.
    #[test]
    fn m23_places_are_kept_for_hosts_of_known_nodes() {
        let mut door = Behaviour::new(Known::default());
        for id in 0..10_000 {
            knock(&mut door, id, u8::try_from(id % 200).unwrap());
        }
        assert!(!knock(&mut door, 10_000, 250));
        door.familiar.insert(Host::of(&from(250)).unwrap());
        assert!(knock(&mut door, 10_001, 250));
        let reserved = (20_000..30_000).filter(|id| knock(&mut door, *id, 250)).count();
        assert_eq!(reserved + 1, RESERVED_HANDSHAKES);
    }

    #[test]
    fn one_ipv6_network_is_one_host() {
        let a: Multiaddr = "/ip6/2001:db8::1/tcp/1".parse().unwrap();
        let b: Multiaddr = "/ip6/2001:db8::ffff/udp/1/quic-v1".parse().unwrap();
        assert_eq!(Host::of(&a), Host::of(&b));
        let mapped: Multiaddr = "/ip6/::ffff:192.0.2.7/tcp/1".parse().unwrap();
        assert_eq!(Host::of(&mapped), Host::of(&from(7)));
    }
}
