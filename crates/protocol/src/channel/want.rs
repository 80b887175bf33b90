//! Fetching entries that somebody is known to hold: lost ones of our own, those of absent parties, and the other side
//! of a fork.

use std::{collections::BTreeMap, time::Duration};

use super::{Channel, Frame, frame::Want, peer::Turn};
use crate::{
    hash::EntryHash,
    identity::{card::CardSerial, member::MemberId},
    limits,
    time::Now,
    transcript::{Head, Seq},
};

/// A want that brought nothing for this long is given up: the peer does not hold what it claimed.
const GIVE_UP: Duration = Duration::from_secs(10);

/// What one peer is known to hold and we do not.
#[derive(Default)]
pub(super) struct Wants {
    claims: BTreeMap<EntryHash, Head>,
    /// The claim that is being fetched, what was asked for, and when.
    asked: Option<(EntryHash, Want, Duration)>,
}

impl Wants {
    pub(super) fn gives_up_at(&self) -> Option<Duration> {
        self.asked.as_ref().map(|(_, _, at)| *at + GIVE_UP)
    }
}

impl Channel {
    /// Considers a head that `peer` claims to hold.
    pub(super) fn consider(&mut self, now: Now, peer: &MemberId, head: &Head) {
        if self.transcript.holds(&head.hash) || self.commits.has_entry(&head.hash) {
            return;
        }
        let Some(log) = self.transcript.log(&head.party) else { return };
        let conflicts = log.at(head.card, head.seq).next().is_some();
        let author_offers = self.peers.get(&head.party).is_some_and(|author| author.up);
        // An author whom we can hear offers by itself whatever we have not receipted.
        if author_offers && !conflicts {
            return;
        }
        let Some(state) = self.peers.get_mut(peer).filter(|state| state.up) else { return };
        if state.wants.claims.len() < limits::HELLO_HEADS {
            state.wants.claims.insert(head.hash, head.clone());
        }
        self.ask_next(now, peer);
    }

    /// Asks `peer` for the next of its claims, if nothing is being fetched from it.
    fn ask_next(&mut self, now: Now, peer: &MemberId) {
        let Some(wants) = self.peers.get_mut(peer).map(|state| &mut state.wants) else { return };
        if wants.asked.is_some() {
            return;
        }
        let transcript = &self.transcript;
        wants.claims.retain(|hash, _| !transcript.holds(hash));
        let Some(claim) = wants.claims.values().next().cloned() else { return };
        let log = transcript.log(&claim.party);
        let span_before = |seq: Seq| Seq(seq.0.saturating_sub(limits::WANT_SPAN - 1).max(1));
        let held = log.and_then(|log| log.tip_of(claim.card)).map(|tip| tip.seq);
        let from = match held {
            // Held up to here and the rest follows.
            Some(held) if held < claim.seq => held.next(),
            // Another entry stands there: a fork, whose beginning is not known.
            Some(_) => span_before(claim.seq),
            None => Seq::FIRST,
        };
        let want = Want { party: claim.party.clone(), card: claim.card, from, to: claim.seq };
        wants.asked = Some((claim.hash, want.clone(), now.monotonic));
        self.answer(peer, Frame::Want(want));
    }

    /// An entry came from `peer`: perhaps the last of what was asked for.
    pub(super) fn want_progressed(&mut self, now: Now, peer: &MemberId, entry: &Head) {
        let Some(wants) = self.peers.get_mut(peer).map(|state| &mut state.wants) else { return };
        let Some((claim, want, at)) = &mut wants.asked else { return };
        if want.party != entry.party || want.card != entry.card {
            return;
        }
        *at = now.monotonic;
        let last_of_span = entry.seq.0 >= want.from.0.saturating_add(limits::WANT_SPAN - 1);
        if *claim == entry.hash || entry.seq >= want.to || last_of_span {
            let claim = *claim;
            wants.asked = None;
            if self.transcript.holds(&claim) {
                if let Some(state) = self.peers.get_mut(peer) {
                    state.wants.claims.remove(&claim);
                }
            }
            self.ask_next(now, peer);
        }
    }

    /// Gives up what a peer claimed to hold and did not send.
    pub(super) fn drop_stale_wants(&mut self, now: Now) {
        let stale = |wants: &Wants| wants.gives_up_at().is_some_and(|at| now.monotonic >= at);
        let peers: Vec<MemberId> =
            self.peers.iter().filter(|(_, state)| stale(&state.wants)).map(|(id, _)| id.clone()).collect();
        for peer in peers {
            if let Some(state) = self.peers.get_mut(&peer)
                && let Some((claim, ..)) = state.wants.asked.take()
            {
                state.wants.claims.remove(&claim);
            }
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
        if let Some(state) = self.peers.get_mut(peer).filter(|state| state.up) {
            for turn in turns {
                state.wanted(turn);
            }
        }
    }

    /// Owes again, to a peer that opened a new volume, whatever lies beyond what that volume's first entry had seen.
    pub(super) fn owe_beyond(&mut self, peer: &MemberId, since: CardSerial, seen: Option<&Head>) {
        let me = &self.config.me;
        let Some(log) = self.transcript.log(me) else { return };
        let turns: Vec<Turn> = log
            .in_order()
            .filter(|node| !seen.is_some_and(|seen| log.leads_to(node, &seen.hash)))
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
                state.owe(turn, since);
            }
        }
    }
}
