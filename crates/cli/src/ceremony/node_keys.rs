//! The keys of a node's card: drawn here, kept in `keys/SERIAL/`, their public halves put on the card.

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

/// Draws fresh keys, writes them to `keys/SERIAL/` and drafts their card. Keys that are there are never replaced.
pub(super) fn draft(data: &DataDir, draft: Draft) -> Result<Drafted> {
    let node = SecretKey::from_seed(&*random::<32>()?);
    let folder = data.keys(draft.serial);
    if !data.node_key(draft.serial).exists() {
        // It is written last: what lies there was broken off, and is on no card.
        withdraw(data, draft.serial);
    }
    let unwritten = |why: std::io::Error| failed(format!("{} cannot be written: {why}", folder.display()));
    layout::make_directory(&folder, 0o700).map_err(unwritten)?;
    let put =
        |path: std::path::PathBuf, secret: &str| layout::create(&path, secret.as_bytes(), layout::PRIVATE);
    let role = if let Some(addresses) = draft.addresses {
        Role::Mediator { addresses }
    } else {
        let session = SessionSecret::from_bytes(&*random::<32>()?);
        let prekey = PrekeySecret::from_bytes(&*random::<32>()?, &*random::<64>()?);
        put(data.session_key(draft.serial), &secret_file::session(&session)).map_err(unwritten)?;
        put(data.prekey(draft.serial), &secret_file::prekey(&prekey)).map_err(unwritten)?;
        Role::Party { session: session.public(), prekey: prekey.public() }
    };
    let comment = format!("{} node {}", draft.member, draft.serial);
    let pem = openssh::write(&node, &comment, None).map_err(|why| failed(why.to_string()))?;
    put(data.node_key(draft.serial), &pem).map_err(unwritten)?;
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
    Ok(Drafted { card, text, possession })
}

/// Takes back keys that were drawn for a card which was not written.
pub(super) fn withdraw(data: &DataDir, serial: CardSerial) {
    // What stays behind uses up a serial and does no harm; why there is no card is what matters.
    let _ = std::fs::remove_dir_all(data.keys(serial));
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>> {
    keyfile::random().map_err(|why| failed(format!("the system gives no randomness: {why}")))
}
