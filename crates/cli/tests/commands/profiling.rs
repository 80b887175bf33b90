//! `profile` over the socket alone: what it writes, and what it says that would fail later.

use demarche_cli::exit::Exit;
use demarche_control::types::OfficerState;

use crate::{
    node::Node,
    scene::{Desk, Ended, WASHINGTON_OFFICER, key},
};

/// A desk with a key of this name, and its public half beside it.
fn desk(name: &str, public: &str, seed: u8) -> Desk {
    let desk = Desk::bare();
    std::fs::create_dir_all(desk.path("W")).unwrap();
    desk.put_key(name, seed);
    desk.put(public, key(seed).public().to_openssh().as_bytes());
    desk
}

fn profile(desk: &Desk, name: &str, more: &[&str]) -> Ended {
    let (data, key) = (desk.path("W"), desk.path(name));
    let words = ["profile", "--data", data.to_str().unwrap(), "--key", key.to_str().unwrap()];
    desk.run(&[&words[..], more].concat(), "")
}

#[test]
fn the_next_command_looks_into_the_profile_that_was_written() {
    let desk = desk("officer.key", "officer.pub", WASHINGTON_OFFICER);
    let _node = Node::on(&desk.socket());
    let usual = profile(&desk, "officer.key", &[]).with(Exit::Done);
    assert!(usual.out.ends_with("next: demarche status\n"), "{}", usual.out);
    let file = desk.path("my profile.toml");
    let named = profile(&desk, "officer.key", &["--profile", file.to_str().unwrap()]).with(Exit::Done);
    let next = format!("next: demarche status --profile '{}'\n", file.display());
    assert!(named.out.ends_with(&next), "{}", named.out);
}

#[test]
fn an_officers_document_is_drafted_from_the_public_key_that_is_there() {
    for (private, public) in [
        ("tehran.officer", "tehran.officer.pub"),
        ("officer.key", "officer.pub"),
        ("officer.key", "officer.key.pub"),
    ] {
        let desk = desk(private, public, 99);
        let _node = Node::on(&desk.socket());
        let ended = profile(&desk, private, &[]).with(Exit::Done);
        let named = format!(" --key {} --duties", desk.path(public).display());
        assert!(ended.out.contains(&named), "{}", ended.out);
    }
}

#[test]
fn a_key_that_speaks_for_nobody_any_more_is_said_to_be_so() {
    for (state, said) in [
        (OfficerState::Revoked, "revoked"),
        (OfficerState::Suspended, "suspended"),
        (OfficerState::Expired, "expired"),
    ] {
        let desk = desk("officer.key", "officer.pub", WASHINGTON_OFFICER);
        let node = Node::on(&desk.socket());
        node.held().officer_state = state;
        let ended = profile(&desk, "officer.key", &[]).with(Exit::Done);
        let line = format!("  officer  Duty officer, first watch: {said}\n");
        assert!(ended.out.contains(&line), "{}", ended.out);
        let anew = ended.out.contains("next: demarche key new");
        assert_eq!(anew, state == OfficerState::Revoked, "{}", ended.out);
    }
}
