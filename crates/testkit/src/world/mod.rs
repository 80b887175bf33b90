//! Whole nodes in virtual time: channels with their sessions, on disks and a network that do as the seed says.
//!
//! A node here is what the daemon's runtime is, less tasks and sockets: it opens streams when [`Sessions`] says so, lets the
//! channel's outputs happen in order, and may die between any two of them. This file holds time, the plan of what is
//! to happen, and the lives of nodes; [`outputs`] carries out what a channel asks for and holds it to its promises;
//! [`links`] opens, answers and ends sessions as they decide; [`arrivals`] reads what comes out of a stream.

mod arrivals;
mod links;
mod offices;
mod outputs;
mod tally;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use demarche_protocol::{
    channel::{Channel, CommitFailure, Config, Input, RequestId},
    document::SignedDocument,
    hash::{EntryHash, EnvelopeHash},
    identity::{Verified, card::Card, member::MemberId},
    session::{Deframer, Sessions},
    time::{Now, Timestamp},
};

use crate::{
    disk::Disk,
    fixtures::{DRAFTED, NodeKeys, Scene},
    network::{Network, StreamId},
    rng::Chance,
    witness::Witness,
};
use links::Link;
pub use offices::Office;
use offices::{Mail, Parcels};
pub use tally::Tally;

/// A promise that a run has seen broken.
#[derive(Debug)]
pub struct Broken(pub String);

impl From<String> for Broken {
    fn from(what: String) -> Self {
        Self(what)
    }
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
    /// What it has sealed and mediators have not answered for.
    parcels: Parcels,
}

#[derive(Debug)]
enum Happening {
    Arrives { stream: StreamId, to: MemberId, message: Vec<u8> },
    StreamEnds { stream: StreamId, at: MemberId, life: u64 },
    DiskAnswers { node: MemberId, life: u64 },
    Drained { node: MemberId, peer: MemberId, life: u64 },
    DiskMends { node: MemberId },
    Unmutes { from: MemberId, to: MemberId },
    Replaced { node: MemberId, serial: u64 },
    Wakes { node: MemberId, life: u64 },
    SessionsWake { node: MemberId, peer: MemberId, life: u64 },
    Restarts { node: MemberId, life: u64 },
    Attends { party: MemberId, mediator: MemberId },
    Exchanges { party: MemberId, mediator: MemberId, stream: u64 },
    Posted { mediator: MemberId, party: MemberId, stream: u64, mail: Box<Mail> },
    OfficeDies { mediator: MemberId, life: u64 },
    OfficeOpens { mediator: MemberId },
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
    /// Nodes that stay down until they are let start again.
    pub absent: BTreeSet<MemberId>,
    apart: bool,
    nodes: BTreeMap<MemberId, Node>,
    offices: BTreeMap<MemberId, Office>,
    /// Streams to mediators that were opened so far, and when the last thing said on each arrives.
    streams: u64,
    posted: BTreeMap<(u64, bool), Duration>,
    /// The entries in every envelope that was sealed.
    sealed: BTreeMap<EnvelopeHash, Vec<EntryHash>>,
    /// Keys and cards that were needed so far: making them is dear.
    cards: BTreeMap<(MemberId, u64), (NodeKeys, Verified<Card>)>,
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
            absent: BTreeSet::new(),
            apart: false,
            nodes,
            offices: BTreeMap::new(),
            streams: 0,
            posted: BTreeMap::new(),
            sealed: BTreeMap::new(),
            cards: BTreeMap::new(),
            now: Duration::from_secs(1),
            order: 0,
            plan: BTreeMap::new(),
            requests: 0,
        };
        world.open_offices();
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

    /// The keys and the card of a node, as they are now.
    fn card(&mut self, party: &MemberId) -> (NodeKeys, Verified<Card>) {
        let serial = self.node(party).serial;
        let made = self
            .cards
            .entry((party.clone(), serial))
            .or_insert_with(|| (NodeKeys::of(party.as_str(), serial), self.scene.card(party, serial)));
        made.clone()
    }

    /// Starts a node from what is on its disk.
    ///
    /// # Errors
    /// A broken promise, or a disk from which no channel can be made.
    pub fn start(&mut self, party: &MemberId) -> Result<(), Broken> {
        let now = self.now_at(party);
        let parties = self.scene.parties.clone();
        let Some(node) = self.nodes.get(party) else { return Ok(()) };
        if node.running.is_some() || self.absent.contains(party) {
            return Ok(());
        }
        let (keys, card) = self.card(party);
        let config = Config { charter: self.scene.charter.clone(), me: party.clone(), key: keys.node, card };
        let Some(node) = self.nodes.get(party) else { return Ok(()) };
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
        node.running = Some(Running { channel, links, incoming: BTreeMap::new(), parcels: BTreeMap::new() });
        self.drain(party)?;
        for peer in parties.iter().filter(|peer| *peer != party) {
            self.sessions(party, peer, Sessions::tick)?;
        }
        for mediator in self.scene.mediators.clone() {
            self.attend_soon(party, &mediator);
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
        self.leave_offices(party);
        for stream in self.network.streams_of(Some(party)) {
            // Sometimes nobody tells the other side.
            let told = !self.chance.percent(20);
            self.end_stream(stream, Some(party), told);
        }
    }

    /// A node goes down and stays down: nobody starts it until it is no longer [`absent`](Self::absent).
    pub fn leave(&mut self, party: &MemberId) {
        self.absent.insert(party.clone());
        self.crash(party);
    }

    /// Plans a start.
    pub fn restart_after(&mut self, party: &MemberId, delay: Duration) {
        let life = self.node(party).life;
        self.plan(self.now + delay, Happening::Restarts { node: party.clone(), life });
    }

    /// A disk fails for a while.
    pub fn disk_fails(&mut self, party: &MemberId, how: CommitFailure, time: Duration) {
        self.node(party).disk.fail(Some(how));
        self.plan(self.now + time, Happening::DiskMends { node: party.clone() });
    }

    /// A relay swallows for a while what one node says to another in their sessions.
    pub fn mute(&mut self, from: &MemberId, to: &MemberId, time: Duration) {
        self.network.mute(from, to, true);
        self.plan(self.now + time, Happening::Unmutes { from: from.clone(), to: to.clone() });
    }

    /// The roots will give the node a new card, unless it has one by then.
    pub fn renew_after(&mut self, party: &MemberId, delay: Duration) {
        let serial = self.node(party).serial;
        self.plan(self.now + delay, Happening::Replaced { node: party.clone(), serial });
    }

    /// The node loses its disk, wholly or back to some earlier state, and is given a new card.
    ///
    /// # Errors
    /// A broken promise.
    pub fn lose_disk(&mut self, party: &MemberId) -> Result<(), Broken> {
        self.crash(party);
        self.tally.lost_disks += 1;
        let chance = &mut self.chance;
        let Some(node) = self.nodes.get_mut(party) else { return Ok(()) };
        node.disk.lose(chance);
        self.witness.loses(party, node.disk.records())?;
        node.serial += 1;
        self.start(party)
    }

    /// An officer of `party` hands a document in, whether its node runs or not.
    pub fn hands_in(&mut self, party: &MemberId, document: &SignedDocument) {
        let others = self.nodes.iter().filter(|(other, _)| *other != party);
        let running = others.map(|(_, node)| node.running.as_ref().map(|running| &running.channel));
        self.witness.hands_in(party, document, running);
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

    /// No two nodes ever meet.
    pub fn keep_apart(&mut self) {
        self.apart = true;
        let parties = self.scene.parties.clone();
        for (at, one) in parties.iter().enumerate() {
            for other in &parties[at + 1..] {
                self.cut(one, other, true);
            }
        }
    }

    /// Nothing disturbs any more.
    pub fn heal(&mut self) {
        self.crash_per_mille = 0;
        self.network.heal();
        if self.apart {
            self.keep_apart();
        }
        self.heal_offices();
    }

    /// Separates two nodes, or lets them meet.
    pub fn cut(&mut self, one: &MemberId, other: &MemberId, cut: bool) {
        for stream in self.network.cut(one, other, cut) {
            let told = !self.chance.percent(30);
            self.end_stream(stream, None, told);
        }
    }

    /// Cuts some stream that is open now.
    pub fn cut_a_stream(&mut self) {
        let streams = self.network.streams_of(None);
        if !streams.is_empty() {
            let stream = *self.chance.pick(&streams);
            self.end_stream(stream, None, true);
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
            Happening::DiskMends { node } => {
                self.node(&node).disk.fail(None);
                Ok(())
            }
            Happening::Unmutes { from, to } => {
                self.network.mute(&from, &to, false);
                Ok(())
            }
            Happening::Replaced { node, serial } if self.node(&node).serial == serial => self.renew(&node),
            Happening::Wakes { node, life } if self.alive(&node, life) => self.input(&node, Input::Tick),
            Happening::SessionsWake { node, peer, life } if self.alive(&node, life) => {
                self.sessions(&node, &peer, Sessions::tick)
            }
            Happening::Restarts { node, life } if self.node(&node).life == life => self.start(&node),
            Happening::Attends { party, mediator } => self.attends(&party, &mediator),
            Happening::Exchanges { party, mediator, stream } => self.exchanges(&party, &mediator, stream),
            Happening::Posted { mediator, party, stream, mail } => {
                self.posted(&mediator, &party, stream, *mail)
            }
            Happening::OfficeDies { mediator, life } => self.office_dies(&mediator, life),
            Happening::OfficeOpens { mediator } => {
                self.open_office(&mediator);
                Ok(())
            }
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
}
