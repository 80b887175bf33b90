//! A card that lies ready (`install --standby`): signed by the roots, its keys here, and not in force. A node that finds that its disk was
//! lost or set back goes on under it by itself (docs/decisions/0053).

use demarche_control::layout::{self, DataDir};
use demarche_protocol::{
    document::SignedDocument,
    identity::{
        Verified,
        card::{Card, CardSerial},
    },
};

use crate::{
    home::{self, Channel, HomeError, Identity},
    keystore,
    recall::Recalled,
};

/// The card that lies ready, if it may be taken: it counts in every channel, and nobody has seen it or a later one. One that somebody has seen
/// was taken before this disk was set back once more.
pub(crate) fn ready(
    data: &DataDir,
    identity: &Identity,
    channels: &[Channel],
    recalled: &[Recalled],
) -> Result<Option<Verified<Card>>, HomeError> {
    let path = data.standby();
    if !path.exists() {
        return Ok(None);
    }
    let refused = |why: String| {
        tracing::error!(file = %path.display(), why, "the card that lies ready cannot be taken");
        Ok(None)
    };
    let document = match home::signed_file(&path) {
        Ok(document) => document,
        Err(why) => return refused(why),
    };
    let mut ready = None;
    for (channel, recalled) in channels.iter().zip(recalled) {
        match counts(&document, identity, channel, recalled) {
            Ok(card) => ready = Some(card),
            Err(why) => return refused(format!("{}: {why}", channel.name)),
        }
    }
    let Some(card) = ready else { return Ok(None) };
    if home::last_card(data)?.is_some_and(|last| last >= card.serial) {
        return refused(format!("this node has written under card {} already, or a later one", card.serial));
    }
    keystore::read(data, &card)?;
    Ok(Some(card))
}

/// Installs it in every channel: from then on it is the node's card.
pub(crate) fn take(
    data: &DataDir,
    identity: &Identity,
    channels: &[Channel],
    recalled: &[Recalled],
) -> Result<Option<CardSerial>, HomeError> {
    let Some(card) = ready(data, identity, channels, recalled)? else { return Ok(None) };
    for channel in recalled {
        channel.install(card.document())?;
    }
    let path = data.standby();
    layout::remove(&path).map_err(|source| HomeError::Unwritten { path, source })?;
    Ok(Some(card.serial))
}

fn counts(
    document: &SignedDocument,
    identity: &Identity,
    channel: &Channel,
    recalled: &Recalled,
) -> Result<Verified<Card>, String> {
    let mut roster = home::roster(&channel.charter, recalled.all());
    match roster.present(document) {
        Ok((card, true)) if card.member == identity.me => Ok(card),
        Ok((card, true)) => Err(format!("it is a card of {}", card.member)),
        Ok((card, false)) => Err(format!("card {} was in use before", card.serial)),
        Err(why) => Err(why.to_string()),
    }
}
