//! Two sides that choose between sessions, and the streams between them: with delays, cuts that one side, both or
//! neither notices at once, and restarts. Streams run over one of two ways, which may be slow, or swallow all without a word. Handshakes and
//! frames are reduced to what the choice depends on.

use std::{collections::VecDeque, time::Duration};

use demarche_protocol::{
    session::{Decision, Ending, SessionId, Sessions},
    time::{Now, Timestamp},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

use crate::support::id;

/// A side: 0 has the lower party id.
pub(crate) type Side = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    One,
    Two,
    Three,
    Hello,
    /// What a sound peer answers, with so many bytes; the same again has the same number.
    Question(usize, usize),
    Answer(usize),
    /// What a peer answers whatever its disk does.
    Probe,
    ProbeAnswer,
    /// Some of the next message has come.
    Part,
    /// A last frame `Close`, or the end of the stream.
    End,
}

impl Message {
    /// About as many bytes as the real one has on the wire.
    fn size(self) -> usize {
        match self {
            Self::One => 1_300,
            Self::Two => 5_000,
            Self::Three => 4_000,
            Self::Question(_, bytes) => bytes,
            Self::Hello | Self::Answer(_) | Self::Probe | Self::ProbeAnswer => 300,
            Self::Part | Self::End => 50,
        }
    }

    fn asks(self) -> bool {
        matches!(self, Self::Question(..) | Self::Probe)
    }

    fn answers(self) -> usize {
        match self {
            Self::Answer(_) => 1,
            Self::ProbeAnswer => usize::MAX,
            _ => 0,
        }
    }
}

/// One of the two mediators, say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// What is sent over it vanishes, and nobody is told.
    pub(crate) dead: bool,
    /// It carries so many bytes a second in each direction; else as many as come.
    pub(crate) rate: Option<u64>,
    /// When it has carried what each side sent.
    pub(crate) free_at: [Duration; 2],
}

/// A question that was put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    side: Side,
    bytes: usize,
    pub(crate) asked_at: Duration,
    pub(crate) answered_at: Option<Duration>,
}

#[derive(Debug, Default)]
struct Stream {
    opener: Side,
    way: usize,
    ids: [Option<SessionId>; 2],
    /// Whether the side still has its end.
    open: [bool; 2],
    /// To each side, in order, with the moment of arrival.
    under_way: [VecDeque<(Duration, Message)>; 2],
    /// Nothing passes any more. Each side notices at its moment.
    cut: Option<[Duration; 2]>,
}

/// So many bytes are seen to have come before the rest.
const PART: u64 = 2_048;

/// What the streams do to what is sent on them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// A message takes from so many milliseconds …
    pub(crate) least: u64,
    /// … to so many.
    pub(crate) most: u64,
    /// Streams that this side opens lead nowhere.
    pub(crate) swallows: Option<Side>,
}

pub(crate) const CALM: Weather = Weather { least: 5, most: 200, swallows: None };

pub(crate) struct Line {
    pub(crate) now: Duration,
    pub(crate) weather: Weather,
    pub(crate) ways: [Way; 2],
    /// Whether both sides are connected to both.
    pub(crate) has_another_way: bool,
    /// Sides that answer no question but a probe: their disk is full.
    pub(crate) full: [bool; 2],
    pub(crate) questions: Vec<Question>,
    /// Probes that were sent.
    pub(crate) probes: usize,
    /// The way over which each side opens next.
    prefers: [usize; 2],
    sides: [Sessions; 2],
    /// The stream in use, as each side was told.
    pub(crate) used: [Option<usize>; 2],
    streams: Vec<Stream>,
    chance: ChaCha8Rng,
    /// Every `Use` and `Down` with its moment, side and stream.
    pub(crate) history: Vec<(Duration, Side, Option<usize>)>,
    /// Every `Close` with its reason.
    pub(crate) endings: Vec<(Side, usize, Ending)>,
}

fn at(moment: Duration) -> Now {
    Now { monotonic: moment, wall: Timestamp::from_millis(0) }
}

fn fresh(side: Side, now: Duration) -> Sessions {
    let names = ["tehran", "washington"].map(id);
    Sessions::new(&names[side], &names[1 - side], at(now))
}

impl Line {
    pub(crate) fn new(seed: u64) -> Self {
        let now = Duration::from_secs(1);
        Self {
            now,
            weather: CALM,
            ways: [Way::default(); 2],
            has_another_way: false,
            full: [false; 2],
            questions: Vec::new(),
            probes: 0,
            prefers: [0; 2],
            sides: [fresh(0, now), fresh(1, now)],
            used: [None; 2],
            streams: Vec::new(),
            chance: ChaCha8Rng::seed_from_u64(seed),
            history: Vec::new(),
            endings: Vec::new(),
        }
    }

    /// How many streams there have been.
    pub(crate) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The streams that are open at both ends.
    pub(crate) fn open(&self) -> Vec<usize> {
        let open = |stream: &Stream| stream.open == [true; 2] && stream.cut.is_none();
        (0..self.streams.len()).filter(|index| open(&self.streams[*index])).collect()
    }

    /// Which side opened a stream.
    pub(crate) fn opener(&self, stream: usize) -> Side {
        self.streams[stream].opener
    }

    /// Cuts a stream; the sides notice after so long.
    pub(crate) fn cut(&mut self, stream: usize, notice: [Duration; 2]) {
        if let Some(stream) = self.streams.get_mut(stream).filter(|stream| stream.cut.is_none()) {
            stream.cut = Some(notice.map(|after| self.now + after));
        }
    }

    /// The side loses its end of a stream. What is under way still arrives at the other, and so does the end, after so long.
    pub(crate) fn reset(&mut self, index: usize, side: Side, late: Duration) {
        if index < self.streams.len() && self.streams[index].open[side] {
            let arrival = self.now + late;
            let queue = &mut self.streams[index].under_way[1 - side];
            let arrival = queue.back().map_or(arrival, |(moment, _)| arrival.max(*moment));
            queue.push_back((arrival, Message::End));
            self.end(side, index);
        }
    }

    /// When the last of what has been sent has arrived and the last cut is noticed.
    pub(crate) fn quiet_at(&self) -> Duration {
        let notices = self.streams.iter().filter_map(|stream| stream.cut).flatten();
        // Whoever lost its memory has nothing to notice on what it does not have.
        let notices = notices.filter(|moment| *moment < self.now + Duration::from_secs(600));
        let arrivals = self.streams.iter().filter(|stream| stream.cut.is_none());
        let arrivals =
            arrivals.flat_map(|stream| stream.under_way.iter().flatten().map(|(moment, _)| *moment));
        notices.chain(arrivals).max().unwrap_or(self.now).max(self.now)
    }

    /// The side loses all memory; the other notices after so long.
    pub(crate) fn restart(&mut self, side: Side, notice: Duration) {
        for index in 0..self.streams.len() {
            self.cut(index, [notice; 2]);
            self.streams[index].open[side] = false;
        }
        self.sides[side] = fresh(side, self.now);
        self.used[side] = None;
        self.history.push((self.now, side, None));
    }

    /// The session in use at this side has carried enough frames.
    pub(crate) fn wear(&mut self, side: Side) {
        if let Some(id) = self.sides[side].in_use() {
            let decisions = self.sides[side].worn(id, at(self.now));
            self.carry_out(side, decisions);
        }
    }

    /// A side puts a question, in whatever session it uses, and again in each that it comes to use until it is answered.
    pub(crate) fn ask(&mut self, side: Side, bytes: usize) {
        self.questions.push(Question { side, bytes, asked_at: self.now, answered_at: None });
        if let Some(index) = self.used[side] {
            self.send(side, index, Message::Question(self.questions.len() - 1, bytes));
        }
    }

    /// The way that a side's session runs over.
    pub(crate) fn way(&self, side: Side) -> Option<usize> {
        self.used[side].map(|index| self.streams[index].way)
    }

    fn ask_again(&mut self, side: Side, index: usize) {
        let open =
            |(_, question): &(usize, &Question)| question.side == side && question.answered_at.is_none();
        let again: Vec<(usize, usize)> =
            self.questions.iter().enumerate().filter(open).map(|(number, q)| (number, q.bytes)).collect();
        for (number, bytes) in again {
            self.send(side, index, Message::Question(number, bytes));
        }
    }

    /// Lets time pass, with everything that happens meanwhile.
    pub(crate) fn run(&mut self, length: Duration) {
        let end = self.now + length;
        while let Some(moment) = self.next_moment().filter(|moment| *moment <= end) {
            self.now = self.now.max(moment);
            self.step();
        }
        self.now = end;
        self.check();
    }

    fn next_moment(&self) -> Option<Duration> {
        let ticks = self.sides.iter().filter_map(Sessions::wake_at);
        let streams = self.streams.iter().flat_map(|stream| {
            (0..2).filter(|side| stream.open[*side] || stream.ids[*side].is_none()).filter_map(|side| {
                match stream.cut {
                    Some(notice) => stream.ids[side].and(Some(notice[side])),
                    None => stream.under_way[side].front().map(|(moment, _)| *moment),
                }
            })
        });
        ticks.chain(streams).min()
    }

    fn step(&mut self) {
        for side in 0..2 {
            if self.sides[side].wake_at().is_some_and(|moment| moment <= self.now) {
                let decisions = self.sides[side].tick(at(self.now));
                self.carry_out(side, decisions);
            }
        }
        for index in 0..self.streams.len() {
            for side in 0..2 {
                if self.streams[index].cut.is_some_and(|notice| notice[side] <= self.now) {
                    self.end(side, index);
                }
                self.deliver(side, index);
            }
        }
    }

    fn deliver(&mut self, side: Side, index: usize) {
        loop {
            let stream = &mut self.streams[index];
            let due = stream.under_way[side].front().is_some_and(|(moment, _)| *moment <= self.now);
            if stream.cut.is_some() || !due {
                return;
            }
            let Some((_, message)) = stream.under_way[side].pop_front() else { return };
            if message == Message::One {
                let (id, decisions) = self.sides[side].incoming(at(self.now));
                self.streams[index].ids[side] = Some(id);
                self.streams[index].open[side] = true;
                self.carry_out(side, decisions);
                continue;
            }
            let Some(id) = stream.ids[side].filter(|_| stream.open[side]) else { continue };
            self.sides[side].heard(id, message.answers(), at(self.now));
            let decisions = match message {
                Message::Question(number, _) if !self.full[side] => {
                    self.send(side, index, Message::Answer(number));
                    Vec::new()
                }
                Message::Answer(number) => {
                    self.questions[number].answered_at.get_or_insert(self.now);
                    Vec::new()
                }
                Message::Probe => {
                    self.send(side, index, Message::ProbeAnswer);
                    Vec::new()
                }
                Message::One | Message::Part | Message::ProbeAnswer | Message::Question(..) => Vec::new(),
                Message::Two => {
                    self.send(side, index, Message::Three);
                    self.sides[side].completed(id, at(self.now))
                }
                Message::Three => self.sides[side].completed(id, at(self.now)),
                Message::Hello => self.sides[side].greeted(id, at(self.now)),
                Message::End => {
                    self.end(side, index);
                    Vec::new()
                }
            };
            self.carry_out(side, decisions);
        }
    }

    /// The side sees the end of a stream.
    fn end(&mut self, side: Side, index: usize) {
        let stream = &mut self.streams[index];
        if std::mem::take(&mut stream.open[side])
            && let Some(id) = stream.ids[side]
        {
            let decisions = self.sides[side].closed(id, at(self.now));
            self.carry_out(side, decisions);
        }
    }

    fn send(&mut self, from: Side, index: usize, message: Message) {
        let Weather { least, most, .. } = self.weather;
        let delay = Duration::from_millis(least + self.chance.next_u64() % (most - least + 1));
        let stream = &mut self.streams[index];
        if let Some(id) = stream.ids[from] {
            self.sides[from].said(id, message.size(), message.asks(), at(self.now));
        }
        let way = &mut self.ways[stream.way];
        if way.dead {
            return;
        }
        let queue = &mut stream.under_way[1 - from];
        let earliest = queue.back().map_or(Duration::ZERO, |(moment, _)| *moment);
        if let Some(rate) = way.rate {
            let mut left = message.size() as u64;
            let mut sent = way.free_at[from].max(self.now);
            while left > PART {
                sent += Duration::from_millis(PART * 1000 / rate);
                left -= PART;
                queue.push_back(((sent + delay).max(earliest), Message::Part));
            }
            sent += Duration::from_millis(left * 1000 / rate);
            way.free_at[from] = sent;
            queue.push_back(((sent + delay).max(earliest), message));
        } else {
            queue.push_back(((self.now + delay).max(earliest), message));
        }
    }

    fn stream_of(&self, side: Side, id: SessionId) -> usize {
        // Ids begin anew when a side restarts: the latest stream with this id is meant.
        self.streams.iter().rposition(|stream| stream.ids[side] == Some(id)).expect("a stream with this id")
    }

    fn carry_out(&mut self, side: Side, decisions: Vec<Decision>) {
        for decision in decisions {
            match decision {
                Decision::Open(id) => {
                    let way = self.prefers[side];
                    let mut stream = Stream { opener: side, way, ..Stream::default() };
                    stream.ids[side] = Some(id);
                    stream.open[side] = true;
                    let index = self.streams.len();
                    self.streams.push(stream);
                    self.send(side, index, Message::One);
                    if self.weather.swallows == Some(side) {
                        self.cut(index, [Duration::from_secs(3600); 2]);
                    }
                }
                Decision::Answer(id) => self.send(side, self.stream_of(side, id), Message::Two),
                Decision::Greet(id) => self.send(side, self.stream_of(side, id), Message::Hello),
                Decision::Use(id) => {
                    let index = self.stream_of(side, id);
                    assert!(self.streams[index].open[side], "told to use what it was told to close");
                    self.used[side] = Some(index);
                    self.history.push((self.now, side, Some(index)));
                    self.send(side, index, Message::Hello);
                    self.ask_again(side, index);
                }
                Decision::Ask(id) => {
                    self.probes += 1;
                    self.send(side, self.stream_of(side, id), Message::Probe);
                }
                Decision::Doubt(id) if self.has_another_way => {
                    self.prefers[side] = 1 - self.streams[self.stream_of(side, id)].way;
                    let decisions = self.sides[side].elsewhere(at(self.now));
                    self.carry_out(side, decisions);
                }
                Decision::Doubt(_) => {}
                Decision::Close(id, ending) => {
                    let index = self.stream_of(side, id);
                    self.streams[index].open[side] = false;
                    self.endings.push((side, index, ending));
                    self.send(side, index, Message::End);
                }
                Decision::Down => {
                    self.used[side] = None;
                    self.history.push((self.now, side, None));
                }
            }
        }
        self.check();
    }

    /// What holds at every moment.
    fn check(&self) {
        for side in 0..2 {
            let open = self.streams.iter().filter(|stream| stream.open[side]).count();
            assert!(open <= 5, "side {side} holds {open} streams");
            let told = self.used[side].map(|index| self.streams[index].ids[side]);
            assert_eq!(told, self.sides[side].in_use().map(Some), "side {side} was told otherwise");
            if let Some(index) = self.used[side] {
                assert!(self.streams[index].open[side], "side {side} uses a closed stream");
            }
        }
    }

    /// What must hold once no more is lost: one stream, open and in use at both ends, and no other open.
    pub(crate) fn assert_settled(&self) {
        assert!(self.used[0].is_some(), "nothing in use");
        assert_eq!(self.used[0], self.used[1], "the sides settled on different sessions");
        assert_eq!(self.open(), self.used[0].into_iter().collect::<Vec<_>>(), "more than one is open");
    }
}
