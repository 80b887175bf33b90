//! Whom a mediator serves: reservations and circuits by roster, ends at once, and one key at two places.

use super::*;
use crate::transport::Refusal;

/// M24: a stranger gets neither a reservation nor a circuit, and those who have one keep it.
#[tokio::test]
async fn m24_a_stranger_gets_no_reservation_and_no_circuit() {
    let (mut mediator, a, mut b) = trio([50, 51, 52]).await;
    let mut stranger = Node::capital(53).await;
    stranger.transport.set_directory(directory(&mediator, &[a.id()]));
    let name = stranger.id();
    stranger
        .wait("told that it is refused", |event| {
            matches!(event, TransportEvent::ReservationLost { .. }).then_some(())
        })
        .await;
    mediator
        .wait("the refusal, by name", |event| match event {
            TransportEvent::Refused { who, why } => {
                (who == Some(name) && why == Refusal::Reservation).then_some(())
            }
            _ => None,
        })
        .await;
    let outcome = stranger.transport.open(a.id(), mediator.id()).await;
    assert_eq!(outcome.err(), Some(OpenError::Refused));
    let mut near = a.open(b.id(), mediator.id()).await;
    let mut far = b.incoming(StreamKind::Live).await;
    echo(&mut near, &mut far.stream, b"as before").await;
}

/// K1b: a node whose card was revoked is thrown out at once, with its circuits.
#[tokio::test]
async fn k1b_a_removed_node_is_thrown_out_with_its_circuits() {
    let (mut mediator, mut a, mut b) = trio([54, 55, 56]).await;
    let mut near = a.open(b.id(), mediator.id()).await;
    let mut far = b.incoming(StreamKind::Live).await;
    mediator.transport.set_admission(admission(&[b.id()]));
    until_end(&mut near).await;
    until_end(&mut far.stream).await;
    let gone = a.id();
    mediator
        .wait("the removal, by name", |event| match event {
            TransportEvent::Refused { who, why } => {
                (who == Some(gone) && why == Refusal::Removed).then_some(())
            }
            _ => None,
        })
        .await;
    a.wait("refused when it comes back", |event| match event {
        TransportEvent::ReservationLost { reason, .. } => reason.contains("limit").then_some(()),
        TransportEvent::Reserved { .. } => panic!("a removed node got a reservation"),
        _ => None,
    })
    .await;
    assert!(b.transport.open(a.id(), mediator.id()).await.is_err());
}

/// Channels never learn of each other: who is admitted to one cannot reach who is admitted to another.
#[tokio::test]
async fn no_circuit_joins_nodes_without_a_common_channel() {
    let (mut mediator, a, mut b) = trio([57, 58, 59]).await;
    let mut c = Node::capital(60).await;
    let mut both = admission(&[a.id(), b.id()]);
    both.set_channel(ChannelName([8; 32]), [c.id()].into());
    mediator.transport.set_admission(both);
    c.transport.set_directory(directory(&mediator, &[b.id()]));
    c.reserved_at(mediator.id()).await;
    assert!(c.transport.open(b.id(), mediator.id()).await.is_err());
    let (source, destination) = (c.id(), b.id());
    mediator
        .wait("the refusal, by name", |event| match event {
            TransportEvent::Refused { who, why } => {
                (who == Some(source) && why == Refusal::Circuit { destination }).then_some(())
            }
            TransportEvent::CircuitOpened { source: s, .. } => {
                assert_ne!(s, source, "the gate let a circuit through");
                None
            }
            _ => None,
        })
        .await;
    // Nothing of it reached b: the first thing b hears of is a.
    let _near = a.open(b.id(), mediator.id()).await;
    let peer = a.id();
    b.wait("the admitted peer", |event| match event {
        TransportEvent::Incoming(incoming) => {
            assert_eq!(incoming.peer, peer);
            Some(())
        }
        TransportEvent::Refused { who, .. } => panic!("{who:?} reached b"),
        _ => None,
    })
    .await;
}

/// A node that loses one of two channels loses the circuits of that one and keeps its place in the other.
#[tokio::test]
async fn a_circuit_ends_with_its_channel() {
    let (mediator, a, mut b) = trio([61, 62, 63]).await;
    let mut near = a.open(b.id(), mediator.id()).await;
    let mut far = b.incoming(StreamKind::Live).await;
    let mut apart = Admission::new();
    apart.set_channel(ChannelName([8; 32]), [a.id()].into());
    apart.set_channel(ChannelName([9; 32]), [b.id()].into());
    mediator.transport.set_admission(apart);
    until_end(&mut near).await;
    until_end(&mut far.stream).await;
    let mut a = a;
    a.reserved_at(mediator.id()).await;
}

/// A renewed node is a stranger until its card is known, and then served without a hand.
#[tokio::test]
async fn a_stranger_that_becomes_known_is_served_soon() {
    let mut mediator = Node::mediator(64).await;
    let mut a = Node::capital(65).await;
    a.transport.set_directory(directory(&mediator, &[]));
    let name = a.id();
    mediator
        .wait("the stranger", |event| match event {
            TransportEvent::PeerConnected { node, admitted, .. } if node == name => {
                assert!(!admitted);
                Some(())
            }
            _ => None,
        })
        .await;
    let mediator_id = mediator.id();
    let target = crate::transport::RosterTarget::Mediator(mediator_id);
    let mut near = a.transport.open_roster(target).await.expect("opens");
    let mut far = mediator.incoming(StreamKind::Roster).await;
    assert!(!far.known);
    echo(&mut near.stream, &mut far.stream, b"my new card").await;
    mediator.transport.set_admission(admission(&[a.id()]));
    a.reserved_at(mediator_id).await;
}

/// K1b: one key in use at two places is named.
#[tokio::test]
async fn k1b_one_key_at_two_places_is_named() {
    let mut mediator = Node::mediator(66).await;
    let here = Node::capital(67).await;
    let there = Node::capital(67).await;
    mediator.transport.set_admission(admission(&[here.id()]));
    here.transport.set_directory(directory(&mediator, &[]));
    there.transport.set_directory(directory(&mediator, &[]));
    let name = here.id();
    let places = mediator
        .wait("both places", |event| match event {
            TransportEvent::SeenTwice { node, places } => {
                assert_eq!(node, name);
                Some(places)
            }
            _ => None,
        })
        .await;
    assert_ne!(places[0], places[1]);
}
