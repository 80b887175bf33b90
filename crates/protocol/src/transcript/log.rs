//! One party's log as it is held: a tree, because a restored node continues from an earlier entry and a dishonest
//! one may fork. Volumes and branches are found here; what has effect is judged elsewhere.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    authority::Authority,
    effect::{Effect, Void},
    entry::{Authentic, Head, Pointer, Seq},
    facts::Facts,
};
use crate::{
    hash::{DocumentId, EntryHash},
    identity::card::CardSerial,
    time::Timestamp,
};

/// Where an entry stands in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chaining {
    /// Something before it is not here.
    Pending,
    /// Everything before it is here.
    Chained {
        /// The last entry up to and including this one that says who may sign.
        authority: Option<Pointer>,
    },
    /// What is before it is here, and it does not follow from that.
    Misplaced,
}

/// What is kept in memory of an entry.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its place and name.
    pub head: Head,
    /// The entry before.
    pub prev: EntryHash,
    /// The entry that says who may sign, as the entry itself claims.
    pub authority: Option<Pointer>,
    /// Heads of other logs that its node had seen.
    pub seen: Vec<Head>,
    /// When it was recorded, by its node's clock.
    pub recorded_at: Timestamp,
    /// Its document.
    pub document: DocumentId,
    /// What the document says.
    pub facts: Facts,
    /// Bytes of entry and text together.
    pub size: usize,
    /// Where it stands in its chain.
    pub chaining: Chaining,
    /// What is said of its effect.
    pub effect: Effect,
    /// An earlier entry of its chain, far enough back that any of them is found in few steps; of the first, itself.
    jump: EntryHash,
    /// What held before it when it was last judged.
    pub(super) before: Option<Arc<Authority>>,
    /// What holds after it, for an entry that says who may sign.
    pub(super) after: Option<Arc<Authority>>,
    /// Its effect before repeated documents are looked at.
    pub(super) verdict: Effect,
}

impl Node {
    fn new(authentic: &Authentic) -> Self {
        let entry = authentic.entry();
        let item = authentic.item();
        Self {
            head: authentic.head(),
            prev: entry.prev,
            authority: entry.authority,
            seen: entry.seen.clone(),
            recorded_at: entry.recorded_at,
            document: entry.document,
            facts: authentic.facts().clone(),
            size: item.entry.bytes().len() + item.text.len(),
            chaining: Chaining::Pending,
            effect: Effect::AuthorityUnknown,
            jump: entry.prev,
            before: None,
            after: None,
            verdict: Effect::AuthorityUnknown,
        }
    }

    /// Whether everything before it is here.
    pub const fn is_chained(&self) -> bool {
        matches!(self.chaining, Chaining::Chained { .. })
    }

    /// By which entries of one document are ordered: volume, number, name.
    pub(super) const fn place(&self) -> (CardSerial, Seq, EntryHash) {
        (self.head.card, self.head.seq, self.head.hash)
    }

    /// The pointer to itself.
    pub const fn pointer(&self) -> Pointer {
        Pointer { seq: self.head.seq, hash: self.head.hash }
    }
}

/// One party's log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    nodes: BTreeMap<EntryHash, Node>,
    /// More than one name at a place is a fork.
    places: BTreeMap<(CardSerial, Seq), Vec<EntryHash>>,
    children: BTreeMap<EntryHash, Vec<EntryHash>>,
    /// Chained entries without a chained successor in their own volume.
    tips: BTreeMap<CardSerial, Vec<Head>>,
    /// Chained entries without a chained successor in whatever volume.
    ends: Vec<Head>,
    /// Some entry has two successors.
    branched: bool,
    /// Bytes of the texts kept of pending entries, which may be judged otherwise when their gap fills.
    pending_texts: usize,
}

impl Log {
    /// Puts an entry in its place. Returns every entry that became chained or misplaced by it, each after what it follows.
    pub(super) fn insert(&mut self, authentic: &Authentic) -> Vec<EntryHash> {
        let node = Node::new(authentic);
        let (hash, prev) = (node.head.hash, node.prev);
        self.places.entry((node.head.card, node.head.seq)).or_default().push(hash);
        let siblings = self.children.entry(prev).or_default();
        siblings.push(hash);
        self.branched |= siblings.len() > 1;
        self.pending_texts += node.facts.text_kept();
        self.nodes.insert(hash, node);
        self.chain(hash)
    }

    fn chain(&mut self, start: EntryHash) -> Vec<EntryHash> {
        let mut settled = Vec::new();
        let mut queue = vec![start];
        while let Some(hash) = queue.pop() {
            let Some(chaining) = self.nodes.get(&hash).map(|node| self.chaining_of(node)) else { continue };
            let jump = self.jump_of(hash);
            let Some(node) = self.nodes.get_mut(&hash) else { continue };
            node.chaining = chaining;
            match chaining {
                Chaining::Pending => continue,
                // What follows it is misplaced as well. Its text says nothing any more.
                Chaining::Misplaced => {
                    self.pending_texts = self.pending_texts.saturating_sub(node.facts.text_kept());
                    node.facts.settled(&Effect::Void(Void::Misplaced));
                }
                Chaining::Chained { .. } => {
                    self.pending_texts = self.pending_texts.saturating_sub(node.facts.text_kept());
                    node.jump = jump;
                    let head = node.head.clone();
                    let prev = node.prev;
                    let tips = self.tips.entry(head.card).or_default();
                    tips.retain(|tip| tip.hash != prev);
                    tips.push(head.clone());
                    self.ends.retain(|end| end.hash != prev);
                    self.ends.push(head);
                }
            }
            queue.extend(self.children.get(&hash).into_iter().flatten().copied());
            settled.push(hash);
        }
        settled
    }

    /// Where a chained entry's jump leads: a skew-binary row, by which every earlier entry is found in a number of
    /// steps that grows with the logarithm of the distance.
    fn jump_of(&self, hash: EntryHash) -> EntryHash {
        let Some(node) = self.nodes.get(&hash).filter(|node| node.head.seq > Seq::FIRST) else { return hash };
        let jump = |from: &Node| self.nodes.get(&from.jump);
        let prev = self.nodes.get(&node.prev);
        let (Some(prev), Some(near), Some(far)) =
            (prev, prev.and_then(jump), prev.and_then(jump).and_then(jump))
        else {
            return node.prev;
        };
        let [prev_at, near_at, far_at] = [prev, near, far].map(|node| node.head.seq.0);
        if prev_at.wrapping_sub(near_at) == near_at.wrapping_sub(far_at) { far.head.hash } else { node.prev }
    }

    fn chaining_of(&self, node: &Node) -> Chaining {
        let opens_volume = matches!(&node.facts, Facts::Authority(crate::document::DocumentType::Card, _));
        let before = if node.head.seq == Seq::FIRST {
            // `Entry::claims` has checked that a first entry begins at the channel.
            if !opens_volume {
                return Chaining::Misplaced;
            }
            None
        } else {
            let Some(prev) = self.nodes.get(&node.prev) else { return Chaining::Pending };
            let authority = match prev.chaining {
                Chaining::Pending => return Chaining::Pending,
                Chaining::Misplaced => return Chaining::Misplaced,
                Chaining::Chained { authority } => authority,
            };
            let follows = prev.head.seq.next() == node.head.seq;
            let in_volume =
                prev.head.card == node.head.card || (prev.head.card < node.head.card && opens_volume);
            if !follows || !in_volume {
                return Chaining::Misplaced;
            }
            authority
        };
        let authority = if node.facts.is_authority() { Some(node.pointer()) } else { before };
        Chaining::Chained { authority }
    }

    /// The last authority entry before this one in its chain, when it is chained.
    #[expect(
        clippy::option_option,
        reason = "not chained, and chained with nothing before it, are two things"
    )]
    pub(super) fn authority_before(&self, node: &Node) -> Option<Option<Pointer>> {
        if !node.is_chained() {
            return None;
        }
        if node.head.seq == Seq::FIRST {
            return Some(None);
        }
        match self.nodes.get(&node.prev)?.chaining {
            Chaining::Chained { authority } => Some(authority),
            Chaining::Pending | Chaining::Misplaced => None,
        }
    }

    /// An entry.
    pub fn get(&self, hash: &EntryHash) -> Option<&Node> {
        self.nodes.get(hash)
    }

    pub(super) fn get_mut(&mut self, hash: &EntryHash) -> Option<&mut Node> {
        self.nodes.get_mut(hash)
    }

    /// Every entry held, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Every entry held, by volume and number.
    pub fn in_order(&self) -> impl Iterator<Item = &Node> {
        self.places.values().flatten().filter_map(|hash| self.nodes.get(hash))
    }

    /// The entries held at one place: none, one, or the two of a fork.
    pub fn at(&self, card: CardSerial, seq: Seq) -> impl Iterator<Item = &Node> {
        self.places.get(&(card, seq)).into_iter().flatten().filter_map(|hash| self.nodes.get(hash))
    }

    /// The entries held of one volume between two numbers, both included.
    pub fn range(&self, card: CardSerial, from: Seq, to: Seq) -> impl Iterator<Item = &Node> {
        // An empty range is no range for a map.
        let to = to.max(from);
        self.places
            .range((card, from)..=(card, to))
            .flat_map(|(_, hashes)| hashes)
            .filter_map(|hash| self.nodes.get(hash))
    }

    /// The entries of one number, whatever their volume.
    pub fn volumes_at(&self, seq: Seq) -> impl Iterator<Item = &Node> {
        self.tips.keys().rev().flat_map(move |card| self.at(*card, seq))
    }

    /// The contiguous ends of every volume.
    pub fn tips(&self) -> impl Iterator<Item = &Head> {
        self.tips.values().flatten()
    }

    /// The ends of all branches, by volume, number and name.
    pub fn ends(&self) -> Vec<Head> {
        let mut ends = self.ends.clone();
        ends.sort();
        ends
    }

    /// The end that speaks now: of the newest volume, the longest branch; of two as long, the lower name.
    pub fn tip(&self) -> Option<&Head> {
        self.tips.values().next_back()?.iter().max_by_key(|head| (head.seq, std::cmp::Reverse(head.hash)))
    }

    /// The contiguous end of one volume.
    pub fn tip_of(&self, card: CardSerial) -> Option<&Head> {
        self.tips.get(&card)?.iter().max_by_key(|head| (head.seq, std::cmp::Reverse(head.hash)))
    }

    /// Bytes of the texts kept of entries before which something is missing.
    pub(crate) const fn pending_texts(&self) -> usize {
        self.pending_texts
    }

    /// Whether some entry has two successors.
    pub const fn is_branched(&self) -> bool {
        self.branched
    }

    /// Whether `ancestor` is `of` or stands before it in its chain.
    pub fn leads_to(&self, ancestor: &Node, of: &EntryHash) -> bool {
        let mut at = self.nodes.get(of);
        while let Some(node) = at {
            if node.head.hash == ancestor.head.hash {
                return true;
            }
            if node.head.seq <= ancestor.head.seq {
                return false;
            }
            let jump = self.nodes.get(&node.jump).filter(|_| node.is_chained());
            at =
                jump.filter(|jump| jump.head.seq >= ancestor.head.seq).or_else(|| self.nodes.get(&node.prev));
        }
        false
    }

    /// Whether an entry stands on the branch that speaks now. Those that do not are disowned: kept, with their effect.
    pub fn is_disowned(&self, node: &Node) -> bool {
        self.branched && node.is_chained() && self.tip().is_some_and(|tip| !self.leads_to(node, &tip.hash))
    }

    /// The judgement of an entry that is out of place, whatever it says.
    pub(super) fn out_of_place(&self, node: &Node) -> Option<Void> {
        if node.chaining == Chaining::Misplaced {
            return Some(Void::Misplaced);
        }
        let before = self.authority_before(node)?;
        (before != node.authority).then_some(Void::FalseAuthority)
    }
}
