//! A few channels round one table. Nothing happens by itself: whoever tests says which frames are read, which commits are
//! answered and how, and what the clocks show.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use demarche_protocol::{
    channel::{
        Addressee, Batch, Channel, CommitFailure, Config, Event, Frame, Input, Outgoing, Output, ParcelId,
        Record, Refusal, RequestId, Ticket,
    },
    custody::ToMediator,
    document::SignedDocument,
    hash::EntryHash,
    identity::{member::MemberId, officer::Duty},
    time::{Now, Timestamp},
    transcript::{Effect, Head, Item},
};

use crate::{
    fixtures::{self, DRAFTED, NodeKeys, Scene},
    forger,
};

/// Credit that no test uses up.
pub const PLENTY: usize = usize::MAX;

/// One node at the table.
pub struct Seat {
    /// Its machine.
    pub channel: Channel,
    /// What is durable.
    pub records: Vec<Record>,
    /// Commits that wait for an answer.
    pub commits: VecDeque<(Ticket, Batch)>,
    /// Everything it has told, in order.
    pub events: Vec<Event>,
    /// Every frame it has sent, to whom, in order.
    pub sent: Vec<(MemberId, Frame)>,
    /// What it has wanted to be deposited, in order.
    pub deposits: Vec<Deposit>,
    /// What it has told mediators, in order.
    pub told: Vec<(MemberId, ToMediator)>,
    /// Its wall clock's error, in milliseconds.
    pub clock_error: i64,
    /// When it wants to be woken.
    pub wake: Option<Duration>,
    /// Credit that it is given for every peer after each frame read.
    pub credit: usize,
    /// Whether its disk waits to be told how each commit ended.
    pub holds_commits: bool,
    items: BTreeMap<EntryHash, Item>,
    serial: u64,
}

/// What a node wants to be sealed and deposited.
pub struct Deposit {
    /// The mark for the answer.
    pub parcel: ParcelId,
    /// With whom.
    pub mediator: MemberId,
    /// For whom.
    pub to: Addressee,
    /// What.
    pub frames: Vec<Frame>,
}

/// The table.
pub struct Table {
    /// The charter and its members.
    pub scene: Scene,
    seats: BTreeMap<MemberId, Seat>,
    /// Frames sent and not read, by sender and reader.
    wire: BTreeMap<(MemberId, MemberId), VecDeque<Frame>>,
    joined: Vec<(MemberId, MemberId)>,
    now: Duration,
    requests: u64,
}

impl Table {
    /// Honest nodes for all parties of a charter between so many, apart from each other.
    pub fn new(parties: usize) -> Self {
        Self::with(Scene::new(parties))
    }

    /// The same for another charter.
    pub fn with(scene: Scene) -> Self {
        let mut table = Self {
            seats: BTreeMap::new(),
            wire: BTreeMap::new(),
            joined: Vec::new(),
            now: Duration::from_secs(1),
            requests: 0,
            scene,
        };
        for party in table.scene.parties.clone() {
            table.seat(&party, Vec::new(), 1);
        }
        table
    }

    /// The same, with a path between all of them and the first officer of each enrolled; and the parties.
    pub fn line(parties: usize) -> (Self, Vec<MemberId>) {
        let mut table = Self::new(parties);
        let all = table.scene.parties.clone();
        table.join_all();
        for party in &all {
            table.enrol(party, 1);
        }
        (table, all)
    }

    /// A party, in the charter's order.
    pub fn party(&self, number: usize) -> MemberId {
        self.scene.parties[number].clone()
    }

    /// What time it is at a seat.
    pub fn now(&self, party: &MemberId) -> Now {
        let error = self.seats.get(party).map_or(0, |seat| seat.clock_error);
        let wall = DRAFTED.as_millis().saturating_add(u64::try_from(self.now.as_millis()).unwrap_or(0));
        let wall = u64::try_from(i64::try_from(wall).unwrap_or(i64::MAX).saturating_add(error)).unwrap_or(0);
        Now { monotonic: self.now, wall: Timestamp::from_millis(wall) }
    }

    /// Seats a node made from records, in place of whoever sat there. Its paths are gone.
    ///
    /// # Panics
    /// When no channel can be made from them.
    pub fn seat(&mut self, party: &MemberId, records: Vec<Record>, serial: u64) {
        self.seat_holding(party, records, serial);
        self.at_mut(party).holds_commits = false;
        self.settle();
    }

    /// The same with a disk that waits to be told how each commit ended, from the first.
    ///
    /// # Panics
    /// When no channel can be made from them.
    pub fn seat_holding(&mut self, party: &MemberId, records: Vec<Record>, serial: u64) {
        self.part(party);
        let config = Config {
            charter: self.scene.charter.clone(),
            me: party.clone(),
            key: NodeKeys::of(party.as_str(), serial).node,
            card: self.scene.card(party, serial),
        };
        let items = items(&records);
        let channel = Channel::restore(config, records.clone(), self.now(party)).expect("good records");
        let seat = Seat {
            channel,
            records,
            commits: VecDeque::new(),
            events: Vec::new(),
            sent: Vec::new(),
            deposits: Vec::new(),
            told: Vec::new(),
            clock_error: self.seats.get(party).map_or(0, |seat| seat.clock_error),
            wake: None,
            credit: PLENTY,
            holds_commits: true,
            items,
            serial,
        };
        self.seats.insert(party.clone(), seat);
        self.drain(party);
    }

    /// Seats the same node again, from what is durable.
    pub fn restart(&mut self, party: &MemberId) {
        let (records, serial) = (self.at(party).records.clone(), self.at(party).serial);
        self.seat(party, records, serial);
    }

    /// A node.
    ///
    /// # Panics
    /// When nobody sits there.
    pub fn at(&self, party: &MemberId) -> &Seat {
        &self.seats[party]
    }

    /// A node, to be told how to behave.
    ///
    /// # Panics
    /// When nobody sits there.
    pub fn at_mut(&mut self, party: &MemberId) -> &mut Seat {
        self.seats.get_mut(party).expect("a seat")
    }

    /// A path between two nodes comes up, or is replaced.
    pub fn join(&mut self, one: &MemberId, other: &MemberId) {
        self.unplug(one, other);
        self.joined.push((one.clone(), other.clone()));
        for (here, there) in [(one, other), (other, one)] {
            self.input(here, Input::PathUp { peer: there.clone() });
            self.grant(here, there);
        }
        self.settle();
    }

    /// Paths between all nodes come up.
    pub fn join_all(&mut self) {
        let parties = self.scene.parties.clone();
        for (at, one) in parties.iter().enumerate() {
            for other in &parties[at + 1..] {
                self.join(one, other);
            }
        }
    }

    /// All paths of a node are lost, with what is on its way.
    pub fn part(&mut self, party: &MemberId) {
        for (one, other) in self.joined.clone() {
            if one == *party || other == *party {
                self.unplug(&one, &other);
                for (here, there) in [(&one, &other), (&other, &one)] {
                    if self.seats.contains_key(here) {
                        self.input(here, Input::PathDown { peer: there.clone() });
                    }
                }
            }
        }
    }

    fn unplug(&mut self, one: &MemberId, other: &MemberId) {
        self.joined.retain(|(a, b)| !(a == one && b == other || a == other && b == one));
        self.wire.remove(&(one.clone(), other.clone()));
        self.wire.remove(&(other.clone(), one.clone()));
    }

    /// A path to a peer that is played by hand comes up at `party`.
    pub fn join_by_hand(&mut self, party: &MemberId, peer: &MemberId) {
        self.input(party, Input::PathUp { peer: peer.clone() });
        self.grant(party, peer);
        self.settle();
    }

    /// A frame of a peer that is played by hand is read, and what follows from it happens.
    pub fn read(&mut self, party: &MemberId, peer: &MemberId, frame: Frame) {
        self.input(party, Input::Frame { peer: peer.clone(), frame });
        self.settle();
    }

    /// A party's first officer opens an entry; nothing that follows has happened yet.
    pub fn open(&mut self, party: &MemberId, entry: &Head) {
        let officer = fixtures::officer(party, 1, &[Duty::Draft, Duty::Release, Duty::Acknowledge]).id();
        let request = self.request();
        self.input(party, Input::Opened { request, entry: entry.hash, officer });
    }

    fn grant(&mut self, party: &MemberId, peer: &MemberId) {
        let bytes = self.at(party).credit;
        self.input(party, Input::Sendable { peer: peer.clone(), bytes });
    }

    /// Gives a node an input. What it sends and asks for is kept.
    pub fn input(&mut self, party: &MemberId, input: Input) {
        let now = self.now(party);
        self.at_mut(party).channel.handle(now, input);
        self.drain(party);
    }

    fn drain(&mut self, party: &MemberId) {
        let Some(seat) = self.seats.get_mut(party) else { return };
        while let Some(output) = seat.channel.poll_output() {
            match output {
                Output::Commit { ticket, batch } => seat.commits.push_back((ticket, batch)),
                Output::Event(event) => seat.events.push(event),
                Output::Deposit { parcel, mediator, to, contents } => {
                    let frame = |outgoing| match outgoing {
                        Outgoing::Frame(frame) => frame,
                        Outgoing::Stored(hash) => Frame::Entry(seat.items[&hash].clone()),
                    };
                    let frames = contents.into_iter().map(frame).collect();
                    seat.deposits.push(Deposit { parcel, mediator, to, frames });
                }
                Output::Tell { mediator, message } => seat.told.push((mediator, message)),
                Output::WakeAt(at) => seat.wake = Some(at),
                Output::Transmit { peer, frame } => {
                    let frame = match frame {
                        Outgoing::Frame(frame) => frame,
                        Outgoing::Stored(hash) => Frame::Entry(seat.items[&hash].clone()),
                    };
                    // Whatever is sent must survive the journey.
                    let frame = Frame::decode(&frame.encode()).expect("a frame");
                    seat.sent.push((peer.clone(), frame.clone()));
                    let plugged =
                        |(a, b): &(MemberId, MemberId)| *a == peer && b == party || a == party && *b == peer;
                    if self.joined.iter().any(plugged) {
                        self.wire.entry((party.clone(), peer)).or_default().push_back(frame);
                    }
                }
            }
        }
    }

    /// Answers the oldest commit of a node.
    ///
    /// # Panics
    /// When none waits.
    pub fn commit(&mut self, party: &MemberId) {
        let seat = self.at_mut(party);
        let (ticket, batch) = seat.commits.pop_front().expect("a commit");
        seat.items.extend(items(&batch.records));
        seat.records.extend(batch.records);
        self.input(party, Input::Committed(ticket));
    }

    /// Fails the oldest commit of a node, and with it all later ones.
    ///
    /// # Panics
    /// When none waits.
    pub fn fail(&mut self, party: &MemberId, failure: CommitFailure) {
        let seat = self.at_mut(party);
        let (ticket, _) = seat.commits.pop_front().expect("a commit");
        seat.commits.clear();
        self.input(party, Input::CommitFailed { ticket, failure });
    }

    /// Lets all happen that is bound to: frames are read, disks answer.
    ///
    /// # Panics
    /// When it never ends.
    pub fn settle(&mut self) {
        for _ in 0..1_000_000 {
            if !self.step() {
                return;
            }
        }
        panic!("this goes on for ever");
    }

    fn step(&mut self) -> bool {
        let writing = self
            .seats
            .iter()
            .find(|(_, seat)| !seat.holds_commits && !seat.commits.is_empty())
            .map(|(party, _)| party.clone());
        if let Some(party) = writing {
            self.commit(&party);
            return true;
        }
        let full = self.wire.iter().find(|(_, frames)| !frames.is_empty()).map(|(ends, _)| ends.clone());
        let Some((from, to)) = full else { return false };
        if let Some(frame) = self.wire.get_mut(&(from.clone(), to.clone())).and_then(VecDeque::pop_front) {
            self.input(&to, Input::Frame { peer: from.clone(), frame });
            self.grant(&from, &to);
        }
        true
    }

    /// Loses all frames that are on their way from one to the other. How many there were.
    pub fn lose(&mut self, from: &MemberId, to: &MemberId) -> usize {
        self.wire.remove(&(from.clone(), to.clone())).map_or(0, |frames| frames.len())
    }

    /// Time passes; every node that wants to be woken in that time is, at its time.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let next = self
                .seats
                .iter()
                .filter_map(|(party, seat)| Some((seat.wake.filter(|wake| *wake <= until)?, party.clone())))
                .min();
            let Some((at, party)) = next else { break };
            self.now = self.now.max(at);
            self.at_mut(&party).wake = None;
            self.input(&party, Input::Tick);
            self.settle();
        }
        self.now = until;
    }

    /// An officer hands a document in. Nothing has answered yet.
    pub fn ask(&mut self, party: &MemberId, document: &SignedDocument) -> RequestId {
        let request = self.request();
        self.input(party, Input::Append { request, document: document.clone() });
        request
    }

    /// An officer hands a document in, and all happens that is bound to.
    ///
    /// # Panics
    /// When it is not recorded.
    pub fn append(&mut self, party: &MemberId, document: &SignedDocument) -> Head {
        let request = self.ask(party, document);
        self.settle();
        self.recorded(party, request).unwrap_or_else(|| panic!("{:?}", self.refused(party, request)))
    }

    /// A mark for a request.
    pub const fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// How a request to append was recorded.
    pub fn recorded(&self, party: &MemberId, wanted: RequestId) -> Option<Head> {
        self.at(party).events.iter().find_map(|event| match event {
            Event::Recorded { request, entry, .. } if *request == wanted => Some(entry.clone()),
            _ => None,
        })
    }

    /// How a request was refused.
    pub fn refused(&self, party: &MemberId, wanted: RequestId) -> Option<Refusal> {
        self.at(party).events.iter().find_map(|event| match event {
            Event::Refused { request, why } if *request == wanted => Some(why.clone()),
            _ => None,
        })
    }

    /// Enters an officer with all duties but to administer.
    pub fn enrol(&mut self, party: &MemberId, number: u64) -> Head {
        let duties = [Duty::Draft, Duty::Release, Duty::Acknowledge];
        self.append(party, &fixtures::officer(party, number, &duties))
    }

    /// What is said of an entry at a node; nothing when it is not held.
    pub fn effect(&self, party: &MemberId, entry: &Head) -> Option<Effect> {
        self.at(party).channel.transcript().get(&entry.hash).map(|node| node.effect.clone())
    }

    /// Whether two nodes hold the same and judge it alike.
    pub fn alike(&self, one: &MemberId, other: &MemberId) -> bool {
        let judged = |party| crate::witness::judgements(self.at(party).channel.transcript());
        judged(one) == judged(other)
    }

    /// The frames that a node has sent to a peer.
    pub fn frames<'a>(&'a self, from: &'a MemberId, to: &'a MemberId) -> impl Iterator<Item = &'a Frame> {
        self.at(from).sent.iter().filter(move |(peer, _)| peer == to).map(|(_, frame)| frame)
    }

    /// How often a node has sent an entry to a peer.
    pub fn times_sent(&self, from: &MemberId, to: &MemberId, entry: &Head) -> usize {
        self.frames(from, to)
            .filter(|frame| matches!(frame, Frame::Entry(item) if forger::head(item) == *entry))
            .count()
    }
}

fn items(records: &[Record]) -> BTreeMap<EntryHash, Item> {
    let item = |record: &Record| match record {
        Record::Entry(item) => Some((item.entry.hash(), item.clone())),
        _ => None,
    };
    records.iter().filter_map(item).collect()
}
