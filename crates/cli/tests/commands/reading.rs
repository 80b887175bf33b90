//! `inbox`, `open`, `show`, `cases`, `status`, `line test`, `completions`: what is printed, and what is told to whom.

use demarche_cli::exit::Exit;
use demarche_control::types::{
    AlarmCount, ChannelStatus, EvidenceKind, LineTest, LinkState, LogHead, Path, Peer, State, Status, Verdict,
};
use demarche_protocol::hash::{ChannelId, DocumentId, EntryHash, sha256};

use super::answering::tehrans_notice;
use crate::{
    node::{Node, evidence},
    scene::{Desk, WASHINGTON_OFFICER, Written, channel, id, key, now, until},
};

#[test]
fn an_inbox_shows_headers_marks_what_is_unopened_and_tells_nobody() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    node.held().enter(&tehrans_notice("Passage refused"));
    desk.run(&["say"], "All quiet.").with(Exit::Done);
    node.held().asked.clear();
    let ended = desk.run(&["inbox"], "").with(Exit::Done);
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(
        lines[0],
        "* tehran/1           FLASH     breach          delivered    2026-11-23 09:40:00Z  3.2 Passage refused"
    );
    assert!(lines[1].starts_with("  washington/1       ROUTINE   statement       recorded "), "{}", lines[1]);
    assert!(!ended.out.contains("turned back"), "no body in an inbox");
    assert!(node.held().asked.iter().all(|asked| asked.starts_with("GET ")), "{:?}", node.held().asked);
    let json = desk.run(&["inbox", "--json"], "").with(Exit::Done).json();
    assert_eq!(json[0]["serial"], "tehran/1");
    assert!(json[0].get("body").is_none() && json[0].get("text").is_none());
    assert_eq!(desk.run(&["inbox", "--unopened", "--json"], "").json().as_array().unwrap().len(), 1);
}

#[test]
fn opening_says_first_that_it_will_be_told_and_names_the_officer() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    node.held().enter(&tehrans_notice("Passage refused"));
    let ended = desk.run(&["open", "tehran/1"], "").with(Exit::Done);
    assert!(ended.err.starts_with("opening tehran/1: tehran will be told"), "{}", ended.err);
    assert!(
        ended.out.contains("A vessel was turned back.") && ended.out.contains("Verified here"),
        "{}",
        ended.out
    );
    assert_eq!(node.held().opened_by, [key(WASHINGTON_OFFICER).public().to_openssh()]);
}

#[test]
fn showing_tells_nobody_and_gives_the_evidence_in_plain_words() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    desk.run(&["breach", "3.2"], "Boarding\nText").with(Exit::Done);
    node.held().step("washington/1", State::Delivered, evidence(EvidenceKind::Delivered, "tehran"));
    let mut opened = evidence(EvidenceKind::Opened, "tehran");
    opened.officer = Some("Desk of the ministry".to_owned());
    opened.verified = false;
    node.held().step("washington/1", State::Opened, opened);
    desk.run(&["say", "--case", "washington/1"], "More.").with(Exit::Done);
    node.held().asked.clear();
    let ended = desk.run(&["show", "washington/1"], "").with(Exit::Done);
    for said in [
        "FLASH breach washington/1\n",
        "Provision   3.2 Freedom of navigation\n",
        "DELIVERED    tehran's node holds it, signed\n",
        "displayed to Desk of the ministry, signed  NOT VERIFIED\n",
        "In this case\nwashington/2 ",
    ] {
        assert!(ended.out.contains(said), "{said}: {}", ended.out);
    }
    assert!(node.held().asked.iter().all(|asked| asked.starts_with("GET ")));
    let json = desk.run(&["show", "washington/1", "--json"], "").with(Exit::Done).json();
    assert_eq!(json["body"], "Text");
    assert_eq!(json["evidence"][1]["kind"], "delivered");
    assert_eq!(json["evidence"][2]["verified"], false);
}

#[test]
fn after_a_fork_a_serial_that_stands_for_two_says_so_with_both_documents() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    desk.run(&["say"], "One").with(Exit::Done);
    let first = node.held().shown[0].header.document;
    assert!(!desk.run(&["show", "washington/1"], "").with(Exit::Done).out.contains("TWO"));
    let other = demarche_protocol::hash::DocumentId::of(b"the other");
    node.held().shown[0].same_serial = vec![other];
    let shown = desk.run(&["show", "washington/1"], "").with(Exit::Done).out;
    let told = format!(
        "TWO DISPATCHES BEAR THE SERIAL washington/1: the log of washington branched. This is document {}; the other: {}\n",
        first.short(),
        other.short()
    );
    assert!(shown.starts_with(&told), "{shown}");
    assert!(shown.contains(&format!("demarche show {other}\n")), "{shown}");
    assert_eq!(desk.run(&["show", "washington/1", "--json"], "").json()["same_serial"][0], other.to_string());
}

#[test]
fn the_signed_text_can_be_had_byte_for_byte() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    desk.run(&["say"], "All quiet.").with(Exit::Done);
    let ended = desk.run(&["show", "washington/1", "--text"], "").with(Exit::Done);
    let document = node.held().shown[0].header.document;
    assert_eq!(DocumentId::from_bytes(sha256(ended.out.as_bytes())), document);
}

#[test]
fn b4_a_peers_escapes_never_reach_the_terminal() {
    let mut desk = Desk::new();
    desk.terminal = true;
    let node = Node::on(&desk.socket());
    node.held().enter(&tehrans_notice("Passage refused"));
    let evil: String = ('\0'..'\u{a0}').filter(|c| c.is_control()).chain(['\u{202e}', '\u{2066}']).collect();
    {
        let mut held = node.held();
        let header = &mut held.shown[0].header;
        header.title = Some(format!("title{evil}"));
        header.officer = format!("officer{evil}");
        header.void_reason = Some(format!("void{evil}"));
        let mut piece = evidence(EvidenceKind::Void, "tehran");
        piece.detail = Some(format!("detail{evil}"));
        held.shown[0].evidence.push(piece);
        held.shown[0].body = Some(format!("body{evil}"));
        held.shown[0].fields.insert("place".to_owned(), format!("place{evil}"));
    }
    for arguments in [
        ["inbox"].as_slice(),
        &["show", "tehran/1"],
        &["open", "tehran/1"],
        &["cases"],
        &["ack", "tehran/1"],
        &["inbox", "--json"],
        &["show", "tehran/1", "--json"],
        &["cases", "--json"],
        &["show", "tehran/1", "--text"],
    ] {
        let ended = desk.run(arguments, "");
        for text in [&ended.out, &ended.err] {
            let acting: Vec<char> = text.chars().filter(|c| c.is_control() && *c != '\n').collect();
            assert!(acting.is_empty(), "{arguments:?}: {acting:?}");
            assert!(!text.contains(['\u{202e}', '\u{2066}']), "{arguments:?}");
        }
    }
    assert!(desk.run(&["show", "tehran/1"], "").out.contains("<U+001B>"), "shown, not hidden");
}

#[test]
fn e7_an_exercise_is_bannered() {
    let desk = Desk::new();
    let _node = Node::on(&desk.socket());
    desk.run(&["breach", "3.1", "--nature", "exercise"], "Title").with(Exit::Done);
    let shown = desk.run(&["show", "washington/1"], "").with(Exit::Done);
    assert!(shown.out.starts_with("EXERCISE EXERCISE EXERCISE\n"), "{}", shown.out);
    assert!(desk.run(&["inbox"], "").out.contains("[EXERCISE] "));
}

#[test]
fn cases_are_listed_with_how_far_they_have_come() {
    let desk = Desk::new();
    let _node = Node::on(&desk.socket());
    assert_eq!(desk.run(&["cases"], "").with(Exit::Done).out, "no cases\n");
    desk.run(&["breach", "3.2"], "Boarding").with(Exit::Done);
    desk.run(&["say", "--case", "washington/1"], "More.").with(Exit::Done);
    let ended = desk.run(&["cases"], "").with(Exit::Done);
    assert!(ended.out.starts_with("washington/1       FLASH     open "), "{}", ended.out);
    assert!(ended.out.ends_with("3.2 Boarding  (2 entries)\n"), "{}", ended.out);
    assert_eq!(desk.run(&["cases", "--json"], "").json()[0]["entries"][1]["kind"], "statement");
}

pub(crate) fn status(level: Verdict) -> Status {
    let up = level == Verdict::Up;
    let state = if up { LinkState::Up } else { LinkState::Down };
    let cause = (!up).then(|| "mediator muscat unreachable since 09:30:00Z".to_owned());
    let peer = Peer {
        party: id("tehran"),
        state,
        cause: cause.clone(),
        since: Some(now()),
        last_heard: Some(now()),
        paths: vec![Path { via: "muscat".to_owned(), state, carries: up, rtt_ms: up.then_some(1.25) }],
        to_deliver: u64::from(!up),
    };
    let verdict = cause.unwrap_or_else(|| "line open to tehran via muscat".to_owned());
    Status {
        party: id("washington"),
        verdict: verdict.clone(),
        level,
        channels: vec![ChannelStatus {
            name: "memo26".to_owned(),
            channel: channel(),
            title: "Memorandum of 2026".to_owned(),
            verdict,
            level,
            peers: vec![peer],
            log: Some(LogHead { seq: 7, hash: EntryHash::of(b"7") }),
            newest_card: None,
            restored: Vec::new(),
            cannot_record: None,
        }],
        unusable: Vec::new(),
        alarms: AlarmCount::default(),
        version: "0.1.0".to_owned(),
    }
}

/// A channel that the node cannot read is not passed over in silence.
#[test]
fn an_inbox_without_one_of_the_channels_fails_and_says_why() {
    let desk = Desk::bare();
    std::fs::create_dir_all(desk.path("W")).unwrap();
    let node = Node::on(&desk.socket());
    let data = desk.path("W");
    let data = data.to_str().unwrap();
    let why = "the channel other26 cannot be used: charter.json: it is damaged; put it back";
    node.held().status = Some(Status { unusable: vec![why.to_owned()], ..status(Verdict::Down) });
    let ended = desk.run(&["--data", data, "inbox"], "").with(Exit::Failed);
    assert!(ended.err.contains(why), "{}", ended.err);
    assert!(!ended.out.contains("no dispatches"), "{}", ended.out);
    desk.run(&["--data", data, "inbox", "--channel", "memo26"], "").with(Exit::Done);
}

#[test]
fn a_status_begins_with_the_verdict_and_check_makes_it_an_exit_code() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    node.held().status = Some(status(Verdict::Up));
    let ended = desk.run(&["status", "--check"], "").with(Exit::Done);
    assert!(ended.out.starts_with("line open to tehran via muscat\n"), "{}", ended.out);
    assert!(ended.out.contains("via muscat up 1.2 ms"), "{}", ended.out);
    let mut two = status(Verdict::Degraded);
    two.channels[0].peers[0].paths =
        [("muscat", LinkState::Down, None), ("geneva", LinkState::Up, Some(2.5))]
            .map(|(via, state, rtt_ms)| Path { via: via.to_owned(), state, carries: via == "geneva", rtt_ms })
            .to_vec();
    node.held().status = Some(two);
    let ended = desk.run(&["status", "--check"], "").with(Exit::Failed);
    assert!(ended.out.contains("; via muscat down; via geneva up 2.5 ms, in use"), "{}", ended.out);
    node.held().status = Some(status(Verdict::Down));
    desk.run(&["status"], "").with(Exit::Done);
    let ended = desk.run(&["status", "--check"], "").with(Exit::Failed);
    assert!(ended.out.starts_with("mediator muscat unreachable since"), "{}", ended.out);
    assert!(ended.out.contains("1 to deliver"), "{}", ended.out);
    assert_eq!(desk.run(&["status", "--json"], "").json()["channels"][0]["log"]["seq"], 7);
}

/// A node with two channels, of which the second has no line.
fn two_channels() -> Status {
    let (good, bad) = (status(Verdict::Up), status(Verdict::Down));
    let other = bad.channels.into_iter().map(|channel| ChannelStatus {
        name: "other26".to_owned(),
        channel: ChannelId::of(b"other26"),
        ..channel
    });
    let channels = good.channels.into_iter().chain(other).collect();
    Status { channels, level: Verdict::Degraded, verdict: "line to tehran down".to_owned(), ..good }
}

#[test]
fn a_check_judges_the_channel_that_was_named_and_no_other() {
    let desk = Desk::bare();
    std::fs::create_dir_all(desk.path("W")).unwrap();
    let node = Node::on(&desk.socket());
    node.held().status = Some(two_channels());
    let data = desk.path("W");
    let check = |words: &[&str]| {
        desk.run(&[&["status", "--check", "--data", data.to_str().unwrap()], words].concat(), "")
    };
    check(&[]).with(Exit::Failed);
    let good = check(&["--channel", "memo26"]).with(Exit::Done);
    assert!(good.out.starts_with("line open to tehran via muscat\n  the whole node: "), "{}", good.out);
    assert!(!good.out.contains("other26"), "{}", good.out);
    let bad = check(&["--channel", "other26"]).with(Exit::Failed);
    assert!(bad.out.starts_with("mediator muscat unreachable since"), "{}", bad.out);

    // One that cannot be used is the whole node's trouble, and not that of the others.
    let one =
        |level| Status { unusable: vec!["other26 is damaged".to_owned()], level, ..status(Verdict::Up) };
    node.held().status = Some(one(Verdict::Down));
    check(&[]).with(Exit::Failed);
    check(&["--channel", "memo26"]).with(Exit::Done);
}

#[test]
fn a_channel_that_is_not_there_is_wrong_usage_everywhere() {
    let desk = Desk::bare();
    std::fs::create_dir_all(desk.path("W")).unwrap();
    desk.put_key("k", WASHINGTON_OFFICER);
    let node = Node::on(&desk.socket());
    node.held().status = Some(status(Verdict::Up));
    let (data, key) = (desk.path("W"), desk.path("k"));
    let common = ["--data", data.to_str().unwrap(), "--key", key.to_str().unwrap(), "--channel", "memo25"];
    for words in [
        &["status"][..],
        &["status", "--check", "--wait-ready", "60s"],
        &["inbox"],
        &["cases"],
        &["line", "test"],
        &["watch", "--count", "1"],
        &["officer", "list"],
        &["profile"],
        &["say"],
        &["ack", "tehran/1"],
    ] {
        let ended = desk.run(&[words, &common].concat(), "Text").with(Exit::Usage);
        assert!(ended.err.contains("memo25") && ended.help().contains("memo26"), "{words:?}: {}", ended.err);
    }
}

#[test]
fn a_status_is_not_waited_for_long_and_a_person_is_told_what_is_waited_for() {
    let mut desk = Desk::new();
    desk.terminal = true;
    let node = Node::on(&desk.socket());
    node.held().hangs = true;
    let begun = std::time::Instant::now();
    let ended = desk.run(&["status", "--check"], "").with(Exit::NodeAway);
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    let waiting = format!("waiting for the node at {}\n", desk.socket().display());
    assert!(ended.err.starts_with(&waiting), "{}", ended.err);
    assert!(ended.err.contains("no answer within 5 s"), "{}", ended.err);
    assert!(ended.help().starts_with("it runs and does not answer"), "{}", ended.err);
}

#[test]
fn a_node_that_is_starting_is_waited_for() {
    let desk = Desk::new();
    desk.run(&["status", "--wait-ready", "1s"], "").with(Exit::NodeAway);
    let node = Node::on(&desk.socket());
    let printed = (&Written::default(), &Written::default());
    let ended = desk.run_beside(&["status", "--wait-ready", "60s"], "", printed, || {
        // Refused as `stopping` until it has a status; it was asked at least twice by then.
        until(|| node.held().asked.len() >= 2);
        node.held().status = Some(status(Verdict::Up));
    });
    ended.with(Exit::Done);
}

#[test]
fn a_line_test_prints_the_times_and_its_verdict_is_the_exit_code() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let good = LineTest {
        peer: id("tehran"),
        via: "muscat".to_owned(),
        there_ms: Some(0.5),
        back_ms: Some(0.75),
        rtt_ms: Some(1.25),
        at: now(),
        verified: true,
        stands_by: false,
        error: None,
    };
    let spare = LineTest { via: "geneva".to_owned(), verified: false, stands_by: true, ..good.clone() };
    let unsigned = LineTest { verified: false, ..good.clone() };
    let failed =
        LineTest { error: Some("no answer within 10 s".to_owned()), verified: false, ..good.clone() };
    for (tests, exit, said) in [
        (
            vec![good.clone()],
            Exit::Done,
            "there and back 1.2 ms (there 0.5 ms, back 0.8 ms, by both clocks)  signed, verified",
        ),
        (vec![good.clone(), failed], Exit::Failed, "failed: no answer within 10 s"),
        (vec![good.clone(), spare], Exit::Done, "via geneva         stands by, a ping there and back 1.2 ms"),
        (vec![unsigned], Exit::Unverified, "NOT VERIFIED"),
        (Vec::new(), Exit::Failed, "no path to test"),
    ] {
        node.held().tests = tests;
        let ended = desk.run(&["line", "test"], "").with(exit);
        assert!(ended.out.contains(said), "{}", ended.out);
    }
}

#[test]
fn every_command_that_asks_the_node_is_exit_3_when_it_is_down() {
    let desk = Desk::new();
    for arguments in [
        ["inbox"].as_slice(),
        &["open", "tehran/1"],
        &["show", "tehran/1"],
        &["cases"],
        &["status"],
        &["line", "test"],
        &["watch"],
        &["ack", "tehran/1"],
    ] {
        let ended = desk.run(arguments, "").with(Exit::NodeAway);
        assert!(ended.err.contains("is not reachable at"), "{}", ended.err);
        assert!(ended.help().contains("demarched --data"), "{}", ended.err);
    }
}

#[test]
fn completions_are_given_for_each_shell() {
    let desk = Desk::bare();
    for (shell, said) in
        [("bash", "_demarche()"), ("zsh", "#compdef demarche"), ("fish", "complete -c demarche")]
    {
        assert!(desk.run(&["completions", shell], "").with(Exit::Done).out.contains(said), "{shell}");
    }
}

#[test]
fn an_acknowledgement_is_shown_with_the_serial_that_it_is_of() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    node.held().enter(&tehrans_notice("Passage refused"));
    desk.run(&["ack", "tehran/1"], "").with(Exit::Done);
    let hash = node.held().shown[0].header.document;
    for command in ["show", "open"] {
        let ended = desk.run(&[command, "washington/1"], "").with(Exit::Done);
        assert!(ended.out.contains(&format!("  Of          tehran/1 ({})\n", hash.short())), "{}", ended.out);
    }
    let json = desk.run(&["show", "washington/1", "--json"], "").with(Exit::Done).json();
    assert_eq!(json["fields"]["of"], hash.to_string());
}

#[test]
fn where_no_node_answers_both_ways_out_are_named() {
    let desk = Desk::bare();
    let elsewhere = desk.path("elsewhere");
    let ended = desk.run(&["status", "--data", elsewhere.to_str().unwrap()], "").with(Exit::NodeAway);
    assert!(ended.err.contains(&format!("{}/control.sock", elsewhere.display())), "{}", ended.err);
    assert!(
        ended
            .help()
            .starts_with(&format!("start the node there: demarched --data {}\n", elsewhere.display())),
        "{}",
        ended.err
    );
    assert!(ended.help().contains("or say where it is: --profile FILE, --data DIR"), "{}", ended.err);
}
