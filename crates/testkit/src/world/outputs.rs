//! What a channel asks for happens, one output after the other, and its node may die between any two. After each round
//! the node is held to what it has said.

use std::time::Duration;

use demarche_protocol::{
    channel::{Event, Frame, Input, Outgoing, Output},
    document::SignedDocument,
    identity::member::MemberId,
    transcript::Effect,
};

use super::{Broken, Happening, World};
use crate::witness;

impl World {
    /// Gives a running node's channel an input and lets what comes of it happen.
    ///
    /// # Errors
    /// A broken promise.
    pub fn input(&mut self, party: &MemberId, input: Input) -> Result<(), Broken> {
        let now = self.now_at(party);
        self.tally.steps += 1;
        if let Some(running) = self.node(party).running.as_mut() {
            running.channel.handle(now, input);
        }
        self.drain(party)
    }

    /// A careless node enters a document without looking at it.
    ///
    /// # Errors
    /// A broken promise.
    pub fn enter_unchecked(&mut self, party: &MemberId, document: &SignedDocument) -> Result<(), Broken> {
        let now = self.now_at(party);
        if let Some(running) = self.node(party).running.as_mut() {
            running.channel.append_unchecked(now, document);
        }
        self.drain(party)
    }

    pub(super) fn drain(&mut self, party: &MemberId) -> Result<(), Broken> {
        loop {
            let Some(running) = self.node(party).running.as_mut() else { return Ok(()) };
            let Some(output) = running.channel.poll_output() else { break };
            self.output(party, output)?;
            if self.crash_per_mille > 0 && self.chance.below(1000) < self.crash_per_mille {
                self.crash(party);
                let delay = Duration::from_millis(self.chance.below(5_000));
                self.restart_after(party, delay);
                break;
            }
        }
        self.check(party)
    }

    /// Holds the node to what it has said so far.
    pub(super) fn check(&mut self, party: &MemberId) -> Result<(), Broken> {
        let node = self.nodes.get(party).ok_or_else(|| Broken("no such party".to_owned()))?;
        let grown = self.witness.check_disk(party, node.disk.records())?;
        let Some(running) = node.running.as_ref().filter(|_| grown) else { return Ok(()) };
        self.witness.check_effects(party, running.channel.transcript())?;
        self.witness.check_doors(party, running.channel.roster())?;
        self.check_admitted(party)?;
        let here = witness::judgements(running.channel.transcript());
        for (other, node) in self.nodes.iter().filter(|(other, _)| *other != party) {
            if let Some(running) = &node.running {
                witness::check_alike(
                    (party, &here),
                    (other, &witness::judgements(running.channel.transcript())),
                )?;
            }
        }
        Ok(())
    }

    fn output(&mut self, party: &MemberId, output: Output) -> Result<(), Broken> {
        let life = self.node(party).life;
        match output {
            Output::Commit { ticket, batch } => {
                self.node(party).disk.begin(ticket, batch);
                let at = self.now + Duration::from_micros(50 + self.chance.below(8_000));
                self.plan(at, Happening::DiskAnswers { node: party.clone(), life });
            }
            Output::Transmit { peer, frame } => self.transmit(party, &peer, &frame)?,
            Output::Deposit { parcel, mediator, to, contents } => {
                self.seal(party, parcel, &mediator, &to, &contents)?;
            }
            Output::Tell { mediator, message } => self.tell_office(party, &mediator, message)?,
            Output::Event(event) => self.told(party, &event)?,
            Output::WakeAt(at) => self.plan(at, Happening::Wakes { node: party.clone(), life }),
        }
        Ok(())
    }

    fn told(&mut self, party: &MemberId, event: &Event) -> Result<(), Broken> {
        match event {
            Event::Arrived { .. } => self.tally.arrivals += 1,
            Event::Judged { effect: Effect::Void(_), .. } => {
                self.tally.voids += 1;
            }
            Event::InCustody { entries, .. } => self.tally.in_custody += entries.len() as u64,
            Event::CustodyRefused { why, .. } => self.count_refusal(*why),
            Event::RosterChanged => self.end_replaced(party)?,
            Event::Stopped => {
                // The daemon stops; somebody mends the disk and starts it again.
                self.crash(party);
                self.node(party).disk.fail(None);
                let delay = Duration::from_millis(100 + self.chance.below(3_000));
                self.restart_after(party, delay);
                return Ok(());
            }
            _ => {}
        }
        if let Some(running) = self.nodes.get(party).and_then(|node| node.running.as_ref()) {
            self.witness.told(party, event, &running.channel)?;
        }
        Ok(())
    }

    /// A frame as the driver makes it, from what is on the disk.
    pub(super) fn frame_of(&mut self, party: &MemberId, outgoing: &Outgoing) -> Result<Frame, Broken> {
        Ok(match outgoing {
            Outgoing::Frame(frame) => frame.clone(),
            Outgoing::Stored(hash) => {
                let item = self.node(party).disk.item(hash).cloned();
                let missing = || Broken(format!("{party} sends {hash:?}, which is not on its disk"));
                Frame::Entry(item.ok_or_else(missing)?)
            }
        })
    }

    fn transmit(&mut self, party: &MemberId, peer: &MemberId, outgoing: &Outgoing) -> Result<(), Broken> {
        self.witness.sent(party, outgoing);
        let frame = self.frame_of(party, outgoing)?;
        let node = self.node(party);
        let life = node.life;
        let in_use = node.running.as_ref().and_then(|running| running.links.get(peer)?.sessions.in_use());
        if let Some(id) = in_use {
            self.send_frame(party, peer, id, &frame);
        }
        let at = self.now + Duration::from_micros(100 + self.chance.below(5_000));
        self.plan(at, Happening::Drained { node: party.clone(), peer: peer.clone(), life });
        Ok(())
    }
}
