//! Custody: the mediator keeps what is for a node that is not there.

use demarche_control::types::{EvidenceKind, State};

use super::*;

async fn state(node: &Running, sent: &Sent) -> State {
    node.client.show(NAME, &sent.serial.to_string()).await.unwrap().header.state
}

/// First contact by custody: neither node is ever there with the other, and the mediator is restarted in between. Notice, receipt, opening and
/// acknowledgement arrive all the same, each signed for on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_exchange_between_nodes_that_never_meet() {
    let stage = Stage::new();
    let (washington, tehran, muscat) = (stage.party(0), stage.party(1), stage.scene.mediator.clone());
    let m = stage.start(&muscat).await;
    let w = stage.start(&washington).await;
    let notice = stage.signed(&washington, Precedence::Flash, fixtures::breach("A ship was boarded"));
    let sent = w.send(&notice).await;
    let document = sent.document.to_string();
    let kept = w.until_kind(EventKind::Custody, &document).await;
    assert_eq!((kept.peer, kept.evidence.unwrap().by), (Some(tehran.clone()), muscat.clone()));
    assert_eq!(state(&w, &sent).await, State::Custody);
    w.end().await;
    m.end().await;

    let m = stage.start(&muscat).await;
    let t = stage.start(&tehran).await;
    let arrived = t.until_kind(EventKind::Arrived, &document).await.header.unwrap();
    assert_eq!(arrived.title.as_deref(), Some("A ship was boarded"));
    t.client.open(NAME, &arrived.serial.to_string(), &officer_of(&tehran)).await.unwrap();
    let ack = stage.signed(&tehran, Precedence::Flash, fixtures::acknowledgement(sent.document));
    let ack = t.send(&ack).await;
    t.until_kind(EventKind::Custody, &ack.document.to_string()).await;
    t.end().await;

    let w = stage.start(&washington).await;
    for kind in [EventKind::Delivered, EventKind::Opened, EventKind::Acknowledged] {
        w.until_kind(kind, &document).await;
    }
    let shown = w.client.show(NAME, &sent.serial.to_string()).await.unwrap();
    assert_eq!(shown.header.state, State::Acknowledged);
    let kinds: Vec<EvidenceKind> = shown.evidence.iter().map(|evidence| evidence.kind).collect();
    for kind in [EvidenceKind::Custody, EvidenceKind::Collected, EvidenceKind::Delivered] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    for node in [w, m] {
        node.end().await;
    }
}

/// What is in custody is still so after a restart, and is not deposited again; a node that comes is handed it once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_custody_is_not_deposited_again_after_a_restart() {
    let stage = Stage::new();
    let (washington, tehran, muscat) = (stage.party(0), stage.party(1), stage.scene.mediator.clone());
    let m = stage.start(&muscat).await;
    let w = stage.start(&washington).await;
    let first = w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach("first"))).await;
    w.until_kind(EventKind::Custody, &first.document.to_string()).await;
    w.end().await;
    let w = stage.start(&washington).await;
    assert_eq!(state(&w, &first).await, State::Custody);
    let second = w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach("second"))).await;
    w.until_kind(EventKind::Custody, &second.document.to_string()).await;
    let deposits = |shown: demarche_control::types::Shown| {
        shown.evidence.iter().filter(|evidence| evidence.kind == EvidenceKind::Custody).count()
    };
    assert_eq!(deposits(w.client.show(NAME, &first.serial.to_string()).await.unwrap()), 1);
    let t = stage.start(&tehran).await;
    t.until_kind(EventKind::Arrived, &first.document.to_string()).await;
    t.until_kind(EventKind::Arrived, &second.document.to_string()).await;
    w.until_kind(EventKind::Delivered, &second.document.to_string()).await;
    assert_eq!(t.client.inbox(NAME, true).await.unwrap().len(), 2);
    for node in [w, t, m] {
        node.end().await;
    }
}

/// The charter's quota: what is beyond it is refused by name, stays recorded, and goes when there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_custody_refuses_by_name_and_loses_nothing() {
    let policy = demarche_protocol::charter::Policy {
        custody: demarche_protocol::charter::policy::Size(24 << 10),
        ..demarche_protocol::charter::Policy::default()
    };
    let stage = Stage::with(Scene::with_policy(2, policy));
    let (washington, tehran, muscat) = (stage.party(0), stage.party(1), stage.scene.mediator.clone());
    let m = stage.start(&muscat).await;
    let w = stage.start(&washington).await;
    let mut sent = Vec::new();
    for number in 0..6 {
        let title = format!("Number {number} {}", "x".repeat(200));
        let notice = stage.signed(&washington, Precedence::Flash, fixtures::breach(&title));
        sent.push(w.send(&notice).await);
    }
    let long = fixtures::statement(&"What happened, at length. ".repeat(1000));
    let long = w.send(&stage.signed(&washington, Precedence::Flash, long)).await;
    let alarm =
        w.until(|event| event.detail.as_ref().is_some_and(|detail| detail.contains("custody is full"))).await;
    assert!(alarm.detail.unwrap().starts_with("muscat does not keep what is for tehran"));
    assert_eq!(state(&w, &long).await, State::Recorded);
    let t = stage.start(&tehran).await;
    for sent in sent.iter().chain([&long]) {
        w.until_kind(EventKind::Delivered, &sent.document.to_string()).await;
    }
    for node in [w, t, m] {
        node.end().await;
    }
}
