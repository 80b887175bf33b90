//! A node's memory is kept in a sealed file and comes back from it: the disk destroyed, a spare card from the safe or one signed now, and
//! afterwards both sides alike, nothing said twice under one number, and everybody told.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use demarche_control::{backup, secret_file};
use demarche_protocol::{channel::Record, hash::EntryHash, identity::openssh};
use serde_json::Value;
use support::{
    programs::Outcome,
    stage::{Stage, text},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A channel whose nodes run, and a key for the safe.
fn stage_with_a_safe() -> Stage {
    let stage = Stage::open(programs!());
    stage.ok(&["key", "new", "safe.key", "--no-passphrase"]);
    stage
}

fn notice(stage: &Stage, from: &str, title: &str) {
    let words = ["breach", "4.1", "--title", title, "--wait", "delivered", "--timeout", "1m"];
    assert_eq!(stage.json_saying(from, &words, "text")["state"], "delivered");
}

fn back_up(stage: &Stage, of: &str, file: &str) {
    stage.ok(&["backup", "--data", of, "--out", file, "--recipient", "safe.pub"]);
    stage.ok(&["backup", "verify", file, "--identity", "safe.key"]);
}

/// A spare card, signed and put into the safe.
fn put_a_spare_into_the_safe(stage: &Stage, of: &str) -> String {
    let made = stage.ok(&["card", "spare", "--data", of, "--recipient", "safe.pub", "--json"]).json();
    let card = text(&made, "card").to_owned();
    stage.ok(&["sign", &card, "--key", &format!("{of}.root")]);
    let safe = stage.dir.join("safe");
    fs::create_dir_all(&safe).expect("the safe");
    let name = Path::new(&card).file_name().expect("a name").to_string_lossy().into_owned();
    for file in ["", ".sig", ".node.sig", ".keys.age"] {
        let from = stage.dir.join(format!("{card}{file}"));
        fs::rename(from, safe.join(format!("{name}{file}"))).expect("moved into the safe");
    }
    // The serial stays used.
    fs::copy(safe.join(&name), stage.dir.join(&card)).expect("its text");
    format!("safe/{name}")
}

fn destroy(stage: &mut Stage, id: &str) {
    stage.node_mut(id).kill();
    fs::remove_dir_all(stage.dir.join(id)).expect("its disk");
}

/// What a party's officer sees: of each dispatch its document, serial and whether it is disowned.
fn seen(stage: &Stage, id: &str) -> BTreeSet<(String, String, String, bool)> {
    let inbox = stage.json(id, &["inbox", "--all"]);
    let seen = |header: &Value| {
        let of = |field: &str| text(header, field).to_owned();
        (of("title"), of("serial"), of("document"), text(header, "state") == "disowned")
    };
    inbox.as_array().expect("inbox").iter().map(seen).collect()
}

fn titles(stage: &Stage, id: &str) -> BTreeSet<String> {
    seen(stage, id).into_iter().map(|(title, ..)| title).collect()
}

/// Returns when both sides see the same; each look is a process, which paces this.
fn both_see_the_same(stage: &Stage) -> BTreeSet<(String, String, String, bool)> {
    let began = Instant::now();
    loop {
        let (one, other) = (seen(stage, "washington"), seen(stage, "tehran"));
        if one == other {
            return one;
        }
        assert!(began.elapsed() < PATIENCE, "washington sees {one:#?}, tehran {other:#?}");
    }
}

/// Every entry in a node's journal, by party, card and number. The backup of it is laid out and not started.
fn entries(stage: &Stage, of: &str) -> BTreeMap<(String, u64, u64), BTreeSet<EntryHash>> {
    let (file, directory) = (format!("{of}.look.age"), format!("{of}.look"));
    back_up(stage, of, &file);
    stage.ok(&["restore", &file, "--identity", "safe.key", "--data", &directory]);
    let mut all: BTreeMap<_, BTreeSet<EntryHash>> = BTreeMap::new();
    for path in files_below(&stage.dir.join(directory).join("restore")) {
        if path.extension().is_some_and(|ending| ending == "records") {
            for placed in backup::segment(&fs::read(path).expect("a segment")).expect("records") {
                if let Record::Entry(item) = placed.record {
                    let entry = item.entry.claims().expect("an entry");
                    let place = (entry.party.to_string(), entry.card.0, entry.seq.0);
                    all.entry(place).or_default().insert(item.entry.hash());
                }
            }
        }
    }
    all
}

/// No party has signed two entries with one number under one card, whoever holds them.
fn no_number_was_used_twice(stage: &Stage) {
    let (mut all, others) = (entries(stage, "washington"), entries(stage, "tehran"));
    for (place, hashes) in others {
        all.entry(place).or_default().extend(hashes);
    }
    for (place, hashes) in &all {
        assert_eq!(hashes.len(), 1, "{place:?} was used twice");
    }
    let volumes: BTreeSet<_> = all.keys().map(|(party, card, _)| (party, card)).collect();
    assert!(volumes.len() > 2, "nobody has opened a volume: {volumes:?}");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// A watch whose lines come as JSON.
struct Watch {
    child: Child,
    lines: mpsc::Receiver<Value>,
}

impl Watch {
    fn of(stage: &Stage, id: &str) -> Self {
        let mut command = stage.officer_command(id, &["watch", "--json", "--after", "0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("watch");
        let (tell, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().expect("its output"));
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = tell.send(serde_json::from_str(&line).expect("JSON"));
            }
        });
        Self { child, lines }
    }

    /// The next event of this kind.
    fn until(&self, kind: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let event = self.lines.recv_timeout(left).unwrap_or_else(|why| panic!("no {kind}: {why}"));
            if event["kind"] == kind {
                return event;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// S1: whole, with real programs. The backup is taken while notices flow; what was written after it and delivered comes back as disowned, what
/// nobody else has is gone, and officers of both sides are told.
#[test]
fn s1_a_destroyed_node_comes_back_from_its_backup_under_the_spare_card() {
    let mut stage = stage_with_a_safe();
    let spare = put_a_spare_into_the_safe(&stage, "washington");
    thread::scope(|scope| {
        for id in ["washington", "tehran"] {
            let stage = &stage;
            scope.spawn(move || {
                for number in 0..8 {
                    notice(stage, id, &format!("{id} {number}"));
                }
            });
        }
        back_up(&stage, "washington", "during.age");
    });
    back_up(&stage, "washington", "w.age");
    notice(&stage, "washington", "After the backup");
    notice(&stage, "tehran", "To it, after the backup");
    stage.node_mut("muscat").kill();
    let words = ["breach", "4.1", "--title", "Nobody else has it", "--wait", "recorded"];
    assert_eq!(stage.json_saying("washington", &words, "text")["state"], "recorded");
    let told = Watch::of(&stage, "tehran");
    destroy(&mut stage, "washington");

    let restore = ["restore", "w.age", "--identity", "safe.key", "--data", "washington", "--spare", &spare];
    let restored = stage.ok(&restore);
    assert!(restored.stdout.contains("a new volume begins under it"), "{restored}");
    stage.run(&restore).refused(1, "is not empty");
    stage.node_mut("washington").start_ready();
    stage.node_mut("muscat").start_ready();
    stage.line_open();

    let volume = told.until("volume");
    assert_eq!(volume["peer"], "washington");
    let said = text(&volume, "detail");
    assert!(said.contains("washington's node was restored or replaced: volume under card 2"), "{said}");
    assert!(
        said.contains("1 entry of the one before disowned") && said.contains("it had lost 1 entry"),
        "{said}"
    );
    assert_eq!(told.until("disowned")["header"]["title"], "After the backup");
    notice(&stage, "washington", "It speaks again");
    notice(&stage, "tehran", "And is spoken to");

    let seen = both_see_the_same(&stage);
    let disowned: Vec<&str> = seen.iter().filter(|one| one.3).map(|one| one.0.as_str()).collect();
    assert_eq!(disowned, ["After the backup"]);
    let titles: BTreeSet<&str> = seen.iter().map(|one| one.0.as_str()).collect();
    assert!(!titles.contains("Nobody else has it"), "it is nowhere, and must not be invented");
    for title in
        ["washington 7", "tehran 7", "To it, after the backup", "It speaks again", "And is spoken to"]
    {
        assert!(titles.contains(title), "{title} is missing: {titles:?}");
    }
    let of = |id: &str| stage.json(id, &["status"])["channels"][0]["restored"].clone();
    assert!(of("washington")[0].as_str().is_some_and(|told| told.starts_with("this node was restored")));
    assert!(of("tehran")[0].as_str().is_some_and(|told| told.starts_with("washington's node was restored")));
    let home = stage.json("washington", &["alarms"]).to_string();
    assert!(home.contains("this node was restored from a backup of"), "{home}");
    no_number_was_used_twice(&stage);
}

/// S2: both disks are gone. One comes back with its spare, the other under a card that is signed now; what either backup holds, both have.
#[test]
fn s2_both_sides_restored_are_alike_again_and_say_what_was_left_behind() {
    let mut stage = stage_with_a_safe();
    let spare = put_a_spare_into_the_safe(&stage, "washington");
    notice(&stage, "washington", "Before both");
    back_up(&stage, "washington", "w.age");
    notice(&stage, "washington", "Between, from washington");
    notice(&stage, "tehran", "Between, from tehran");
    back_up(&stage, "tehran", "t.age");
    notice(&stage, "washington", "After both, from washington");
    notice(&stage, "tehran", "After both, from tehran");
    for id in ["washington", "tehran"] {
        destroy(&mut stage, id);
    }

    stage.ok(&["restore", "w.age", "--identity", "safe.key", "--data", "washington", "--spare", &spare]);
    let drafted = ["restore", "t.age", "--identity", "safe.key", "--data", "tehran", "--json"];
    let drafted = stage.ok(&drafted).json();
    assert_eq!((&drafted["signed"], &drafted["serial"]), (&Value::from(false), &Value::from(18)));
    stage.ok(&["sign", text(&drafted, "card"), "--key", "tehran.root"]);
    stage.ok(&["install", text(&drafted, "card"), "--data", "tehran"]);
    for id in ["washington", "tehran"] {
        stage.node_mut(id).start_ready();
    }
    stage.line_open();
    notice(&stage, "washington", "Again, from washington");
    notice(&stage, "tehran", "Again, from tehran");

    let seen = both_see_the_same(&stage);
    let disowned: Vec<&str> = seen.iter().filter(|one| one.3).map(|one| one.0.as_str()).collect();
    assert_eq!(disowned, ["Between, from washington"]);
    let titles: BTreeSet<&str> = seen.iter().map(|one| one.0.as_str()).collect();
    assert_eq!(
        titles,
        BTreeSet::from([
            "Before both",
            "Between, from washington",
            "Between, from tehran",
            "Again, from washington",
            "Again, from tehran",
        ]),
        "what neither backup holds is nowhere"
    );
    no_number_was_used_twice(&stage);
}

/// What must never lie in a backup: every secret of the node, as its file has it and in its bare bytes.
fn secrets(data: &Path) -> Vec<Vec<u8>> {
    let keys = data.join("keys/1");
    let read = |name: &str| fs::read_to_string(keys.join(name)).expect("a key");
    let node = openssh::read(&read("node.key"), None).expect("the node's key");
    let session = secret_file::read_session(&read("session.key")).expect("the session key");
    let prekey = secret_file::read_prekey(&read("prekey.key")).expect("the prekey");
    let mut all = vec![
        node.seed().to_vec(),
        session.to_bytes().to_vec(),
        prekey.x25519().to_vec(),
        prekey.ml_kem_seed().to_vec(),
    ];
    for text in ["node.key", "session.key", "prekey.key"].map(read) {
        all.extend(text.lines().filter(|line| !line.starts_with("-----")).map(|line| {
            // The first line of an OpenSSH key says which kind it is, and is the same for all.
            line.rsplit(':').next().unwrap_or(line).as_bytes().to_vec()
        }));
    }
    let common = b"b3BlbnNzaC1rZXktdjEA";
    all.retain(|secret| !secret.starts_with(common) && secret.len() >= 16);
    assert!(all.len() > 8, "too few secrets to look for: {}", all.len());
    all
}

fn found_in(folder: &Path, secrets: &[Vec<u8>]) -> Option<PathBuf> {
    files_below(folder).into_iter().find(|path| {
        let bytes = fs::read(path).expect("a file");
        secrets.iter().any(|secret| bytes.windows(secret.len()).any(|part| part == secret))
    })
}

#[test]
fn l3_what_a_backup_holds_is_none_of_the_nodes_secrets() {
    let stage = stage_with_a_safe();
    notice(&stage, "washington", "A notice");
    notice(&stage, "tehran", "Another");
    let data = stage.dir.join("washington");
    let secrets = secrets(&data);
    assert!(found_in(&data.join("keys"), &secrets).is_some(), "the search finds what is there");
    back_up(&stage, "washington", "w.age");
    stage.ok(&["restore", "w.age", "--identity", "safe.key", "--data", "looked"]);
    let looked = stage.dir.join("looked");
    assert!(looked.join("restore").is_dir() && looked.join("channels/memo26/charter.json").is_file());
    assert_eq!(found_in(&looked, &secrets), None);
    let said = [b"A notice".to_vec()];
    assert!(found_in(&looked.join("restore"), &said).is_some(), "it holds what was said");
}

fn left_over(stage: &Stage, name: &str) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(&stage.dir).expect("the directory").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.to_string_lossy().contains(name)).collect()
}

/// Wrong key, cut, altered, no room, an occupied place, a stopped node: each by name, and nothing half done.
#[test]
fn a_backup_that_cannot_be_made_or_opened_says_why_and_leaves_nothing_behind() {
    let mut stage = stage_with_a_safe();
    stage.ok(&["key", "new", "other.key", "--no-passphrase"]);
    notice(&stage, "washington", "A notice");
    back_up(&stage, "washington", "w.age");
    let make = ["backup", "--data", "washington", "--recipient", "safe.pub", "--out"];
    let to = |out: &'static str| [&make[..], &[out]].concat();
    stage.run(&to("w.age")).refused(1, "w.age is there already");
    stage.run(&to("nowhere/w.age")).refused(1, "nowhere/w.age cannot be written");
    let rsa = [
        "backup",
        "--data",
        "washington",
        "--out",
        "r.age",
        "--recipient",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ==",
    ];
    stage.run(&rsa).exit(2);
    assert_eq!(left_over(&stage, "r.age"), Vec::<PathBuf>::new());

    // As on a full disk: a file may not grow beyond 8 KiB.
    let mut full = std::process::Command::new("sh");
    full.current_dir(&stage.dir).env("HOME", &stage.dir).env("NO_COLOR", "1");
    let line = "trap '' XFSZ; ulimit -f 16; exec \"$0\" backup --data washington --out full.age --recipient safe.pub";
    full.args(["-c", line]).arg(&stage.programs.demarche);
    Outcome::of(full, None).refused(1, "full.age cannot be written");
    assert_eq!(left_over(&stage, "full.age"), Vec::<PathBuf>::new());

    stage
        .run(&["backup", "verify", "w.age", "--identity", "other.key"])
        .refused(4, "was not sealed for the key");
    stage
        .run(&["backup", "verify", "safe.pub", "--identity", "safe.key"])
        .refused(4, "no file in the age format");
    stage
        .run(&["backup", "verify", "none.age", "--identity", "safe.key"])
        .refused(1, "none.age cannot be read");
    let whole = fs::read(stage.dir.join("w.age")).expect("the backup");
    for at in [60, 150, whole.len() / 2, whole.len() - 1] {
        fs::write(stage.dir.join("cut.age"), &whole[..at]).expect("cut");
        stage
            .run(&["backup", "verify", "cut.age", "--identity", "safe.key"])
            .refused(6, "cut.age is cut or altered");
        let mut altered = whole.clone();
        altered[at + usize::from(at < 100) * 80] ^= 1;
        fs::write(stage.dir.join("altered.age"), &altered).expect("altered");
        let refused = stage.run(&["backup", "verify", "altered.age", "--identity", "safe.key"]);
        refused.refused(6, "altered.age is cut or altered");
        stage
            .run(&["restore", "altered.age", "--identity", "safe.key", "--data", "half"])
            .refused(6, "altered");
        assert_eq!(left_over(&stage, "half"), Vec::<PathBuf>::new());
    }
    stage
        .run(&["restore", "w.age", "--identity", "other.key", "--data", "half"])
        .refused(4, "was not sealed");
    stage.run(&["restore", "w.age", "--identity", "safe.key", "--data", "tehran"]).refused(1, "is not empty");
    assert_eq!(left_over(&stage, "half"), Vec::<PathBuf>::new());

    stage.node_mut("washington").terminate();
    let away = stage.run(&to("away.age")).refused(3, "a backup is made while the node runs");
    assert!(away.stderr.contains("demarched --data washington"), "{away}");
    assert_eq!(left_over(&stage, "away.age"), Vec::<PathBuf>::new());
}

/// A spare counts until the card is renewed, and the renewal makes the next one. The wrong one is refused by name.
#[test]
fn a_renewal_makes_the_next_spare_and_the_old_one_is_refused() {
    let mut stage = stage_with_a_safe();
    let old = put_a_spare_into_the_safe(&stage, "washington");
    stage.run(&["install", &old, "--data", "washington"]).refused(4, "is a spare card");
    let renewed = stage.ok(&["card", "renew", "--data", "washington", "--json"]).json();
    assert_eq!((&renewed["serial"], &renewed["spare"]["serial"]), (&Value::from(3), &Value::from(4)));
    let spare = text(&renewed["spare"], "card").to_owned();
    for card in [text(&renewed, "card"), &spare] {
        stage.ok(&["sign", card, "--key", "washington.root"]);
    }
    stage.ok(&["install", text(&renewed, "card"), "--data", "washington"]);
    stage.line_open();
    notice(&stage, "washington", "Under card 3");
    back_up(&stage, "washington", "w.age");
    let ends = ["", ".sig", ".node.sig", ".keys.age"];
    for end in ends {
        fs::rename(stage.dir.join(format!("{spare}{end}")), stage.dir.join(format!("safe/next.card{end}")))
            .expect("moved");
    }
    destroy(&mut stage, "washington");
    let restore = |spare: &'static str| {
        ["restore", "w.age", "--identity", "safe.key", "--data", "washington", "--spare", spare]
    };
    stage.run(&restore("safe/washington.2.card")).refused(4, "card 2 is replaced by card 3");
    fs::rename(stage.dir.join("safe/next.card.sig"), stage.dir.join("safe/away")).expect("moved");
    stage.run(&restore("safe/next.card")).refused(6, "0 of the 1 signature needed");
    fs::rename(stage.dir.join("safe/away"), stage.dir.join("safe/next.card.sig")).expect("moved");
    let keys = ["safe/next.card.keys.age", "safe/washington.2.card.keys.age", "safe/away"];
    let exchange = |from: usize, to: usize| fs::rename(stage.dir.join(keys[from]), stage.dir.join(keys[to]));
    exchange(0, 2).and_then(|()| exchange(1, 0)).expect("exchanged");
    stage.run(&restore("safe/next.card")).refused(4, "does not hold the keys that card 4 names");
    exchange(2, 0).expect("put back");
    assert!(!stage.dir.join("washington").exists(), "nothing half done");
    stage.ok(&restore("safe/next.card"));
    stage.node_mut("washington").start_ready();
    stage.line_open();
    notice(&stage, "washington", "Under card 4");
    assert!(titles(&stage, "tehran").contains("Under card 3"));
}
