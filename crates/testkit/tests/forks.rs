//! Branches: forks shown differently to two parties, logs restored to an earlier state, revocations on another branch, and what
//! the heads that others had seen prove about when an entry was there.

use demarche_protocol::{
    channel::{Event, Frame, Refusal},
    dispatch::Precedence,
    document::SignedDocument,
    hash::EntryHash,
    identity::member::MemberId,
    limits,
    transcript::{Effect, Head, Item, Transcript, Void},
};
use demarche_testkit::{
    fixtures::{self, Scene, officer_key},
    forger::{self, Forger},
    table::Table,
};

fn officer(party: &MemberId) -> SignedDocument {
    use demarche_protocol::identity::officer::Duty;
    fixtures::officer(party, 1, &[Duty::Draft, Duty::Release, Duty::Acknowledge])
}

fn revocation(party: &MemberId) -> SignedDocument {
    fixtures::revoke_officer(party, officer_key(party, 1).public())
}

fn saw_fork(table: &Table, party: &MemberId, one: &Head, other: &Head) -> bool {
    table.at(party).events.iter().any(|event| match event {
        Event::Fork { one: a, other: b } => (a, b) == (one, other) || (b, a) == (one, other),
        _ => false,
    })
}

/// M15, T5: a node under one card shows one party this and the other party that. They talk to each other.
#[test]
fn t5_a_fork_shown_differently_to_two_parties_is_proved_to_both() {
    let mut table = Table::new(3);
    let (forker, one, other) = (table.party(0), table.party(1), table.party(2));
    table.enrol(&one, 1);
    table.join(&one, &other);
    table.join_by_hand(&one, &forker);
    table.join_by_hand(&other, &forker);
    let mut pen = Forger::new(&table.scene, &forker, 1);
    for item in [pen.open(), pen.write(&officer(&forker))] {
        table.read(&one, &forker, Frame::Entry(item.clone()));
        table.read(&other, &forker, Frame::Entry(item));
    }
    let mut twin = pen.clone();
    let to_one = pen.write(&table.scene.routine(&forker, "we agree"));
    let to_other = twin.write(&table.scene.routine(&forker, "we refuse"));
    table.read(&one, &forker, Frame::Entry(to_one.clone()));
    table.read(&other, &forker, Frame::Entry(to_other.clone()));
    let (head_one, head_other) = (forger::head(&to_one), forger::head(&to_other));
    assert!(!saw_fork(&table, &one, &head_one, &head_other));
    // What one had seen stands in the next entry that it writes; the other has something else in that place.
    table.append(&one, &table.scene.routine(&one, "by the way"));
    assert!(saw_fork(&table, &other, &head_one, &head_other), "at the other");
    // The one hears of it the same way, or with the next greeting.
    table.enrol(&other, 1);
    assert!(saw_fork(&table, &one, &head_one, &head_other), "at the one");
    assert!(table.alike(&one, &other));
    for party in [&one, &other] {
        assert_eq!(table.effect(party, &head_one), Some(Effect::Accepted), "kept, with its effect");
        assert_eq!(table.effect(party, &head_other), Some(Effect::Accepted));
        // Both are handed to whoever wants that place.
        let log = table.at(party).channel.transcript().log(&forker).unwrap();
        assert_eq!(log.at(head_one.card, head_one.seq).count(), 2);
    }
}

/// The same without a word from anybody: greetings alone bring it out.
#[test]
fn t5_greetings_alone_bring_a_fork_out() {
    let mut table = Table::new(3);
    let (forker, one, other) = (table.party(0), table.party(1), table.party(2));
    let mut pen = Forger::new(&table.scene, &forker, 1);
    let card = pen.open();
    let (mut long, mut short) = (pen.clone(), pen);
    let mut ends = Vec::new();
    for (party, pen, length) in [(&one, &mut long, 5), (&other, &mut short, 3)] {
        table.join_by_hand(party, &forker);
        table.read(party, &forker, Frame::Entry(card.clone()));
        for number in 0..length {
            let text = format!("to {party} {number}");
            let item = pen.write(&table.scene.routine(&forker, &text));
            table.read(party, &forker, Frame::Entry(item));
        }
        ends.push(pen.tail.clone().unwrap());
    }
    table.join(&one, &other);
    // The author is heard, and keeps the longer branch from the other: patience with it ends.
    table.pass(std::time::Duration::from_secs(120));
    let forked =
        |party: &MemberId| table.at(party).events.iter().any(|event| matches!(event, Event::Fork { .. }));
    assert!(forked(&one) && forked(&other));
    assert!(table.alike(&one, &other));
}

/// T6: nobody disowns an acknowledgement away.
#[test]
fn t6_an_acknowledgement_survives_the_restoring_of_its_log_to_before_it() {
    let mut table = Table::new(2);
    let (one, other) = (table.party(0), table.party(1));
    table.join_all();
    table.enrol(&one, 1);
    table.enrol(&other, 1);
    let notice = fixtures::signed(
        &table.scene.dispatch(&one, Precedence::Flash, fixtures::breach("a breach")),
        &officer_key(&one, 1),
    );
    table.append(&one, &notice);
    let before = table.at(&other).records.clone();
    let acknowledgement = fixtures::signed(
        &table.scene.dispatch(&other, Precedence::Routine, fixtures::acknowledgement(notice.id())),
        &officer_key(&other, 1),
    );
    let entry = table.append(&other, &acknowledgement);
    table.seat(&other, before, 2);
    table.append(&other, &table.scene.routine(&other, "we go on as if nothing had been"));
    table.join(&one, &other);
    for party in [&one, &other] {
        let transcript = table.at(party).channel.transcript();
        let node = transcript.get(&entry.hash).expect("it came back");
        assert_eq!(node.effect, Effect::Accepted);
        assert!(transcript.is_disowned(node));
        assert_eq!(transcript.effective(&acknowledgement.id()).map(|node| node.head.hash), Some(entry.hash));
    }
    assert!(table.alike(&one, &other));
    // Handed in once more, it is the entry that it was.
    assert_eq!(table.append(&other, &acknowledgement), entry);
}

/// An officer's document that was lost with a branch may be entered on the one that speaks.
#[test]
fn s1_an_officer_lost_with_a_branch_is_entered_again() {
    let mut table = Table::new(2);
    let (one, other) = (table.party(0), table.party(1));
    table.join_all();
    let before = table.at(&one).records.clone();
    let lost = table.enrol(&one, 1);
    table.seat(&one, before, 2);
    table.join(&one, &other);
    assert!(table.at(&one).channel.transcript().holds(&lost.hash), "it came back, disowned");
    let again = table.enrol(&one, 1);
    assert_ne!(again, lost);
    let entry = table.append(&one, &table.scene.routine(&one, "goes on"));
    assert_eq!(table.effect(&other, &entry), Some(Effect::Accepted));
}

struct Branched {
    scene: Scene,
    party: MemberId,
    /// Entries up to the branching point, then on the old branch.
    old: Vec<Item>,
    /// The new volume: its card, then the revocation.
    new: Vec<Item>,
    pen: Forger,
    newer: Forger,
}

/// A log whose node was set back to before `said`, and then revoked the officer who said it.
fn branched() -> Branched {
    let scene = Scene::new(3);
    let party = scene.parties[0].clone();
    let mut pen = Forger::new(&scene, &party, 1);
    let mut old = vec![pen.open(), pen.write(&officer(&party))];
    let mut newer = pen.renewed(2);
    old.push(pen.write(&scene.routine(&party, "said")));
    let new = vec![newer.open(), newer.write(&revocation(&party))];
    Branched { scene, party, old, new, pen, newer }
}

fn judged(held: &Transcript, item: &Item) -> Effect {
    held.get(&EntryHash::of(item.entry.bytes())).unwrap().effect.clone()
}

/// K2: position decides. What a revoked key signs after its revocation counts nowhere, what it signed before goes on counting.
#[test]
fn k2_nothing_after_the_revocations_position_counts() {
    let scene = Scene::new(2);
    let party = scene.parties[0].clone();
    let mut pen = Forger::new(&scene, &party, 1);
    let opening = [pen.open(), pen.write(&officer(&party))];
    let before = pen.write(&scene.routine(&party, "before"));
    let revoked = pen.write(&revocation(&party));
    let after = pen.write(&scene.routine(&party, "after"));
    let again = pen.write(&officer(&party));
    let later = pen.write(&scene.routine(&party, "after being entered again"));
    let mut held = Transcript::new(scene.charter.clone());
    for item in opening.iter().chain([&before, &revoked, &after, &again, &later]) {
        held.insert(&pen.authentic(item));
    }
    let void = Effect::Void(Void::RevokedOfficer(officer_key(&party, 1).public()));
    assert_eq!(judged(&held, &before), Effect::Accepted);
    for item in [&after, &again, &later] {
        assert!(matches!(judged(&held, item), Effect::Void(_)));
    }
    assert_eq!(judged(&held, &after), void);
}

/// K2, M18: on another branch a revoked key counts only for what some other party shows it had seen before.
#[test]
fn k2_a_revocation_on_another_branch_voids_what_nobody_had_seen_before() {
    let b = branched();
    let said = forger::head(&b.old[2]);
    let revoking = forger::head(&b.new[1]);
    let void = Effect::Void(Void::RevokedOfficer(officer_key(&b.party, 1).public()));
    // What each of the other parties had seen, entry by entry, and whether that protects what was said.
    let cases: [(&[Option<&Head>], Effect); 5] = [
        (&[], void.clone()),
        (&[Some(&said)], Effect::Accepted),
        (&[Some(&said), Some(&revoking)], Effect::Accepted),
        (&[Some(&revoking), Some(&said)], void.clone()),
        (&[None, Some(&revoking), None, Some(&said)], void.clone()),
    ];
    for (seen, wanted) in cases {
        for late in [false, true] {
            let mut witness = Forger::new(&b.scene, &b.scene.parties[1], 1);
            let mut theirs = vec![witness.open()];
            for (number, head) in seen.iter().enumerate() {
                witness.seen = head.iter().copied().cloned().collect();
                let text = format!("n {number}");
                theirs.push(witness.write(&b.scene.routine(&b.scene.parties[1], &text)));
            }
            let mut entries: Vec<_> = b.old.iter().map(|item| b.pen.authentic(item)).collect();
            entries.extend(b.new.iter().map(|item| b.newer.authentic(item)));
            let theirs = theirs.iter().map(|item| witness.authentic(item));
            if late {
                entries.extend(theirs);
            } else {
                entries.splice(0..0, theirs);
            }
            let mut held = Transcript::new(b.scene.charter.clone());
            for entry in &entries {
                held.insert(entry);
            }
            assert_eq!(judged(&held, &b.old[2]), wanted, "{seen:?}, witness late: {late}");
        }
    }
}

/// K2: whoever held the revocation shows it, in whatever it writes, beside what a log set back to before it says with that key.
#[test]
fn k2_a_log_set_back_does_not_bring_a_revoked_key_back() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    let backup = table.at(other).records.clone();
    let revoking = table.append(other, &revocation(other));
    assert!(table.at(one).channel.transcript().holds(&revoking.hash));
    table.seat(other, backup, 2);
    let said =
        table.append(other, &table.scene.routine(other, "by a revoked key, before it hears of that again"));
    table.join(one, other);
    let after = table.append(one, &table.scene.routine(one, "names both branches"));
    let void = Effect::Void(Void::RevokedOfficer(officer_key(other, 1).public()));
    for party in [one, other] {
        assert_eq!(table.effect(party, &said), Some(void.clone()));
        assert_eq!(table.effect(party, &after), Some(Effect::Accepted));
    }
    // Now that it has heard of it, nothing more is entered by that key.
    let request = table.ask(other, &table.scene.routine(other, "once more"));
    table.settle();
    assert!(table.at(other).events.iter().any(|event| matches!(
        event,
        Event::Refused { request: refused, why: Refusal::Void(Void::RevokedOfficer(_)) } if *refused == request
    )));
}

/// T6, K2: nobody voids an acknowledgement by setting the log back to before it and revoking the key, once the other party has written
/// anything since it came.
#[test]
fn t6_an_acknowledgement_survives_restoring_and_revoking() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    let backup = table.at(other).records.clone();
    let said = table.append(other, &table.scene.routine(other, "to be unsaid"));
    table.seat(other, backup, 2);
    table.join(one, other);
    table.append(one, &table.scene.routine(one, "written while it was here, and after the new branch"));
    table.append(other, &revocation(other));
    for party in [one, other] {
        assert_eq!(table.effect(party, &said), Some(Effect::Accepted));
    }
}

/// K2: with more branches than an entry can name, those that are named do not change: none is shown without the others.
#[test]
fn k2_a_log_of_too_many_branches_is_not_followed_further() {
    let scene = Scene::new(2);
    let (me, forker) = (scene.parties[0].clone(), scene.parties[1].clone());
    let mut held = Transcript::new(scene.charter.clone());
    let mut own = Forger::new(&scene, &me, 1);
    let mut pen = Forger::new(&scene, &forker, 1);
    let opened = pen.open();
    held.insert(&pen.authentic(&opened));
    let root = pen.tail.clone();
    let ours = own.open();
    held.insert(&own.authentic(&ours));
    for number in 0..limits::SEEN + 3 {
        pen.tail.clone_from(&root);
        let item = pen.write(&SignedDocument::unsigned(format!("branch {number}")));
        held.insert(&pen.authentic(&item));
        let named = held.seen_by(&me);
        if number < limits::SEEN {
            assert_eq!(named.len(), number + 1);
        } else {
            assert_eq!(named, own.seen);
        }
        own.seen = named;
        let ours = own.write(&SignedDocument::unsigned(format!("names them {number}")));
        held.insert(&own.authentic(&ours));
    }
}

/// K2, S2: many entries by a key that another branch revokes are judged in time that grows with their number.
#[test]
fn k2_long_branches_are_judged_in_time() {
    let mut b = branched();
    let mut held = Transcript::new(b.scene.charter.clone());
    let mut entries: Vec<_> = b.old.iter().map(|item| b.pen.authentic(item)).collect();
    for number in 0..1_500 {
        let item = b.pen.write(&b.scene.routine(&b.party, &format!("said {number}")));
        entries.push(b.pen.authentic(&item));
    }
    let last = b.pen.tail.clone().unwrap();
    let mut witness = Forger::new(&b.scene, &b.scene.parties[1], 1);
    let opened = witness.open();
    entries.push(witness.authentic(&opened));
    for number in 0..500 {
        witness.seen = vec![entries[3 + number * 2].head()];
        let item = witness.write(&SignedDocument::unsigned(format!("junk {number}")));
        entries.push(witness.authentic(&item));
    }
    let started = std::time::Instant::now();
    for entry in entries.iter().chain(&b.new.iter().map(|item| b.newer.authentic(item)).collect::<Vec<_>>()) {
        held.insert(entry);
    }
    // Seen up to the thousandth or so; what came after nobody had seen.
    assert_eq!(held.get(&entries[1000].head().hash).unwrap().effect, Effect::Accepted);
    assert!(matches!(held.get(&last.hash).unwrap().effect, Effect::Void(Void::RevokedOfficer(_))));
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

/// M18, E2: a back-dated entry is bounded by the heads that it names and by the heads that name it.
#[test]
fn m18_seen_heads_bound_when_an_entry_can_have_been_written() {
    let mut table = Table::new(2);
    let (one, other) = (table.party(0), table.party(1));
    table.join_all();
    table.enrol(&one, 1);
    table.enrol(&other, 1);
    let earlier = table.append(&other, &table.scene.routine(&other, "earlier"));
    // Its node claims that it was recorded a year before; it names what it had seen all the same.
    table.at_mut(&one).clock_error = -365 * 86_400_000;
    let dated_back = table.append(&one, &table.scene.routine(&one, "dated back"));
    let later = table.append(&other, &table.scene.routine(&other, "later"));
    let transcript = table.at(&other).channel.transcript();
    let node = transcript.get(&dated_back.hash).unwrap();
    assert!(node.recorded_at < transcript.get(&earlier.hash).unwrap().recorded_at);
    assert!(node.seen.contains(&earlier), "it cannot have been written before what it names");
    let log = transcript.log(&one).unwrap();
    let names = &transcript.get(&later.hash).unwrap().seen;
    assert!(names.iter().any(|head| log.leads_to(node, &head.hash)), "nor after what names it");
}
