//! What watchers are told of an entry's effect: void with its reason, at the author's and at the peer's; and what is decided only
//! when a missing entry comes in. No honest node writes such entries, so they are laid into a stopped node's store.

use demarche_control::types::{Effect, EvidenceKind, OfficerState, State};
use demarche_protocol::{
    channel::{Batch, Record},
    document::SignedDocument,
    transcript::{Head, Item},
};
use demarche_testkit::forger::{self, Forger};

use super::*;
use crate::store::{Commit, JournalIndex, SledStore, StoreError};

/// Opens the store of a stopped node.
pub(super) fn store_of(stage: &Stage, member: &MemberId) -> SledStore {
    SledStore::open(&stage.data(member).store()).unwrap()
}

/// The node's pen, where its own log ends in its store.
pub(super) fn pen(stage: &Stage, party: &MemberId, store: &SledStore) -> Forger {
    let mut pen = Forger::new(&stage.scene, party, 1);
    for record in store.load(stage.scene.channel()) {
        if let Record::Entry(item) = record.unwrap().1
            && item.clone().from_own_store(stage.scene.channel()).unwrap().entry().party == *party
        {
            pen.goes_on_from(&item);
        }
    }
    pen
}

pub(super) fn lay(stage: &Stage, store: &SledStore, items: &[&Item]) {
    let records = items.iter().map(|item| Record::Entry((*item).clone())).collect();
    store.commit(&[Commit { channel: stage.scene.channel(), batch: Batch { records } }]).unwrap();
}

fn entry(loaded: Result<(JournalIndex, Record), StoreError>) -> Option<Item> {
    match loaded.unwrap().1 {
        Record::Entry(item) => Some(item),
        _ => None,
    }
}

fn statement(stage: &Stage, party: &MemberId, text: &str, officer: u64) -> SignedDocument {
    let dispatch = stage.scene.dispatch(party, Precedence::Routine, fixtures::statement(text));
    fixtures::signed(&dispatch, &fixtures::officer_key(party, officer))
}

fn about(event: &Event, head: &Head) -> bool {
    event.header.as_ref().is_some_and(|header| header.entry == head.hash)
}

/// Everything that the feed tells of an entry from its beginning, until `last`.
async fn told(node: &Running, head: &Head, last: EventKind) -> Vec<EventKind> {
    let mut kinds = Vec::new();
    let reading = async {
        let mut feed = node.client.events(Some(Bookmark::START)).await.unwrap();
        while let Some(event) = feed.next().await.unwrap() {
            if about(&event, head) {
                kinds.push(event.kind);
                if event.kind == last {
                    return;
                }
            }
        }
        panic!("the feed ended");
    };
    timeout(PATIENCE, reading).await.expect("it is told");
    kinds
}

/// T1: an entry of no effect is told as void, with the reason, to whoever watches its author's node and the peer's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t1_a_void_entry_is_told_with_its_reason_on_both_sides() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let t = stage.start(&tehran).await;
    t.until(|event| event.kind == EventKind::Roster).await;
    t.end().await;
    let store = store_of(&stage, &tehran);
    let item = pen(&stage, &tehran, &store).write(&statement(&stage, &tehran, "by nobody", 9));
    let head = forger::head(&item);
    lay(&stage, &store, &[&item]);
    drop(store);

    let m = stage.start(&stage.scene.mediator).await;
    let t = stage.start(&tehran).await;
    let w = stage.start(&washington).await;
    for (node, first, peer) in
        [(&t, EventKind::Recorded, None), (&w, EventKind::Arrived, Some(tehran.clone()))]
    {
        assert_eq!(told(node, &head, EventKind::Void).await, [first, EventKind::Void]);
        let event = node.until(|event| event.kind == EventKind::Void).await;
        let evidence = event.evidence.expect("why");
        assert_eq!((evidence.kind, event.peer), (EvidenceKind::Void, peer));
        let why = evidence.detail.expect("a reason");
        assert!(why.contains("no officer's key of this party"), "{why}");
        let header = event.header.expect("what");
        assert_eq!((header.state, header.effect), (State::Void, Effect::Void));
        assert_eq!(header.void_reason, Some(why));
    }
    // The next one goes on, and is not called void.
    let next = stage.signed(&tehran, Precedence::Routine, fixtures::statement("goes on"));
    let next = t.send(&next).await;
    w.until_kind(EventKind::Arrived, &next.document.to_string()).await;
    for node in [w, t, m] {
        node.end().await;
    }
}

/// T1, E8: what has no effect says nothing of who may sign; shown with every dispatch, as much of it as a peer's node likes to enter
/// would keep officers from opening any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t1_a_dispatch_is_shown_with_those_documents_alone_that_have_effect() {
    let stage = Stage::new();
    let tehran = stage.party(1);
    let t = stage.start(&tehran).await;
    t.until(|event| event.kind == EventKind::Roster).await;
    t.end().await;
    let store = store_of(&stage, &tehran);
    let mut pen = pen(&stage, &tehran, &store);
    let unsigned = fixtures::officer(&tehran, 9, &[demarche_protocol::identity::officer::Duty::Release]);
    let mut items: Vec<Item> = (0..20)
        .map(|number| {
            let text = format!("{}# {number}\n", unsigned.text());
            pen.write(&SignedDocument::unsigned(text))
        })
        .collect();
    items.push(pen.write(&statement(&stage, &tehran, "after all that", 1)));
    lay(&stage, &store, &items.iter().collect::<Vec<_>>());
    drop(store);
    let t = stage.start(&tehran).await;
    let serial = forger::head(items.last().unwrap()).seq.0;
    let shown = t.client.show(NAME, &format!("{tehran}/{serial}")).await.unwrap();
    let card = stage.card(&tehran, 1);
    let officer = fixtures::officer(&tehran, 1, &[Duty::Draft, Duty::Release, Duty::Acknowledge]);
    let names: Vec<_> = shown.authority.iter().map(|file| file.document().unwrap().id()).collect();
    assert_eq!(names, [card.id(), officer.id()]);
    t.end().await;
}

/// T3: what overtook its officer's document is told again when that comes: that it counts, or why it does not. Also to
/// whoever resumes, and after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t3_what_is_judged_late_is_told_when_it_is_judged() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let (m, w, t) = (
        stage.start(&stage.scene.mediator).await,
        stage.start(&washington).await,
        stage.start(&tehran).await,
    );
    let first = stage.signed(&tehran, Precedence::Flash, fixtures::statement("first"));
    let first = t.send(&first).await;
    w.until_kind(EventKind::Arrived, &first.document.to_string()).await;
    for node in [w, t, m] {
        node.end().await;
    }
    // At Tehran the officer's document and two statements; at Washington the statements alone.
    let store = store_of(&stage, &tehran);
    let mut pen = pen(&stage, &tehran, &store);
    let officer = pen.write(&fixtures::officer(&tehran, 2, &[Duty::Draft, Duty::Release]));
    let good = pen.write(&statement(&stage, &tehran, "by the new officer", 2));
    let bad = pen.write(&statement(&stage, &tehran, "by nobody", 9));
    lay(&stage, &store, &[&officer, &good, &bad]);
    drop(store);
    let store = store_of(&stage, &washington);
    lay(&stage, &store, &[&good, &bad]);
    drop(store);
    let (good, bad) = (forger::head(&good), forger::head(&bad));

    let w = stage.start(&washington).await;
    let open = w.until(|event| event.kind == EventKind::Arrived && about(event, &good)).await;
    assert_eq!(open.header.unwrap().effect, Effect::AuthorityUnknown);
    let mut feed = w.client.events(None).await.unwrap();
    let m = stage.start(&stage.scene.mediator).await;
    let t = stage.start(&tehran).await;
    let mut live = Vec::new();
    let reading = async {
        while live.len() < 2 {
            let event = feed.next().await.unwrap().expect("the feed goes on");
            if about(&event, &good) || about(&event, &bad) {
                live.push(event.kind);
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("both are judged");
    assert_eq!(live, [EventKind::Accepted, EventKind::Void]);
    w.end().await;
    let w = stage.start(&washington).await;
    assert_eq!(told(&w, &good, EventKind::Accepted).await, [EventKind::Arrived, EventKind::Accepted]);
    assert_eq!(told(&w, &bad, EventKind::Void).await, [EventKind::Arrived, EventKind::Void]);
    for node in [w, t, m] {
        node.end().await;
    }
}

/// After a fork one serial stands for two dispatches: whichever is asked for, the other is named beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serial_that_a_fork_gave_twice_names_both_documents() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    stage.start(&tehran).await.end().await;
    stage.start(&washington).await.end().await;
    let theirs = store_of(&stage, &tehran);
    let mut one = pen(&stage, &tehran, &theirs);
    let mut other = one.clone();
    let before: Vec<Item> = theirs.load(stage.scene.channel()).filter_map(entry).collect();
    let said = ["one thing", "another thing"].map(|text| statement(&stage, &tehran, text, 1));
    let items = [one.write(&said[0]), other.write(&said[1])];
    let seq = forger::head(&items[0]).seq.0;
    lay(&stage, &store_of(&stage, &washington), &before.iter().chain(&items).collect::<Vec<_>>());

    let w = stage.start(&washington).await;
    let channel = stage.scene.channel().to_string();
    let by_serial = w.client.show(&channel, &format!("tehran/{seq}")).await.unwrap();
    let [first, second] = said.map(|document| document.id());
    let shown = by_serial.header.document;
    assert_eq!(by_serial.same_serial, [if shown == first { second } else { first }]);
    let by_document = w.client.show(&channel, &second.to_string()).await.unwrap();
    assert_eq!((by_document.header.document, by_document.same_serial), (second, vec![first]));
    w.end().await;
}

/// K2: with a dispatch go the documents of its own branch alone, or the officer who reads it could not follow its judgement; and a key that
/// another branch revokes is shown as revoked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k2_a_dispatch_is_shown_with_its_own_branch_and_a_key_as_revoked_on_any() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    stage.start(&tehran).await.end().await;
    stage.start(&washington).await.end().await;
    let theirs = store_of(&stage, &tehran);
    let mut items: Vec<Item> = theirs.load(stage.scene.channel()).filter_map(entry).collect();
    let mut left = pen(&stage, &tehran, &theirs);
    let second = fixtures::officer(&tehran, 2, &[Duty::Draft, Duty::Release]);
    items.push(left.write(&second));
    let mut speaks = left.renewed(2);
    let key = fixtures::officer_key(&tehran, 2).public();
    items.push(left.write(&fixtures::revoke_officer(&tehran, key)));
    items.push(speaks.open());
    let said = statement(&stage, &tehran, "on the branch that speaks", 1);
    items.push(speaks.write(&said));
    lay(&stage, &store_of(&stage, &washington), &items.iter().collect::<Vec<_>>());

    let w = stage.start(&washington).await;
    let channel = stage.scene.channel().to_string();
    let shown = w.client.show(&channel, &said.id().to_string()).await.unwrap();
    let first = fixtures::officer(&tehran, 1, &[Duty::Draft, Duty::Release, Duty::Acknowledge]);
    let wanted = [stage.card(&tehran, 1), first, second.clone(), stage.card(&tehran, 2)];
    let names: Vec<_> = shown.authority.iter().map(|file| file.document().unwrap().id()).collect();
    assert_eq!(names, wanted.map(|document| document.id()));
    let officers = w.client.officers(&channel).await.unwrap();
    let states: Vec<_> = officers
        .iter()
        .filter(|officer| officer.party == tehran)
        .map(|officer| (officer.document, officer.state))
        .collect();
    assert_eq!(states.len(), 2, "{states:?}");
    assert!(states.contains(&(second.id(), OfficerState::Revoked)), "{states:?}");
    w.end().await;
}

/// An acknowledgement is a dispatch as well: it arrives, and then says something of what it acknowledges.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_is_told_as_its_own_arrival_and_of_what_it_acknowledges() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let m = stage.start(&stage.scene.mediator).await;
    let w = stage.start(&washington).await;
    let t = stage.start(&tehran).await;
    let notice = stage.signed(&washington, Precedence::Flash, fixtures::breach("A ship was boarded"));
    let notice = w.send(&notice).await;
    t.until_kind(EventKind::Arrived, &notice.document.to_string()).await;
    let mut feed = w.client.events(None).await.unwrap();
    let ack = stage.signed(&tehran, Precedence::Flash, fixtures::acknowledgement(notice.document));
    let ack = t.send(&ack).await;
    let mut told = Vec::new();
    let reading = async {
        while told.len() < 2 {
            let event = feed.next().await.unwrap().expect("the feed goes on");
            if matches!(event.kind, EventKind::Arrived | EventKind::Acknowledged) {
                told.push((event.kind, event.header.unwrap().document, event.peer));
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("both are told");
    let by = Some(tehran.clone());
    assert_eq!(
        told,
        [(EventKind::Arrived, ack.document, by.clone()), (EventKind::Acknowledged, notice.document, by)]
    );
    for node in [w, t, m] {
        node.end().await;
    }
}
