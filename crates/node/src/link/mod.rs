//! How the links are, and since when and why: what a diagnosis of silence rests on.
//!
//! The switchboard enters what the transport tells; channels enter how their sessions are; [`status`] puts both into words.

pub(crate) mod status;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use demarche_protocol::time::Timestamp;

use crate::{
    defaults::{FAILED_WAY, QUIET_WAY},
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
    /// The same by the clock that does not jump.
    heard_at: Option<Instant>,
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
            heard_at: None,
        }
    }

    fn heard(&mut self, now: Timestamp) {
        self.last_heard = Some(now);
        self.heard_at = Some(Instant::now());
    }

    /// It stands, and no ping was answered on it for a while.
    fn is_quiet(&self, now: Instant) -> bool {
        self.heard_at.is_some_and(|at| now >= at + QUIET_WAY)
    }

    fn goes_up(&mut self, now: Timestamp) {
        if !self.up {
            self.since = now;
        }
        self.up = true;
        self.cause = None;
        self.heard(now);
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
    /// Ways to peers over mediators on which the last try was in vain, and when.
    failed: BTreeMap<(NodeId, NodeId), Instant>,
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
                // Whatever was wrong with it may be over.
                state.failed.retain(|(_, via), _| via != node);
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
                state.failed.remove(&(*peer, *via));
                state.circuit(*peer, *via, now).goes_up(now);
                return true;
            }
            TransportEvent::CircuitDown { peer, via, reason } => {
                state.circuit(*peer, *via, now).goes_down(now, reason);
            }
            TransportEvent::Rtt { peer, via, rtt } => {
                let link = match via {
                    Some(via) => {
                        // It carries to the peer and back.
                        state.failed.remove(&(*peer, *via));
                        state.circuit(*peer, *via, now)
                    }
                    None => state.direct(*peer, now),
                };
                link.rtt = Some(*rtt);
                link.heard(now);
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
        state.failed.retain(|(peer, via), _| known(*peer) && known(*via));
    }

    /// The direct way to a node.
    pub(crate) fn direct(&self, node: NodeId) -> Option<Link> {
        self.lock().direct.get(&node).cloned()
    }

    /// The way to a peer over a mediator.
    pub(crate) fn circuit(&self, peer: NodeId, via: NodeId) -> Option<Link> {
        self.lock().circuits.get(&(peer, via)).cloned()
    }

    /// A peer was not reached over a mediator: the others come first for a while.
    pub(crate) fn failed(&self, peer: NodeId, via: NodeId) {
        self.lock().failed.insert((peer, via), Instant::now());
    }

    /// Whether a peer was not reached over a mediator just now.
    pub(crate) fn has_failed(&self, peer: NodeId, via: NodeId) -> bool {
        self.lock().failed.get(&(peer, via)).is_some_and(|at| Instant::now() < *at + FAILED_WAY)
    }

    /// A mediator carries a session with a peer.
    pub(crate) fn carried(&self, peer: NodeId, via: NodeId) {
        self.lock().failed.remove(&(peer, via));
    }

    /// The connected mediator over which a peer is best reached: one that has not failed just now, else the one whose failure is
    /// longest ago; of those one that answers pings, then one over which a circuit stands, then the nearest.
    pub(crate) fn best(&self, peer: NodeId, mediators: &[NodeId]) -> Option<NodeId> {
        self.best_at(peer, mediators, Instant::now()).map(|(via, _)| via)
    }

    /// The same, unless every one of them has just failed.
    pub(crate) fn untried(&self, peer: NodeId, mediators: &[NodeId]) -> Option<NodeId> {
        let best = self.best_at(peer, mediators, Instant::now());
        best.filter(|(_, failed)| failed.is_none()).map(|(via, _)| via)
    }

    /// The best, and when it has failed if that was just now.
    fn best_at(&self, peer: NodeId, mediators: &[NodeId], now: Instant) -> Option<(NodeId, Option<Instant>)> {
        let state = self.lock();
        let up = mediators.iter().filter(|node| state.direct.get(node).is_some_and(|link| link.up));
        let failed = |node| state.failed.get(&(peer, node)).copied().filter(|at| now < *at + FAILED_WAY);
        let best = up.min_by_key(|node| {
            let circuit = state.circuits.get(&(peer, **node)).is_some_and(|link| link.up);
            let direct = state.direct.get(node);
            let quiet = direct.is_some_and(|link| link.is_quiet(now));
            let rtt = direct.and_then(|link| link.rtt);
            (failed(**node), quiet, !circuit, rtt.unwrap_or(Duration::MAX))
        });
        best.map(|best| (*best, failed(*best)))
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

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId::from_bytes([1; 32]);
    const NEAR: NodeId = NodeId::from_bytes([2; 32]);
    const FAR: NodeId = NodeId::from_bytes([3; 32]);
    const BOTH: [NodeId; 2] = [NEAR, FAR];

    fn up(links: &Links, node: NodeId, millis: u64) {
        let address = "127.0.0.1:7701".parse().unwrap();
        links.enter(&TransportEvent::MediatorUp { node, address, carrier: crate::transport::Carrier::Tcp });
        let rtt = Duration::from_millis(millis);
        links.enter(&TransportEvent::Rtt { peer: node, via: None, rtt });
    }

    #[test]
    fn a_mediator_that_fails_a_peer_stands_behind_the_others_for_a_while() {
        let links = Links::new();
        assert_eq!(links.best(PEER, &BOTH), None, "none is connected");
        up(&links, NEAR, 5);
        up(&links, FAR, 50);
        assert_eq!(links.best(PEER, &BOTH), Some(NEAR));
        links.enter(&TransportEvent::CircuitUp { peer: PEER, via: NEAR });
        links.failed(PEER, NEAR);
        assert_eq!(links.best(PEER, &BOTH), Some(FAR), "also when a circuit stands that swallows everything");
        assert_eq!(links.best(FAR, &BOTH), Some(NEAR), "for that peer alone");
        links.failed(PEER, FAR);
        assert_eq!(links.untried(PEER, &BOTH), None);
        assert_eq!(links.best(PEER, &BOTH), Some(NEAR), "they take turns");
        links.carried(PEER, FAR);
        assert_eq!(links.untried(PEER, &BOTH), Some(FAR));
        let later = Instant::now() + FAILED_WAY;
        assert_eq!(links.best_at(PEER, &BOTH, later), Some((NEAR, None)), "and it is forgotten");
        up(&links, NEAR, 5);
        assert_eq!(links.best(PEER, &BOTH), Some(NEAR), "as when the mediator is back");
        links.failed(PEER, NEAR);
        assert_eq!(links.best(PEER, &BOTH), Some(FAR));
        let rtt = Duration::from_millis(6);
        links.enter(&TransportEvent::Rtt { peer: PEER, via: Some(NEAR), rtt });
        assert_eq!(links.best(PEER, &BOTH), Some(NEAR), "or when the peer answers a ping over it");
    }
}
