//! M12 with real nodes: a stranger's node, a node of another channel, a revoked card; first as honest programs, then as
//! hostile ones ([`programs`]). Each is kept out and logged by name, and the line between the two capitals is undisturbed.
//! (One that presents another's node is a hostile mediator: crates/node/src/tests/misled.rs plays it.)

#[path = "strangers/hostile.rs"]
mod hostile;
#[path = "strangers/programs.rs"]
mod programs;
mod support;

use std::time::{Duration, Instant};

use support::stage::{Cast, Stage, text};

const OTHERS: Cast = Cast {
    parties: &[("baku", "Azerbaijan", "Desk at Baku"), ("accra", "Ghana", "Desk at Accra")],
    mediators: &[("muscat", "Sultanate of Oman")],
    title: "Another memorandum",
};

#[test]
fn m12_a_stranger_is_kept_out_until_its_channel_is_installed_and_never_meets_the_other_channel() {
    let stage = Stage::open(programs!());
    let mut others = stage.found_beside(OTHERS);

    // The mediator's root has signed their charter, but its node was never told: to it they are strangers.
    for id in ["baku", "accra"] {
        others.node_mut(id).start_ready();
    }
    let stranger = logged(&stage, "muscat", &["admitted=false"]);
    assert!(stranger.contains("127.0.0.1"), "{stranger}");
    others.as_officer("baku", &["status", "--check"]).exit(1);
    let said =
        others.as_officer_saying("baku", &["say", "--wait", "delivered", "--timeout", "2s"], "Anybody?");
    said.exit(5);
    undisturbed(&stage);

    // Installed at the running mediator: the same nodes are let in, by themselves.
    install_beside(&stage, &others);
    others.line_open();
    let words = ["say", "--wait", "delivered", "--timeout", "30s"];
    others.json_saying("baku", &words, "Good morning, Accra.");

    // Two channels at one mediator never learn of each other.
    undisturbed(&stage);
    for (stage, id, foreign) in [(&stage, "washington", "baku"), (&others, "baku", "washington")] {
        let status = stage.json(id, &["status"]).to_string();
        assert!(!status.contains(foreign), "{status}");
        assert!(!stage.node(id).log().contains(foreign), "{}", stage.node(id).log());
    }
}

#[test]
fn m12_a_revoked_card_is_closed_out_by_name_and_a_renewed_one_is_welcome() {
    let stage = Stage::open(programs!());
    let lost = "its machine was stolen";
    stage.ok(&["revoke", "tehran/tehran.card", "--reason", lost, "--out", "revocation.toml"]);
    stage.ok(&["sign", "revocation.toml", "--key", "tehran.root"]);
    stage.ok(&["install", "revocation.toml", "--data", "washington"]);

    let began = Instant::now();
    let cause = loop {
        let status = stage.json("washington", &["status"]);
        let peers = status["channels"][0]["peers"].as_array().expect("peers").clone();
        let tehran = peers.into_iter().find(|peer| peer["party"] == "tehran").expect("tehran");
        if tehran["state"] == "down" {
            break text(&tehran, "cause").to_owned();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the stolen node stays: {status:#}");
    };
    assert!(cause.contains("card"), "{cause}");
    let named = logged(&stage, "washington", &["revoked"]);
    assert!(named.contains("tehran"), "{named}");
    let words = ["say", "--wait", "delivered", "--timeout", "2s", "--json"];
    let kept = stage.as_officer_saying("washington", &words, "For the new node only.").exit(5).json();

    // The roots vouch for new keys: never a stranger, and what waited is delivered.
    stage.ok(&["card", "renew", "--data", "tehran"]);
    stage.ok(&["sign", "tehran/tehran.2.card", "--key", "tehran.root"]);
    stage.ok(&["install", "tehran/tehran.2.card", "--data", "tehran"]);
    stage.line_open();
    undisturbed(&stage);
    let shown = stage.json("washington", &["show", text(&kept, "serial")]);
    assert_eq!(shown["state"], "delivered", "{shown:#}");
}

/// Installs the other channel's charter at this stage's running mediator.
fn install_beside(stage: &Stage, others: &Stage) {
    let mut install =
        vec!["install".to_owned(), path(others, "charter.toml"), "--as".into(), "memo-b".into()];
    for id in ["baku", "accra"] {
        install.extend(["--card".to_owned(), path(others, &format!("{id}/{id}.card"))]);
    }
    install.extend(["--data".to_owned(), "muscat".into()]);
    stage.ok(&install.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Notices still go both ways.
#[track_caller]
fn undisturbed(stage: &Stage) {
    for id in ["washington", "tehran"] {
        let words = ["say", "--wait", "delivered", "--timeout", "30s", "--json"];
        let said = stage.as_officer_saying(id, &words, "Undisturbed.");
        let logs = || {
            stage
                .nodes
                .iter()
                .map(|node| format!("== {}\n{}", node.id, node.log()))
                .collect::<Vec<_>>()
                .concat()
        };
        assert_eq!(said.code, 0, "{said}\n{}", logs());
        assert_eq!(said.json()["state"], "delivered");
    }
}

/// The first line of a node's log that says all of this.
#[track_caller]
fn logged(stage: &Stage, id: &str, says: &[&str]) -> String {
    let began = Instant::now();
    loop {
        let log = stage.node(id).log();
        if let Some(line) = log.lines().find(|line| says.iter().all(|one| line.contains(one))) {
            return line.to_owned();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "nothing about {says:?} in {id}'s log:\n{log}");
        stage.node(id).ready();
    }
}

fn path(stage: &Stage, file: &str) -> String {
    stage.dir.join(file).to_str().expect("UTF-8").to_owned()
}
