//! What a backup takes from a node that runs: its journal, up to one record, in segments. Whoever makes it asks for one after another at
//! its own pace, so the node holds one at a time, and goes on recording meanwhile.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State, rejection::QueryRejection},
};
use demarche_control::backup::{About, Placed, SEGMENT, VERSION};
use serde::Deserialize;

use super::{
    problems::{Answer, Refused, query},
    server::Api,
};
use crate::{
    defaults::JOURNAL_PAGE,
    runtime::clock::wall,
    store::{JournalIndex, Store, StoreError},
};

/// What a backup made now would be.
pub(super) async fn about(State(api): State<Arc<Api>>) -> Answer<About> {
    Ok(Json(About {
        version: VERSION,
        party: api.identity.me.clone(),
        mediates: api.identity.mediates,
        journal: api.store.durable().0,
        made_at: wall(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}

#[derive(Debug, Deserialize)]
pub(super) struct Range {
    /// Behind this record.
    after: u64,
    /// Up to this one.
    until: u64,
}

/// The next segment. A record that is not what was written is named, and none behind it is given.
pub(super) async fn segment(
    State(api): State<Arc<Api>>,
    range: Result<Query<Range>, QueryRejection>,
) -> Result<Bytes, Refused> {
    let Range { after, until } = query(range)?;
    let store = Arc::clone(&api.store);
    // A megabyte is long enough to keep others waiting.
    let read = tokio::task::spawn_blocking(move || read(store.as_ref(), after, until)).await;
    let read = read.map_err(|_| Refused(super::problems::stopping()))?;
    Ok(read?.into())
}

fn read(store: &dyn Store, mut after: u64, until: u64) -> Result<Vec<u8>, StoreError> {
    let mut segment = Vec::new();
    while after < until {
        let page = store.journal(JournalIndex(after), JOURNAL_PAGE)?;
        if page.is_empty() {
            break;
        }
        for found in page {
            if found.index.0 > until || segment.len() >= SEGMENT {
                return Ok(segment);
            }
            after = found.index.0;
            Placed { index: after, channel: found.channel, record: found.record }.put(&mut segment);
        }
    }
    Ok(segment)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use demarche_control::{
        backup::{ABOUT, journal_file, segment},
        layout::DataDir,
    };
    use demarche_protocol::channel::Record;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        restore::{self, RestoreError},
        store::{Lost, SledStore, conformance},
    };

    fn a_hundred_long_records() -> (TempDir, SledStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = SledStore::open(directory.path()).unwrap();
        let channel = conformance::channel(1);
        let text = "text ".repeat(6000);
        for n in 1..=100 {
            let record = Record::Entry(conformance::item_of(channel, n, &format!("{n} {text}")));
            store.commit(&[conformance::commit(channel, &[record])]).unwrap();
        }
        (directory, store)
    }

    /// What `restore` leaves of a store, up to a record: how many segments, and the directory.
    fn left_of(store: &SledStore, until: u64) -> (usize, TempDir, DataDir) {
        let home = tempfile::tempdir().unwrap();
        let data = DataDir::new(home.path());
        fs::create_dir(data.restore()).unwrap();
        let about = About {
            version: VERSION,
            party: "washington".parse().unwrap(),
            mediates: false,
            journal: until,
            made_at: wall(),
            program: "0.1.0".to_owned(),
        };
        fs::write(data.restore().join(ABOUT), serde_json::to_vec(&about).unwrap()).unwrap();
        let (mut after, mut segments) = (0, 0);
        while after < until {
            let bytes = read(store, after, until).unwrap();
            assert!(bytes.len() < SEGMENT + (64 << 10), "{} bytes at once", bytes.len());
            let file = journal_file(after + 1);
            fs::write(data.restore().join(file.rsplit('/').next().unwrap()), &bytes).unwrap();
            after = segment(&bytes).unwrap().last().unwrap().index;
            segments += 1;
        }
        (segments, home, data)
    }

    fn records(store: &SledStore) -> Vec<crate::store::Journaled> {
        store.journal(JournalIndex::START, usize::MAX).unwrap()
    }

    /// S1: a journal of several segments, up to a record before its end, is the same in another store; also when taking it in was broken off,
    /// or is begun again. Then the store counts as set back.
    #[test]
    fn s1_a_journal_goes_out_in_segments_and_comes_back_as_it_was() {
        let (_directory, store) = a_hundred_long_records();
        let (segments, _home, data) = left_of(&store, 90);
        assert!(segments > 2, "only {segments}");
        let mut expected = records(&store);
        expected.truncate(90);

        // Broken off in the middle of a segment.
        let other = SledStore::open(&data.store()).unwrap();
        for one in &expected[..50] {
            other.commit(&[conformance::commit(one.channel, std::slice::from_ref(&one.record))]).unwrap();
        }
        let taken = restore::take_in(&data, &other).unwrap().expect("a backup");
        assert_eq!(taken.journal, 90);
        assert_eq!(records(&other), expected);
        assert!(!data.restore().exists());
        assert_eq!(restore::take_in(&data, &other).unwrap(), None, "once");
        drop(other);
        assert_eq!(SledStore::open(&data.store()).unwrap().lost(), Some(Lost::Another));
    }

    #[test]
    fn a_journal_of_which_a_part_is_missing_or_changed_is_not_taken_in() {
        let (_directory, store) = a_hundred_long_records();
        for what in ["first", "last", "cut"] {
            let (_, _home, data) = left_of(&store, 100);
            let mut files: Vec<_> =
                fs::read_dir(data.restore()).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.retain(|path| path.extension().is_some_and(|ending| ending == "records"));
            files.sort();
            match what {
                "first" => fs::remove_file(&files[0]).unwrap(),
                "last" => fs::remove_file(files.last().unwrap()).unwrap(),
                _ => {
                    let bytes = fs::read(&files[1]).unwrap();
                    fs::write(&files[1], &bytes[..bytes.len() - 1]).unwrap();
                }
            }
            let other = SledStore::open(&data.store()).unwrap();
            let refused = restore::take_in(&data, &other).unwrap_err();
            assert!(matches!(refused, RestoreError::Damaged { .. }), "{what}: {refused}");
            assert!(refused.to_string().contains("help: restore the backup anew"), "{refused}");
            assert!(data.restore().exists(), "it is still to be taken in");
        }
    }
}
