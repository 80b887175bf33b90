//! Whole nodes in virtual time: channels with their sessions, on disks and a network that do as the seed says.
//!
//! A node here is what the daemon's runtime is, less tasks and sockets: it opens streams when [`Sessions`] says so, lets the
//! channel's outputs happen in order, and may die between any two of them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use demarche_protocol::{
    channel::{Channel, Config, Event, Frame, FrameError, Input, Outgoing, Output, RequestId},
    document::SignedDocument,
    hash::DocumentId,
    identity::member::MemberId,
    limits,
    session::{
        Admission, Answered, Decision, Deframer, Ending, Established, Expected, Local, Opener, Responder,
        Session, SessionId, Sessions,
    },
    time::{Now, Timestamp},
};

use crate::{
    disk::Disk,
    fixtures::{DRAFTED, NodeKeys, Scene},
    network::{Network, StreamId},
    rng::Chance,
    witness::{self, Witness},
};

/// A promise that a run has seen broken.
#[derive(Debug)]
pub struct Broken(pub String);

impl From<String> for Broken {
    fn from(what: String) -> Self {
        Self(what)
    }
}

/// What a run went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Nodes that died.
    pub crashes: u64,
    /// Frames sent.
    pub frames: u64,
    /// Sessions that completed.
    pub sessions: u64,
    /// Commits that failed.
    pub failed_commits: u64,
    /// Entries told to have arrived.
    pub arrivals: u64,
    /// Entries judged void.
    pub voids: u64,
    /// Cards renewed.
    pub renewals: u64,
    /// Inputs handled.
    pub steps: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.frames += other.frames;
        self.sessions += other.sessions;
        self.failed_commits += other.failed_commits;
        self.arrivals += other.arrivals;
        self.voids += other.voids;
        self.renewals += other.renewals;
        self.steps += other.steps;
    }
}

enum Stage {
    /// Its stream is open and our message 1 is sent.
    Opened(Box<Opener>),
    /// Message 1 has come and waits to be answered.
    Incoming(Vec<u8>),
    /// Message 2 is sent.
    Answered(Box<Answered>),
    /// Frames go.
    Live(Box<Session>, DocumentId),
}

struct Path {
    stream: StreamId,
    stage: Stage,
}

struct Link {
    sessions: Sessions,
    paths: BTreeMap<SessionId, Path>,
    wake: Option<Duration>,
}

/// One node: its disk always, its memory while it runs.
pub struct Node {
    /// Its disk.
    pub disk: Disk,
    /// The serial of its card.
    pub serial: u64,
    /// Its wall clock's error.
    pub clock_error: i64,
    running: Option<Running>,
    /// Counts its lives: what was planned for an earlier one does not happen.
    life: u64,
}

struct Running {
    channel: Channel,
    links: BTreeMap<MemberId, Link>,
    /// Bytes received on each stream and not yet read.
    incoming: BTreeMap<StreamId, Deframer>,
}

#[derive(Debug)]
enum Happening {
    Arrives { stream: StreamId, to: MemberId, message: Vec<u8> },
    StreamEnds { stream: StreamId, at: MemberId, life: u64 },
    DiskAnswers { node: MemberId, life: u64 },
    Drained { node: MemberId, peer: MemberId, life: u64 },
    Wakes { node: MemberId, life: u64 },
    SessionsWake { node: MemberId, peer: MemberId, life: u64 },
    Restarts { node: MemberId, life: u64 },
}

/// All of it.
pub struct World {
    /// The charter and its members.
    pub scene: Scene,
    /// The run's chance.
    pub chance: Chance,
    /// The network.
    pub network: Network,
    /// Who holds the run to the promises.
    pub witness: Witness,
    /// What the run went through.
    pub tally: Tally,
    /// In a thousand outputs, how many are the last of their node's life.
    pub crash_per_mille: u64,
    nodes: BTreeMap<MemberId, Node>,
    now: Duration,
    order: u64,
    plan: BTreeMap<(Duration, u64), Happening>,
    requests: u64,
}

impl World {
    /// Nodes for every party of the scene, all running.
    ///
    /// # Errors
    /// A promise broken at the start.
    pub fn new(scene: Scene, seed: u64) -> Result<Self, Broken> {
        let nodes = scene
            .parties
            .iter()
            .map(|party| {
                let node = Node { disk: Disk::default(), serial: 1, clock_error: 0, running: None, life: 0 };
                (party.clone(), node)
            })
            .collect();
        let mut world = Self {
            scene,
            chance: Chance::new(seed),
            network: Network::default(),
            witness: Witness::default(),
            tally: Tally::default(),
            crash_per_mille: 0,
            nodes,
            now: Duration::from_secs(1),
            order: 0,
            plan: BTreeMap::new(),
            requests: 0,
        };
        for party in world.scene.parties.clone() {
            world.start(&party)?;
        }
        Ok(world)
    }

    /// The virtual time.
    pub const fn time(&self) -> Duration {
        self.now
    }

    /// A node's channel, while it runs.
    pub fn channel(&self, party: &MemberId) -> Option<&Channel> {
        self.nodes.get(party)?.running.as_ref().map(|running| &running.channel)
    }

    /// A node.
    ///
    /// # Panics
    /// When the scene has no such party.
    pub fn node(&mut self, party: &MemberId) -> &mut Node {
        self.nodes.get_mut(party).expect("a party of the scene")
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

    fn now_at(&self, party: &MemberId) -> Now {
        let base = i64::try_from(self.now.as_millis()).unwrap_or(i64::MAX)
            + i64::try_from(DRAFTED.as_millis()).unwrap_or(0);
        let error = self.nodes.get(party).map_or(0, |node| node.clock_error);
        let wall = u64::try_from(base.saturating_add(error)).unwrap_or(0);
        Now { monotonic: self.now, wall: Timestamp::from_millis(wall) }
    }

    fn plan(&mut self, at: Duration, what: Happening) {
        self.order += 1;
        self.plan.insert((at.max(self.now), self.order), what);
    }

    /// A mark for a request.
    pub const fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// Starts a node from what is on its disk.
    ///
    /// # Errors
    /// A broken promise, or a disk from which no channel can be made.
    pub fn start(&mut self, party: &MemberId) -> Result<(), Broken> {
        let now = self.now_at(party);
        let parties = self.scene.parties.clone();
        let Some(node) = self.nodes.get(party) else { return Ok(()) };
        if node.running.is_some() {
            return Ok(());
        }
        let config = Config {
            charter: self.scene.charter.clone(),
            me: party.clone(),
            key: NodeKeys::of(party.as_str(), node.serial).node,
            card: self.scene.card(party, node.serial),
        };
        let channel = Channel::restore(config, node.disk.records().to_vec(), now)
            .map_err(|why| Broken(format!("{party} cannot start from its disk: {why}")))?;
        let links = parties
            .iter()
            .filter(|peer| *peer != party)
            .map(|peer| {
                let sessions = Sessions::new(party, peer, now);
                (peer.clone(), Link { sessions, paths: BTreeMap::new(), wake: None })
            })
            .collect();
        let node = self.node(party);
        node.life += 1;
        node.running = Some(Running { channel, links, incoming: BTreeMap::new() });
        self.drain(party)?;
        for peer in parties.iter().filter(|peer| *peer != party) {
            self.sessions(party, peer, demarche_protocol::session::Sessions::tick)?;
        }
        Ok(())
    }

    /// A node dies at once.
    pub fn crash(&mut self, party: &MemberId) {
        let chance = &mut self.chance;
        let Some(node) = self.nodes.get_mut(party).filter(|node| node.running.is_some()) else { return };
        node.running = None;
        node.life += 1;
        node.disk.crash(chance);
        self.tally.crashes += 1;
        for stream in self.network.streams_of(Some(party)) {
            // Sometimes nobody tells the other side.
            if self.chance.percent(20) {
                self.network.close(stream);
            } else {
                self.end_stream(stream, Some(party));
            }
        }
    }

    /// Plans a start.
    pub fn restart_after(&mut self, party: &MemberId, delay: Duration) {
        let life = self.node(party).life;
        self.plan(self.now + delay, Happening::Restarts { node: party.clone(), life });
    }

    /// Gives the node a new card with new keys. It starts again with them.
    ///
    /// # Errors
    /// A broken promise.
    pub fn renew(&mut self, party: &MemberId) -> Result<(), Broken> {
        self.crash(party);
        self.tally.crashes -= 1;
        self.tally.renewals += 1;
        self.node(party).serial += 1;
        self.start(party)
    }

    /// Ends a stream; both ends hear of it, except the one that ended it.
    fn end_stream(&mut self, stream: StreamId, by: Option<&MemberId>) {
        let Some(ended) = self.network.close(stream) else { return };
        for end in [ended.opener, ended.acceptor] {
            if Some(&end) != by {
                let at = self.now + Duration::from_micros(100 + self.chance.below(20_000));
                let life = self.node(&end).life;
                self.plan(at, Happening::StreamEnds { stream, at: end, life });
            }
        }
    }

    /// Separates two nodes, or lets them meet.
    pub fn cut(&mut self, one: &MemberId, other: &MemberId, cut: bool) {
        for stream in self.network.cut(one, other, cut) {
            if self.chance.percent(30) {
                self.network.close(stream);
            } else {
                self.end_stream(stream, None);
            }
        }
    }

    /// Cuts some stream that is open now.
    pub fn cut_a_stream(&mut self) {
        let streams = self.network.streams_of(None);
        if !streams.is_empty() {
            let stream = *self.chance.pick(&streams);
            self.end_stream(stream, None);
        }
    }

    /// Lets the planned things happen until `until`.
    ///
    /// # Errors
    /// A broken promise.
    pub fn run_until(&mut self, until: Duration) -> Result<(), Broken> {
        while let Some(entry) = self.plan.first_entry() {
            if entry.key().0 > until {
                break;
            }
            let ((at, _), what) = entry.remove_entry();
            self.now = at;
            self.happen(what)?;
        }
        self.now = self.now.max(until);
        Ok(())
    }

    fn alive(&self, party: &MemberId, life: u64) -> bool {
        self.nodes.get(party).is_some_and(|node| node.life == life && node.running.is_some())
    }

    fn happen(&mut self, what: Happening) -> Result<(), Broken> {
        match what {
            Happening::Arrives { stream, to, message } => self.arrives(stream, &to, &message),
            Happening::StreamEnds { stream, at, life } if self.alive(&at, life) => {
                self.stream_ended(&at, stream)
            }
            Happening::DiskAnswers { node, life } if self.alive(&node, life) => self.disk_answers(&node),
            Happening::Drained { node, peer, life } if self.alive(&node, life) => {
                let bytes = usize::try_from(300 + self.chance.below(20_000)).unwrap_or(300);
                self.input(&node, Input::Sendable { peer, bytes })
            }
            Happening::Wakes { node, life } if self.alive(&node, life) => self.input(&node, Input::Tick),
            Happening::SessionsWake { node, peer, life } if self.alive(&node, life) => {
                self.sessions(&node, &peer, demarche_protocol::session::Sessions::tick)
            }
            Happening::Restarts { node, life } if self.node(&node).life == life => self.start(&node),
            _ => Ok(()),
        }
    }

    fn disk_answers(&mut self, party: &MemberId) -> Result<(), Broken> {
        let Some((ticket, how)) = self.node(party).disk.end() else { return Ok(()) };
        let input = match how {
            Ok(()) => Input::Committed(ticket),
            Err(failure) => {
                self.tally.failed_commits += 1;
                Input::CommitFailed { ticket, failure }
            }
        };
        self.input(party, input)
    }

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

    fn drain(&mut self, party: &MemberId) -> Result<(), Broken> {
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
    fn check(&mut self, party: &MemberId) -> Result<(), Broken> {
        let node = self.nodes.get(party).ok_or_else(|| Broken("no such party".to_owned()))?;
        let grown = self.witness.check_disk(party, node.disk.records())?;
        let Some(running) = node.running.as_ref().filter(|_| grown) else { return Ok(()) };
        self.witness.check_effects(party, running.channel.transcript())?;
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
            Output::Event(event) => self.told(party, &event)?,
            Output::WakeAt(at) => self.plan(at, Happening::Wakes { node: party.clone(), life }),
        }
        Ok(())
    }

    fn told(&mut self, party: &MemberId, event: &Event) -> Result<(), Broken> {
        match event {
            Event::Arrived { .. } => self.tally.arrivals += 1,
            Event::Judged { effect: demarche_protocol::transcript::Effect::Void(_), .. } => {
                self.tally.voids += 1;
            }
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

    /// Sessions whose card no longer speaks end at once.
    fn end_replaced(&mut self, party: &MemberId) -> Result<(), Broken> {
        let Some(running) = self.nodes.get(party).and_then(|node| node.running.as_ref()) else {
            return Ok(());
        };
        let roster = running.channel.roster();
        let mut gone = Vec::new();
        for (peer, link) in &running.links {
            let current = roster.current(peer).map(demarche_protocol::identity::Verified::id);
            for (id, path) in &link.paths {
                if matches!(&path.stage, Stage::Live(_, card) if Some(*card) != current) {
                    gone.push((peer.clone(), *id, path.stream));
                }
            }
        }
        for (peer, id, stream) in gone {
            self.forget(party, &peer, id);
            self.end_stream(stream, Some(party));
            self.sessions(party, &peer, |sessions, now| sessions.closed(id, now))?;
        }
        Ok(())
    }

    fn transmit(&mut self, party: &MemberId, peer: &MemberId, outgoing: &Outgoing) -> Result<(), Broken> {
        self.witness.sent(party, outgoing);
        let node = self.nodes.get(party).ok_or_else(|| Broken("no such party".to_owned()))?;
        let frame = match outgoing {
            Outgoing::Frame(frame) => frame.clone(),
            Outgoing::Stored(hash) => Frame::Entry(
                node.disk
                    .item(hash)
                    .cloned()
                    .ok_or_else(|| Broken(format!("{party} sends {hash:?}, which is not on its disk")))?,
            ),
        };
        let life = node.life;
        let in_use = node.running.as_ref().and_then(|running| running.links.get(peer)?.sessions.in_use());
        if let Some(id) = in_use {
            self.send_frame(party, peer, id, &frame);
        }
        let at = self.now + Duration::from_micros(100 + self.chance.below(5_000));
        self.plan(at, Happening::Drained { node: party.clone(), peer: peer.clone(), life });
        Ok(())
    }

    fn send_frame(&mut self, party: &MemberId, peer: &MemberId, id: SessionId, frame: &Frame) {
        let Some(path) = self.path(party, peer, id) else { return };
        let Stage::Live(session, _) = &mut path.stage else { return };
        let stream = path.stream;
        if let Ok(bytes) = session.seal(&frame.encode()) {
            self.tally.frames += 1;
            self.send(stream, peer, bytes);
        }
    }

    fn send(&mut self, stream: StreamId, to: &MemberId, bytes: Vec<u8>) {
        for (at, message) in self.network.send(&mut self.chance, self.now, stream, to, bytes) {
            self.plan(at, Happening::Arrives { stream, to: to.clone(), message });
        }
    }

    fn path(&mut self, party: &MemberId, peer: &MemberId, id: SessionId) -> Option<&mut Path> {
        self.nodes.get_mut(party)?.running.as_mut()?.links.get_mut(peer)?.paths.get_mut(&id)
    }

    fn forget(&mut self, party: &MemberId, peer: &MemberId, id: SessionId) -> Option<Path> {
        let running = self.nodes.get_mut(party)?.running.as_mut()?;
        let path = running.links.get_mut(peer)?.paths.remove(&id)?;
        running.incoming.remove(&path.stream);
        Some(path)
    }

    /// Lets the sessions with a peer decide, and carries out what they decide.
    fn sessions(
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
        let life = self.node(party).life;
        let Some(link) = self.link(party, peer) else { return Ok(()) };
        let wake = link.sessions.wake_at();
        if wake != link.wake {
            link.wake = wake;
            if let Some(at) = wake {
                self.plan(at, Happening::SessionsWake { node: party.clone(), peer: peer.clone(), life });
            }
        }
        Ok(())
    }

    fn link(&mut self, party: &MemberId, peer: &MemberId) -> Option<&mut Link> {
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
                    let close = Frame::Close(demarche_protocol::channel::CloseReason::Rekeyed);
                    self.send_frame(party, peer, id, &close);
                }
                if let Some(path) = self.forget(party, peer, id) {
                    self.end_stream(path.stream, Some(party));
                }
            }
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

    fn fail(&mut self, party: &MemberId, peer: &MemberId, id: SessionId) -> Vec<Decision> {
        if let Some(path) = self.forget(party, peer, id) {
            self.end_stream(path.stream, Some(party));
        }
        let now = self.now_at(party);
        self.link(party, peer).map_or_else(Vec::new, |link| link.sessions.closed(id, now))
    }

    fn with_local<T>(
        &mut self,
        party: &MemberId,
        with: impl FnOnce(&Local<'_>, &mut dyn rand_core::CryptoRng) -> Option<T>,
    ) -> Option<T> {
        let serial = self.node(party).serial;
        let keys = NodeKeys::of(party.as_str(), serial);
        let card = self.scene.card(party, serial);
        let local = Local {
            channel: self.scene.channel(),
            charter: &self.scene.charter,
            card: &card,
            secret: &keys.session,
        };
        with(&local, self.chance.generator())
    }

    fn stream_ended(&mut self, party: &MemberId, stream: StreamId) -> Result<(), Broken> {
        let Some(running) = self.node(party).running.as_mut() else { return Ok(()) };
        running.incoming.remove(&stream);
        let found = running.links.iter().find_map(|(peer, link)| {
            link.paths.iter().find(|(_, path)| path.stream == stream).map(|(id, _)| (peer.clone(), *id))
        });
        if let Some((peer, id)) = found {
            self.forget(party, &peer, id);
            self.sessions(party, &peer, |sessions, now| sessions.closed(id, now))?;
        }
        Ok(())
    }

    fn arrives(&mut self, stream: StreamId, to: &MemberId, message: &[u8]) -> Result<(), Broken> {
        let Some(ends) = self.network.stream(stream).cloned() else { return Ok(()) };
        let inbound = ends.acceptor == *to;
        let peer = if inbound { ends.opener } else { ends.acceptor };
        let Some(running) = self.node(to).running.as_mut() else { return Ok(()) };
        let known = running
            .links
            .get(&peer)
            .and_then(|link| link.paths.iter().find(|(_, path)| path.stream == stream).map(|(id, _)| *id));
        let deframer = running.incoming.entry(stream).or_default();
        if !deframer.push(message).is_empty() {
            return self.broken_stream(to, stream);
        }
        match known {
            Some(id) => self.read_messages(to, &peer, id, stream),
            None if inbound => {
                match deframer.preamble() {
                    Ok(Some(preamble)) if preamble.channel == self.scene.channel() => {}
                    Ok(None) => return Ok(()),
                    Ok(Some(_)) | Err(_) => return self.broken_stream(to, stream),
                }
                let first = self.node(to).running.as_mut().and_then(|running| {
                    running.incoming.get_mut(&stream)?.message(Responder::LIMIT).ok().flatten()
                });
                let Some(first) = first else { return self.broken_stream(to, stream) };
                let mut began = None;
                let now = self.now_at(to);
                if let Some(link) = self.link(to, &peer) {
                    let (id, decisions) = link.sessions.incoming(now);
                    link.paths.insert(id, Path { stream, stage: Stage::Incoming(first) });
                    began = Some(decisions);
                }
                self.sessions(to, &peer, |_, _| began.unwrap_or_default())
            }
            None => Ok(()),
        }
    }

    fn broken_stream(&mut self, party: &MemberId, stream: StreamId) -> Result<(), Broken> {
        self.end_stream(stream, Some(party));
        self.stream_ended(party, stream)
    }

    fn read_messages(
        &mut self,
        party: &MemberId,
        peer: &MemberId,
        id: SessionId,
        stream: StreamId,
    ) -> Result<(), Broken> {
        loop {
            let Some(running) = self.node(party).running.as_mut() else { return Ok(()) };
            let Some(path) = running.links.get_mut(peer).and_then(|link| link.paths.get_mut(&id)) else {
                return Ok(());
            };
            let limit = match &path.stage {
                Stage::Opened(_) => Opener::LIMIT,
                Stage::Answered(_) => Answered::LIMIT,
                Stage::Live(..) => limits::NOISE_MESSAGE,
                Stage::Incoming(_) => return Ok(()),
            };
            let Some(deframer) = running.incoming.get_mut(&stream) else { return Ok(()) };
            let message = match deframer.message(limit) {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                Err(_) => return self.broken_stream(party, stream),
            };
            self.read_message(party, peer, id, &message)?;
        }
    }

    fn read_message(
        &mut self,
        party: &MemberId,
        peer: &MemberId,
        id: SessionId,
        message: &[u8],
    ) -> Result<(), Broken> {
        let Some(path) = self.path(party, peer, id) else { return Ok(()) };
        let stream = path.stream;
        if let Stage::Live(session, _) = &mut path.stage {
            return match session.open(message).map(|bytes| Frame::decode(&bytes)) {
                Ok(Ok(frame)) => self.frame(party, peer, id, frame),
                Ok(Err(FrameError::UnknownKind(_))) => Ok(()),
                Ok(Err(_)) | Err(_) => self.broken_stream(party, stream),
            };
        }
        let Some(path) = self.forget_stage(party, peer, id) else { return Ok(()) };
        let now = self.now_at(party);
        let mut roster = match self.channel(party) {
            Some(channel) => channel.roster().clone(),
            None => return Ok(()),
        };
        let expected = Expected { party: Some(peer.clone()), node: None };
        let mut admission = Admission { roster: &mut roster, expected, now };
        let (established, reply) = match path {
            Stage::Opened(opener) => match opener.read_message2(message, &mut admission) {
                Ok((established, reply)) => (established, Some(reply)),
                Err(_) => return self.broken_stream(party, stream),
            },
            Stage::Answered(answered) => match answered.read_message3(message, &mut admission) {
                Ok(established) => (established, None),
                Err(_) => return self.broken_stream(party, stream),
            },
            Stage::Incoming(_) | Stage::Live(..) => return Ok(()),
        };
        self.established(party, peer, id, established, reply)
    }

    fn forget_stage(&mut self, party: &MemberId, peer: &MemberId, id: SessionId) -> Option<Stage> {
        let path = self.path(party, peer, id)?;
        Some(std::mem::replace(&mut path.stage, Stage::Incoming(Vec::new())))
    }

    fn established(
        &mut self,
        party: &MemberId,
        peer: &MemberId,
        id: SessionId,
        established: Established,
        reply: Option<Vec<u8>>,
    ) -> Result<(), Broken> {
        let Established { session, peer: who } = established;
        self.tally.sessions += 1;
        if let Some(path) = self.path(party, peer, id) {
            path.stage = Stage::Live(Box::new(session), who.card.id());
            let stream = path.stream;
            if let Some(reply) = reply {
                self.send(stream, peer, reply);
            }
        }
        if who.roster_changed {
            let request = self.request();
            let document = who.card.document().clone();
            self.input(party, Input::Roster { request, document })?;
        }
        self.sessions(party, peer, |sessions, now| sessions.completed(id, now))
    }

    fn frame(
        &mut self,
        party: &MemberId,
        peer: &MemberId,
        id: SessionId,
        frame: Frame,
    ) -> Result<(), Broken> {
        if matches!(frame, Frame::Hello(_)) {
            self.sessions(party, peer, |sessions, now| sessions.greeted(id, now))?;
        }
        self.input(party, Input::Frame { peer: peer.clone(), frame })
    }
}
