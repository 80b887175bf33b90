//! Places for streams of which nothing is known yet but whose they are. One node never takes all of them: a peer that opens
//! streams and says nothing must not keep the others out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::transport::NodeId;

/// So many places in all, and so many of them for one node.
pub(super) struct Places {
    all: usize,
    of_one: usize,
    taken: Mutex<BTreeMap<NodeId, usize>>,
}

/// One place, given back when it is dropped.
pub(super) struct Place(Arc<Places>, NodeId);

impl Places {
    pub(super) const fn new(all: usize, of_one: usize) -> Self {
        Self { all, of_one, taken: Mutex::new(BTreeMap::new()) }
    }

    /// A place for a node, if there is one for it.
    pub(super) fn take(places: &Arc<Self>, node: NodeId) -> Option<Place> {
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&node).copied().unwrap_or(0);
        if taken.values().sum::<usize>() >= places.all || own >= places.of_one {
            return None;
        }
        taken.insert(node, own + 1);
        Some(Place(Arc::clone(places), node))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M23: what one node holds, however many streams it opens, leaves places for the others; and what it gives back is free.
    #[test]
    fn m23_one_node_never_takes_all_places() {
        let places = Arc::new(Places::new(5, 3));
        let node = |n| NodeId::from_bytes([n; 32]);
        let mut greedy: Vec<Place> = (0..100).filter_map(|_| Places::take(&places, node(1))).collect();
        assert_eq!(greedy.len(), 3);
        let others: Vec<Place> = [2, 3].iter().filter_map(|n| Places::take(&places, node(*n))).collect();
        assert_eq!(others.len(), 2, "the others still get in");
        assert!(Places::take(&places, node(4)).is_none(), "and no more than there are places");
        greedy.pop();
        assert!(Places::take(&places, node(4)).is_some());
        drop((greedy, others));
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
