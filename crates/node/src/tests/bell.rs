//! For whom the hook rings: others' urgent dispatches that count, once. What rings in vain is soon not answered any more.

use std::path::PathBuf;

use demarche_protocol::document::DocumentType;
use demarche_testkit::forger;

use super::{
    judgement::{lay, pen, store_of},
    *,
};

/// A hook that keeps every event it is given.
pub(super) fn hook(stage: &Stage, member: &MemberId) -> (Config, PathBuf) {
    let file = stage.data(member).path().join("rung");
    let command = format!("[\"sh\", \"-c\", \"cat >> {}\"]", file.display());
    (Config::parse(&format!("[hook]\ncommand = {command}\n")).unwrap(), file)
}

/// The documents that the hook was given, once it was given this one.
async fn rung(file: &PathBuf, last: &str) -> Vec<String> {
    let reading = async {
        loop {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let complete = text.ends_with('\n') && text.contains(last);
            if complete {
                return text.lines().map(|line| serde_json::from_str::<Event>(line).unwrap()).collect();
            }
            tokio::task::yield_now().await;
        }
    };
    let events: Vec<Event> = timeout(PATIENCE, reading).await.expect("the hook rings");
    events.into_iter().map(|event| event.header.unwrap().document.to_string()).collect()
}

/// T1: an entry of no effect calls nobody, and neither does one that is not judged yet; when it is, it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t1_the_hook_rings_when_a_dispatch_counts_and_not_before() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let t = stage.start(&tehran).await;
    t.until(|event| event.kind == EventKind::Roster).await;
    t.end().await;
    let flash = |text: &str, officer| {
        let dispatch = stage.scene.dispatch(&tehran, Precedence::Flash, fixtures::statement(text));
        fixtures::signed(&dispatch, &fixtures::officer_key(&tehran, officer))
    };
    let store = store_of(&stage, &tehran);
    let mut pen = pen(&stage, &tehran, &store);
    let void = flash("by nobody", 9);
    let void = (pen.write(&void), void.id().to_string());
    let officer = pen.write(&fixtures::officer(&tehran, 2, &[Duty::Draft, Duty::Release]));
    assert_eq!(DocumentType::of(&officer.text), Some(DocumentType::Officer));
    let late = flash("by the new officer", 2);
    let late = (pen.write(&late), late.id().to_string());
    lay(&stage, &store, &[&void.0, &officer, &late.0]);
    drop(store);

    let (config, file) = hook(&stage, &washington);
    let m = stage.start(&stage.scene.mediator).await;
    let t = stage.start(&tehran).await;
    let w = stage.start_with(&washington, config).await;
    rung(&file, &late.1).await;
    for text in ["one more", "and another"] {
        let next = t.send(&stage.signed(&tehran, Precedence::Flash, fixtures::statement(text))).await;
        let documents = rung(&file, &next.document.to_string()).await;
        assert!(!documents.contains(&void.1), "{documents:?}");
        assert_eq!(documents.iter().filter(|document| **document == late.1).count(), 1, "{documents:?}");
    }
    for node in [w, t, m] {
        node.end().await;
    }
}

/// What comes back after a lost disk, and our own log says that it was here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hook_does_not_ring_again_for_what_was_here_before_the_disk_was_lost() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let t = stage.start(&tehran).await;
    let told = stage.signed(&tehran, Precedence::Flash, fixtures::statement("told long ago"));
    let told = t.send(&told).await;
    t.end().await;
    let w = stage.start(&washington).await;
    w.until(|event| event.kind == EventKind::Roster).await;
    w.end().await;
    // Of its earlier card's log Washington has got back an entry that names Tehran's as seen.
    let mut their = None;
    let store = store_of(&stage, &tehran);
    for record in store.load(stage.scene.channel()) {
        if let demarche_protocol::channel::Record::Entry(item) = record.unwrap().1
            && item.entry.hash() == told.entry
        {
            their = Some(forger::head(&item));
        }
    }
    drop(store);
    let store = store_of(&stage, &washington);
    let mut pen = pen(&stage, &washington, &store);
    pen.seen = vec![their.unwrap()];
    let own = stage.scene.dispatch(&washington, Precedence::Routine, fixtures::statement("ours"));
    let own = fixtures::signed(&own, &fixtures::officer_key(&washington, 1));
    lay(&stage, &store, &[&pen.write(&own)]);
    drop(store);
    stage.set_up(&washington, 2);
    stage.leave(&washington, &stage.card(&washington, 2));

    let (config, file) = hook(&stage, &washington);
    let m = stage.start(&stage.scene.mediator).await;
    let t = stage.start(&tehran).await;
    let w = stage.start_with(&washington, config).await;
    w.until_kind(EventKind::Arrived, &told.document.to_string()).await;
    for text in ["new", "and another"] {
        let next = t.send(&stage.signed(&tehran, Precedence::Flash, fixtures::statement(text))).await;
        let documents = rung(&file, &next.document.to_string()).await;
        assert!(!documents.contains(&told.document.to_string()), "{documents:?}");
    }
    for node in [w, t, m] {
        node.end().await;
    }
}
