//! What the charter gives time for (docs/protocol.md §10.1): every dispatch that counts and that something is still due for, with the
//! moment at which somebody must look. A function of what is durable and of the time alone, so that a restart changes nothing.
//!
//! For each dispatch and party it is the nearest silence alone: what is not delivered cannot be opened, and what is not opened is not
//! acknowledged either.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use demarche_control::types::Cause;
use demarche_protocol::{
    channel::Evidence,
    charter::policy::PrecedencePolicy,
    dispatch::{Kind, Precedence},
    hash::DocumentId,
    identity::{card::CardSerial, member::MemberId},
    limits::CLOCK_SKEW,
    time::Timestamp,
    transcript::{DispatchFacts, Effect, Facts, Head, Log, Node, Receipt, ReceiptKind, Transcript},
};

/// What this rests on.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) transcript: &'a Transcript,
    pub(crate) evidence: &'a Evidence,
    pub(crate) me: &'a MemberId,
    /// The card under which we write.
    pub(crate) card: CardSerial,
    pub(crate) now: Timestamp,
}

/// Something that is still due for a dispatch.
#[derive(Clone, Debug)]
pub(crate) struct Due<'a> {
    pub(crate) cause: Cause,
    /// The other party: whose it is, or from whom it is due.
    pub(crate) peer: MemberId,
    pub(crate) node: &'a Node,
    pub(crate) facts: &'a DispatchFacts,
    /// Since when it is waited for.
    pub(crate) since: Timestamp,
    /// When the charter's time is up.
    pub(crate) by: Timestamp,
}

impl Due<'_> {
    /// From when on somebody must look.
    pub(crate) fn calls_at(&self) -> Timestamp {
        if self.cause == Cause::UrgentArrival { self.since } else { self.by }
    }
}

impl<'a> Ground<'a> {
    /// Everything that is still due, by whomever.
    pub(crate) fn dues(self) -> Vec<Due<'a>> {
        let answered = self.answered();
        let known = self.known_before();
        let mut all = Vec::new();
        for (party, log) in self.transcript.logs() {
            for node in log.in_order().filter(|node| node.effect == Effect::Accepted) {
                let Facts::Dispatch(facts) = &node.facts else { continue };
                if log.is_disowned(node) {
                    continue;
                }
                let due = |peer: &MemberId, found: Option<(Cause, Timestamp, Duration)>| {
                    let (cause, since, within) = found?;
                    Some(Due { cause, peer: peer.clone(), node, facts, since, by: since.plus(within) })
                };
                if party == self.me {
                    let open = self.peers().filter(|peer| !answered.contains(&(node.document, *peer)));
                    all.extend(open.filter_map(|peer| due(peer, self.due_from_them(node, facts, peer))));
                } else if !answered.contains(&(node.document, self.me)) {
                    all.extend(due(party, self.due_from_us(node, facts, log, &known)));
                }
            }
        }
        all
    }

    /// What a party owes for an own dispatch: that its node holds it, that it is opened, that a notice is acknowledged.
    fn due_from_them(
        self,
        node: &Node,
        facts: &DispatchFacts,
        peer: &MemberId,
    ) -> Option<(Cause, Timestamp, Duration)> {
        let rules = self.rules(facts);
        let Some(held) = self.receipts(node, peer).map(|receipt| receipt.at).min() else {
            return Some((Cause::Undelivered, node.recorded_at, rules.deliver_within.0));
        };
        // By their clock: one that is wrong shall neither hurry nor excuse them.
        let plausible = node.recorded_at <= held && held <= self.now.plus(CLOCK_SKEW);
        let held = if plausible { held } else { node.recorded_at };
        let opened = self.receipts(node, peer).any(is_opened);
        let cause = match facts.kind {
            // That it is delivered is all that it is for.
            Kind::Acknowledgement => return None,
            _ if !opened => Cause::Unopened,
            Kind::Breach => Cause::Unacknowledged,
            Kind::Reply | Kind::Statement => return None,
        };
        Some((cause, held, rules.acknowledge_within.0))
    }

    /// What we owe for another's dispatch: that it is opened, that a notice is acknowledged.
    fn due_from_us(
        self,
        node: &Node,
        facts: &DispatchFacts,
        log: &Log,
        known: &Known<'_>,
    ) -> Option<(Cause, Timestamp, Duration)> {
        if facts.kind == Kind::Acknowledgement {
            return None;
        }
        let rules = self.rules(facts);
        let held = self.receipts(node, self.me).map(|receipt| receipt.at).min().unwrap_or(node.recorded_at);
        let by = held.plus(rules.acknowledge_within.0);
        // Whether it was opened before the disk was lost, nobody knows: better not to call twice.
        let opened = self.receipts(node, self.me).any(is_opened) || self.was_lost(node, log, known);
        let cause = match facts.kind {
            _ if !opened && facts.precedence <= Precedence::Immediate && self.now < by => {
                Cause::UrgentArrival
            }
            _ if !opened => Cause::UnopenedHere,
            Kind::Breach => Cause::UnacknowledgedHere,
            _ => return None,
        };
        Some((cause, held, rules.acknowledge_within.0))
    }

    fn rules(self, facts: &DispatchFacts) -> &'a PrecedencePolicy {
        self.transcript.charter().policy.of(facts.precedence)
    }

    fn peers(self) -> impl Iterator<Item = &'a MemberId> {
        self.transcript.charter().parties.iter().map(|party| &party.id).filter(move |party| *party != self.me)
    }

    fn receipts(self, node: &Node, by: &MemberId) -> impl Iterator<Item = &'a Receipt> {
        let all = self.evidence.of(&node.head.hash).map(|(receipt, _)| receipt);
        all.filter(move |receipt| receipt.by == *by)
    }

    /// What was acknowledged or replied to, and by whom: both are acts of an officer who has understood it.
    fn answered(self) -> BTreeSet<(DocumentId, &'a MemberId)> {
        let nodes = self.transcript.logs().flat_map(|(party, log)| log.in_order().map(move |n| (party, n)));
        let answers = nodes.filter(|(_, node)| node.effect == Effect::Accepted);
        answers
            .filter_map(|(party, node)| match &node.facts {
                Facts::Dispatch(facts) if matches!(facts.kind, Kind::Acknowledgement | Kind::Reply) => {
                    Some((facts.refers_to?, party))
                }
                _ => None,
            })
            .collect()
    }

    /// What our own log had seen under each earlier card, as far as it had. Under the present one it says nothing, since those entries
    /// may have been written after what they name has come again.
    fn known_before(self) -> Known<'a> {
        let own = self.transcript.log(self.me).into_iter().flat_map(Log::in_order);
        let mut last = BTreeMap::new();
        for (card, seen) in own
            .filter(|one| one.head.card < self.card)
            .flat_map(|one| one.seen.iter().map(|seen| (one.head.card, seen)))
        {
            let kept = last.entry((card, &seen.party, seen.card)).or_insert(seen);
            if kept.seq < seen.seq {
                *kept = seen;
            }
        }
        last.into_iter().map(|((card, ..), seen)| (card, seen)).collect()
    }

    /// Whether another's entry was here and told before the disk was lost that held it: our own log had seen it under an earlier card,
    /// and what we had signed for it then is gone. What comes back before our own log does looks new: better told twice than never.
    fn was_lost(self, node: &Node, log: &Log, known: &Known<'_>) -> bool {
        known.iter().any(|(card, seen)| {
            // Its own volume may come back from the beginning, before the head that was named.
            let knew = seen.party == node.head.party
                && (seen.card == node.head.card && seen.seq >= node.head.seq
                    || log.leads_to(node, &seen.hash));
            knew && self.receipts(node, self.me).all(|receipt| receipt.by_card > *card)
        })
    }
}

/// Heads that our own log names under earlier cards, with the card.
type Known<'a> = Vec<(CardSerial, &'a Head)>;

fn is_opened(receipt: &Receipt) -> bool {
    matches!(receipt.kind, ReceiptKind::Opened(_))
}

#[cfg(test)]
mod tests;
