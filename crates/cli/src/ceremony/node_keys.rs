//! The keys of a node's card: drawn here, their public halves put on the card. They are kept in `keys/SERIAL/`, or sealed for the safe.

use std::path::PathBuf;

use demarche_control::{
    layout::{self, DataDir},
    secret_file,
};
use demarche_protocol::{
    document::DocumentType,
    identity::{
        card::{Address, Card, CardSerial, Role},
        keys::SecretKey,
        member::MemberId,
        openssh,
        prekey::PrekeySecret,
        roots::RootList,
    },
    session::SessionSecret,
    time::Timestamp,
};
use zeroize::Zeroizing;

use crate::error::{Result, failed};
use crate::keyfile;

/// What a card says besides the keys that are drawn for it.
pub(super) struct Draft {
    pub(super) member: MemberId,
    pub(super) name: String,
    pub(super) serial: CardSerial,
    /// A mediator's addresses; `None` for a party.
    pub(super) addresses: Option<Vec<Address>>,
    pub(super) roots: RootList,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

/// A card's text, and the node's signature on it that proves it holds the key.
pub(super) struct Drafted {
    pub(super) card: Card,
    pub(super) text: String,
    pub(super) possession: String,
}

/// The private halves, as the texts of their files.
pub(super) struct Secrets {
    node: Zeroizing<String>,
    /// A party's session key and prekey; a mediator has none.
    party: Option<(Zeroizing<String>, Zeroizing<String>)>,
}

const NODE: &str = "node.key";
const SESSION: &str = "session.key";
const PREKEY: &str = "prekey.key";

/// Draws fresh keys, writes them to `keys/SERIAL/` and drafts their card. Keys that are there are never replaced.
pub(super) fn draft(data: &DataDir, draft: Draft) -> Result<Drafted> {
    let serial = draft.serial;
    let (drafted, secrets) = draw(draft)?;
    secrets.write(data, serial)?;
    Ok(drafted)
}

/// Draws fresh keys and drafts their card; nothing is written.
pub(super) fn draw(draft: Draft) -> Result<(Drafted, Secrets)> {
    let node = SecretKey::from_seed(&*random::<32>()?);
    let (role, party) = if let Some(addresses) = draft.addresses {
        (Role::Mediator { addresses }, None)
    } else {
        let session = SessionSecret::from_bytes(&*random::<32>()?);
        let prekey = PrekeySecret::from_bytes(&*random::<32>()?, &*random::<64>()?);
        let role = Role::Party { session: session.public(), prekey: prekey.public() };
        (role, Some((secret_file::session(&session), secret_file::prekey(&prekey))))
    };
    let comment = format!("{} node {}", draft.member, draft.serial);
    let pem = openssh::write(&node, &comment, None).map_err(|why| failed(why.to_string()))?;
    let card = Card {
        member: draft.member,
        name: draft.name,
        serial: draft.serial,
        node: node.public(),
        role,
        issued_at: draft.issued_at,
        expires_at: draft.expires_at,
        roots: draft.roots,
    };
    let text = card.render();
    let namespace = DocumentType::Card.namespace();
    let possession = node.sign(namespace, text.as_bytes()).to_armoured(namespace);
    Ok((Drafted { card, text, possession }, Secrets { node: pem, party }))
}

impl Secrets {
    /// Writes them to `keys/SERIAL/`; what is there is never replaced.
    pub(super) fn write(&self, data: &DataDir, serial: CardSerial) -> Result<()> {
        let folder = data.keys(serial);
        if !data.node_key(serial).exists() {
            // It is written last: what lies there was broken off, and is on no card.
            withdraw(data, serial);
        }
        let unwritten =
            |why: std::io::Error| failed(format!("{} cannot be written: {why}", folder.display()));
        layout::make_directory(&folder, 0o700).map_err(unwritten)?;
        let put = |path: PathBuf, secret: &str| layout::create(&path, secret.as_bytes(), layout::PRIVATE);
        if let Some((session, prekey)) = &self.party {
            put(data.session_key(serial), session).map_err(unwritten)?;
            put(data.prekey(serial), prekey).map_err(unwritten)?;
        }
        put(data.node_key(serial), &self.node).map_err(unwritten)
    }

    /// All of them as one text: the name of each file on a line of its own, then what it holds.
    pub(super) fn to_text(&self) -> Zeroizing<String> {
        let mut parts = vec![NODE, "\n", &self.node];
        if let Some((session, prekey)) = &self.party {
            parts.extend([SESSION, "\n", session, PREKEY, "\n", prekey]);
        }
        Zeroizing::new(parts.concat())
    }

    /// The secrets in such a text, if they are those that the card names.
    pub(super) fn of_card(text: &str, card: &Card) -> Option<Self> {
        let (_, node) = text.split_once(&format!("{NODE}\n"))?;
        let (node, party) = match node.split_once(&format!("{SESSION}\n")) {
            None => (node, None),
            Some((node, rest)) => (node, Some(rest.split_once(&format!("{PREKEY}\n"))?)),
        };
        let fits = openssh::read(node, None).is_ok_and(|key| key.public() == card.node)
            && match (&card.role, party) {
                (Role::Mediator { .. }, None) => true,
                (Role::Party { session, prekey }, Some((own_session, own_prekey))) => {
                    secret_file::read_session(own_session).is_some_and(|own| own.public() == *session)
                        && secret_file::read_prekey(own_prekey).is_some_and(|own| own.public() == *prekey)
                }
                _ => false,
            };
        let owned = |text: &str| Zeroizing::new(text.to_owned());
        fits.then(|| Self {
            node: owned(node),
            party: party.map(|(session, prekey)| (owned(session), owned(prekey))),
        })
    }
}

/// Takes back keys that were drawn for a card which was not written.
pub(super) fn withdraw(data: &DataDir, serial: CardSerial) {
    // What stays behind uses up a serial and does no harm; why there is no card is what matters.
    let _ = std::fs::remove_dir_all(data.keys(serial));
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>> {
    keyfile::random().map_err(|why| failed(format!("the system gives no randomness: {why}")))
}
