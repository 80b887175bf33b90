//! Replication between nodes: order of service, credit, receipts, what a lost disk brings back, and peers that misbehave.

use std::time::Duration;

use demarche_protocol::{
    channel::{CloseReason, Event, Frame, Hello, Input, Outgoing, Output, Refusal, Want},
    dispatch::Precedence,
    document::SignedDocument,
    hash::{DocumentId, EntryHash},
    identity::{card::CardSerial, member::MemberId, officer::Duty},
    limits,
    transcript::{Effect, Head, ReceiptKind, Seq},
};
use demarche_testkit::{
    fixtures,
    forger::{self, Forger},
    table::{PLENTY, Table},
};

fn knows_opened(table: &Table, by: &MemberId, entry: &Head) -> bool {
    let evidence = table.at(&entry.party).channel.evidence();
    evidence.of(&entry.hash).any(|(r, _)| r.by == *by && matches!(r.kind, ReceiptKind::Opened(_)))
}

/// M2: every receipt is lost; the entry is offered again, applied once, and receipted in the same bytes.
#[test]
fn m2_lost_receipts_are_sent_again_verbatim_and_the_entry_is_applied_once() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    // A deaf author: it sends, and nothing comes back.
    table.part(one);
    table.join_by_hand(one, other);
    table.join_by_hand(other, one);
    let entry = table.append(one, &table.scene.routine(one, "once"));
    let item = table.frames(one, other).find_map(|frame| match frame {
        Frame::Entry(item) if forger::head(item) == entry => Some(item.clone()),
        _ => None,
    });
    for _ in 0..3 {
        table.read(other, one, Frame::Entry(item.clone().expect("sent")));
    }
    let receipts: Vec<_> = table
        .frames(other, one)
        .filter(|frame| matches!(frame, Frame::Receipt(r) if r.claims(table.scene.channel()).unwrap().of == entry))
        .collect();
    assert_eq!(receipts.len(), 3);
    assert!(receipts.iter().all(|receipt| *receipt == receipts[0]));
    let arrivals =
        table.at(other).events.iter().filter(|e| **e == Event::Arrived { entry: entry.clone() }).count();
    assert_eq!(arrivals, 1);
    // Time alone makes the author offer it again.
    assert_eq!(table.times_sent(one, other, &entry), 1);
    table.pass(limits::OFFER_AGAIN * 2);
    assert!(table.times_sent(one, other, &entry) > 1);
    assert_eq!(table.at(one).channel.owed_to(other), 1);
    table.join(one, other);
    assert_eq!(table.at(one).channel.owed_to(other), 0);
}

/// T8: whatever waits, FLASH is the next thing that goes.
#[test]
fn t8_a_flash_passes_a_backlog_of_100_000_at_once() {
    const BACKLOG: u64 = 100_000;
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    table.part(one);
    // The node is made from its records: entering so many one by one is not what is tried here.
    let mut records = table.at(one).records.clone();
    let mut pen = Forger::new(&table.scene, one, 1);
    let log = table.at(one).channel.transcript().log(one).unwrap();
    pen.tail = log.tip().cloned();
    pen.authority = log
        .in_order()
        .filter(|node| node.facts.is_authority())
        .last()
        .map(demarche_protocol::transcript::Node::pointer);
    // Unsigned, hence void: it waits its turn like any other.
    let text = SignedDocument::unsigned(table.scene.routine(one, "backlog").shared_text());
    for _ in 0..BACKLOG {
        records.push(demarche_protocol::channel::Record::Entry(pen.write(&text)));
    }
    table.seat(one, records, 1);
    let backlog = usize::try_from(BACKLOG).expect("it fits");
    assert!(table.at(one).channel.owed_to(other) >= backlog);
    // A path with little room: enough to fill what may be on its way.
    table.join_by_hand(one, other);
    table.input(one, Input::Sendable { peer: other.clone(), bytes: PLENTY });
    let on_its_way = table.frames(one, other).filter(|frame| matches!(frame, Frame::Entry(_))).count();
    assert_eq!(on_its_way, limits::UNRECEIPTED_IN_FLIGHT);
    table.input(one, Input::Sendable { peer: other.clone(), bytes: 0 });
    let flash = table.append(one, &table.scene.statement(one, Precedence::Flash, "flash"));
    let said = table.at(one).sent.len();
    table.input(one, Input::Sendable { peer: other.clone(), bytes: 1 });
    let next = &table.at(one).sent[said..];
    assert!(
        matches!(next, [(_, Frame::Entry(item))] if forger::head(item) == flash),
        "the next frame, and the only one against one byte of credit"
    );
    // A peer that lost all and comes back under a new card is owed all of it again, without delay.
    let mut newcomer = Forger::new(&table.scene, other, 2);
    let item = newcomer.open();
    table.read(one, other, Frame::Entry(item));
    assert!(table.at(one).channel.owed_to(other) > backlog);
}

#[test]
fn nothing_is_sent_without_credit_and_then_in_the_order_of_service() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    table.part(one);
    let routine = table.append(one, &table.scene.routine(one, "routine"));
    let later = table.append(one, &table.scene.routine(one, "routine, later"));
    let immediate = table.append(one, &table.scene.statement(one, Precedence::Immediate, "immediate"));
    let flash = table.append(one, &table.scene.statement(one, Precedence::Flash, "flash"));
    let officer = table.enrol(one, 2);
    table.at_mut(one).credit = 0;
    let said = table.at(one).sent.len();
    table.join_by_hand(one, other);
    table.pass(Duration::from_secs(30));
    assert_eq!(table.at(one).sent.len(), said, "not a byte");
    let mut order = Vec::new();
    for _ in 0..20 {
        let said = table.at(one).sent.len();
        table.input(one, Input::Sendable { peer: other.clone(), bytes: 1 });
        let new = &table.at(one).sent[said..];
        assert!(new.len() <= 1, "credit is overdrawn by no more than one frame");
        order.extend(new.iter().map(|(_, frame)| frame.clone()));
    }
    assert!(matches!(order.first(), Some(Frame::Hello(_))), "answers first");
    let entries: Vec<Head> = order
        .iter()
        .filter_map(|frame| match frame {
            Frame::Entry(item) => Some(forger::head(item)),
            _ => None,
        })
        .collect();
    assert_eq!(entries, [officer, flash, immediate, routine, later]);
}

/// A flood of FLASH is bounded as well, or the peer could not say that it is busy.
#[test]
fn e8_flash_on_its_way_is_bounded() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    table.part(one);
    for number in 0..3 * limits::UNRECEIPTED_IN_FLIGHT {
        table.append(one, &table.scene.statement(one, Precedence::Flash, &format!("flash {number}")));
    }
    let said = table.at(one).sent.len();
    table.join_by_hand(one, other);
    let entries =
        table.at(one).sent[said..].iter().filter(|(_, frame)| matches!(frame, Frame::Entry(_))).count();
    assert_eq!(entries, 2 * limits::UNRECEIPTED_IN_FLIGHT);
}

/// T9, S1: a node that lost its disk opens a new volume, is owed everything again, and gets its own log back.
#[test]
fn t9_s1_a_lost_disk_comes_back_from_the_peers() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    let mine: Vec<Head> =
        (0..3).map(|n| table.append(one, &table.scene.routine(one, &format!("mine {n}")))).collect();
    let theirs: Vec<Head> =
        (0..3).map(|n| table.append(other, &table.scene.routine(other, &format!("theirs {n}")))).collect();
    table.open(other, &mine[0]);
    table.settle();
    assert_eq!(table.at(other).channel.owed_to(one), 0);
    table.seat(one, Vec::new(), 2);
    table.join(one, other);
    for entry in mine.iter().chain(&theirs) {
        assert_eq!(table.effect(one, entry), Some(Effect::Accepted), "{entry}");
    }
    assert!(table.alike(one, other));
    for (author, reader) in [(one, other), (other, one)] {
        assert_eq!(table.at(author).channel.owed_to(reader), 0);
    }
    // Also the evidence about what it had written.
    for entry in &mine {
        let evidence = table.at(one).channel.evidence();
        assert!(evidence.by(&entry.hash, other, ReceiptKind::Held).is_some());
    }
    assert!(knows_opened(&table, other, &mine[0]), "also that it was opened");
    // The receipts for what came back are under the new card.
    let evidence = table.at(other).channel.evidence();
    let receipt = evidence.by(&theirs[0].hash, one, ReceiptKind::Held).unwrap();
    assert_eq!(receipt.0.by_card, CardSerial(2));
}

/// A volume's beginning is heeded once: a peer that enters its card again and again does not make us send all again.
#[test]
fn a_card_entered_again_and_again_costs_nothing() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    for number in 0..10 {
        table.append(one, &table.scene.routine(one, &format!("mine {number}")));
    }
    let said = table.at(one).sent.len();
    for _ in 0..10 {
        let now = table.now(other);
        table.at_mut(other).channel.append_unchecked(now, &fixtures::card(other.as_str(), 1));
        table.input(other, Input::Tick);
        table.settle();
    }
    let again =
        table.at(one).sent[said..].iter().filter(|(_, frame)| matches!(frame, Frame::Entry(_))).count();
    assert_eq!(again, 0);
}

#[test]
fn opened_is_stated_until_it_is_confirmed() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    let entry = table.append(one, &table.scene.routine(one, "to be read"));
    table.part(one);
    table.join_by_hand(other, one);
    table.open(other, &entry);
    table.settle();
    let count = |table: &Table| {
        let of = |frame: &&Frame| {
            matches!(frame, Frame::Receipt(r)
            if matches!(r.claims(table.scene.channel()).unwrap().kind, ReceiptKind::Opened(_)))
        };
        table.frames(other, one).filter(of).count()
    };
    assert_eq!(count(&table), 1);
    // Unconfirmed: said again after a while, on a new path, and after a restart.
    table.pass(limits::OFFER_AGAIN * 2);
    assert!(count(&table) > 1);
    table.restart(other);
    assert_eq!(count(&table), 0);
    table.join(one, other);
    assert!(knows_opened(&table, other, &entry));
    let said = count(&table);
    table.pass(limits::OFFER_AGAIN * 5);
    table.join(one, other);
    assert_eq!(count(&table), said, "confirmed, hence never said again");
}

/// E8: one entry cannot be receipted in ever other words until the author's disk is full.
#[test]
fn e8_what_a_peer_states_of_one_entry_is_bounded() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    table.part(one);
    let entry = table.append(one, &table.scene.routine(one, "stated without end"));
    table.join_by_hand(one, other);
    let mut pen = Forger::new(&table.scene, other, 1);
    for number in 0..3 {
        table.read(one, other, Frame::Receipt(pen.receipt(ReceiptKind::Held, &entry)));
        // Half of them while the first is not durable yet.
        if number == 1 {
            table.settle();
        }
        pen.write(&fixtures::officer(other, 50 + number, &[Duty::Draft]));
    }
    for number in 0..2 * limits::RECEIPTS_OF_ENTRY {
        let nobody = DocumentId::of(&number.to_be_bytes());
        table.read(one, other, Frame::Receipt(pen.opened(nobody, &entry)));
        if number % 50 == 0 {
            table.settle();
        }
    }
    table.settle();
    let kept = table.at(one).channel.evidence().of(&entry.hash);
    let kinds: Vec<ReceiptKind> = kept.map(|(receipt, _)| receipt.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == ReceiptKind::Held).count(), 1);
    assert_eq!(kinds.len(), limits::RECEIPTS_OF_ENTRY);
    let named = |event: &&Event| matches!(event, Event::PeerRefused { why, .. } if why.contains("stated"));
    assert_eq!(
        table.at(one).events.iter().filter(named).count(),
        2 + limits::RECEIPTS_OF_ENTRY + 1,
        "what is too much is refused by name"
    );
}

#[test]
fn more_statements_than_answers_may_wait_do_not_end_the_path() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    let mut entries = Vec::new();
    for number in 0..50 {
        entries.push(table.append(one, &table.scene.routine(one, &format!("n {number}"))));
    }
    table.part(one);
    for number in 0..100 {
        table.append(other, &fixtures::officer(other, 10 + number, &[Duty::Draft]));
    }
    for entry in &entries {
        for number in 0..100 {
            let officer = fixtures::officer(other, 10 + number, &[Duty::Draft]).id();
            let request = table.request();
            table.input(other, Input::Opened { request, entry: entry.hash, officer });
            table.settle();
        }
    }
    table.join(one, other);
    assert!(!table.frames(other, one).any(|frame| matches!(frame, Frame::Close(_))));
    let evidence = table.at(one).channel.evidence();
    let known: usize = entries.iter().map(|entry| evidence.of(&entry.hash).count()).sum();
    assert_eq!(known, 50 * 101);
}

#[test]
fn the_line_is_tested_there_and_back_and_a_wrong_clock_is_noticed() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    let request = table.request();
    table.input(one, Input::LineTest { request, peer: other.clone() });
    table.settle();
    let answered =
        |table: &Table| table.at(one).events.iter().filter(|e| matches!(e, Event::LineTested { .. })).count();
    let skew = |table: &Table| {
        table.at(one).events.iter().find_map(|e| match e {
            Event::ClockSkew { by, .. } => Some(*by),
            _ => None,
        })
    };
    assert_eq!((answered(&table), skew(&table)), (1, None));
    table.at_mut(other).clock_error = 300_000;
    let request = table.request();
    table.input(one, Input::LineTest { request, peer: other.clone() });
    table.settle();
    assert_eq!((answered(&table), skew(&table)), (2, Some(Duration::from_secs(300))));
}

/// Tests whose path is replaced are answered for, and do not use up the room for others.
#[test]
fn a_test_that_is_lost_with_its_path_is_told() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    table.part(one);
    table.join_by_hand(one, other);
    for _ in 0..200 {
        let request = table.request();
        table.input(one, Input::LineTest { request, peer: other.clone() });
        table.join_by_hand(one, other);
        assert_eq!(table.refused(one, request), Some(Refusal::NoPath(other.clone())));
    }
}

/// A peer that answers nothing on a path that lives takes no room for ever: after a while there is room for others.
#[test]
fn tests_that_are_never_answered_are_given_up() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    table.part(one);
    table.join_by_hand(one, other);
    let ask = |table: &mut Table| {
        let request = table.request();
        table.input(one, Input::LineTest { request, peer: other.clone() });
        request
    };
    let first = ask(&mut table);
    loop {
        let request = ask(&mut table);
        if table.refused(one, request).is_some() {
            break;
        }
    }
    assert_eq!(table.refused(one, first), None);
    table.pass(Duration::from_secs(61));
    assert_eq!(table.refused(one, first), Some(Refusal::NoPath(other.clone())));
    let again = ask(&mut table);
    assert_eq!(table.refused(one, again), None);
}

/// M16b: news of the roster reaches a third party, and an outdated roster takes nothing back.
#[test]
fn m16b_a_revoked_card_is_passed_on_and_a_stale_roster_never_reopens_the_door() {
    let (mut table, all) = Table::line(3);
    let revoked = fixtures::card(all[0].as_str(), 1);
    let request = table.request();
    table.part(&all[2]);
    table.join(&all[1], &all[2]);
    table
        .input(&all[1], Input::Roster { request, document: fixtures::revoke_card(&all[0], revoked.id(), 1) });
    table.settle();
    for party in &all {
        assert!(table.at(party).channel.roster().current(&all[0]).is_none(), "{party}");
    }
    for _ in 0..2 {
        table.read(&all[2], &all[1], Frame::Card(revoked.clone()));
        assert!(table.at(&all[2]).channel.roster().current(&all[0]).is_none());
        table.restart(&all[2]);
        table.join_by_hand(&all[2], &all[1]);
    }
    // The renewed node speaks.
    table.read(&all[2], &all[1], Frame::Card(fixtures::card(all[0].as_str(), 2)));
    let current = table.at(&all[2]).channel.roster().current(&all[0]).map(|card| card.serial);
    assert_eq!(current, Some(CardSerial(2)));
}

/// An absent author's entries come from whoever holds them, in as many pieces as it takes.
#[test]
fn an_absent_authors_log_is_fetched_from_a_third_party() {
    let (mut table, all) = Table::line(3);
    table.part(&all[2]);
    let count = 2 * limits::WANT_SPAN + 17;
    let mut last = None;
    for number in 0..count {
        last = Some(table.append(&all[0], &table.scene.routine(&all[0], &format!("n {number}"))));
    }
    let last = last.unwrap();
    table.part(&all[0]);
    table.join(&all[1], &all[2]);
    assert_eq!(table.effect(&all[2], &last), Some(Effect::Accepted));
    assert!(table.alike(&all[1], &all[2]));
    let sent = table.frames(&all[1], &all[2]).filter(|frame| matches!(frame, Frame::Entry(_))).count();
    assert!(sent < usize::try_from(count).unwrap() + 40, "{sent} entries sent for {count}");
}

/// What the author would have offered itself is asked from others once it is gone.
#[test]
fn an_author_that_leaves_half_way_is_made_up_for_by_others() {
    let (mut table, all) = Table::line(3);
    table.part(&all[2]);
    let entry = table.append(&all[0], &table.scene.routine(&all[0], "half way"));
    // The author is heard, but its entries are lost; then it is gone.
    table.join_by_hand(&all[2], &all[0]);
    table.join(&all[1], &all[2]);
    assert_eq!(table.effect(&all[2], &entry), None);
    table.input(&all[2], Input::PathDown { peer: all[0].clone() });
    table.settle();
    assert_eq!(table.effect(&all[2], &entry), Some(Effect::Accepted));
}

/// Two that never meet hear of each other's entries through the third, also while its paths stand.
#[test]
fn what_comes_later_is_passed_on_between_two_that_cannot_meet() {
    let mut table = Table::new(3);
    let all = table.scene.parties.clone();
    table.join(&all[0], &all[1]);
    table.join(&all[1], &all[2]);
    table.enrol(&all[0], 1);
    let entry = table.append(&all[0], &table.scene.routine(&all[0], "by way of the third"));
    assert_eq!(table.effect(&all[2], &entry), None);
    table.pass(Duration::from_secs(120));
    assert_eq!(table.effect(&all[2], &entry), Some(Effect::Accepted));
}

/// Heads of entries that do not exist, wants of everything, receipts for nothing: bounded, and others are served.
#[test]
fn a_peer_that_claims_wants_and_states_nonsense_is_bounded() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    let entry = table.append(one, &table.scene.routine(one, "real"));
    table.part(one);
    table.join_by_hand(one, other);
    let nothing = |n: u64| EntryHash::of(&n.to_le_bytes());
    let heads = |n: u64, party: &MemberId, seq: u64| Head {
        party: party.clone(),
        card: CardSerial(n % 5),
        seq: Seq(seq),
        hash: nothing(n),
    };
    let said = table.at(one).sent.len();
    for round in 0..20 {
        let heads =
            (0..256).map(|n| heads(round * 256 + n, if n % 2 == 0 { one } else { other }, u64::MAX - n));
        table.read(one, other, Frame::Hello(Hello { heads: heads.collect(), roster: [9; 32] }));
    }
    let wants = table.at(one).sent[said..].iter().filter(|(_, f)| matches!(f, Frame::Want(_))).count();
    assert!(wants <= 1, "{wants} wants at once");
    let too_many = Hello { heads: (0..257).map(|n| heads(n, other, 5)).collect(), roster: [9; 32] };
    table.read(one, other, Frame::Hello(too_many));
    for (from, to) in [(0, u64::MAX), (5, 1), (u64::MAX, u64::MAX)] {
        for party in [one, other, &fixtures::id("nowhere")] {
            let want = Want { party: party.clone(), card: CardSerial(1), from: Seq(from), to: Seq(to) };
            table.read(one, other, Frame::Want(want));
        }
    }
    let pen = Forger::new(&table.scene, other, 1);
    let records = table.at(one).records.len();
    let mut wrong_place = entry.clone();
    wrong_place.seq = Seq(99);
    for of in [heads(3, one, 4), heads(3, other, 4), wrong_place] {
        table.read(one, other, Frame::Receipt(pen.receipt(ReceiptKind::Held, &of)));
    }
    let thief = Forger::new(&table.scene, one, 1);
    table.read(one, other, Frame::Receipt(thief.receipt(ReceiptKind::Held, &entry)));
    table.read(one, other, Frame::Close(CloseReason::Busy));
    assert_eq!(table.at(one).records.len(), records, "nothing of it is kept");
    // Given up in time, and the line goes on.
    table.pass(Duration::from_secs(3600));
    table.join(one, other);
    let next = table.append(one, &table.scene.routine(one, "goes on"));
    assert_eq!(table.effect(other, &next), Some(Effect::Accepted));
}

/// More answers than may wait: the path is closed, once, and nothing follows on it.
#[test]
fn a_peer_that_asks_faster_than_it_reads_is_closed_out_once() {
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    table.part(one);
    table.at_mut(one).credit = 0;
    table.join_by_hand(one, other);
    for number in 0..limits::ANSWERS_WAITING as u64 + 50 {
        let hello = Hello { heads: Vec::new(), roster: [u8::try_from(number % 200).unwrap(); 32] };
        table.input(one, Input::Frame { peer: other.clone(), frame: Frame::Hello(hello) });
    }
    let said = table.at(one).sent.len();
    table.input(one, Input::Sendable { peer: other.clone(), bytes: PLENTY });
    table.append(one, &table.scene.routine(one, "not on this path"));
    table.input(one, Input::Sendable { peer: other.clone(), bytes: PLENTY });
    let closes: Vec<_> = table.at(one).sent[said..].iter().map(|(_, frame)| frame.clone()).collect();
    assert_eq!(closes, [Frame::Close(CloseReason::Busy)]);
}

/// A new list of roots and the card that only it has signed come in one breath.
#[test]
fn roster_documents_that_rest_on_each_other_are_taken_in_one_breath() {
    use demarche_protocol::{
        identity::roots::{RootList, Roots},
        labels::Namespace,
    };
    let (mut table, all) = Table::line(2);
    let (one, other) = (&all[0], &all[1]);
    let (old, new) = (fixtures::root(other.as_str()), fixtures::key("a new root"));
    let roots = Roots {
        member: other.clone(),
        replaces: table.scene.charter.id(),
        list: RootList::new(vec![new.public()], 1).unwrap(),
        issued_at: fixtures::DRAFTED,
    };
    let roots = SignedDocument::unsigned(roots.render()).signed_by(Namespace::Roots, &old);
    let card = fixtures::card(other.as_str(), 2);
    let node = fixtures::NodeKeys::of(other.as_str(), 2).node;
    let card = SignedDocument::unsigned(card.shared_text())
        .signed_by(Namespace::Card, &new)
        .signed_by(Namespace::Card, &node);
    table.at_mut(one).holds_commits = true;
    table.read(one, other, Frame::Card(roots));
    table.read(one, other, Frame::Card(card));
    table.at_mut(one).holds_commits = false;
    table.settle();
    let current = table.at(one).channel.roster().current(other).map(|card| card.serial);
    assert_eq!(current, Some(CardSerial(2)));
}

/// No output names an entry that is not durable, whatever comes in what order. The driver reads it from the store.
#[test]
fn entries_are_named_not_carried() {
    let (mut table, all) = Table::line(2);
    table.part(&all[0]);
    table.append(&all[0], &table.scene.routine(&all[0], "named"));
    let now = table.now(&all[0]);
    let seat = table.at_mut(&all[0]);
    seat.channel.handle(now, Input::PathUp { peer: all[1].clone() });
    seat.channel.handle(now, Input::Sendable { peer: all[1].clone(), bytes: PLENTY });
    let mut named = 0;
    while let Some(output) = seat.channel.poll_output() {
        if let Output::Transmit { frame, .. } = output {
            assert!(!matches!(frame, Outgoing::Frame(Frame::Entry(_))));
            named += usize::from(matches!(frame, Outgoing::Stored(_)));
        }
    }
    assert_eq!(named, 1);
}
