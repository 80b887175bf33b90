//! A way that dies without a word is left for another within 3 seconds of the first question that it swallows; and neither a slow way nor
//! a peer with nothing to say is taken for a dead one.

use std::time::Duration;

use proptest::prelude::*;

use crate::line::{Line, Side, Way, Weather};

const SECOND: Duration = Duration::from_secs(1);
const MOVES_WITHIN: Duration = Duration::from_secs(3);
/// A usual notice.
const NOTICE: usize = 1_900;
/// The longest text, with its entry.
const BIG: usize = 50_000;
/// 9,600 bit/s.
const SLOW: u64 = 1_200;

/// Two mediators, and messages that take up to 40 ms.
fn over_two(seed: u64) -> Line {
    let mut line = Line::new(seed);
    line.weather = Weather { least: 1, most: 40, swallows: None };
    line.has_another_way = true;
    line.run(10 * SECOND);
    line.assert_settled();
    line
}

fn assert_answered(line: &Line, since: Duration) {
    for question in &line.questions {
        let took = question.answered_at.map(|at| at.saturating_sub(question.asked_at.max(since)));
        assert!(took.is_some_and(|took| took <= MOVES_WITHIN), "{question:?}, the way died at {since:?}");
    }
}

/// M1: a mediator drops all frames, and says nothing.
#[test]
fn each_way_dies_in_turn_and_what_is_asked_is_answered_over_the_other() {
    for (seed, asks) in [(1, 0), (2, 1)] {
        let mut line = over_two(seed);
        for _ in 0..6 {
            let way = line.way(asks).expect("a session");
            line.questions.clear();
            line.ways[way].dead = true;
            let died = line.now;
            line.run(SECOND);
            line.ask(asks, NOTICE);
            line.run(5 * SECOND);
            assert_answered(&line, died);
            assert_eq!([line.way(0), line.way(1)], [Some(1 - way); 2]);
            line.ways[way].dead = false;
            line.run(20 * SECOND);
            line.assert_settled();
        }
    }
}

#[test]
fn a_big_text_on_a_slow_way_is_waited_for() {
    for sizes in [[BIG, NOTICE], [NOTICE, BIG], [BIG, BIG]] {
        let mut line = Line::new(1);
        line.ways = [Way { rate: Some(SLOW), ..Way::default() }; 2];
        line.has_another_way = true;
        line.run(30 * SECOND);
        line.assert_settled();
        let streams = line.streams();
        for _ in 0..5 {
            line.ask(0, sizes[0]);
            line.ask(1, sizes[1]);
            line.run(5 * SECOND);
            line.ask(0, NOTICE);
            line.ask(1, NOTICE);
            line.run(45 * SECOND);
        }
        line.run(60 * SECOND);
        assert!(line.questions.iter().all(|question| question.answered_at.is_some()), "{:?}", line.questions);
        assert_eq!(line.streams(), streams, "taken for dead");
    }
}

#[test]
fn a_peer_whose_disk_is_full_is_asked_and_not_left() {
    let mut line = over_two(1);
    line.full[1] = true;
    line.ask(0, NOTICE);
    line.run(60 * SECOND);
    assert_eq!((line.streams(), line.probes), (1, 1));
}

#[test]
fn who_has_nothing_to_say_is_not_asked() {
    let mut line = over_two(1);
    for _ in 0..10 {
        line.ask(0, NOTICE);
        line.run(60 * SECOND);
    }
    assert_eq!((line.streams(), line.probes), (1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn wherever_a_way_dies_all_is_answered_within_3_s(
        seed: u64,
        before in prop::collection::vec((0..2_usize, 0..300_u64), 0..8),
        after in prop::collection::vec((0..2_usize, 0..1_000_u64), 1..8),
    ) {
        let mut line = over_two(seed);
        let ask_all = |line: &mut Line, asked: &[(Side, u64)]| {
            for (side, pause) in asked {
                line.ask(*side, NOTICE);
                line.run(Duration::from_millis(*pause));
            }
        };
        ask_all(&mut line, &before);
        line.ways[0].dead = true;
        let died = line.now;
        ask_all(&mut line, &after);
        line.run(5 * SECOND);
        assert_answered(&line, died);
        line.run(30 * SECOND);
        prop_assert_eq!([line.way(0), line.way(1)], [Some(1); 2]);
        line.ways[0].dead = false;
        line.run(30 * SECOND);
        line.assert_settled();
    }
}
