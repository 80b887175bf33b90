//! What a handshake gives, and to whom it gives nothing.

use demarche_protocol::{
    identity::roster,
    session::{Deframer, Expected, HandshakeError, OpenedBy, Opener, Preamble, Refusal, Responder},
};

use crate::support::{Node, card_document, charter, handshake, id, key, rng, seal, session_secret};

#[test]
fn two_nodes_meet_over_a_stream_of_bytes() {
    let (mut washington, mut tehran) = (Node::new("washington"), Node::new("tehran"));

    let (opener, bytes) = Opener::start(&washington.local(), &mut rng(1)).unwrap();
    let mut stream = Deframer::new();
    // Byte by byte: what is cut in two on the way is one message all the same.
    for byte in &bytes[..bytes.len() - 1] {
        assert!(stream.push(std::slice::from_ref(byte)).is_empty());
    }
    assert_eq!(stream.preamble().unwrap(), Some(Preamble { channel: washington.channel }));
    assert_eq!(stream.message(Responder::LIMIT).unwrap(), None);
    assert!(stream.push(&bytes[bytes.len() - 1..]).is_empty());
    let one = stream.message(Responder::LIMIT).unwrap().unwrap();
    assert!(stream.is_empty());

    let (answered, two) = tehran.answer(2, &one).unwrap();
    let (ours, three) = washington.conclude(opener, &two).unwrap();
    let theirs = tehran.accept(answered, &three).unwrap();

    assert_eq!(ours.peer.member, id("tehran"));
    assert_eq!(theirs.peer.member, id("washington"));
    assert_eq!(ours.peer.node(), key("tehran node 1").public());
    assert_eq!(ours.peer.other_charter, None);
    assert!(ours.peer.roster_changed, "the card was news");
    let (mut ours, mut theirs) = (ours.session, theirs.session);
    assert_eq!(ours.binding(), theirs.binding());
    assert_eq!((ours.opened_by(), theirs.opened_by()), (OpenedBy::Us, OpenedBy::Peer));

    for frame in [b"".as_slice(), b"one", &vec![7; 65_519]] {
        let sealed = seal(&mut ours, frame);
        assert_eq!(theirs.open(&sealed).unwrap(), frame);
        let sealed = seal(&mut theirs, frame);
        assert_eq!(ours.open(&sealed).unwrap(), frame);
    }
    assert_eq!((ours.sealed(), ours.opened()), (3, 3));
}

#[test]
fn the_same_seeds_give_the_same_bytes() {
    let run = |seeds| {
        let (mut washington, mut tehran) = (Node::new("washington"), Node::new("tehran"));
        let (mut ours, _, recording) = handshake(&mut washington, &mut tehran, seeds).unwrap();
        let sealed = ours.session.seal(b"frame").unwrap();
        (recording, sealed)
    };
    assert_eq!(run([1, 2]), run([1, 2]));
    assert_ne!(run([1, 2]).1, run([1, 3]).1);
    assert_ne!(run([1, 2]).1, run([3, 2]).1);
}

#[test]
fn m11_a_differing_charter_is_reported_to_both_and_not_refused() {
    let (mut washington, mut tehran) = (Node::new("washington"), Node::new("tehran"));
    tehran.charter = charter("memorandum as amended");
    let (ours, theirs, _) = handshake(&mut washington, &mut tehran, [1, 2]).unwrap();
    assert_eq!(ours.peer.other_charter, Some(tehran.charter.id()));
    assert_eq!(theirs.peer.other_charter, Some(washington.charter.id()));
}

#[test]
fn m12_another_party_than_the_one_called_is_refused_by_name() {
    let (mut washington, paris) = (Node::new("washington"), Node::new("paris"));
    let (opener, one) = washington.open(1);
    let (_, two) = paris.answer(2, &one).unwrap();
    let expected = Expected { party: Some(id("tehran")), node: None };
    let error = washington.conclude_expecting(opener, &two, expected).unwrap_err();
    let refusal = Refusal::AnotherParty { expected: id("tehran"), found: id("paris") };
    assert_eq!(error, HandshakeError::Refused(refusal));
}

#[test]
fn a_renewed_card_ends_the_old_nodes_admission() {
    let (mut washington, mut tehran) = (Node::new("washington"), Node::new("tehran"));
    handshake(&mut washington, &mut tehran, [1, 2]).unwrap();
    let secret = session_secret("tehran renewed");
    let mut renewed = Node::with_card("tehran", &card_document("tehran", 2, "tehran renewed"), secret);
    let (ours, ..) = handshake(&mut washington, &mut renewed, [3, 4]).unwrap();
    assert!(ours.peer.roster_changed);
    let error = handshake(&mut washington, &mut tehran, [5, 6]).unwrap_err();
    assert!(matches!(error, HandshakeError::Refused(Refusal::Card(roster::Refusal::Replaced { .. }))));
}
