//! Streams over circuits: they carry, they carry much, and they say over whom they came.

use super::*;

#[tokio::test]
async fn an_echo_goes_through_a_circuit_both_ways() {
    let (mediator, mut a, mut b) = trio([10, 11, 12]).await;
    let mut near = a.transport.open(b.id(), mediator.id()).await.expect("opens");
    let mut far = b.incoming(StreamKind::Live).await;
    assert_eq!(far.peer, a.id());
    assert_eq!(far.via, Some(mediator.id()));
    assert!(far.known);
    echo(&mut near, &mut far.stream, b"a breach was reported").await;

    // The other direction uses the circuit that stands.
    let mut near = b.transport.open(a.id(), mediator.id()).await.expect("opens");
    let mut far = a.incoming(StreamKind::Live).await;
    assert_eq!((far.peer, far.via), (b.id(), Some(mediator.id())));
    echo(&mut near, &mut far.stream, b"and acknowledged").await;
}

/// libp2p's relay cuts circuits after 128 KiB and two minutes unless told otherwise.
#[tokio::test]
async fn a_circuit_carries_more_than_a_public_relay_would() {
    let (mediator, a, mut b) = trio([13, 14, 15]).await;
    let mut near = a.transport.open(b.id(), mediator.id()).await.expect("opens");
    let mut far = b.incoming(StreamKind::Live).await;
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    echo(&mut near, &mut far.stream, &bytes).await;
}

#[tokio::test]
async fn round_trips_are_measured_to_the_mediator_and_through_it() {
    let (mediator, mut a, b) = trio([16, 17, 18]).await;
    a.open(b.id(), mediator.id()).await;
    let (peer, via) = (b.id(), mediator.id());
    a.wait("a ping through the circuit", |event| match event {
        TransportEvent::Rtt { peer: p, via: v, .. } => (p == peer && v == Some(via)).then_some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn an_absent_peer_is_told_apart_from_a_mediator_that_is_down() {
    let (mediator, a, b) = trio([19, 20, 21]).await;
    b.transport.shutdown().await;
    let (peer, via) = (b.id(), mediator.id());
    let outcome = timeout(PATIENCE, async {
        loop {
            // The mediator may need a moment to see that the peer has gone.
            match a.transport.open(peer, via).await {
                Err(OpenError::PeerAbsent) => break,
                _ => tokio::task::yield_now().await,
            }
        }
    });
    outcome.await.expect("the mediator's answer is understood");
    assert_eq!(
        a.transport.open(peer, NodeId::from_bytes([9; 32])).await.err(),
        Some(OpenError::NotInDirectory)
    );
    let mut a = a;
    mediator.transport.shutdown().await;
    a.wait("the mediator is down", |event| {
        matches!(event, TransportEvent::MediatorDown { .. }).then_some(())
    })
    .await;
    assert_eq!(a.transport.open(peer, via).await.err(), Some(OpenError::MediatorDown));
}

/// Two mediators: each stream goes over the one that was named, and one may fail without the other.
#[tokio::test]
async fn streams_go_over_the_mediator_that_was_named() {
    let (first, mut a, mut b) = trio([90, 91, 92]).await;
    let second = Node::mediator(93).await;
    second.transport.set_admission(admission(&[a.id(), b.id()]));
    for (node, peer) in [(&a, b.id()), (&b, a.id())] {
        let mut both = directory(&first, &[peer]);
        both.mediators.extend(directory(&second, &[]).mediators);
        node.transport.set_directory(both);
    }
    a.reserved_at(second.id()).await;
    b.reserved_at(second.id()).await;
    for _ in 0..4 {
        for via in [first.id(), second.id()] {
            let mut near = a.transport.open(b.id(), via).await.expect("opens");
            let mut far = b.incoming(StreamKind::Live).await;
            assert_eq!(far.via, Some(via));
            echo(&mut near, &mut far.stream, b"this way").await;
        }
    }
    let mut near = a.transport.open(b.id(), second.id()).await.expect("opens");
    let mut far = b.incoming(StreamKind::Live).await;
    first.transport.shutdown().await;
    let gone = first.id();
    a.wait("the first is lost", |event| {
        matches!(event, TransportEvent::MediatorDown { node, .. } if node == gone).then_some(())
    })
    .await;
    echo(&mut near, &mut far.stream, b"undisturbed").await;
}

/// Measures what `docs/` and decisions quote; not a test. Run with `--ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_a_small_echo_over_a_circuit() {
    let (mediator, a, mut b) = trio([25, 26, 27]).await;
    let mut near = a.transport.open(b.id(), mediator.id()).await.expect("opens");
    let mut far = b.incoming(StreamKind::Live).await.stream;
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        while far.read_exact(&mut buffer).await.is_ok() {
            far.write_all(&buffer).await.unwrap();
            far.flush().await.unwrap();
        }
    });
    let mut times = Vec::new();
    for _ in 0..2000 {
        let begun = std::time::Instant::now();
        near.write_all(&[5; 1024]).await.unwrap();
        near.flush().await.unwrap();
        near.read_exact(&mut [0; 1024]).await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort();
    println!("1 KiB echo: median {:?}, p99 {:?}", times[1000], times[1980]);

    let before = resident();
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(a.transport.open(b.id(), mediator.id()).await.expect("opens"));
        let mut far = b.incoming(StreamKind::Live).await.stream;
        echo(streams.last_mut().unwrap(), &mut far, &[1; 1024]).await;
        streams.push(far);
    }
    println!("three nodes: {before} KiB resident; 200 streams more: {} KiB", resident() - before);
}
