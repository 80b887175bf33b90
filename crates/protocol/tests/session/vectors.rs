//! The published vector of a live session (`docs/protocol.md` §7.7): every byte of a stream from fixed secrets.

use std::{convert::Infallible, fmt::Write as _, fs, path::Path};

use demarche_protocol::{
    codec,
    hash::{ChannelId, hex, sha256},
    labels,
    session::{Admission, Expected, Introduction, Local, Opener, PREAMBLE_LENGTH, Responder},
};
use rand_core::{TryCryptoRng, TryRng};

use crate::support::Node;

/// Gives out these bytes and no more.
struct Fixed(Vec<u8>);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(to.len());
        to.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

/// Three values of 32 bytes that belong to a side: its ephemeral secret and what ML-KEM draws.
fn drawn(side: &str) -> [[u8; 32]; 3] {
    ["ephemeral", "d", "z"].map(|what| sha256(format!("{side} {what}").as_bytes()))
}

/// The vector, worked out anew.
fn render() -> String {
    let (mut washington, mut tehran) = (Node::new("washington"), Node::new("tehran"));
    let (ours, theirs) = (drawn("opener"), drawn("responder"));
    let local = |node: &Node| codec::encode(&introduction(&node.local()));
    let introductions = [local(&washington), local(&tehran)];
    let expected = Expected::default;

    let (opener, first) = Opener::start(&washington.local(), &mut Fixed(ours.concat())).unwrap();
    let responder = Responder::new(&tehran.local(), &mut Fixed(theirs.concat())).unwrap();
    let (answered, second) = responder.read_message1(&first[PREAMBLE_LENGTH + 2..]).unwrap();
    let mut admission = Admission { roster: &mut washington.roster, expected: expected() };
    let (mut established, third) = opener.read_message2(&second[2..], &mut admission).unwrap();
    let mut admission = Admission { roster: &mut tehran.roster, expected: expected() };
    let mut accepted = answered.read_message3(&third[2..], &mut admission).unwrap();

    let mut out =
        String::from("# A live session (docs/protocol.md, section 7). All values are hexadecimal.\n");
    let mut line = |key: &str, value: &[u8]| writeln!(out, "{key} = \"{}\"", hex(value)).unwrap();
    line("noise_name", labels::LIVE_NOISE.as_bytes());
    line("channel", washington.channel.as_bytes());
    line("opener_static_secret", washington.secret.to_bytes().as_slice());
    line("opener_static_public", &washington.secret.public().0);
    line("opener_ephemeral_secret", &ours[0]);
    line("opener_ml_kem_d", &ours[1]);
    line("opener_ml_kem_z", &ours[2]);
    line("opener_introduction", &introductions[0]);
    line("responder_static_secret", tehran.secret.to_bytes().as_slice());
    line("responder_static_public", &tehran.secret.public().0);
    line("responder_ephemeral_secret", &theirs[0]);
    line("responder_ml_kem_m", &theirs[1]);
    line("responder_introduction", &introductions[1]);
    line("stream_1_from_opener", &first);
    line("stream_2_from_responder", &second);
    line("stream_3_from_opener", &third);
    line("handshake_hash", established.session.binding());
    for (number, frame) in [(4, b"first frame".as_slice()), (5, b"")] {
        line(&format!("frame_{number}_from_opener"), frame);
        line(&format!("stream_{number}_from_opener"), &established.session.seal(frame).unwrap());
    }
    for (number, frame) in [(6, b"first answer".as_slice()), (7, &[0x5a; 100])] {
        line(&format!("frame_{number}_from_responder"), frame);
        line(&format!("stream_{number}_from_responder"), &accepted.session.seal(frame).unwrap());
    }
    out
}

fn introduction(local: &Local<'_>) -> Introduction {
    Introduction { card: local.card.document().clone(), charter: local.charter.id() }
}

#[test]
fn the_published_vector_holds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/live-session.toml");
    let published = fs::read_to_string(&path).unwrap_or_default();
    let computed = render();
    if published != computed {
        let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join("live-session.toml");
        fs::write(&found, computed).unwrap();
        panic!("{} differs from {}, as worked out now", path.display(), found.display());
    }
}

#[test]
fn the_published_limits_are_those_of_the_code() {
    assert_eq!((Responder::LIMIT, Opener::LIMIT), (1216, 52_049));
    assert_eq!(demarche_protocol::session::Answered::LIMIT, 50_913);
    assert_eq!(<Introduction as codec::Wire>::LIMIT, 50_849);
    assert_eq!(ChannelId::of(b"").as_bytes().len() + 1, PREAMBLE_LENGTH);
}
