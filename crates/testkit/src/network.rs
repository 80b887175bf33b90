//! The network between nodes, as a mediator or the wire may treat it: streams whose messages are delayed, lost, repeated, reordered,
//! changed or cut, pairs of nodes that cannot reach each other for a while, and directions in which a hostile relay lets a session
//! begin and then passes nothing more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use demarche_protocol::identity::member::MemberId;

use crate::rng::Chance;

/// One stream between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// How badly the network behaves, in percent of messages or of steps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Messages that vanish.
    pub loss: u64,
    /// Messages that come twice.
    pub repeat: u64,
    /// Messages that overtake those before them.
    pub reorder: u64,
    /// Messages of which one bit is flipped.
    pub change: u64,
    /// Messages of other streams that are thrown in.
    pub splice: u64,
}

/// The ends of one stream.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Who opened it.
    pub opener: MemberId,
    /// Who took it.
    pub acceptor: MemberId,
    /// Both directions deliver in order unless the weather says otherwise: when the last message arrives.
    last: BTreeMap<MemberId, Duration>,
    /// How many messages each end was sent.
    sent: BTreeMap<MemberId, u64>,
}

/// So many messages of each direction pass a relay that swallows the rest: the handshake's and the first Hello, so that the
/// session stands and both sides believe in it.
const PASSES: u64 = 3;

/// All streams, and who can reach whom.
#[derive(Default)]
pub struct Network {
    streams: BTreeMap<StreamId, Stream>,
    next: u64,
    cut: BTreeSet<(MemberId, MemberId)>,
    /// From whom to whom a session's frames are swallowed.
    muted: BTreeSet<(MemberId, MemberId)>,
    /// How the network behaves now.
    pub weather: Weather,
    /// Messages seen by whoever carries them, to be thrown in elsewhere (threats M4, M5, M9).
    overheard: Vec<Vec<u8>>,
}

fn pair(one: &MemberId, other: &MemberId) -> (MemberId, MemberId) {
    if one < other { (one.clone(), other.clone()) } else { (other.clone(), one.clone()) }
}

impl Network {
    /// Opens a stream if the two can reach each other.
    pub fn open(&mut self, opener: &MemberId, acceptor: &MemberId) -> Option<StreamId> {
        if self.cut.contains(&pair(opener, acceptor)) {
            return None;
        }
        let id = StreamId(self.next);
        self.next += 1;
        let stream = Stream {
            opener: opener.clone(),
            acceptor: acceptor.clone(),
            last: BTreeMap::new(),
            sent: BTreeMap::new(),
        };
        self.streams.insert(id, stream);
        Some(id)
    }

    /// A stream that is still open.
    pub fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.streams.get(&id)
    }

    /// Ends a stream.
    pub fn close(&mut self, id: StreamId) -> Option<Stream> {
        self.streams.remove(&id)
    }

    /// The open streams that touch a node, or all.
    pub fn streams_of(&self, node: Option<&MemberId>) -> Vec<StreamId> {
        self.streams
            .iter()
            .filter(|(_, stream)| node.is_none_or(|node| stream.opener == *node || stream.acceptor == *node))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Whether two nodes can reach each other.
    pub fn reachable(&self, one: &MemberId, other: &MemberId) -> bool {
        !self.cut.contains(&pair(one, other))
    }

    /// Separates two nodes or lets them meet again; their open streams, which are returned, are to be closed.
    pub fn cut(&mut self, one: &MemberId, other: &MemberId, cut: bool) -> Vec<StreamId> {
        let between = pair(one, other);
        if !cut {
            self.cut.remove(&between);
            return Vec::new();
        }
        self.cut.insert(between.clone());
        let touches = |stream: &Stream| pair(&stream.opener, &stream.acceptor) == between;
        self.streams.iter().filter(|(_, stream)| touches(stream)).map(|(id, _)| *id).collect()
    }

    /// Swallows what one node says to another in every session after its beginning, or stops doing so (threats M2, M14). The
    /// other direction is left alone, so an author may go on sending and never be answered.
    pub fn mute(&mut self, from: &MemberId, to: &MemberId, muted: bool) {
        let direction = (from.clone(), to.clone());
        if muted {
            self.muted.insert(direction);
        } else {
            self.muted.remove(&direction);
        }
    }

    /// Everybody can reach everybody, and the weather is fair.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.muted.clear();
        self.weather = Weather::default();
    }

    /// Sends a message to `to`: when copies of it arrive, and their bytes.
    pub fn send(
        &mut self,
        chance: &mut Chance,
        now: Duration,
        id: StreamId,
        to: &MemberId,
        message: Vec<u8>,
    ) -> Vec<(Duration, Vec<u8>)> {
        let weather = self.weather;
        let Some(stream) = self.streams.get_mut(&id) else { return Vec::new() };
        let from = if stream.opener == *to { &stream.acceptor } else { &stream.opener };
        let sent = stream.sent.entry(to.clone()).or_default();
        *sent += 1;
        let swallowed = *sent > PASSES && self.muted.contains(&(from.clone(), to.clone()));
        if swallowed || chance.percent(weather.loss) {
            return Vec::new();
        }
        let delay = Duration::from_micros(200 + chance.below(30_000));
        let last = stream.last.entry(to.clone()).or_default();
        let at = if chance.percent(weather.reorder) { now + delay } else { (now + delay).max(*last) };
        *last = at.max(*last);
        let mut arrivals = vec![(at, message.clone())];
        if chance.percent(weather.repeat) {
            arrivals.push((at + Duration::from_micros(chance.below(50_000)), message.clone()));
        }
        if chance.percent(weather.change)
            && let Some((_, changed)) = arrivals.first_mut()
            && !changed.is_empty()
        {
            let bit = chance.below(changed.len() as u64 * 8);
            changed[usize::try_from(bit / 8).expect("an index")] ^= 1 << (bit % 8);
        }
        if chance.percent(weather.splice) && !self.overheard.is_empty() {
            arrivals.push((at, chance.pick(&self.overheard).clone()));
        }
        // A few dozen suffice to throw old bytes in.
        if self.overheard.len() < 64 {
            self.overheard.push(message);
        } else if chance.percent(2) {
            let slot = usize::try_from(chance.below(64)).expect("an index");
            self.overheard[slot] = message;
        }
        arrivals
    }
}
