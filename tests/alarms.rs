//! Alarms with real processes: the charter's times, the bell at both capitals, the hook, a name that outlives `kill -9`, the lost line
//! and the heartbeat.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    stage::{CAST, Stage, text},
    terminal::{INTERRUPT, Terminal},
};

/// A program that has not started within this is not going to.
const PATIENCE: Duration = Duration::from_secs(20);

/// A charter that gives a FLASH four seconds to be delivered and as many to be acknowledged, a hook at each capital and a heartbeat.
fn found(dir: &Path) -> Stage {
    let stage = Stage::empty(programs!(), dir, CAST, Box::new(|_| {}));
    stage.keys_and_cards();
    stage.draft();
    let path = dir.join("charter.toml");
    let charter = fs::read_to_string(&path).expect("a draft");
    let edited = charter.replacen("deliver_within = \"2m\"", "deliver_within = \"4s\"", 1).replacen(
        "acknowledge_within = \"10m\"",
        "acknowledge_within = \"4s\"",
        1,
    );
    assert_eq!(edited.matches("\"4s\"").count(), 2, "{charter}");
    fs::write(path, edited).expect("edited");
    stage.agree();
    for (id, ..) in stage.cast.parties {
        stage.officer_of(id);
        let keep =
            |what: &str| format!("command = [\"sh\", \"-c\", \"cat >> {}\"]", file(dir, id, what).display());
        let config = format!("[hook]\n{}\n[heartbeat]\n{}\nevery = \"10s\"\n", keep("rung"), keep("beats"));
        fs::write(dir.join(id).join("demarched.toml"), config).expect("configuration");
    }
    stage
}

fn file(dir: &Path, id: &str, what: &str) -> PathBuf {
    dir.join(format!("{id}.{what}"))
}

/// What a program of the operator's was given, one object a line.
fn given(stage: &Stage, id: &str, what: &str) -> Vec<Value> {
    let text = fs::read_to_string(file(&stage.dir, id, what)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// What the hook was told of alarms of this cause, once it was so often.
#[track_caller]
fn rung(stage: &Stage, id: &str, cause: &str, times: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let mut calls = given(stage, id, "rung");
        calls.retain(|event| event["alarm"]["cause"] == cause);
        if calls.len() >= times {
            return calls;
        }
        // A terminal is told before a program has started.
        assert!(begun.elapsed() < PATIENCE, "{cause}: {calls:#?}");
        thread::yield_now();
    }
}

/// The one alarm that stands.
#[track_caller]
fn only(stage: &Stage, id: &str) -> Value {
    let alarms = stage.json(id, &["alarms"]);
    let mut standing: Vec<Value> =
        alarms.as_array().expect("a list").iter().filter(|alarm| alarm["over"].is_null()).cloned().collect();
    assert_eq!(standing.len(), 1, "{alarms:#}");
    standing.remove(0)
}

#[test]
fn what_nobody_sees_to_alarms_both_capitals_until_somebody_does() {
    let dir = tempfile::Builder::new().prefix("demarche-").tempdir().expect("temporary directory");
    let mut stage = found(dir.path());
    for id in ["muscat", "washington"] {
        stage.node_mut(id).start_ready();
    }
    let mut west = Terminal::run(&stage.officer_command("washington", &["watch"]));
    west.until("watching memo26");

    // Their node is not there.
    let sent = stage.json_saying("washington", &["breach", "3.2"], "Two vessels stopped\n");
    let serial = text(&sent, "serial");
    west.until("undelivered");
    west.until("\u{7}");
    let alarm = only(&stage, "washington");
    assert_eq!(
        (text(&alarm, "cause"), text(&alarm, "serial"), text(&alarm, "peer")),
        ("undelivered", serial, "tehran")
    );
    assert!(text(&alarm, "due") <= text(&alarm, "last"), "{alarm:#}");
    let status = stage.as_officer("washington", &["status"]).ok();
    assert!(status.stdout.contains("\n1 alarm stands, 1 not taken; the gravest: undelivered: "), "{status}");

    // It comes, and nobody opens what has come.
    stage.node_mut("tehran").start_ready();
    let mut east = Terminal::run(&stage.officer_command("tehran", &["watch"]));
    east.until("unopened-here");
    east.until("\u{7}");
    west.until("over since");
    west.until("unopened");
    let arrived = rung(&stage, "tehran", "urgent-arrival", 1).remove(0);
    assert_eq!((text(&arrived, "kind"), text(&arrived["header"], "serial")), ("arrived", serial));
    assert_eq!(text(&arrived["header"], "title"), "Two vessels stopped");
    assert_eq!(rung(&stage, "washington", "undelivered", 1)[0]["header"]["precedence"], "flash");

    // Somebody sees to it, and that outlives the node.
    let number = only(&stage, "washington")["number"].to_string();
    let taken = stage.json("washington", &["alarms", "take", &number, "--by", "A. Watch"]);
    west.until("taken by A. Watch");
    stage.node_mut("washington").kill();
    west.until("NODE LOST");
    stage.node_mut("washington").start_ready();
    west.until("the node is back");
    stage.line_open();
    let alarm = only(&stage, "washington");
    assert_eq!((&alarm["number"], &alarm["taken"]), (&taken[0]["number"], &taken[0]["taken"]));
    stage
        .as_officer("washington", &["alarms", "take", "99", "--by", "A. Watch"])
        .refused(1, "there is no alarm 99");

    // Opened and not acknowledged is another silence, and nobody's yet.
    stage.json("tehran", &["open", serial]);
    west.until("unacknowledged");
    east.until("unacknowledged-here");
    stage.json("tehran", &["ack", serial, "--wait", "delivered", "--timeout", "30s"]);
    for (terminal, id) in [(&mut west, "washington"), (&mut east, "tehran")] {
        terminal.until("over since");
        let alarms = stage.as_officer(id, &["alarms"]).ok();
        assert!(alarms.stdout.starts_with("no alarm stands\n"), "{alarms}");
    }

    // The line is lost, and the bell rings every minute.
    stage.node_mut("tehran").kill();
    west.until("line-down");
    let lost = Instant::now();
    west.until("line-down");
    let again = lost.elapsed();
    assert!((55..75).contains(&again.as_secs()), "again after {again:?}");
    let calls = rung(&stage, "washington", "line-down", 2);
    assert_eq!((calls.len(), &calls[0]["alarm"]["number"]), (2, &calls[1]["alarm"]["number"]));
    stage.ok(&["alarms", "take", "--all", "--by", "A. Watch", "--data", "washington"]);
    stage.node_mut("tehran").start_ready();
    stage.line_open();
    west.until("over since");

    // The node has said all the while that it is well.
    let beats = given(&stage, "washington", "beats");
    assert!(beats.len() >= 5, "{}", beats.len());
    assert_eq!(text(&beats[0], "party"), "washington");
    for terminal in [&mut west, &mut east] {
        terminal.keys(INTERRUPT);
    }
}
