//! Revocations across branches. A log has branches when its node was restored from an earlier state, or forks. An officer's key that one branch
//! revokes speaks on the others only up to the branching point, unless another party's log shows that it had seen the entry
//! before it saw the revocation (threat K2): so nobody voids an acknowledgement by restoring a backup and revoking.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    authority::Authority,
    facts::Facts,
    log::{Log, Node},
};
use crate::{
    hash::EntryHash,
    identity::{keys::PublicKey, member::MemberId},
};

/// What is kept of a log with branches, so that nothing is searched in one without.
#[derive(Clone, Debug, Default)]
pub(super) struct Branches {
    /// Entries that revoke an officer's key with effect, on whatever branch.
    revocations: BTreeMap<PublicKey, BTreeSet<EntryHash>>,
    revokes: BTreeMap<EntryHash, BTreeSet<PublicKey>>,
    /// Chained entries signed by a key that another branch revokes, with those revocations.
    suspects: BTreeMap<EntryHash, BTreeSet<(PublicKey, EntryHash)>>,
    /// Keys whose revocations have changed since the last look.
    stirred: BTreeSet<PublicKey>,
    branched: bool,
}

/// For each revocation, how far other parties had seen the log before they had seen that. Made anew for each use: it
/// costs a walk through the other logs, which only a log with suspects ever pays.
#[derive(Default)]
pub(super) struct Witnesses(BTreeMap<EntryHash, Vec<EntryHash>>);

impl Branches {
    /// Notes what an entry revokes, now that this holds after it.
    pub(super) fn note(&mut self, hash: EntryHash, after: Option<&Arc<Authority>>) {
        let Some(after) = after else { return };
        let now: BTreeSet<PublicKey> =
            after.revocations().filter(|(_, by)| **by == hash).map(|(key, _)| *key).collect();
        let before = self.revokes.remove(&hash).unwrap_or_default();
        for key in before.symmetric_difference(&now) {
            let by = self.revocations.entry(*key).or_default();
            if now.contains(key) {
                by.insert(hash);
            } else {
                by.remove(&hash);
            }
            if by.is_empty() {
                self.revocations.remove(key);
            }
            self.stirred.insert(*key);
        }
        if !now.is_empty() {
            self.revokes.insert(hash, now);
        }
    }

    /// Looks for suspects among the entries that have found their place, and wherever a revocation is new.
    pub(super) fn settle(
        &mut self,
        log: &Log,
        settled: &[EntryHash],
        signed: &BTreeMap<PublicKey, BTreeSet<EntryHash>>,
    ) {
        if !log.is_branched() {
            return;
        }
        let mut stirred = std::mem::take(&mut self.stirred);
        if !self.branched {
            self.branched = true;
            stirred.extend(self.revocations.keys().copied());
        }
        let revoking = settled.iter().filter_map(|hash| self.revokes.get(hash)).flatten();
        stirred.extend(revoking.copied());
        let again = stirred.iter().filter_map(|key| signed.get(key)).flatten();
        for hash in settled.iter().chain(again) {
            let Some(node) = log.get(hash) else { continue };
            let against = self.against(log, node);
            if against.is_empty() {
                self.suspects.remove(hash);
            } else {
                self.suspects.insert(*hash, against);
            }
        }
    }

    /// The revocations on other branches of keys that signed this entry.
    fn against(&self, log: &Log, node: &Node) -> BTreeSet<(PublicKey, EntryHash)> {
        let Facts::Dispatch(dispatch) = &node.facts else { return BTreeSet::new() };
        if !node.is_chained() {
            return BTreeSet::new();
        }
        let by_key = |key: &PublicKey| {
            let key = *key;
            self.revocations.get(&key).into_iter().flatten().map(move |revocation| (key, *revocation))
        };
        let elsewhere = |(_, revocation): &(PublicKey, EntryHash)| {
            log.get(revocation).filter(|revocation| revocation.is_chained()).is_some_and(|revocation| {
                !log.leads_to(node, &revocation.head.hash) && !log.leads_to(revocation, &node.head.hash)
            })
        };
        dispatch.signers.iter().flat_map(by_key).filter(elsewhere).collect()
    }

    pub(super) fn revocations(&self, key: &PublicKey) -> impl Iterator<Item = &EntryHash> {
        self.revocations.get(key).into_iter().flatten()
    }

    pub(super) fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    pub(super) fn suspects(&self) -> impl Iterator<Item = &EntryHash> {
        self.suspects.keys()
    }

    /// Asks the other logs about every revocation that some suspect stands against.
    pub(super) fn witnesses(&self, party: &MemberId, logs: &BTreeMap<MemberId, Log>) -> Witnesses {
        let Some(log) = logs.get(party) else { return Witnesses::default() };
        let revocations: BTreeSet<EntryHash> =
            self.suspects.values().flatten().map(|(_, revocation)| *revocation).collect();
        let frontier = |revocation: EntryHash| {
            let revoking = log.get(&revocation)?;
            let others = logs.iter().filter(|(other, _)| *other != party).map(|(_, other)| other);
            let mut seen: Vec<&Node> =
                others.flat_map(|other| seen_before(party, log, other, revoking)).collect();
            // Only the furthest of each branch: what it leads from was seen as well.
            seen.sort_by_key(|node| Reverse((node.head.seq, node.head.hash)));
            let mut furthest: Vec<EntryHash> = Vec::new();
            for node in seen {
                if !furthest.iter().any(|beyond| log.leads_to(node, beyond)) {
                    furthest.push(node.head.hash);
                }
            }
            Some((revocation, furthest))
        };
        Witnesses(revocations.into_iter().filter_map(frontier).collect())
    }

    /// A signer whose key another branch revokes, unless another party's log shows that the entry was there before.
    pub(super) fn revoked_elsewhere(
        &self,
        log: &Log,
        witnesses: &Witnesses,
        node: &Node,
    ) -> Option<PublicKey> {
        let against = self.suspects.get(&node.head.hash)?;
        // In the order in which the entry names its signers, so that everybody names the same one.
        let Facts::Dispatch(dispatch) = &node.facts else { return None };
        dispatch.signers.iter().copied().find(|signer| {
            against.iter().filter(|(key, _)| key == signer).any(|(_, revocation)| {
                let furthest = witnesses.0.get(revocation).map_or(&[][..], Vec::as_slice);
                !furthest.iter().any(|seen| log.leads_to(node, seen))
            })
        })
    }
}

/// The entries of `party` that `other` names as seen, up to where it names the revocation or what comes after it.
fn seen_before<'a>(party: &MemberId, log: &'a Log, other: &Log, revocation: &Node) -> Vec<&'a Node> {
    let mut after = BTreeSet::new();
    let mut seen = BTreeMap::new();
    // By volume and number: what an entry follows always comes before it.
    for witness in other.in_order().filter(|witness| witness.is_chained()) {
        let heads =
            || witness.seen.iter().filter(|head| head.party == *party).filter_map(|head| log.get(&head.hash));
        if after.contains(&witness.prev) || heads().any(|head| log.leads_to(revocation, &head.head.hash)) {
            after.insert(witness.head.hash);
        } else {
            seen.extend(heads().map(|head| (head.head.hash, head)));
        }
    }
    seen.into_values().collect()
}
