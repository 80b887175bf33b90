//! Three parties and a mediator with fixed keys, and handshakes between any two of them.

use std::{collections::BTreeMap, time::Duration};

use demarche_protocol::{
    charter::{Charter, Member, Policy, Provision},
    document::SignedDocument,
    hash::{ChannelId, sha256},
    identity::{
        Verified,
        card::{Card, CardSerial, Prekey, Role},
        keys::SecretKey,
        member::MemberId,
        revocation::{Revocation, Revoked},
        roots::RootList,
        roster::Roster,
    },
    labels::Namespace,
    session::{
        Admission, Answered, Deframer, Established, Expected, HandshakeError, Local, Opener, PREAMBLE_LENGTH,
        Responder, Session, SessionSecret,
    },
    time::{Now, Timestamp},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

/// The moment of everything.
pub(crate) const NOW: Now =
    Now { monotonic: Duration::from_secs(100), wall: Timestamp::from_millis(1_795_000_000_000) };

pub(crate) fn id(text: &str) -> MemberId {
    text.parse().unwrap()
}

pub(crate) fn key(of: &str) -> SecretKey {
    SecretKey::from_seed(&sha256(of.as_bytes()))
}

pub(crate) fn session_secret(of: &str) -> SessionSecret {
    SessionSecret::from_bytes(&sha256(format!("{of} session").as_bytes()))
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn roots(member: &str) -> RootList {
    RootList::new(vec![key(&format!("{member} root")).public()], 1).unwrap()
}

/// The charter of washington, tehran and paris with muscat; `title` tells charters apart.
pub(crate) fn charter(title: &str) -> Verified<Charter> {
    let member =
        |name: &str| Member { id: id(name), name: name.to_owned(), roots: roots(name), fallback: Vec::new() };
    let parties = ["paris", "tehran", "washington"];
    let charter = Charter {
        title: title.to_owned(),
        drafted_at: NOW.wall,
        parties: parties.iter().map(|name| member(name)).collect(),
        mediators: vec![member("muscat")],
        provisions: vec![Provision {
            code: "1".to_owned(),
            title: BTreeMap::from([("en".to_owned(), "All".to_owned())]),
            precedence: None,
        }],
        policy: Policy::default(),
    };
    let signed = parties
        .iter()
        .chain(&["muscat"])
        .fold(SignedDocument::unsigned(charter.render()), |document, name| {
            document.signed_by(Namespace::Charter, &key(&format!("{name} root")))
        });
    Charter::verify(&signed).unwrap()
}

/// A party's card that names the session key of `session_of`.
pub(crate) fn card_document(member: &str, serial: u64, session_of: &str) -> SignedDocument {
    let card = Card {
        member: id(member),
        name: member.to_owned(),
        serial: CardSerial(serial),
        node: key(&format!("{member} node {serial}")).public(),
        role: Role::Party {
            session: session_secret(session_of).public(),
            prekey: Prekey { x25519: [7; 32], ml_kem: Box::new([9; 1184]) },
        },
        issued_at: NOW.wall,
        expires_at: NOW.wall.plus(Duration::from_secs(86_400)),
        roots: roots(member),
    };
    SignedDocument::unsigned(card.render())
        .signed_by(Namespace::Card, &key(&format!("{member} root")))
        .signed_by(Namespace::Card, &key(&format!("{member} node {serial}")))
}

/// The roots' revocation of a card.
pub(crate) fn revocation(card: &Verified<Card>) -> SignedDocument {
    let revocation = Revocation {
        member: card.member.clone(),
        revoked: Revoked::Card { card: card.id(), serial: card.serial },
        reason: "stolen".to_owned(),
        channels: Vec::new(),
        issued_at: NOW.wall,
    };
    SignedDocument::unsigned(revocation.render())
        .signed_by(Namespace::Revocation, &key(&format!("{} root", card.member)))
}

/// One node: everything it brings to a handshake.
pub(crate) struct Node {
    pub(crate) charter: Verified<Charter>,
    pub(crate) channel: ChannelId,
    pub(crate) card: Verified<Card>,
    pub(crate) secret: SessionSecret,
    pub(crate) roster: Roster,
}

impl Node {
    pub(crate) fn new(member: &str) -> Self {
        Self::with_card(member, &card_document(member, 1, member), session_secret(member))
    }

    pub(crate) fn with_card(member: &str, document: &SignedDocument, secret: SessionSecret) -> Self {
        let charter = charter("memorandum");
        let card = Card::verify(document, &id(member), &roots(member)).unwrap();
        let channel = ChannelId::from(charter.id());
        Self { channel, card, secret, roster: Roster::new(&charter), charter }
    }

    pub(crate) fn local(&self) -> Local<'_> {
        Local { channel: self.channel, charter: &self.charter, card: &self.card, secret: &self.secret }
    }

    /// Message 1 without preamble and length, and the state.
    pub(crate) fn open(&self, seed: u64) -> (Opener, Vec<u8>) {
        let (opener, bytes) = Opener::start(&self.local(), &mut rng(seed)).unwrap();
        (opener, bytes[PREAMBLE_LENGTH + 2..].to_vec())
    }

    /// Answers message 1 with message 2, without its length.
    pub(crate) fn answer(&self, seed: u64, message: &[u8]) -> Result<(Answered, Vec<u8>), HandshakeError> {
        let responder = Responder::new(&self.local(), &mut rng(seed))?;
        let (answered, bytes) = responder.read_message1(message)?;
        Ok((answered, bytes[2..].to_vec()))
    }

    /// Takes message 2 and gives message 3, without its length.
    pub(crate) fn conclude(
        &mut self,
        opener: Opener,
        message: &[u8],
    ) -> Result<(Established, Vec<u8>), HandshakeError> {
        self.conclude_expecting(opener, message, Expected::default())
    }

    pub(crate) fn conclude_expecting(
        &mut self,
        opener: Opener,
        message: &[u8],
        expected: Expected,
    ) -> Result<(Established, Vec<u8>), HandshakeError> {
        let mut admission = Admission { roster: &mut self.roster, expected };
        let (established, bytes) = opener.read_message2(message, &mut admission)?;
        Ok((established, bytes[2..].to_vec()))
    }

    /// Takes message 3.
    pub(crate) fn accept(
        &mut self,
        answered: Answered,
        message: &[u8],
    ) -> Result<Established, HandshakeError> {
        let mut admission = Admission { roster: &mut self.roster, expected: Expected::default() };
        answered.read_message3(message, &mut admission)
    }
}

/// What passed over the wire in one handshake, without lengths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recording {
    pub(crate) messages: [Vec<u8>; 3],
}

/// A whole handshake. The seeds are those of the two sides' generators.
pub(crate) fn handshake(
    opener: &mut Node,
    responder: &mut Node,
    seeds: [u64; 2],
) -> Result<(Established, Established, Recording), HandshakeError> {
    let (opening, one) = opener.open(seeds[0]);
    let (answered, two) = responder.answer(seeds[1], &one)?;
    let (ours, three) = opener.conclude(opening, &two)?;
    let theirs = responder.accept(answered, &three)?;
    Ok((ours, theirs, Recording { messages: [one, two, three] }))
}

/// Two established sessions between washington (who opened) and tehran.
pub(crate) fn sessions(seed: u64) -> (Session, Session) {
    let (mut washington, mut tehran) = (Node::new("washington"), Node::new("tehran"));
    let (ours, theirs, _) = handshake(&mut washington, &mut tehran, [seed, seed + 1]).unwrap();
    (ours.session, theirs.session)
}

/// Seals, and strips the length.
pub(crate) fn seal(session: &mut Session, frame: &[u8]) -> Vec<u8> {
    let bytes = session.seal(frame).unwrap();
    let mut deframer = Deframer::new();
    assert!(deframer.push(&bytes).is_empty());
    deframer.message(usize::MAX).unwrap().unwrap()
}
