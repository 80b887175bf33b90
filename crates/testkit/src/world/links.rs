//! The sessions between two nodes: [`Sessions`] decides, this opens streams, shakes hands, sends and ends.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use demarche_protocol::{
    channel::{Channel, CloseReason, Frame, Input, Outgoing},
    identity::{Verified, card::Card, member::MemberId},
    session::{Answered, Decision, Ending, Local, Opener, Responder, Session, SessionId, Sessions},
    time::Now,
};

use super::{Broken, Happening, World};
use crate::network::StreamId;

/// A stream on which nothing was heard for this long is dead: what a node's transport finds out by itself.
const SILENCE: Duration = Duration::from_secs(8);

pub(super) enum Stage {
    /// Its stream is open and our message 1 is sent.
    Opened(Box<Opener>),
    /// Message 1 has come and waits to be answered.
    Incoming(Vec<u8>),
    /// Message 2 is sent.
    Answered(Box<Answered>),
    /// Frames go.
    Live(Box<Session>, Box<Verified<Card>>),
}

pub(super) struct Path {
    pub(super) stream: StreamId,
    pub(super) stage: Stage,
}

pub(super) struct Link {
    pub(super) sessions: Sessions,
    pub(super) paths: BTreeMap<SessionId, Path>,
    pub(super) wake: Option<Duration>,
}

impl World {
    /// Lets the sessions with a peer decide, and carries out what they decide.
    pub(super) fn sessions(
        &mut self,
        party: &MemberId,
        peer: &MemberId,
        ask: impl FnOnce(&mut Sessions, Now) -> Vec<Decision>,
    ) -> Result<(), Broken> {
        let now = self.now_at(party);
        let Some(link) = self.link(party, peer) else { return Ok(()) };
        let mut decisions: VecDeque<Decision> = ask(&mut link.sessions, now).into();
        while let Some(decision) = decisions.pop_front() {
            let more = self.decided(party, peer, decision)?;
            decisions.extend(more);
        }
        self.plan_wake(party, peer);
        Ok(())
    }

    /// Tells the sessions with a peer what calls for no decision now, but may at a later time.
    pub(super) fn note(&mut self, party: &MemberId, peer: &MemberId, what: impl FnOnce(&mut Sessions, Now)) {
        let now = self.now_at(party);
        if let Some(link) = self.link(party, peer) {
            what(&mut link.sessions, now);
        }
        self.plan_wake(party, peer);
    }

    fn plan_wake(&mut self, party: &MemberId, peer: &MemberId) {
        let life = self.node(party).life;
        let Some(link) = self.link(party, peer) else { return };
        let wake = link.sessions.wake_at();
        if wake != link.wake {
            link.wake = wake;
            if let Some(at) = wake {
                self.plan(at, Happening::SessionsWake { node: party.clone(), peer: peer.clone(), life });
            }
        }
    }

    pub(super) fn link(&mut self, party: &MemberId, peer: &MemberId) -> Option<&mut Link> {
        self.nodes.get_mut(party)?.running.as_mut()?.links.get_mut(peer)
    }

    fn decided(
        &mut self,
        party: &MemberId,
        peer: &MemberId,
        decision: Decision,
    ) -> Result<Vec<Decision>, Broken> {
        let now = self.now_at(party);
        match decision {
            Decision::Open(id) => return Ok(self.open(party, peer, id)),
            Decision::Answer(id) => return Ok(self.answer(party, peer, id)),
            Decision::Greet(id) => {
                let hello = self.channel(party).map(Channel::hello);
                if let Some(hello) = hello {
                    self.witness.sent(party, &Outgoing::Frame(Frame::Hello(hello.clone())));
                    self.send_frame(party, peer, id, &Frame::Hello(hello));
                }
            }
            Decision::Use(_) => {
                self.input(party, Input::PathUp { peer: peer.clone() })?;
                self.input(party, Input::Sendable { peer: peer.clone(), bytes: 4_000 })?;
            }
            Decision::Close(id, ending) => {
                if matches!(ending, Ending::Rekeyed | Ending::Expired) {
                    let close = Frame::Close(CloseReason::Rekeyed);
                    self.send_frame(party, peer, id, &close);
                }
                if let Some(path) = self.forget(party, peer, id) {
                    self.end_stream(path.stream, Some(party), true);
                }
            }
            Decision::Ask(_) => {
                let request = self.request();
                self.input(party, Input::LineTest { request, peer: peer.clone() })?;
            }
            // There is one way between two nodes here.
            Decision::Doubt(_) => {}
            Decision::Down => self.input(party, Input::PathDown { peer: peer.clone() })?,
        }
        let _ = now;
        Ok(Vec::new())
    }

    fn open(&mut self, party: &MemberId, peer: &MemberId, id: SessionId) -> Vec<Decision> {
        let opened = self.network.open(party, peer);
        let started = opened.and_then(|stream| {
            let (opener, message) = self.with_local(party, |local, rng| Opener::start(local, rng).ok())?;
            Some((stream, opener, message))
        });
        let now = self.now_at(party);
        let Some(link) = self.link(party, peer) else { return Vec::new() };
        match started {
            None => link.sessions.closed(id, now),
            Some((stream, opener, message)) => {
                link.paths.insert(id, Path { stream, stage: Stage::Opened(Box::new(opener)) });
                self.send(stream, peer, message);
                Vec::new()
            }
        }
    }

    fn answer(&mut self, party: &MemberId, peer: &MemberId, id: SessionId) -> Vec<Decision> {
        let Some(Path { stream, stage: Stage::Incoming(message) }) = self.path(party, peer, id) else {
            return Vec::new();
        };
        let (stream, message) = (*stream, message.clone());
        let answered = self.with_local(party, |local, rng| {
            Responder::new(local, rng).ok().and_then(|responder| responder.read_message1(&message).ok())
        });
        match answered {
            Some((answered, reply)) => {
                if let Some(path) = self.path(party, peer, id) {
                    path.stage = Stage::Answered(Box::new(answered));
                }
                self.send(stream, peer, reply);
                Vec::new()
            }
            None => self.fail(party, peer, id),
        }
    }

    pub(super) fn fail(&mut self, party: &MemberId, peer: &MemberId, id: SessionId) -> Vec<Decision> {
        if let Some(path) = self.forget(party, peer, id) {
            self.end_stream(path.stream, Some(party), true);
        }
        let now = self.now_at(party);
        self.link(party, peer).map_or_else(Vec::new, |link| link.sessions.closed(id, now))
    }

    fn with_local<T>(
        &mut self,
        party: &MemberId,
        with: impl FnOnce(&Local<'_>, &mut dyn rand_core::CryptoRng) -> Option<T>,
    ) -> Option<T> {
        let (keys, card) = self.card(party);
        let local = Local {
            channel: self.scene.channel(),
            charter: &self.scene.charter,
            card: &card,
            secret: &keys.session,
        };
        with(&local, self.chance.generator())
    }

    /// Sessions whose card no longer speaks end at once.
    pub(super) fn end_replaced(&mut self, party: &MemberId) -> Result<(), Broken> {
        let Some(running) = self.nodes.get(party).and_then(|node| node.running.as_ref()) else {
            return Ok(());
        };
        let roster = running.channel.roster();
        let mut gone = Vec::new();
        for (peer, link) in &running.links {
            let current = roster.current(peer).map(Verified::id);
            for (id, path) in &link.paths {
                if matches!(&path.stage, Stage::Live(_, card) if Some(card.id()) != current) {
                    gone.push((peer.clone(), *id, path.stream));
                }
            }
        }
        for (peer, id, stream) in &gone {
            self.forget(party, peer, *id);
            self.end_stream(*stream, Some(party), true);
        }
        for (peer, id, _) in gone {
            self.sessions(party, &peer, |sessions, now| sessions.closed(id, now))?;
        }
        Ok(())
    }

    /// A session whose card this node knows to be replaced or revoked is none.
    pub(super) fn check_admitted(&self, party: &MemberId) -> Result<(), Broken> {
        let running = self.nodes.get(party).and_then(|node| node.running.as_ref());
        for (peer, link) in running.iter().flat_map(|running| &running.links) {
            for path in link.paths.values() {
                if let Stage::Live(_, card) = &path.stage
                    && self.witness.is_shut(party, peer, card.serial)
                {
                    let what = format!("{party} keeps a session with card {} of {peer}", card.serial);
                    return Err(Broken(format!("{what}, which it knows to speak no more")));
                }
            }
        }
        Ok(())
    }

    /// Whether two running nodes have a session that carries frames.
    pub fn is_linked(&self, one: &MemberId, other: &MemberId) -> bool {
        let uses = |a: &MemberId, b: &MemberId| {
            let running = self.nodes.get(a).and_then(|node| node.running.as_ref());
            running
                .and_then(|running| running.links.get(b))
                .is_some_and(|link| link.sessions.in_use().is_some())
        };
        uses(one, other) && uses(other, one)
    }

    pub(super) fn path(&mut self, party: &MemberId, peer: &MemberId, id: SessionId) -> Option<&mut Path> {
        self.nodes.get_mut(party)?.running.as_mut()?.links.get_mut(peer)?.paths.get_mut(&id)
    }

    pub(super) fn forget(&mut self, party: &MemberId, peer: &MemberId, id: SessionId) -> Option<Path> {
        let running = self.nodes.get_mut(party)?.running.as_mut()?;
        let path = running.links.get_mut(peer)?.paths.remove(&id)?;
        running.incoming.remove(&path.stream);
        Some(path)
    }

    pub(super) fn send_frame(&mut self, party: &MemberId, peer: &MemberId, id: SessionId, frame: &Frame) {
        let Some(path) = self.path(party, peer, id) else { return };
        let Stage::Live(session, _) = &mut path.stage else { return };
        let stream = path.stream;
        if let Ok(bytes) = session.seal(&frame.encode()) {
            self.tally.frames += 1;
            self.note(party, peer, |sessions, now| sessions.said(id, bytes.len(), frame.asks(), now));
            self.send(stream, peer, bytes);
        }
    }

    pub(super) fn send(&mut self, stream: StreamId, to: &MemberId, bytes: Vec<u8>) {
        for (at, message) in self.network.send(&mut self.chance, self.now, stream, to, bytes) {
            self.plan(at, Happening::Arrives { stream, to: to.clone(), message });
        }
    }

    /// Ends a stream; both ends hear of it, except the one that ended it. When nobody tells them, they find out by its silence.
    pub(super) fn end_stream(&mut self, stream: StreamId, by: Option<&MemberId>, told: bool) {
        let Some(ended) = self.network.close(stream) else { return };
        for end in [ended.opener, ended.acceptor] {
            if Some(&end) != by {
                let silence = if told { Duration::ZERO } else { SILENCE };
                let at = self.now + silence + Duration::from_micros(100 + self.chance.below(20_000));
                let life = self.node(&end).life;
                self.plan(at, Happening::StreamEnds { stream, at: end, life });
            }
        }
    }
}
