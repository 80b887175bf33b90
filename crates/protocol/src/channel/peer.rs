//! One peer: what it is owed, what is on its way, and in which order things go when there is room.
//!
//! There is no outbox beside the log: what a peer has not receipted of our log is what it is owed. Order of service is decided when
//! there is room to send, not before: short answers first, then authority entries, then by precedence, first in first
//! out within one, so that a FLASH passes a backlog of any length (threat T8).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{Channel, Frame, Hello, Outgoing, Output, frame::CloseReason, want::Wants};
use crate::{
    hash::EntryHash,
    identity::{card::CardSerial, member::MemberId},
    limits,
    time::Now,
    transcript::{Node, ReceiptId, Seq, SignedReceipt},
};

/// What is held of other logs is told again no sooner than this after it has changed: once for all that came meanwhile.
const GREET_AGAIN: Duration = Duration::from_secs(60);

/// Where an entry stands in the order of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    rank: u8,
    card: CardSerial,
    seq: Seq,
    hash: EntryHash,
}

impl Turn {
    pub(super) fn of(node: &Node) -> Self {
        Self { rank: node.facts.rank(), card: node.head.card, seq: node.head.seq, hash: node.head.hash }
    }

    /// Authority and FLASH go even when enough is on its way already.
    const fn breaks_in(self) -> bool {
        self.rank <= 1
    }

    /// How much may be on its way when this goes. Even FLASH has a bound, or a peer could not say that it is busy.
    const fn room(self) -> usize {
        if self.breaks_in() { 2 * limits::UNRECEIPTED_IN_FLIGHT } else { limits::UNRECEIPTED_IN_FLIGHT }
    }
}

/// One peer of a channel.
#[derive(Default)]
pub(super) struct Peer {
    pub(super) up: bool,
    pub(super) credit: usize,
    /// Entries of ours without the peer's receipt under this card or a later one. By name: a turn changes when an entry is found
    /// to have no effect.
    owed: BTreeMap<EntryHash, (Turn, CardSerial)>,
    /// Owed entries not yet sent on this path, and entries that the peer asked for.
    queue: BTreeSet<Turn>,
    /// Owed entries sent on this path, and when.
    in_flight: BTreeMap<EntryHash, (Turn, Duration)>,
    /// Frames that go before entries.
    answers: VecDeque<Frame>,
    /// Statements *opened* of ours that the peer has not confirmed: sent again on every new path, and now and then.
    unconfirmed: BTreeMap<ReceiptId, SignedReceipt>,
    /// Those of them that are to be sent when there is room.
    unsaid: BTreeSet<ReceiptId>,
    /// When the last of them was sent.
    said_at: Option<Duration>,
    /// When the peer is to be told anew what we hold.
    greet_at: Option<Duration>,
    /// A Close was sent: nothing follows it on this path.
    closed: bool,
    pub(super) wants: Wants,
}

impl Peer {
    pub(super) fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Notes an entry of ours that the peer has to receipt under `since` or a later card.
    pub(super) fn owe(&mut self, turn: Turn, since: CardSerial) {
        let (_, known) = self.owed.entry(turn.hash).or_insert((turn, since));
        *known = since.max(*known);
        if self.up && !self.in_flight.contains_key(&turn.hash) {
            self.queue.insert(turn);
        }
    }

    /// The peer's receipt for an entry is durable here.
    pub(super) fn receipted(&mut self, entry: &EntryHash, by_card: CardSerial) {
        if let Some((turn, since)) = self.owed.get(entry).copied()
            && by_card >= since
        {
            self.owed.remove(entry);
            self.queue.remove(&turn);
            self.in_flight.remove(entry);
        }
    }

    /// The peer asked for an entry, of whatever log.
    pub(super) fn wanted(&mut self, turn: Turn) {
        self.queue.insert(turn);
    }

    /// States *opened* until the peer confirms.
    pub(super) fn unconfirmed(&mut self, id: ReceiptId, receipt: SignedReceipt) {
        self.unconfirmed.insert(id, receipt);
        if self.up {
            self.unsaid.insert(id);
        }
    }

    pub(super) fn confirmed(&mut self, id: ReceiptId) {
        self.unconfirmed.remove(&id);
        self.unsaid.remove(&id);
    }

    /// What we hold has changed in a way that the peer may not hear from anybody else.
    pub(super) fn greet_soon(&mut self, now: Now) {
        if self.up {
            self.greet_at.get_or_insert(now.monotonic + GREET_AGAIN);
        }
    }

    /// Whether it is time to greet the peer again.
    pub(super) fn greets(&mut self, now: Now) -> bool {
        let due = self.greet_at.is_some_and(|at| now.monotonic >= at);
        if due {
            self.greet_at = None;
        }
        due
    }

    pub(super) fn awaits_confirmation(&self, id: ReceiptId) -> bool {
        self.unconfirmed.contains_key(&id)
    }

    fn start(&mut self, hello: Hello) {
        self.stop();
        self.up = true;
        self.queue = self.owed.values().map(|(turn, _)| *turn).collect();
        self.answers.push_back(Frame::Hello(hello));
        self.unsaid = self.unconfirmed.keys().copied().collect();
    }

    fn stop(&mut self) {
        self.up = false;
        self.closed = false;
        self.credit = 0;
        self.answers.clear();
        self.unsaid.clear();
        self.said_at = None;
        self.greet_at = None;
        self.in_flight.clear();
        self.queue.clear();
        self.wants = Wants::default();
    }

    pub(super) fn offer_again(&mut self, now: Now) {
        let late = |sent: Duration| now.monotonic >= sent + limits::OFFER_AGAIN;
        let turns: Vec<Turn> =
            self.in_flight.values().filter(|(_, sent)| late(*sent)).map(|(turn, _)| *turn).collect();
        for turn in turns {
            self.in_flight.remove(&turn.hash);
            self.queue.insert(turn);
        }
        if self.said_at.is_some_and(late) {
            self.said_at = None;
            self.unsaid = self.unconfirmed.keys().copied().collect();
        }
    }

    pub(super) fn wakes_at(&self) -> Option<Duration> {
        let offer = self.in_flight.values().map(|(_, sent)| *sent + limits::OFFER_AGAIN).min();
        let again =
            self.said_at.filter(|_| !self.unconfirmed.is_empty()).map(|said| said + limits::OFFER_AGAIN);
        offer.into_iter().chain(again).chain(self.greet_at).chain(self.wants.wakes_at()).min()
    }

    /// The next thing to send, if there is room, and how many bytes it takes.
    fn next(&mut self, now: Now, size_of: impl Fn(&EntryHash) -> usize) -> Option<Outgoing> {
        // Credit may be overdrawn by one frame, or one larger than all credit would never go.
        if !self.up || self.closed || self.credit == 0 {
            return None;
        }
        if let Some(frame) = self.answers.pop_front().or_else(|| self.statement(now)) {
            self.credit = self.credit.saturating_sub(frame.encode().len());
            self.closed = matches!(frame, Frame::Close(_));
            return Some(Outgoing::Frame(frame));
        }
        let turn = *self.queue.first()?;
        if self.in_flight.len() >= turn.room() {
            return None;
        }
        self.queue.remove(&turn);
        if self.owed.contains_key(&turn.hash) {
            self.in_flight.insert(turn.hash, (turn, now.monotonic));
        }
        self.credit = self.credit.saturating_sub(size_of(&turn.hash));
        Some(Outgoing::Stored(turn.hash))
    }

    fn statement(&mut self, now: Now) -> Option<Frame> {
        let receipt = self.unconfirmed.get(&self.unsaid.pop_first()?)?;
        self.said_at = Some(now.monotonic);
        Some(Frame::Receipt(receipt.clone()))
    }
}

impl Channel {
    /// What this side holds: the first frame in a session, also in one that does not carry the others yet.
    pub fn hello(&self) -> Hello {
        Hello { heads: self.hello_heads(), roster: self.roster.digest() }
    }

    pub(super) fn path_up(&mut self, peer: &MemberId) {
        let hello = self.hello();
        if let Some(state) = self.peers.get_mut(peer) {
            state.start(hello);
        }
        // Question or answer may have been lost with the path that this one replaces.
        self.line_tests_lost(peer);
    }

    pub(super) fn path_down(&mut self, now: Now, peer: &MemberId) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.stop();
        }
        self.line_tests_lost(peer);
        // What it would have offered by itself is now wanted from those who hold it.
        let others: Vec<MemberId> = self.peers.keys().filter(|other| *other != peer).cloned().collect();
        for other in others {
            self.ask_next(now, &other);
        }
    }

    /// Tells those peers anew what we hold to whom it may be news.
    pub(super) fn greet_again(&mut self, now: Now) {
        let due: Vec<MemberId> = self
            .peers
            .iter_mut()
            .filter_map(|(peer, state)| state.greets(now).then(|| peer.clone()))
            .collect();
        for peer in due {
            let hello = self.hello();
            self.answer(&peer, Frame::Hello(hello));
        }
    }

    /// The newest volumes first, when there are more than a Hello may carry.
    fn hello_heads(&self) -> Vec<crate::transcript::Head> {
        let mut heads = self.transcript.heads();
        heads.sort_by(|a, b| b.card.cmp(&a.card).then_with(|| a.party.cmp(&b.party)).then(b.seq.cmp(&a.seq)));
        heads.truncate(limits::HELLO_HEADS);
        heads
    }

    /// Queues a frame that goes before entries. Without a path it is not needed: a new one begins with a Hello.
    pub(super) fn answer(&mut self, peer: &MemberId, frame: Frame) {
        let Some(state) = self.peers.get_mut(peer).filter(|state| state.up) else { return };
        if state.answers.len() < limits::ANSWERS_WAITING {
            state.answers.push_back(frame);
        } else {
            // It asks faster than it reads. A new path starts over from what is durable.
            state.answers.clear();
            state.answers.push_back(Frame::Close(CloseReason::Busy));
        }
    }

    /// Sends what there is room for.
    pub(super) fn pump(&mut self, now: Now) {
        let transcript = &self.transcript;
        // Frame kind, lengths and signature beside the entry's bytes and text.
        let size_of = |hash: &EntryHash| transcript.get(hash).map_or(0, |node| node.size + 80);
        for (id, peer) in &mut self.peers {
            while let Some(frame) = peer.next(now, size_of) {
                self.outputs.push_back(Output::Transmit { peer: id.clone(), frame });
            }
        }
    }
}
