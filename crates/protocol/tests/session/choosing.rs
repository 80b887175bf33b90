//! Which session lives (M6): both sides settle on the same one, whatever happens on the way there.

use std::time::Duration;

use demarche_protocol::{
    limits::{HANDSHAKE_TIME, REHANDSHAKE_EVERY, REOPEN_AT_MOST, REOPEN_PATIENCE, SESSION_LIFE},
    session::{Decision, Ending, Sessions},
    time::{Now, Timestamp},
};
use proptest::prelude::*;

use crate::{
    line::{CALM, Line, Weather},
    support::id,
};

const MINUTE: Duration = Duration::from_secs(60);

fn settled(seed: u64) -> Line {
    let mut line = Line::new(seed);
    line.run(MINUTE);
    line.assert_settled();
    line
}

#[test]
fn the_lower_side_opens_and_the_higher_leaves_it_the_time() {
    let line = settled(1);
    assert_eq!((line.streams(), line.opener(0)), (1, 0));
}

#[test]
fn of_two_that_cross_the_one_of_the_lower_side_stays() {
    for seed in 0..50 {
        let mut line = Line::new(seed);
        // The lower side's first message takes longer than the higher side waits.
        line.weather = Weather { least: 1500, most: 1800, swallows: None };
        line.run(Duration::from_secs(3));
        assert_eq!(line.streams(), 2, "they did not cross");
        line.run(MINUTE);
        line.assert_settled();
        assert_eq!(line.used[0], Some(0));
        let gives_way = |(_, stream, ending): &(_, usize, Ending)| (*stream, *ending) == (1, Ending::Crossed);
        assert!(line.endings.iter().all(gives_way), "{:?}", line.endings);
    }
}

#[test]
fn a_path_that_works_one_way_round_only_stops_neither() {
    for swallows in [0, 1] {
        let mut line = Line::new(1);
        line.weather.swallows = Some(swallows);
        line.run(MINUTE);
        line.assert_settled();
        assert_eq!(line.used[0].map(|stream| line.opener(stream)), Some(1 - swallows));
    }
}

#[test]
fn m6_a_restarted_peer_is_taken_at_once_though_its_old_session_looks_alive() {
    for side in [0, 1] {
        let mut line = settled(1);
        let (old, before) = (line.used[1 - side], line.now);
        line.restart(side, Duration::from_secs(3600));
        line.run(MINUTE);
        line.assert_settled();
        let switched = line.history.iter().find(|(moment, who, _)| *moment > before && *who == 1 - side);
        let (moment, _, to) = switched.expect("a switch");
        assert!(*to != old && to.is_some(), "it went down in between");
        let took = moment.saturating_sub(before);
        assert!(took < Duration::from_secs(2), "it took {took:?}");
        assert!(line.endings.contains(&(1 - side, old.expect("one"), Ending::Rekeyed)));
    }
}

#[test]
fn sessions_are_renewed_by_their_opener_without_a_gap_and_none_grows_old() {
    let mut line = settled(1);
    let begin = line.now;
    line.run(6 * REHANDSHAKE_EVERY);
    line.assert_settled();
    let since: Vec<_> = line.history.iter().filter(|(moment, ..)| *moment > begin).collect();
    assert!(since.iter().all(|(.., stream)| stream.is_some()), "a gap");
    assert!((0..line.streams()).all(|stream| line.opener(stream) == 0));
    assert!((6..=7).contains(&line.streams()), "{} sessions in six hours", line.streams());
    assert!(line.endings.iter().all(|(.., ending)| *ending == Ending::Rekeyed));
}

#[test]
fn a_worn_session_is_renewed_at_once_by_its_opener_alone() {
    let mut line = settled(1);
    line.wear(1);
    line.run(MINUTE);
    assert_eq!(line.streams(), 1);
    line.wear(0);
    line.run(MINUTE);
    line.assert_settled();
    assert_eq!(line.used[0], Some(1));
}

#[test]
fn without_a_successor_a_session_ends_after_its_life() {
    let mut line = settled(1);
    line.weather.swallows = Some(0);
    line.run(SESSION_LIFE.saturating_sub(MINUTE + Duration::from_secs(5)));
    assert_eq!(line.used, [Some(0); 2], "it carries on while its renewal fails");
    line.run(2 * MINUTE);
    assert!(line.endings.iter().any(|(_, stream, ending)| (*stream, *ending) == (0, Ending::Expired)));
    // The other side opens one that works.
    line.assert_settled();
    assert_eq!(line.used[0].map(|stream| line.opener(stream)), Some(1));
}

#[test]
fn a_renewal_that_never_greets_leaves_the_old_session_in_use() {
    let mut us = Sessions::new(&id("tehran"), &id("washington"), now(0));
    let Some(Decision::Open(old)) = us.tick(now(0)).pop() else { panic!("it opens at once") };
    assert_eq!(us.completed(old, now(1)), [Decision::Use(old)]);
    assert_eq!(us.greeted(old, now(2)), []);
    let due = 1 + REHANDSHAKE_EVERY.as_secs();
    let Some(Decision::Open(renewal)) = us.tick(now(due)).pop() else { panic!("a renewal is due") };
    assert_eq!(us.completed(renewal, now(due)), [Decision::Greet(renewal)]);
    assert_eq!(us.in_use(), Some(old));
    let late = due + HANDSHAKE_TIME.as_secs();
    assert_eq!(us.tick(now(late)), [Decision::Close(renewal, Ending::TimedOut)]);
    assert_eq!(us.in_use(), Some(old));
    // And it is tried again.
    let Some(Decision::Open(again)) = us.tick(now(late + 1)).pop() else { panic!("again") };
    // The old one ends while the new one is complete: what is complete is used.
    us.completed(again, now(late + 2));
    assert_eq!(us.closed(old, now(late + 2)), [Decision::Use(again)]);
    assert_eq!(us.closed(again, now(late + 3)), [Decision::Down]);
}

#[test]
fn the_last_word_of_a_dead_session_does_not_displace_its_successor() {
    let mut us = Sessions::new(&id("washington"), &id("tehran"), now(0));
    let (dead, _) = us.incoming(now(0));
    // Its opener lost it and began another; our side has not noticed.
    let (successor, decisions) = us.incoming(now(1));
    assert_eq!(decisions, [Decision::Close(dead, Ending::GivenUp), Decision::Answer(successor)]);
    assert_eq!(us.completed(successor, now(2)), [Decision::Use(successor)]);
    assert_eq!(us.completed(dead, now(3)), []);
    assert_eq!(us.greeted(dead, now(3)), []);
    assert_eq!(us.in_use(), Some(successor));
}

#[test]
fn a_peer_that_completes_and_never_greets_cannot_pile_up_sessions() {
    let mut us = Sessions::new(&id("washington"), &id("tehran"), now(0));
    let mut held = 0_i32;
    for _ in 0..100 {
        let (id, decisions) = us.incoming(now(0));
        let decisions = [decisions, us.completed(id, now(0))].concat();
        held += 1;
        held -= i32::try_from(decisions.iter().filter(|d| matches!(d, Decision::Close(..))).count()).unwrap();
        assert!(held <= 2, "{held} sessions");
    }
}

#[test]
fn a_session_that_is_not_greeted_yields_to_the_one_that_is() {
    let mut us = Sessions::new(&id("tehran"), &id("washington"), now(0));
    let Some(Decision::Open(ours)) = us.tick(now(0)).pop() else { panic!("it opens at once") };
    us.completed(ours, now(1));
    let (theirs, decisions) = us.incoming(now(2));
    assert_eq!(decisions, [Decision::Answer(theirs)]);
    assert_eq!(us.in_use(), Some(ours), "it is not known yet who calls");
    let decisions = us.completed(theirs, now(3));
    assert_eq!(decisions, [Decision::Greet(theirs)]);
    let decisions = us.greeted(theirs, now(4));
    assert_eq!(decisions, [Decision::Use(theirs), Decision::Close(ours, Ending::Rekeyed)]);
    assert_eq!(us.greeted(ours, now(5)), []);
    assert_eq!(us.in_use(), Some(theirs));
}

#[test]
fn a_peer_that_accepts_and_closes_again_and_again_is_not_hammered() {
    let mut us = Sessions::new(&id("tehran"), &id("washington"), now(0));
    let mut opened = 0;
    for second in 0..300 {
        for decision in us.tick(now(second)) {
            if let Decision::Open(id) = decision {
                opened += 1;
                us.completed(id, now(second));
                us.greeted(id, now(second));
                us.closed(id, now(second));
                // Nor because there is another mediator each time.
                for decision in us.another_way(now(second)) {
                    if let Decision::Open(id) = decision {
                        opened += 1;
                        us.closed(id, now(second));
                    }
                }
            }
        }
    }
    assert!((5..=16).contains(&opened), "opened {opened} times in five minutes");
    assert!(matches!(us.retry(now(300)).as_slice(), [Decision::Open(_)]), "a reason to hope counts");
}

#[test]
fn the_first_loss_is_not_waited_after_where_there_is_another_way() {
    let mut us = Sessions::new(&id("tehran"), &id("washington"), now(0));
    let Some(Decision::Open(ours)) = us.tick(now(0)).pop() else { panic!("it opens at once") };
    us.completed(ours, now(0));
    us.greeted(ours, now(0));
    assert_eq!(us.closed(ours, now(5)), [Decision::Down]);
    assert_eq!(us.tick(now(5)), [], "it held for a moment only");
    assert!(matches!(us.another_way(now(5)).as_slice(), [Decision::Open(_)]));
}

#[test]
fn a_renewed_node_that_comes_unannounced_is_adopted() {
    let mut us = Sessions::new(&id("tehran"), &id("washington"), now(0));
    let Some(Decision::Open(ours)) = us.tick(now(0)).pop() else { panic!("it opens at once") };
    let (theirs, decisions) = us.adopted(now(1));
    assert_eq!(decisions, [Decision::Close(ours, Ending::Crossed), Decision::Use(theirs)]);
    assert_eq!(us.in_use(), Some(theirs));
}

fn now(second: u64) -> Now {
    Now { monotonic: Duration::from_secs(second), wall: Timestamp::from_millis(0) }
}

/// Something that goes wrong.
#[derive(Clone, Debug)]
enum Mishap {
    /// One of the latest streams is cut; the sides notice after so many milliseconds.
    Cut { back: usize, notice: [u64; 2] },
    /// A side loses its end of one of the latest streams; the other notices after so many milliseconds.
    Reset { back: usize, side: usize, late: u64 },
    /// A side restarts; the other notices after so many milliseconds.
    Restart { side: usize, notice: u64 },
    /// Messages take up to so many milliseconds from here on.
    Slow { most: u64 },
    /// Streams that this side opens lead nowhere from here on.
    Swallow { side: usize },
    /// All is well from here on.
    Calm,
    /// The session in use at this side is worn.
    Wear { side: usize },
}

fn mishap() -> impl Strategy<Value = Mishap> {
    let notice = || prop_oneof![0..100_u64, 0..5_000_u64, 0..40_000_u64];
    prop_oneof![
        4 => (0..4_usize, notice(), notice())
            .prop_map(|(back, one, other)| Mishap::Cut { back, notice: [one, other] }),
        3 => (0..3_usize, 0..2_usize, notice())
            .prop_map(|(back, side, late)| Mishap::Reset { back, side, late }),
        2 => (0..2_usize, notice()).prop_map(|(side, notice)| Mishap::Restart { side, notice }),
        2 => (1..15_000_u64).prop_map(|most| Mishap::Slow { most }),
        1 => (0..2_usize).prop_map(|side| Mishap::Swallow { side }),
        2 => Just(Mishap::Calm),
        3 => (0..2_usize).prop_map(|side| Mishap::Wear { side }),
    ]
}

fn suffer(line: &mut Line, mishap: &Mishap) {
    match *mishap {
        Mishap::Cut { back, notice } => {
            let stream = line.streams().saturating_sub(1 + back);
            line.cut(stream, notice.map(Duration::from_millis));
        }
        Mishap::Reset { back, side, late } => {
            line.reset(line.streams().saturating_sub(1 + back), side, Duration::from_millis(late));
        }
        Mishap::Restart { side, notice } => line.restart(side, Duration::from_millis(notice)),
        Mishap::Slow { most } => line.weather = Weather { least: 0, most, swallows: None },
        Mishap::Swallow { side } => line.weather.swallows = Some(side),
        Mishap::Calm => line.weather = CALM,
        Mishap::Wear { side } => line.wear(side),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn m6_both_sides_settle_on_one_session_once_nothing_more_is_lost(
        seed: u64,
        mishaps in prop::collection::vec((mishap(), 0..20_000_u64), 0..25),
    ) {
        let mut line = Line::new(seed);
        for (mishap, pause) in &mishaps {
            suffer(&mut line, mishap);
            line.run(Duration::from_millis(*pause));
        }
        line.weather = CALM;
        line.run(line.quiet_at().saturating_sub(line.now));
        let changes = line.history.len();
        // A handshake that nobody answers has its time, then comes the longest pause, then a handshake that succeeds.
        line.run(HANDSHAKE_TIME + REOPEN_AT_MOST + REOPEN_PATIENCE + Duration::from_secs(3));
        line.assert_settled();
        prop_assert!(line.history.len() - changes <= 6, "{:?}", &line.history[changes..]);
        // And there it stays.
        let (used, changes) = (line.used, line.history.len());
        line.run(5 * MINUTE);
        line.assert_settled();
        prop_assert_eq!(line.used, used);
        prop_assert_eq!(line.history.len(), changes);
    }

    #[test]
    fn m6_while_nothing_is_lost_no_side_is_ever_without_a_session(
        seed: u64,
        turns in prop::collection::vec(
            (prop_oneof![
                (1..2_400_u64).prop_map(|most| Mishap::Slow { most }),
                (0..2_usize).prop_map(|side| Mishap::Wear { side }),
            ], prop_oneof![0..3_000_u64, 0..5_000_000_u64]),
            0..25,
        ),
    ) {
        let mut line = settled(seed);
        let begin = line.history.len();
        for (turn, pause) in &turns {
            suffer(&mut line, turn);
            line.run(Duration::from_millis(*pause));
        }
        line.weather = CALM;
        line.run(MINUTE);
        if line.open().len() > 1 || line.used[0] != line.used[1] {
            // An hourly renewal is under way at this very moment.
            line.run(MINUTE);
        }
        line.assert_settled();
        prop_assert!(line.history[begin..].iter().all(|(.., stream)| stream.is_some()), "{:?}", line.history);
        prop_assert!(line.endings.iter().all(|(.., ending)| *ending == Ending::Rekeyed), "{:?}", line.endings);
    }
}
