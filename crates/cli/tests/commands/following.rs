//! `--wait` and `watch`: the steps as they come, out of time, refused on the way, a node that goes and comes back.

use demarche_cli::{exit::Exit, interrupts::Ending};
use demarche_control::{
    Code, Problem,
    types::{EventKind, EvidenceKind, State, Verdict},
};
use demarche_protocol::dispatch::{Acknowledgement, Content, Precedence};

use super::answering::tehrans_notice;
use crate::{
    node::{Node, evidence},
    scene::{Desk, Ended, Written, from_tehran, until},
};

/// Runs a command beside what happens at the node.
fn beside(desk: &Desk, arguments: &[&str], stdin: &str, happens: impl FnOnce(&Written)) -> Ended {
    let out = Written::default();
    desk.run_beside(arguments, stdin, (&out, &Written::default()), || happens(&out))
}

/// The same, with stderr to be read while it runs.
fn beside_with(desk: &Desk, arguments: &[&str], stdin: &str, err: &Written, happens: impl FnOnce()) -> Ended {
    desk.run_beside(arguments, stdin, (&Written::default(), err), happens)
}

#[test]
fn waiting_shows_each_step_until_the_one_asked_for() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let arguments = ["breach", "3.2", "--wait", "acknowledged", "--timeout", "60s"];
    let ended = beside(&desk, &arguments, "Boarding", |out| {
        node.until_listeners(1);
        for (state, kind, by, word) in [
            (State::Custody, EvidenceKind::Custody, "muscat", "IN CUSTODY"),
            (State::Delivered, EvidenceKind::Delivered, "tehran", "DELIVERED"),
            (State::Opened, EvidenceKind::Opened, "tehran", "OPENED"),
            (State::Acknowledged, EvidenceKind::Acknowledged, "tehran", "ACKNOWLEDGED"),
        ] {
            let mut piece = evidence(kind, by);
            piece.officer = Some("Desk of the ministry".to_owned());
            node.held().step("washington/1", state, piece);
            until(|| out.text().contains(word));
        }
    });
    let ended = ended.with(Exit::Done);
    let steps: Vec<&str> = ended.out.lines().collect();
    assert_eq!(steps[0], "RECORDED HERE, NOT YET DELIVERED  washington/1");
    assert_eq!(steps[1], "09:40:00.000Z  IN CUSTODY   mediator muscat signed that it keeps it");
    assert_eq!(steps[2], "09:40:00.000Z  DELIVERED    tehran's node holds it, signed");
    assert!(
        steps[4].ends_with("Desk of the ministry of tehran signed: receipt and understanding; not agreement")
    );
    assert_eq!(steps.len(), 5, "each step once: {steps:?}");
}

#[test]
fn out_of_time_is_exit_5_recorded_and_going_on() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let ended =
        desk.run(&["say", "--wait", "delivered", "--timeout", "1s", "--json"], "Text").with(Exit::OutOfTime);
    assert!(
        ended.err.contains("it is recorded and will go on; see demarche show washington/1"),
        "{}",
        ended.err
    );
    assert_eq!(ended.json()["state"], "recorded");
    assert_eq!(node.held().shown.len(), 1);
    assert!(desk.kept().is_empty(), "what is recorded need not be kept");
}

#[test]
fn what_is_void_or_expired_on_the_way_is_exit_7_with_the_reason() {
    for (state, kind) in [(State::Void, EvidenceKind::Void), (State::Expired, EvidenceKind::Expired)] {
        let desk = Desk::new();
        let node = Node::on(&desk.socket());
        let ended = beside(&desk, &["say", "--wait", "opened", "--timeout", "60s", "--json"], "Text", |_| {
            node.until_listeners(1);
            let mut piece = evidence(kind, "tehran");
            piece.detail = Some("the officer was revoked before".to_owned());
            node.held().step("washington/1", state, piece);
        });
        let ended = ended.with(Exit::RefusedOnTheWay);
        assert_eq!(ended.json()["state"], state.as_str());
        if kind == EvidenceKind::Void {
            assert!(ended.err.contains("of no effect: the officer was revoked before"), "{}", ended.err);
        }
    }
}

#[test]
fn what_is_late_names_its_cause_and_whom_to_call() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    node.held().status = Some(super::reading::status(Verdict::Down));
    let err = Written::default();
    let ended = beside_with(&desk, &["say", "--wait", "delivered", "--timeout", "60s"], "Text", &err, || {
        until(|| err.text().contains("to reach tehran"));
        node.held().step("washington/1", State::Delivered, evidence(EvidenceKind::Delivered, "tehran"));
    });
    let ended = ended.with(Exit::Done);
    assert_eq!(
        ended.err,
        "LATE: washington/1 is not delivered yet\n  \
         tehran: mediator muscat unreachable since 09:30:00Z\n  \
         to reach tehran: Foreign ministry watch desk, +00 22\n"
    );
}

#[test]
fn a_watch_does_not_ring_for_an_acknowledgement() {
    let mut desk = Desk::new();
    desk.terminal = true;
    let node = Node::on(&desk.socket());
    let acknowledgement =
        Content::Acknowledgement(Acknowledgement { of: tehrans_notice("x").id(), note: None });
    node.held().enter(&from_tehran(acknowledgement, Precedence::Flash));
    let ended = beside(&desk, &["watch", "--count", "1"], "", |_| {
        node.until_listeners(1);
        let header = node.held().shown[0].header.clone();
        node.held().tell(EventKind::Arrived, Some(header), None);
    });
    assert!(!ended.with(Exit::Done).err.contains('\u{7}'));
}

/// Its hook, say, which concerns whoever watches.
#[test]
fn a_watch_with_a_profile_tells_what_the_node_says_of_itself() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let ended = beside(&desk, &["watch", "--count", "1"], "", |_| {
        node.until_listeners(1);
        node.held().tell_of_itself(EventKind::Alarm, "the hook sh failed: exit status: 1");
    });
    assert_eq!(
        ended.with(Exit::Done).out,
        "09:40:00.000Z  ALARM          the hook sh failed: exit status: 1\n"
    );
}

/// What came while nobody listened need not be told as an event: whoever regains the node asks what lies unopened.
#[test]
fn a_watch_that_regains_its_node_rings_for_what_came_meanwhile() {
    let mut desk = Desk::new();
    desk.terminal = true;
    let node = Node::on(&desk.socket());
    let err = Written::default();
    beside_with(&desk, &["watch", "--count", "1"], "", &err, || {
        node.until_listeners(1);
        until(|| node.held().asked.last().is_some_and(|asked| asked.contains("/inbox")));
        let mut held = node.held();
        held.cut_feeds();
        held.enter(&tehrans_notice("Passage refused"));
        drop(held);
        until(|| err.text().contains("the node is back"));
        until(|| err.text().contains('\u{7}'));
        node.held().tell(EventKind::Roster, None, None);
    })
    .with(Exit::Done);
}

#[test]
fn a_watch_that_hears_of_old_arrivals_rings_only_for_what_is_unopened() {
    let mut desk = Desk::new();
    desk.terminal = true;
    let node = Node::on(&desk.socket());
    node.held().enter(&tehrans_notice("Passage refused"));
    for (state, rings) in [(State::Opened, false), (State::Delivered, true)] {
        let mut held = node.held();
        // Only the event calls: who asks what lies unopened hears of nothing.
        let mut header = held.shown[0].header.clone();
        held.shown[0].header.state = State::Opened;
        header.state = state;
        held.events.clear();
        held.tell(EventKind::Arrived, Some(header), None);
        drop(held);
        let ended = desk.run(&["watch", "--after", "0", "--count", "1"], "").with(Exit::Done);
        assert_eq!(ended.err.contains('\u{7}'), rings, "{state:?}: {:?}", ended.err);
    }
}

#[test]
fn a_watch_says_that_the_record_begins_anew() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let ended = beside(&desk, &["watch", "--count", "1"], "", |_| {
        node.until_listeners(1);
        node.held().tell_of_itself(EventKind::Anew, "the store was replaced");
    });
    assert_eq!(ended.with(Exit::Done).out, "09:40:00.000Z  ANEW           the store was replaced\n");
}

#[test]
fn a_step_already_taken_is_not_waited_for() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    desk.run(&["say"], "Text").with(Exit::Done);
    node.held().step("washington/1", State::Opened, evidence(EvidenceKind::Opened, "tehran"));
    let json = {
        // The same text at the same moment is the same document.
        let ended =
            desk.run(&["say", "--wait", "delivered", "--timeout", "60s", "--json"], "Text").with(Exit::Done);
        ended.json()
    };
    assert_eq!((json["serial"].as_str(), json["state"].as_str()), (Some("washington/1"), Some("opened")));
}

#[test]
fn waiting_survives_a_feed_that_breaks() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let err = Written::default();
    let ended = beside_with(&desk, &["say", "--wait", "delivered", "--timeout", "60s"], "Text", &err, || {
        node.until_listeners(1);
        node.held().cut_feeds();
        until(|| err.text().contains("the node is back"));
        node.held().step("washington/1", State::Delivered, evidence(EvidenceKind::Delivered, "tehran"));
    });
    let ended = ended.with(Exit::Done);
    assert!(
        ended.err.contains("the node is lost") && ended.err.contains("the node is back"),
        "{}",
        ended.err
    );
}

#[test]
fn on_a_terminal_a_send_waits_for_delivery_without_being_told_to() {
    let mut desk = Desk::new();
    desk.terminal = true;
    let node = Node::on(&desk.socket());
    let body = desk.put("body", b"Text");
    let ended = beside(&desk, &["say", "--body-file", body.to_str().unwrap()], "", |_| {
        node.until_listeners(1);
        node.held().step("washington/1", State::Delivered, evidence(EvidenceKind::Delivered, "tehran"));
    });
    let ended = ended.with(Exit::Done);
    assert!(ended.out.starts_with("RECORDED HERE, NOT YET DELIVERED  washington/1\n"), "{}", ended.out);
    assert!(ended.out.contains("DELIVERED    tehran's node holds it"), "{}", ended.out);
}

#[test]
fn a_watch_shows_what_comes_and_rings_for_what_is_urgent() {
    let mut desk = Desk::new();
    desk.terminal = true;
    let node = Node::on(&desk.socket());
    let ended = beside(&desk, &["watch", "--count", "1"], "", |_| {
        node.until_listeners(1);
        let mut held = node.held();
        held.enter(&tehrans_notice("Passage refused"));
        let header = held.shown[0].header.clone();
        held.tell(EventKind::Arrived, Some(header), None);
    });
    let ended = ended.with(Exit::Done);
    assert!(ended.out.contains("ARRIVED") && ended.out.contains("3.2 Passage refused"), "{}", ended.out);
    assert!(ended.err.contains('\u{7}'), "the bell: {:?}", ended.err);
}

#[test]
fn a_watch_that_begins_with_something_unopened_rings_at_once() {
    let mut desk = Desk::new();
    desk.terminal = true;
    let node = Node::on(&desk.socket());
    let bell = |state: State| {
        node.held().shown.clear();
        node.held().enter(&tehrans_notice("Passage refused"));
        node.held().shown[0].header.state = state;
        let ended = beside(&desk, &["watch", "--count", "1"], "", |_| {
            node.until_listeners(1);
            // Told only after the look at the inbox that decides about the bell.
            until(|| node.held().asked.last().is_some_and(|asked| asked.contains("/inbox")));
            node.held().tell(EventKind::Roster, None, None);
        });
        ended.with(Exit::Done).err.contains('\u{7}')
    };
    assert!(bell(State::Delivered));
    until(|| node.held().listeners() == 0);
    node.held().asked.clear();
    assert!(!bell(State::Opened));
}

/// A card is being renewed, say: that nobody can be asked is no reason to fall silent about what nobody has opened.
#[test]
fn a_watch_rings_on_while_the_node_does_not_say_what_is_unopened() {
    let mut desk = Desk::new();
    desk.terminal = true;
    let node = Node::on(&desk.socket());
    node.held().enter(&tehrans_notice("Passage refused"));
    let asked = |node: &Node| node.held().asked.iter().filter(|asked| asked.contains("/inbox")).count();
    let err = Written::default();
    let ended = beside_with(&desk, &["watch", "--count", "1"], "", &err, || {
        until(|| err.text().contains('\u{7}'));
        node.held().no_inbox = Some(Problem::new(Code::NeedsNewCard, "no card of this node is installed"));
        until(|| asked(&node) == 2);
        node.held().tell(EventKind::Roster, None, None);
    });
    let err = ended.with(Exit::Done).err;
    assert!(
        err.contains("NOT KNOWN what lies unopened: no card of this node is installed; the bell goes on"),
        "{err}"
    );
    assert_eq!(err.matches('\u{7}').count(), 2, "{err:?}");
    assert!(node.held().asked.iter().all(|asked| !asked.ends_with("/inbox")), "not the whole of it");
}

#[test]
fn a_watch_resumes_after_the_last_event_and_says_that_the_node_was_lost() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let ended = beside(&desk, &["watch", "--json", "--count", "3"], "", |out| {
        node.until_listeners(1);
        node.held().tell(EventKind::Roster, None, None);
        until(|| out.text().lines().count() == 1);
        // Cut first, then told, in one breath: the broken feed cannot carry it, and it must come all the same.
        let mut held = node.held();
        held.cut_feeds();
        held.tell(EventKind::Alarm, None, None);
        drop(held);
        until(|| out.text().lines().count() == 2);
        node.held().tell(EventKind::Roster, None, None);
    });
    let ended = ended.with(Exit::Done);
    let kinds: Vec<String> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].to_string())
        .collect();
    assert_eq!(kinds, ["1", "2", "3"]);
    assert!(
        ended.err.contains("NODE LOST at 09:40:00.000Z") && ended.err.contains("the node is back"),
        "{}",
        ended.err
    );
    assert!(
        node.held().asked.iter().any(|asked| asked.ends_with("/v1/events?after=1")),
        "{:?}",
        node.held().asked
    );
}

#[test]
fn a_watch_ends_by_ctrl_c_with_0_and_by_other_signals_as_shells_count() {
    for (ending, exit) in [
        (Ending::Interrupted, Exit::Done),
        (Ending::Terminated, Exit::Terminated),
        (Ending::HungUp, Exit::HungUp),
    ] {
        let desk = Desk::new();
        let node = Node::on(&desk.socket());
        let ended = beside(&desk, &["watch"], "", |_| {
            node.until_listeners(1);
            desk.end.send_replace(Some(ending));
        });
        ended.with(exit);
    }
}

#[test]
fn a_watch_for_no_event_at_all_is_wrong_usage() {
    let desk = Desk::new();
    let ended = desk.run(&["watch", "--count", "0"], "").with(Exit::Usage);
    assert!(ended.err.contains("--count"), "{}", ended.err);
}
