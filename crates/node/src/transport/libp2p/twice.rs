//! Noticing that one key is in use at two places.
//!
//! A node dials anew only after its own connection ended, so its new connection displaces a dead one. When live
//! ones are displaced again and again, two programs hold the key and throw each other out.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use crate::transport::{
    NodeId,
    defaults::{DISPLACED_TIMES, DISPLACED_WITHIN},
};

/// Recent displacements of live connections, by node. Bounded by the admission and [`DISPLACED_TIMES`].
#[derive(Default)]
pub(super) struct Displacements(HashMap<NodeId, VecDeque<Instant>>);

impl Displacements {
    /// A live connection of `node` was displaced. `true` if that makes two places; then counting starts afresh, so a
    /// standing fight is told every few seconds and not at each blow.
    pub(super) fn note(&mut self, node: NodeId, now: Instant) -> bool {
        let times = self.0.entry(node).or_default();
        times.push_back(now);
        while times.front().is_some_and(|first| now.duration_since(*first) > DISPLACED_WITHIN) {
            times.pop_front();
        }
        let twice = times.len() >= DISPLACED_TIMES;
        if twice {
            self.0.remove(&node);
        }
        twice
    }

    /// Forgets the nodes that `keep` does not hold.
    pub(super) fn retain(&mut self, keep: impl Fn(NodeId) -> bool) {
        self.0.retain(|node, _| keep(*node));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// K1b: one key seen from two places is named.
    #[test]
    fn k1b_a_fight_is_named_and_a_single_return_is_not() {
        let node = NodeId::from_bytes([1; 32]);
        let start = Instant::now();
        let mut displaced = Displacements::default();
        assert!(!displaced.note(node, start));
        assert!(!displaced.note(node, start + Duration::from_secs(2)));
        assert!(displaced.note(node, start + Duration::from_secs(4)));
        let rare = DISPLACED_WITHIN / 2 + Duration::from_secs(1);
        let later = start + Duration::from_secs(600);
        assert!((0..10).all(|n| !displaced.note(node, later + rare * n)));
    }
}
