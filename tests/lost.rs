//! A node's store is gone. A mediator carries the line again without a hand on it; a capital says that it needs a new card, and with it
//! goes on, its officers in force and those revoked revoked.

mod support;

use std::fs;

use support::stage::{Stage, text};

fn notice_goes(stage: &Stage, from: &str, title: &str) {
    let words = ["breach", "4.1", "--title", title, "--wait", "delivered", "--timeout", "1m"];
    assert_eq!(stage.json_saying(from, &words, "text")["state"], "delivered");
}

#[test]
fn s6_the_line_comes_back_when_the_stores_of_the_mediator_and_a_capital_are_gone() {
    let mut stage = Stage::open(programs!());
    stage.ok(&["key", "new", "second.officer", "--no-passphrase"]);
    stage.enrol("washington", "Second watch", "second.officer", "draft,release");
    stage.ok(&["revoke", "second.officer.toml", "--reason", "key lost", "--out", "revocation.toml"]);
    stage.ok(&["sign", "revocation.toml", "--key", "washington.root"]);
    stage.ok(&["install", "revocation.toml", "--data", "washington"]);
    notice_goes(&stage, "washington", "Before it");

    stage.node_mut("muscat").kill();
    fs::remove_dir_all(stage.dir.join("muscat/store")).expect("its store");
    stage.node_mut("muscat").start_ready();
    stage.line_open();
    notice_goes(&stage, "tehran", "Over a mediator that lost its store");

    stage.node_mut("washington").terminate();
    fs::remove_dir_all(stage.dir.join("washington/store")).expect("its store");
    stage.node_mut("washington").start();
    assert_ne!(stage.node_mut("washington").ended(), 0);
    let said = stage.node("washington").log();
    assert!(said.contains("the store is a new one or an older copy"), "{said}");
    assert!(said.contains("help: ") && said.contains("demarche card renew --data washington"), "{said}");

    // As it says there.
    stage.ok(&["card", "renew", "--data", "washington"]);
    stage.ok(&["sign", "washington/washington.2.card", "--key", "washington.root"]);
    stage.ok(&["install", "washington/washington.2.card", "--data", "washington"]);
    stage.node_mut("washington").start_ready();
    let officers = stage.ok(&["officer", "list", "--data", "washington", "--json"]).json();
    let state = |name: &str| {
        let found = officers.as_array().expect("officers").iter().find(|officer| officer["name"] == name);
        text(found.unwrap_or_else(|| panic!("no {name} in {officers:#}")), "state").to_owned()
    };
    assert_eq!(
        (state("Duty officer, first watch").as_str(), state("Second watch").as_str()),
        ("in-force", "revoked")
    );
    stage.line_open();
    notice_goes(&stage, "washington", "After it");
    notice_goes(&stage, "tehran", "To a capital that lost its store");
    let inbox = stage.json("washington", &["inbox", "--all"]);
    let titles: Vec<&str> =
        inbox.as_array().expect("inbox").iter().map(|header| text(header, "title")).collect();
    for title in
        ["Before it", "Over a mediator that lost its store", "After it", "To a capital that lost its store"]
    {
        assert!(titles.contains(&title), "{title} did not come back: {titles:?}");
    }
    // What is installed again says so, and changes nothing.
    let again = stage.ok(&["install", "revocation.toml", "--data", "washington"]);
    assert!(again.stdout.contains("(already installed)"), "{again}");
}
