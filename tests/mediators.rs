//! Two mediators with real processes: each in turn is killed, or hangs, while notices flow. The line goes on over the other; nothing is
//! lost, nothing arrives twice, and status says which way carries it and which is gone.

mod support;

use std::{
    collections::BTreeSet,
    net::{Shutdown, TcpListener, TcpStream},
    process::Child,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    programs::Outcome,
    stage::{OVER_TWO, Stage, text},
};

const SIDES: [(&str, &str); 2] = [("washington", "tehran"), ("tehran", "washington")];
const DELIVERED: [&str; 5] = ["--wait", "delivered", "--timeout", "60s", "--json"];
/// Generous: whoever measures runs `cargo bench`. What a lone mediator's silence takes to be noticed by itself, and a new
/// session after it, is longer.
const MOVES_WITHIN: Duration = Duration::from_secs(10);

/// How a mediator fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// `kill -9`: the kernel closes its connections.
    Killed,
    /// SIGSTOP: nothing is closed.
    Hangs,
}

#[test]
fn whichever_mediator_fails_the_other_carries_the_line_and_each_notice_arrives_once() {
    let mut stage = Stage::open_as(programs!(), OVER_TWO);
    both_tested(&stage);
    let mut said = BTreeSet::new();
    for (round, failure) in
        [Failure::Killed, Failure::Hangs, Failure::Killed, Failure::Hangs].into_iter().enumerate()
    {
        let failing = carrier(&stage, "washington").expect("the line is open");
        // Some are on their way when it happens.
        let flowing = say_all(&stage, &mut said, &format!("flowing {round}"));
        match failure {
            Failure::Killed => stage.node_mut(&failing).kill(),
            Failure::Hangs => stage.node(&failing).pause(),
        }
        let failed = Instant::now();
        let after = say_all(&stage, &mut said, &format!("after {round}"));
        for (what, child) in flowing.into_iter().chain(after) {
            let sent = Outcome::wait(child, what.clone()).ok().json();
            assert_eq!(sent["state"], "delivered", "{what}: {sent:#}");
        }
        let took = failed.elapsed();
        println!("{failing} {failure:?}: all delivered over the other {took:?} later");
        assert!(took < MOVES_WITHIN, "{failing} {failure:?}: {took:?}");
        for (id, peer) in SIDES {
            assert_ne!(carrier(&stage, id), Some(failing.clone()), "{id}");
            if failure == Failure::Killed {
                degraded(&stage, id, peer, &failing);
            }
        }
        match failure {
            Failure::Killed => stage.node_mut(&failing).start_ready(),
            Failure::Hangs => stage.node(&failing).resume(),
        }
        stage.line_open();
    }
    arrived_once(&stage, &said);
}

/// M6: a mediator hangs with frames in it and goes on seconds later, when the line has moved: both sides still hold the circuit over it, and
/// what it held comes late. The newer session is the one that lives, at both ends, and the older is fenced off.
#[test]
fn m6_of_two_circuits_one_carries_the_session_and_the_other_is_fenced() {
    let stage = Stage::open_as(programs!(), OVER_TWO);
    let mut said = BTreeSet::new();
    for round in 0..3 {
        let hanging = carrier(&stage, "washington").expect("the line is open");
        stage.node(&hanging).pause();
        for (what, child) in say_all(&stage, &mut said, &format!("hanging {round}")) {
            Outcome::wait(child, what).ok();
        }
        stage.node(&hanging).resume();
        for (what, child) in say_all(&stage, &mut said, &format!("going on {round}")) {
            Outcome::wait(child, what).ok();
        }
        stage.line_open();
        let used: Vec<_> = SIDES.iter().map(|(id, _)| carrier(&stage, id)).collect();
        assert!(used[0].is_some() && used[0] != Some(hanging), "{used:?}");
        assert_eq!(used[0], used[1], "both ends use the same");
    }
    arrived_once(&stage, &said);
    for (id, peer) in SIDES {
        let log = stage.node(id).log();
        assert!(!log.contains(&format!("line to {peer} interrupted")), "the line was never down:\n{log}");
    }
}

/// M12: at one mediator's address another node answers, a good one with a key of its own. Both capitals refuse it there by name, and the line
/// goes on over the other.
#[test]
fn m12_another_node_at_a_mediators_address_is_refused_by_name() {
    let mut stage = Stage::open_as(programs!(), OVER_TWO);
    let absent = carrier(&stage, "washington").expect("the line is open");
    let sound = if absent == "muscat" { "geneva" } else { "muscat" };
    stage.node_mut(&absent).kill();
    leads_to(stage.port(&absent), stage.port(sound));

    let mut said = BTreeSet::new();
    for (what, child) in say_all(&stage, &mut said, "past the impostor") {
        Outcome::wait(child, what).ok();
    }
    for (id, _) in SIDES {
        assert_eq!(carrier(&stage, id).as_deref(), Some(sound));
        let named = |line: &str| line.contains("another node than the card says") && line.contains(&absent);
        let began = Instant::now();
        while !stage.node(id).log().lines().any(named) {
            assert!(began.elapsed() < Duration::from_secs(20), "{}", stage.node(id).log());
            stage.node(id).ready();
        }
    }
    arrived_once(&stage, &said);
}

/// Whoever connects to one port of this machine speaks with another, for as long as the test runs.
fn leads_to(port: u16, other: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free again");
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(("127.0.0.1", other)) else { continue };
            for (mut from, mut to) in [(&near, &far), (&far, &near)].map(|(from, to)| (half(from), half(to)))
            {
                // It ends with either.
                thread::spawn(move || std::io::copy(&mut from, &mut to).map(|_| to.shutdown(Shutdown::Both)));
            }
        }
    });
}

fn half(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a descriptor")
}

/// A test of the line is signed over the way that carries it, and measures the other. Its first ping may be on its way.
fn both_tested(stage: &Stage) {
    let began = Instant::now();
    loop {
        let ended = stage.as_officer("washington", &["line", "test", "--json"]);
        let tests = ended.json();
        let count =
            |field: &str| tests.as_array().expect("tests").iter().filter(|test| test[field] == true).count();
        if (ended.code, count("verified"), count("stands_by")) == (0, 1, 1) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{ended}");
    }
}

/// Each capital begins to say something; their texts are added to `said`.
fn say_all(stage: &Stage, said: &mut BTreeSet<String>, what: &str) -> Vec<(String, Child)> {
    SIDES
        .iter()
        .map(|(id, _)| {
            let title = format!("{what} by {id}");
            let arguments = [&["breach", "4.1", "--title", &title][..], &DELIVERED].concat();
            let child = stage.begin(id, &arguments, "What happened.");
            assert!(said.insert(title.clone()));
            (title, child)
        })
        .collect()
}

fn peer(stage: &Stage, id: &str, peer: &str) -> (Value, Value) {
    let status = stage.json(id, &["status"]);
    let peers = status["channels"][0]["peers"].as_array().expect("peers");
    let found = peers.iter().find(|one| one["party"] == peer).expect("the peer").clone();
    (status, found)
}

/// The mediator that carries a capital's line.
fn carrier(stage: &Stage, id: &str) -> Option<String> {
    let other = SIDES.iter().find(|(side, _)| *side == id).expect("a capital").1;
    let (_, peer) = peer(stage, id, other);
    let paths = peer["paths"].as_array().expect("paths").clone();
    assert_eq!(paths.len(), 2, "{peer:#}");
    paths.iter().find(|path| path["carries"] == true).map(|path| text(path, "via").to_owned())
}

/// The line stands, one of its ways is gone, and status says so: at once where the connection closed, after some seconds of silence where it ran over
/// QUIC, since for UDP nobody speaks when a program dies.
#[track_caller]
fn degraded(stage: &Stage, id: &str, other: &str, gone: &str) {
    let began = Instant::now();
    let (status, peer) = loop {
        let (status, peer) = peer(stage, id, other);
        if text(&status, "level") != "up" {
            break (status, peer);
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{status:#}");
    };
    let verdict = text(&status, "verdict");
    assert_eq!((text(&status, "level"), text(&peer, "state")), ("degraded", "up"), "{status:#}");
    assert!(verdict.starts_with(&format!("line open to {other} via ")), "{verdict}");
    assert!(verdict.contains(&format!("mediator {gone} unreachable since")), "{verdict}");
    let paths = peer["paths"].as_array().expect("paths");
    let lost = paths.iter().find(|path| path["via"] == gone).expect("the path");
    assert_eq!((text(lost, "state"), &lost["carries"]), ("down", &false.into()), "{status:#}");
}

/// Whatever was said is in both capitals' lists, once.
#[track_caller]
fn arrived_once(stage: &Stage, said: &BTreeSet<String>) {
    for (id, _) in SIDES {
        let inbox = stage.json(id, &["inbox", "--all"]);
        let titles: Vec<&str> =
            inbox.as_array().expect("inbox").iter().map(|header| text(header, "title")).collect();
        let different: BTreeSet<String> = titles.iter().map(|title| (*title).to_owned()).collect();
        assert_eq!(titles.len(), different.len(), "{id} has something twice: {titles:?}");
        assert!(different.is_subset(said), "{id}: {titles:?}");
        let of_peer = said.iter().filter(|title| !title.ends_with(id));
        assert!(of_peer.clone().all(|title| different.contains(title)), "{id} misses something: {titles:?}");
    }
}
