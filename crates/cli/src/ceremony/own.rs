//! Whose data directory it is: the cards in it whose node keys lie beside them.

use std::{fs, path::PathBuf};

use demarche_control::layout::{self, DataDir};
use demarche_protocol::identity::{
    card::{Card, CardSerial},
    keys::PublicKey,
    member::MemberId,
    openssh,
};

use super::beside::{malformed, quoted, read_text};
use crate::error::{Result, failed};

/// The member whose node lives in a data directory, and the cards drafted for it.
pub(super) struct Own {
    pub(super) member: MemberId,
    /// Ascending by serial, never empty.
    pub(super) cards: Vec<OwnCard>,
    /// The highest serial that has keys or a card, also one whose keys are in the safe.
    pub(super) highest: CardSerial,
}

/// A card of this directory's own.
pub(super) struct OwnCard {
    pub(super) path: PathBuf,
    pub(super) card: Card,
}

impl Own {
    /// Where a card of this serial goes.
    pub(super) fn card_file(&self, data: &DataDir, serial: CardSerial) -> PathBuf {
        data.path().join(format!("{}.{serial}.card", self.member))
    }

    /// The newest card drafted.
    pub(super) fn newest(&self) -> Option<&OwnCard> {
        self.cards.last()
    }
}

/// Reads whose directory it is.
pub(super) fn read(data: &DataDir) -> Result<Own> {
    let folder = data.path();
    let unreadable = |why: std::io::Error| {
        failed(format!("{} cannot be read: {why}", folder.display()))
            .help("name a node's data directory with --data; demarche setup makes one")
    };
    let keys = node_keys(data)?;
    let mut cards = Vec::new();
    let mut without_keys = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|ending| ending != "card") {
            continue;
        }
        let card = Card::parse(&read_text(&path)?).map_err(|why| malformed(&path, &why))?;
        // Peers' cards may lie here too; only those whose keys are here are this node's own.
        if keys.contains(&(card.serial, card.node)) {
            cards.push(OwnCard { path, card });
        } else {
            without_keys.push((card.member, card.serial));
        }
    }
    cards.sort_by_key(|own| own.card.serial);
    let Some(first) = cards.first() else {
        return Err(failed(format!(
            "{} is not set up: no card with its node's keys lies in it",
            folder.display()
        ))
        .help(format!(
            "demarche setup party --data {} --id ID --name NAME --root ROOT.pub",
            quoted(folder)
        )));
    };
    let member = first.card.member.clone();
    if let Some(other) = cards.iter().find(|own| own.card.member != member) {
        return Err(failed(format!(
            "{} holds cards of two members, {member} and {}: one node speaks for one",
            folder.display(),
            other.card.member
        )));
    }
    let elsewhere = without_keys.iter().filter(|(of, _)| *of == member).map(|(_, serial)| *serial);
    let here = cards.iter().map(|own| own.card.serial);
    let highest = keys.iter().map(|(serial, _)| *serial).chain(here).chain(elsewhere).max();
    Ok(Own { member, cards, highest: highest.unwrap_or(CardSerial(1)) })
}

/// The public halves of the node keys in `keys/`, by serial.
fn node_keys(data: &DataDir) -> Result<Vec<(CardSerial, PublicKey)>> {
    let unreadable = |why| failed(format!("{} cannot be read: {why}", data.path().display()));
    let mut keys = Vec::new();
    for serial in data.key_serials().map_err(unreadable)? {
        let path = data.node_key(serial);
        // A renewal that was broken off leaves a folder without it.
        if !path.exists() {
            continue;
        }
        let pem = layout::read_secret(&path).map_err(|why| {
            let refused = failed(why.to_string());
            match why.help() {
                Some(help) => refused.help(help),
                None => refused.help("run this as the account that the node runs as"),
            }
        })?;
        let key = openssh::read(&pem, None).map_err(|why| malformed(&path, &why))?;
        keys.push((serial, key.public()));
    }
    Ok(keys)
}
