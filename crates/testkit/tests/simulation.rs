//! Whole channels through seeded schedules. `DEMARCHE_SEEDS` sets how many; `DEMARCHE_SEED` replays one.

use std::{
    io::Write as _,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use demarche_testkit::{
    schedule::{self, Failure, Plan},
    world::Tally,
};

/// Seeds run when nobody says how many: enough to find a planted fault, few enough for every `cargo test`.
const SEEDS: u64 = 200;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Straight to the output: what a test prints with `println!` its runner keeps back when it passes.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").expect("it is printed");
}

fn plan(seed: u64) -> Plan {
    Plan {
        parties: if seed.is_multiple_of(3) { 3 } else { 2 },
        mediators: if seed % 4 < 2 { 1 } else { 2 },
        apart: seed % 5 == 4,
        actions: 30 + seed % 50,
    }
}

/// M1, M2, M3, M4, M5, M8, M16b, K2, T1, T2, T3, T7, S1, S3: what was accepted was signed and sent; nothing twice; nothing confirmed is
/// missing; the same logs are judged alike; no card that was shut out comes back; after healing what is owed arrives within minutes, all
/// transcripts are equal, and what was recorded has effect.
#[test]
fn every_promise_holds_through_every_schedule() {
    if let Some(seed) = setting("DEMARCHE_SEED") {
        let tally = schedule::run(seed, plan(seed)).unwrap_or_else(|failure| panic!("{failure:?}"));
        say(&format!("seed {seed}: {tally:?}"));
        return;
    }
    let seeds = setting("DEMARCHE_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let total = Mutex::new(Tally::default());
    let failures: Mutex<Vec<Failure>> = Mutex::new(Vec::new());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds || !failures.lock().expect("no panic").is_empty() {
                        break;
                    }
                    match schedule::run(seed, plan(seed)) {
                        Ok(tally) => *total.lock().expect("no panic") += tally,
                        Err(failure) => failures.lock().expect("no panic").push(failure),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic");
    let tally = total.into_inner().expect("no panic");
    say(&format!("{seeds} schedules: {tally:?}"));
    assert!(failures.is_empty(), "replay with DEMARCHE_SEED={}: {}", failures[0].seed, failures[0].what);
    assert!(
        tally.crashes > seeds
            && tally.voids > seeds / 2
            && tally.renewals > seeds / 4
            && tally.lost_disks > seeds / 8,
        "too tame: {tally:?}"
    );
}
