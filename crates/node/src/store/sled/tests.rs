//! The sled backend on real files, full disks and damaged ones.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tempfile::tempdir;

use super::{super::conformance, *};

fn small_margin(directory: &Path) -> SledStore {
    SledStore::open_with(directory, 1 << 20, Box::new(File::sync_all)).unwrap()
}

#[test]
fn sled_conforms() {
    let directory = tempdir().unwrap();
    let mut count = 0;
    conformance::run(&mut |name: &str, reopen: bool| {
        if !reopen {
            count += 1;
        }
        Box::new(small_margin(&directory.path().join(format!("{count}-{name}"))))
    });
}

/// A thread of sled's that still writes holds the file as this one does.
#[test]
fn a_store_is_opened_as_soon_as_its_file_is_let_go() {
    let directory = tempdir().unwrap();
    drop(small_margin(directory.path()));
    until_let_go(&directory.path().join("db")).unwrap();
    let held = File::open(directory.path().join("db")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let path = directory.path().to_owned();
    let opening = thread::spawn(move || SledStore::open_with(&path, 1 << 20, Box::new(File::sync_all)));
    // Opened without waiting, it would have failed by now, as a rule.
    thread::sleep(Duration::from_millis(50));
    assert!(!opening.is_finished());
    drop(held);
    opening.join().unwrap().unwrap();
}

/// S5: after an fsync that failed the store says so for good, and does not try again as if nothing had happened.
#[test]
fn s5_a_failed_fsync_stops_the_store_for_good() {
    let directory = tempdir().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let sync = move |file: &File| match counted.fetch_add(1, Ordering::SeqCst) {
        1 => Err(io::Error::other("EIO")),
        _ => file.sync_all(),
    };
    let store = SledStore::open_with(directory.path(), 1 << 20, Box::new(sync)).unwrap();
    let channel = conformance::channel(1);
    let group = |n| [conformance::commit(channel, &[conformance::entry(channel, n)])];
    store.commit(&group(1)).unwrap();
    assert!(matches!(store.commit(&group(2)), Err(CommitError::Unknown(why)) if why.contains("EIO")));
    assert!(matches!(store.commit(&group(3)), Err(CommitError::Unknown(_))));
    assert_eq!(calls.load(Ordering::SeqCst), 2, "nothing was synced after the failure");
    assert_eq!(store.durable(), JournalIndex(1));
    assert_eq!(store.load(channel).count(), 1, "what is not known to be durable is not shown");
    let hidden = conformance::item(channel, 2).entry.hash();
    assert_eq!(store.item(channel, hidden).unwrap(), None);
}

/// S4: a full disk is found before anything is applied, and the store goes on when there is room again.
#[test]
fn s4_a_full_disk_is_found_before_anything_is_applied() {
    let directory = tempdir().unwrap();
    let channel = conformance::channel(1);
    let group = [conformance::commit(channel, &[conformance::entry(channel, 1)])];
    {
        let store = SledStore::open_with(directory.path(), u64::MAX / 2, Box::new(File::sync_all)).unwrap();
        assert!(matches!(store.commit(&group), Err(CommitError::NoSpace { .. })));
        assert!(matches!(store.commit(&group), Err(CommitError::NoSpace { .. })), "and is not stopped by it");
        assert_eq!(store.durable(), JournalIndex::START);
        assert!(matches!(store.hindrance(), Some(CommitError::NoSpace { .. })), "and says so when asked");
    }
    let store = small_margin(directory.path());
    assert_eq!(store.load(channel).count(), 0);
    assert_eq!(store.hindrance(), None);
    store.commit(&group).unwrap();
    assert_eq!(store.load(channel).count(), 1);
}

/// S6: a record whose bytes changed under us is found when it is read, and named.
#[test]
fn s6_a_changed_record_is_found_on_reading() {
    let directory = tempdir().unwrap();
    let store = small_margin(directory.path());
    let channel = conformance::channel(1);
    let records: Vec<_> = (1..=3).map(|n| conformance::entry(channel, n)).collect();
    store.commit(&[conformance::commit(channel, &records)]).unwrap();
    let key = record_key(JournalIndex(2), 0);
    let mut value = store.db.get(key).unwrap().unwrap().to_vec();
    *value.last_mut().unwrap() ^= 1;
    store.db.insert(key, value).unwrap();
    let found: Vec<_> = store.load(channel).collect();
    assert!(found[0].is_ok());
    assert!(matches!(&found[1], Err(StoreError::Damaged { index: JournalIndex(2), .. })));
    let second = conformance::item(channel, 2).entry.hash();
    assert!(store.item(channel, second).is_err());
    store.db.remove(key).unwrap();
    assert!(matches!(
        store.load(channel).nth(1),
        Some(Err(StoreError::Damaged { index: JournalIndex(2), .. }))
    ));
}

/// S6: sled takes the first bytes that do not hold for the end of its log. Whatever byte has changed on the disk, the store then
/// holds all that was recorded, or says that it does not.
#[test]
fn s6_a_changed_byte_of_the_file_is_never_taken_for_its_end() {
    let directory = tempdir().unwrap();
    let channel = conformance::channel(1);
    drop(small_margin(&directory.path().join("store")));
    {
        let store = small_margin(&directory.path().join("store"));
        for n in 1..=20 {
            store.commit(&[conformance::commit(channel, &[conformance::entry(channel, n)])]).unwrap();
        }
        // As after `kill -9`: what a clean end adds to the files is not there.
        copy(&directory.path().join("store"), &directory.path().join("killed"));
    }
    let db = fs::read(directory.path().join("killed/db")).unwrap();
    let end = db.iter().rposition(|byte| *byte != 0).unwrap();
    let mut noticed = 0;
    for at in (0..40).map(|step| end - 1 - step * 151) {
        let damaged = directory.path().join("damaged");
        copy(&directory.path().join("killed"), &damaged);
        let mut bytes = db.clone();
        bytes[at] ^= 1;
        fs::write(damaged.join("db"), bytes).unwrap();
        match SledStore::open_with(&damaged, 1 << 20, Box::new(File::sync_all)) {
            Err(_) => noticed += 1,
            Ok(store) if store.lost().is_some() => noticed += 1,
            Ok(store) => {
                let whole = store.load(channel).flatten().count();
                assert_eq!(whole, 20, "byte {at} of {end} changed, and nothing was said");
            }
        }
        fs::remove_dir_all(&damaged).unwrap();
    }
    assert!(noticed > 10, "only {noticed} changes were noticed at all");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// S11: what a later program wrote is left alone.
#[test]
fn s11_a_later_format_is_refused() {
    let directory = tempdir().unwrap();
    {
        let store = small_margin(directory.path());
        store.db.insert(b"v", &2_u64.to_be_bytes()).unwrap();
        store.db.flush().unwrap();
    }
    assert!(matches!(SledStore::open(directory.path()), Err(OpenError::Format { found: 2, .. })));
}
