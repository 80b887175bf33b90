//! The mediator is gone for a while: officers at both capitals still record, the status names the cause, and delivery resumes
//! within five seconds of its return without a hand on it.

mod support;

use std::time::{Duration, Instant};

use support::{
    programs::Outcome,
    stage::{Stage, text},
};

/// Long enough that the pauses between attempts have grown to their longest.
const AWAY: Duration = Duration::from_secs(20);
const RESUMES_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn notices_recorded_while_the_mediator_is_gone_are_delivered_within_5_s_of_its_return() {
    let mut stage = Stage::open(programs!());
    stage.node_mut("muscat").kill();
    let gone = Instant::now();

    for (id, peer) in [("washington", "tehran"), ("tehran", "washington")] {
        // The loss shows as soon as the connection breaks; each look is a process, which paces this.
        let cause = loop {
            let status = stage.json(id, &["status"]);
            let peers = status["channels"][0]["peers"].as_array().expect("peers").clone();
            let peer = peers.into_iter().find(|found| found["party"] == peer).expect("the peer");
            if text(&peer, "cause").contains("unreachable since") {
                assert_eq!(peer["state"], "down");
                assert!(text(&status, "verdict").contains("mediator muscat unreachable since"), "{status:#}");
                break text(&peer, "cause").to_owned();
            }
            assert!(gone.elapsed() < Duration::from_secs(20), "{id} never names the cause: {status:#}");
        };
        assert!(cause.contains("mediator muscat unreachable since"), "{cause}");
        stage.as_officer(id, &["status", "--check"]).exit(1);
        // Waiting for delivery in vain ends with 5, and says that it is recorded.
        let late = stage
            .as_officer_saying(
                id,
                &["breach", "4.1", "--title", "While it was away", "--wait", "delivered", "--timeout", "1s"],
                "text",
            )
            .exit(5);
        assert!(late.stderr.contains("recorded"), "{late}");
    }

    let waiting: Vec<_> = ["washington", "tehran"]
        .into_iter()
        .map(|id| {
            let words = ["say", "--wait", "delivered", "--timeout", "2m", "--json"];
            (id, stage.begin(id, &words, "Said while the mediator was away."))
        })
        .collect();
    // The length of the outage is the scene itself, not a way to wait for something.
    std::thread::sleep(AWAY.saturating_sub(gone.elapsed()));

    let returned = Instant::now();
    stage.node_mut("muscat").start();
    for (id, child) in waiting {
        let sent = Outcome::wait(child, format!("{id}: say")).ok().json();
        assert_eq!(sent["state"], "delivered", "{sent:#}");
    }
    let took = returned.elapsed();
    println!("after {AWAY:?} without the mediator: delivered both ways {took:?} after it was started again");
    assert!(took < RESUMES_WITHIN, "delivery resumed only after {took:?}");

    for (id, peer) in [("washington", "tehran"), ("tehran", "washington")] {
        let inbox = stage.json(peer, &["inbox"]);
        let titles = inbox.as_array().expect("inbox").iter().filter(|header| header["from"] == id);
        let mut kinds: Vec<&str> = titles.map(|header| text(header, "kind")).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["breach", "statement"], "{inbox:#}");
    }
}
