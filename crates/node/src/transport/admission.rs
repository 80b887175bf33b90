//! Whom a mediator serves: for each channel, the nodes that its roster admits.
//!
//! Admission is per channel and card, never per key alone: a circuit joins two nodes only if some channel
//! admits both. The set is replaced whole, so what a reader sees is always one roster, never half of two.

use std::collections::{BTreeMap, BTreeSet};

use super::NodeId;

/// A channel's name as transports see it: the 32 bytes of the charter's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ChannelName(pub [u8; 32]);

/// The nodes that a mediator serves, channel by channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Admission {
    channels: BTreeMap<ChannelName, BTreeSet<NodeId>>,
}

impl Admission {
    /// Admits nobody.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Makes `nodes` all that `channel` admits; an empty set removes the channel.
    pub(crate) fn set_channel(&mut self, channel: ChannelName, nodes: BTreeSet<NodeId>) {
        if nodes.is_empty() {
            self.channels.remove(&channel);
        } else {
            self.channels.insert(channel, nodes);
        }
    }

    /// Whether any channel admits `node`.
    pub(crate) fn admits(&self, node: NodeId) -> bool {
        self.channels.values().any(|nodes| nodes.contains(&node))
    }

    /// Whether some channel admits both: the only reason for a circuit between them.
    pub(crate) fn share_a_channel(&self, a: NodeId, b: NodeId) -> bool {
        a != b && self.channels.values().any(|nodes| nodes.contains(&a) && nodes.contains(&b))
    }

    /// Every node that some channel admits.
    pub(crate) fn nodes(&self) -> BTreeSet<NodeId> {
        self.channels.values().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId::from_bytes([1; 32]);
    const B: NodeId = NodeId::from_bytes([2; 32]);
    const C: NodeId = NodeId::from_bytes([3; 32]);

    #[test]
    fn a_circuit_needs_one_channel_that_admits_both() {
        let mut admission = Admission::new();
        admission.set_channel(ChannelName([1; 32]), [A, B].into());
        admission.set_channel(ChannelName([2; 32]), [B, C].into());
        assert!(admission.share_a_channel(A, B));
        assert!(admission.share_a_channel(C, B));
        assert!(!admission.share_a_channel(A, C), "B's two channels must not join A and C");
        assert!(!admission.share_a_channel(A, A));
    }

    #[test]
    fn a_node_removed_from_its_last_channel_is_a_stranger() {
        let mut admission = Admission::new();
        admission.set_channel(ChannelName([1; 32]), [A, B].into());
        admission.set_channel(ChannelName([1; 32]), [B].into());
        assert!(!admission.admits(A));
        assert!(admission.admits(B));
        admission.set_channel(ChannelName([1; 32]), BTreeSet::new());
        assert!(admission.nodes().is_empty());
    }
}
