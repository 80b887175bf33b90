//! Keys, cards, charters and officers with fixed seeds.

use std::{collections::BTreeMap, sync::LazyLock};

use demarche_protocol::{
    charter::{Charter, Member, Policy, Provision},
    dispatch::{Acknowledgement, Breach, Content, Dispatch, Nature, Position, Precedence, Reply, Statement},
    document::SignedDocument,
    hash::{ChannelId, DocumentId, sha256},
    identity::{
        Verified,
        card::{Card, CardSerial, Prekey, Role},
        keys::{PublicKey, SecretKey},
        member::MemberId,
        officer::{Duty, Officer},
        prekey::PrekeySecret,
        revocation::{Revocation, Revoked},
        roots::RootList,
    },
    labels::Namespace,
    session::SessionSecret,
    time::Timestamp,
};

/// When every fixture was drafted: 2026-11-01T00:00:00Z.
pub const DRAFTED: Timestamp = Timestamp::from_millis(1_793_491_200_000);
/// When every fixture expires.
pub const EXPIRES: Timestamp = Timestamp::from_millis(1_793_491_200_000 + 365 * 86_400_000);

/// The names of the parties, as many as a scene needs.
pub const PARTIES: [&str; 4] = ["washington", "tehran", "paris", "doha"];

/// A key that belongs to `what`.
pub fn key(what: &str) -> SecretKey {
    SecretKey::from_seed(&sha256(what.as_bytes()))
}

/// An id.
///
/// # Panics
/// When the text is none.
pub fn id(text: &str) -> MemberId {
    text.parse().expect("an id")
}

/// The secrets of one node under one card.
#[derive(Clone)]
pub struct NodeKeys {
    /// Its signing key and network identity.
    pub node: SecretKey,
    /// Its static key in sessions.
    pub session: SessionSecret,
}

impl NodeKeys {
    /// Those of `member` under card `serial`.
    pub fn of(member: &str, serial: u64) -> Self {
        Self {
            node: key(&format!("{member} node {serial}")),
            session: SessionSecret::from_bytes(&sha256(format!("{member} session {serial}").as_bytes())),
        }
    }
}

/// The public half of [`prekey`]: deriving it takes milliseconds, and a simulation makes thousands of cards.
static PREKEY: LazyLock<Prekey> = LazyLock::new(|| prekey().public());

/// The first prekey of every party, under every card.
pub fn prekey() -> PrekeySecret {
    PrekeySecret::from_bytes(&[7; 32], &[9; 64])
}

/// A charter with everything that its members need.
pub struct Scene {
    /// The charter, signed by all.
    pub charter: Verified<Charter>,
    /// The parties.
    pub parties: Vec<MemberId>,
    /// The mediator; the first, where there are several.
    pub mediator: MemberId,
    /// All of them.
    pub mediators: Vec<MemberId>,
}

/// The root key of a member.
pub fn root(member: &str) -> SecretKey {
    key(&format!("{member} root"))
}

fn member(name: &str) -> Member {
    Member {
        id: id(name),
        name: format!("The state of {name}"),
        roots: RootList::new(vec![root(name).public()], 1).expect("a list"),
        fallback: vec!["Watch desk, +00 00 0000".to_owned()],
    }
}

/// A card's text, signed by root and node.
pub fn card(member: &str, serial: u64) -> SignedDocument {
    let keys = NodeKeys::of(member, serial);
    let role = Role::Party { session: keys.session.public(), prekey: PREKEY.clone() };
    sign_card(member, serial, role, &keys.node)
}

/// A mediator's card.
pub fn mediator_card(member: &str, serial: u64) -> SignedDocument {
    // Each listens at a place of its own.
    let port = if member == "muscat" { 7701 } else { 7702 };
    let addresses = vec![format!("127.0.0.1:{port}").parse().expect("an address")];
    sign_card(member, serial, Role::Mediator { addresses }, &NodeKeys::of(member, serial).node)
}

fn sign_card(member: &str, serial: u64, role: Role, node: &SecretKey) -> SignedDocument {
    let card = Card {
        member: id(member),
        name: format!("The state of {member}"),
        serial: CardSerial(serial),
        node: node.public(),
        role,
        issued_at: DRAFTED,
        expires_at: EXPIRES,
        roots: RootList::new(vec![root(member).public()], 1).expect("a list"),
    };
    SignedDocument::unsigned(card.render())
        .signed_by(Namespace::Card, &root(member))
        .signed_by(Namespace::Card, node)
}

impl Scene {
    /// A charter between so many parties, with one mediator.
    ///
    /// # Panics
    /// When there are more parties than names.
    pub fn new(parties: usize) -> Self {
        Self::with_policy(parties, Policy::default())
    }

    /// The same with other rules.
    ///
    /// # Panics
    /// When there are more parties than names.
    pub fn with_policy(parties: usize, policy: Policy) -> Self {
        Self::of(parties, &["muscat"], policy)
    }

    /// The same with these mediators.
    ///
    /// # Panics
    /// When there are more parties than names.
    pub fn with_mediators(parties: usize, mediators: &[&str]) -> Self {
        Self::of(parties, mediators, Policy::default())
    }

    fn of(parties: usize, mediators: &[&str], policy: Policy) -> Self {
        let names = &PARTIES[..parties];
        let provision = |code: &str, precedence| Provision {
            code: code.to_owned(),
            title: BTreeMap::from([("en".to_owned(), format!("Provision {code}"))]),
            precedence,
        };
        let charter = Charter {
            title: "Memorandum of Understanding".to_owned(),
            drafted_at: DRAFTED,
            parties: names.iter().map(|name| member(name)).collect(),
            mediators: mediators.iter().map(|name| member(name)).collect(),
            provisions: vec![provision("3.2", Some(Precedence::Flash)), provision("4", None)],
            policy,
        };
        let mut document = SignedDocument::unsigned(charter.render());
        for name in names.iter().chain(mediators) {
            document = document.signed_by(Namespace::Charter, &root(name));
        }
        let charter = Charter::verify(&document).expect("a charter that all have signed");
        Self {
            charter,
            parties: names.iter().map(|name| id(name)).collect(),
            mediator: id(mediators[0]),
            mediators: mediators.iter().map(|name| id(name)).collect(),
        }
    }

    /// The channel.
    pub fn channel(&self) -> ChannelId {
        ChannelId::from(self.charter.id())
    }

    /// A card, checked.
    ///
    /// # Panics
    /// Never: the fixture holds.
    pub fn card(&self, member: &MemberId, serial: u64) -> Verified<Card> {
        let roots = RootList::new(vec![root(member.as_str()).public()], 1).expect("a list");
        Card::verify(&card(member.as_str(), serial), member, &roots).expect("a card that holds")
    }

    /// A mediator's first card, checked.
    ///
    /// # Panics
    /// Never: the fixture holds.
    pub fn mediator_card(&self, mediator: &MemberId) -> Verified<Card> {
        let roots = RootList::new(vec![root(mediator.as_str()).public()], 1).expect("a list");
        Card::verify(&mediator_card(mediator.as_str(), 1), mediator, &roots).expect("a card that holds")
    }

    /// A dispatch of `party`, not yet signed.
    pub fn dispatch(&self, party: &MemberId, precedence: Precedence, content: Content) -> Dispatch {
        Dispatch {
            channel: self.channel(),
            party: party.clone(),
            nature: Nature::Test,
            precedence,
            written_at: DRAFTED,
            content,
        }
    }

    /// A statement of `party` that its first officer has signed.
    pub fn statement(&self, party: &MemberId, precedence: Precedence, text: &str) -> SignedDocument {
        signed(&self.dispatch(party, precedence, statement(text)), &officer_key(party, 1))
    }

    /// The same, as most are: ROUTINE.
    pub fn routine(&self, party: &MemberId, text: &str) -> SignedDocument {
        self.statement(party, Precedence::Routine, text)
    }
}

/// The key of the officer of `party` with this number.
pub fn officer_key(party: &MemberId, number: u64) -> SecretKey {
    key(&format!("{party} officer {number}"))
}

/// An officer's document with these duties, signed by the root.
pub fn officer(party: &MemberId, number: u64, duties: &[Duty]) -> SignedDocument {
    officer_issued(party, number, duties, DRAFTED)
}

/// The same, issued at another time.
pub fn officer_issued(
    party: &MemberId,
    number: u64,
    duties: &[Duty],
    issued_at: Timestamp,
) -> SignedDocument {
    let officer = Officer {
        party: party.clone(),
        name: format!("Officer {number} of {party}"),
        key: officer_key(party, number).public(),
        duties: duties.to_vec(),
        channels: Vec::new(),
        issued_at,
        expires_at: EXPIRES,
    };
    SignedDocument::unsigned(officer.render()).signed_by(Namespace::Officer, &root(party.as_str()))
}

/// The roots' revocation of an officer's key.
pub fn revoke_officer(party: &MemberId, key: PublicKey) -> SignedDocument {
    revoke(party, Revoked::Officer(key))
}

/// The roots' revocation of a card, by its name and serial.
pub fn revoke_card(member: &MemberId, card: DocumentId, serial: u64) -> SignedDocument {
    revoke(member, Revoked::Card { card, serial: CardSerial(serial) })
}

fn revoke(member: &MemberId, revoked: Revoked) -> SignedDocument {
    let revocation = Revocation {
        member: member.clone(),
        revoked,
        reason: "key lost".to_owned(),
        channels: Vec::new(),
        issued_at: DRAFTED,
    };
    SignedDocument::unsigned(revocation.render()).signed_by(Namespace::Revocation, &root(member.as_str()))
}

/// Signs a dispatch.
pub fn signed(dispatch: &Dispatch, by: &SecretKey) -> SignedDocument {
    SignedDocument::unsigned(dispatch.render()).signed_by(Namespace::Dispatch, by)
}

/// A notice under provision 3.2.
pub fn breach(title: &str) -> Content {
    Content::Breach(Breach {
        provision: "3.2".to_owned(),
        title: title.to_owned(),
        body: Some("What happened.".to_owned()),
        occurred: None,
        place: None,
        means: None,
        confidence: None,
        request: None,
        reply_by: None,
    })
}

/// A statement outside any case.
pub fn statement(body: &str) -> Content {
    Content::Statement(Statement { case: None, title: None, body: body.to_owned() })
}

/// An acknowledgement.
pub fn acknowledgement(of: DocumentId) -> Content {
    Content::Acknowledgement(Acknowledgement { of, note: None })
}

/// A reply.
pub fn reply(case: DocumentId, body: &str) -> Content {
    Content::Reply(Reply { case, position: Position::Investigating, body: body.to_owned() })
}
