//! Hostile programs against real nodes: each is refused and named, and the line goes on undisturbed meanwhile.

use std::time::{Duration, Instant};

use libp2p::{PeerId, identity};
use tokio::runtime::Runtime;

use super::{
    hostile::{self, Hostile, LIVE, ROSTER},
    install_beside, logged,
    support::stage::{Cast, Stage, text},
    undisturbed,
};

const THREE: Cast = Cast {
    parties: &[
        ("washington", "United States of America", "Duty officer, first watch"),
        ("tehran", "جمهوری اسلامی ایران", "افسر کشیک شب"),
        ("paris", "République française", "Bureau de permanence"),
    ],
    mediators: &[("muscat", "Sultanate of Oman")],
    title: "Memorandum of Understanding of 2026",
};

/// A message that is announced and never comes: docs/protocol.md §7 has two bytes of length before each.
const ANNOUNCED: [u8; 2] = [0xff, 0xff];

fn node_of(stage: &Stage, id: &str) -> PeerId {
    hostile::node(&hostile::stolen(&stage.node(id).data(), 1))
}

/// What a session's opener says first, in the clear: version and channel (docs/protocol.md §7.1).
fn preamble(stage: &Stage) -> Vec<u8> {
    let channel = stage.json("washington", &["status"])["channels"][0]["channel"].clone();
    let channel = channel.as_str().expect("a channel").to_owned();
    let bytes = (0..channel.len()).step_by(2).map(|at| u8::from_str_radix(&channel[at..at + 2], 16));
    [1].into_iter().chain(bytes.map(|byte| byte.expect("hex"))).collect()
}

/// M23, M24, M25: a stranger with a fresh key. It may connect, for seconds, and whatever it asks for is refused.
#[test]
fn m24_a_stranger_gets_no_reservation_no_circuit_and_no_session() {
    let stage = Stage::open(super::programs!());
    let (muscat, tehran) = (node_of(&stage, "muscat"), node_of(&stage, "tehran"));
    let runtime = Runtime::new().expect("runtime");
    let stranger = || {
        let key = identity::Keypair::generate_ed25519();
        let name = hostile::number(&key);
        (Hostile::new(Some(key), stage.port("muscat")), name)
    };
    let named = |name: &str, says: &str| {
        let line = logged(&stage, "muscat", &[name, says]);
        assert!(line.contains(name), "{line}");
    };

    let name = runtime.block_on(async {
        let (mut one, name) = stranger();
        assert_eq!(one.connect().await, muscat);
        one.reserve(muscat).await.expect_err("no reservation");
        name
    });
    named(&name, "a reservation by a node that no channel admits");
    let name = runtime.block_on(async {
        let (mut one, name) = stranger();
        one.connect().await;
        one.circuit(muscat, tehran).await.expect_err("no circuit");
        name
    });
    named(&name, "with whom it shares no channel");
    let name = runtime.block_on(async {
        let (mut one, name) = stranger();
        one.connect().await;
        if let Ok(stream) = one.say(muscat, LIVE, b"let me in").await {
            assert!(one.until_end(stream).await.is_empty(), "no session");
        }
        name
    });
    named(&name, "a Live stream by a node that is in no roster here");
    undisturbed(&stage);
    assert!(!stage.node("tehran").log().contains(&name), "the capital never hears of it");
}

/// M23, M25, B1: what a stranger may open, and misuses: garbage, an announcement that nothing follows, and a hundred streams.
#[test]
fn m25_a_stranger_who_misuses_the_roster_stream_loses_it_and_disturbs_nobody() {
    let stage = Stage::open(super::programs!());
    let muscat = node_of(&stage, "muscat");
    let runtime = Runtime::new().expect("runtime");
    let misuse = |bytes: &'static [u8], says: &str| {
        let key = identity::Keypair::generate_ed25519();
        let name = hostile::number(&key);
        let got = runtime.block_on(async {
            let mut one = Hostile::new(Some(key), stage.port("muscat"));
            one.connect().await;
            let stream = one.say(muscat, ROSTER, bytes).await.expect("one small stream");
            one.until_end(stream).await
        });
        assert!(got.is_empty(), "nothing is told to whoever brings nothing: {got:?}");
        logged(&stage, "muscat", &[&name, says]);
    };
    misuse(&[0xff; 4096], "more documents or bytes than a roster exchange may carry");
    // One document of 64 KiB: refused on its announcement, before a byte of it is awaited.
    misuse(&[0, 1, 0, 1, 0, 0], "more documents or bytes than a roster exchange may carry");
    undisturbed(&stage);
    // One of 8 KiB: as long as it may be, and then nothing.
    misuse(&[0, 1, 0, 0, 0x20, 0], "it took longer than 5 s");

    let key = identity::Keypair::generate_ed25519();
    let name = hostile::number(&key);
    runtime.block_on(async {
        let mut one = Hostile::new(Some(key), stage.port("muscat"));
        one.connect().await;
        let mut opened = Vec::new();
        for _ in 0..100 {
            match one.say(muscat, ROSTER, &[0]).await {
                Ok(stream) => opened.push(stream),
                Err(_) => break,
            }
        }
        assert!(opened.len() < 100, "a hundred streams");
    });
    logged(&stage, "muscat", &[&name, "a stranger's second stream"]);
    undisturbed(&stage);
}

/// M12, M23: a node with a valid card of another channel at the same mediator. It is served there, in its own channel; to the
/// capitals of this one it gets no circuit, and the mediator names it.
#[test]
fn m12_a_node_of_another_channel_gets_no_circuit_and_is_named() {
    let stage = Stage::open(super::programs!());
    let others = stage.found_beside(super::OTHERS);
    install_beside(&stage, &others);
    // All lines of the mediator are set up anew: now they stand again.
    undisturbed(&stage);
    let (muscat, tehran) = (node_of(&stage, "muscat"), node_of(&stage, "tehran"));
    let key = hostile::stolen(&others.node("baku").data(), 1);
    let runtime = Runtime::new().expect("runtime");
    let mut baku = Hostile::new(Some(key), stage.port("muscat"));
    runtime.block_on(async {
        baku.connect().await;
        baku.reserve(muscat).await.expect("it is admitted in its own channel");
    });
    let insisting = runtime.spawn(baku.insist(muscat, tehran));
    let line = logged(&stage, "muscat", &["baku", "with whom it shares no channel"]);
    assert!(line.contains("turned away"), "{line}");
    undisturbed(&stage);
    assert!(!stage.node("tehran").log().contains("baku"));
    if insisting.is_finished() {
        let ended = runtime.block_on(insisting).expect("no panic");
        ended.expect("no circuit into another channel");
    }
}

/// M12: a card that its roots have revoked, in the hands of somebody who has its key.
#[test]
fn m12_a_revoked_card_gets_no_reservation_and_no_circuit_and_is_named() {
    let mut stage = Stage::found_as(super::programs!(), THREE);
    start_without_paris(&mut stage);
    stage.ok(&[
        "revoke",
        "paris/paris.card",
        "--reason",
        "its machine was stolen",
        "--out",
        "revocation.toml",
    ]);
    stage.ok(&["sign", "revocation.toml", "--key", "paris.root"]);
    stage.ok(&["install", "revocation.toml", "--data", "washington"]);
    // It spreads: the mediator and the other capital say so.
    for id in ["muscat", "tehran"] {
        let began = Instant::now();
        while !stage.ok(&["status", "--data", id, "--json"]).stdout.contains("its machine was stolen") {
            assert!(began.elapsed() < Duration::from_secs(30), "{id} has not heard of it");
            stage.node(id).ready();
        }
    }
    let (muscat, tehran) = (node_of(&stage, "muscat"), node_of(&stage, "tehran"));
    let key = hostile::stolen(&stage.node("paris").data(), 1);
    Runtime::new().expect("runtime").block_on(async {
        let mut paris = Hostile::new(Some(key.clone()), stage.port("muscat"));
        paris.connect().await;
        paris.reserve(muscat).await.expect_err("no reservation");
        let mut paris = Hostile::new(Some(key), stage.port("muscat"));
        paris.connect().await;
        paris.circuit(muscat, tehran).await.expect_err("no circuit");
    });
    logged(&stage, "muscat", &["paris", "a reservation by a node that no channel admits"]);
    logged(&stage, "muscat", &["paris", "with whom it shares no channel"]);
    undisturbed_without_paris(&stage);
}

/// M23, M25, B1: the worst of all, a peer of the same channel that turns. It gets its circuit, and then no session for garbage,
/// for a message that is announced and never comes, for silence, or for a hundred streams at once; the line between the
/// others goes on, also while its streams hang.
#[test]
fn m23_a_peer_that_turns_hostile_gets_no_session_and_does_not_keep_the_others_out() {
    let mut stage = Stage::found_as(super::programs!(), THREE);
    start_without_paris(&mut stage);
    undisturbed_without_paris(&stage);
    let preamble = preamble(&stage);
    let (muscat, tehran) = (node_of(&stage, "muscat"), node_of(&stage, "tehran"));
    let runtime = Runtime::new().expect("runtime");
    let mut paris = Hostile::new(Some(hostile::stolen(&stage.node("paris").data(), 1)), stage.port("muscat"));
    let mut hanging = Vec::new();
    runtime.block_on(async {
        paris.connect().await;
        paris.reserve(muscat).await.expect("a member");
        paris.circuit(muscat, tehran).await.expect("a member");
        let garbage = paris.say(tehran, LIVE, &vec![0xee; 64 << 10]).await.expect("a stream");
        paris.until_end(garbage).await;
        let other = [&[1][..], &[7; 32]].concat();
        let elsewhere = paris.say(tehran, LIVE, &other).await.expect("a stream");
        paris.until_end(elsewhere).await;
        let nonsense = [&preamble[..], &[0, 200], &[0xee; 200]].concat();
        let nonsense = paris.say(tehran, LIVE, &nonsense).await.expect("a stream");
        paris.until_end(nonsense).await;
        let announced = [&preamble[..], &ANNOUNCED].concat();
        hanging.push(paris.say(tehran, LIVE, &announced).await.expect("a stream"));
        for _ in 0..100 {
            hanging.extend(paris.say(tehran, LIVE, &preamble[..1]).await);
        }
    });
    // They hang, most of them refused already; the two others take their line down and set it up again beside them.
    stage.node_mut("washington").terminate();
    stage.node_mut("washington").start_ready();
    open_without_paris(&stage);
    undisturbed_without_paris(&stage);
    for says in ["a channel that is not here", "too many at once"] {
        logged(&stage, "tehran", &["paris", says]);
    }
    drop(runtime.enter());
    drop(hanging);
}

/// Notices still go both ways between the two whose nodes are honest.
#[track_caller]
fn undisturbed_without_paris(stage: &Stage) {
    for (from, to) in [("washington", "tehran"), ("tehran", "washington")] {
        let said = stage.json_saying(from, &["say"], "Undisturbed.");
        let began = Instant::now();
        loop {
            let shown = stage.json(from, &["show", text(&said, "serial")]);
            let evidence = shown["evidence"].as_array().expect("evidence");
            if evidence.iter().any(|piece| piece["kind"] == "delivered" && piece["by"] == to) {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{from} does not reach {to}: {shown:#}");
        }
    }
}

fn start_without_paris(stage: &mut Stage) {
    for id in ["muscat", "tehran", "washington"] {
        stage.node_mut(id).start_ready();
    }
    open_without_paris(stage);
}

/// Returns when the two say that the line between them is open.
#[track_caller]
fn open_without_paris(stage: &Stage) {
    for (id, peer) in [("washington", "tehran"), ("tehran", "washington")] {
        let began = Instant::now();
        loop {
            let status = stage.json(id, &["status"]);
            let peers = status["channels"][0]["peers"].as_array().expect("peers");
            if peers.iter().any(|one| one["party"] == peer && one["state"] == "up") {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{status:#}");
        }
    }
}
