//! `ack` and `reply`: what is answered is verified and shown before anything is signed.

use demarche_cli::exit::Exit;
use demarche_control::types::{EvidenceKind, State};
use demarche_protocol::dispatch::{Breach, Content, Dispatch, Position, Precedence};

use crate::{
    node::{Node, evidence},
    scene::{Desk, from_tehran},
};

pub(crate) fn tehrans_notice(title: &str) -> demarche_protocol::document::SignedDocument {
    let breach = Breach {
        provision: "3.2".to_owned(),
        title: title.to_owned(),
        body: Some("A vessel was turned back.".to_owned()),
        occurred: None,
        place: None,
        means: None,
        confidence: None,
        request: None,
        reply_by: None,
    };
    from_tehran(Content::Breach(breach), Precedence::Flash)
}

#[test]
fn an_acknowledgement_shows_the_original_names_its_signer_and_signs_its_hash() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let notice = tehrans_notice("Passage refused");
    node.held().enter(&notice);
    let ended = desk.run(&["ack", "tehran/1", "--note", "Understood"], "").with(Exit::Done);
    for said in [
        "Passage refused",
        "A vessel was turned back.",
        "signed by Desk of the ministry of tehran, SHA256:",
        "not agreement",
    ] {
        assert!(ended.out.contains(said), "{said}: {}", ended.out);
    }
    let held = node.held();
    let signed = Dispatch::parse(&held.shown[1].text).unwrap();
    let Content::Acknowledgement(acknowledgement) = signed.content else { panic!() };
    assert_eq!(acknowledgement.of, notice.id());
    assert_eq!(acknowledgement.note.as_deref(), Some("Understood"));
    assert_eq!(signed.precedence, Precedence::Flash);
    assert!(held.opened_by.is_empty(), "acknowledging is not opening (threat E1)");
}

#[test]
fn a_dispatch_is_found_by_its_hash_as_well() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let notice = tehrans_notice("Passage refused");
    node.held().enter(&notice);
    desk.run(&["ack", &notice.id().to_string()], "").with(Exit::Done);
    assert_eq!(node.held().shown.len(), 2);
}

#[test]
fn a_reply_takes_a_position_on_the_notice() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let notice = tehrans_notice("Passage refused");
    node.held().enter(&notice);
    let ended = desk.run(&["reply", "tehran/1", "--position", "explain", "--json"], "It was out of fuel.\n");
    let ended = ended.with(Exit::Done);
    assert_eq!(ended.json()["case"], "tehran/1");
    let held = node.held();
    let Content::Reply(reply) = Dispatch::parse(&held.shown[1].text).unwrap().content else { panic!() };
    assert_eq!((reply.case, reply.position), (notice.id(), Position::Explain));
    assert_eq!(reply.body, "It was out of fuel.");
}

#[test]
fn a_reply_to_something_that_is_no_notice_names_its_case() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    node.held().enter(&tehrans_notice("Passage refused"));
    desk.run(&["say", "--case", "tehran/1"], "Looking into it.").with(Exit::Done);
    let ended = desk.run(&["reply", "washington/1", "--position", "deny"], "No.").with(Exit::Refused);
    assert!(ended.help().contains("its case is tehran/1"), "{}", ended.err);
}

#[test]
fn one_does_not_acknowledge_oneself() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    desk.run(&["say"], "Hello").with(Exit::Done);
    let ended = desk.run(&["ack", "washington/1"], "").with(Exit::Refused);
    assert!(ended.err.contains("your own party's"), "{}", ended.err);
    assert_eq!(node.held().shown.len(), 1);
}

#[test]
fn what_is_not_there_cannot_be_answered_and_the_text_is_kept() {
    let desk = Desk::new();
    let _node = Node::on(&desk.socket());
    let ended = desk.run(&["reply", "tehran/9", "--position", "deny"], "No.").with(Exit::Failed);
    assert!(ended.err.contains("there is no tehran/9 here"), "{}", ended.err);
    assert!(ended.err.contains("demarche reply CASE --position deny < "), "{}", ended.err);
    assert_eq!(std::fs::read(&desk.kept()[0]).unwrap(), b"No.");
}

#[test]
fn with_the_node_down_an_answer_cannot_be_verified_and_is_exit_3() {
    let desk = Desk::new();
    desk.run(&["ack", "tehran/1"], "").with(Exit::NodeAway);
    desk.run(&["reply", "tehran/1", "--position", "deny"], "No.").with(Exit::NodeAway);
    assert_eq!(desk.kept().len(), 1, "the reply's text");
}

#[test]
fn an_answer_that_the_node_loses_on_the_way_is_kept() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    node.held().enter(&tehrans_notice("Passage refused"));
    node.held().shown[0].header.state = State::Opened;
    node.held().refuse =
        Some(demarche_control::Problem::new(demarche_control::Code::DiskFull, "the disk is full"));
    let ended = desk.run(&["ack", "tehran/1"], "").with(Exit::Failed);
    assert!(
        ended.err.trim_end().ends_with(&format!("demarche send {}", desk.kept()[0].display())),
        "{}",
        ended.err
    );
}

#[test]
fn what_was_acknowledged_before_is_said_before_it_is_again() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    node.held().enter(&tehrans_notice("Passage refused"));
    let first = desk.run(&["ack", "tehran/1"], "").with(Exit::Done);
    assert!(!first.err.contains("already"), "{}", first.err);
    let mut piece = evidence(EvidenceKind::Acknowledged, "washington");
    piece.serial = Some("washington/1".parse().unwrap());
    node.held().step("tehran/1", State::Acknowledged, piece);
    let again = desk.run(&["ack", "tehran/1"], "").with(Exit::Done);
    assert!(again.err.contains("note: already acknowledged (washington/1)"), "{}", again.err);
}
