//! Links to mediators come back by themselves: restarts, other addresses, other keys, dead wires.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::*;
use crate::transport::{
    Carrier, RosterTarget,
    defaults::{BACKOFF_LIMIT, QUIC_SILENCE_LIMIT},
};

#[tokio::test]
async fn a_restarted_mediator_is_found_reserved_and_used_without_a_hand() {
    let (mediator, mut a, mut b) = trio([30, 31, 32]).await;
    let address = mediator.address();
    let via = mediator.id();
    let mut old = a.open(b.id(), via).await;
    mediator.transport.shutdown().await;
    until_end(&mut old).await;
    drop(mediator);

    let mediator = Node::mediator_at(30, address).await;
    mediator.transport.set_admission(admission(&[a.id(), b.id()]));
    let back = std::time::Instant::now();
    a.reserved_at(via).await;
    b.reserved_at(via).await;
    let mut near = a.transport.open(b.id(), via).await.expect("opens");
    let mut far = b.incoming(StreamKind::Live).await;
    echo(&mut near, &mut far.stream, b"again").await;
    assert!(back.elapsed() < Duration::from_secs(5), "delivery resumed only after {:?}", back.elapsed());
}

#[tokio::test]
async fn a_mediator_that_moved_is_found_by_its_new_card() {
    let (mediator, mut a, b) = trio([33, 34, 35]).await;
    let via = mediator.id();
    mediator.transport.shutdown().await;
    drop(mediator);
    let mediator = Node::mediator(33).await;
    mediator.transport.set_admission(admission(&[a.id(), b.id()]));
    a.transport.set_directory(directory(&mediator, &[b.id()]));
    a.reserved_at(via).await;
}

/// The renewed mediator has another key at the old address: it is named, asked for its card, and then used.
#[tokio::test]
async fn another_key_at_the_address_is_named_and_can_be_asked() {
    let mut mediator = Node::mediator(36).await;
    let mut a = Node::capital(37).await;
    mediator.transport.set_admission(admission(&[a.id()]));
    let expected = NodeId::from_bytes(*Node::capital(38).await.id().as_bytes());
    let address = mediator.address();
    a.transport.set_directory(directory_at(expected, address.clone(), &[]));
    let found = a
        .wait("the other key", |event| match event {
            TransportEvent::WrongNode { expected: e, found, .. } if e == expected => Some(found),
            _ => None,
        })
        .await;
    assert_eq!(found, mediator.id());

    let target = RosterTarget::Address(address);
    let mut near = a.transport.open_roster(target).await.expect("opens");
    assert_eq!(near.node, mediator.id());
    let mut far = mediator.incoming(StreamKind::Roster).await;
    echo(&mut near.stream, &mut far.stream, b"your card, please").await;

    a.transport.set_directory(directory(&mediator, &[]));
    a.reserved_at(mediator.id()).await;
}

#[tokio::test]
async fn a_mediator_that_left_the_directory_is_dropped_with_its_circuits() {
    let (mut mediator, a, mut b) = trio([39, 40, 41]).await;
    let mut near = a.open(b.id(), mediator.id()).await;
    let mut far = b.incoming(StreamKind::Live).await;
    a.transport.set_directory(Directory::default());
    until_end(&mut near).await;
    until_end(&mut far.stream).await;
    let node = a.id();
    mediator
        .wait("the capital has gone", |event| {
            matches!(event, TransportEvent::PeerDisconnected { node: n, .. } if n == node).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_peer_that_left_the_directory_loses_its_streams_and_gets_no_new_ones() {
    let (mediator, mut a, b) = trio([42, 43, 44]).await;
    let mut near = b.open(a.id(), mediator.id()).await;
    let mut far = a.incoming(StreamKind::Live).await;
    a.transport.set_directory(directory(&mediator, &[]));
    until_end(&mut far.stream).await;
    until_end(&mut near).await;
    let _ = b.transport.open(a.id(), mediator.id()).await;
    let peer = b.id();
    a.wait("the refusal, by name", |event| match event {
        TransportEvent::Refused { who, why } => (who == Some(peer)
            && why == crate::transport::Refusal::UnknownNode(StreamKind::Live))
        .then_some(()),
        TransportEvent::Incoming(_) => panic!("a stranger's live stream was delivered"),
        _ => None,
    })
    .await;
}

/// Where nothing but UDP gets through, QUIC carries the link.
#[tokio::test]
async fn quic_is_used_where_tcp_is_blocked() {
    let mediator = Node::mediator(45).await;
    let mut a = Node::capital(46).await;
    let mut b = Node::capital(47).await;
    mediator.transport.set_admission(admission(&[a.id(), b.id()]));
    let narrow = udp_only(&mediator.address()).await;
    a.transport.set_directory(directory_at(mediator.id(), narrow, &[b.id()]));
    b.transport.set_directory(directory(&mediator, &[a.id()]));
    let carrier = a
        .wait("a connection", |event| match event {
            TransportEvent::MediatorUp { carrier, .. } => Some(carrier),
            _ => None,
        })
        .await;
    assert_eq!(carrier, Carrier::Quic);
    b.reserved_at(mediator.id()).await;
    a.reserved_at(mediator.id()).await;
    let mut near = b.open(a.id(), mediator.id()).await;
    let mut far = a.incoming(StreamKind::Live).await;
    assert_eq!(far.via, Some(mediator.id()));
    echo(&mut near, &mut far.stream, b"over UDP").await;
}

/// A mediator that dies says nothing, and over UDP the system says nothing for it either.
#[test]
fn a_mediator_that_died_under_quic_is_found_again() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (doomed, living) = (runtime(), runtime());
    let mediator = doomed.block_on(Node::mediator(94));
    let (address, via) = (mediator.address(), mediator.id());
    let (mut a, narrow) = living.block_on(async {
        let mut a = Node::capital(95).await;
        mediator.transport.set_admission(admission(&[a.id()]));
        let narrow = udp_only(&address).await;
        a.transport.set_directory(directory_at(via, narrow.clone(), &[]));
        a.reserved_at(via).await;
        (a, narrow)
    });
    // Drops its sockets without a word on them.
    doomed.shutdown_timeout(PATIENCE);
    living.block_on(async {
        let again = Node::mediator_at(94, address).await;
        again.transport.set_admission(admission(&[a.id()]));
        let back = std::time::Instant::now();
        a.reserved_at(via).await;
        let limit = QUIC_SILENCE_LIMIT + BACKOFF_LIMIT;
        assert!(back.elapsed() < limit, "took {:?} over {narrow}", back.elapsed());
    });
}

/// A wire that swallows everything without an error: both ends notice, and the capital dials anew.
#[tokio::test]
async fn a_half_open_link_is_given_up_and_replaced() {
    let mut mediator = Node::mediator(48).await;
    let mut a = Node::capital(49).await;
    mediator.transport.set_admission(admission(&[a.id()]));
    let wire = Wire::to(&mediator.address()).await;
    a.transport.set_directory(directory_at(mediator.id(), wire.address.clone(), &[]));
    a.reserved_at(mediator.id()).await;
    wire.swallow.store(true, Ordering::SeqCst);
    let reason = a
        .wait("the dead link is noticed", |event| match event {
            TransportEvent::MediatorDown { reason, .. } => Some(reason),
            _ => None,
        })
        .await;
    assert!(reason.contains("nothing heard"), "{reason}");
    let node = a.id();
    mediator
        .wait("the mediator notices, too", |event| {
            matches!(event, TransportEvent::PeerDisconnected { node: n, .. } if n == node).then_some(())
        })
        .await;
    wire.swallow.store(false, Ordering::SeqCst);
    a.reserved_at(mediator.id()).await;
}

/// Forwards datagrams to `target` for one client; nothing listens for TCP on its port.
async fn udp_only(target: &Address) -> Address {
    let outer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let inner = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    inner.connect(target.to_string()).await.unwrap();
    let address = outer.local_addr().unwrap().to_string().parse().unwrap();
    tokio::spawn(async move {
        let (mut there, mut back) = ([0; 2048], [0; 2048]);
        let mut client = None;
        loop {
            tokio::select! {
                Ok((length, from)) = outer.recv_from(&mut there) => {
                    client = Some(from);
                    let _ = inner.send(&there[..length]).await;
                }
                Ok(length) = inner.recv(&mut back) => {
                    if let Some(client) = client {
                        let _ = outer.send_to(&back[..length], client).await;
                    }
                }
                else => return,
            }
        }
    });
    address
}

/// A TCP relay that can be told to swallow what it reads, on connections old and new, without closing any.
struct Wire {
    address: Address,
    swallow: Arc<AtomicBool>,
}

impl Wire {
    async fn to(target: &Address) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let swallow = Arc::new(AtomicBool::new(false));
        let (target, cut) = (target.to_string(), swallow.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&target).await else {
                    continue;
                };
                let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                tokio::spawn(pump(near_read, far_write, cut.clone()));
                tokio::spawn(pump(far_read, near_write, cut.clone()));
            }
        });
        Self { address, swallow }
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    swallow: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 16 << 10];
    let mut cut = false;
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        // Once cut, always cut: what was swallowed cannot come later.
        cut |= swallow.load(Ordering::SeqCst);
        if read == 0 {
            if cut {
                // Not even the end gets through.
                std::future::pending::<()>().await;
            }
            return;
        }
        if !cut && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// A mediator's line that is set up anew binds the ports of the one before, whose QUIC socket is let go of a moment after it has ended.
#[tokio::test]
async fn a_socket_that_is_about_to_be_free_is_waited_for() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address: Address = taken.local_addr().unwrap().to_string().parse().unwrap();
    let mut starting = tokio::spawn(Node::mediator_at(90, address.clone()));
    let early = timeout(Duration::from_millis(300), &mut starting).await;
    assert!(early.is_err(), "it waits for the socket");
    drop(taken);
    let mediator = timeout(PATIENCE, starting).await.expect("in time").expect("starts");
    assert_eq!(mediator.address(), address);
}
