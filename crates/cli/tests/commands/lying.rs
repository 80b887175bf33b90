//! K1: a node in the wrong hands hands out what it likes. Nothing is signed, and the exit code is 6.

use demarche_cli::exit::Exit;
use demarche_control::{
    SignedFile,
    types::{Effect, Kind, Shown},
};
use demarche_protocol::{
    document::SignedDocument,
    hash::DocumentId,
    identity::{
        officer::Duty,
        revocation::{Revocation, Revoked},
    },
    labels::Namespace,
};

use super::answering::tehrans_notice;
use crate::{
    node::Node,
    scene::{
        ALL_DUTIES, Desk, TEHRAN_OFFICER, TEHRAN_ROOT, WASHINGTON_ROOT, charter_titled, id, key, now, officer,
    },
};

/// Has the node lie about Tehran's notice, and answers it in both ways: nothing may be signed.
fn refused_after(what: &str, lie: impl Fn(&mut Shown)) {
    for arguments in [["ack", "tehran/1"].as_slice(), &["reply", "tehran/1", "--position", "confirm"]] {
        let desk = Desk::new();
        let node = Node::on(&desk.socket());
        node.held().enter(&tehrans_notice("Passage refused"));
        let mut shown = node.held().shown[0].clone();
        lie(&mut shown);
        node.held().lie = Some(shown);
        let ended = desk.run(arguments, "Yes.").with(Exit::Unverified);
        assert!(ended.err.contains("error: "), "{what}: {}", ended.err);
        assert_eq!(node.held().shown.len(), 1, "{what}: something was signed and sent");
        assert!(
            desk.kept().iter().all(|kept| kept.extension().is_some_and(|e| e == "txt")),
            "{what}: something was signed"
        );
    }
}

#[test]
fn k1_another_text_under_the_same_serial_is_refused() {
    refused_after("changed text", |shown| shown.text = shown.text.replace("turned back", "let through"));
    refused_after("changed text and hash", |shown| {
        shown.text = shown.text.replace("turned back", "let through");
        shown.header.document = DocumentId::of(shown.text.as_bytes());
        shown.body = Some("A vessel was let through.".to_owned());
    });
}

#[test]
fn k1_another_genuine_document_than_the_one_asked_for_is_refused() {
    let other = tehrans_notice("Something harmless");
    let file = SignedFile::of(&other).unwrap();
    refused_after("other serial", |shown| shown.header.serial.seq = 2);
    refused_after("other document behind the header", |shown| {
        shown.text.clone_from(&file.text);
        shown.signatures.clone_from(&file.signatures);
    });
}

#[test]
fn e7_k1_a_header_that_says_another_thing_than_the_text_is_refused() {
    refused_after("nature", |shown| {
        shown.header.nature = Some(demarche_protocol::dispatch::Nature::Exercise);
    });
    refused_after("precedence", |shown| {
        shown.header.precedence = Some(demarche_protocol::dispatch::Precedence::Routine);
    });
    refused_after("title", |shown| shown.header.title = Some("Something harmless".to_owned()));
    refused_after("provision", |shown| shown.header.provision = Some("3.1".to_owned()));
    refused_after("kind", |shown| shown.header.kind = Kind::Statement);
    refused_after("body", |shown| shown.body = Some("All is well.".to_owned()));
    refused_after("party", |shown| shown.header.from = id("washington"));
    refused_after("officer", |shown| shown.header.officer = "Minister of Defence".to_owned());
    for field in ["place", "request", "means", "reply_by", "occurred_from"] {
        refused_after(field, |shown| {
            shown.fields.insert(field.to_owned(), "elsewhere".to_owned());
        });
    }
}

#[test]
fn k1_a_dispatch_of_nobody_the_roots_vouched_for_is_refused() {
    refused_after("no officer's document", |shown| shown.authority.clear());
    refused_after("no signature", |shown| shown.signatures.clear());
    refused_after("an officer of the wrong roots", |shown| {
        let key = key(TEHRAN_OFFICER).public();
        let forged = officer("tehran", "Desk of the ministry", key, &ALL_DUTIES, WASHINGTON_ROOT);
        shown.authority = vec![SignedFile::of(&forged).unwrap()];
    });
    refused_after("an officer without the duty", |shown| {
        let key = key(TEHRAN_OFFICER).public();
        let clerk = officer("tehran", "Clerk", key, &[Duty::Acknowledge], TEHRAN_ROOT);
        shown.authority = vec![SignedFile::of(&clerk).unwrap()];
    });
    refused_after("signed by the node's own hand", |shown| {
        let own = SignedDocument::unsigned(shown.text.as_str()).signed_by(Namespace::Dispatch, &key(99));
        shown.signatures = SignedFile::of(&own).unwrap().signatures;
    });
}

#[test]
fn k2_a_dispatch_signed_after_its_officers_revocation_is_refused() {
    refused_after("revoked", |shown| {
        let revocation = Revocation {
            member: id("tehran"),
            revoked: Revoked::Officer(key(TEHRAN_OFFICER).public()),
            reason: "key lost".to_owned(),
            channels: Vec::new(),
            issued_at: now(),
        };
        let revocation =
            SignedDocument::unsigned(revocation.render()).signed_by(Namespace::Revocation, &key(TEHRAN_ROOT));
        shown.authority.push(SignedFile::of(&revocation).unwrap());
        shown.header.effect = Effect::Accepted;
    });
}

#[test]
fn k1_without_a_profile_a_charter_that_is_not_the_channels_is_refused() {
    let desk = Desk::bare();
    std::fs::create_dir(desk.path("W")).unwrap();
    desk.put_key("k", TEHRAN_OFFICER);
    let node = Node::on(&desk.socket());
    node.held().charter = charter_titled("A memorandum that nobody knows");
    let (data, key) = (desk.path("W"), desk.path("k"));
    let arguments = ["say", "--data", data.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let ended = desk.run(&arguments, "Text").with(Exit::Unverified);
    assert!(ended.err.contains("what the node gave is the charter"), "{}", ended.err);
}

#[test]
fn k1_what_is_only_looked_at_is_shown_under_a_warning_with_exit_6() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    node.held().enter(&tehrans_notice("Passage refused"));
    node.held().shown[0].authority.clear();
    for command in ["show", "open"] {
        let ended = desk.run(&[command, "tehran/1"], "").with(Exit::Unverified);
        assert!(ended.err.contains("NOT VERIFIED"), "{}", ended.err);
        assert!(
            ended.out.contains("Passage refused") && !ended.out.contains("Verified here"),
            "{}",
            ended.out
        );
    }
}
