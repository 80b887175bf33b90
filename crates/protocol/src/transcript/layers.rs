//! A map of which every version is kept, and versions share what they have in common. Each entry that says who may sign leaves its own
//! version of the authority behind; with whole copies a party could make all others hold memory in the square of its entries.

use std::{collections::BTreeMap, sync::Arc};

/// Layers of a map, the oldest and largest first; a newer one hides what it names in older ones.
#[derive(Clone, Debug)]
pub(super) struct Layers<K, V>(Vec<Arc<BTreeMap<K, Option<V>>>>);

impl<K, V> Default for Layers<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord + Clone, V: Clone> Layers<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.0.iter().rev().find_map(|layer| layer.get(key))?.as_ref()
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        self.put(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: &K) {
        if self.contains(key) {
            self.put(key.clone(), None);
        }
    }

    /// A new layer on top, merged downwards while the one below is no larger: so there are few layers, and
    /// each value is copied once for every doubling.
    fn put(&mut self, key: K, value: Option<V>) {
        let mut top = BTreeMap::from([(key, value)]);
        while let Some(below) = self.0.pop_if(|below| below.len() <= top.len()) {
            let mut merged = (*below).clone();
            merged.append(&mut top);
            top = merged;
        }
        self.0.push(Arc::new(top));
    }

    /// What it holds, by key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let whole: BTreeMap<&K, &Option<V>> = self.0.iter().flat_map(|layer| layer.iter()).collect();
        whole.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_keep_what_they_held_and_share_what_they_can() {
        let mut versions = vec![Layers::default()];
        let mut whole = vec![BTreeMap::new()];
        for step in 0..2_000_u32 {
            let (mut next, mut model) = (versions.last().unwrap().clone(), whole.last().unwrap().clone());
            if step % 7 == 3 {
                next.remove(&(step / 3));
                model.remove(&(step / 3));
            } else {
                next.insert(step, step * 2);
                model.insert(step, step * 2);
            }
            versions.push(next);
            whole.push(model);
        }
        for (version, model) in versions.iter().zip(&whole) {
            assert!(version.iter().eq(model.iter()));
            assert!(version.0.len() <= 12);
        }
        let mut layers: Vec<_> = versions.iter().flat_map(|version| &version.0).collect();
        layers.sort_by_key(|layer| Arc::as_ptr(layer));
        layers.dedup_by_key(|layer| Arc::as_ptr(layer));
        let kept: usize = layers.iter().map(|layer| layer.len()).sum();
        assert!(kept < 2_000 * 12, "{kept} values are kept for 2,000 versions");
    }
}
