//! `breach` on a terminal: asked for what is missing, previewed, then sent, edited or kept.

use demarche_cli::{exit::Exit, profile::read_signed_file};
use demarche_control::types::{EvidenceKind, Shown, State};
use demarche_protocol::dispatch::{Breach, Content, Dispatch, Nature, Precedence};

use crate::{
    node::{Node, evidence},
    scene::{Desk, NOW, Written, until},
};

fn terminal() -> Desk {
    let mut desk = Desk::new();
    desk.terminal = true;
    desk
}

/// Delivers whatever is sent, so that the command ends.
fn delivering(desk: &Desk, node: &Node, arguments: &[&str], typed: &str) -> crate::scene::Ended {
    let before = node.held().shown.len();
    desk.run_beside(arguments, typed, (&Written::default(), &Written::default()), || {
        until(|| node.held().shown.len() > before);
        let serial = node.held().shown.last().unwrap().header.serial.to_string();
        node.held().step(&serial, State::Delivered, evidence(EvidenceKind::Delivered, "tehran"));
    })
}

fn last(node: &Node) -> Content {
    Dispatch::parse(&node.held().shown.last().unwrap().text).unwrap().content
}

#[test]
fn the_notice_is_asked_for_previewed_and_sent() {
    let desk = terminal();
    let node = Node::on(&desk.socket());
    let ended = delivering(&desk, &node, &["breach"], "7\n2\nBoarding of a vessel\nAt 09:31Z.\n.\n\ns\n");
    let ended = ended.with(Exit::Done);
    assert!(ended.out.contains("   2  3.2  Freedom of navigation\n"), "{}", ended.out);
    assert!(ended.err.contains("there is no `7` in the list"), "{}", ended.err);
    assert!(
        ended.out.contains("FLASH breach from washington\n") && ended.out.contains("  | At 09:31Z.\n"),
        "{}",
        ended.out
    );
    let Content::Breach(Breach { provision, title, occurred, .. }) = last(&node) else { panic!() };
    assert_eq!((provision.as_str(), title.as_str()), ("3.2", "Boarding of a vessel"));
    assert_eq!(occurred.unwrap().from.to_string(), NOW, "Enter: now");
}

#[test]
fn a_provision_is_chosen_by_its_code_and_a_wrong_time_asked_again() {
    let desk = terminal();
    let node = Node::on(&desk.socket());
    let ended =
        delivering(&desk, &node, &["breach"], "3.1\nTitle\n.\nlunchtime\n09:31Z\ns\n").with(Exit::Done);
    assert!(ended.err.contains("not a UTC time"), "{}", ended.err);
    let Content::Breach(Breach { provision, occurred, .. }) = last(&node) else { panic!() };
    assert_eq!(provision, "3.1");
    assert_eq!(occurred.unwrap().from.to_string(), "2026-11-23T09:31:00.000Z");
}

#[test]
fn keep_signs_and_does_not_send() {
    let desk = terminal();
    let node = Node::on(&desk.socket());
    let ended = desk.run(&["breach", "3.1"], "Title\n.\n\nk\n").with(Exit::Done);
    assert!(node.held().shown.is_empty());
    let kept = desk.kept();
    assert!(ended.out.contains(&format!("demarche send {}", kept[0].display())), "{}", ended.out);
    let document = read_signed_file(&kept[0]).unwrap().document().unwrap();
    assert_eq!(Dispatch::parse(document.text()).unwrap().title(), Some("Title"));
}

#[test]
fn whoever_hangs_up_at_the_preview_keeps_the_notice() {
    let desk = terminal();
    let _node = Node::on(&desk.socket());
    desk.run(&["breach", "3.1"], "Title\n.\n\n").with(Exit::Done);
    assert_eq!(desk.kept().len(), 1);
}

#[test]
fn edit_opens_the_editor_on_the_text_and_previews_again() {
    let mut desk = terminal();
    let node = Node::on(&desk.socket());
    let editor = desk.put("editor.sh", b"#!/bin/sh\nsed -i 's/Titel/Title/' \"$1\"\n");
    desk.env.push(("EDITOR".to_owned(), format!("sh {}", editor.display())));
    let ended = delivering(&desk, &node, &["breach", "3.1"], "Titel\n.\n\ne\ns\n").with(Exit::Done);
    assert!(
        ended.out.contains("Title       Titel\n") && ended.out.contains("Title       Title\n"),
        "{}",
        ended.out
    );
    let Content::Breach(breach) = last(&node) else { panic!() };
    assert_eq!(breach.title, "Title");
}

#[test]
fn an_editor_that_fails_costs_nothing() {
    let mut desk = terminal();
    let _node = Node::on(&desk.socket());
    desk.env.push(("EDITOR".to_owned(), "false".to_owned()));
    let ended = desk.run(&["breach", "3.1"], "Title\n.\n\ne\nk\n").with(Exit::Done);
    assert!(ended.err.contains("the editor false could not be used"), "{}", ended.err);
    assert_eq!(desk.kept().len(), 1);
}

#[test]
fn what_an_editor_had_saved_before_it_was_ended_is_kept() {
    let mut desk = terminal();
    let _node = Node::on(&desk.socket());
    let editor = desk.put("editor.sh", b"#!/bin/sh\necho Saved > \"$1\"\nkill -KILL $$\n");
    desk.env.push(("EDITOR".to_owned(), format!("sh {}", editor.display())));
    desk.env.push(("XDG_RUNTIME_DIR".to_owned(), desk.home.path().display().to_string()));
    let ended = desk.run(&["breach", "3.1"], "Title\n.\n\ne\nk\n").with(Exit::Done);
    let saved =
        desk.kept().into_iter().find(|kept| kept.extension().is_some_and(|end| end == "txt")).unwrap();
    assert!(ended.err.contains(&format!("had saved is kept in {}", saved.display())), "{}", ended.err);
    assert_eq!(std::fs::read_to_string(saved).unwrap(), "Saved\n");
}

#[test]
fn what_is_too_long_can_be_edited_or_kept_as_text() {
    let desk = terminal();
    let _node = Node::on(&desk.socket());
    let long = "x".repeat(600);
    let ended = desk.run(&["breach", "3.1"], format!("{long}\n.\n\nk\n")).with(Exit::Refused);
    assert!(ended.err.contains("not yet: the title (first line) has 600 bytes"), "{}", ended.err);
    assert_eq!(std::fs::read_to_string(&desk.kept()[0]).unwrap(), format!("{long}\n"));
}

#[test]
fn the_same_provision_minutes_ago_is_asked_about_and_gone_on_with() {
    let desk = terminal();
    let node = Node::on(&desk.socket());
    delivering(&desk, &node, &["breach", "3.1"], "First\n.\n\ns\n").with(Exit::Done);
    let notice = node.held().shown[0].header.document;
    let ended = delivering(&desk, &node, &["breach", "3.1"], "Still going on.\n.\n\ny\ns\n").with(Exit::Done);
    assert!(
        ended.out.contains("washington/1 was opened at 2026-11-23 09:40:00Z under the same provision"),
        "{}",
        ended.out
    );
    let Content::Statement(statement) = last(&node) else { panic!("it should go on with that case") };
    assert_eq!((statement.case, statement.body.as_str()), (Some(notice), "Still going on."));

    delivering(&desk, &node, &["breach", "3.1"], "Another one\n.\n\nn\ns\n").with(Exit::Done);
    assert!(matches!(last(&node), Content::Breach(_)));
}

#[test]
fn with_the_node_down_what_was_typed_is_signed_and_kept() {
    let desk = terminal();
    let ended = desk.run(&["breach"], "1\nTitle\n.\n\ns\n").with(Exit::NodeAway);
    assert!(
        ended.err.trim_end().ends_with(&format!("demarche send {}", desk.kept()[0].display())),
        "{}",
        ended.err
    );
}

#[test]
fn a_case_is_gone_on_with_in_its_own_nature_and_with_the_typed_precedence_and_title() {
    let desk = terminal();
    let node = Node::on(&desk.socket());
    delivering(&desk, &node, &["breach", "3.1"], "Real\n.\n\ns\n").with(Exit::Done);
    let exercise = ["breach", "3.1", "--nature", "exercise", "--precedence", "routine"];
    // A real case is no place for an exercise: it is not even proposed.
    delivering(&desk, &node, &exercise, "Exercise\n.\n\ns\n").with(Exit::Done);
    assert!(matches!(last(&node), Content::Breach(_)));
    let notice = node.held().shown[1].header.document;

    let words = [&exercise[..], &["--title", "EXERCISE ONLY", "--place", "At the pier"]].concat();
    let ended = delivering(&desk, &node, &words, "Still going on.\n.\n09:31Z\ny\ns\n").with(Exit::Done);
    let dispatch = Dispatch::parse(&node.held().shown.last().unwrap().text).unwrap();
    assert_eq!((dispatch.nature, dispatch.precedence), (Nature::Exercise, Precedence::Routine));
    let Content::Statement(statement) = dispatch.content else { panic!("it should go on with that case") };
    assert_eq!((statement.case, statement.title.as_deref()), (Some(notice), Some("EXERCISE ONLY")));
    assert!(ended.out.contains("  Title       EXERCISE ONLY\n"), "{}", ended.out);
    assert!(ended.out.contains("  Case        washington/2\n"), "{}", ended.out);
    let left_out = "left out, for a statement has no such fields: --occurred 2026-11-23T09:31:00.000Z, --place At the pier";
    assert!(ended.err.contains(left_out), "{}", ended.err);
}

#[test]
fn the_preview_shows_every_field_that_is_signed() {
    let desk = terminal();
    let _node = Node::on(&desk.socket());
    let words = [
        "breach",
        "3.1",
        "--occurred",
        "09:10Z/09:31Z",
        "--place",
        "At the pier",
        "--means",
        "seen",
        "--confidence",
        "confirmed",
        "--request",
        "Stop",
        "--reply-by",
        "6h",
    ];
    let ended = desk.run(&words, "Title\n.\nk\n").with(Exit::Done);
    let document = read_signed_file(&desk.kept()[0]).unwrap().document().unwrap();
    let fields = Shown::fields_of(&Dispatch::parse(document.text()).unwrap());
    assert_eq!(fields.len(), 7);
    for (field, value) in fields {
        assert!(ended.out.contains(&value), "{field} = {value} is signed and not shown: {}", ended.out);
    }
}

#[test]
fn a_time_that_cannot_be_is_told_before_anything_is_typed() {
    let desk = terminal();
    let _node = Node::on(&desk.socket());
    let ended = desk.run(&["breach", "3.1", "--occurred", "lunchtime"], "Title\n.\nk\n").with(Exit::Usage);
    assert!(ended.err.contains("--occurred: not a UTC time") && !ended.out.contains("What happened?"));
}

#[test]
fn k1_a_node_cannot_have_an_exercise_go_on_with_a_real_case() {
    let desk = terminal();
    let node = Node::on(&desk.socket());
    delivering(&desk, &node, &["breach", "3.1"], "Real\n.\n\ns\n").with(Exit::Done);
    node.held().nature_of_cases = Some(Nature::Exercise);
    let words = ["breach", "3.1", "--nature", "exercise"];
    let ended = desk.run(&words, "Exercise\n.\n\ny\ns\n").with(Exit::Unverified);
    assert!(ended.err.contains("washington/1 is real, not exercise as the node said"), "{}", ended.err);
    assert_eq!(node.held().shown.len(), 1);
    assert_eq!(desk.kept().len(), 1, "the text");
}
