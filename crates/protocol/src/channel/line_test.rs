//! Tests of the line: a signed question, a signed answer, the time between. Never in the transcript.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Channel, Event, Frame, LineTest, LineTestResult, Refusal, RequestId, SignedLineTest, peer::Peer,
};
use crate::{
    identity::member::MemberId,
    limits,
    time::{Now, Timestamp},
};

/// Most tests unanswered at once: a person asks for one, the schedule for one more per peer.
const UNANSWERED: usize = 64;

/// A test that was not answered for this long will not be: far more than the slowest usable line takes there and back, and no
/// longer than a session takes to be given up.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// Tests asked and not yet answered.
#[derive(Default)]
pub(super) struct LineTests {
    next: u64,
    asked: BTreeMap<u64, Asked>,
}

struct Asked {
    request: RequestId,
    peer: MemberId,
    at: Duration,
    wall: Timestamp,
}

impl LineTests {
    /// When the oldest will not be answered any more. Numbers are given in the order of asking.
    pub(super) fn wakes_at(&self) -> Option<Duration> {
        self.asked.first_key_value().map(|(_, asked)| asked.at + ANSWERED_WITHIN)
    }
}

impl Channel {
    /// Gives up the tests that a peer has left unanswered, though its path lives.
    pub(super) fn drop_stale_line_tests(&mut self, now: Now) {
        while self.line_tests.wakes_at().is_some_and(|at| now.monotonic >= at) {
            let Some((_, asked)) = self.line_tests.asked.pop_first() else { return };
            self.refuse(asked.request, Refusal::NoPath(asked.peer));
        }
    }

    /// A test whose path is lost will not be answered.
    pub(super) fn line_tests_lost(&mut self, peer: &MemberId) {
        let lost = self.line_tests.asked.extract_if(.., |_, asked| asked.peer == *peer);
        let requests: Vec<RequestId> = lost.map(|(_, asked)| asked.request).collect();
        for request in requests {
            self.refuse(request, Refusal::NoPath(peer.clone()));
        }
    }

    pub(super) fn test_line(&mut self, now: Now, request: RequestId, peer: &MemberId) {
        if !self.peers.get(peer).is_some_and(Peer::is_up) {
            return self.refuse(request, Refusal::NoPath(peer.clone()));
        }
        if self.line_tests.asked.len() >= UNANSWERED {
            return self.refuse(request, Refusal::Busy);
        }
        let number = self.line_tests.next;
        self.line_tests.next += 1;
        let asked = Asked { request, peer: peer.clone(), at: now.monotonic, wall: now.wall };
        self.line_tests.asked.insert(number, asked);
        let test = LineTest {
            channel: self.transcript.channel(),
            from: self.config.me.clone(),
            to: peer.clone(),
            number,
            asked_at: now.wall,
            answered_at: None,
        };
        let signed = test.sign(&self.config.key);
        self.answer(peer, Frame::LineTest(signed));
    }

    pub(super) fn line_test_received(&mut self, now: Now, peer: &MemberId, signed: SignedLineTest) {
        let node = self.roster.current(peer).map(|card| card.node);
        let Some(test) = node.and_then(|node| signed.verify(&node).ok()).cloned() else {
            return self.peer_refused(peer, "a line test that its node did not sign");
        };
        let here = test.channel == self.transcript.channel();
        if here && test.from == *peer && test.to == self.config.me && test.answered_at.is_none() {
            let answer = LineTest { answered_at: Some(now.wall), ..test }.sign(&self.config.key);
            return self.answer(peer, Frame::LineTest(answer));
        }
        let ours = here && test.from == self.config.me && test.to == *peer;
        let answered = test.answered_at.filter(|_| ours);
        let matches = |asked: &Asked| asked.peer == *peer && asked.wall == test.asked_at;
        match (answered, self.line_tests.asked.get(&test.number).is_some_and(matches)) {
            (Some(answered_at), true) => {
                if let Some(asked) = self.line_tests.asked.remove(&test.number) {
                    self.line_tested(now, asked, answered_at);
                }
            }
            _ => self.peer_refused(peer, "a line test that was not asked for"),
        }
    }

    fn line_tested(&mut self, now: Now, asked: Asked, answered_at: Timestamp) {
        let round_trip = now.monotonic.saturating_sub(asked.at);
        let result = LineTestResult { peer: asked.peer, asked_at: asked.wall, answered_at, round_trip };
        let skew = result.skew();
        if skew > limits::CLOCK_SKEW {
            self.emit(Event::ClockSkew { peer: result.peer.clone(), by: skew });
        }
        self.emit(Event::LineTested { request: asked.request, result });
    }
}
