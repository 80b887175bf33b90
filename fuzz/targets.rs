//! Everything that reads bytes from elsewhere, as one function for each kind of bytes. `tests/fuzz.rs` replays the corpus
//! and mangles it; a coverage-guided fuzzer could call the same functions.
//!
//! A target panics when what it promises does not hold: nothing makes a reader panic, what is accepted has one
//! encoding, and what was read is written and read back the same. It names the readers that accepted, so that the corpus is known to
//! reach each of them.

use demarche_control::{
    Problem, SignedFile,
    types::{Case, Event, Header, Installed, LineTest, Sent, Shown, Status},
};
use demarche_protocol::{
    channel::{CloseReason, Confirm, Frame, Hello, Record, SignedLineTest, Want},
    charter::Charter,
    codec::{self, Wire},
    custody::{SignedStatement, ToCapital, ToMediator},
    dispatch::Dispatch,
    document::{DocumentError, DocumentType, Fields, SignedDocument},
    envelope::Envelope,
    hash::{ChannelId, sha256},
    identity::{
        card::Card,
        keys::{KeySignature, PublicKey},
        officer::Officer,
        openssh,
        prekey::PrekeySecret,
        revocation::Revocation,
        roots::Roots,
        signed_prekey::SignedPrekey,
        suspension::Suspension,
    },
    labels::Namespace,
    limits,
    session::{Deframer, Introduction},
    transcript::{Entry, Facts, Item, Receipt, SignedReceipt},
};
use serde::{Serialize, de::DeserializeOwned};

/// What reads one kind of bytes.
pub(crate) struct Target {
    /// The folder of its corpus.
    pub(crate) name: &'static str,
    /// Gives the names of the readers that accepted.
    pub(crate) run: fn(&[u8]) -> Vec<&'static str>,
    /// All its readers.
    pub(crate) readers: &'static [&'static str],
}

/// Frames and records as nodes encode them (threats B1, K11).
pub(crate) const WIRE: Target = Target {
    name: "wire",
    run: wire,
    readers: &[
        "frame of a hello",
        "frame of an entry",
        "frame of a receipt",
        "frame of a confirmation",
        "frame of a card",
        "frame of a want",
        "frame of a line test",
        "frame of a close",
        "frame of a prekey",
        "frame of a prekey held",
        Hello::NAME,
        Want::NAME,
        Confirm::NAME,
        SignedLineTest::NAME,
        CloseReason::NAME,
        Entry::NAME,
        Item::NAME,
        Receipt::NAME,
        SignedReceipt::NAME,
        SignedDocument::NAME,
        Introduction::NAME,
        "record of an entry",
        "record of a receipt",
        "record of the roster",
        "record of a confirmation",
        "record of a deposit",
        "record of its end",
        "record of a prekey",
        SignedPrekey::NAME,
        Envelope::NAME,
        SignedStatement::NAME,
        "message to a mediator",
        "message to a capital",
    ],
};

fn wire(bytes: &[u8]) -> Vec<&'static str> {
    let mut accepted = Vec::new();
    if let Ok(frame) = Frame::decode(bytes) {
        assert_eq!(frame.encode(), bytes, "two encodings of one frame");
        accepted.push(match &frame {
            Frame::Hello(_) => "frame of a hello",
            Frame::Entry(_) => "frame of an entry",
            Frame::Receipt(_) => "frame of a receipt",
            Frame::Confirm(_) => "frame of a confirmation",
            Frame::Card(_) => "frame of a card",
            Frame::Want(_) => "frame of a want",
            Frame::LineTest(_) => "frame of a line test",
            Frame::Close(_) => "frame of a close",
            Frame::Prekey(_) => "frame of a prekey",
            Frame::PrekeyHeld(_) => "frame of a prekey held",
        });
        if let Frame::Entry(item) = frame {
            // What its text says is judged before its signature is.
            let _ = item.claims(ChannelId::of(b"a charter")).map(|claimed| Facts::of(&claimed.document()));
        }
    }
    // The first byte says which. Append only: the corpus names them by their place.
    let readers: [Reader; 17] = [
        one_encoding::<Hello>,
        one_encoding::<Want>,
        one_encoding::<Confirm>,
        one_encoding::<SignedLineTest>,
        one_encoding::<CloseReason>,
        one_encoding::<Entry>,
        one_encoding::<Item>,
        one_encoding::<Receipt>,
        one_encoding::<SignedReceipt>,
        one_encoding::<SignedDocument>,
        one_encoding::<Introduction>,
        record,
        one_encoding::<SignedPrekey>,
        envelope,
        one_encoding::<SignedStatement>,
        to_mediator,
        to_capital,
    ];
    let Some((kind, bytes)) = bytes.split_first() else { return accepted };
    accepted.extend(readers[usize::from(*kind) % readers.len()](bytes));
    accepted
}

/// Gives its name when it accepts.
type Reader = fn(&[u8]) -> Option<&'static str>;

fn one_encoding<T: Wire>(bytes: &[u8]) -> Option<&'static str> {
    let value = codec::decode::<T>(bytes).ok()?;
    assert_eq!(codec::encode(&value), bytes, "two encodings of one {}", T::NAME);
    Some(T::NAME)
}

/// Opened with the key of the published one (docs/protocol.md §11.5): what opens is what was sealed.
fn envelope(bytes: &[u8]) -> Option<&'static str> {
    one_encoding::<Envelope>(bytes)?;
    let part = |what: &str| sha256(format!("tehran {what}").as_bytes());
    let seed = [part("d"), part("z")].concat();
    let secret = PrekeySecret::from_bytes(&part("x25519"), seed.first_chunk()?);
    let frames = codec::decode::<Envelope>(bytes).ok()?.open(&secret).ok()?;
    assert!(frames.iter().all(Result::is_ok), "a changed envelope opens");
    Some(Envelope::NAME)
}

fn to_mediator(bytes: &[u8]) -> Option<&'static str> {
    let message = ToMediator::decode(bytes).ok()?;
    assert_eq!(message.encode(), bytes, "two encodings of one message");
    Some("message to a mediator")
}

fn to_capital(bytes: &[u8]) -> Option<&'static str> {
    let message = ToCapital::decode(bytes).ok()?;
    assert_eq!(message.encode(), bytes, "two encodings of one message");
    Some("message to a capital")
}

fn record(bytes: &[u8]) -> Option<&'static str> {
    one_encoding::<Record>(bytes)?;
    Some(match codec::decode(bytes).ok()? {
        Record::Entry(_) => "record of an entry",
        Record::Receipt(_) => "record of a receipt",
        Record::Roster(_) => "record of the roster",
        Record::Confirmed(_) => "record of a confirmation",
        Record::Deposited(_) => "record of a deposit",
        Record::CustodyEnded(_) => "record of its end",
        Record::Prekey(_) => "record of a prekey",
    })
}

/// Signed texts of every type (threat B2).
pub(crate) const DOCUMENTS: Target = Target {
    name: "documents",
    run: documents,
    readers: &["charter", "roots", "card", "officer", "suspension", "revocation", "dispatch"],
};

fn documents(bytes: &[u8]) -> Vec<&'static str> {
    let Ok(text) = str::from_utf8(bytes) else { return Vec::new() };
    let mut accepted = Vec::new();
    let named = DocumentType::of(text);
    if let Ok((kind, _)) = Fields::of_any(text) {
        assert_eq!(Some(kind), named, "two readers take it for documents of two types");
    }
    for kind in DocumentType::ALL {
        if let Ok(said) = said_again(kind, text) {
            assert_eq!(Some(kind), named);
            assert_eq!(said_again(kind, &said).as_ref(), Ok(&said), "the rendering does not say the same");
            accepted.push(kind.name());
        }
    }
    accepted
}

fn said_again(kind: DocumentType, text: &str) -> Result<String, DocumentError> {
    Ok(match kind {
        DocumentType::Charter => Charter::parse(text)?.render(),
        DocumentType::Roots => Roots::parse(text)?.render(),
        DocumentType::Card => Card::parse(text)?.render(),
        DocumentType::Officer => Officer::parse(text)?.render(),
        DocumentType::Suspension => Suspension::parse(text)?.render(),
        DocumentType::Revocation => Revocation::parse(text)?.render(),
        DocumentType::Dispatch => Dispatch::parse(text)?.render(),
    })
}

/// A stream's bytes (threats B1, M7): the first byte says where they were cut on the way, which changes nothing.
pub(crate) const STREAM: Target = Target { name: "stream", run: stream, readers: &["preamble", "messages"] };

fn stream(bytes: &[u8]) -> Vec<&'static str> {
    let Some((cut, bytes)) = bytes.split_first() else { return Vec::new() };
    let whole = messages(bytes, bytes.len().max(1));
    assert_eq!(messages(bytes, usize::from(*cut) + 1), whole);
    match whole {
        (_, Some(_)) => Vec::new(),
        (none, None) if none.is_empty() => vec!["preamble"],
        (..) => vec!["messages"],
    }
}

fn messages(bytes: &[u8], pieces: usize) -> (Vec<Vec<u8>>, Option<String>) {
    let mut deframer = Deframer::new();
    let (mut opened, mut messages) = (false, Vec::new());
    for piece in bytes.chunks(pieces) {
        let mut rest = piece;
        loop {
            rest = deframer.push(rest);
            if !opened {
                match deframer.preamble() {
                    Ok(preamble) => opened = preamble.is_some(),
                    Err(why) => return (messages, Some(why.to_string())),
                }
            }
            let before = messages.len();
            if opened && let Some(why) = whole_messages(&mut deframer, &mut messages) {
                return (messages, Some(why));
            }
            if rest.is_empty() {
                break;
            }
            assert!(messages.len() > before, "a full buffer gives out nothing");
        }
    }
    (messages, None)
}

/// Takes out what is whole; gives why the stream is refused, if it is.
fn whole_messages(deframer: &mut Deframer, messages: &mut Vec<Vec<u8>>) -> Option<String> {
    loop {
        match deframer.message(limits::NOISE_MESSAGE) {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return None,
            Err(why) => return Some(why.to_string()),
        }
    }
}

/// Keys and signatures as OpenSSH writes them (threats K8, K10).
pub(crate) const OPENSSH: Target =
    Target { name: "openssh", run: openssh_files, readers: &["signature", "public key", "private key"] };

fn openssh_files(bytes: &[u8]) -> Vec<&'static str> {
    let Ok(text) = str::from_utf8(bytes) else { return Vec::new() };
    let mut accepted = Vec::new();
    for namespace in Namespace::ALL {
        if let Ok(signature) = KeySignature::from_armoured(text, namespace) {
            let written = signature.to_armoured(namespace);
            assert_eq!(KeySignature::from_armoured(&written, namespace).as_ref(), Ok(&signature));
            accepted.push("signature");
        }
    }
    assert!(accepted.len() <= 1, "one signature for two namespaces");
    if let Ok(key) = PublicKey::from_openssh(text) {
        assert_eq!(PublicKey::from_openssh(&key.to_openssh()).as_ref(), Ok(&key));
        accepted.push("public key");
    }
    if openssh::read(text, None).is_ok() {
        accepted.push("private key");
    }
    accepted
}

/// What travels between node and tool.
pub(crate) const CONTROL: Target = Target {
    name: "control",
    run: control,
    readers: &[
        "status",
        "header",
        "shown",
        "case",
        "event",
        "sent",
        "installed",
        "line test",
        "problem",
        "signed file",
        "document of a signed file",
    ],
};

fn control(bytes: &[u8]) -> Vec<&'static str> {
    let Ok(text) = str::from_utf8(bytes) else { return Vec::new() };
    let mut accepted = Vec::new();
    if SignedFile::from_json(text).is_ok_and(|file| file.document().is_ok()) {
        accepted.push("document of a signed file");
    }
    let readers = [
        reads_back::<Status>("status", text),
        reads_back::<Header>("header", text),
        reads_back::<Shown>("shown", text),
        reads_back::<Case>("case", text),
        reads_back::<Event>("event", text),
        reads_back::<Sent>("sent", text),
        reads_back::<Installed>("installed", text),
        reads_back::<LineTest>("line test", text),
        reads_back::<Problem>("problem", text),
        reads_back::<SignedFile>("signed file", text),
    ];
    accepted.extend(readers.into_iter().flatten());
    accepted
}

fn reads_back<T: Serialize + DeserializeOwned>(name: &'static str, text: &str) -> Option<&'static str> {
    let value = serde_json::from_str::<T>(text).ok()?;
    let written = serde_json::to_string(&value).expect("it is written");
    assert!(serde_json::from_str::<T>(&written).is_ok(), "written and not read: {written}");
    Some(name)
}
