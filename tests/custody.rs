//! Custody with real programs: a notice for a capital whose node was never there, kept by a mediator that can read none of it.

mod support;

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use support::stage::{Stage, evidence, text};

/// Words that stand nowhere but in the notice.
const CANARY: &[u8] = b"the heron stands on the grey pier";

fn contains(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY)
}

/// Whether the words stand in a running process's memory: in any part of it that it can write to.
fn in_memory_of(pid: u32) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("its memory map");
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).expect("its memory");
    let mut looked_at = 0_usize;
    let mut found = false;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).expect("an address"));
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(from)).expect("it is mapped");
        // Some kinds of memory cannot be read, such as a device's.
        if (&mut memory).take(to - from).read_to_end(&mut bytes).is_ok() {
            looked_at += bytes.len();
            found |= contains(&bytes);
        }
    }
    assert!(looked_at > 1 << 20, "only {looked_at} bytes could be read");
    found
}

/// Whether the words stand in any file below.
fn on_disk(directory: &Path) -> bool {
    fs::read_dir(directory).expect("a directory").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() { on_disk(&path) } else { fs::read(&path).is_ok_and(|bytes| contains(&bytes)) }
    })
}

/// M19: the mediator is seized with its memory and disk, and nothing of what it carries and keeps can be read there. First contact by custody:
/// the recipient has never been online, and the sender is gone when it comes.
#[test]
fn m19_a_notice_waits_in_custody_for_a_node_that_was_never_there() {
    let mut stage = Stage::found(programs!());
    stage.node_mut("muscat").start_ready();
    stage.node_mut("washington").start_ready();
    let body = String::from_utf8_lossy(CANARY).into_owned();
    let words = ["breach", "4.1", "--title", "A boarding", "--wait", "custody", "--timeout", "1m"];
    let sent = stage.json_saying("washington", &words, &body);
    assert_eq!(sent["state"], "custody", "{sent:#}");
    let serial = text(&sent, "serial").to_owned();
    let status = stage.as_officer("washington", &["show", &serial]).ok();
    assert!(status.stdout.contains("IN CUSTODY"), "{status}");

    let pid = |id: &str| stage.node(id).pid().expect("it runs");
    assert!(in_memory_of(pid("washington")), "the search finds nothing where it is");
    assert!(on_disk(&stage.dir.join("washington")), "the search finds nothing where it is");
    assert!(!in_memory_of(pid("muscat")), "the mediator's memory holds the text");
    assert!(!on_disk(&stage.dir.join("muscat")), "the mediator's disk holds the text");
    let kept = |stage: &Stage| {
        let offices = fs::read_dir(stage.dir.join("muscat/custody")).expect("custody");
        offices
            .map(|office| fs::read_dir(office.expect("a channel").path()).expect("a channel").count())
            .sum::<usize>()
    };
    assert!(kept(&stage) > 0);

    stage.node_mut("washington").kill();
    stage.node_mut("muscat").kill();
    stage.node_mut("muscat").start_ready();
    stage.node_mut("tehran").start_ready();
    let ack = loop {
        let inbox = stage.json("tehran", &["inbox"]);
        if let Some(header) =
            inbox.as_array().expect("inbox").iter().find(|header| header["title"] == "A boarding")
        {
            let serial = text(header, "serial").to_owned();
            let opened = stage.as_officer("tehran", &["open", &serial]).ok();
            assert!(opened.stdout.contains(&body), "{opened}");
            break stage.json("tehran", &["ack", &serial, "--wait", "custody", "--timeout", "1m"]);
        }
    };
    assert_eq!(ack["state"], "custody", "{ack:#}");
    stage.node_mut("tehran").kill();

    stage.node_mut("washington").start_ready();
    let all = ["recorded", "custody", "collected", "delivered", "opened", "acknowledged"];
    // What was deposited last comes first: the acknowledgement before the receipts.
    let shown = loop {
        let shown = stage.json("washington", &["show", &serial]);
        let known = |kind: &&str| {
            shown["evidence"].as_array().expect("evidence").iter().any(|piece| piece["kind"] == *kind)
        };
        if all.iter().all(known) {
            break shown;
        }
    };
    assert_eq!(shown["state"], "acknowledged");
    for kind in all {
        assert_eq!(evidence(&shown, kind)["verified"], true, "{shown:#}");
    }
    assert!(!in_memory_of(stage.node("muscat").pid().expect("it runs")));
    assert!(!on_disk(&stage.dir.join("muscat")));
}
