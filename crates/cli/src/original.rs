//! What a node hands out is believed only as far as signatures carry: from the roots in the pinned charter, over the
//! officer's document, to the dispatch itself. Before an answer is signed, the original must pass here; a lying
//! node cannot choose what an officer signs (threat K1).
//!
//! What a node leaves out cannot be seen from here: a revocation that it hides, for one.

use demarche_control::types::{Effect, Shown};
use demarche_protocol::{
    dispatch::{Content, Dispatch},
    hash::{DocumentId, EntryHash},
    identity::keys::PublicKey,
    transcript::{Authority, Facts},
};

use crate::{
    error::{Failure, Result, chain, unverified},
    reference::Target,
    station::Pin,
};

/// A dispatch that was verified here.
#[derive(Debug)]
pub struct Original {
    /// Its name.
    pub document: DocumentId,
    /// What it says.
    pub dispatch: Dispatch,
    /// Who signed it: names from documents that the roots signed, with their keys.
    pub signers: Vec<(String, PublicKey)>,
}

/// Verifies what the node gave for `asked` against the pinned charter.
pub fn verify(shown: &Shown, asked: &Target, pin: &Pin) -> Result<Original> {
    let name = shown.header.serial.to_string();
    let lie = |why: String| {
        unverified(format!("what the node gave for {asked} is not to be trusted: {why}")).help(
            "nothing was signed; compare with the other side by another way, and have the node looked at",
        )
    };
    let document = shown.file().document().map_err(|why| lie(chain(&why)))?;
    let id = document.id();
    let dispatch =
        Dispatch::parse(document.text()).map_err(|why| lie(format!("the text is no dispatch: {why}")))?;
    let right = match asked {
        Target::Serial(serial) => shown.header.serial == *serial,
        Target::Document(wanted) => id == *wanted,
    };
    if !right {
        return Err(lie(format!("it is {name}, document {id}")));
    }
    if dispatch.channel != pin.channel {
        return Err(lie(format!("it belongs to the channel {}, not to {}", dispatch.channel, pin.channel)));
    }
    agrees(shown, id, &dispatch)
        .map_err(|what| lie(format!("its header says another {what} than its text")))?;
    let authority = authority(shown, &dispatch, pin)
        .ok_or_else(|| lie(format!("{} is no party of the pinned charter", dispatch.party)))?;
    let Facts::Dispatch(facts) = Facts::of(&document) else {
        return Err(lie("the text is no dispatch".to_owned()));
    };
    authority.judge(&facts, &pin.charter).map_err(|void| {
        let failure = lie(void.to_string());
        match shown.header.effect {
            // An honest node says as much: then it is the dispatch that does not hold, not the node.
            Effect::Accepted => failure,
            Effect::Void | Effect::AuthorityUnknown => without_effect(&name, &void.to_string()),
        }
    })?;
    let named = |key: &PublicKey| {
        authority.officer(key).map_or_else(|| key.fingerprint(), |officer| officer.name.clone())
    };
    let signers: Vec<(String, PublicKey)> = facts.signers.iter().map(|key| (named(key), *key)).collect();
    let names: Vec<&str> = signers.iter().map(|(name, _)| name.as_str()).collect();
    if shown.header.officer != names.join(", ") {
        return Err(lie("its header names another officer than the one who signed".to_owned()));
    }
    Ok(Original { document: id, dispatch, signers })
}

fn without_effect(name: &str, why: &str) -> Failure {
    unverified(format!("{name} has no effect: {why}"))
        .help("it cannot be answered; the other side must send it anew")
}

/// What the documents beside a dispatch found, starting from the pinned charter. Those that do not hold are passed
/// over, as every honest node does.
fn authority(shown: &Shown, dispatch: &Dispatch, pin: &Pin) -> Option<Authority> {
    let founding = Authority::founding(&pin.charter, &dispatch.party)?;
    Some(shown.authority.iter().fold(founding, |authority, file| {
        let Ok(document) = file.document() else { return authority };
        let Some(kind) = document.document_type() else { return authority };
        // The entry's own hash is not known here; it only serves to name the entry in a refusal.
        let entry = EntryHash::from_bytes(*document.id().as_bytes());
        authority.after(kind, &document, entry).unwrap_or(authority)
    }))
}

/// The first word of the header that its text does not bear out.
fn agrees(shown: &Shown, id: DocumentId, dispatch: &Dispatch) -> Result<(), &'static str> {
    let header = &shown.header;
    let provision = match &dispatch.content {
        Content::Breach(breach) => Some(breach.provision.as_str()),
        _ => None,
    };
    let checks = [
        ("document", header.document == id),
        ("party", header.from == dispatch.party && header.serial.party == dispatch.party),
        ("kind", header.kind == dispatch.kind().into()),
        ("nature", header.nature == Some(dispatch.nature)),
        ("precedence", header.precedence == Some(dispatch.precedence)),
        ("time of writing", header.written_at == Some(dispatch.written_at)),
        ("title", header.title.as_deref() == dispatch.title()),
        ("provision", header.provision.as_deref() == provision),
        ("body", shown.body.as_deref() == dispatch.body()),
        ("place, time or other field", shown.fields == Shown::fields_of(dispatch)),
    ];
    checks.into_iter().find(|(_, same)| !same).map_or(Ok(()), |(what, _)| Err(what))
}
