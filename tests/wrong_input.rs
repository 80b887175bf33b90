//! Wrong input at every command: the right exit code, what failed, a next step, and nothing typed or signed lost.

mod support;

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use support::{
    programs::Outcome,
    stage::{Stage, text},
};

/// A sentence that must be found again in what was kept.
const TYPED: &str = "What was typed with care at three in the morning.";

#[test]
fn what_is_refused_by_rule_ends_with_4_and_is_kept() {
    let stage = Stage::open(programs!());
    stage.ok(&["key", "new", "drafter", "--no-passphrase"]);
    stage.enrol("washington", "Drafter", "drafter", "draft");
    stage.ok(&["key", "new", "unknown", "--no-passphrase"]);

    let cases: [(&[&str], &str); 4] = [
        (&["breach", "9.9", "--title", "No such provision"], "9.9"),
        (&["breach", "3.2", "--title", "Not by a drafter", "--key", "drafter"], "release"),
        (&["say", "--key", "unknown"], "officer"),
        (&["say", "--key", "washington.root"], "officer"),
    ];
    for (words, says) in cases {
        let keep = stage.dir.join(format!("kept-{}", words.join("-").replace([' ', '.'], "_")));
        fs::create_dir(&keep).expect("directory");
        let all = [words, &["--keep-in", keep.to_str().expect("UTF-8")]].concat();
        stage.as_officer_saying("washington", &all, TYPED).refused(4, says);
        holds(&keep, TYPED);
    }
    let long = "a long sentence. ".repeat(4000);
    let words = ["say", "--keep-in", "."];
    let refused = stage.as_officer_saying("washington", &words, &long);
    assert!(refused.stderr.contains("help:"), "{refused}");
    refused.exit(4);

    // Nothing of all this was recorded, and the line is as it was.
    assert_eq!(stage.json("washington", &["inbox", "--all"]), serde_json::json!([]));
    stage.json_saying("washington", &["say", "--wait", "delivered", "--timeout", "30s"], "All is well.");
}

#[test]
fn what_cannot_be_read_or_found_says_so_with_a_next_step() {
    let stage = Stage::open(programs!());
    let not_utf8 = Outcome::of(stage.officer_command("washington", &["say"]), Some(b"caf\xe9 at the strait"));
    assert!(not_utf8.code != 0 && not_utf8.stderr.contains("UTF-8"), "{not_utf8}");
    assert!(not_utf8.stderr.contains("help:"), "{not_utf8}");

    for words in [
        &["breach", "4.1", "--title", "T", "--body-file", "nowhere.txt"][..],
        &["send", "nowhere.toml"],
        &["open", "tehran/77"],
        &["ack", "tehran/77"],
        &["show", "tehran/77"],
        &["sign", "nowhere.toml", "--key", "washington.root"],
        &["install", "nowhere.toml", "--data", "washington"],
        &["charter", "verify", "nowhere.toml"],
        &["officer", "draft", "--name", "N", "--key", "nowhere.pub", "--duties", "draft", "--out", "n.toml"],
        &["revoke", "nowhere.toml", "--reason", "lost", "--out", "r.toml"],
        &["say", "--key", "nowhere.key"],
        &["status", "--profile", "nowhere/profile.toml"],
    ] {
        let outcome = if words.contains(&"--profile") {
            stage.run(words)
        } else {
            stage.as_officer_saying("washington", words, TYPED)
        };
        assert!(matches!(outcome.code, 1 | 4), "{outcome}");
        assert!(outcome.stderr.contains("help:"), "no next step: {outcome}");
    }
    for words in [
        &["reply", "washington/3", "--position", "perhaps"][..],
        &["breach", "4.1", "--precedence", "soon"],
        &["say", "--wait", "forever"],
        &["no-such-command"],
    ] {
        stage.as_officer_saying("washington", words, TYPED).exit(2);
    }
}

#[test]
fn with_the_node_stopped_every_command_that_needs_it_ends_with_3_and_what_was_signed_is_sent_later() {
    let mut stage = Stage::open(programs!());
    stage.node_mut("washington").terminate();
    for words in [
        &["inbox"][..],
        &["open", "tehran/3"],
        &["ack", "tehran/3"],
        &["cases"],
        &["show", "tehran/3"],
        &["status"],
        &["watch"],
        &["line", "test"],
    ] {
        let outcome = stage.as_officer("washington", words).refused(3, "not reachable");
        assert!(outcome.stderr.contains("demarched --data"), "{outcome}");
    }

    // Composing and signing work with the node down; the message ends with the command that sends it later.
    let keep = stage.dir.join("kept");
    fs::create_dir(&keep).expect("directory");
    let words = ["breach", "3.2", "--title", "Signed while the node was down", "--keep-in", "kept"];
    let away = stage.as_officer_saying("washington", &words, TYPED).refused(3, "demarche send");
    let file = holds(&keep, TYPED);
    assert!(away.stderr.contains(file.file_name().and_then(|name| name.to_str()).expect("name")), "{away}");

    stage.node_mut("washington").start_ready();
    let again_and_again = ["send", file.to_str().expect("UTF-8"), "--wait", "delivered", "--timeout", "30s"];
    let sent = stage.json("washington", &again_and_again);
    assert_eq!(sent["state"], "delivered");
    let again = stage.json("washington", &again_and_again);
    assert_eq!(again["serial"], sent["serial"], "sending twice is safe");
    let there = stage.json("tehran", &["inbox"]);
    assert_eq!(there.as_array().map(Vec::len), Some(1), "{there:#}");
    assert_eq!(text(&there[0], "title"), "Signed while the node was down");
}

#[test]
fn a_script_that_is_ended_while_the_node_hangs_leaves_what_it_signed() {
    let stage = Stage::open(programs!());
    for (signal, expected) in [("HUP", 129), ("TERM", 143)] {
        let keep = stage.dir.join(format!("kept-{signal}"));
        fs::create_dir(&keep).expect("directory");
        let node = stage.node("washington").pid().expect("it runs");
        kill("STOP", node);
        let words = ["say", "--keep-in", keep.to_str().expect("UTF-8")];
        let child = stage.begin("washington", &words, TYPED);
        let began = Instant::now();
        while fs::read_dir(&keep)
            .expect("directory")
            .flatten()
            .all(|entry| entry.path().extension() != Some("json".as_ref()))
        {
            assert!(began.elapsed() < Duration::from_secs(60), "nothing is kept while the node hangs");
            std::thread::yield_now();
        }
        kill(signal, child.id());
        let ended = Outcome::wait(child, "say".to_owned());
        kill("CONT", node);
        let ended = ended.refused(expected, "demarche send");
        let file = holds(&keep, TYPED);
        let command = format!("\nhelp: demarche send {} --profile ", file.display());
        assert!(ended.stderr.contains(&command), "{ended}");
        stage.as_officer("washington", &["send", file.to_str().expect("UTF-8")]).ok();
    }
}

fn kill(signal: &str, process: u32) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {process}")]).status();
    assert!(sent.expect("sh").success());
}

/// The one file kept there, which holds what was typed.
#[track_caller]
fn holds(keep: &std::path::Path, typed: &str) -> PathBuf {
    let files: Vec<PathBuf> =
        fs::read_dir(keep).expect("directory").flatten().map(|entry| entry.path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let kept = fs::read_to_string(&files[0]).expect("kept file");
    assert!(kept.contains(typed), "{kept}");
    files[0].clone()
}
