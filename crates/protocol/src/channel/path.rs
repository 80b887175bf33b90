//! One way to a peer for as long as it is up: what is on its way, and in which order the rest goes when there is room. Nothing of it is
//! kept when the way is lost; a new one starts over from what is durable.
//!
//! Order of service is decided when there is room to send, not before: short answers first, then our own statements, then entries by
//! their turn.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{
    CloseReason, Frame, Hello, Outgoing,
    debt::{Debt, Turn},
    want::Wants,
};
use crate::{hash::EntryHash, limits, time::Now, transcript::ReceiptId};

/// What is held of other logs is told again no sooner than this after it has changed: once for all that came meanwhile.
const GREET_AGAIN: Duration = Duration::from_secs(60);

/// How much may be on its way when this goes. Even FLASH has a bound, or a peer could not say that it is busy.
const fn room(turn: Turn) -> usize {
    if turn.breaks_in() { 2 * limits::UNRECEIPTED_IN_FLIGHT } else { limits::UNRECEIPTED_IN_FLIGHT }
}

/// An owed entry on its way.
#[derive(Clone, Copy)]
struct Sent {
    turn: Turn,
    at: Duration,
    bytes: usize,
    /// Bytes on their way when it was sent, its own included.
    with: usize,
}

pub(super) struct Path {
    /// Bytes that may be sent before the session must have room again.
    pub(super) credit: usize,
    /// Owed entries not yet sent here, and entries that the peer asked for.
    queue: BTreeSet<Turn>,
    /// Owed entries sent here.
    in_flight: BTreeMap<EntryHash, Sent>,
    /// Bytes of these.
    bytes_in_flight: usize,
    /// Frames that go before entries.
    answers: VecDeque<Frame>,
    /// Owed statements that are to be sent when there is room: all of them on a new path, and now and then.
    unsaid: BTreeSet<ReceiptId>,
    /// When the last of them was sent.
    said_at: Option<Duration>,
    /// When the peer is to be told anew what we hold.
    greet_at: Option<Duration>,
    /// A Close was sent: nothing follows it.
    closed: bool,
    pub(super) wants: Wants,
}

impl Path {
    pub(super) fn new(hello: Hello, debt: &Debt) -> Self {
        Self {
            credit: 0,
            queue: debt.turns().collect(),
            in_flight: BTreeMap::new(),
            bytes_in_flight: 0,
            answers: VecDeque::from([Frame::Hello(hello)]),
            unsaid: debt.statements().collect(),
            said_at: None,
            greet_at: None,
            closed: false,
            wants: Wants::default(),
        }
    }

    /// An entry has come to be owed.
    pub(super) fn owe(&mut self, turn: Turn) {
        if !self.in_flight.contains_key(&turn.hash) {
            self.queue.insert(turn);
        }
    }

    /// The peer asked for an entry, of whatever log.
    pub(super) fn wanted(&mut self, turn: Turn) {
        self.queue.insert(turn);
    }

    /// An entry is not owed any more. If it was on its way here: how long ago it was sent, and with how many bytes.
    pub(super) fn settled(&mut self, now: Now, turn: Turn) -> Option<(Duration, usize)> {
        self.queue.remove(&turn);
        let sent = self.land(&turn.hash)?;
        Some((now.monotonic.saturating_sub(sent.at), sent.with))
    }

    fn land(&mut self, entry: &EntryHash) -> Option<Sent> {
        let sent = self.in_flight.remove(entry)?;
        self.bytes_in_flight = self.bytes_in_flight.saturating_sub(sent.bytes);
        Some(sent)
    }

    /// Bytes of entries on their way.
    pub(super) const fn bytes_in_flight(&self) -> usize {
        self.bytes_in_flight
    }

    /// A statement has come to be owed.
    pub(super) fn state(&mut self, id: ReceiptId) {
        self.unsaid.insert(id);
    }

    /// A statement is not owed any more.
    pub(super) fn confirmed(&mut self, id: ReceiptId) {
        self.unsaid.remove(&id);
    }

    /// What we hold has changed in a way that the peer may not hear from anybody else.
    pub(super) fn greet_soon(&mut self, now: Now) {
        self.greet_at.get_or_insert(now.monotonic + GREET_AGAIN);
    }

    /// Whether it is time to greet the peer again.
    pub(super) fn greets(&mut self, now: Now) -> bool {
        self.greet_at.take_if(|at| now.monotonic >= *at).is_some()
    }

    /// Queues a frame that goes before entries.
    pub(super) fn answer(&mut self, frame: Frame) {
        if self.answers.len() < limits::ANSWERS_WAITING {
            self.answers.push_back(frame);
        } else {
            // It asks faster than it reads. A new path starts over from what is durable.
            self.answers.clear();
            self.answers.push_back(Frame::Close(CloseReason::Busy));
        }
    }

    /// Queues again what has brought no answer for long.
    pub(super) fn offer_again(&mut self, now: Now, debt: &Debt) {
        let late = |sent: Duration| now.monotonic >= sent + limits::OFFER_AGAIN;
        let turns: Vec<Turn> =
            self.in_flight.values().filter(|sent| late(sent.at)).map(|sent| sent.turn).collect();
        for turn in turns {
            self.land(&turn.hash);
            self.queue.insert(turn);
        }
        if self.said_at.take_if(|said| late(*said)).is_some() {
            self.unsaid = debt.statements().collect();
        }
    }

    pub(super) fn wakes_at(&self, debt: &Debt) -> Option<Duration> {
        let offer = self.in_flight.values().map(|sent| sent.at + limits::OFFER_AGAIN).min();
        let states = debt.statements().next().is_some();
        let again = self.said_at.filter(|_| states).map(|said| said + limits::OFFER_AGAIN);
        offer.into_iter().chain(again).chain(self.greet_at).chain(self.wants.wakes_at()).min()
    }

    /// The next thing to send, if there is room. `size_of` says how many bytes an entry takes.
    pub(super) fn next(
        &mut self,
        now: Now,
        debt: &Debt,
        size_of: impl Fn(&EntryHash) -> usize,
    ) -> Option<Outgoing> {
        // Credit may be overdrawn by one frame, or one larger than all credit would never go.
        if self.closed || self.credit == 0 {
            return None;
        }
        if let Some(frame) = self.answers.pop_front().or_else(|| self.statement(now, debt)) {
            self.credit = self.credit.saturating_sub(frame.encode().len());
            self.closed = matches!(frame, Frame::Close(_));
            return Some(Outgoing::Frame(frame));
        }
        let turn = *self.queue.first()?;
        if self.in_flight.len() >= room(turn) {
            return None;
        }
        self.queue.remove(&turn);
        let bytes = size_of(&turn.hash);
        if debt.owes(&turn.hash) {
            self.bytes_in_flight += bytes;
            let sent = Sent { turn, at: now.monotonic, bytes, with: self.bytes_in_flight };
            self.in_flight.insert(turn.hash, sent);
        }
        self.credit = self.credit.saturating_sub(bytes);
        Some(Outgoing::Stored(turn.hash))
    }

    fn statement(&mut self, now: Now, debt: &Debt) -> Option<Frame> {
        let receipt = debt.statement(self.unsaid.pop_first()?)?;
        self.said_at = Some(now.monotonic);
        Some(Frame::Receipt(receipt.clone()))
    }
}
