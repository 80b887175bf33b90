//! The story, act by act. Every sentence stands behind an assertion on what the programs said.

use std::{
    fs,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    support::{
        node::Node,
        programs::{Outcome, Programs},
        stage::{CAST, Stage, card, evidence, profile, text},
    },
    told::{self, SHOW_COMMANDS, Times, act, quote, say},
};

const WAIT: [&str; 4] = ["--wait", "delivered", "--timeout", "30s"];

/// Plays all of it.
pub(crate) fn play(programs: Programs, keep: bool) {
    let directory = tempfile::Builder::new().prefix("demarche-demo-").tempdir().expect("temporary directory");
    let mut stage = Stage::empty(programs, directory.path(), CAST, Box::new(told::command));
    let mut times = Times::default();
    println!("Two capitals that do not trust each other, and a mediator who can read none of it.");
    println!("Everything happens in {}.", directory.path().display());

    ceremony(&stage, &mut times);
    start(&mut stage, &mut times);
    let case = breach(&stage, &mut times);
    answers(&stage, &case, &mut times);
    line_test(&stage, &mut times);
    outage(&mut stage, &mut times);
    custody(&mut stage, &mut times);
    renewal(&mut stage, &mut times);
    case_at_both(&stage, &case);
    if keep {
        times.print();
        leave(&mut stage, directory);
    } else {
        end(&mut stage, &mut times);
        times.print();
    }
}

fn ceremony(stage: &Stage, times: &mut Times) {
    act("1. The ceremony: roots sign cards, a charter and officers' documents, never on a node");
    SHOW_COMMANDS.store(true, Ordering::Relaxed);
    times.of("ceremony, all of it", || stage.ceremony());
    SHOW_COMMANDS.store(false, Ordering::Relaxed);
    let verified = stage.ok(&["charter", "verify", "charter.toml"]);
    assert!(verified.stdout.contains("all have signed"), "{verified}");
    quote(&verified.stdout);
}

fn start(stage: &mut Stage, times: &mut Times) {
    act("2. Three nodes start");
    times.of("three nodes started, line open", || stage.start());
    for (id, ..) in CAST.parties {
        let status = stage.as_officer(id, &["status", "--check"]).ok();
        say(&format!("{id}: {}", status.stdout.lines().next().unwrap_or_default()));
    }
}

fn breach(stage: &Stage, times: &mut Times) -> String {
    act("3. Washington reports a breach of 3.2, FLASH");
    let notice =
        "Two vessels stopped in the strait\n\nAt 11:02 two merchant vessels were stopped and boarded.\n";
    let words =
        ["breach", "3.2", "--place", "Strait of Hormuz", "--means", "seen", "--confidence", "confirmed"];
    let sent = times.of("notice recorded, delivered and its signed receipt verified (command)", || {
        stage.json_saying("washington", &[&words[..], &WAIT].concat(), notice)
    });
    assert_eq!(sent["state"], "delivered", "{sent:#}");
    let serial = text(&sent, "serial").to_owned();
    let shown = stage.json("washington", &["show", &serial]);
    let (recorded, delivered) = (evidence(&shown, "recorded"), evidence(&shown, "delivered"));
    assert_eq!((text(&shown, "precedence"), text(delivered, "by")), ("flash", "tehran"));
    assert_eq!(delivered["verified"], true);
    say(&format!("{serial}: recorded {}, delivered {}", text(recorded, "at"), text(delivered, "at")));
    times.note(
        "of that: recorded there after recorded here (both clocks are one here)",
        between(recorded, delivered),
    );
    let inbox = stage.as_officer("tehran", &["inbox"]).ok();
    assert!(inbox.stdout.contains(&serial), "{inbox}");
    say("Tehran's inbox, headers only: reading it does not betray that one has read");
    quote(&inbox.stdout);
    serial
}

fn answers(stage: &Stage, case: &str, times: &mut Times) {
    act("4. Tehran opens it, acknowledges it, and answers");
    let opened = times.of("opened: *opened* receipt durable before the text is shown (command)", || {
        stage.as_officer("tehran", &["open", case]).ok()
    });
    assert!(opened.stdout.contains("stopped and boarded"), "{opened}");
    quote(&opened.stdout);
    let acknowledged = times.of("acknowledgement delivered (command)", || {
        stage.json(
            "tehran",
            &[&["ack", case, "--note", "Received 11:05, informing the ministry."][..], &WAIT].concat(),
        )
    });
    assert_eq!(acknowledged["state"], "delivered");
    let reply = stage.json_saying(
        "tehran",
        &[&["reply", case, "--position", "investigating"][..], &WAIT].concat(),
        "We have asked the coast guard. You will hear within the hour.",
    );
    assert_eq!(text(&reply, "case"), case);
    for (id, words) in [
        ("washington", "Thank you. The crews ask for a doctor; can you say whether one is aboard?"),
        ("tehran", "A doctor is aboard since 11:20."),
    ] {
        let said = stage.json_saying(id, &[&["say", "--case", case][..], &WAIT].concat(), words);
        assert_eq!((text(&said, "state"), text(&said, "case")), ("delivered", case));
        say(&format!("{id} ({}): {words}", text(&said, "serial")));
    }
}

fn line_test(stage: &Stage, times: &mut Times) {
    act("5. A test of the line, signed there and back");
    let tests = stage.json("washington", &["line", "test"]);
    let test = &tests[0];
    assert_eq!(test["verified"], true, "{tests:#}");
    let rtt = test["rtt_ms"].as_f64().expect("a round trip");
    times.note("line test there and back", Duration::from_secs_f64(rtt / 1e3));
    say(&format!("{} via {}: {rtt:.1} ms there and back", text(test, "peer"), text(test, "via")));
}

fn outage(stage: &mut Stage, times: &mut Times) {
    act("6. The mediator falls over (kill -9); a notice is recorded all the same");
    stage.node_mut("muscat").kill();
    let cause = lost(stage);
    say(&cause);
    let words = ["breach", "4.1", "--title", "Exercise not announced", "--wait", "recorded", "--json"];
    let recorded = stage.as_officer_saying("washington", &words, "Live firing since 06:00.").ok().json();
    assert_eq!(recorded["state"], "recorded", "{recorded:#}");
    let serial = text(&recorded, "serial").to_owned();
    say(&format!("{serial}: RECORDED HERE, NOT YET DELIVERED"));
    let waiting = stage.begin(
        "tehran",
        &["say", "--wait", "delivered", "--timeout", "60s", "--json"],
        "Are you there?",
    );
    let back = Instant::now();
    stage.node_mut("muscat").start();
    let sent = Outcome::wait(waiting, "demarche say".to_owned()).ok().json();
    assert_eq!(sent["state"], "delivered");
    let shown = delivered(stage, "washington", &serial);
    times.note("mediator started again → both delivered", back.elapsed());
    say(&format!("the mediator is back; {serial} delivered {}", text(evidence(&shown, "delivered"), "at")));
}

/// Looks until the status names the cause. The connection breaks at once; each look is a process.
fn lost(stage: &Stage) -> String {
    let began = Instant::now();
    loop {
        let status = stage.json("washington", &["status"]);
        let verdict = text(&status, "verdict");
        if verdict.contains("mediator muscat unreachable since") {
            return verdict.to_owned();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "no cause is named: {status:#}");
    }
}

/// Stays with a serial until it is delivered.
fn delivered(stage: &Stage, id: &str, serial: &str) -> Value {
    let began = Instant::now();
    loop {
        let shown = stage.json(id, &["show", serial]);
        if !["recorded", "custody"].contains(&text(&shown, "state")) {
            return shown;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{serial} is not delivered: {shown:#}");
    }
}

fn custody(stage: &mut Stage, times: &mut Times) {
    act("7. Tehran's node is off: the mediator keeps a notice for it, and can read none of it");
    stage.node_mut("tehran").terminate();
    let words =
        ["breach", "4.1", "--title", "While Tehran's node was off", "--wait", "custody", "--timeout", "60s"];
    let sent = times.of("in custody: sealed, kept, and signed for by the mediator (command)", || {
        stage.json_saying("washington", &words, "A drone crossed the line at 13:40.")
    });
    assert_eq!(sent["state"], "custody", "{sent:#}");
    let serial = text(&sent, "serial").to_owned();
    let shown = stage.json("washington", &["show", &serial]);
    let kept = evidence(&shown, "custody");
    assert_eq!((text(kept, "by"), &kept["verified"]), ("muscat", &Value::Bool(true)));
    say(&format!("{serial}: IN CUSTODY, {} signed at {}", text(kept, "by"), text(kept, "at")));
    stage.node_mut("washington").terminate();
    let back = Instant::now();
    stage.node_mut("tehran").start_ready();
    while !stage.as_officer("tehran", &["inbox"]).ok().stdout.contains(&serial) {
        assert!(back.elapsed() < Duration::from_secs(60), "{serial} is not collected");
    }
    times.note("Tehran's node started → collected, with the sender gone", back.elapsed());
    say("Washington's node is off as well; Tehran's has collected it and holds it");
    stage.node_mut("washington").start_ready();
    let shown = delivered(stage, "washington", &serial);
    say(&format!("{serial}: delivered {}", text(evidence(&shown, "delivered"), "at")));
    stage.line_open();
}

fn renewal(stage: &mut Stage, times: &mut Times) {
    act("8. Washington's node gets a new card and new keys");
    stage.ok(&["card", "renew", "--data", "washington"]);
    stage.ok(&["sign", "washington/washington.2.card", "--key", "washington.root"]);
    times.of("new card installed, line open under it, a notice delivered", || {
        stage.ok(&["install", "washington/washington.2.card", "--data", "washington"]);
        let words =
            [&["breach", "4.1", "--nature", "test", "--title", "First under the new card"][..], &WAIT]
                .concat();
        let sent = stage.json_saying("washington", &words, "A test.");
        assert_eq!(sent["state"], "delivered");
        let shown = stage.json("tehran", &["show", text(&sent, "serial")]);
        let authority = shown["authority"].as_array().expect("authority");
        let renewed =
            |file: &Value| text(file, "text").contains("card/1") && text(file, "text").contains("serial = 2");
        assert!(authority.iter().any(renewed), "not under the new card: {shown:#}");
        say(&format!("{} was written under card 2, and Tehran's node holds it", text(&sent, "serial")));
    });
    assert!(fs::exists(stage.dir.join(card("washington"))).expect("file"), "the first card stays");
    stage.line_open();
}

fn case_at_both(stage: &Stage, case: &str) {
    act("9. Both capitals hold the same case");
    let mut documents = Vec::new();
    for (id, ..) in CAST.parties {
        let cases = stage.json(id, &["cases"]);
        let found = cases.as_array().expect("cases").iter().find(|found| text(found, "serial") == case);
        let found = found.unwrap_or_else(|| panic!("{id} has no case {case}: {cases:#}"));
        let mut held: Vec<String> = found["entries"]
            .as_array()
            .expect("entries")
            .iter()
            .map(|header| text(header, "document").to_owned())
            .collect();
        held.sort_unstable();
        assert_eq!(held.len(), 5, "{found:#}");
        assert_eq!(text(found, "position"), "investigating");
        documents.push(held);
    }
    assert_eq!(documents[0], documents[1], "the two sides differ");
    let shown = stage.as_officer("washington", &["show", case]).ok();
    assert!(shown.stdout.contains("ACKNOWLEDGED"), "{shown}");
    quote(&shown.stdout);
}

fn end(stage: &mut Stage, times: &mut Times) {
    act("10. SIGTERM ends all three");
    let mut slowest = Duration::ZERO;
    for node in &mut stage.nodes {
        let (took, code) = node.terminate();
        assert_eq!(code, 0, "{} did not end cleanly:\n{}", node.id, node.log());
        assert!(took < Duration::from_secs(5), "{} took {took:?}", node.id);
        slowest = slowest.max(took);
    }
    times.note("slowest node to end on SIGTERM", slowest);
}

/// Leaves everything as it is, and says how to go on.
fn leave(stage: &mut Stage, directory: tempfile::TempDir) {
    let kept = directory.keep();
    act("The nodes are left running. Commands to type:");
    println!("cd {}", kept.display());
    println!("alias demarche={}", stage.programs.demarche.display());
    let (west, east) = (profile("washington"), profile("tehran"));
    println!("demarche status --profile {west}");
    println!("demarche watch --profile {east}              # in a second terminal");
    println!("demarche breach --profile {west}");
    println!("demarche inbox --profile {east}");
    println!("demarche cases --profile {east}");
    println!("kill -9 {}                                   # the mediator", pid(stage.node("muscat")));
    println!(
        "{} --data muscat     # and its return, in a terminal of its own",
        stage.programs.demarched.display()
    );
    let pids: Vec<String> = stage.nodes.iter().map(pid).collect();
    // One that was killed before must not keep the rest from ending, and they take a moment.
    println!("kill {}; sleep 5; rm -r {}    # the end", pids.join(" "), kept.display());
    stage.nodes.iter_mut().for_each(Node::leave);
}

fn pid(node: &Node) -> String {
    node.pid().map(|pid| pid.to_string()).unwrap_or_default()
}

/// The time between two pieces of evidence.
fn between(earlier: &Value, later: &Value) -> Duration {
    let millis = |piece: &Value| {
        let at = text(piece, "at");
        let clock = at.split('T').nth(1).unwrap_or_default().trim_end_matches('Z');
        let mut parts = clock.split(':').map(|part| part.parse::<f64>().unwrap_or_default());
        let mut next = || parts.next().unwrap_or_default();
        (next() * 3600.0 + next() * 60.0 + next()) * 1e3
    };
    // Over midnight the later one is smaller.
    let difference = (millis(later) - millis(earlier)).rem_euclid(86_400_000.0);
    Duration::from_secs_f64(difference / 1e3)
}
