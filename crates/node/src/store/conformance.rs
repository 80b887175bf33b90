//! What every store must do, whatever it is made of. A backend's test calls [`run`].

use std::sync::Arc;

use demarche_protocol::{
    channel::{Batch, Record},
    document::SignedDocument,
    hash::{ChannelId, DocumentId, EntryHash},
    identity::{card::CardSerial, keys::SecretKey},
    time::Timestamp,
    transcript::{Entry, Item, ReceiptId, Seq},
};

use super::{Commit, JournalIndex, Store};

/// Makes the store of a case; with `true`, opens it again after it was closed.
pub(crate) type MakeStore<'a> = &'a mut dyn FnMut(&str, bool) -> Box<dyn Store>;

/// Runs every case.
pub(crate) fn run(make: MakeStore<'_>) {
    what_was_committed_is_there_after_reopening(make);
    channels_are_apart_and_share_one_journal(make);
    large_records_come_back_whole(make);
    the_journal_goes_on_from_any_place(make);
    empty_batches_cost_nothing(make);
}

pub(crate) fn channel(n: u8) -> ChannelId {
    ChannelId::from_bytes([n; 32])
}

pub(crate) fn item_of(channel: ChannelId, n: u64, text: &str) -> Item {
    let entry = Entry {
        version: 1,
        channel,
        party: "washington".parse().unwrap(),
        card: CardSerial(1),
        seq: Seq(n),
        prev: EntryHash::of(&n.to_be_bytes()),
        authority: None,
        seen: Vec::new(),
        recorded_at: Timestamp::from_millis(n),
        document: DocumentId::of(text.as_bytes()),
        signatures: Vec::new(),
    };
    Item { entry: entry.sign(&SecretKey::from_seed(&[7; 32])), text: Arc::from(text) }
}

pub(crate) fn item(channel: ChannelId, n: u64) -> Item {
    item_of(channel, n, &format!("text {n}"))
}

pub(crate) fn entry(channel: ChannelId, n: u64) -> Record {
    Record::Entry(item(channel, n))
}

pub(crate) fn commit(channel: ChannelId, records: &[Record]) -> Commit {
    Commit { channel, batch: Batch { records: records.to_vec() } }
}

fn records(store: &dyn Store, channel: ChannelId) -> Vec<Record> {
    store.load(channel).map(|found| found.unwrap().1).collect()
}

fn what_was_committed_is_there_after_reopening(make: MakeStore<'_>) {
    let all: Vec<Record> = vec![
        entry(channel(1), 1),
        Record::Confirmed(ReceiptId([3; 32])),
        Record::Roster(SignedDocument::unsigned("a card")),
        entry(channel(1), 2),
    ];
    {
        let store = make("reopening", false);
        assert_eq!(store.durable(), JournalIndex::START);
        let group = [commit(channel(1), &all[..3]), commit(channel(1), &all[3..])];
        assert_eq!(store.commit(&group).unwrap(), [JournalIndex(3), JournalIndex(4)]);
        assert_eq!(records(store.as_ref(), channel(1)), all);
    }
    let store = make("reopening", true);
    assert_eq!(store.durable(), JournalIndex(4));
    assert_eq!(records(store.as_ref(), channel(1)), all, "in commit order");
    let again = store.commit(&[commit(channel(1), &[entry(channel(1), 3)])]).unwrap();
    assert_eq!(again, [JournalIndex(5)], "places are never given twice");
}

fn channels_are_apart_and_share_one_journal(make: MakeStore<'_>) {
    let store = make("channels", false);
    let (a, b) = (channel(1), channel(2));
    store.commit(&[commit(a, &[entry(a, 1)]), commit(b, &[entry(b, 1)]), commit(a, &[entry(a, 2)])]).unwrap();
    assert_eq!(records(store.as_ref(), a), [entry(a, 1), entry(a, 2)]);
    assert_eq!(records(store.as_ref(), b), [entry(b, 1)]);
    assert_eq!(store.item(a, item(a, 2).entry.hash()).unwrap(), Some(item(a, 2)));
    assert_eq!(store.item(b, item(a, 2).entry.hash()).unwrap(), None);
    let journal = store.journal(JournalIndex::START, 10).unwrap();
    let places: Vec<_> = journal.iter().map(|found| (found.index.0, found.channel)).collect();
    assert_eq!(places, [(1, a), (2, b), (3, a)]);
}

fn large_records_come_back_whole(make: MakeStore<'_>) {
    let a = channel(1);
    let texts: Vec<String> = (1..60).map(|n| "نص ".repeat(n * 120)).collect();
    let items: Vec<Item> = (1..).zip(&texts).map(|(n, text)| item_of(a, n, text)).collect();
    {
        let store = make("large", false);
        for item in &items {
            store.commit(&[commit(a, &[Record::Entry(item.clone())])]).unwrap();
        }
    }
    let store = make("large", true);
    for item in &items {
        assert_eq!(store.item(a, item.entry.hash()).unwrap().as_ref(), Some(item));
    }
    assert_eq!(store.load(a).count(), items.len());
}

fn the_journal_goes_on_from_any_place(make: MakeStore<'_>) {
    let store = make("journal", false);
    let a = channel(1);
    for n in 1..=40 {
        store.commit(&[commit(a, &[entry(a, n)])]).unwrap();
    }
    for after in 0..=41 {
        let found = store.journal(JournalIndex(after), 7).unwrap();
        let places: Vec<u64> = found.iter().map(|found| found.index.0).collect();
        let expected: Vec<u64> = (after + 1..=40).take(7).collect();
        assert_eq!(places, expected);
        assert!(found.iter().all(|found| found.record == entry(a, found.index.0)));
    }
}

fn empty_batches_cost_nothing(make: MakeStore<'_>) {
    let store = make("empty", false);
    let a = channel(1);
    store.commit(&[commit(a, &[entry(a, 1)])]).unwrap();
    let places = store.commit(&[commit(a, &[]), commit(a, &[entry(a, 2)]), commit(a, &[])]).unwrap();
    assert_eq!(places, [JournalIndex(1), JournalIndex(2), JournalIndex(2)]);
    assert!(store.commit(&[]).unwrap().is_empty());
}
