//! The sessions with one channel's peers: which to open, answer, use and end is decided by the protocol's
//! [`Sessions`]; here it is carried out.

use std::collections::{BTreeMap, VecDeque};

use demarche_protocol::{
    channel::{CloseReason, Frame, Input, LineTestResult, Refusal},
    hash::DocumentId,
    identity::{Verified, member::MemberId, roster::Roster},
    session::{Decision, Ending, SessionError, SessionId, Sessions},
    time::{Now, Timestamp},
};
use tokio::task::JoinHandle;

use super::{
    handle::Reply,
    task::{Task, Waiting},
};
use crate::{
    defaults::UNNAMED_STREAMS,
    runtime::{
        clock::wall,
        framed::Live,
        handshake::{self, Failure, Incoming, Shaken},
        names::node_of,
        news::Cause,
    },
    transport::{NodeId, OpenError},
};

/// How the session with a peer is, for status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerState {
    /// A session carries frames.
    pub(crate) up: bool,
    /// The mediator that carries it.
    pub(crate) via: Option<NodeId>,
    /// Since when it is up, or down.
    pub(crate) since: Timestamp,
    /// Why it is down, as far as it is known.
    pub(crate) cause: Option<String>,
    /// When a frame came last.
    pub(crate) last_heard: Option<Timestamp>,
}

/// One peer's sessions.
pub(super) struct PeerLine {
    pub(super) sessions: Sessions,
    pub(super) stages: BTreeMap<SessionId, Stage>,
    pub(super) state: PeerState,
}

/// What is known here of a session that [`Sessions`] counts.
pub(super) enum Stage {
    /// Its opener waits for our answer.
    Waiting(Incoming),
    /// A task is at it; dropping this ends it. Where we opened it, with the way.
    Handshake { _task: Running, way: Option<Way> },
    /// It carries frames.
    Live(Box<Live>),
}

/// A peer's node, and the mediator over which it is to be reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    peer: NodeId,
    via: NodeId,
}

/// A task that ends with its owner.
pub(super) struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What came of a handshake.
pub(super) struct Outcome {
    with: With,
    result: Result<Shaken, Failure>,
}

/// With whom a handshake was.
enum With {
    /// A peer, in this session.
    Peer(MemberId, SessionId),
    /// A node whose card only the handshake could tell.
    Unnamed(NodeId),
}

impl PeerLine {
    pub(super) fn new(sessions: Sessions) -> Self {
        let state = PeerState { up: false, via: None, since: wall(), cause: None, last_heard: None };
        Self { sessions, stages: BTreeMap::new(), state }
    }

    pub(super) fn live(&mut self, id: SessionId) -> Option<&mut Live> {
        match self.stages.get_mut(&id) {
            Some(Stage::Live(live)) => Some(live),
            _ => None,
        }
    }

    /// Queues a frame in a session.
    pub(super) fn say(&mut self, id: SessionId, frame: &Frame, now: Now) -> Result<(), SessionError> {
        let Some(live) = self.live(id) else { return Ok(()) };
        let bytes = live.queue(frame)?;
        self.sessions.said(id, bytes, frame.asks(), now);
        Ok(())
    }

    pub(super) fn live_ids(&self) -> Vec<SessionId> {
        let live = |(id, stage): (&SessionId, &Stage)| matches!(stage, Stage::Live(_)).then_some(*id);
        self.stages.iter().filter_map(live).collect()
    }
}

/// The mediators of the channel whose cards are known.
pub(super) fn mediators(roster: &Roster) -> Vec<NodeId> {
    roster.cards().filter(|card| card.is_mediator()).map(|card| node_of(card)).collect()
}

/// A node's name in a roster, else its number.
fn name_of(roster: &Roster, node: NodeId) -> String {
    let card = roster.cards().find(|card| node_of(card) == node);
    card.map_or_else(|| format!("{node:?}"), |card| card.member.to_string())
}

impl Task {
    /// Carries decisions out, and those that follow from them.
    pub(super) fn decide(&mut self, peer: &MemberId, decisions: Vec<Decision>) {
        let mut decisions = VecDeque::from(decisions);
        while let Some(decision) = decisions.pop_front() {
            decisions.extend(self.carry_out(peer, decision));
        }
        self.drain();
    }

    fn carry_out(&mut self, peer: &MemberId, decision: Decision) -> Vec<Decision> {
        let now = self.clock.now();
        match decision {
            Decision::Open(id) => {
                if let Err(why) = self.open(peer, id) {
                    self.note_cause(peer, &why);
                    return self
                        .lines
                        .get_mut(peer)
                        .map_or_else(Vec::new, |line| line.sessions.closed(id, now));
                }
            }
            Decision::Answer(id) => self.answer(peer, id),
            Decision::Greet(id) => {
                let hello = Frame::Hello(self.machine.hello());
                if let Some(line) = self.lines.get_mut(peer) {
                    // One that cannot seal is dead, and its reading side will say so.
                    let _ = line.say(id, &hello, now);
                }
            }
            Decision::Use(id) => self.use_session(peer, id),
            Decision::Close(id, ending) => self.end_session(peer, id, ending),
            Decision::Ask(_) => self.test_line(peer.clone(), None),
            Decision::Doubt(id) => return self.doubt(peer, id),
            Decision::Down => self.path_down(peer),
        }
        Vec::new()
    }

    fn open(&mut self, peer: &MemberId, id: SessionId) -> Result<(), String> {
        let roster = self.machine.roster();
        let card = roster.current(peer).ok_or("no current card of it is known here")?.clone();
        let node = node_of(&card);
        let via = self.links.best(node, &mediators(roster)).ok_or("no mediator is reachable")?;
        let work = handshake::open(self.ground.clone(), roster.clone(), self.transport.clone(), card, via);
        self.run_handshake(peer, id, Some(Way { peer: node, via }), work);
        Ok(())
    }

    fn answer(&mut self, peer: &MemberId, id: SessionId) {
        let Some(line) = self.lines.get_mut(peer) else { return };
        let Some(Stage::Waiting(incoming)) = line.stages.remove(&id) else { return };
        let roster = self.machine.roster().clone();
        let work = handshake::answer(self.ground.clone(), roster, incoming, Some(peer.clone()));
        self.run_handshake(peer, id, None, work);
    }

    fn run_handshake(
        &mut self,
        peer: &MemberId,
        id: SessionId,
        way: Option<Way>,
        work: impl Future<Output = Result<Shaken, Failure>> + Send + 'static,
    ) {
        let outcomes = self.outcomes_to.clone();
        let with = With::Peer(peer.clone(), id);
        let task = tokio::spawn(async move {
            let result = work.await;
            // The channel has ended meanwhile.
            let _ = outcomes.send(Outcome { with, result });
        });
        if let Some(line) = self.lines.get_mut(peer) {
            line.stages.insert(id, Stage::Handshake { _task: Running(task), way });
        }
    }

    /// A stream that another node opened for this channel.
    pub(super) fn incoming(&mut self, incoming: Incoming) {
        let now = self.clock.now();
        let roster = self.machine.roster();
        let member =
            roster.cards().find(|card| node_of(card) == incoming.node).map(|card| card.member.clone());
        match member.and_then(|member| self.lines.get_mut(&member).map(|line| (member, line))) {
            Some((member, line)) => {
                let (id, decisions) = line.sessions.incoming(now);
                line.stages.insert(id, Stage::Waiting(incoming));
                self.decide(&member, decisions);
            }
            None if self.unnamed < UNNAMED_STREAMS => {
                self.unnamed += 1;
                let with = With::Unnamed(incoming.node);
                let work = handshake::answer(self.ground.clone(), roster.clone(), incoming, None);
                let outcomes = self.outcomes_to.clone();
                tokio::spawn(async move {
                    let result = work.await;
                    let _ = outcomes.send(Outcome { with, result });
                });
            }
            None => {
                let node = format!("{:?}", incoming.node);
                if self.throttle.admits(&node, "too many") {
                    tracing::warn!(node, "a stream was refused: too many from nodes without a known card");
                }
            }
        }
    }

    /// A handshake has ended.
    pub(super) fn handshake_ended(&mut self, outcome: Outcome) {
        let now = self.clock.now();
        let (peer, id) = match outcome.with {
            With::Peer(peer, id) => (peer, id),
            With::Unnamed(node) => {
                self.unnamed = self.unnamed.saturating_sub(1);
                return match outcome.result {
                    Ok(shaken) => self.adopt(shaken),
                    Err(why) => self.not_admitted(&format!("{node:?}"), &why.to_string()),
                };
            }
        };
        let admitted = outcome.result.map_err(|why| {
            if !matches!(why, Failure::Open(OpenError::PeerAbsent | OpenError::MediatorDown)) {
                let text = why.to_string();
                if self.throttle.admits(peer.as_str(), &text) {
                    tracing::info!(peer = peer.as_str(), why = text, "no session");
                }
            }
            why.to_string()
        });
        let admitted = admitted.and_then(|shaken| self.admit(shaken));
        let Some(line) = self.lines.get_mut(&peer) else { return };
        // One that was given up while its last word was on the way.
        let Some(stage) = line.stages.remove(&id) else { return };
        let decisions = match admitted {
            Ok(session) => {
                line.stages.insert(id, Stage::Live(Box::new(session)));
                line.sessions.completed(id, now)
            }
            Err(why) => {
                self.note_failed_way(&peer, &stage);
                self.note_cause(&peer, &why);
                self.lines.get_mut(&peer).map_or_else(Vec::new, |line| line.sessions.closed(id, now))
            }
        };
        self.decide(&peer, decisions);
    }

    fn adopt(&mut self, shaken: Shaken) {
        let now = self.clock.now();
        let member = shaken.established.peer.member.clone();
        match self.admit(shaken) {
            Err(why) => self.not_admitted(member.as_str(), &why),
            Ok(session) => {
                let Some(line) = self.lines.get_mut(&member) else { return };
                let (id, decisions) = line.sessions.adopted(now);
                line.stages.insert(id, Stage::Live(Box::new(session)));
                self.decide(&member, decisions);
            }
        }
    }

    fn not_admitted(&self, who: &str, why: &str) {
        if self.throttle.admits(who, why) {
            tracing::warn!(
                channel = self.id().short(),
                who,
                why,
                "a node without a known card was not admitted"
            );
        }
    }

    /// The card was current when the handshake began; whether it still is decides now.
    fn admit(&mut self, shaken: Shaken) -> Result<Live, String> {
        let Shaken { established, framed, via } = shaken;
        let peer = established.peer;
        let (card, _) =
            self.machine.roster().clone().present(peer.card.document()).map_err(|why| why.to_string())?;
        if let Some(charter) = peer.other_charter {
            let detail = format!("it goes by another charter, {charter}");
            self.news.alarm(self.id(), Some(&peer.member), Cause::OtherCharter, detail);
        } else {
            self.news.over(self.id(), Some(&peer.member), Cause::OtherCharter);
        }
        if peer.roster_changed {
            self.take_roster_document(card.document().clone());
        }
        Ok(Live::new(framed, established.session, via, card.id()))
    }

    fn use_session(&mut self, peer: &MemberId, id: SessionId) {
        let now = self.clock.now();
        let Some(line) = self.lines.get_mut(peer) else { return };
        let Some(session) = line.live(id) else { return };
        session.tell_room = true;
        let via = session.via;
        if let Some(card) = self.machine.roster().current(peer) {
            self.links.carried(node_of(card), via);
        }
        let was_up = std::mem::replace(&mut line.state.up, true);
        line.state.via = Some(via);
        line.state.cause = None;
        if !was_up {
            line.state.since = now.wall;
            let name = name_of(self.machine.roster(), via);
            self.news.link(self.id(), peer, format!("line to {peer} open via {name}"));
        }
        self.machine.handle(now, Input::PathUp { peer: peer.clone() });
    }

    fn path_down(&mut self, peer: &MemberId) {
        let now = self.clock.now();
        if let Some(line) = self.lines.get_mut(peer) {
            line.state.up = false;
            line.state.since = now.wall;
            let why = line.state.cause.clone().unwrap_or_else(|| "the session ended".to_owned());
            self.news.link(self.id(), peer, format!("line to {peer} interrupted: {why}"));
        }
        self.machine.handle(now, Input::PathDown { peer: peer.clone() });
    }

    fn end_session(&mut self, peer: &MemberId, id: SessionId, ending: Ending) {
        let Some(line) = self.lines.get_mut(peer) else { return };
        match (line.stages.remove(&id), ending) {
            (Some(Stage::Live(session)), Ending::Rekeyed | Ending::Expired) => {
                tokio::spawn(session.farewell(CloseReason::Rekeyed));
            }
            (stage, Ending::TimedOut) => {
                if let Some(stage) = stage {
                    self.note_failed_way(peer, &stage);
                }
                self.note_cause(peer, "it did not answer in time");
            }
            _ => {}
        }
    }

    /// What we opened came to nothing, or a session fell silent at once: perhaps another mediator carries it.
    fn note_failed_way(&self, peer: &MemberId, stage: &Stage) {
        let way = match stage {
            Stage::Handshake { way, .. } => *way,
            Stage::Live(live) => {
                let card = self.machine.roster().current(peer);
                card.map(|card| Way { peer: node_of(card), via: live.via })
            }
            Stage::Waiting(_) => None,
        };
        if let Some(Way { peer, via }) = way {
            self.links.failed(peer, via);
        }
    }

    /// Asks the peer over the session in use, if that is carried by the mediator whose path is to be tested.
    pub(super) fn line_test(&mut self, peer: MemberId, via: &MemberId, reply: Reply<LineTestResult>) {
        let node = self.machine.roster().current(via).map(|card| node_of(card));
        let used = self.lines.get(&peer).filter(|line| line.state.up).and_then(|line| line.state.via);
        if used.is_none() || used != node {
            // Whoever asked may have gone.
            let _ = reply.send(Err(Refusal::NoPath(peer)));
            return;
        }
        self.test_line(peer, Some(reply));
    }

    /// Asks the peer over the session in use; without anybody to tell, to hear whether it answers.
    fn test_line(&mut self, peer: MemberId, reply: Option<Reply<LineTestResult>>) {
        let request = self.wait(Waiting::LineTest(reply));
        self.input(Input::LineTest { request, peer });
    }

    /// Bytes may have come in a session.
    pub(super) fn listen(&mut self, peer: &MemberId, id: SessionId) {
        let now = self.clock.now();
        if let Some(line) = self.lines.get_mut(peer)
            && line.live(id).is_some_and(Live::has_heard)
        {
            line.sessions.heard(id, 0, now);
        }
    }

    /// Nothing is heard in the session in use though something should be. Where another mediator is connected, it is tried.
    fn doubt(&mut self, peer: &MemberId, id: SessionId) -> Vec<Decision> {
        let now = self.clock.now();
        let roster = self.machine.roster();
        let Some(node) = roster.current(peer).map(|card| node_of(card)) else { return Vec::new() };
        let Some(line) = self.lines.get_mut(peer) else { return Vec::new() };
        let Some(via) = line.live(id).map(|live| live.via) else { return Vec::new() };
        self.links.failed(node, via);
        match self.links.best(node, &mediators(roster)) {
            Some(other) if other != via => {
                tracing::info!(
                    peer = peer.as_str(),
                    via = name_of(roster, via),
                    "no answer; another mediator is tried"
                );
                line.sessions.elsewhere(now)
            }
            _ => Vec::new(),
        }
    }

    /// A session's stream has broken. Where another mediator is connected that has not failed, it is tried at once.
    pub(super) fn break_off(&mut self, peer: &MemberId, id: SessionId, why: &str) {
        let Some(line) = self.lines.get_mut(peer) else { return };
        if let Some(stage) = line.stages.remove(&id) {
            self.note_failed_way(peer, &stage);
        }
        self.lose(peer, id, why);
        let now = self.clock.now();
        let roster = self.machine.roster();
        let node = roster.current(peer).map(|card| node_of(card));
        if node.is_some_and(|node| self.links.untried(node, &mediators(roster)).is_some())
            && let Some(line) = self.lines.get_mut(peer)
        {
            let decisions = line.sessions.another_way(now);
            self.decide(peer, decisions);
        }
    }

    /// A session's stream has ended, or the peer closed it.
    pub(super) fn lose(&mut self, peer: &MemberId, id: SessionId, why: &str) {
        let now = self.clock.now();
        self.note_cause(peer, why);
        let Some(line) = self.lines.get_mut(peer) else { return };
        line.stages.remove(&id);
        let decisions = line.sessions.closed(id, now);
        self.decide(peer, decisions);
    }

    /// The machine wants this session to end.
    pub(super) fn close(&mut self, peer: &MemberId, id: SessionId, reason: CloseReason) {
        let Some(line) = self.lines.get_mut(peer) else { return };
        if let Some(Stage::Live(session)) = line.stages.remove(&id) {
            tokio::spawn(session.farewell(reason));
        }
        self.lose(peer, id, "we ended the session");
    }

    fn note_cause(&mut self, peer: &MemberId, why: &str) {
        if let Some(line) = self.lines.get_mut(peer)
            && !(line.state.up && line.sessions.in_use().is_none())
        {
            line.state.cause = Some(why.to_owned());
        }
    }

    /// Ends the sessions of cards that no longer speak.
    pub(super) fn end_replaced_sessions(&mut self) {
        let now = self.clock.now();
        let peers: Vec<(MemberId, Option<DocumentId>)> = self
            .lines
            .keys()
            .map(|peer| (peer.clone(), self.machine.roster().current(peer).map(Verified::id)))
            .collect();
        for (peer, current) in peers {
            let Some(line) = self.lines.get_mut(&peer) else { continue };
            let mut decisions = Vec::new();
            for id in line.live_ids() {
                if line.live(id).is_some_and(|session| Some(session.card) != current) {
                    if let Some(Stage::Live(session)) = line.stages.remove(&id) {
                        tokio::spawn(session.farewell(CloseReason::NotAdmitted));
                    }
                    line.state.cause = Some("its card is replaced or revoked".to_owned());
                    decisions.extend(line.sessions.closed(id, now));
                }
            }
            decisions.extend(line.sessions.retry(now));
            self.decide(&peer, decisions);
        }
    }

    /// A way became usable: what failed before may work now.
    pub(super) fn retry_all(&mut self) {
        let now = self.clock.now();
        let peers: Vec<MemberId> = self.lines.keys().cloned().collect();
        for peer in peers {
            if let Some(line) = self.lines.get_mut(&peer) {
                let decisions = line.sessions.retry(now);
                self.decide(&peer, decisions);
            }
        }
    }

    /// Time has passed for the sessions.
    pub(super) fn tick_sessions(&mut self) {
        let now = self.clock.now();
        let due: Vec<MemberId> = self
            .lines
            .iter()
            .filter(|(_, line)| line.sessions.wake_at().is_some_and(|at| at <= now.monotonic))
            .map(|(peer, _)| peer.clone())
            .collect();
        for peer in due {
            if let Some(line) = self.lines.get_mut(&peer) {
                let decisions = line.sessions.tick(now);
                self.decide(&peer, decisions);
            }
        }
    }
}
