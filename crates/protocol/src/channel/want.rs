//! Fetching entries that somebody is known to hold: lost ones of our own, those of absent parties, and the other side
//! of a fork.

use std::{collections::BTreeMap, time::Duration};

use super::{Channel, Frame, Want, debt::Turn, peer::Peer};
use crate::{
    document::DocumentType,
    hash::EntryHash,
    identity::{card::CardSerial, member::MemberId},
    limits,
    time::Now,
    transcript::{Authentic, Chaining, Facts, Head, Log, ReceiptKind, Seq, SignedReceipt},
};

/// A want that brought nothing for this long is given up: the peer does not hold what it claimed.
const GIVE_UP: Duration = Duration::from_secs(30);

/// An author whom we can hear has this long to offer what others hold of its log. After that they are asked: it may be
/// keeping it from us (threat T5).
const PATIENCE: Duration = Duration::from_secs(60);

/// What one peer is known to hold and we do not.
#[derive(Default)]
pub(super) struct Wants {
    /// At most [`limits::HELLO_HEADS`]: a peer may claim what does not exist.
    claims: BTreeMap<EntryHash, Claim>,
    asked: Option<Asked>,
    /// When patience with some author ends.
    look_at: Option<Duration>,
}

struct Claim {
    head: Head,
    since: Duration,
}

/// The claim that is being fetched, what was asked for, and when it last brought something.
struct Asked {
    claim: Head,
    want: Want,
    at: Duration,
}

impl Asked {
    /// The last number that this question brings: the peer answers no longer span at once.
    fn last(&self) -> Seq {
        Seq(self.want.to.0.min(self.want.from.0.saturating_add(limits::WANT_SPAN - 1)))
    }
}

impl Wants {
    pub(super) fn gives_up_at(&self) -> Option<Duration> {
        self.asked.as_ref().map(|asked| asked.at + GIVE_UP)
    }

    pub(super) fn wakes_at(&self) -> Option<Duration> {
        self.gives_up_at().into_iter().chain(self.look_at).min()
    }
}

impl Channel {
    /// Considers a head that `peer` claims to hold.
    pub(super) fn consider(&mut self, now: Now, peer: &MemberId, head: &Head) {
        if self.is_here(&head.hash) || self.transcript.log(&head.party).is_none() {
            return;
        }
        // What it wrote itself it offers by itself, but for the other side of a fork.
        if head.party == *peer && !self.is_wanted(now, head, now.monotonic) {
            return;
        }
        let transcript = &self.transcript;
        let Some(path) = self.peers.get_mut(peer).and_then(|state| state.path.as_mut()) else { return };
        let claims = &mut path.wants.claims;
        if claims.len() >= limits::HELLO_HEADS {
            claims.retain(|hash, _| !transcript.holds(hash));
        }
        if claims.len() < limits::HELLO_HEADS {
            claims.entry(head.hash).or_insert_with(|| Claim { head: head.clone(), since: now.monotonic });
            path.wants.look_at.get_or_insert(now.monotonic + PATIENCE);
        }
        self.ask_next(now, peer);
    }

    /// Considers what stands before an entry that `peer` sent: where a branch begins is known only by going back.
    pub(super) fn consider_before(&mut self, now: Now, peer: &MemberId, entry: &Authentic) {
        // Of an entry that opens a volume it is not known in which one the entry before stands.
        let opens_volume = matches!(entry.facts(), Facts::Authority(DocumentType::Card, _));
        let entry = entry.entry();
        if entry.seq > Seq::FIRST && !opens_volume {
            let seq = Seq(entry.seq.0 - 1);
            let head = Head { party: entry.party.clone(), card: entry.card, seq, hash: entry.prev };
            self.consider(now, peer, &head);
        }
    }

    /// What is missing of a volume that somebody holds up to `head`: that itself, or what stands before it and was lost when what came
    /// after was not (a commit failed, say). Nothing when all of it is here.
    pub(super) fn missing_before(&self, head: &Head) -> Option<Head> {
        let mut missing = head.clone();
        while let Some(node) = self.transcript.get(&missing.hash) {
            // The volume before it has an end of its own, of which is told as well.
            let opens_volume = matches!(node.facts, Facts::Authority(DocumentType::Card, _));
            if node.chaining != Chaining::Pending || opens_volume {
                return None;
            }
            let seq = Seq(node.head.seq.0.saturating_sub(1));
            missing = Head { seq, hash: node.prev, ..node.head.clone() };
        }
        Some(missing)
    }

    fn is_here(&self, hash: &EntryHash) -> bool {
        self.transcript.holds(hash) || self.commits.has_entry(hash)
    }

    /// Whether a claim is to be fetched from whoever makes it. An author whom we can hear offers by itself whatever we have
    /// not receipted, but for another entry in a place that is taken: that is a fork, and proof is wanted.
    fn is_wanted(&self, now: Now, claim: &Head, since: Duration) -> bool {
        let author_offers = self.peers.get(&claim.party).is_some_and(Peer::is_up);
        let taken = || {
            let log = self.transcript.log(&claim.party);
            log.is_some_and(|log| log.at(claim.card, claim.seq).next().is_some())
        };
        !author_offers || taken() || now.monotonic >= since + PATIENCE
    }

    /// Asks `peer` for the next of its claims, if nothing is being fetched from it.
    pub(super) fn ask_next(&mut self, now: Now, peer: &MemberId) {
        let path = self.peers.get(peer).and_then(|state| state.path.as_ref());
        let Some(wants) = path.map(|path| &path.wants) else { return };
        if wants.asked.is_some() {
            return;
        }
        // The furthest first: it brings those before it as well.
        let open = wants
            .claims
            .values()
            .filter(|claim| !self.is_here(&claim.head.hash) && self.is_wanted(now, &claim.head, claim.since));
        let furthest = open.map(|claim| &claim.head).max_by_key(|head| (head.card, head.seq, head.hash));
        let Some(claim) = furthest.cloned() else { return };
        let log = self.transcript.log(&claim.party);
        let from = match log.and_then(|log| log.tip_of(claim.card)).map(|tip| tip.seq) {
            // Held up to here and the rest follows.
            Some(held) if held < claim.seq => held.next(),
            // Another entry stands there: a fork, whose beginning is not known.
            Some(_) => Seq(claim.seq.0.saturating_sub(limits::WANT_SPAN - 1).max(1)),
            None => Seq::FIRST,
        };
        self.ask(now, peer, claim, from);
    }

    fn ask(&mut self, now: Now, peer: &MemberId, claim: Head, from: Seq) {
        let want = Want { party: claim.party.clone(), card: claim.card, from, to: claim.seq };
        if let Some(path) = self.path_to(peer) {
            path.wants.asked = Some(Asked { claim, want: want.clone(), at: now.monotonic });
        }
        self.answer(peer, Frame::Want(want));
    }

    /// An entry came from `peer`: perhaps the last of what was asked for.
    pub(super) fn want_progressed(&mut self, now: Now, peer: &MemberId, entry: &Head) {
        let Some(wants) = self.path_to(peer).map(|path| &mut path.wants) else { return };
        wants.claims.remove(&entry.hash);
        let Some(asked) = &mut wants.asked else { return };
        if asked.want.party != entry.party || asked.want.card != entry.card {
            return;
        }
        asked.at = now.monotonic;
        if asked.claim.hash != entry.hash && entry.seq < asked.last() {
            return;
        }
        let claim = asked.claim.clone();
        wants.asked = None;
        if entry.seq < claim.seq {
            // What stands before is on its way: the peer puts all that it was asked for in a row.
            self.ask(now, peer, claim, entry.seq.next());
        } else {
            wants.claims.remove(&claim.hash);
            self.ask_next(now, peer);
        }
    }

    /// Gives up what a peer claimed to hold and did not send, and looks whether patience with some author has ended.
    pub(super) fn drop_stale_wants(&mut self, now: Now) {
        let transcript = &self.transcript;
        let mut due = Vec::new();
        for (peer, state) in &mut self.peers {
            let Some(wants) = state.path.as_mut().map(|path| &mut path.wants) else { continue };
            if wants.gives_up_at().is_some_and(|at| now.monotonic >= at)
                && let Some(asked) = wants.asked.take()
            {
                wants.claims.remove(&asked.claim.hash);
                due.push(peer.clone());
            }
            if wants.look_at.is_some_and(|at| now.monotonic >= at) {
                wants.claims.retain(|hash, _| !transcript.holds(hash));
                let ends = wants.claims.values().map(|claim| claim.since + PATIENCE);
                wants.look_at = ends.filter(|ends| *ends > now.monotonic).min();
                due.push(peer.clone());
            }
        }
        for peer in due {
            self.ask_next(now, &peer);
        }
    }

    /// A peer asks for entries: queued in the order of service, the lowest numbers first.
    pub(super) fn wanted(&mut self, peer: &MemberId, want: &Want) {
        let Some(log) = self.transcript.log(&want.party) else { return };
        let turns: Vec<Turn> = log
            .range(want.card, want.from, want.to)
            .take(usize::try_from(limits::WANT_SPAN).unwrap_or(usize::MAX))
            .map(Turn::of)
            .collect();
        if let Some(path) = self.path_to(peer) {
            for turn in turns {
                path.wanted(turn);
            }
        }
    }

    /// Owes again, to a peer that opened a new volume, whatever lies beyond what that volume's first entry had seen.
    pub(super) fn owe_beyond(&mut self, now: Now, peer: &MemberId, since: CardSerial, seen: &[&Head]) {
        let me = &self.config.me;
        let Some(log) = self.transcript.log(me) else { return };
        let turns: Vec<Turn> = log
            .in_order()
            .filter(|node| !seen.iter().any(|seen| log.leads_to(node, &seen.hash)))
            .filter(|node| {
                !self
                    .evidence
                    .of(&node.head.hash)
                    .any(|(receipt, _)| receipt.by == *peer && receipt.by_card >= since)
            })
            .map(Turn::of)
            .collect();
        if let Some(state) = self.peers.get_mut(peer) {
            for turn in turns {
                state.owe(now, turn, since);
            }
        }
    }

    /// States again, to a peer that opened a new volume, what we have opened of its log, whatever was confirmed before: it may
    /// have lost that with its disk, and nothing else would bring it back.
    pub(super) fn state_opened_again(&mut self, now: Now, peer: &MemberId) {
        let me = &self.config.me;
        let entries = self.transcript.log(peer).into_iter().flat_map(Log::nodes);
        let opened: Vec<SignedReceipt> = entries
            .flat_map(|node| self.evidence.of(&node.head.hash))
            .filter(|(receipt, _)| receipt.by == *me && matches!(receipt.kind, ReceiptKind::Opened(_)))
            .map(|(_, signed)| signed.clone())
            .collect();
        if let Some(state) = self.peers.get_mut(peer) {
            for signed in opened {
                state.state(now, signed);
            }
        }
    }
}
