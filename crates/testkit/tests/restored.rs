//! What comes back by others: from behind a gap, to a backup that was restored, and in one statement however often it is asked for.

use demarche_protocol::{
    channel::{Event, Frame},
    limits,
    transcript::{Effect, ReceiptKind},
};
use demarche_testkit::{forger, table::Table};

/// What came last is held, what came before it was lost, and the author is gone: whoever tells of the last is asked for the rest.
#[test]
fn a_gap_is_filled_by_a_third_party_that_tells_only_of_what_stands_behind_it() {
    let (mut table, all) = Table::line(3);
    table.part(&all[2]);
    let lost = table.append(&all[0], &table.scene.routine(&all[0], "lost on the way"));
    let last = table.append(&all[0], &table.scene.routine(&all[0], "arrived"));
    let item = table.frames(&all[0], &all[1]).find_map(|frame| match frame {
        Frame::Entry(item) if forger::head(item) == last => Some(item.clone()),
        _ => None,
    });
    table.part(&all[0]);
    table.read(&all[2], &all[0], Frame::Entry(item.expect("sent")));
    assert_eq!(table.effect(&all[2], &lost), None);
    table.join(&all[1], &all[2]);
    assert_eq!(table.effect(&all[2], &lost), Some(Effect::Accepted));
    assert!(table.alike(&all[1], &all[2]));
}

/// S1: a backup knows that an entry is held, and not that it was opened since. The reader has had that confirmed, and says it again.
#[test]
fn s1_what_was_opened_after_the_backup_is_stated_again_to_the_new_volume() {
    let (mut table, all) = Table::line(2);
    let (author, reader) = (&all[0], &all[1]);
    let entry = table.append(author, &table.scene.routine(author, "to be read"));
    let backup = table.at(author).records.clone();
    table.open(reader, &entry);
    table.settle();
    table.seat(author, backup, 2);
    table.join(author, reader);
    table.pass(limits::OFFER_AGAIN * 2);
    let evidence = table.at(author).channel.evidence();
    let mut opened = evidence.of(&entry.hash).filter(|(r, _)| matches!(r.kind, ReceiptKind::Opened(_)));
    assert!(opened.next().is_some());
}

/// Two desks open an entry for one officer while the disk still writes the first statement.
#[test]
fn what_is_opened_twice_in_one_breath_is_signed_once() {
    let (mut table, all) = Table::line(2);
    let (author, reader) = (&all[0], &all[1]);
    let entry = table.append(author, &table.scene.routine(author, "to be read"));
    table.at_mut(reader).holds_commits = true;
    table.open(reader, &entry);
    table.open(reader, &entry);
    assert_eq!(table.at(reader).commits.len(), 1);
    table.at_mut(reader).holds_commits = false;
    table.settle();
    let told = table.at(reader).events.iter().filter(|event| matches!(event, Event::OpenedRecorded { .. }));
    assert_eq!(told.count(), 2, "both are answered");
}
