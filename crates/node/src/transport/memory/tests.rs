use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::transport::{ChannelName, MediatorPath};

const A: NodeId = NodeId::from_bytes([1; 32]);
const B: NodeId = NodeId::from_bytes([2; 32]);
const M: NodeId = NodeId::from_bytes([9; 32]);

fn address() -> Address {
    "127.0.0.1:7701".parse().unwrap()
}

fn directory(peer: NodeId) -> Directory {
    let path = MediatorPath { name: "Muscat".to_owned(), node: M, addresses: vec![address()] };
    Directory { mediators: vec![path], peers: [peer].into() }
}

fn admission() -> Admission {
    let mut admission = Admission::new();
    admission.set_channel(ChannelName([7; 32]), [A, B].into());
    admission
}

async fn until<T>(events: &mut Events, mut pick: impl FnMut(TransportEvent) -> Option<T>) -> T {
    loop {
        if let Some(found) = pick(events.next().await.expect("more events")) {
            return found;
        }
    }
}

#[tokio::test]
async fn streams_run_while_the_wires_do() {
    let network = Network::new();
    let (a, mut a_events) = network.capital(A);
    let (b, mut b_events) = network.capital(B);
    let (m, _m_events) = network.mediator(M, address());
    m.set_admission(admission());
    a.set_directory(directory(B));
    assert_eq!(a.open(B, M).await.err(), Some(OpenError::PeerAbsent));
    b.set_directory(directory(A));

    let mut near = a.open(B, M).await.expect("opens");
    let mut far = until(&mut b_events, |event| match event {
        TransportEvent::Incoming(incoming) => Some(incoming),
        _ => None,
    })
    .await;
    assert_eq!((far.peer, far.via, far.kind), (A, Some(M), StreamKind::Live));
    near.write_all(b"hello").await.unwrap();
    let mut buffer = [0; 5];
    far.stream.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"hello");

    network.cut(B, M);
    assert!(near.read(&mut buffer).await.is_err());
    assert!(far.stream.write(b"x").await.is_err());
    assert_eq!(a.open(B, M).await.err(), Some(OpenError::PeerAbsent));
    assert_eq!(b.open(A, M).await.err(), Some(OpenError::MediatorDown));
    network.mend(B, M);
    let mut down = 0;
    until(&mut b_events, |event| {
        down += usize::from(matches!(event, TransportEvent::MediatorDown { .. }));
        (matches!(event, TransportEvent::Reserved { .. }) && down == 1).then_some(())
    })
    .await;
    a.open(B, M).await.expect("opens again");
    until(&mut a_events, |event| matches!(event, TransportEvent::Reserved { .. }).then_some(())).await;
}

#[tokio::test]
async fn revocation_and_shutdown_end_streams() {
    let network = Network::new();
    let (a, _a_events) = network.capital(A);
    let (b, mut b_events) = network.capital(B);
    let (m, _m_events) = network.mediator(M, address());
    a.set_directory(directory(B));
    b.set_directory(directory(A));
    assert_eq!(a.open(B, M).await.err(), Some(OpenError::Refused));
    m.set_admission(admission());
    let mut near = a.open(B, M).await.expect("opens");
    m.set_admission(Admission::new());
    assert!(near.read(&mut [0; 1]).await.is_err());

    m.set_admission(admission());
    let mut near = a.open(B, M).await.expect("opens");
    b.set_directory(Directory { peers: BTreeSet::new(), ..directory(A) });
    assert!(near.read(&mut [0; 1]).await.is_err());
    let mut refused = a.open(B, M).await.expect("opens, and ends");
    assert!(refused.read(&mut [0; 1]).await.is_err());
    until(&mut b_events, |event| match event {
        TransportEvent::Refused { who, why } => {
            assert_eq!((who, why), (Some(A), Refusal::UnknownNode(StreamKind::Live)));
            Some(())
        }
        _ => None,
    })
    .await;
    a.shutdown().await;
    assert_eq!(a.open(B, M).await.err(), Some(OpenError::Shutdown));
}

#[tokio::test]
async fn whoever_answers_at_an_address_can_be_asked_for_its_card() {
    let network = Network::new();
    let (a, _a_events) = network.capital(A);
    let (_m, mut m_events) = network.mediator(M, address());
    let near = a.open_roster(RosterTarget::Address(address())).await.expect("opens");
    assert_eq!(near.node, M);
    let far = until(&mut m_events, |event| match event {
        TransportEvent::Incoming(incoming) => Some(incoming),
        _ => None,
    })
    .await;
    assert!(!far.known);
    network.cut(A, M);
    let nobody = a.open_roster(RosterTarget::Address(address())).await;
    assert!(matches!(nobody, Err(OpenError::Failed(_))));
}
