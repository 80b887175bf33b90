//! What a session carries, how long it lives, and what a snapshot of a node is worth.

use demarche_protocol::{limits, session::SessionError};

use crate::support::{Node, handshake, seal, sessions};

#[test]
fn a_frame_that_is_too_long_is_the_callers_mistake_and_changes_nothing() {
    let (mut ours, mut theirs) = sessions(1);
    let long = vec![0; limits::FRAME + 1];
    assert_eq!(ours.seal(&long), Err(SessionError::TooLong(limits::FRAME + 1)));
    assert!(!ours.is_dead());
    let sealed = seal(&mut ours, &long[1..]);
    assert_eq!(sealed.len(), limits::NOISE_MESSAGE);
    assert_eq!(theirs.open(&sealed).unwrap().len(), limits::FRAME);
}

#[test]
fn a_message_of_a_length_that_none_can_have_ends_the_session() {
    for length in [0, 15, limits::NOISE_MESSAGE + 1] {
        let (mut ours, _) = sessions(1);
        assert_eq!(ours.open(&vec![0; length]), Err(SessionError::Length(length)));
        assert!(ours.is_dead());
    }
}

#[test]
fn a_session_is_worn_after_so_many_frames_in_either_direction() {
    let (mut ours, mut theirs) = sessions(1);
    for _ in 1..limits::REHANDSHAKE_FRAMES {
        let sealed = theirs.seal(&[]).unwrap();
        ours.open(&sealed[2..]).unwrap();
    }
    assert!(!ours.is_worn() && !theirs.is_worn());
    let sealed = theirs.seal(&[]).unwrap();
    ours.open(&sealed[2..]).unwrap();
    assert!(ours.is_worn() && theirs.is_worn());
}

/// K6: what is in a node's memory and on its disk does not open what was said before.
#[test]
fn k6_a_snapshot_does_not_open_earlier_sessions() {
    let (mut washington, mut tehran) = (Node::new("washington"), Node::new("tehran"));
    let (mut ours, _, recorded) = handshake(&mut washington, &mut tehran, [1, 2]).unwrap();
    let frame = seal(&mut ours.session, b"said before");
    drop(ours);

    // Both static keys and everything that passed the wire; the ephemeral keys are gone with their session.
    let [one, two, three] = &recorded.messages;
    for seed in 10..20 {
        let (answered, _) = tehran.answer(seed, one).unwrap();
        assert!(tehran.accept(answered, three).is_err());
        let (opener, _) = washington.open(seed);
        assert!(washington.conclude(opener, two).is_err());
        let (mut a, mut b, _) = handshake(&mut washington, &mut tehran, [seed, seed + 100]).unwrap();
        assert!(a.session.open(&frame).is_err() && b.session.open(&frame).is_err());
    }
}

/// K6: a session's own successor heals it.
#[test]
fn k6_a_snapshot_of_a_live_session_is_worth_nothing_after_the_rehandshake() {
    let (mut washington, mut tehran) = (Node::new("washington"), Node::new("tehran"));
    let (mut ours, ..) = handshake(&mut washington, &mut tehran, [1, 2]).unwrap();
    // The same seeds make the same session: a copy of tehran's memory.
    let mut copied = handshake(&mut washington, &mut tehran, [1, 2]).unwrap().1;
    let frame = seal(&mut ours.session, b"while the snapshot is fresh");
    assert!(copied.session.open(&frame).is_ok(), "the copy would be no test");

    let (mut renewed, ..) = handshake(&mut washington, &mut tehran, [3, 4]).unwrap();
    let frame = seal(&mut renewed.session, b"after the rehandshake");
    assert_eq!(copied.session.open(&frame), Err(SessionError::NotAuthentic));
}

#[test]
fn an_ended_session_says_and_hears_nothing_and_shows_no_key() {
    let (mut ours, mut theirs) = sessions(1);
    let sealed = seal(&mut theirs, b"late");
    ours.end();
    assert_eq!(ours.open(&sealed), Err(SessionError::Dead));
    assert_eq!(ours.seal(b"late"), Err(SessionError::Dead));
    assert_eq!(format!("{ours:?}"), "Session { opened_by: Us, sealed: 0, opened: 0, dead: true, .. }");
}
