//! The envelope (docs/protocol.md §11): what is sealed opens, for its recipient alone, unchanged; and the published vector.
//! `DEMARCHE_BLESS=1` writes that anew.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use demarche_protocol::{
    channel::{CloseReason, Frame, FrameError},
    codec::{self, Wire as _},
    envelope::{Envelope, FillError, OpenError, Recipient, SealError},
    hash::{ChannelId, hex, sha256},
    identity::{
        card::{Card, CardSerial, Prekey},
        keys::SecretKey,
        member::MemberId,
        prekey::PrekeySecret,
        signed_prekey::{PrekeyError, PrekeyNumber, SignedPrekey},
    },
    limits,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

fn vectors() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// A published frame (docs/protocol.md §8.8).
fn frame(name: &str) -> Frame {
    let all = fs::read_to_string(vectors().join("replication.toml")).unwrap();
    let line = all.lines().find_map(|line| line.strip_prefix(&format!("frame_{name} = \""))).unwrap();
    Frame::decode(&unhex(line.trim_end_matches('"'))).unwrap()
}

fn travelling() -> Vec<Frame> {
    ["entry", "receipt", "card"].map(frame).to_vec()
}

fn key(name: &str) -> SecretKey {
    SecretKey::from_seed(&sha256(format!("demarche vector: {name}").as_bytes()))
}

fn secret(name: &str) -> PrekeySecret {
    let part = |what: &str| sha256(format!("{name} {what}").as_bytes());
    PrekeySecret::from_bytes(&part("x25519"), &[part("d"), part("z")].concat().try_into().unwrap())
}

/// To whom everything here is sealed.
struct Absent {
    member: MemberId,
    channel: ChannelId,
    secret: PrekeySecret,
    prekey: Prekey,
}

impl Absent {
    fn new() -> Self {
        let secret = secret("tehran");
        let (member, channel) = ("tehran".parse().unwrap(), ChannelId::of(b"charter"));
        Self { member, channel, prekey: secret.public(), secret }
    }

    fn to(&self) -> Recipient<'_> {
        Recipient {
            channel: self.channel,
            member: &self.member,
            card: CardSerial(1),
            number: PrekeyNumber::OF_CARD,
            prekey: &self.prekey,
        }
    }

    fn seal(&self, frames: &[Frame]) -> Envelope {
        Envelope::seal(&self.to(), frames, &mut ChaCha20Rng::seed_from_u64(7)).unwrap().0
    }
}

fn opened(envelope: &Envelope, secret: &PrekeySecret) -> Result<Vec<Frame>, OpenError> {
    Ok(envelope.open(secret)?.into_iter().map(Result::unwrap).collect())
}

#[test]
fn what_is_sealed_opens_for_its_recipient_alone() {
    let absent = Absent::new();
    let envelope = absent.seal(&travelling());
    assert_eq!(opened(&envelope, &absent.secret).unwrap(), travelling());
    assert_eq!(opened(&absent.seal(&[]), &absent.secret).unwrap(), []);
    assert_eq!(envelope.open(&secret("somebody")), Err(OpenError::NotAuthentic));
    let read: Envelope = codec::decode(&codec::encode(&envelope)).unwrap();
    assert_eq!((read.hash(), &read), (envelope.hash(), &envelope));
    assert_eq!((read.channel(), read.to()), (absent.channel, &absent.member));
    assert_eq!(read.prekey(), (CardSerial(1), PrekeyNumber::OF_CARD));
}

/// M10: whatever bit is turned, inside or outside, nothing opens.
#[test]
fn m10_no_changed_envelope_opens() {
    let absent = Absent::new();
    let bytes = codec::encode(&absent.seal(&[frame("receipt")]));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let Ok(envelope) = codec::decode::<Envelope>(&changed) else { continue };
        assert!(envelope.open(&absent.secret).is_err(), "byte {at}");
    }
}

/// M7: cut anywhere, also between two of its messages, nothing of it opens.
#[test]
fn m7_a_cut_envelope_gives_nothing() {
    let absent = Absent::new();
    let long: Vec<Frame> = std::iter::repeat_n(frame("card"), 40).collect();
    let envelope = absent.seal(&long);
    assert_eq!(opened(&envelope, &absent.secret).unwrap(), long);
    let bytes = codec::encode(&envelope);
    assert!(bytes.len() > 2 * limits::NOISE_MESSAGE, "it is sealed in several messages");
    // The sealed bytes come last, after their length: `fc` and a u32, when they are that many.
    let is_length = |at: &usize| {
        let announced = |at| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        bytes[*at] == 0xfc && announced(at + 1).is_some_and(|long| long as usize + at + 5 == bytes.len())
    };
    let at = (0..bytes.len()).find(is_length);
    let at = at.expect("the length");
    let whole = bytes.len() - at - 5;
    let handshake = 48;
    for length in [0, 47, handshake, handshake + limits::NOISE_MESSAGE, whole - 1]
        .into_iter()
        .chain((0..whole).step_by(997))
    {
        let cut = [&bytes[..at], &list(&bytes[at + 5..at + 5 + length])].concat();
        let cut: Envelope = codec::decode(&cut).unwrap();
        assert!(cut.open(&absent.secret).is_err(), "cut at {length}");
    }
}

/// A list of bytes as the codec writes it (docs/protocol.md §1.2).
fn list(bytes: &[u8]) -> Vec<u8> {
    let length = match bytes.len() {
        short @ 0..=250 => vec![u8::try_from(short).unwrap()],
        middle @ 251..=0xffff => [vec![0xfb], u16::try_from(middle).unwrap().to_le_bytes().to_vec()].concat(),
        long => [vec![0xfc], u32::try_from(long).unwrap().to_le_bytes().to_vec()].concat(),
    };
    [&length, bytes].concat()
}

/// K4: a prekey that is stolen opens nothing that was sealed to another, and an earlier one that was erased opens nothing any more.
#[test]
fn k4_each_prekey_opens_its_own_alone() {
    let absent = Absent::new();
    let later = secret("tehran, later");
    let prekey = later.public();
    let to = Recipient { number: PrekeyNumber(1), prekey: &prekey, ..absent.to() };
    let envelope = Envelope::seal(&to, &travelling(), &mut ChaCha20Rng::seed_from_u64(7)).unwrap().0;
    assert_eq!(opened(&envelope, &later).unwrap(), travelling());
    assert_eq!(envelope.open(&absent.secret), Err(OpenError::NotAuthentic));
    assert_eq!(absent.seal(&travelling()).open(&later), Err(OpenError::NotAuthentic));
}

/// M20: texts of one class of length make envelopes of one length.
#[test]
fn m20_sizes_tell_the_class_alone() {
    let absent = Absent::new();
    let length = |frames: &[Frame]| codec::encode(&absent.seal(frames)).len();
    let short = length(&[]);
    assert_eq!(length(&[frame("receipt")]), short);
    assert_eq!(length(&[frame("entry"), frame("receipt")]), short);
    let lengths: std::collections::BTreeSet<_> =
        (0..60).map(|count| length(&vec![frame("card"); count])).collect();
    // 2, 4, 8 … 256 KiB.
    assert_eq!(lengths.len(), 8, "{lengths:?}");
}

/// Sealed twice, nothing is the same: who sees both does not know that they hold the same.
#[test]
fn nothing_is_used_twice() {
    let absent = Absent::new();
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let [one, other] = [(), ()].map(|()| Envelope::seal(&absent.to(), &travelling(), &mut rng).unwrap().0);
    assert_ne!(one.content(), other.content());
    assert_ne!(one.hash(), other.hash());
}

#[test]
fn what_only_a_session_vouches_for_is_not_sealed() {
    let absent = Absent::new();
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    for (name, kind) in [("hello", 0), ("confirm", 3), ("want", 5), ("line_test_question", 6)] {
        let refused = Envelope::seal(&absent.to(), &[frame(name)], &mut rng).unwrap_err();
        assert_eq!(refused, SealError::Fill(FillError::Kind(kind)));
    }
    let close = Frame::Close(CloseReason::Busy);
    assert!(matches!(
        Envelope::seal(&absent.to(), &[close], &mut rng),
        Err(SealError::Fill(FillError::Kind(7)))
    ));
    let too_many = vec![frame("card"); limits::ENVELOPE_CONTENTS / frame("card").encode().len() + 1];
    assert!(matches!(
        Envelope::seal(&absent.to(), &too_many, &mut rng),
        Err(SealError::Fill(FillError::TooLong(_)))
    ));
    assert!(Envelope::LIMIT >= codec::encode(&absent.seal(&too_many[1..])).len());
}

/// K7: no envelope is sealed to a key that would make the secret known to all.
#[test]
fn k7_a_prekey_of_low_order_or_not_reduced_is_refused() {
    let absent = Absent::new();
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let low = Prekey { x25519: [0; 32], ..absent.prekey.clone() };
    let unreduced = Prekey { ml_kem: Box::new([0xff; 1184]), ..absent.prekey.clone() };
    for prekey in [low, unreduced] {
        let to = Recipient { prekey: &prekey, ..absent.to() };
        assert_eq!(Envelope::seal(&to, &travelling(), &mut rng).unwrap_err(), SealError::BadPrekey);
    }
}

fn card() -> Card {
    let text = fs::read_to_string(vectors().join("documents/card-party.toml")).unwrap();
    Card::parse(&text).unwrap()
}

/// K10, K4: a numbered prekey is its own node's statement, under its own card, and nothing else is one.
#[test]
fn k10_a_prekey_is_published_by_its_node_alone() {
    let card = card();
    let node = key("washington node 1");
    assert_eq!(card.node, node.public());
    let prekey = secret("later").public();
    let publish = |card: &Card, number, node: &SecretKey| {
        SignedPrekey::publish(card, PrekeyNumber(number), &prekey, node)
    };
    assert_eq!(publish(&card, 3, &node).verify(&card).unwrap(), (PrekeyNumber(3), prekey.clone()));
    let read = codec::decode::<SignedPrekey>(&codec::encode(&publish(&card, 3, &node))).unwrap();
    assert_eq!(read.verify(&card).unwrap().0, PrekeyNumber(3));
    assert_eq!(publish(&card, 0, &node).verify(&card).unwrap_err(), PrekeyError::OfCard);
    assert!(matches!(publish(&card, 1, &key("x")).verify(&card).unwrap_err(), PrekeyError::Signature(_)));
    let renewed = Card { serial: CardSerial(2), ..card.clone() };
    assert!(matches!(publish(&renewed, 1, &node).verify(&card).unwrap_err(), PrekeyError::Elsewhere(..)));
}

/// The vector, worked out anew.
fn render() -> String {
    let absent = Absent::new();
    let mut rng = ChaCha20Rng::seed_from_u64(20_261_123);
    let frames = travelling();
    let envelope = Envelope::seal(&absent.to(), &frames, &mut rng).unwrap().0;
    let later = SignedPrekey::publish(
        &card(),
        PrekeyNumber(1),
        &secret("washington, later").public(),
        &key("washington node 1"),
    );
    let mut out = String::from(
        "# An envelope and a numbered prekey (docs/protocol.md, section 11). All values are hexadecimal.\n\
         # The frames are those of replication.toml: entry, receipt, card.\n",
    );
    let mut line = |key: &str, value: &[u8]| writeln!(out, "{key} = \"{}\"", hex(value)).unwrap();
    line("prekey_x25519_secret", absent.secret.x25519().as_slice());
    line("prekey_ml_kem_seed", absent.secret.ml_kem_seed().as_slice());
    line("prekey_x25519_public", &absent.prekey.x25519);
    line("prekey_ml_kem_public", absent.prekey.ml_kem.as_slice());
    line("channel", absent.channel.as_bytes());
    line("content", envelope.content().as_bytes());
    line("envelope", &codec::encode(&envelope));
    line("envelope_name", envelope.hash().as_bytes());
    line("numbered_prekey", &codec::encode(&later));
    out
}

#[test]
fn the_published_vector_holds() {
    let path = vectors().join("envelope.toml");
    let computed = render();
    if std::env::var_os("DEMARCHE_BLESS").is_some() {
        fs::write(&path, &computed).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert!(published == computed, "{} differs; DEMARCHE_BLESS=1 writes it anew", path.display());
    let values: BTreeMap<&str, Vec<u8>> = published
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, value)| (key, unhex(value.trim_matches('"'))))
        .collect();
    let secret = PrekeySecret::from_bytes(
        values["prekey_x25519_secret"].as_slice().try_into().unwrap(),
        values["prekey_ml_kem_seed"].as_slice().try_into().unwrap(),
    );
    let envelope: Envelope = codec::decode(&values["envelope"]).unwrap();
    let frames: Vec<Result<Frame, FrameError>> = envelope.open(&secret).unwrap();
    assert_eq!(frames, travelling().into_iter().map(Ok).collect::<Vec<_>>());
}
