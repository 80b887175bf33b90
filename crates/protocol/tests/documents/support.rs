//! One document of every type, from fixed keys: what the vectors publish and the other tests bend.

use std::collections::BTreeMap;

use demarche_protocol::{
    charter::{Charter, Member, Policy, Provision, policy::Span},
    dispatch::{
        Acknowledgement, Breach, Confidence, Content, Dispatch, Means, Nature, Occurred, Position,
        Precedence, Reply, ReplyBy, Statement,
    },
    document::{DocumentType, SignedDocument},
    hash::{ChannelId, DocumentId, sha256},
    identity::{
        Verified,
        card::{Address, Card, CardSerial, Role},
        keys::SecretKey,
        member::MemberId,
        officer::{Duty, Officer},
        prekey::PrekeySecret,
        revocation::{Revocation, Revoked},
        roots::{RootList, Roots},
        roster::Roster,
        suspension::Suspension,
    },
    labels::Namespace,
    session::SessionSecret,
    time::Timestamp,
};

/// The seed of whatever the vectors call `name`: SHA-256 of a fixed text.
pub(crate) fn seed(name: &str) -> [u8; 32] {
    sha256(format!("demarche vector: {name}").as_bytes())
}

pub(crate) fn key(name: &str) -> SecretKey {
    SecretKey::from_seed(&seed(name))
}

pub(crate) fn id(text: &str) -> MemberId {
    text.parse().unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Washington needs two of three, the others their one.
pub(crate) fn roots(member: &str) -> RootList {
    let names: &[&str] = if member == "washington" { &["root a", "root b", "root c"] } else { &["root"] };
    let keys = names.iter().map(|name| key(&format!("{member} {name}")).public()).collect();
    RootList::new(keys, names.len().div_ceil(2)).unwrap()
}

/// The root keys that sign for a member.
pub(crate) fn signing_roots(member: &str) -> Vec<SecretKey> {
    match member {
        "washington" => vec![key("washington root a"), key("washington root b")],
        other => vec![key(&format!("{other} root"))],
    }
}

pub(crate) fn sign(text: String, kind: DocumentType, keys: &[SecretKey]) -> SignedDocument {
    let unsigned = SignedDocument::unsigned(text);
    keys.iter().fold(unsigned, |document, key| document.signed_by(kind.namespace(), key))
}

pub(crate) fn sign_with_roots(text: String, kind: DocumentType, member: &str) -> SignedDocument {
    sign(text, kind, &signing_roots(member))
}

fn member(name: &str, full: &str, fallback: &[&str]) -> Member {
    Member {
        id: id(name),
        name: full.to_owned(),
        roots: roots(name),
        fallback: fallback.iter().map(|&say| say.to_owned()).collect(),
    }
}

pub(crate) fn charter() -> Charter {
    let title = |en: &str, fa: &str| BTreeMap::from([("en".into(), en.into()), ("fa".into(), fa.into())]);
    let mut policy = Policy::default();
    policy.precedences[0].signatures = 2;
    policy.test_every = "30m".parse().unwrap();
    Charter {
        title: "Memorandum of Understanding on the Strait".to_owned(),
        drafted_at: at("2026-11-23T08:00:00Z"),
        parties: vec![
            member(
                "washington",
                "United States",
                &["State Department Operations Center, +00 00 0001", "Desk \"Iran\""],
            ),
            // A name with a zero-width non-joiner would be as good: see the provision's title.
            member("tehran", "Islamic Republic of Iran", &["Foreign ministry watch desk, +00 00 0002"]),
        ],
        mediators: vec![member("muscat", "Sultanate of Oman", &[])],
        provisions: vec![
            Provision {
                code: "3.2".to_owned(),
                title: title("Freedom of navigation", "آزادی کشتی\u{200C}رانی"),
                precedence: Some(Precedence::Flash),
            },
            Provision {
                code: "4".to_owned(),
                title: BTreeMap::from([("en".into(), "Notice of exercises".into())]),
                precedence: None,
            },
        ],
        policy,
    }
}

/// The charter with everybody's signature.
pub(crate) fn signed_charter() -> SignedDocument {
    let keys: Vec<SecretKey> =
        ["washington", "tehran", "muscat"].into_iter().flat_map(signing_roots).collect();
    sign(charter().render(), DocumentType::Charter, &keys)
}

pub(crate) fn verified_charter() -> Verified<Charter> {
    Charter::verify(&signed_charter()).unwrap()
}

pub(crate) fn channel() -> ChannelId {
    signed_charter().id().into()
}

pub(crate) fn roster() -> Roster {
    Roster::new(&verified_charter())
}

pub(crate) fn node_key(member: &str, serial: u64) -> SecretKey {
    key(&format!("{member} node {serial}"))
}

pub(crate) fn card(member: &str, serial: u64) -> Card {
    let role = if member == "muscat" {
        let addresses = ["relay.example:7701", "192.0.2.1:7701", "[2001:db8::1]:7701"];
        Role::Mediator { addresses: addresses.iter().map(|text| text.parse::<Address>().unwrap()).collect() }
    } else {
        let session = SessionSecret::from_bytes(&seed(&format!("{member} session {serial}")));
        let mut ml_kem = [0; 64];
        ml_kem[..32].copy_from_slice(&seed(&format!("{member} prekey {serial} d")));
        ml_kem[32..].copy_from_slice(&seed(&format!("{member} prekey {serial} z")));
        let x25519 = seed(&format!("{member} prekey {serial} x25519"));
        Role::Party { session: session.public(), prekey: PrekeySecret::from_bytes(&x25519, &ml_kem).public() }
    };
    Card {
        member: id(member),
        name: charter().members().find(|known| known.id == id(member)).unwrap().name.clone(),
        serial: CardSerial(serial),
        node: node_key(member, serial).public(),
        role,
        issued_at: at("2026-11-23T08:10:00Z"),
        expires_at: at("2027-11-23T08:10:00Z"),
        roots: roots(member),
    }
}

/// A card with the signatures of its node and of these roots.
pub(crate) fn sign_card(card: &Card, roots: &[SecretKey]) -> SignedDocument {
    let node = node_key(card.member.as_str(), card.serial.0);
    sign(card.render(), DocumentType::Card, roots).signed_by(Namespace::Card, &node)
}

pub(crate) fn signed_card(member: &str, serial: u64) -> SignedDocument {
    sign_card(&card(member, serial), &signing_roots(member))
}

pub(crate) fn officer() -> Officer {
    Officer {
        party: id("washington"),
        name: "Duty officer, first watch".to_owned(),
        key: key("washington officer").public(),
        duties: vec![Duty::Draft, Duty::Release, Duty::Acknowledge],
        channels: vec![channel()],
        issued_at: at("2026-11-23T08:20:00Z"),
        expires_at: at("2027-11-23T08:20:00Z"),
    }
}

pub(crate) fn suspension() -> Suspension {
    Suspension {
        party: id("washington"),
        key: key("washington officer").public(),
        reason: "has not reported for the watch".to_owned(),
        issued_at: at("2026-11-24T20:00:00Z"),
    }
}

pub(crate) fn revocation(revoked: Revoked) -> Revocation {
    Revocation {
        member: id("washington"),
        revoked,
        reason: "stolen from the rack".to_owned(),
        channels: Vec::new(),
        issued_at: at("2026-11-25T06:00:00Z"),
    }
}

/// Root c of washington gives way to root d.
pub(crate) fn new_roots() -> Roots {
    let keys = ["root a", "root b", "root d"].map(|name| key(&format!("washington {name}")).public());
    Roots {
        member: id("washington"),
        list: RootList::new(keys.to_vec(), 2).unwrap(),
        replaces: channel().into(),
        issued_at: at("2026-11-26T06:00:00Z"),
    }
}

pub(crate) fn dispatch(party: &str, nature: Nature, precedence: Precedence, content: Content) -> Dispatch {
    let written_at = at("2026-11-23T09:40:00.125Z");
    Dispatch { channel: channel(), party: id(party), nature, precedence, written_at, content }
}

pub(crate) fn breach() -> Dispatch {
    let breach = Breach {
        provision: "3.2".to_owned(),
        title: "Warning shots at the tanker \"Aurora\"".to_owned(),
        body: Some(
            "At 09:31 two fast boats fired across the bow.\n\nThe master heard: \"\"\"Stop\"\"\"\tand \\ stopped.\n\
             کشتی متوقف شد.\n"
                .to_owned(),
        ),
        occurred: Some(Occurred {
            from: at("2026-11-23T09:31:00Z"),
            to: Some(at("2026-11-23T09:36:00Z")),
        }),
        place: Some("26°34′N 56°15′E".to_owned()),
        means: Some(Means::Heard),
        confidence: Some(Confidence::Confirmed),
        request: Some("Let her go on".to_owned()),
        reply_by: Some(ReplyBy::Within("6h".parse::<Span>().unwrap())),
    };
    dispatch("washington", Nature::Real, Precedence::Flash, Content::Breach(breach))
}

pub(crate) fn acknowledgement() -> Dispatch {
    let acknowledgement = Acknowledgement { of: document_id(&breach().render()), note: None };
    let content = Content::Acknowledgement(acknowledgement);
    dispatch("tehran", Nature::Real, Precedence::Immediate, content)
}

pub(crate) fn reply() -> Dispatch {
    let case = document_id(&breach().render());
    let body = "Being looked into.\nAn answer follows \"today\"".to_owned();
    let content = Content::Reply(Reply { case, position: Position::Investigating, body });
    dispatch("tehran", Nature::Real, Precedence::Immediate, content)
}

pub(crate) fn statement() -> Dispatch {
    let body = "One line".to_owned();
    let content = Content::Statement(Statement { case: None, title: Some("Test of the line".into()), body });
    dispatch("washington", Nature::Exercise, Precedence::Routine, content)
}

pub(crate) fn document_id(text: &str) -> DocumentId {
    DocumentId::of(text.as_bytes())
}
