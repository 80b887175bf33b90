//! Durable before spoken: what a machine says and keeps silent about when its disk is slow, full or lost.

use demarche_protocol::{
    channel::{CommitFailure, Event, Frame, Input, Refusal},
    dispatch::Precedence,
    identity::{member::MemberId, officer::Duty},
    transcript::{Effect, Seq, Void},
};
use demarche_testkit::{
    fixtures::{self, officer_key},
    forger::{self, Forger},
    table::Table,
};

/// Two nodes that hear each other, with an officer each.
fn line() -> (Table, MemberId, MemberId) {
    let (table, all) = Table::line(2);
    (table, all[0].clone(), all[1].clone())
}

fn stopped(table: &Table, party: &MemberId) -> bool {
    table.at(party).events.contains(&Event::Stopped)
}

#[test]
fn nothing_is_sent_or_called_recorded_before_the_disk_has_answered() {
    let (mut table, one, other) = line();
    table.at_mut(&one).holds_commits = true;
    let request = table.ask(&one, &table.scene.routine(&one, "slow disk"));
    let said = table.at(&one).sent.len();
    table.settle();
    assert_eq!(table.at(&one).sent.len(), said);
    assert_eq!(table.recorded(&one, request), None);
    table.commit(&one);
    let entry = table.recorded(&one, request).expect("recorded now");
    table.settle();
    assert_eq!(table.times_sent(&one, &other, &entry), 1);
}

#[test]
fn no_receipt_leaves_before_the_entry_is_durable() {
    let (mut table, one, other) = line();
    table.at_mut(&other).holds_commits = true;
    let entry = table.append(&one, &table.scene.routine(&one, "held back"));
    let receipts =
        |table: &Table| table.frames(&other, &one).filter(|frame| matches!(frame, Frame::Receipt(_))).count();
    let before = receipts(&table);
    assert_eq!(table.at(&one).channel.owed_to(&other), 1);
    assert!(!table.at(&other).events.iter().any(|event| *event == Event::Arrived { entry: entry.clone() }));
    // Offered again meanwhile: it is under way, and not committed twice.
    table.pass(std::time::Duration::from_secs(25));
    assert_eq!(table.at(&other).commits.len(), 1);
    assert_eq!(receipts(&table), before);
    table.commit(&other);
    table.settle();
    assert_eq!(receipts(&table), before + 1);
    assert_eq!(table.at(&one).channel.owed_to(&other), 0);
}

#[test]
fn s5_after_an_unknown_outcome_the_machine_is_silent_and_says_so_to_whoever_asks() {
    let (mut table, one, other) = line();
    table.at_mut(&one).holds_commits = true;
    let first = table.ask(&one, &table.scene.routine(&one, "first"));
    let second = table.ask(&one, &fixtures::officer(&one, 2, &[Duty::Release]));
    let waiting = table.ask(&one, &table.scene.routine(&one, "waits for the officer"));
    table.fail(&one, CommitFailure::Unknown);
    assert!(stopped(&table, &one));
    for request in [first, second, waiting] {
        assert_eq!(table.refused(&one, request), Some(Refusal::OutcomeUnknown));
    }
    let said = table.at(&one).sent.len();
    let late = table.ask(&one, &table.scene.routine(&one, "too late"));
    assert_eq!(table.refused(&one, late), Some(Refusal::OutcomeUnknown));
    table.append(&other, &table.scene.routine(&other, "unheard"));
    table.join(&one, &other);
    table.input(&one, Input::Tick);
    assert_eq!(table.at(&one).sent.len(), said, "silent");
    assert!(table.at(&one).commits.is_empty(), "silent");
}

#[test]
fn s4_no_space_is_refused_rolled_back_and_the_next_append_takes_the_same_number() {
    let (mut table, one, other) = line();
    let next = table.at(&one).channel.transcript().log(&one).unwrap().tip().unwrap().seq.next();
    table.at_mut(&one).holds_commits = true;
    let first = table.ask(&one, &table.scene.routine(&one, "no room"));
    let second = table.ask(&one, &table.scene.routine(&one, "nor here"));
    let said = table.at(&one).sent.len();
    table.fail(&one, CommitFailure::NoSpace);
    for request in [first, second] {
        assert_eq!(table.refused(&one, request), Some(Refusal::NoSpace));
    }
    table.settle();
    assert_eq!(table.at(&one).sent.len(), said, "nothing of it was sent");
    table.at_mut(&one).holds_commits = false;
    let entry = table.append(&one, &table.scene.routine(&one, "nor here"));
    assert_eq!(entry.seq, next);
    assert_eq!(table.effect(&other, &entry), Some(Effect::Accepted));
}

/// Of several under way, those before the failing one stand; the number after them is used again.
#[test]
fn s4_no_space_in_the_middle_keeps_what_came_before() {
    let (mut table, one, other) = line();
    table.at_mut(&one).holds_commits = true;
    let requests: Vec<_> =
        (0..4).map(|n| table.ask(&one, &table.scene.routine(&one, &format!("n {n}")))).collect();
    table.commit(&one);
    table.fail(&one, CommitFailure::NoSpace);
    let kept = table.recorded(&one, requests[0]).expect("the first stands");
    for request in &requests[1..] {
        assert_eq!(table.refused(&one, *request), Some(Refusal::NoSpace));
    }
    table.at_mut(&one).holds_commits = false;
    let entry = table.append(&one, &table.scene.routine(&one, "n 3"));
    assert_eq!(entry.seq, kept.seq.next());
    assert!(table.alike(&one, &other));
}

/// An officer's document fails: whoever signs with that key is refused, not left waiting or entered void.
#[test]
fn s4_no_space_for_an_authority_entry_frees_those_that_wait_for_it() {
    let (mut table, one, _) = line();
    table.at_mut(&one).holds_commits = true;
    let enrolment = table.ask(&one, &fixtures::officer(&one, 2, &[Duty::Release]));
    let by_two = fixtures::signed(
        &table.scene.dispatch(&one, Precedence::Flash, fixtures::statement("by two")),
        &officer_key(&one, 2),
    );
    let by_two = table.ask(&one, &by_two);
    let by_one = table.ask(&one, &table.scene.routine(&one, "by one"));
    table.fail(&one, CommitFailure::NoSpace);
    assert_eq!(table.refused(&one, enrolment), Some(Refusal::NoSpace));
    let unknown = Refusal::Void(Void::UnknownOfficer(officer_key(&one, 2).public()));
    assert_eq!(table.refused(&one, by_two), Some(unknown));
    table.at_mut(&one).holds_commits = false;
    table.settle();
    assert!(table.recorded(&one, by_one).is_some());
}

/// The very first entry under a card finds the disk full: requests are refused at once, and the volume opens when there is room.
#[test]
fn s4_no_space_for_the_first_entry_of_a_volume() {
    let (mut table, one, other) = line();
    let records = table.at(&one).records.clone();
    table.part(&one);
    table.seat(&one, records, 2);
    // Again, with a disk that is full from the start.
    let records = table.at(&one).records[..table.at(&one).records.len() - 1].to_vec();
    table.seat_holding(&one, records, 2);
    let waiting = table.ask(&one, &table.scene.routine(&one, "waits"));
    table.fail(&one, CommitFailure::NoSpace);
    assert_eq!(table.refused(&one, waiting), Some(Refusal::NoSpace));
    table.at_mut(&one).holds_commits = false;
    table.pass(std::time::Duration::from_secs(10));
    let entry = table.append(&one, &table.scene.routine(&one, "goes on"));
    table.join(&one, &other);
    assert_eq!(table.effect(&other, &entry), Some(Effect::Accepted));
}

#[test]
fn a_node_that_is_shown_its_own_unknown_signature_writes_no_more_under_that_card() {
    let (mut table, one, other) = line();
    let entry = table.append(&one, &table.scene.routine(&one, "lost with the disk"));
    // The disk is set back to before it, and the node starts under the same card.
    let records = table.at(&one).records.clone();
    let before = records.iter().position(|record| {
        matches!(record,
        demarche_protocol::channel::Record::Entry(item) if item.entry.hash() == entry.hash)
    });
    table.seat(&one, records[..before.unwrap()].to_vec(), 1);
    table.join(&one, &other);
    assert!(table.at(&one).events.contains(&Event::OwnSignatureUnknown { entry: entry.clone() }));
    let request = table.ask(&one, &table.scene.routine(&one, "under the same number"));
    assert!(matches!(table.refused(&one, request), Some(Refusal::NeedsNewCard(_))));
    // Under a new card it goes on, and what was lost comes back with its effect.
    let records = table.at(&one).records.clone();
    table.seat(&one, records, 2);
    table.join(&one, &other);
    let next = table.append(&one, &table.scene.routine(&one, "goes on"));
    for party in [&one, &other] {
        assert_eq!(table.effect(party, &entry), Some(Effect::Accepted));
        assert_eq!(table.effect(party, &next), Some(Effect::Accepted));
    }
    assert!(table.alike(&one, &other));
}

/// A revoked card ends the writing at once, also of what waits.
#[test]
fn k1b_a_node_whose_card_is_revoked_or_replaced_writes_no_more() {
    for revoked in [true, false] {
        let (mut table, one, _) = line();
        table.at_mut(&one).holds_commits = true;
        let enrolment = table.ask(&one, &fixtures::officer(&one, 2, &[Duty::Release]));
        let waiting = table.ask(&one, &table.scene.routine(&one, "waits"));
        let request = table.request();
        let document = if revoked {
            fixtures::revoke_card(&one, table.scene.card(&one, 1).id(), 1)
        } else {
            fixtures::card(one.as_str(), 2)
        };
        table.input(&one, Input::Roster { request, document });
        // Both under way: the officer's document first.
        table.commit(&one);
        assert!(table.recorded(&one, enrolment).is_some());
        table.commit(&one);
        if table.recorded(&one, waiting).is_none() {
            table.settle();
        }
        let late = table.ask(&one, &table.scene.routine(&one, "late"));
        assert!(matches!(table.refused(&one, late), Some(Refusal::NeedsNewCard(_))), "revoked: {revoked}");
    }
}

/// A card that was kept from before the one the log goes on under has no place of its own in it.
#[test]
fn a_node_started_under_an_older_card_than_its_log_does_not_write() {
    let (mut table, one, _) = line();
    let records = table.at(&one).records.clone();
    table.seat(&one, records, 2);
    let records = table.at(&one).records.clone();
    table.seat(&one, records, 1);
    assert!(table.at(&one).commits.is_empty());
    let request = table.ask(&one, &table.scene.routine(&one, "too old"));
    assert!(matches!(table.refused(&one, request), Some(Refusal::NeedsNewCard(_))));
}

/// Whatever is restored from records is what was running.
#[test]
fn a_restart_changes_nothing_that_was_durable() {
    let (mut table, one, other) = line();
    for number in 0..5 {
        table.append(&one, &table.scene.routine(&one, &format!("number {number}")));
    }
    let before = demarche_testkit::witness::judgements(table.at(&one).channel.transcript());
    table.restart(&one);
    assert_eq!(demarche_testkit::witness::judgements(table.at(&one).channel.transcript()), before);
    table.join(&one, &other);
    assert_eq!(table.at(&one).channel.owed_to(&other), 0);
    assert!(table.alike(&one, &other));
}

/// Numbers follow each other and begin at one.
#[test]
fn a_log_begins_with_its_card() {
    let (table, one, _) = line();
    let log = table.at(&one).channel.transcript().log(&one).unwrap();
    let first = log.in_order().next().unwrap();
    assert_eq!((first.head.seq, first.facts.is_authority()), (Seq::FIRST, true));
    assert_eq!(first.effect, Effect::Accepted);
}

/// An entry under a card whose roots have not signed it is not stored.
#[test]
fn junk_under_unknown_cards_leaves_nothing_behind() {
    let (mut table, one, other) = line();
    table.part(&one);
    table.join_by_hand(&other, &one);
    let records = table.at(&other).records.len();
    let mut pen = Forger::new(&table.scene, &one, 7);
    for number in 0..300 {
        let item = pen.write(&table.scene.routine(&one, &format!("junk {number}")));
        let head = forger::head(&item);
        table.read(&other, &one, Frame::Entry(item));
        assert_eq!(table.effect(&other, &head), None);
    }
    assert_eq!(table.at(&other).records.len(), records);
}
