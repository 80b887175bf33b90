//! Everything that reads bytes from elsewhere, as one function for each kind of bytes. `tests/fuzz.rs` replays the corpus
//! and mangles it; a coverage-guided fuzzer could call the same functions.
//!
//! A target panics when what it promises does not hold: nothing makes a reader panic, what is accepted has one
//! encoding, and what was read is written and read back the same.

use demarche_control::{
    Problem, SignedFile,
    types::{Case, Event, Header, Installed, LineTest, Sent, Shown, Status},
};
use demarche_protocol::{
    channel::{CloseReason, Confirm, Frame, Hello, Record, SignedLineTest, Want},
    charter::Charter,
    codec::{self, Wire},
    dispatch::Dispatch,
    document::{DocumentError, DocumentType, Fields, SignedDocument},
    hash::ChannelId,
    identity::{
        card::Card,
        keys::{KeySignature, PublicKey},
        officer::Officer,
        openssh,
        revocation::Revocation,
        roots::Roots,
        suspension::Suspension,
    },
    labels::Namespace,
    limits,
    session::{Deframer, Introduction},
    transcript::{Entry, Facts, Item, Receipt, SignedReceipt},
};
use serde::{Serialize, de::DeserializeOwned};

/// One kind of bytes. True when a reader accepted them: a corpus that all refuse would show nothing.
pub(crate) type Target = fn(&[u8]) -> bool;

/// Frames and records as nodes encode them (threats B1, K11): by the first byte, which type.
pub(crate) fn wire(bytes: &[u8]) -> bool {
    let mut accepted = false;
    if let Ok(frame) = Frame::decode(bytes) {
        accepted = true;
        assert_eq!(frame.encode(), bytes, "two encodings of one frame");
        if let Frame::Entry(item) = frame {
            // What its text says is judged before its signature is.
            let _ = item.claims(ChannelId::of(b"a charter")).map(|claimed| Facts::of(&claimed.document()));
        }
    }
    let Some((kind, bytes)) = bytes.split_first() else { return accepted };
    let readers: [Target; 12] = [
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
        one_encoding::<Record>,
    ];
    readers[usize::from(*kind) % readers.len()](bytes) || accepted
}

fn one_encoding<T: Wire>(bytes: &[u8]) -> bool {
    let Ok(value) = codec::decode::<T>(bytes) else { return false };
    assert_eq!(codec::encode(&value), bytes, "two encodings of one {}", T::NAME);
    true
}

/// Signed texts of every type (threat B2).
pub(crate) fn documents(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let mut accepted = false;
    let named = DocumentType::of(text);
    if let Ok((kind, _)) = Fields::of_any(text) {
        assert_eq!(Some(kind), named, "two readers take it for documents of two types");
    }
    for kind in DocumentType::ALL {
        if let Ok(said) = said_again(kind, text) {
            assert_eq!(Some(kind), named);
            assert_eq!(said_again(kind, &said).as_ref(), Ok(&said), "the rendering does not say the same");
            accepted = true;
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
pub(crate) fn stream(bytes: &[u8]) -> bool {
    let Some((cut, bytes)) = bytes.split_first() else { return false };
    let whole = messages(bytes, bytes.len().max(1));
    assert_eq!(messages(bytes, usize::from(*cut) + 1), whole);
    whole.1.is_none()
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
pub(crate) fn openssh_files(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let mut fits = 0;
    for namespace in Namespace::ALL {
        if let Ok(signature) = KeySignature::from_armoured(text, namespace) {
            let written = signature.to_armoured(namespace);
            assert_eq!(KeySignature::from_armoured(&written, namespace).as_ref(), Ok(&signature));
            fits += 1;
        }
    }
    assert!(fits <= 1, "one signature for two namespaces");
    let key = PublicKey::from_openssh(text);
    if let Ok(key) = &key {
        assert_eq!(PublicKey::from_openssh(&key.to_openssh()).as_ref(), Ok(key));
    }
    fits == 1 || key.is_ok() || openssh::read(text, None).is_ok()
}

/// What travels between node and tool.
pub(crate) fn control(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    if let Ok(file) = SignedFile::from_json(text) {
        let _ = file.document();
    }
    let readers: [fn(&str) -> bool; 10] = [
        reads_back::<Status>,
        reads_back::<Header>,
        reads_back::<Shown>,
        reads_back::<Case>,
        reads_back::<Event>,
        reads_back::<Sent>,
        reads_back::<Installed>,
        reads_back::<LineTest>,
        reads_back::<Problem>,
        reads_back::<SignedFile>,
    ];
    readers.iter().filter(|reader| reader(text)).count() > 0
}

fn reads_back<T: Serialize + DeserializeOwned>(text: &str) -> bool {
    let Ok(value) = serde_json::from_str::<T>(text) else { return false };
    let written = serde_json::to_string(&value).expect("it is written");
    assert!(serde_json::from_str::<T>(&written).is_ok(), "written and not read: {written}");
    true
}
