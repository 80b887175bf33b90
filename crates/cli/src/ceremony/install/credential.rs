//! Installing what roots sign under a charter: cards, officers, revocations, new roots; and an administrator's suspension.
//! Each goes to every channel of the data directory that it holds for, after being verified against the roots in force
//! there.

use demarche_control::layout;
use demarche_protocol::{
    document::DocumentType,
    identity::{
        card::Card,
        member::MemberId,
        officer::{Duty, Officer},
        revocation::{Revocation, Revoked},
        roots::{RootList, Roots},
        roster::{Refusal, Roster},
        suspension::Suspension,
    },
};

use super::{Item, charter::stranger};
use crate::ceremony::{
    Desk,
    beside::{Beside, malformed, quoted},
    channels::{self, Channel},
    check,
    own::{self, Own},
};
use crate::error::{Failure, Result, refused, unverified};

/// Verifies it for every channel it holds for, then leaves it in each.
pub(super) fn install(beside: &Beside, desk: &Desk<'_>) -> Result<Vec<Item>> {
    let own = own::read(&desk.data)?;
    let channels = channels::chosen(&desk.data, desk.channel.as_deref())?;
    let subject = Subject::read(beside)?;
    refuse_spare(beside, &subject, &own, desk)?;
    if channels.is_empty() {
        return Err(before_charter(beside, &subject, &own, desk));
    }
    let concerned: Vec<&Channel> = channels.iter().filter(|channel| subject.holds_for(channel)).collect();
    let Some(first) = channels.first().filter(|_| concerned.is_empty()) else {
        for channel in &concerned {
            verify(beside, &subject, &own, channel)?;
        }
        return concerned.into_iter().map(|channel| leave(beside, &subject, channel)).collect();
    };
    if channels.iter().any(|channel| channel.charter.members().any(|member| member.id == *subject.member())) {
        return Err(refused(format!("{} holds for none of the channels here", beside.path.display()))
            .help("its `channels` name those it holds for; compare: demarche charter show --json"));
    }
    Err(stranger(&beside.path, subject.member(), &first.charter.title))
}

fn leave(beside: &Beside, subject: &Subject, channel: &Channel) -> Result<Item> {
    let document = beside.document();
    Ok(Item {
        what: subject.in_words(),
        channel: channel.name.clone(),
        document: document.id(),
        left: channel.leave(&document)?,
    })
}

/// What the document is about.
pub(super) enum Subject {
    Card(Card),
    Officer(Officer),
    Revocation(Revocation),
    Roots(Roots),
    Suspension(Suspension),
}

impl Subject {
    pub(super) fn read(beside: &Beside) -> Result<Self> {
        let text = beside.text();
        let read = match beside.kind {
            DocumentType::Card => Card::parse(text).map(Self::Card),
            DocumentType::Officer => Officer::parse(text).map(Self::Officer),
            DocumentType::Revocation => Revocation::parse(text).map(Self::Revocation),
            DocumentType::Roots => Roots::parse(text).map(Self::Roots),
            DocumentType::Suspension => Suspension::parse(text).map(Self::Suspension),
            other @ (DocumentType::Charter | DocumentType::Dispatch) => {
                return Err(refused(format!("{} is a {other}", beside.path.display())));
            }
        };
        read.map_err(|why| malformed(&beside.path, &why))
    }

    fn member(&self) -> &MemberId {
        match self {
            Self::Card(card) => &card.member,
            Self::Officer(officer) => &officer.party,
            Self::Revocation(revocation) => &revocation.member,
            Self::Roots(roots) => &roots.member,
            Self::Suspension(suspension) => &suspension.party,
        }
    }

    fn in_words(&self) -> String {
        let member = self.member();
        match self {
            Self::Card(card) => format!("card {} of {member}", card.serial),
            Self::Officer(officer) => format!("officer {} of {member}", officer.name),
            Self::Revocation(Revocation { revoked: Revoked::Card { serial, .. }, .. }) => {
                format!("the revocation of card {serial} of {member}")
            }
            Self::Revocation(Revocation { revoked: Revoked::Officer(key), .. }) => {
                format!("the revocation of officer's key {} of {member}", key.fingerprint())
            }
            Self::Roots(_) => format!("the new roots of {member}"),
            Self::Suspension(suspension) => {
                format!("the suspension of officer's key {} of {member}", suspension.key.fingerprint())
            }
        }
    }

    /// Whether the channel has the member, and the document does not leave the channel out.
    fn holds_for(&self, channel: &Channel) -> bool {
        let id = channel.id();
        let held = match self {
            Self::Officer(officer) => officer.holds_for(id),
            Self::Revocation(revocation) => revocation.holds_for(id),
            Self::Card(_) | Self::Roots(_) | Self::Suspension(_) => true,
        };
        held && channel.charter.members().any(|member| member.id == *self.member())
    }

    /// Whether it concerns this party's log alone, which only its own node writes.
    fn is_of_the_log(&self) -> bool {
        match self {
            Self::Officer(_) | Self::Suspension(_) => true,
            Self::Revocation(revocation) => matches!(revocation.revoked, Revoked::Officer(_)),
            Self::Card(_) | Self::Roots(_) => false,
        }
    }
}

/// Nothing can be judged without the charter that names the roots.
fn before_charter(beside: &Beside, subject: &Subject, own: &Own, desk: &Desk<'_>) -> Failure {
    let charters = match subject {
        Subject::Officer(Officer { channels, .. }) | Subject::Revocation(Revocation { channels, .. })
            if !channels.is_empty() =>
        {
            let ids: Vec<String> = channels.iter().map(ToString::to_string).collect();
            format!("the charter {}", ids.join(", "))
        }
        _ => format!("a charter that names the roots of {}", subject.member()),
    };
    refused(format!(
        "{} before the charter: {charters} is not installed in {}, the node of {}",
        beside.path.display(),
        desk.data.path().display(),
        own.member
    ))
    .help(format!("first: demarche install charter.toml --data {}", quoted(desk.data.path())))
}

/// A spare card is in force from the moment at which a node takes it in, and this one does not hold its keys.
fn refuse_spare(beside: &Beside, subject: &Subject, own: &Own, desk: &Desk<'_>) -> Result<()> {
    let Subject::Card(card) = subject else { return Ok(()) };
    let is_spare = layout::sealed_keys_file(&own.card_file(&desk.data, card.serial)).exists()
        || layout::sealed_keys_file(&beside.path).exists();
    if card.member != own.member || !is_spare || desk.data.node_key(card.serial).exists() {
        return Ok(());
    }
    Err(refused(format!(
        "{} is a spare card, whose keys are not here: in force, it would shut this node out",
        beside.path.display()
    ))
    .help(
        "keep it in the safe; after a loss: demarche restore BACKUP --identity KEY --spare CARD --data DIR",
    ))
}

pub(super) fn verify(beside: &Beside, subject: &Subject, own: &Own, channel: &Channel) -> Result<()> {
    if channel.knows(beside.document().id()) {
        // It was verified then; the roots may have been replaced since.
        return beside.refuse_wrong();
    }
    let member = subject.member();
    if subject.is_of_the_log() && *member != own.member {
        return Err(refused(format!(
            "{} is of {member}; this is the node of {}, which speaks for {} alone",
            beside.path.display(),
            own.member,
            own.member
        ))
        .help(format!("install it at {member}'s node; others learn it from {member}'s log")));
    }
    let roster = channel.roster();
    let Some(roots) = roster.roots(member) else {
        return Err(stranger(&beside.path, member, &channel.charter.title));
    };
    match subject {
        Subject::Card(_) => {
            let card = check::card(beside, member, roots)?;
            not_contested(beside, &card, &roster)
        }
        Subject::Officer(_) | Subject::Revocation(_) => check::roots_signed(beside, member, roots, None),
        Subject::Roots(new) => new_roots(beside, new, roots, roster.clone()),
        Subject::Suspension(_) => administrator_signed(beside, member, channel),
    }
}

/// A second card of the newest serial would make neither count and so cut the node off (threat K1d).
fn not_contested(beside: &Beside, card: &Card, roster: &Roster) -> Result<()> {
    let id = beside.document().id();
    match roster.current(&card.member) {
        Some(known) if known.serial == card.serial && known.id() != id => Err(refused(format!(
            "{} is a second card {} of {}, and another one is installed: of two cards with one serial neither counts",
            beside.path.display(),
            card.serial,
            card.member
        ))
        .help("have a card with a higher serial made: demarche card renew")),
        _ => Ok(()),
    }
}

fn new_roots(beside: &Beside, new: &Roots, old: &RootList, mut roster: Roster) -> Result<()> {
    check::roots_signed(beside, &new.member, old, None)?;
    match roster.offer(&beside.document()) {
        Ok(_) => Ok(()),
        Err(why @ Refusal::RootsOutOfTurn(_)) => Err(refused(format!("{}: {why}", beside.path.display()))
            .help("install the lists between the two first, in their order")),
        Err(why) => Err(unverified(format!("{}: {why}", beside.path.display()))),
    }
}

/// A suspension speaks by the signature of an officer with the duty to administer.
fn administrator_signed(beside: &Beside, member: &MemberId, channel: &Channel) -> Result<()> {
    beside.refuse_wrong()?;
    let signers = beside.document().verified_keys(beside.kind.namespace());
    let administers = channel
        .documents
        .iter()
        .filter(|document| document.document_type() == Some(DocumentType::Officer))
        .filter_map(|document| Officer::parse(document.text()).ok())
        .any(|officer| {
            officer.party == *member
                && officer.duties.contains(&Duty::Administer)
                && signers.contains(&officer.key)
        });
    if administers {
        return Ok(());
    }
    Err(refused(format!(
        "{}: not signed by an installed officer of {member} with the duty to administer",
        beside.path.display()
    ))
    .help(format!("such an officer signs it: demarche sign {} --key officer.key", quoted(&beside.path))))
}
