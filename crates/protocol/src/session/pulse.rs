//! Whether a session still reaches the peer: what was asked in it, what was heard since, and how long an answer may take.
//!
//! A way can die without a word: a mediator that hangs, packets that vanish, a circuit that is swallowed. Nothing ends then, and only
//! the silence shows it. But silence alone says nothing, since a peer may have nothing to say, and a slow line is not a dead one. So
//! what counts is a *question*, a frame to which a sound peer answers by itself, and how long this line has been seen to take. Half of
//! the patience is given to the answer itself; then the peer is asked something that it can answer whatever its disk does.

use std::{collections::VecDeque, time::Duration};

use crate::limits::{PATIENCE_FACTOR, PATIENCE_LEAST, QUESTIONS};

/// Speed is reckoned by this many bytes.
const UNIT: usize = 1024;

/// A handshake carries more than this there and back: a first guess at the speed, on the slow side.
const HANDSHAKE_UNITS: u32 = 4;

/// So much less is waited for the next doubt than for the first.
const DOUBTED_AGAIN: Duration = Duration::from_secs(1);

/// What is to be done about a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Half of the patience is gone: ask.
    Ask,
    /// All of it is.
    Doubt,
}

/// One session's signs of life.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    /// Questions put and not answered, in order: when, and how many bytes had to go for it.
    waiting: VecDeque<(Duration, usize)>,
    /// Bytes that went since the last question and are no question.
    before: usize,
    /// When anything was heard last, or given up last.
    heard: Duration,
    /// When a question was answered last.
    answered: Duration,
    /// How long the answer to so many bytes takes, all together.
    per_unit: Duration,
    /// The peer was asked in this silence.
    asked: bool,
}

impl Pulse {
    /// Of a session whose handshake took so long.
    pub(super) fn new(handshake: Duration, now: Duration) -> Self {
        let per_unit = handshake / HANDSHAKE_UNITS;
        Self { waiting: VecDeque::new(), before: 0, heard: now, answered: now, per_unit, asked: false }
    }

    /// So many bytes were sent, which the peer answers or not.
    pub(super) fn said(&mut self, bytes: usize, asks: bool, now: Duration) {
        self.before = self.before.saturating_add(bytes);
        if asks && self.waiting.len() < QUESTIONS {
            self.waiting.push_back((now, std::mem::take(&mut self.before)));
        }
    }

    /// Something was heard that answers so many questions.
    pub(super) fn heard(&mut self, answers: usize, now: Duration) {
        if let Some((sent, _)) = self.waiting.front()
            && answers > 0
        {
            // What was sent later only waited for the earlier ones' answers until then.
            let took = now.saturating_sub((*sent).max(self.answered));
            let answered = self.waiting.drain(..answers.min(self.waiting.len()));
            let sample = took / units(answered.map(|(_, bytes)| bytes).sum());
            self.per_unit = (self.per_unit + sample) / 2;
            self.answered = now;
        }
        self.heard = now;
        self.asked = false;
    }

    /// What is due.
    pub(super) fn silence(&self, now: Duration) -> Option<Silence> {
        let (ask, doubt) = self.deadlines()?;
        if now >= doubt { Some(Silence::Doubt) } else { (now >= ask && !self.asked).then_some(Silence::Ask) }
    }

    /// The peer is being asked.
    pub(super) const fn asking(&mut self) {
        self.asked = true;
    }

    /// The way was doubted. If the silence lasts it is doubted again, a little sooner: the try over another may have come to nothing.
    pub(super) const fn doubted(&mut self, now: Duration) {
        self.heard = now.saturating_sub(DOUBTED_AGAIN);
    }

    /// When [`Pulse::silence`] has something to say.
    pub(super) fn wakes_at(&self) -> Option<Duration> {
        let (ask, doubt) = self.deadlines()?;
        Some(if self.asked { doubt } else { ask })
    }

    fn deadlines(&self) -> Option<(Duration, Duration)> {
        let (sent, bytes) = *self.waiting.front()?;
        let patience = self.per_unit.saturating_mul(PATIENCE_FACTOR.saturating_mul(units(bytes)));
        let patience = patience.max(PATIENCE_LEAST);
        let since = sent.max(self.heard);
        Some((since + patience / 2, since + patience))
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1)
}
