//! A disk that was set back in silence, as by a snapshot: nothing in it tells, the peers do. Then nothing more is written under the card, and the
//! node goes on under one that lies ready.

use std::fs;

use demarche_control::types::State;

use super::{lost::copy, *};

/// Everything in a node's directory, to be set back to.
struct Snapshot(TempDir);

impl Snapshot {
    fn of(stage: &Stage, member: &MemberId) -> Self {
        let kept = tempfile::tempdir().unwrap();
        copy(stage.data(member).path(), kept.path());
        Self(kept)
    }

    fn set_back(&self, stage: &Stage, member: &MemberId) {
        let data = stage.data(member);
        for entry in fs::read_dir(data.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        copy(self.0.path(), data.path());
    }
}

/// Sends a notice and waits until the peer has it.
async fn say(stage: &Stage, node: &Running, member: &MemberId, what: &str) -> String {
    let sent = node.send(&stage.signed(member, Precedence::Flash, fixtures::breach(what))).await;
    let document = sent.document.to_string();
    node.until_kind(EventKind::Delivered, &document).await;
    document
}

/// Returns when status has such an alarm. Asking is what takes the time.
async fn alarmed(node: &Running, words: &str) {
    let look = async {
        while !node.client.alarms().await.unwrap().iter().any(|alarm| alarm.detail.contains(words)) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("no alarm says: {words}"));
}

async fn volume(node: &Running, words: &str) -> String {
    let is_it = |event: &Event| {
        event.kind == EventKind::Volume
            && event.detail.as_ref().is_some_and(|detail| detail.contains("card 2") && detail.contains(words))
    };
    node.until(is_it).await.detail.unwrap()
}

/// S1: the peers show what was lost, and the card that lies ready is taken without a hand on it; what was said comes back, disowned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_node_that_was_set_back_goes_on_under_the_card_that_lies_ready() {
    let stage = Stage::new();
    let (washington, tehran, muscat) = (stage.party(0), stage.party(1), stage.scene.mediator.clone());
    stage.set_up(&washington, 2);
    write_json(&stage.data(&washington).standby(), &stage.card(&washington, 2));
    let (m, w, t) = (stage.start(&muscat).await, stage.start(&washington).await, stage.start(&tehran).await);
    say(&stage, &w, &washington, "before").await;
    w.end().await;
    let snapshot = Snapshot::of(&stage, &washington);
    let w = stage.start(&washington).await;
    let lost = say(&stage, &w, &washington, "lost").await;
    assert!(stage.data(&washington).standby().exists(), "it lies there and is not used");
    w.end().await;

    snapshot.set_back(&stage, &washington);
    let w = stage.start(&washington).await;
    volume(&w, "this node").await;
    alarmed(&w, "goes on under card 2, which lay ready").await;
    let told = volume(&t, "washington's node was restored or replaced").await;
    assert!(told.contains("1 entry of the one before disowned"), "{told}");
    say(&stage, &w, &washington, "after").await;
    w.until_kind(EventKind::Disowned, &lost).await;
    for node in [&w, &t] {
        let inbox = node.client.inbox(NAME, true).await.unwrap();
        let lost = inbox.iter().find(|header| header.document.to_string() == lost).expect("it came back");
        assert_eq!(lost.state, State::Disowned);
        assert!(node.client.status().await.unwrap().channels[0].restored.len() == 1);
        assert!(
            !node.client.alarms().await.unwrap().iter().any(|alarm| alarm.detail.contains("bear the number"))
        );
    }
    assert!(!stage.data(&washington).standby().exists());
    w.end().await;
    let w = stage.start(&washington).await;
    say(&stage, &w, &washington, "after a start").await;
    for node in [w, t, m] {
        node.end().await;
    }
}

/// S1: without one it stops writing, says what to do, and does not begin again after a start, before any peer is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_without_a_card_that_lies_ready_nothing_is_written_until_there_is_one() {
    let stage = Stage::new();
    let (washington, tehran, muscat) = (stage.party(0), stage.party(1), stage.scene.mediator.clone());
    let (m, w, t) = (stage.start(&muscat).await, stage.start(&washington).await, stage.start(&tehran).await);
    say(&stage, &w, &washington, "before").await;
    w.end().await;
    let snapshot = Snapshot::of(&stage, &washington);
    let w = stage.start(&washington).await;
    say(&stage, &w, &washington, "lost").await;
    w.end().await;

    snapshot.set_back(&stage, &washington);
    let w = stage.start(&washington).await;
    alarmed(&w, "this node's disk was set back, or its key is elsewhere").await;
    let refused = stage.signed(&washington, Precedence::Flash, fixtures::breach("not now"));
    let refused = w.client.send(NAME, &refused).await.unwrap_err().to_string();
    assert!(refused.contains("needs a new card"), "{refused}");
    w.end().await;
    t.end().await;
    m.end().await;
    let refused = stage.try_start(&washington, Config::default()).await.err().expect("it must not start");
    assert!(refused.to_string().contains("demarche card renew"), "{refused}");

    stage.set_up(&washington, 2);
    stage.leave(&washington, &stage.card(&washington, 2));
    let (m, w, t) = (stage.start(&muscat).await, stage.start(&washington).await, stage.start(&tehran).await);
    say(&stage, &w, &washington, "after").await;
    for node in [w, t, m] {
        node.end().await;
    }
}

/// S1: a card of its own that only others know was in use before this disk was set back, or is in use elsewhere. Its keys are here, and still
/// nothing is written under it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_an_own_card_that_only_others_know_is_not_taken() {
    let stage = Stage::new();
    let (washington, tehran, muscat) = (stage.party(0), stage.party(1), stage.scene.mediator.clone());
    stage.set_up(&washington, 2);
    let (m, w, t) = (stage.start(&muscat).await, stage.start(&washington).await, stage.start(&tehran).await);
    say(&stage, &w, &washington, "under card 1").await;
    // In the roster and not in `installed/`, as what came from others.
    let heard = stage.card(&washington, 2);
    write_json(&stage.data(&washington).channel(NAME).incoming_file(heard.id()), &heard);
    w.client.install().await.unwrap();
    alarmed(&w, "card 2 of this party is in force and it was not installed here").await;
    let refused = stage.signed(&washington, Precedence::Flash, fixtures::breach("not now"));
    let refused = w.client.send(NAME, &refused).await.unwrap_err().to_string();
    assert!(refused.contains("replaced by card 2"), "{refused}");
    assert_eq!(
        w.client.status().await.unwrap().channels[0].newest_card,
        Some(2),
        "the next is numbered beyond"
    );
    stage.set_up(&washington, 3);
    stage.leave(&washington, &stage.card(&washington, 3));
    w.client.install().await.unwrap();
    say(&stage, &w, &washington, "under card 3").await;
    for node in [w, t, m] {
        node.end().await;
    }
}

/// S1: set back to before its card was renewed, the new keys there already. Whom it asks says that its card was replaced; what was written under the
/// new one is not here, so that one is not taken, though it lies ready.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_node_that_was_set_back_to_before_its_card_was_renewed_is_told_so() {
    let stage = Stage::new();
    let (washington, tehran, muscat) = (stage.party(0), stage.party(1), stage.scene.mediator.clone());
    let (m, w, t) = (stage.start(&muscat).await, stage.start(&washington).await, stage.start(&tehran).await);
    say(&stage, &w, &washington, "under card 1").await;
    w.end().await;
    stage.set_up(&washington, 2);
    let snapshot = Snapshot::of(&stage, &washington);
    stage.leave(&washington, &stage.card(&washington, 2));
    let w = stage.start(&washington).await;
    say(&stage, &w, &washington, "under card 2").await;
    w.end().await;

    snapshot.set_back(&stage, &washington);
    write_json(&stage.data(&washington).standby(), &stage.card(&washington, 2));
    let w = stage.start(&washington).await;
    alarmed(&w, "card 2 of this party is in force and it was not installed here").await;
    let refused = stage.signed(&washington, Precedence::Flash, fixtures::breach("not now"));
    let refused = w.client.send(NAME, &refused).await.unwrap_err().to_string();
    assert!(refused.contains("replaced by card 2"), "{refused}");
    stage.set_up(&washington, 3);
    stage.leave(&washington, &stage.card(&washington, 3));
    w.client.install().await.unwrap();
    say(&stage, &w, &washington, "under card 3").await;
    assert!(!t.client.alarms().await.unwrap().iter().any(|alarm| alarm.detail.contains("bear the number")));
    for node in [w, t, m] {
        node.end().await;
    }
}
