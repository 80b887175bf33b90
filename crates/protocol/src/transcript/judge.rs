//! The judgement of effect, kept up to date as entries come in, whatever their order. It is a pure function of the logs held:
//! whatever is cached here is recomputed when something it rests on changes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    authority::Authority,
    branches::{Branches, Witnesses},
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
    /// The entry by which a dispatch has effect.
    speaks: BTreeMap<DocumentId, EntryHash>,
    /// Dispatches by the keys that signed them.
    signed: BTreeMap<PublicKey, BTreeSet<EntryHash>>,
    branches: Branches,
}

/// What a party settled in one insertion.
pub(super) struct Settled {
    pub(super) new: EntryHash,
    pub(super) entries: Vec<EntryHash>,
    /// A log that is being read back is not asked for witnesses until all of it is there.
    pub(super) restoring: bool,
}

impl Judge {
    pub(super) fn new(charter: &Verified<Charter>, party: &MemberId) -> Option<Self> {
        Some(Self {
            founding: Arc::new(Authority::founding(charter, party)?),
            resting: BTreeMap::new(),
            documents: BTreeMap::new(),
            speaks: BTreeMap::new(),
            signed: BTreeMap::new(),
            branches: Branches::default(),
        })
    }

    pub(super) const fn founding(&self) -> &Arc<Authority> {
        &self.founding
    }

    /// The entries that revoke a key with effect, on whatever branch.
    pub(super) fn revocations(&self, key: &PublicKey) -> impl Iterator<Item = &EntryHash> {
        self.branches.revocations(key)
    }

    /// Whether what happens in other logs can change judgements in this one.
    pub(super) fn depends_on_others(&self) -> bool {
        self.branches.has_suspects()
    }

    /// Judges the entry that came in, those that it settled, and all that rests on them.
    pub(super) fn settle(
        &mut self,
        party: &MemberId,
        logs: &mut BTreeMap<MemberId, Log>,
        charter: &Charter,
        settled: Settled,
    ) -> Vec<(Head, Effect)> {
        let Settled { new, entries, restoring } = settled;
        let mut changed = BTreeSet::new();
        let mut queue: VecDeque<EntryHash> = entries.iter().copied().collect();
        if !queue.contains(&new) {
            queue.push_front(new);
        }
        if let Some(node) = logs.get(party).and_then(|log| log.get(&new)) {
            self.index(node);
            changed.insert(new);
        }
        while let Some(hash) = queue.pop_front() {
            let Some(log) = logs.get_mut(party) else { break };
            let Some(judged) = log.get(&hash).and_then(|node| self.verdict(log, node, charter)) else {
                continue;
            };
            self.branches.note(hash, judged.after.as_ref());
            let Some(node) = log.get_mut(&hash) else { continue };
            let moved = !same(node.after.as_ref(), judged.after.as_ref());
            if node.verdict != judged.verdict {
                changed.insert(hash);
            }
            node.before = judged.before;
            node.verdict = judged.verdict;
            node.after = judged.after;
            if moved {
                queue.extend(self.resting.get(&Some(hash)).into_iter().flatten().copied());
            }
        }
        if let Some(log) = logs.get_mut(party) {
            // Whatever it rests on stands before it in its chain and is final as well: no entry to come changes the verdict.
            for hash in &entries {
                if let Some(node) = log.get_mut(hash) {
                    node.facts.settled(&node.verdict);
                }
            }
            self.branches.settle(log, &entries, &self.signed);
            if !restoring {
                changed.extend(self.branches.suspects().copied());
            }
        }
        self.publish(party, logs, &changed, restoring)
    }

    /// Judges again what other logs may protect from a revocation on another branch.
    pub(super) fn others_changed(
        &mut self,
        party: &MemberId,
        logs: &mut BTreeMap<MemberId, Log>,
    ) -> Vec<(Head, Effect)> {
        let suspects = self.branches.suspects().copied().collect();
        self.publish(party, logs, &suspects, false)
    }

    fn index(&mut self, node: &Node) {
        let hash = node.head.hash;
        self.resting.entry(node.authority.map(|pointer| pointer.hash)).or_default().insert(hash);
        self.documents.entry(node.document).or_default().push(hash);
        if let Facts::Dispatch(dispatch) = &node.facts {
            for key in &dispatch.signers {
                self.signed.entry(*key).or_default().insert(hash);
            }
        }
    }

    /// The judgement of one entry by itself; nothing when what it rests on is as it was.
    fn verdict(&mut self, log: &Log, node: &Node, charter: &Charter) -> Option<Judged> {
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
        let Some(before) = before.cloned() else {
            return Some(Judged { before: None, verdict: Effect::AuthorityUnknown, after: None });
        };
        let out_of_place = log.out_of_place(node);
        let as_it_was = match (&out_of_place, &node.verdict) {
            (Some(why), Effect::Void(known)) => why == known,
            (None, verdict) => !matches!(verdict, Effect::Void(Void::Misplaced | Void::FalseAuthority)),
            _ => false,
        };
        // Signatures are dear: a chain of entries that came in the wrong order is not judged again and again.
        if as_it_was && same(node.before.as_ref(), Some(&before)) {
            return None;
        }
        let (verdict, after) = match (out_of_place, &node.facts) {
            // Without effect, it changes nothing for those that come after it.
            (Some(why), facts) => (Effect::Void(why), facts.is_authority().then(|| Arc::clone(&before))),
            (None, Facts::Junk(why)) => (Effect::Void(why.clone()), None),
            (None, Facts::Dispatch(dispatch)) => match before.judge(dispatch, charter) {
                Ok(()) => (Effect::Accepted, None),
                Err(why) => (Effect::Void(why), None),
            },
            (None, Facts::Authority(_, Err(why))) => (Effect::Void(why.clone()), Some(Arc::clone(&before))),
            (None, Facts::Authority(kind, Ok(document))) => {
                match before.after(*kind, document, node.head.hash) {
                    Ok(after) => (Effect::Accepted, Some(Arc::new(after))),
                    Err(why) => (Effect::Void(why), Some(Arc::clone(&before))),
                }
            }
        };
        Some(Judged { before: Some(before), verdict, after })
    }

    /// Decides the effect of entries whose judgement has changed, and reports every effect that is other than before.
    fn publish(
        &mut self,
        party: &MemberId,
        logs: &mut BTreeMap<MemberId, Log>,
        changed: &BTreeSet<EntryHash>,
        restoring: bool,
    ) -> Vec<(Head, Effect)> {
        let mut decided: Vec<(EntryHash, Effect)> = Vec::new();
        if let Some(log) = logs.get(party) {
            let witnesses =
                if restoring { Witnesses::default() } else { self.branches.witnesses(party, logs) };
            let mut whole = BTreeSet::new();
            for node in changed.iter().filter_map(|hash| log.get(hash)) {
                match self.speaks.get(&node.document).filter(|hash| !changed.contains(*hash)) {
                    // One more after the entry that speaks already: it concerns no other.
                    Some(first) if log.get(first).is_some_and(|first| first.place() < node.place()) => {
                        let first = Some(*first);
                        decided.push((node.head.hash, self.decide(log, &witnesses, node, first)));
                    }
                    // One that cannot speak, where none does.
                    None if node.verdict != Effect::Accepted && !self.speaks.contains_key(&node.document) => {
                        decided.push((node.head.hash, node.verdict.clone()));
                    }
                    _ => {
                        whole.insert(node.document);
                    }
                }
            }
            for document in whole {
                decided.extend(self.decide_among(log, &witnesses, document));
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
        changes.sort_by_key(|(head, _)| (head.card, head.seq, head.hash));
        changes
    }

    /// Decides among all entries of one document: of those that may speak, the first does.
    fn decide_among(
        &mut self,
        log: &Log,
        witnesses: &Witnesses,
        document: DocumentId,
    ) -> Vec<(EntryHash, Effect)> {
        let entries = self.documents.get(&document).map_or(&[][..], Vec::as_slice);
        let mut nodes: Vec<&Node> = entries.iter().filter_map(|hash| log.get(hash)).collect();
        nodes.sort_by_key(|node| node.place());
        let mut first = None;
        let mut decided = Vec::new();
        for node in nodes {
            let effect = self.decide(log, witnesses, node, first);
            if effect == Effect::Accepted && !node.facts.is_authority() {
                first = Some(node.head.hash);
            }
            decided.push((node.head.hash, effect));
        }
        match first {
            Some(first) => self.speaks.insert(document, first),
            None => self.speaks.remove(&document),
        };
        decided
    }

    /// The effect of one entry, when `first` already speaks for its document.
    fn decide(&self, log: &Log, witnesses: &Witnesses, node: &Node, first: Option<EntryHash>) -> Effect {
        // Documents that say who may sign are judged once each along their own branch, by `Authority`.
        if node.verdict != Effect::Accepted || node.facts.is_authority() {
            node.verdict.clone()
        } else if let Some(key) = self.branches.revoked_elsewhere(log, witnesses, node) {
            Effect::Void(Void::RevokedOfficer(key))
        } else if let Some(first) = first {
            Effect::Void(Void::AlreadyInEffect(first))
        } else {
            Effect::Accepted
        }
    }
}

/// One entry judged by itself.
struct Judged {
    before: Option<Arc<Authority>>,
    verdict: Effect,
    after: Option<Arc<Authority>>,
}

fn same(one: Option<&Arc<Authority>>, other: Option<&Arc<Authority>>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}
