//! Who is no stranger, shared between the network task and the places inside libp2p that must ask.
//!
//! Written by the network task alone, whole at each change; a reader holds the lock for one look-up.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock},
};

use libp2p::{Multiaddr, PeerId};

use super::identity::node_id;
use crate::transport::{Admission, NodeId};

/// A handle to the shared knowledge; clones share it.
#[derive(Clone, Default)]
pub(super) struct Known(Arc<RwLock<Inner>>);

#[derive(Default)]
struct Inner {
    nodes: BTreeSet<NodeId>,
    admission: Admission,
    /// From which address each node last asked for a reservation. The relay's own event does not tell which
    /// connection it was, and the older ones must be closed.
    reserving: HashMap<PeerId, Multiaddr>,
}

impl Known {
    /// Replaces the nodes that are no strangers, and the circuits that are allowed (mediators).
    pub(super) fn replace(&self, nodes: BTreeSet<NodeId>, admission: Admission) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        inner.reserving.retain(|peer, _| node_id(peer).is_some_and(|node| admission.admits(node)));
        inner.nodes = nodes;
        inner.admission = admission;
    }

    /// Whether `node` is no stranger.
    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.read(|inner| inner.nodes.contains(&node))
    }

    /// Whether the node behind `peer` is no stranger.
    pub(super) fn contains_peer(&self, peer: &PeerId) -> bool {
        node_id(peer).is_some_and(|node| self.contains(node))
    }

    /// Mediators: whether `peer` may reserve. Remembers from where it asked if so.
    pub(super) fn may_reserve(&self, peer: PeerId, from: &Multiaddr) -> bool {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let may = node_id(&peer).is_some_and(|node| inner.admission.admits(node));
        if may {
            // Bounded by the admission: only admitted nodes get here.
            inner.reserving.insert(peer, from.clone());
        }
        may
    }

    /// Mediators: from where `peer` last asked for a reservation.
    pub(super) fn reserving_from(&self, peer: &PeerId) -> Option<Multiaddr> {
        self.read(|inner| inner.reserving.get(peer).cloned())
    }

    /// Mediators: whether `peer` may ask for circuits at all.
    pub(super) fn may_ask_for_circuits(&self, peer: &PeerId) -> bool {
        node_id(peer).is_some_and(|node| self.read(|inner| inner.admission.admits(node)))
    }

    /// Mediators: whether a circuit may join the two.
    pub(super) fn may_be_joined(&self, a: NodeId, b: NodeId) -> bool {
        self.read(|inner| inner.admission.share_a_channel(a, b))
    }

    fn read<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
