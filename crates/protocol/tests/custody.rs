//! Statements and messages of custody (docs/protocol.md §12): the published vector, and that nothing else is one.
//! `DEMARCHE_BLESS=1` writes the vector anew.

use std::{fmt::Write as _, fs, path::Path};

use demarche_protocol::{
    codec::{self, CodecError},
    custody::{
        MessageError, NotKept, SignedStatement, Stated, Statement, StatementError, ToCapital, ToMediator,
        message::{Keeps, Named, Published, Refused},
    },
    hash::{ChannelId, ContentHash, EnvelopeHash, hex, sha256},
    identity::{
        card::{Card, CardSerial},
        keys::SecretKey,
        member::MemberId,
        prekey::PrekeySecret,
        signed_prekey::{PrekeyNumber, SignedPrekey},
    },
    time::Timestamp,
};

const AT: Timestamp = Timestamp::from_millis(1_795_420_800_000);

fn key(name: &str) -> SecretKey {
    SecretKey::from_seed(&sha256(format!("demarche vector: {name}").as_bytes()))
}

fn id(name: &str) -> MemberId {
    name.parse().unwrap()
}

fn channel() -> ChannelId {
    ChannelId::of(b"charter")
}

fn envelope() -> EnvelopeHash {
    EnvelopeHash::of(b"envelope")
}

fn vectors() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// The numbered prekey that envelope.toml publishes.
fn prekey() -> SignedPrekey {
    let all = fs::read_to_string(vectors().join("envelope.toml")).unwrap();
    let line = all.lines().find_map(|line| line.strip_prefix("numbered_prekey = \"")).unwrap();
    codec::decode(&unhex(line.trim_end_matches('"'))).unwrap()
}

fn signed(by: &str, says: Stated) -> SignedStatement {
    Statement::new(channel(), envelope(), (id(by), CardSerial(1)), AT, says)
        .sign(&key(&format!("{by} node 1")))
}

fn statements() -> [(&'static str, &'static str, SignedStatement); 4] {
    let (from, to) = (id("washington"), id("tehran"));
    let content = ContentHash::from_bytes(sha256(b"content"));
    let until = AT.plus(std::time::Duration::from_secs(30 * 86_400));
    let kept = Stated::Kept { from: from.clone(), to: to.clone(), content, until };
    let expired = Stated::Expired { from, to, since: AT };
    [
        ("kept", "muscat", signed("muscat", kept)),
        ("collected", "tehran", signed("tehran", Stated::Collected { all: true })),
        ("unopenable", "tehran", signed("tehran", Stated::Unopenable { newest: None })),
        ("expired", "muscat", signed("muscat", expired)),
    ]
}

fn to_mediator() -> Vec<(&'static str, ToMediator)> {
    let [_, (_, _, collected), ..] = statements();
    vec![
        ("ended", ToMediator::Ended(collected)),
        ("noted", ToMediator::Noted(Named { channel: channel(), envelope: envelope() })),
        ("next", ToMediator::Next(channel())),
        ("ends", ToMediator::Ends(channel())),
        ("prekey", ToMediator::Prekey(Published { channel: channel(), prekey: prekey() })),
    ]
}

fn to_capital() -> Vec<(&'static str, ToCapital)> {
    let [(_, _, kept), .., (_, _, expired)] = statements();
    let named = Named { channel: channel(), envelope: envelope() };
    let full = NotKept::Full { used: 200_000_000, quota: 268_435_456 };
    vec![
        ("kept", ToCapital::Kept(Keeps { statement: kept, used: 3_402 })),
        ("refused", ToCapital::Refused(Refused { named, why: full })),
        ("ended", ToCapital::Ended(expired)),
        ("prekey", ToCapital::Prekey(Published { channel: channel(), prekey: prekey() })),
    ]
}

fn render() -> String {
    let mut out = String::from(
        "# Statements and messages of custody (docs/protocol.md, section 12). All values are hexadecimal.\n\
         # Messages without their length. The prekey is that of envelope.toml.\n",
    );
    let mut line = |key: &str, value: &[u8]| writeln!(out, "{key} = \"{}\"", hex(value)).unwrap();
    for node in ["muscat", "tehran"] {
        line(&format!("{node}_node"), key(&format!("{node} node 1")).public().as_bytes());
    }
    line("channel", channel().as_bytes());
    line("envelope_name", envelope().as_bytes());
    for (name, _, statement) in statements() {
        line(&format!("statement_{name}"), &codec::encode(&statement));
    }
    for (name, message) in to_mediator() {
        line(&format!("to_mediator_{name}"), &message.encode());
    }
    for (name, message) in to_capital() {
        line(&format!("to_capital_{name}"), &message.encode());
    }
    out
}

#[test]
fn the_published_vector_holds() {
    let path = vectors().join("custody.toml");
    let computed = render();
    if std::env::var_os("DEMARCHE_BLESS").is_some() {
        fs::write(&path, &computed).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert!(published == computed, "{} differs; DEMARCHE_BLESS=1 writes it anew", path.display());
    for (_, message) in to_mediator() {
        assert_eq!(ToMediator::decode(&message.encode()).unwrap(), message);
        assert_eq!(message.channel(), Ok(channel()));
    }
    for (_, message) in to_capital() {
        assert_eq!(ToCapital::decode(&message.encode()).unwrap(), message);
        assert_eq!(message.channel(), Ok(channel()));
    }
}

/// K10: what one node states of one envelope in one channel is nobody else's word, and no other word.
#[test]
fn k10_a_statement_is_its_nodes_own_and_says_one_thing() {
    for (name, by, statement) in statements() {
        let node = key(&format!("{by} node 1")).public();
        assert_eq!(statement.verify(channel(), &node).unwrap().by, id(by), "{name}");
        assert!(statement.is_about(envelope()) && !statement.is_about(EnvelopeHash::of(b"another")));
        let other = statement.verify(ChannelId::of(b"another charter"), &node);
        assert_eq!(other.unwrap_err(), StatementError::Channel);
        let stranger = statement.verify(channel(), &key("somebody").public());
        assert!(matches!(stranger.unwrap_err(), StatementError::Signature(_)), "{name}");
        // The same bytes with the signature of another kind of statement.
        for (_, _, of_another) in statements().iter().filter(|(other, ..)| *other != name) {
            let bytes = codec::encode(&statement);
            let length = bytes.len();
            let swapped =
                [&bytes[..length - 64], &codec::encode(of_another)[codec::encode(of_another).len() - 64..]]
                    .concat();
            let swapped: SignedStatement = codec::decode(&swapped).unwrap();
            assert!(swapped.verify(channel(), &node).is_err(), "{name}");
        }
    }
}

/// K11, M7: a message that is cut, has bytes over or is of an unknown kind is refused by name.
#[test]
fn k11_a_message_has_one_form() {
    for (name, message) in to_mediator() {
        let bytes = message.encode();
        for at in 0..bytes.len() {
            assert!(ToMediator::decode(&bytes[..at]).is_err(), "{name} cut at {at}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(ToMediator::decode(&longer), Err(MessageError::Codec(_))), "{name}");
    }
    for (name, message) in to_capital() {
        let bytes = message.encode();
        for at in 0..bytes.len() {
            assert!(ToCapital::decode(&bytes[..at]).is_err(), "{name} cut at {at}");
        }
    }
    assert_eq!(ToMediator::decode(&[99]), Err(MessageError::UnknownKind(99)));
    assert_eq!(ToCapital::decode(&[]), Err(MessageError::Empty));
    let announced = [&[0, 1][..], &vec![0; 600_000]].concat();
    assert!(matches!(ToMediator::decode(&announced), Err(MessageError::Codec(CodecError::TooLong { .. }))));
}

/// The prekey in *unopenable* travels inside the statement and is verified by itself.
#[test]
fn unopenable_brings_the_newest_prekey() {
    let card = Card::parse(&card_text()).unwrap();
    let secret = PrekeySecret::from_bytes(&[1; 32], &[2; 64]);
    let node = key("washington node 1");
    let newest = SignedPrekey::publish(&card, PrekeyNumber(4), &secret.public(), &node);
    let statement = signed("tehran", Stated::Unopenable { newest: Some(newest) });
    let read: SignedStatement = codec::decode(&codec::encode(&statement)).unwrap();
    let said = read.verify(channel(), &key("tehran node 1").public()).unwrap();
    let Stated::Unopenable { newest: Some(newest) } = said.says else { panic!("{:?}", said.says) };
    assert_eq!(newest.verify(&card).unwrap().0, PrekeyNumber(4));
}

fn card_text() -> String {
    fs::read_to_string(vectors().join("documents/card-party.toml")).unwrap()
}
