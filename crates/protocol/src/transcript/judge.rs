//! The judgement of effect, kept up to date as entries come in, whatever their order. It is a pure function of the logs held:
//! whatever is cached here is recomputed when something it rests on changes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    authority::Authority,
    effect::{Effect, Void},
    entry::Head,
    facts::Facts,
    log::{Log, Node},
};
use crate::{
    charter::Charter,
    hash::{DocumentId, EntryHash},
    identity::{Verified, keys::PublicKey, member::MemberId},
};

/// What the judgement of one party's log keeps beside the log.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    founding: Arc<Authority>,
    /// Entries by the authority entry they rest on (none: the charter), claimed or found.
    resting: BTreeMap<Option<EntryHash>, BTreeSet<EntryHash>>,
    /// Entries by document, so that each dispatch takes effect once.
    documents: BTreeMap<DocumentId, Vec<EntryHash>>,
    /// Revocations of officers that have effect: the key, and the entries that revoke it, on whatever branch.
    revocations: BTreeMap<PublicKey, BTreeSet<EntryHash>>,
}

impl Judge {
    pub(super) fn new(charter: &Verified<Charter>, party: &MemberId) -> Option<Self> {
        Some(Self {
            founding: Arc::new(Authority::founding(charter, party)?),
            resting: BTreeMap::new(),
            documents: BTreeMap::new(),
            revocations: BTreeMap::new(),
        })
    }

    pub(super) const fn founding(&self) -> &Arc<Authority> {
        &self.founding
    }

    /// Whether what happens in other logs can change judgements in this one.
    pub(super) fn depends_on_others(&self, log: &Log) -> bool {
        log.is_branched() && !self.revocations.is_empty()
    }

    /// Judges the entry that came in, those that it settled, and all that rests on them.
    pub(super) fn settle(
        &mut self,
        party: &MemberId,
        logs: &mut BTreeMap<MemberId, Log>,
        charter: &Charter,
        new: EntryHash,
        settled: Vec<EntryHash>,
    ) -> Vec<(Head, Effect)> {
        let mut changed_documents = BTreeSet::new();
        let mut queue: VecDeque<EntryHash> = settled.into();
        if !queue.contains(&new) {
            queue.push_front(new);
        }
        if let Some(node) = logs.get(party).and_then(|log| log.get(&new)) {
            self.resting.entry(node.authority.map(|pointer| pointer.hash)).or_default().insert(new);
            self.documents.entry(node.document).or_default().push(new);
            changed_documents.insert(node.document);
        }
        let mut revocations_changed = false;
        while let Some(hash) = queue.pop_front() {
            let Some(log) = logs.get_mut(party) else { break };
            let Some((verdict, after)) = log.get(&hash).map(|node| self.verdict(log, node, charter)) else {
                continue;
            };
            revocations_changed |= self.note_revocations(hash, after.as_ref());
            let Some(node) = log.get_mut(&hash) else { continue };
            let moved = !same(node.after.as_ref(), after.as_ref());
            if node.verdict != verdict {
                changed_documents.insert(node.document);
            }
            node.verdict = verdict;
            node.after = after;
            if moved {
                queue.extend(self.resting.get(&Some(hash)).into_iter().flatten().copied());
            }
        }
        if revocations_changed || logs.get(party).is_some_and(|log| self.depends_on_others(log)) {
            changed_documents.extend(self.signed_by_revoked(party, logs));
        }
        self.publish(party, logs, &changed_documents)
    }

    /// Judges again what other logs may protect from a revocation on another branch.
    pub(super) fn others_changed(
        &self,
        party: &MemberId,
        logs: &mut BTreeMap<MemberId, Log>,
    ) -> Vec<(Head, Effect)> {
        let documents = self.signed_by_revoked(party, logs);
        self.publish(party, logs, &documents)
    }

    fn verdict(&mut self, log: &Log, node: &Node, charter: &Charter) -> (Effect, Option<Arc<Authority>>) {
        let found = log.authority_before(node);
        let rests_on = found.unwrap_or(node.authority).map(|pointer| pointer.hash);
        if found.is_some_and(|found| found != node.authority) {
            // The pointer is false: the entry rests on what was found instead.
            self.resting.entry(rests_on).or_default().insert(node.head.hash);
        }
        let before = match rests_on {
            None => Some(&self.founding),
            Some(hash) => log.get(&hash).and_then(|authority| authority.after.as_ref()),
        };
        let Some(before) = before else { return (Effect::AuthorityUnknown, None) };
        if let Some(why) = log.out_of_place(node) {
            // Without effect, it changes nothing for those that come after it.
            return (Effect::Void(why), node.facts.is_authority().then(|| Arc::clone(before)));
        }
        match &node.facts {
            Facts::Junk(why) => (Effect::Void(why.clone()), None),
            Facts::Dispatch(dispatch) => match before.judge(dispatch, charter) {
                Ok(()) => (Effect::Accepted, None),
                Err(why) => (Effect::Void(why), None),
            },
            Facts::Authority(kind, document) => match before.after(*kind, document, node.head.hash) {
                Ok(after) => (Effect::Accepted, Some(Arc::new(after))),
                Err(why) => (Effect::Void(why), Some(Arc::clone(before))),
            },
        }
    }

    /// Notes what `hash` revokes; true when that changed.
    fn note_revocations(&mut self, hash: EntryHash, after: Option<&Arc<Authority>>) -> bool {
        let revoked: BTreeSet<PublicKey> = after
            .into_iter()
            .flat_map(|after| after.revocations())
            .filter(|(_, by)| **by == hash)
            .map(|(key, _)| *key)
            .collect();
        let mut changed = false;
        for key in &revoked {
            changed |= self.revocations.entry(*key).or_default().insert(hash);
        }
        self.revocations.retain(|key, by| {
            changed |= !revoked.contains(key) && by.remove(&hash);
            !by.is_empty()
        });
        changed
    }

    fn signed_by_revoked(&self, party: &MemberId, logs: &BTreeMap<MemberId, Log>) -> BTreeSet<DocumentId> {
        let Some(log) = logs.get(party) else { return BTreeSet::new() };
        log.nodes()
            .filter(|node| match &node.facts {
                Facts::Dispatch(dispatch) => {
                    dispatch.signers.iter().any(|key| self.revocations.contains_key(key))
                }
                Facts::Authority(..) | Facts::Junk(_) => false,
            })
            .map(|node| node.document)
            .collect()
    }

    /// Decides among entries of one document, and reports every effect that changed.
    fn publish(
        &self,
        party: &MemberId,
        logs: &mut BTreeMap<MemberId, Log>,
        documents: &BTreeSet<DocumentId>,
    ) -> Vec<(Head, Effect)> {
        let mut decided: Vec<(EntryHash, Effect)> = Vec::new();
        if let Some(log) = logs.get(party) {
            for document in documents {
                let entries = self.documents.get(document).map_or(&[][..], Vec::as_slice);
                decided.extend(self.decide(party, logs, log, entries));
            }
        }
        let mut changes = Vec::new();
        let Some(log) = logs.get_mut(party) else { return changes };
        for (hash, effect) in decided {
            if let Some(node) = log.get_mut(&hash)
                && node.effect != effect
            {
                node.effect = effect.clone();
                changes.push((node.head.clone(), effect));
            }
        }
        changes.sort_by(|(a, _), (b, _)| (a.card, a.seq, a.hash).cmp(&(b.card, b.seq, b.hash)));
        changes
    }

    fn decide(
        &self,
        party: &MemberId,
        logs: &BTreeMap<MemberId, Log>,
        log: &Log,
        entries: &[EntryHash],
    ) -> Vec<(EntryHash, Effect)> {
        let mut nodes: Vec<&Node> = entries.iter().filter_map(|hash| log.get(hash)).collect();
        nodes.sort_by_key(|node| (node.head.card, node.head.seq, node.head.hash));
        let mut first = None;
        nodes
            .into_iter()
            .map(|node| {
                // Documents that say who may sign are judged once each along their own branch, by `Authority`.
                let effect = if node.verdict != Effect::Accepted || node.facts.is_authority() {
                    node.verdict.clone()
                } else if let Some(key) = self.revoked_elsewhere(party, logs, log, node) {
                    Effect::Void(Void::RevokedOfficer(key))
                } else if let Some(first) = first {
                    Effect::Void(Void::AlreadyInEffect(first))
                } else {
                    first = Some(node.head.hash);
                    Effect::Accepted
                };
                (node.head.hash, effect)
            })
            .collect()
    }

    /// A signer whose key another branch revokes, unless another party's log shows that the entry was there before.
    fn revoked_elsewhere(
        &self,
        party: &MemberId,
        logs: &BTreeMap<MemberId, Log>,
        log: &Log,
        node: &Node,
    ) -> Option<PublicKey> {
        if !log.is_branched() || !node.is_chained() {
            return None;
        }
        let Facts::Dispatch(dispatch) = &node.facts else { return None };
        dispatch.signers.iter().copied().find(|key| {
            self.revocations.get(key).into_iter().flatten().any(|revocation| {
                let Some(revocation) = log.get(revocation).filter(|revocation| revocation.is_chained())
                else {
                    return false;
                };
                let same_branch =
                    log.leads_to(node, &revocation.head.hash) || log.leads_to(revocation, &node.head.hash);
                !same_branch && !witnessed(party, logs, log, node, revocation)
            })
        })
    }
}

/// Whether some other party wrote, before it had seen the revocation, that it had seen the entry.
fn witnessed(
    party: &MemberId,
    logs: &BTreeMap<MemberId, Log>,
    log: &Log,
    node: &Node,
    revocation: &Node,
) -> bool {
    let covers = |witness: &Node, what: &Node| {
        witness.seen.iter().any(|head| head.party == *party && log.leads_to(what, &head.hash))
    };
    logs.iter().filter(|(other, _)| *other != party).any(|(_, other)| {
        other.nodes().filter(|witness| witness.is_chained() && covers(witness, node)).any(|witness| {
            let mut at = Some(witness);
            while let Some(earlier) = at {
                if covers(earlier, revocation) {
                    return false;
                }
                at = other.get(&earlier.prev);
            }
            true
        })
    })
}

fn same(one: Option<&Arc<Authority>>, other: Option<&Arc<Authority>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}
