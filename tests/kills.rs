//! `kill -9` of any of the three processes at any moment: what was called recorded is there after the restart, is delivered,
//! and once. `DEMARCHE_KILLS_SEED` repeats a run's kills, `DEMARCHE_KILLS` sets how many.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use support::{
    node::Node,
    random::Random,
    stage::{CAST, Stage, text},
};

const KILLS: u64 = 54;
/// The longest that all nodes are left alone between two kills.
const LULL_MS: u64 = 250;
/// After the last kill everything recorded must be delivered within this.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// What the nodes called recorded: party → document → serial.
type Recorded = BTreeMap<&'static str, BTreeMap<String, String>>;

/// Straight to the output: what a test prints with `println!` its runner keeps back when it passes.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").expect("it is printed");
}

#[test]
fn what_was_called_recorded_survives_random_kills_and_is_delivered_once() {
    let seed = Random::seed_from("DEMARCHE_KILLS_SEED");
    let kills: u64 = std::env::var("DEMARCHE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    println!("DEMARCHE_KILLS_SEED={seed}");
    let mut stage = Stage::open(programs!());
    let began = Instant::now();

    let mut nodes = std::mem::take(&mut stage.nodes);
    let done = AtomicBool::new(false);
    let resent = AtomicU64::new(0);
    let recorded: Mutex<Recorded> = Mutex::default();
    let killed = std::thread::scope(|scope| {
        for (id, ..) in CAST.parties {
            let (stage, done, recorded, resent) = (&stage, &done, &recorded, &resent);
            scope.spawn(move || {
                // Also when the killer or another writer panics: nobody writes on for ever.
                let documents = write(stage, id, done, resent);
                recorded.lock().expect("no panic").insert(id, documents);
            });
        }
        let _end = Ends(&done);
        kill(&mut nodes, &mut Random::new(seed), kills)
    });
    stage.nodes = nodes;

    // Nobody helps: they find each other again, and deliver.
    stage.nodes.iter().for_each(Node::ready);
    stage.line_open();
    let recorded = recorded.into_inner().expect("no panic");
    let settled = Instant::now();
    for (id, documents) in &recorded {
        delivered_once(&stage, id, documents, settled);
    }
    let counts: Vec<String> =
        recorded.iter().map(|(id, documents)| format!("{} recorded at {id}", documents.len())).collect();
    say(&format!(
        "seed {seed}: {} kills ({killed:?}), {}, {} sent again from kept files; all delivered once; {:.0?}",
        killed.values().sum::<u64>(),
        counts.join(", "),
        resent.into_inner(),
        began.elapsed()
    ));
    assert!(
        recorded.values().all(|documents| documents.len() >= 10),
        "too little was said between the kills"
    );
}

/// Ends the writers however the killing ends.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Kills a random node at a random moment and starts it again, so many times. Counts by node.
fn kill(nodes: &mut [Node], random: &mut Random, kills: u64) -> BTreeMap<String, u64> {
    let mut killed = BTreeMap::new();
    for _ in 0..kills {
        let victim = usize::try_from(random.below(3)).expect("small");
        // The moment is the fault that is injected.
        std::thread::sleep(Duration::from_millis(random.below(LULL_MS)));
        let node = &mut nodes[victim];
        node.kill();
        *killed.entry(node.id.clone()).or_default() += 1;
        node.start();
        // Every third one may be killed again while it starts; the others get to work.
        if random.below(3) > 0 {
            node.ready();
        }
    }
    killed
}

/// Says one thing after another until the end. What a command kept because the node was gone is sent again until it is recorded.
fn write(stage: &Stage, id: &'static str, done: &AtomicBool, resent: &AtomicU64) -> BTreeMap<String, String> {
    let keep = stage.dir.join(format!("{id}.kept"));
    fs::create_dir(&keep).expect("directory");
    let keep_in = keep.to_str().expect("UTF-8").to_owned();
    let mut documents = BTreeMap::new();
    let mut said = 0_u64;
    while !done.load(Ordering::Relaxed) {
        said += 1;
        let outcome = stage.as_officer_saying(
            id,
            &["say", "--keep-in", &keep_in, "--json"],
            &format!("statement {said} of {id}"),
        );
        let sent = if outcome.code == 0 {
            outcome.json()
        } else {
            let file = kept(&keep).unwrap_or_else(|| panic!("nothing was kept: {outcome}"));
            resent.fetch_add(1, Ordering::Relaxed);
            let sent = send_until_recorded(stage, id, &file);
            fs::remove_file(&file).expect("kept file");
            sent
        };
        let before = documents.insert(text(&sent, "document").to_owned(), text(&sent, "serial").to_owned());
        assert_eq!(before, None, "{id}: two statements under one hash");
    }
    let distinct: BTreeSet<_> = documents.values().collect();
    assert_eq!(distinct.len(), documents.len(), "{id}: two statements got one serial");
    assert_eq!(documents.len() as u64, said, "{id}: something typed was lost");
    documents
}

/// The file that the failed command kept.
fn kept(keep: &std::path::Path) -> Option<PathBuf> {
    fs::read_dir(keep).expect("directory").flatten().map(|entry| entry.path()).next()
}

/// The same file again and again: safe, and in the end recorded.
fn send_until_recorded(stage: &Stage, id: &str, file: &std::path::Path) -> serde_json::Value {
    let began = Instant::now();
    loop {
        let outcome = stage.as_officer(id, &["send", file.to_str().expect("UTF-8"), "--json"]);
        if outcome.code == 0 {
            return outcome.json();
        }
        assert!(began.elapsed() < SETTLED_WITHIN, "{outcome}\n{}", stage.node(id).log());
    }
}

/// Each of a party's documents: there under the serial that was told, delivered, and held by the other once.
fn delivered_once(stage: &Stage, id: &str, documents: &BTreeMap<String, String>, since: Instant) {
    let peer = CAST.parties.iter().map(|(party, ..)| *party).find(|party| *party != id).expect("two parties");
    loop {
        let own = stage.json(id, &["inbox", "--all"]);
        let theirs = stage.json(peer, &["inbox", "--all"]);
        let here = from(&own, id);
        for (document, serial) in documents {
            assert_eq!(
                here.get(document),
                Some(&vec![serial.clone()]),
                "{id}: called recorded, not there once"
            );
        }
        let held = from(&theirs, id);
        if documents.keys().all(|document| held.contains_key(document)) {
            for (document, serial) in documents {
                assert_eq!(held.get(document), Some(&vec![serial.clone()]), "{peer}: not held once");
            }
            assert_eq!(held.len(), documents.len(), "{peer} holds what {id} never said");
            return;
        }
        let missing = documents.keys().filter(|document| !held.contains_key(*document)).count();
        assert!(
            since.elapsed() < SETTLED_WITHIN,
            "{missing} of {id}'s not delivered after {SETTLED_WITHIN:?}"
        );
    }
}

/// A party's documents in an inbox, with every serial under which each stands.
fn from(inbox: &serde_json::Value, id: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for header in inbox.as_array().expect("inbox").iter().filter(|header| header["from"] == id) {
        found.entry(text(header, "document").to_owned()).or_default().push(text(header, "serial").to_owned());
    }
    found
}
