//! Whatever bytes come from elsewhere: the committed corpus and what a seeded generator makes of it, through the targets of
//! `fuzz/targets.rs`.
//!
//! `cargo test --test fuzz` replays the corpus and a fixed number of mangled inputs. `DEMARCHE_FUZZ_SECONDS=60 cargo test --test fuzz`
//! goes on for so long on each target, from a new seed that it prints. An input that breaks a target is left in its corpus, so that
//! it is replayed from then on.

#[path = "support/random.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the other tests")]
mod random;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::{
    collections::BTreeSet,
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use demarche_protocol::hash::{hex, sha256};
use random::Random;
use targets::Target;

/// Mangled inputs of each target in an ordinary run: a second or two.
const INPUTS: usize = 20_000;
/// No input grows beyond this: a little more than the longest message.
const LONGEST: usize = 70_000;

/// What readers look for, and what they must not stumble over.
const WORDS: &[&[u8]] = &[
    b"demarche = \"card/1\"\n",
    b"[[party]]\n",
    b"[policy.flash]\n",
    b"\"\"\"",
    b"\\u202e",
    "\u{202e}".as_bytes(),
    "e\u{301}".as_bytes(),
    "\u{feff}".as_bytes(),
    b"\x00",
    b"\r\n",
    b" = -1\n",
    b" = 0x10\n",
    b" = 1e9\n",
    b"2026-11-23T09:40:00.125Z",
    b"9223372036854775808",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":",
    b"null",
    b"-----BEGIN SSH SIGNATURE-----\n",
    b"ssh-ed25519 AAAA",
    b"\xfb\xff\xff",
    b"\xfc\xff\xff\xff\xff",
    b"\xfd\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xfd\x00\x00\x00\x00\x00\x00\x00\x00",
    b"\xc0\x80",
];

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name)
}

/// The target on one input; one that breaks it is kept.
fn run(target: &Target, input: &[u8]) -> Vec<&'static str> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).unwrap_or_else(|broken| {
        let kept = corpus(target.name).join(format!("found-{}", &hex(&sha256(input))[..16]));
        fs::write(&kept, input).expect("the input is kept");
        eprintln!("this input breaks the target: {}", kept.display());
        resume_unwind(broken)
    })
}

fn fuzz(target: &Target) {
    let name = target.name;
    let mut files: Vec<PathBuf> =
        fs::read_dir(corpus(name)).expect("a corpus").map(|file| file.expect("a file").path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("an input")).collect();
    let accepted: BTreeSet<&str> = seeds.iter().flat_map(|input| run(target, input)).collect();
    let all: BTreeSet<&str> = target.readers.iter().copied().collect();
    assert_eq!(
        accepted, all,
        "of the corpus of {name} each reader accepts something, or it shows nothing of it"
    );
    let seconds = env::var("DEMARCHE_FUZZ_SECONDS").ok().map(|text| text.parse().expect("seconds"));
    let seed = if seconds.is_some() { Random::seed_from("DEMARCHE_FUZZ_SEED") } else { 1 };
    let mut random = Random::new(seed);
    let (began, mut inputs) = (Instant::now(), 0);
    while seconds.map_or(inputs < INPUTS, |seconds| began.elapsed() < Duration::from_secs(seconds)) {
        run(target, &mangled(&mut random, &seeds));
        inputs += 1;
    }
    println!("{name}: {} seeds, {inputs} mangled inputs from seed {seed}", seeds.len());
}

/// One of the inputs, changed in a few places.
fn mangled(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let pick = |random: &mut Random, below: usize| {
        usize::try_from(random.below(below.max(1) as u64)).expect("below a length")
    };
    let mut input = seeds[pick(random, seeds.len())].clone();
    for _ in 0..=pick(random, 4) {
        let at = pick(random, input.len() + 1);
        let end = (at + 1 + pick(random, 40)).min(input.len());
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xfa, 0xfb, 0xff][pick(random, 7)],
            2 if at < end => drop(input.drain(at..end)),
            3 if at < end => {
                let piece = input[at..end].to_vec();
                let to = pick(random, input.len() + 1);
                input.splice(to..to, piece);
            }
            4 => {
                let other = &seeds[pick(random, seeds.len())];
                let from = pick(random, other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            5 => input.truncate(at),
            _ => {
                let word = WORDS[pick(random, WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
        }
        input.truncate(LONGEST);
    }
    input
}

#[test]
fn k11_b1_frames_and_records() {
    fuzz(&targets::WIRE);
}

#[test]
fn b2_signed_texts() {
    fuzz(&targets::DOCUMENTS);
}

#[test]
fn b1_m7_streams_of_messages() {
    fuzz(&targets::STREAM);
}

#[test]
fn k8_k10_keys_and_signatures_of_openssh() {
    fuzz(&targets::OPENSSH);
}

#[test]
fn what_travels_between_node_and_tool() {
    fuzz(&targets::CONTROL);
}
