//! `alarms`, and alarms in `status` and `watch`.

use demarche_cli::exit::Exit;
use demarche_control::{
    Code, Problem,
    types::{Alarm, AlarmCount, Cause, Status, Taken, Verdict},
};
use demarche_protocol::hash::ChannelId;

use crate::{
    node::Node,
    reading::status,
    scene::{Desk, Written, channel, id, now},
};

fn alarm(number: u64, cause: Cause, channel: Option<ChannelId>, detail: &str) -> Alarm {
    let peer = channel.map(|_| id("tehran"));
    let (taken, over) = (None, None);
    Alarm {
        number,
        cause,
        channel,
        peer,
        serial: None,
        entry: None,
        detail: detail.to_owned(),
        due: None,
        since: now(),
        last: now(),
        times: 1,
        taken,
        over,
    }
}

/// One of the channel, one of another, one of the node, and one that is over.
fn four() -> Vec<Alarm> {
    vec![
        Alarm {
            due: Some(now()),
            ..alarm(4, Cause::LineDown, Some(channel()), "the line to tehran is down")
        },
        alarm(5, Cause::LineDown, Some(ChannelId::of(b"other26")), "the line to paris is down"),
        Alarm { times: 3, ..alarm(6, Cause::HookFailed, None, "the hook ring failed") },
        Alarm { over: Some(now()), ..alarm(2, Cause::Clock, Some(channel()), "its clock and ours differ") },
    ]
}

fn taken(alarm: Alarm, by: &str) -> Alarm {
    Alarm { taken: Some(Taken { by: by.to_owned(), at: now() }), ..alarm }
}

#[test]
fn alarms_are_listed_with_the_next_step_and_only_those_of_the_officers_channel_and_the_node() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let ended = desk.run(&["alarms"], "").with(Exit::Done);
    assert_eq!(ended.out, "no alarm stands\n");
    node.held().alarms = four();
    let ended = desk.run(&["alarms"], "").with(Exit::Done);
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(
        lines,
        [
            "   4  line-down             the line to tehran is down; due 2026-11-23 09:40:00Z",
            "   6  hook-failed           the hook ring failed; since 2026-11-23 09:40:00Z (3 times, last 2026-11-23 09:40:00Z)",
            "   2  clock                 its clock and ours differ; since 2026-11-23 09:40:00Z; over since 2026-11-23 09:40:00Z",
            "take one: demarche alarms take NUMBER --by NAME",
        ]
    );
    let json = desk.run(&["alarms", "--json"], "").json();
    let numbers: Vec<u64> =
        json.as_array().unwrap().iter().filter_map(|one| one["number"].as_u64()).collect();
    assert_eq!(numbers, [4, 6, 2]);
    assert_eq!(json[0]["cause"], "line-down");
    // Whoever names no channel, and has none pinned, sees all of them.
    let bare = Desk::bare();
    std::fs::create_dir_all(bare.path("W")).unwrap();
    let other = Node::on(&bare.socket());
    other.held().alarms = four();
    let data = bare.path("W");
    let ended = bare.run(&["alarms", "--data", data.to_str().unwrap()], "").with(Exit::Done);
    assert!(ended.out.contains("the line to paris"), "{}", ended.out);
    let named = ["alarms", "--data", data.to_str().unwrap(), "--channel", "memo25"];
    bare.run(&named, "").with(Exit::Usage);
}

#[test]
fn alarms_are_taken_by_number_or_all_and_by_a_name() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    node.held().alarms = four();
    let ended = desk.run(&["alarms", "take", "4", "--by", "A. Watch"], "").with(Exit::Done);
    assert!(ended.out.ends_with("; taken by A. Watch 2026-11-23 09:40:00Z\n"), "{}", ended.out);
    assert!(node.held().asked.iter().any(|asked| asked == "POST /v1/alarms/take"));
    let json = desk.run(&["alarms", "take", "--all", "--by", "B", "--json"], "").json();
    assert_eq!(
        (json.as_array().unwrap().len(), &json[0]["number"]),
        (1, &6.into()),
        "of this channel, not taken"
    );
    assert_eq!(json[0]["taken"]["by"], "B");
    node.held().asked.clear();
    let ended = desk.run(&["alarms", "take", "--all", "--by", "B"], "").with(Exit::Done);
    assert_eq!(ended.out, "no alarm stands that nobody has taken\n");
    assert!(!node.held().asked.iter().any(|asked| asked.starts_with("POST")));
    let ended = desk.run(&["alarms", "take", "5", "--by", "B"], "").with(Exit::Usage);
    assert!(ended.err.contains("alarm 5 is another channel's"), "{}", ended.err);
    node.held().refuse =
        Some(Problem::new(Code::UnknownAlarm, "there is no alarm 9").with_help("demarche alarms"));
    let ended = desk.run(&["alarms", "take", "9", "--by", "B"], "").with(Exit::Failed);
    assert!(
        ended.err.contains("there is no alarm 9") && ended.help().contains("demarche alarms"),
        "{}",
        ended.err
    );
    for wrong in [
        &["alarms", "take", "4"][..],
        &["alarms", "take", "--by", "B"],
        &["alarms", "take", "four", "--by", "B"],
        &["alarms", "take", "4", "--all", "--by", "B"],
        &["alarms", "take", "4", "--by", " "],
        &["alarms", "take", "4", "--by", "a\nb"],
    ] {
        desk.run(wrong, "").with(Exit::Usage);
    }
}

/// B4: what a peer's node or a program says reaches the terminal escaped.
#[test]
fn b4_an_alarm_is_escaped() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    node.held().alarms = vec![alarm(1, Cause::HookFailed, None, "the hook \u{1b}[2J failed")];
    let ended = desk.run(&["alarms"], "").with(Exit::Done);
    assert!(!ended.out.contains('\u{1b}'), "{:?}", ended.out);
}

#[test]
fn a_status_says_how_many_alarms_stand_and_the_gravest() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let worst = alarm(
        4,
        Cause::Undelivered,
        Some(channel()),
        "FLASH breach washington/7 was not delivered to tehran in time",
    );
    let with = |standing, taken, worst: &Alarm| Status {
        alarms: AlarmCount { standing, taken, worst: Some(worst.clone()) },
        ..status(Verdict::Up)
    };
    node.held().status = Some(with(3, 1, &worst));
    let ended = desk.run(&["status", "--check"], "").with(Exit::Done);
    let second = ended.out.lines().nth(1).unwrap();
    assert_eq!(
        second,
        "3 alarms stand, 2 not taken; the gravest: undelivered: FLASH breach washington/7 was not delivered to tehran in time \
         (demarche alarms)"
    );
    node.held().status = Some(with(1, 1, &taken(worst, "A")));
    let ended = desk.run(&["status"], "").with(Exit::Done);
    assert!(ended.out.contains("\n1 alarm stands, 0 not taken; the gravest: "), "{}", ended.out);
    assert_eq!(desk.run(&["status", "--json"], "").json()["alarms"]["worst"]["taken"]["by"], "A");
    node.held().status = Some(status(Verdict::Up));
    assert!(!desk.run(&["status"], "").with(Exit::Done).out.contains("alarm"));
}

#[test]
fn a_watch_shows_an_alarm_with_its_number_and_rings_while_it_calls() {
    let mut desk = Desk::new();
    desk.terminal = true;
    let node = Node::on(&desk.socket());
    let calling = alarm(4, Cause::LineDown, Some(channel()), "the line to tehran is down");
    for (alarm, rings, shown) in [
        (calling.clone(), true, ""),
        (taken(calling.clone(), "A"), false, "; taken by A"),
        (Alarm { over: Some(now()), ..calling }, false, "; over since"),
    ] {
        let (out, err) = (Written::default(), Written::default());
        let ended = desk.run_beside(&["watch", "--count", "1"], "", (&out, &err), || {
            node.until_listeners(1);
            node.held().tell_alarm(&alarm);
        });
        let ended = ended.with(Exit::Done);
        let begins =
            "09:40:00.000Z  ALARM        tehran     4  line-down             the line to tehran is down";
        assert!(ended.out.starts_with(begins) && ended.out.contains(shown), "{}", ended.out);
        assert_eq!(ended.err.contains('\u{7}'), rings, "{:?}", ended.err);
        crate::scene::until(|| node.held().listeners() == 0);
    }
}
