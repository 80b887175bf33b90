//! The published vector of entries, receipts and frames (docs/protocol.md §6 and §8): made from the documents and keys in
//! `vectors/documents`, compared with `vectors/replication.toml`, and judged as the text says.
//! `DEMARCHE_BLESS=1` writes it anew.

use std::{fmt::Write as _, fs, path::Path};

use demarche_protocol::{
    channel::{CloseReason, Confirm, Frame, FrameError, Hello, LineTest, PrekeyHeld, Want},
    charter::Charter,
    codec::{self, Wire},
    document::SignedDocument,
    hash::{ChannelId, EntryHash, hex, sha256},
    identity::{card::CardSerial, keys::SecretKey, member::MemberId, signed_prekey::PrekeyNumber},
    time::Timestamp,
    transcript::{
        Effect, Entry, Head, Item, Pointer, Receipt, ReceiptKind, Seq, SignedReceipt, Transcript,
        entry::VERSION,
    },
};

fn vectors() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn key(name: &str) -> SecretKey {
    SecretKey::from_seed(&sha256(format!("demarche vector: {name}").as_bytes()))
}

fn id(name: &str) -> MemberId {
    name.parse().unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn document(name: &str) -> SignedDocument {
    let all = fs::read_to_string(vectors().join("documents/signed-documents.hex")).unwrap();
    let line = all.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap();
    codec::decode(&unhex(line)).unwrap()
}

/// 2026-11-23T10:00:00Z and so many milliseconds.
const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_795_428_000_000 + millis)
}

struct Vector {
    channel: ChannelId,
    log: Vec<Item>,
    heads: Vec<Head>,
    held: SignedReceipt,
    opened: SignedReceipt,
    frames: Vec<(&'static str, Frame)>,
}

fn log(channel: ChannelId) -> (Vec<Item>, Vec<Head>) {
    let (mut log, mut heads): (Vec<Item>, Vec<Head>) = (Vec::new(), Vec::new());
    for (name, since) in [("card-party", 0), ("officer", 1_000), ("dispatch-statement", 60_000)] {
        let document = document(name);
        let last = heads.last();
        let seen = Head {
            party: id("tehran"),
            card: CardSerial(1),
            seq: Seq(1),
            hash: EntryHash::of(b"demarche vector: an entry of tehran"),
        };
        let entry = Entry {
            version: VERSION,
            channel,
            party: id("washington"),
            card: CardSerial(1),
            seq: last.map_or(Seq::FIRST, |last| last.seq.next()),
            prev: last.map_or_else(|| EntryHash::from_bytes(*channel.as_bytes()), |last| last.hash),
            authority: last.map(|last| Pointer { seq: last.seq, hash: last.hash }),
            seen: if log.len() == 2 { vec![seen] } else { Vec::new() },
            recorded_at: at(since),
            document: document.id(),
            signatures: document.signatures().to_vec(),
        };
        let item = Item { entry: entry.sign(&key("washington node 1")), text: document.shared_text() };
        heads.push(entry.head(item.entry.hash()));
        log.push(item);
    }
    (log, heads)
}

fn vector() -> Vector {
    let channel = ChannelId::from(document("charter").id());
    let (log, heads) = log(channel);
    let receipt = |kind, millis| {
        let receipt = Receipt {
            version: VERSION,
            kind,
            channel,
            of: heads[2].clone(),
            by: id("tehran"),
            by_card: CardSerial(1),
            at: at(millis),
            head: None,
        };
        receipt.sign(&key("tehran node 1"))
    };
    let held = receipt(ReceiptKind::Held, 60_250);
    let opened = receipt(ReceiptKind::Opened(document("officer").id()), 300_000);
    let test = LineTest {
        channel,
        from: id("washington"),
        to: id("tehran"),
        number: 300,
        asked_at: at(0),
        answered_at: None,
    };
    let answer = LineTest { answered_at: Some(at(40)), ..test.clone() };
    let want = Want { party: id("washington"), card: CardSerial(1), from: Seq(2), to: Seq(300) };
    let frames = vec![
        ("hello", Frame::Hello(Hello { heads: heads[2..].to_vec(), roster: [0x11; 32] })),
        ("entry", Frame::Entry(log[2].clone())),
        ("receipt", Frame::Receipt(held.clone())),
        ("confirm", Frame::Confirm(Confirm { receipt: opened.id() })),
        ("card", Frame::Card(document("card-party"))),
        ("want", Frame::Want(want)),
        ("line_test_question", Frame::LineTest(test.sign(&key("washington node 1")))),
        ("line_test_answer", Frame::LineTest(answer.sign(&key("tehran node 1")))),
        ("close_rekeyed", Frame::Close(CloseReason::Rekeyed)),
        ("close_stopping", Frame::Close(CloseReason::Stopping)),
        ("close_misbehaved", Frame::Close(CloseReason::Misbehaved)),
        ("close_not_admitted", Frame::Close(CloseReason::NotAdmitted)),
        ("close_busy", Frame::Close(CloseReason::Busy)),
        ("prekey_held", Frame::PrekeyHeld(PrekeyHeld { card: CardSerial(1), number: PrekeyNumber(4) })),
    ];
    Vector { channel, log, heads, held, opened, frames }
}

fn render(vector: &Vector) -> String {
    let mut out = String::from(
        "# Entries, receipts and frames (docs/protocol.md §6 and §8). All values are hexadecimal.\n\
         # The log is washington's; its texts and the signatures on them are those of documents/: card-party, officer, dispatch-statement.\n\
         # The nodes' seeds are the SHA-256 of `demarche vector: washington node 1` and `… tehran node 1`.\n",
    );
    let mut line = |key: &str, value: &[u8]| writeln!(out, "{key} = \"{}\"", hex(value)).unwrap();
    line("channel", vector.channel.as_bytes());
    line("tehran_node", key("tehran node 1").public().as_bytes());
    for (number, (item, head)) in (1..).zip(vector.log.iter().zip(&vector.heads)) {
        line(&format!("entry_{number}"), item.entry.bytes());
        line(&format!("entry_{number}_name"), head.hash.as_bytes());
        let demarche_protocol::identity::keys::Signature::Ed25519(signature) = item.entry.signature();
        line(&format!("entry_{number}_signature"), &signature);
    }
    for (name, receipt) in [("held", &vector.held), ("opened", &vector.opened)] {
        line(&format!("receipt_{name}"), receipt.bytes());
        line(&format!("receipt_{name}_name"), &receipt.id().0);
        let demarche_protocol::identity::keys::Signature::Ed25519(signature) = receipt.signature();
        line(&format!("receipt_{name}_signature"), &signature);
    }
    for (name, frame) in &vector.frames {
        line(&format!("frame_{name}"), &frame.encode());
    }
    out
}

#[test]
fn the_published_vector_holds() {
    let path = vectors().join("replication.toml");
    let computed = render(&vector());
    if std::env::var_os("DEMARCHE_BLESS").is_some() {
        fs::write(&path, &computed).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert!(published == computed, "{} differs from what is worked out now", path.display());
}

/// What the vector shows is taken, and judged as §6.5 says.
#[test]
fn the_vectors_log_is_authentic_chained_and_accepted() {
    let vector = vector();
    let charter = Charter::verify(&document("charter")).unwrap();
    let mut transcript = Transcript::new(charter);
    for (item, head) in vector.log.iter().zip(&vector.heads) {
        let node = key("washington node 1").public();
        transcript.insert(&item.clone().claims(vector.channel).unwrap().authenticate([&node]).unwrap());
        assert!(transcript.get(&head.hash).unwrap().is_chained());
        assert_eq!(transcript.get(&head.hash).unwrap().effect, Effect::Accepted);
    }
    for receipt in [&vector.held, &vector.opened] {
        let receipt = receipt.verify(vector.channel, &key("tehran node 1").public()).unwrap();
        assert_eq!(receipt.of, vector.heads[2]);
    }
}

#[test]
fn every_frame_is_read_back_and_no_shorter_or_longer_one_is() {
    for (name, frame) in vector().frames {
        let bytes = frame.encode();
        assert_eq!(Frame::decode(&bytes), Ok(frame), "{name}");
        for length in 0..bytes.len() {
            assert!(Frame::decode(&bytes[..length]).is_err(), "{name}, {length} bytes");
        }
        assert!(Frame::decode(&[&bytes[..], &[0]].concat()).is_err(), "{name} and one byte more");
    }
    assert_eq!(Frame::decode(&[99, 0]), Err(FrameError::UnknownKind(99)));
}

#[test]
fn the_published_limits_are_those_of_the_code() {
    assert_eq!((Entry::LIMIT, Receipt::LIMIT, SignedReceipt::LIMIT), (8192, 1024, 1152));
    assert_eq!((Item::LIMIT, Hello::LIMIT, SignedDocument::LIMIT), (65_519, 65_519, 65_519));
    assert_eq!((Want::LIMIT, Confirm::LIMIT, LineTest::LIMIT), (128, 32, 256));
    assert_eq!((demarche_protocol::channel::SignedLineTest::LIMIT, CloseReason::LIMIT), (512, 1));
    assert_eq!(PrekeyHeld::LIMIT, 18);
}
