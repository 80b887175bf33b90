//! The command that is given back when a text was kept: typed as told, it makes the dispatch that was meant.

use std::process::Command;

use demarche_cli::exit::Exit;
use demarche_control::layout;
use demarche_protocol::dispatch::{
    Breach, Content, Dispatch, Means, Nature, Position, Precedence, Reply, Statement,
};

use crate::{
    answering::tehrans_notice,
    node::Node,
    scene::{Desk, Ended, channel},
};

/// The line that a failure ends with, mended where it says so, taken apart by a shell: the arguments, and the text.
#[track_caller]
fn given_back(desk: &Desk, ended: &Ended, mended: &[(&str, &str)]) -> (Vec<String>, Vec<u8>) {
    let line = ended.err.lines().find_map(|line| line.split_once("then demarche ").map(|(_, line)| line));
    let line = line.unwrap_or_else(|| panic!("no command is given back: {}", ended.err));
    let line = mended.iter().fold(line.to_owned(), |line, (wrong, right)| {
        assert!(line.contains(wrong), "{wrong} in {line}");
        line.replacen(wrong, right, 1)
    });
    let script = format!("demarche() {{ printf '%s\\0' \"$@\"; printf '\\0'; cat; }}; demarche {line}");
    let done = Command::new("sh").arg("-c").arg(script).current_dir(desk.home.path()).output().unwrap();
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    let mut arguments = Vec::new();
    let mut rest = done.stdout.as_slice();
    loop {
        let end = rest.iter().position(|byte| *byte == 0).unwrap();
        let (word, after) = rest.split_at(end);
        rest = &after[1..];
        if word.is_empty() {
            return (arguments, rest.to_vec());
        }
        arguments.push(String::from_utf8(word.to_vec()).unwrap());
    }
}

/// Types that line.
#[track_caller]
fn typed_again(desk: &Desk, ended: &Ended, mended: &[(&str, &str)]) -> Ended {
    let (arguments, text) = given_back(desk, ended, mended);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    desk.run(&arguments, text).with(Exit::Done)
}

fn last(node: &Node) -> Dispatch {
    Dispatch::parse(&node.held().shown.last().unwrap().text).unwrap()
}

fn last_breach(node: &Node) -> (Dispatch, Breach) {
    let dispatch = last(node);
    let Content::Breach(breach) = dispatch.content.clone() else { panic!("{dispatch:?}") };
    (dispatch, breach)
}

#[test]
fn an_exercise_that_failed_for_one_option_is_an_exercise_again_with_all_the_others() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let whole = [
        "breach",
        "3.2",
        "--nature",
        "exercise",
        "--precedence",
        "routine",
        "--title",
        "It's only an exercise",
        "--place",
        "Strait of Hormuz",
        "--means",
        "sensor",
        "--confidence",
        "probable",
        "--request",
        "=Answer \"soon\" & $HOME",
        "--reply-by",
        "6h",
        "--wait",
        "recorded",
        "--channel",
        "memo26",
    ];
    let wrong = [&whole[..], &["--occurred", "bad"]].concat();
    let ended = desk.run(&wrong, "Line one\nLine two\n").with(Exit::Usage);
    assert!(ended.err.contains(" --occurred … "), "{}", ended.err);
    typed_again(&desk, &ended, &[("--occurred …", "--occurred 10m")]);
    let (dispatch, breach) = last_breach(&node);
    assert_eq!((dispatch.nature, dispatch.precedence), (Nature::Exercise, Precedence::Routine));
    assert_eq!(breach.title, "It's only an exercise");
    assert_eq!(breach.body.as_deref(), Some("Line one\nLine two"));
    assert_eq!((breach.place.as_deref(), breach.means), (Some("Strait of Hormuz"), Some(Means::Sensor)));
    assert_eq!(breach.request.as_deref(), Some("=Answer \"soon\" & $HOME"));
    assert_eq!(breach.occurred.unwrap().from.to_string(), "2026-11-23T09:30:00.000Z");
    assert!(breach.reply_by.is_some());
}

#[test]
fn what_was_wrong_is_not_repeated() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    node.held().enter(&tehrans_notice("Passage refused"));
    desk.run(&["say"], "Hello").with(Exit::Done);
    let long = "x".repeat(600);
    for (words, left) in [
        (&["breach", "9.9", "--nature", "test"][..], "breach PROVISION --nature test"),
        (&["breach", "--nature", "test"], "breach PROVISION --nature test"),
        (&["breach", "3.1", "--place", ""], "breach 3.1 --place …"),
        (&["breach", "3.1", "--title", &long], "breach 3.1 --title …"),
        (&["breach", "3.1", "--request", "a\nb"], "breach 3.1 --request …"),
        (&["breach", "3.1", "--reply-by", "soon"], "breach 3.1 --reply-by …"),
        (&["breach", "3.1", "--channel", "memo25"], "breach 3.1 --channel …"),
        (&["breach", "3.1", "--key", "/nonexistent/k"], "breach 3.1 --key …"),
        (&["say", "--title", " "], "say --title …"),
        (&["say", "--case", "tehran/9", "--nature", "test"], "say --case … --nature test"),
        (&["say", "--case", "memo25:tehran/1"], "say --case …"),
        (&["reply", "tehran/9", "--position", "deny"], "reply CASE --position deny"),
        (&["reply", "washington/1", "--position", "deny"], "reply CASE --position deny"),
    ] {
        let ended = desk.run(words, "Text");
        assert_ne!(ended.exit, Exit::Done);
        let command = format!("then demarche {left} < ");
        assert!(ended.err.contains(&command), "{words:?}: {}", ended.err);
    }
}

#[test]
fn what_is_no_notice_is_named_as_what_it_is() {
    let desk = Desk::new();
    let _node = Node::on(&desk.socket());
    desk.run(&["say"], "Hello").with(Exit::Done);
    let ended = desk.run(&["reply", "washington/1", "--position", "deny"], "No.").with(Exit::Refused);
    let said = "error: washington/1 is not the notice of a case, but: statement\n";
    assert!(ended.err.starts_with(said), "{}", ended.err);
}

#[test]
fn a_time_that_counts_from_now_is_given_back_as_the_moment_it_was() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let words = ["breach", "9.9", "--occurred", "10m", "--reply-by", "11:00Z"];
    let ended = desk.run(&words, "Title").with(Exit::Refused);
    assert!(
        ended.err.contains("--occurred 2026-11-23T09:30:00.000Z --reply-by 2026-11-23T11:00:00.000Z < "),
        "{}",
        ended.err
    );
    typed_again(&desk, &ended, &[("PROVISION", "3.1")]);
    assert_eq!(last_breach(&node).1.occurred.unwrap().from.to_string(), "2026-11-23T09:30:00.000Z");
}

#[test]
fn a_reply_and_a_statement_are_given_back_with_their_options() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    node.held().enter(&tehrans_notice("Passage refused"));
    let profile = desk.path("config/demarche/profile.toml");
    let profile = profile.to_str().unwrap();
    let key = desk.path("officer.key");
    let away = desk.path("away");
    std::fs::rename(&key, &away).unwrap();
    let reply = ["reply", "tehran/1", "--position", "deny", "--precedence", "routine", "--profile", profile];
    let say = [
        "say",
        "--case",
        "tehran/1",
        "--title",
        "Two words",
        "--nature",
        "exercise",
        "--precedence",
        "flash",
    ];
    let replied = desk.run(&reply, "No.").with(Exit::Failed);
    let said = desk.run(&say, "We hear.").with(Exit::Failed);
    std::fs::rename(&away, &key).unwrap();

    assert!(replied.err.contains(&format!("--profile {profile} < ")), "{}", replied.err);
    typed_again(&desk, &replied, &[]);
    let dispatch = last(&node);
    assert_eq!(dispatch.precedence, Precedence::Routine);
    let Content::Reply(Reply { position, body, .. }) = dispatch.content else { panic!() };
    assert_eq!((position, body.as_str()), (Position::Deny, "No."));

    typed_again(&desk, &said, &[]);
    let dispatch = last(&node);
    assert_eq!((dispatch.nature, dispatch.precedence), (Nature::Exercise, Precedence::Flash));
    let Content::Statement(Statement { case, title, .. }) = dispatch.content else { panic!() };
    assert!(case.is_some());
    assert_eq!(title.as_deref(), Some("Two words"));
}

#[test]
fn what_was_asked_and_answered_is_given_back_too() {
    let mut desk = Desk::new();
    desk.terminal = true;
    let node = Node::on(&desk.socket());
    let long = "x".repeat(600);
    let words = ["breach", "--nature", "exercise", "--precedence", "routine", "--place", "At the pier"];
    let ended = desk.run(&words, format!("1\n{long}\n.\n09:31Z\nk\n")).with(Exit::Refused);
    desk.terminal = false;
    let (arguments, _) = given_back(&desk, &ended, &[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    desk.run(&arguments, "Short\n").with(Exit::Done);
    let (dispatch, breach) = last_breach(&node);
    assert_eq!((dispatch.nature, dispatch.precedence), (Nature::Exercise, Precedence::Routine));
    assert_eq!((breach.provision.as_str(), breach.place.as_deref()), ("3.1", Some("At the pier")));
    assert_eq!(breach.occurred.unwrap().from.to_string(), "2026-11-23T09:31:00.000Z");
}

#[test]
fn a_text_for_a_case_that_goes_on_is_given_back_for_that_case() {
    let mut desk = Desk::new();
    let node = Node::on(&desk.socket());
    desk.run(&["breach", "3.1", "--nature", "exercise"], "First").with(Exit::Done);
    desk.terminal = true;
    let words = ["breach", "3.1", "--nature", "exercise", "--precedence", "flash"];
    let long = "x".repeat(33_000);
    let ended = desk.run(&words, format!("{long}\n.\n\ny\nk\n")).with(Exit::Refused);
    desk.terminal = false;
    let (arguments, _) = given_back(&desk, &ended, &[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    desk.run(&arguments, "Short\n").with(Exit::Done);
    let dispatch = last(&node);
    assert_eq!((dispatch.nature, dispatch.precedence), (Nature::Exercise, Precedence::Flash));
    let Content::Statement(Statement { case, .. }) = dispatch.content else { panic!() };
    assert_eq!(case, Some(node.held().shown[0].header.document));
}

#[test]
fn a_kept_file_is_sent_to_the_node_that_was_meant() {
    let desk = Desk::bare();
    let elsewhere = desk.path("a node's");
    layout::make_directory(&elsewhere, 0o700).unwrap();
    desk.put_key("k", crate::scene::WASHINGTON_OFFICER);
    let away = desk.path("profile.toml");
    let charter = demarche_control::SignedFile::of(&crate::scene::charter()).unwrap();
    let profile = demarche_cli::profile::Profile {
        channel: channel(),
        name: None,
        party: Some(crate::scene::id("washington")),
        key: Some(desk.path("k")),
        data: None,
        socket: Some(elsewhere.join("control.sock")),
        charter: "charter.json".into(),
    };
    profile.write(&away, &charter).unwrap();
    let away = away.to_str().unwrap();
    let ended = desk.run(&["say", "--profile", away, "--wait", "recorded"], "Text").with(Exit::NodeAway);
    let kept = desk.kept();
    let line = format!("demarche send {} --wait recorded --profile {away}", kept[0].display());
    assert!(ended.err.trim_end().ends_with(&line), "{}", ended.err);
}
