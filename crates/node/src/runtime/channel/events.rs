//! What the machine tells: whoever waits is answered, what an operator must see is raised.

use demarche_protocol::{
    channel::{Event, Refusal, RequestId},
    limits::CLOCK_SKEW,
    transcript::{Effect, Head},
};

use super::{
    handle::Recorded,
    task::{End, Task, Waiting},
};
use crate::runtime::news::Cause;

impl Task {
    pub(super) fn event(&mut self, event: Event) {
        let channel = self.id();
        match event {
            Event::Recorded { request, entry, new } => {
                self.entered(&entry);
                if let Some(Waiting::Append(reply)) = self.waiting.remove(&request) {
                    // Whoever asked may have gone; the entry stands.
                    let _ = reply.send(Ok(Recorded { entry, new }));
                }
            }
            Event::OpenedRecorded { request, receipt } => {
                if let Some(Waiting::Opened(reply)) = self.waiting.remove(&request) {
                    let _ = reply.send(Ok(receipt));
                }
            }
            Event::RosterTaken { request } => {
                if let Some(Waiting::Roster(Some(reply))) = self.waiting.remove(&request) {
                    let _ = reply.send(Ok(()));
                }
            }
            Event::LineTested { request, result } => {
                if result.skew() <= CLOCK_SKEW {
                    self.news.over(channel, Some(&result.peer), Cause::Clock);
                }
                if let Some(Waiting::LineTest(Some(reply))) = self.waiting.remove(&request) {
                    let _ = reply.send(Ok(result));
                }
            }
            Event::Refused { request, why } => self.refuse(request, &why),
            Event::Arrived { entry } => self.entered(&entry),
            Event::Judged { entry, effect: Effect::Void(why) } => {
                if self.throttle.admits(entry.party.as_str(), &format!("an entry is void: {why}")) {
                    tracing::warn!(channel = channel.short(), %entry, %why, "an entry is void");
                }
            }
            Event::Judged { .. } | Event::Receipted { .. } => {}
            Event::InCustody { peer, .. } => {
                for cause in [Cause::CustodyRefused, Cause::CustodyExpired] {
                    self.news.over(channel, Some(&peer), cause);
                }
            }
            Event::CustodyEnded { entries, peer, mediator, says, .. } => {
                self.custody_ended(&peer, &mediator, &says, entries.len());
            }
            Event::CustodyRefused { mediator, peer, why } => self.custody_refused(&peer, &mediator, why),
            Event::PrekeyHeld { peer, number } => {
                self.prekeys.held(channel, &peer, number, self.clock.now().wall);
            }
            Event::MediatorRefused { mediator, why } => {
                if self.throttle.admits(mediator.as_str(), &why) {
                    tracing::warn!(mediator = mediator.as_str(), why, "something of its custody was refused");
                }
            }
            Event::RosterChanged => {
                self.roster.send_replace(self.machine.roster().clone());
                self.roster_changed.notify_one();
                self.end_replaced_sessions();
            }
            Event::Fork { one, other } => self.news.alarm(
                channel,
                Some(&one.party),
                Cause::Fork,
                format!("two different entries bear the number {one}: {} and {}", one.hash, other.hash),
            ),
            Event::OwnSignatureUnknown { entry } => {
                let detail = format!(
                    "a peer holds {entry} under our own signature, which is not here: this node's disk was set back, or its key is elsewhere. It stops writing until it has a new card: demarche card renew, sign it with the roots, install it"
                );
                self.news.alarm(channel, None, Cause::NeedsNewCard, detail);
                // The node looks whether one lies ready.
                self.roster_changed.notify_one();
            }
            Event::PeerRefused { peer, why } => {
                if !self.throttle.admits(peer.as_str(), &why) {
                    return;
                }
                tracing::warn!(channel = channel.short(), peer = peer.as_str(), why, "something was refused");
            }
            Event::ClockSkew { peer, by } => self.news.alarm(
                channel,
                Some(&peer),
                Cause::Clock,
                format!("its clock and ours differ by {} s", by.as_secs()),
            ),
            Event::Stopped => self.end = Some(End::OutcomeUnknown),
        }
    }

    fn entered(&mut self, entry: &Head) {
        if let Some(node) = self.machine.transcript().get(&entry.hash) {
            self.acknowledgements.enter(node);
        }
    }

    fn refuse(&mut self, request: RequestId, why: &Refusal) {
        let why = why.clone();
        match self.waiting.remove(&request) {
            None | Some(Waiting::LineTest(None)) => {}
            Some(Waiting::Append(reply)) => drop(reply.send(Err(why))),
            Some(Waiting::Opened(reply)) => drop(reply.send(Err(why))),
            Some(Waiting::Roster(Some(reply))) => drop(reply.send(Err(why))),
            Some(Waiting::Roster(None)) => tracing::warn!(%why, "a card was refused"),
            Some(Waiting::LineTest(Some(reply))) => drop(reply.send(Err(why))),
        }
    }

    pub(super) fn refuse_all(&mut self, why: &Refusal) {
        while let Some((request, _)) = self.waiting.first_key_value() {
            let request = *request;
            self.refuse(request, why);
        }
    }
}
