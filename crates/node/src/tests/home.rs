//! The data directory: what is installed, refused and locked.

use demarche_control::types::Outcome;

use super::*;
use crate::store::SledStore;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_installed_is_taken_in_once_and_what_is_refused_lies_beside_its_reason() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let w = stage.start(&washington).await;
    let channel = stage.data(&washington).channel(NAME);
    assert!(channel.incoming().read_dir().unwrap().next().is_none(), "all was taken in at the start");
    assert!(w.client.install().await.unwrap().is_empty());

    let known = stage.card(&tehran, 1);
    let foreign = fixtures::officer(&tehran, 1, &[Duty::Release]);
    stage.leave(&washington, &known);
    stage.leave(&washington, &foreign);
    let installed = w.client.install().await.unwrap();
    let of = |id| installed.iter().find(|one| one.document == Some(id)).unwrap();
    assert_eq!(of(known.id()).outcome, Outcome::Already);
    assert_eq!(of(foreign.id()).outcome, Outcome::Refused);
    assert!(channel.refused_file(foreign.id()).exists());
    let why = std::fs::read_to_string(channel.refused_why(foreign.id())).unwrap();
    assert!(why.contains("tehran"), "{why}");
    assert!(channel.incoming().read_dir().unwrap().next().is_none());

    let officers = w.client.officers(NAME).await.unwrap();
    assert_eq!(officers.len(), 1);
    assert_eq!(officers[0].party, washington);
    w.end().await;
}

/// S10: two nodes on one data directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s10_a_second_node_is_refused() {
    let stage = Stage::new();
    let washington = stage.party(0);
    let w = stage.start(&washington).await;
    let refused = Node::start(stage.data(&washington), Config::default(), stage.wires()).await.err().unwrap();
    assert!(matches!(refused, NodeError::Lock(_)), "{refused}");
    w.client.status().await.expect("the first one is undisturbed");
    w.end().await;
}

/// Whoever has seen a node end may open its store: no thread of it, no listener and no answer under way holds it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_ended_has_let_go_of_its_store() {
    let stage = Stage::new();
    let (washington, muscat) = (stage.party(0), stage.scene.mediator.clone());
    for member in [&washington, &muscat, &washington, &muscat] {
        let node = stage.start(member).await;
        let _listening = node.client.events(Some(Bookmark::START)).await.unwrap();
        if *member == washington {
            node.send(&stage.signed(member, Precedence::Routine, fixtures::statement("a last word"))).await;
        }
        node.end().await;
        SledStore::open(&stage.data(member).store()).expect("nobody holds it");
    }
}

/// S6: the disk has lost the end of the journal. Under the same card the node might sign another entry with a number that it has given
/// away; under a new one it goes on, and what was lost comes back from the peer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s6_a_store_that_ends_early_is_written_on_only_under_a_new_card() {
    let stage = Stage::new();
    let (washington, tehran, muscat) = (stage.party(0), stage.party(1), stage.scene.mediator.clone());
    let (w, t, m) = (stage.start(&washington).await, stage.start(&tehran).await, stage.start(&muscat).await);
    w.end().await;
    let store = stage.data(&washington).store();
    let before = std::fs::read(store.join("db")).unwrap();
    let w = stage.start(&washington).await;
    let notice = stage.signed(&washington, Precedence::Flash, fixtures::breach("lost by the disk"));
    let sent = w.send(&notice).await;
    w.until_kind(EventKind::Delivered, &sent.document.to_string()).await;
    w.end().await;

    for entry in std::fs::read_dir(&store).unwrap() {
        let path = entry.unwrap().path();
        // sled makes its snapshot anew; the mark is what remembers.
        if path.file_name().unwrap().to_string_lossy().starts_with("snap") {
            std::fs::remove_file(path).unwrap();
        }
    }
    std::fs::write(store.join("db"), before).unwrap();
    for _ in 0..2 {
        let refused =
            Node::start(stage.data(&washington), Config::default(), stage.wires()).await.err().unwrap();
        assert!(refused.to_string().contains("was written"), "{refused}");
        assert!(refused.to_string().contains("demarche card renew"), "{refused}");
    }

    stage.set_up(&washington, 2);
    stage.leave(&washington, &stage.card(&washington, 2));
    let w = stage.start(&washington).await;
    w.until_kind(EventKind::Recorded, &sent.document.to_string()).await;
    let inbox = w.client.inbox(NAME, true).await.unwrap();
    assert!(inbox.iter().any(|header| header.document == sent.document), "it came back");
    for node in [w, t, m] {
        node.end().await;
    }
    // And the loss is over: the next start finds what it left.
    stage.start(&washington).await.end().await;
}

/// L2: a key that others may read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_a_key_with_a_wrong_mode_keeps_the_node_from_starting() {
    use std::os::unix::fs::PermissionsExt as _;
    let stage = Stage::new();
    let data = stage.data(&stage.party(0));
    let key = data.session_key(demarche_protocol::identity::card::CardSerial(1));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Node::start(data, Config::default(), stage.wires()).await.err().unwrap();
    assert!(refused.to_string().contains("session.key"), "{refused}");
}

/// A charter that is installed while the node runs, and the cards after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_installed_while_the_node_runs_is_taken_up() {
    let stage = Stage::new();
    let washington = stage.party(0);
    let channel = stage.data(&washington).channel(NAME);
    let elsewhere = stage.data(&washington).path().join("elsewhere");
    std::fs::rename(channel.path(), &elsewhere).unwrap();
    let w = stage.start(&washington).await;
    assert_eq!(w.client.status().await.unwrap().verdict, "no charter is installed here");
    std::fs::rename(&elsewhere, channel.path()).unwrap();
    let installed = w.client.install().await.unwrap();
    assert!(installed.iter().all(|one| one.outcome != Outcome::Refused), "{installed:?}");
    let sent = w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach("at last"))).await;
    w.until_kind(EventKind::Recorded, &sent.document.to_string()).await;
    w.end().await;
}

fn damage(stage: &Stage, member: &MemberId, name: &str) -> std::path::PathBuf {
    let charter = stage.data(member).channel(name).charter();
    std::fs::write(&charter, "{").unwrap();
    charter
}

/// A node whose only charter is damaged does not look like one that has none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_charter_keeps_the_node_from_starting() {
    let stage = Stage::new();
    for member in [stage.party(0), stage.scene.mediator.clone()] {
        let charter = damage(&stage, &member, NAME);
        let refused = stage.try_start(&member, Config::default()).await.err().unwrap().to_string();
        assert!(refused.contains(&charter.display().to_string()), "{refused}");
        assert!(refused.contains("help: put "), "{refused}");
        assert!(refused.contains(&format!("--as {NAME}")), "{refused}");
    }
}

/// Where others are sound the node serves those, and says of this one that it cannot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_charter_among_others_is_named_and_stops_nobody_else() {
    let stage = Stage::new();
    let washington = stage.party(0);
    stage.install("other26", &Scene::with_policy(2, four_eyes()));
    let sound = std::fs::read(stage.data(&washington).channel("other26").charter()).unwrap();
    let charter = damage(&stage, &washington, "other26").display().to_string();
    let w = stage.start(&washington).await;
    w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach("the other goes on"))).await;
    let status = w.client.status().await.unwrap();
    assert!(status.verdict.contains(&charter), "{}", status.verdict);
    assert_eq!(status.level, demarche_control::types::Verdict::Down);
    assert!(status.unusable[0].contains("other26"), "{:?}", status.unusable);
    let refused = w.client.inbox("other26", true).await.unwrap_err().to_string();
    assert!(refused.contains(&charter), "{refused}");
    // Put back, and taken up without a start.
    std::fs::write(charter, sound).unwrap();
    w.client.install().await.unwrap();
    let status = w.client.status().await.unwrap();
    assert_eq!((status.channels.len(), status.unusable.len()), (2, 0));
    w.client.inbox("other26", true).await.unwrap();
    w.end().await;
}

/// Records of a channel that is out of use now hide nothing of the others: neither while its charter is damaged nor when it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_passes_over_a_channel_that_cannot_be_used() {
    let stage = Stage::new();
    let washington = stage.party(0);
    stage.install("other26", &Scene::with_policy(2, four_eyes()));
    stage.start(&washington).await.end().await;
    damage(&stage, &washington, "other26");
    for text in ["while it is damaged", "and without it"] {
        let w = stage.start(&washington).await;
        let sent = w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach(text))).await;
        w.until_kind(EventKind::Recorded, &sent.document.to_string()).await;
        w.end().await;
        let channel = stage.data(&washington).channel("other26");
        if channel.path().exists() {
            std::fs::remove_dir_all(channel.path()).unwrap();
        }
    }
}

/// What keeps a node from starting is found without starting it.
#[test]
fn checking_the_configuration_finds_what_keeps_the_node_from_starting() {
    use std::os::unix::fs::PermissionsExt as _;
    let stage = Stage::new();
    let washington = stage.party(0);
    let data = stage.data(&washington);
    let check = |data: &DataDir| {
        let data = data.path().to_owned();
        crate::node::check_config(&crate::node::Options { data, config: None, log_format: None })
            .map_err(|why| why.to_string())
    };
    check(&data).unwrap();
    assert!(!data.store().exists() && !data.socket().exists(), "nothing was started");
    let nowhere = DataDir::new(data.path().join("nowhere"));
    assert!(check(&nowhere).unwrap_err().contains("is not the data directory of a node"));
    let key = data.session_key(demarche_protocol::identity::card::CardSerial(1));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(check(&data).unwrap_err().contains("session.key"));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let good = std::fs::read(&key).unwrap();
    std::fs::copy(
        stage.data(&stage.party(1)).session_key(demarche_protocol::identity::card::CardSerial(1)),
        &key,
    )
    .unwrap();
    assert!(check(&data).unwrap_err().contains("session.key"), "another card's");
    std::fs::write(&key, good).unwrap();
    // One that would start, and serve the others, is no good configuration either.
    stage.install("other26", &Scene::with_policy(2, four_eyes()));
    let charter = damage(&stage, &washington, "other26").display().to_string();
    assert!(check(&data).unwrap_err().contains(&charter));
}

fn four_eyes() -> demarche_protocol::charter::Policy {
    let mut policy = demarche_protocol::charter::Policy::default();
    policy.precedences[0].signatures = 2;
    policy
}

/// Somebody else's card in the directory: both files are named, so that it is known which one to move away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stray_card_is_named() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let data = stage.data(&washington);
    let stray = data.path().join("from-tehran.card");
    std::fs::write(&stray, stage.card(&tehran, 1).text()).unwrap();
    let refused = stage.try_start(&washington, Config::default()).await.err().unwrap().to_string();
    for named in [&stray, &data.card(&washington)] {
        assert!(refused.contains(&named.display().to_string()), "{refused}");
    }
    std::fs::write(&stray, "no card").unwrap();
    let refused = stage.try_start(&washington, Config::default()).await.err().unwrap().to_string();
    assert!(refused.contains("from-tehran.card is not a card"), "{refused}");
    assert!(refused.contains("help: "), "{refused}");
}
