//! `breach`, `say` and `send` as scripts use them.

use demarche_cli::exit::Exit;
use demarche_control::SignedFile;
use demarche_protocol::{
    dispatch::{Breach, Content, Dispatch, Means, Nature, Precedence, ReplyBy},
    document::SignedDocument,
    labels::Namespace,
};

use crate::{
    node::Node,
    scene::{Desk, NOW, WASHINGTON_OFFICER, channel, id, key, now},
};

fn only(node: &Node) -> SignedDocument {
    let held = node.held();
    assert_eq!(held.shown.len(), 1);
    held.shown[0].file().document().unwrap()
}

fn breach(node: &Node) -> (Dispatch, Breach) {
    let dispatch = Dispatch::parse(only(node).text()).unwrap();
    let Content::Breach(breach) = dispatch.content.clone() else { panic!("{dispatch:?}") };
    (dispatch, breach)
}

#[test]
fn a_notice_from_stdin_has_its_first_line_as_title_and_the_provisions_precedence() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let ended = desk.run(&["breach", "3.2"], "Boarding of a vessel\n\nAt 09:31Z a launch came alongside.\n");
    let ended = ended.with(Exit::Done);
    assert_eq!(ended.out, "RECORDED HERE, NOT YET DELIVERED  washington/1\n");
    let (dispatch, breach) = breach(&node);
    assert_eq!((dispatch.channel, dispatch.party), (channel(), id("washington")));
    assert_eq!((dispatch.nature, dispatch.precedence), (Nature::Real, Precedence::Flash));
    assert_eq!(dispatch.written_at, now());
    assert_eq!(breach.title, "Boarding of a vessel");
    assert_eq!(breach.body.as_deref(), Some("At 09:31Z a launch came alongside."));
    let signers = only(&node).verified_keys(Namespace::Dispatch);
    assert_eq!(signers, [key(WASHINGTON_OFFICER).public()]);
    assert!(desk.kept().is_empty());
}

#[test]
fn every_flag_of_a_notice_is_signed() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let body = desk.put("body.txt", b"Only the body.\n");
    let arguments = [
        "breach",
        "3.1",
        "--title",
        "No access",
        "--body-file",
        body.to_str().unwrap(),
        "--precedence",
        "priority",
        "--nature",
        "exercise",
        "--occurred",
        "09:10Z/09:31Z",
        "--place",
        "26.5N 56.2E",
        "--means",
        "sensor",
        "--confidence",
        "probable",
        "--request",
        "Let them in",
        "--reply-by",
        "6h",
        "--json",
    ];
    let ended = desk.run(&arguments, "").with(Exit::Done);
    let (dispatch, breach) = breach(&node);
    assert_eq!((dispatch.nature, dispatch.precedence), (Nature::Exercise, Precedence::Priority));
    assert_eq!((breach.title.as_str(), breach.body.as_deref()), ("No access", Some("Only the body.")));
    let occurred = breach.occurred.unwrap();
    assert_eq!(occurred.from.to_string(), "2026-11-23T09:10:00.000Z");
    assert_eq!(occurred.to.unwrap().to_string(), "2026-11-23T09:31:00.000Z");
    assert_eq!((breach.place.as_deref(), breach.means), (Some("26.5N 56.2E"), Some(Means::Sensor)));
    assert_eq!(breach.request.as_deref(), Some("Let them in"));
    assert!(matches!(breach.reply_by, Some(ReplyBy::Within(span)) if span.to_string() == "6h"));
    let json = ended.json();
    assert_eq!(
        (json["serial"].as_str(), json["case"].as_str()),
        (Some("washington/1"), Some("washington/1"))
    );
    assert_eq!(json["document"], only(&node).id().to_string());
    assert_eq!(json["state"], "recorded");
    assert!(ended.err.contains("RECORDED HERE"), "prose goes to stderr: {}", ended.err);
}

#[test]
fn options_may_stand_before_or_after_the_command() {
    let desk = Desk::bare();
    std::fs::create_dir(desk.path("W")).unwrap();
    desk.put_key("k", WASHINGTON_OFFICER);
    let node = Node::on(&desk.socket());
    let (data, key) = (desk.path("W"), desk.path("k"));
    let (data, key) = (data.to_str().unwrap(), key.to_str().unwrap());
    desk.run(&["--data", data, "--key", key, "--json", "breach", "3.1"], "One").with(Exit::Done).json();
    desk.run(&["breach", "3.1", "--data", data, "--key", key, "--json"], "Two").with(Exit::Done).json();
    assert_eq!(node.held().shown.len(), 2);
}

#[test]
fn b2_what_was_pasted_is_mended_told_and_then_signed() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let ended =
        desk.run(&["breach", "3.1"], "\u{FEFF}Boa\u{301}rding\u{202E}\r\n\r\nText \r\n").with(Exit::Done);
    let (_, breach) = breach(&node);
    assert_eq!((breach.title.as_str(), breach.body.as_deref()), ("Boárding", Some("Text")));
    for change in ["byte order mark", "line ends", "U+202E", "normal form C", "white space"] {
        assert!(ended.err.contains(change), "{change}: {}", ended.err);
    }
}

#[test]
fn without_a_profile_the_nodes_charter_serves_and_the_officer_is_told() {
    let desk = Desk::bare();
    std::fs::create_dir(desk.path("W")).unwrap();
    desk.put_key("k", WASHINGTON_OFFICER);
    let _node = Node::on(&desk.socket());
    let socket = desk.socket();
    let arguments =
        ["breach", "3.1", "--socket", socket.to_str().unwrap(), "--key", desk.path("k").to_str().unwrap()]
            .map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = desk.run(&arguments, "Title").with(Exit::Done);
    assert!(ended.err.contains("demarche profile"), "{}", ended.err);
}

#[test]
fn the_same_provision_minutes_ago_is_told_in_a_script() {
    let desk = Desk::new();
    let _node = Node::on(&desk.socket());
    desk.run(&["breach", "3.1"], "First").with(Exit::Done);
    let ended = desk.run(&["breach", "3.1"], "Second").with(Exit::Done);
    assert!(
        ended.err.contains("washington/1 was opened minutes ago under the same provision: First"),
        "{}",
        ended.err
    );
    for title in ["Fourth", "Fifth"] {
        desk.run(&["breach", "3.1"], title).with(Exit::Done);
    }
    let last = desk.run(&["breach", "3.1"], "Sixth").with(Exit::Done);
    let notes: Vec<&str> = last.err.lines().filter(|line| line.contains("minutes ago")).collect();
    assert_eq!(notes.len(), 1, "{}", last.err);
    assert!(notes[0].contains("and 3 more before it; see demarche cases"), "{}", last.err);
    let other = desk.run(&["breach", "3.2"], "Third").with(Exit::Done);
    assert!(!other.err.contains("minutes ago"), "{}", other.err);
}

#[test]
fn a_statement_belongs_to_its_case_and_takes_over_its_nature() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    desk.run(&["breach", "3.2", "--nature", "test"], "Title").with(Exit::Done);
    let ended = desk
        .run(&["say", "--case", "memo26:washington/1", "--json"], "We see them still.\n")
        .with(Exit::Done);
    assert_eq!(ended.json()["case"], "washington/1");
    let held = node.held();
    let said = Dispatch::parse(&held.shown[1].text).unwrap();
    let Content::Statement(statement) = said.content else { panic!() };
    assert_eq!(statement.case, Some(held.shown[0].header.document));
    assert_eq!((said.nature, said.precedence), (Nature::Test, Precedence::Flash));
}

#[test]
fn a_statement_outside_any_case_is_routine() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    desk.run(&["say", "--title", "Good morning"], "All quiet.").with(Exit::Done);
    let held = node.held();
    let said = Dispatch::parse(&held.shown[0].text).unwrap();
    assert_eq!(said.precedence, Precedence::Routine);
    assert_eq!(said.title(), Some("Good morning"));
}

#[test]
fn what_was_signed_elsewhere_is_sent_with_its_signature_beside_it_or_named() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let dispatch = Dispatch {
        channel: channel(),
        party: id("washington"),
        nature: Nature::Real,
        precedence: Precedence::Routine,
        written_at: NOW.parse().unwrap(),
        content: Content::Statement(demarche_protocol::dispatch::Statement {
            case: None,
            title: None,
            body: "Signed on a machine that is on no network.".to_owned(),
        }),
    };
    let text = dispatch.render();
    let signature =
        key(WASHINGTON_OFFICER).sign(Namespace::Dispatch, text.as_bytes()).to_armoured(Namespace::Dispatch);
    let file = desk.put("d.toml", text.as_bytes());
    let elsewhere = desk.put("elsewhere.sig", signature.as_bytes());
    let file = file.to_str().unwrap();
    let named =
        desk.run(&["send", file, "--signature", elsewhere.to_str().unwrap(), "--json"], "").with(Exit::Done);
    desk.put("d.toml.sig", signature.as_bytes());
    let beside = desk.run(&["send", file, "--json"], "").with(Exit::Done);
    assert_eq!(named.json()["serial"], beside.json()["serial"]);
    assert_eq!(node.held().shown.len(), 1, "sending again is the same document");
    assert_eq!(SignedFile::of(&only(&node)).unwrap().text, text);
}
