//! `install CARD --standby`: a card of this node's own is laid ready, verified as for any other installation. It is no document of a channel
//! yet: the node takes it, and installs it then, when its disk was lost or set back.

use demarche_control::{
    SignedFile,
    layout::{self, PRIVATE},
};
use serde_json::json;

use super::credential::{self, Subject};
use crate::ceremony::{
    Desk,
    beside::{Beside, quoted},
    channels::{self, unwritten},
    own,
    said::Said,
};
use crate::error::{Result, failed, refused, usage};

/// Lays it ready, in place of the one that lay there.
pub(super) fn lay_ready(beside: &Beside, desk: &Desk<'_>) -> Result<Said> {
    let own = own::read(&desk.data)?;
    let subject = Subject::read(beside)?;
    let Subject::Card(card) = &subject else {
        return Err(usage(format!(
            "--standby lays a card ready; {} is a {}",
            beside.path.display(),
            beside.kind
        )));
    };
    let renew = "draw one with keys here: demarche card renew";
    if card.member != own.member || !desk.data.node_key(card.serial).exists() {
        return Err(refused(format!(
            "{} is no card of this node whose keys are here: it could not go on under it",
            beside.path.display()
        ))
        .help(renew));
    }
    let channels = channels::all(&desk.data)?;
    if channels.is_empty() {
        return Err(refused(
            "no charter is installed here yet: nobody can tell who signs for this node's cards",
        )
        .help(format!("first: demarche install charter.toml --data {}", quoted(desk.data.path()))));
    }
    for channel in &channels {
        let roster = channel.roster();
        let current = roster.current(&own.member).map(|current| current.serial);
        if channel.knows(beside.document().id()) || current.is_some_and(|current| current >= card.serial) {
            return Err(refused(format!(
                "card {} is in use already, or an older one than the card in use",
                card.serial
            ))
            .help(renew));
        }
        credential::verify(beside, &subject, &own, channel)?;
    }
    let file = SignedFile::of(&beside.document()).map_err(|why| failed(why.to_string()))?;
    let path = desk.data.standby();
    layout::write(&path, file.to_json().as_bytes(), PRIVATE).map_err(|why| unwritten(&path, &why))?;
    Ok(Said::new(format!("card {} of {} lies ready: {}", card.serial, own.member, path.display()))
        .line("the node goes on under it by itself when it finds that its disk was lost or set back")
        .json(json!({
            "member": own.member.as_str(),
            "serial": card.serial.0,
            "document": beside.document().id().to_string(),
            "standby": path.display().to_string(),
        })))
}
