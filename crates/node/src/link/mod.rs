//! How the links are, and since when and why: what a diagnosis of silence rests on.
//!
//! The switchboard enters what the transport tells; channels enter how their sessions are; [`status`] puts both into words.

pub(crate) mod status;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use demarche_protocol::time::Timestamp;

use crate::{
    runtime::clock::wall,
    transport::{NodeId, Refusal, TransportEvent},
};

/// How the way to a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    /// Connected. For a capital's way to a mediator, whether others can reach us over it stands in `reserved`.
    pub(crate) up: bool,
    /// A mediator holds a reservation for us; of a node at a mediator, it has reserved.
    pub(crate) reserved: bool,
    /// Since when it is up, or down.
    pub(crate) since: Timestamp,
    /// Why it is down, or why nobody can reach us over it.
    pub(crate) cause: Option<String>,
    /// The address that answered, or was tried last.
    pub(crate) address: Option<String>,
    /// The newest round trip.
    pub(crate) rtt: Option<Duration>,
    /// When anything was heard over it.
    pub(crate) last_heard: Option<Timestamp>,
}

impl Link {
    fn down(now: Timestamp) -> Self {
        Self {
            up: false,
            reserved: false,
            since: now,
            cause: None,
            address: None,
            rtt: None,
            last_heard: None,
        }
    }

    fn goes_up(&mut self, now: Timestamp) {
        if !self.up {
            self.since = now;
        }
        self.up = true;
        self.cause = None;
        self.last_heard = Some(now);
    }

    fn goes_down(&mut self, now: Timestamp, why: &str) {
        if self.up {
            self.since = now;
        }
        self.up = false;
        self.reserved = false;
        self.rtt = None;
        self.cause = Some(one_line(why));
    }
}

/// All links of this node.
pub(crate) struct Links {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Direct ways: to mediators, or at a mediator to the nodes that are connected.
    direct: BTreeMap<NodeId, Link>,
    /// Ways to peers over mediators.
    circuits: BTreeMap<(NodeId, NodeId), Link>,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::default()) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters what the transport told. True when a way became usable.
    pub(crate) fn enter(&self, event: &TransportEvent) -> bool {
        let now = wall();
        let mut state = self.lock();
        match event {
            TransportEvent::MediatorUp { node, address, .. } => {
                let link = state.direct(*node, now);
                link.goes_up(now);
                link.address = Some(address.to_string());
                return true;
            }
            TransportEvent::MediatorDown { node, reason } => state.direct(*node, now).goes_down(now, reason),
            TransportEvent::MediatorUnreachable { node, address, reason } => {
                let link = state.direct(*node, now);
                link.goes_down(now, reason);
                link.address = Some(address.to_string());
            }
            TransportEvent::Reserved { node } => {
                let link = state.direct(*node, now);
                link.reserved = true;
                link.cause = None;
                return true;
            }
            TransportEvent::ReservationLost { node, reason } => {
                let link = state.direct(*node, now);
                link.reserved = false;
                link.cause = Some(one_line(reason));
            }
            TransportEvent::CircuitUp { peer, via } => {
                state.circuit(*peer, *via, now).goes_up(now);
                return true;
            }
            TransportEvent::CircuitDown { peer, via, reason } => {
                state.circuit(*peer, *via, now).goes_down(now, reason);
            }
            TransportEvent::Rtt { peer, via, rtt } => {
                let link = match via {
                    Some(via) => state.circuit(*peer, *via, now),
                    None => state.direct(*peer, now),
                };
                link.rtt = Some(*rtt);
                link.last_heard = Some(now);
            }
            TransportEvent::PeerConnected { node, from, .. } => {
                let link = state.direct(*node, now);
                link.goes_up(now);
                link.address = Some(from.clone());
            }
            TransportEvent::PeerReserved { node } => state.direct(*node, now).reserved = true,
            TransportEvent::PeerDisconnected { node, reason } => {
                state.direct(*node, now).goes_down(now, reason);
            }
            _ => {}
        }
        false
    }

    /// Forgets the ways to nodes that are nobody's any more.
    pub(crate) fn keep_only(&self, known: impl Fn(NodeId) -> bool) {
        let mut state = self.lock();
        state.direct.retain(|node, _| known(*node));
        state.circuits.retain(|(peer, via), _| known(*peer) && known(*via));
    }

    /// The direct way to a node.
    pub(crate) fn direct(&self, node: NodeId) -> Option<Link> {
        self.lock().direct.get(&node).cloned()
    }

    /// The way to a peer over a mediator.
    pub(crate) fn circuit(&self, peer: NodeId, via: NodeId) -> Option<Link> {
        self.lock().circuits.get(&(peer, via)).cloned()
    }

    /// The connected mediator over which a peer is best reached: one over which a circuit stands, then the nearest.
    pub(crate) fn best(&self, peer: NodeId, mediators: &[NodeId]) -> Option<NodeId> {
        let state = self.lock();
        let up = mediators.iter().filter(|node| state.direct.get(node).is_some_and(|link| link.up));
        up.min_by_key(|node| {
            let circuit = state.circuits.get(&(peer, **node)).is_some_and(|link| link.up);
            let rtt = state.direct.get(node).and_then(|link| link.rtt);
            (!circuit, rtt.unwrap_or(Duration::MAX))
        })
        .copied()
    }
}

impl State {
    fn direct(&mut self, node: NodeId, now: Timestamp) -> &mut Link {
        self.direct.entry(node).or_insert_with(|| Link::down(now))
    }

    fn circuit(&mut self, peer: NodeId, via: NodeId, now: Timestamp) -> &mut Link {
        self.circuits.entry((peer, via)).or_insert_with(|| Link::down(now))
    }
}

/// A library's reason of several lines as one.
fn one_line(reason: &str) -> String {
    let lines =
        reason.lines().map(|line| line.trim().trim_start_matches("- ")).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

/// A refusal in words, for the log.
pub(crate) fn refusal(why: &Refusal) -> String {
    match why {
        Refusal::UnknownNode(kind) => format!("a {kind:?} stream by a node that is in no roster here"),
        Refusal::SecondStream => "a stranger's second stream".to_owned(),
        Refusal::TooManyStrangers => "too many strangers".to_owned(),
        Refusal::TooManyHandshakes => "too many unfinished handshakes".to_owned(),
        Refusal::Busy => "too many streams at once".to_owned(),
        Refusal::Reservation => "a reservation by a node that no channel admits".to_owned(),
        Refusal::Circuit { destination } => {
            format!("a circuit to {destination:?}, with whom it shares no channel")
        }
        Refusal::ForeignKey => "a key that is not Ed25519".to_owned(),
        Refusal::Removed => "a node that is no longer in the roster".to_owned(),
        _ => "refused".to_owned(),
    }
}
