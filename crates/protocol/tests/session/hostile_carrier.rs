//! Whoever carries the bytes can stop them, and do nothing else.

use demarche_protocol::session::{
    Deframer, HandshakeError, MessageNumber, PREAMBLE_LENGTH, SessionError, StreamError,
};

use proptest::prelude::*;

use crate::support::{Node, handshake, seal, sessions};

#[test]
fn m4_a_frame_replayed_in_its_session_is_refused() {
    let (mut ours, mut theirs) = sessions(1);
    let sealed = seal(&mut ours, b"once");
    assert_eq!(theirs.open(&sealed).unwrap(), b"once");
    assert_eq!(theirs.open(&sealed), Err(SessionError::NotAuthentic));
    // Nothing that comes after is believed, not even what is genuine, and nothing more is said.
    let genuine = seal(&mut ours, b"twice");
    assert_eq!(theirs.open(&genuine), Err(SessionError::Dead));
    assert_eq!(theirs.seal(b"answer"), Err(SessionError::Dead));
    assert!(theirs.is_dead());
    assert_eq!(theirs.opened(), 1);
}

#[test]
fn m5_nothing_of_an_earlier_session_is_taken_in_a_later_one() {
    let (mut washington, mut tehran) = (Node::new("washington"), Node::new("tehran"));
    let (mut old, _, recorded) = handshake(&mut washington, &mut tehran, [1, 2]).unwrap();
    let old_frame = seal(&mut old.session, b"old");

    // The opener's messages, replayed to a responder that has restarted.
    let [one, two, three] = &recorded.messages;
    let (answered, _) = tehran.answer(3, one).unwrap();
    let error = tehran.accept(answered, three).unwrap_err();
    assert_eq!(error, HandshakeError::NotAuthentic(MessageNumber::Three));
    // The responder's, replayed to an opener that has restarted.
    let (opener, _) = washington.open(4);
    let error = washington.conclude(opener, two).unwrap_err();
    assert_eq!(error, HandshakeError::NotAuthentic(MessageNumber::Two));
    // A frame.
    let (_, mut fresh, _) = handshake(&mut washington, &mut tehran, [5, 6]).unwrap();
    assert_eq!(fresh.session.open(&old_frame), Err(SessionError::NotAuthentic));
}

#[test]
fn m8_dropping_the_first_frames_is_detected() {
    for dropped in 1..20 {
        let (mut ours, mut theirs) = sessions(1);
        for _ in 0..dropped {
            seal(&mut ours, b"lost");
        }
        let next = seal(&mut ours, b"next");
        assert_eq!(theirs.open(&next), Err(SessionError::NotAuthentic), "{dropped} dropped");
        assert_eq!(theirs.opened(), 0);
    }
}

#[test]
fn m9_frames_of_another_session_or_direction_are_refused() {
    let (mut ours, _) = sessions(1);
    let (_, mut theirs_of_another) = sessions(3);
    let frame = seal(&mut ours, b"frame");
    assert_eq!(theirs_of_another.open(&frame), Err(SessionError::NotAuthentic));
}

#[test]
fn m13_our_own_frames_sent_back_are_refused() {
    let (mut ours, mut theirs) = sessions(1);
    let frame = seal(&mut ours, b"frame");
    assert_eq!(ours.open(&frame), Err(SessionError::NotAuthentic));
    let frame = seal(&mut theirs, b"frame");
    assert_eq!(theirs.open(&frame), Err(SessionError::NotAuthentic));
}

#[test]
fn m10_each_flipped_bit_of_message_1_ends_in_a_refusal() {
    let (mut washington, tehran) = (Node::new("washington"), Node::new("tehran"));
    let before = washington.roster.digest();
    let (_, one) = washington.open(1);
    for_each_flip(&one, |flipped| {
        // Message 1 has no authenticator: the responder refuses or answers, and the answer is refused.
        if let Ok((_, two)) = tehran.answer(2, flipped) {
            let (opener, _) = washington.open(1);
            let error = washington.conclude(opener, &two).unwrap_err();
            assert_eq!(error, HandshakeError::NotAuthentic(MessageNumber::Two));
        }
    });
    assert_eq!(washington.roster.digest(), before);
}

#[test]
fn m10_each_flipped_bit_of_message_2_is_refused() {
    let (mut washington, tehran) = (Node::new("washington"), Node::new("tehran"));
    let before = washington.roster.digest();
    let (_, one) = washington.open(1);
    let (_, two) = tehran.answer(2, &one).unwrap();
    for_each_flip(&two, |flipped| {
        let (opener, _) = washington.open(1);
        assert!(washington.conclude(opener, flipped).is_err());
    });
    assert_eq!(washington.roster.digest(), before);
}

#[test]
fn m10_each_flipped_bit_of_message_3_is_refused() {
    let (mut washington, mut tehran) = (Node::new("washington"), Node::new("tehran"));
    let before = tehran.roster.digest();
    let (opener, one) = washington.open(1);
    let (_, two) = tehran.answer(2, &one).unwrap();
    let (_, three) = washington.conclude(opener, &two).unwrap();
    for_each_flip(&three, |flipped| {
        let (answered, _) = tehran.answer(2, &one).unwrap();
        assert!(tehran.accept(answered, flipped).is_err());
    });
    assert_eq!(tehran.roster.digest(), before);
}

#[test]
fn m10_each_flipped_bit_of_a_frame_ends_the_session() {
    let (mut ours, _) = sessions(1);
    let sealed = seal(&mut ours, b"a frame");
    for_each_flip(&sealed, |flipped| {
        let (_, mut theirs) = sessions(1);
        assert_eq!(theirs.open(flipped), Err(SessionError::NotAuthentic));
        assert!(theirs.is_dead());
    });
}

#[test]
fn m7_each_truncation_of_a_message_is_refused_without_effect() {
    let (mut washington, mut tehran) = (Node::new("washington"), Node::new("tehran"));
    let (_, _, recorded) = handshake(&mut washington, &mut tehran, [1, 2]).unwrap();
    let (mut washington, mut tehran) = (Node::new("washington"), Node::new("tehran"));
    let before = (washington.roster.digest(), tehran.roster.digest());
    let [one, two, three] = &recorded.messages;
    for length in 0..one.len() {
        let error = HandshakeError::Length { message: MessageNumber::One, length };
        assert_eq!(tehran.answer(2, &one[..length]).err(), Some(error));
    }
    for length in 0..two.len() {
        let (opener, _) = washington.open(1);
        assert!(washington.conclude(opener, &two[..length]).is_err());
    }
    for length in 0..three.len() {
        let (answered, _) = tehran.answer(2, one).unwrap();
        assert!(tehran.accept(answered, &three[..length]).is_err());
    }
    assert_eq!((washington.roster.digest(), tehran.roster.digest()), before);

    let (mut ours, _) = sessions(1);
    let sealed = seal(&mut ours, b"a frame");
    for length in 0..sealed.len() {
        let (_, mut theirs) = sessions(1);
        assert!(theirs.open(&sealed[..length]).is_err());
        assert!(theirs.is_dead());
    }
}

#[test]
fn m7_a_stream_cut_anywhere_gives_whole_messages_only() {
    let (mut ours, mut theirs) = sessions(1);
    let frames: [&[u8]; 3] = [b"one", b"", b"three"];
    let mut stream = Vec::new();
    let mut borders = vec![0];
    for frame in frames {
        stream.extend(ours.seal(frame).unwrap());
        borders.push(stream.len());
    }
    for cut in 0..=stream.len() {
        let mut deframer = Deframer::new();
        assert!(deframer.push(&stream[..cut]).is_empty());
        let mut whole = 0;
        while let Some(message) = deframer.message(usize::MAX).unwrap() {
            assert_eq!(message.len(), frames[whole].len() + 16);
            whole += 1;
        }
        assert_eq!(whole, borders.iter().filter(|border| **border <= cut).count() - 1);
        assert_eq!(deframer.is_empty(), borders.contains(&cut));
    }
    // And what is whole opens.
    let mut deframer = Deframer::new();
    assert!(deframer.push(&stream).is_empty());
    for frame in frames {
        let message = deframer.message(usize::MAX).unwrap().unwrap();
        assert_eq!(theirs.open(&message).unwrap(), frame);
    }
}

#[test]
fn b1_what_is_too_long_is_refused_on_its_announcement() {
    let mut deframer = Deframer::new();
    assert!(deframer.push(&[0xff, 0xff]).is_empty());
    let error = StreamError::TooLong { length: 65_535, limit: 1216 };
    assert_eq!(deframer.message(1216), Err(error));

    let mut deframer = Deframer::new();
    assert!(deframer.push(&[0, 0, 1]).is_empty());
    assert_eq!(deframer.message(1216), Err(StreamError::Empty));
}

#[test]
fn b1_a_deframer_holds_one_message_at_most() {
    let mut deframer = Deframer::new();
    let flood = vec![0xff; 1 << 20];
    let rest = deframer.push(&flood);
    assert_eq!(flood.len() - rest.len(), 65_537);
    assert_eq!(deframer.push(rest).len(), rest.len());
    assert_eq!(deframer.message(65_535).unwrap().unwrap().len(), 65_535);
    assert_eq!(rest.len() - deframer.push(rest).len(), 65_537);
}

#[test]
fn m11_another_version_is_refused_by_its_number() {
    for version in (0..=255).filter(|version| *version != 1) {
        let mut deframer = Deframer::new();
        assert!(deframer.push(&[version; PREAMBLE_LENGTH]).is_empty());
        assert_eq!(deframer.preamble(), Err(StreamError::Version(version)));
    }
}

/// Each bit at both ends, where keys and the last authenticator stand, and a bit of each byte between: what lies between
/// is under one authenticator or one hash.
fn for_each_flip(message: &[u8], mut with: impl FnMut(&[u8])) {
    let mut flipped = message.to_vec();
    for at in 0..message.len() {
        let at_an_end = at < 64 || at >= message.len().saturating_sub(32);
        for bit in (0..8).filter(|bit| at_an_end || *bit == at % 8) {
            flipped[at] ^= 1 << bit;
            with(&flipped);
            flipped[at] ^= 1 << bit;
        }
    }
}

proptest! {
    /// M25: whatever the bytes, an error; never a panic, never an effect.
    #[test]
    fn m25_no_bytes_make_a_handshake_or_session(
        short in prop::collection::vec(any::<u8>(), 0..1300),
        tail in prop::collection::vec(any::<u8>(), 0..6000),
    ) {
        let (mut washington, mut tehran) = (Node::new("washington"), Node::new("tehran"));
        let before = washington.roster.digest();
        let (opener, one) = washington.open(1);
        let (answered, two) = tehran.answer(2, &one).unwrap();
        prop_assert!(washington.answer(3, &short).is_err());
        // Genuine as far as the static key, then anything.
        let forged = [&two[..1184], &tail].concat();
        prop_assert!(washington.conclude(opener, &forged).is_err());
        let (opener, _) = washington.open(1);
        prop_assert!(washington.conclude(opener, &tail).is_err());
        prop_assert!(tehran.accept(answered, &tail).is_err());
        let (mut ours, _) = sessions(1);
        prop_assert!(ours.open(&tail).is_err());
        prop_assert_eq!(washington.roster.digest(), before);
        prop_assert_eq!(tehran.roster.digest(), before);
    }

    /// However the carrier cuts a stream into pieces, the messages are the same.
    #[test]
    fn m7_pieces_of_any_size_make_the_same_messages(
        lengths in prop::collection::vec(1..3000_usize, 0..20),
        pieces in prop::collection::vec(1..5000_usize, 1..20),
    ) {
        let messages: Vec<Vec<u8>> = lengths.iter().map(|length| vec![0x5a; *length]).collect();
        let prefixed = |message: &Vec<u8>| {
            let length = u16::try_from(message.len()).unwrap().to_be_bytes();
            [length.as_slice(), message].concat()
        };
        let stream: Vec<u8> = messages.iter().flat_map(prefixed).collect();
        let mut deframer = Deframer::new();
        let mut found = Vec::new();
        let (mut rest, mut sizes) = (stream.as_slice(), pieces.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            prop_assert!(deframer.push(piece).is_empty());
            rest = after;
            while let Some(message) = deframer.message(3000).unwrap() {
                found.push(message);
            }
        }
        prop_assert_eq!(found, messages);
        prop_assert!(deframer.is_empty());
    }
}
