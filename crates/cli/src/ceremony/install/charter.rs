//! Installing a charter: only when all have signed, only where its node lives, and with the cards at hand.
//!
//! The node's own card is needed: without it the node could not speak. Others' cards may come later, by hand or from the
//! mediator; until then the words say whom the node cannot reach. A mediator's card is how a party's node finds the
//! mediator, so its absence is said first.

use std::path::PathBuf;

use demarche_control::{
    SignedFile,
    layout::{self, ChannelDir, is_channel_name, slug},
};
use demarche_protocol::{
    charter::Charter,
    document::SignedDocument,
    hash::ChannelId,
    identity::{Verified, card::Card, member::MemberId, roots::RootList, roster::Roster},
};

use super::{InstallArgs, Item};
use crate::ceremony::{
    Desk,
    beside::{Beside, how_to_sign, malformed, quoted},
    channels::{self, Channel, Left, leave, unwritten},
    check::{self, charter_standing},
    own::{self, Own},
    said::Said,
};
use crate::error::{Failure, Result, failed, refused, unverified, usage};

/// Verifies charter and cards, then leaves them: all or nothing.
pub(super) fn install(
    args: &InstallArgs,
    beside: &Beside,
    desk: &Desk<'_>,
    said: &mut Said,
) -> Result<Vec<Item>> {
    let charter = signed_by_all(beside)?;
    let own = own::read(&desk.data)?;
    let Some(me) = charter.members().find(|member| member.id == own.member) else {
        return Err(refused(format!(
            "{} is the node of {}, which is neither party nor mediator of \"{}\"",
            desk.data.path().display(),
            own.member,
            charter.title
        ))
        .help("name the data directory of one of its members with --data"));
    };
    let installed = channels::all(&desk.data)?;
    let known = installed.iter().find(|channel| channel.id() == ChannelId::from(charter.id()));
    let name = channel_name(args, &charter, &installed, known)?;
    let cards = cards(args, &charter, &own, &me.roots)?;
    let directory = desk.data.channel(&name);
    let mut items = vec![Item {
        what: format!("the charter of \"{}\"", charter.title),
        channel: name.clone(),
        document: charter.id(),
        left: leave_charter(&directory, &charter, known.is_some())?,
    }];
    for (card, document) in &cards {
        items.push(Item {
            what: format!("card {} of {}", card.serial, card.member),
            channel: name.clone(),
            document: document.id(),
            left: leave(&directory, document)?,
        });
    }
    say_missing_cards(desk, &charter, &own.member, &name, said)?;
    Ok(items)
}

/// Refuses until the roots of every member have signed, and names those that have not.
fn signed_by_all(beside: &Beside) -> Result<Verified<Charter>> {
    let charter = Charter::parse(beside.text()).map_err(|why| malformed(&beside.path, &why))?;
    beside.refuse_wrong()?;
    let missing: Vec<String> = charter_standing(beside, &charter)
        .iter()
        .filter(|standing| !standing.complete())
        .map(check::Standing::line)
        .collect();
    if !missing.is_empty() {
        return Err(unverified(format!("{}: not all have signed", beside.path.display()))
            .lines(missing)
            .help(how_to_sign(&beside.path, beside.kind))
            .help(format!("demarche charter verify {}", quoted(&beside.path))));
    }
    let roots: Vec<_> = charter.members().flat_map(|member| member.roots.keys()).copied().collect();
    let document = beside.document();
    // A stranger's signature counts for nothing and need not travel.
    let counted = document.signatures().iter().filter(|signature| roots.contains(&signature.key)).copied();
    let document = SignedDocument::new(document.shared_text(), counted.collect());
    Charter::verify(&document).map_err(|why| unverified(format!("{}: {why}", beside.path.display())))
}

fn channel_name(
    args: &InstallArgs,
    charter: &Charter,
    installed: &[Channel],
    known: Option<&Channel>,
) -> Result<String> {
    if let Some(name) = &args.name
        && !is_channel_name(name)
    {
        return Err(usage(format!("--as {name}: no name for a channel"))
            .help(format!("lower-case letters, digits and hyphens, like {}", slug(name))));
    }
    if let Some(known) = known {
        return match &args.name {
            Some(name) if *name != known.name => {
                Err(failed(format!("this charter is installed already, as {}", known.name))
                    .help(format!("use that name: --channel {}", known.name)))
            }
            _ => Ok(known.name.clone()),
        };
    }
    let name = args.name.clone().unwrap_or_else(|| slug(&charter.title));
    if let Some(other) = installed.iter().find(|channel| channel.name == name) {
        return Err(failed(format!("the name {name} belongs to the channel of \"{}\"", other.charter.title))
            .help("give this one a name of its own: --as NAME"));
    }
    Ok(name)
}

/// The node's own card and those given, each verified against the charter's roots.
fn cards(
    args: &InstallArgs,
    charter: &Verified<Charter>,
    own: &Own,
    own_roots: &RootList,
) -> Result<Vec<(Card, SignedDocument)>> {
    let mut cards: Vec<(Card, SignedDocument)> = Vec::new();
    for path in &args.cards {
        let beside = Beside::read(path)?;
        let card = member_card(&beside, charter)?;
        if let Some((other, _)) = cards.iter().find(|(other, _)| other.member == card.member) {
            return Err(refused(format!(
                "{} is given twice: card {} and, in {}, card {}",
                card.member,
                other.serial,
                path.display(),
                card.serial
            ))
            .help("give each member's current card once"));
        }
        cards.push((card, beside.document()));
    }
    if !cards.iter().any(|(card, _)| card.member == own.member) {
        cards.insert(0, own_card(own, own_roots)?);
    }
    // The node would find two cards of one serial contradicting each other only later; here it has a name (K1d).
    let mut roster = Roster::new(charter);
    for (card, document) in &cards {
        roster.offer(document).map_err(|why| unverified(format!("the card of {}: {why}", card.member)))?;
    }
    Ok(cards)
}

/// The newest of the node's own cards that its roots have signed.
fn own_card(own: &Own, roots: &RootList) -> Result<(Card, SignedDocument)> {
    let mut newest_refused: Option<Failure> = None;
    for candidate in own.cards.iter().rev() {
        let beside = Beside::read(&candidate.path)?;
        match check::card(&beside, &own.member, roots) {
            Ok(card) => return Ok((card, beside.document())),
            Err(why) => newest_refused = newest_refused.or(Some(why)),
        }
    }
    Err(newest_refused.unwrap_or_else(|| failed("no card of this node's own")))
}

/// A card given for a charter: of one of its members, signed by the roots that the charter names.
fn member_card(beside: &Beside, charter: &Charter) -> Result<Card> {
    let card = Card::parse(beside.text()).map_err(|why| malformed(&beside.path, &why))?;
    let Some(member) = charter.members().find(|member| member.id == card.member) else {
        return Err(stranger(&beside.path, &card.member, &charter.title));
    };
    check::card(beside, &member.id, &member.roots)
}

/// A card of somebody whom the charter does not name.
pub(super) fn stranger(path: &std::path::Path, member: &MemberId, title: &str) -> Failure {
    refused(format!("{} is of {member}, who is neither party nor mediator of \"{title}\"", path.display()))
        .help("give the cards of the charter's own members")
}

fn leave_charter(directory: &ChannelDir, charter: &Verified<Charter>, known: bool) -> Result<Left> {
    if known {
        return Ok(Left::InPlace);
    }
    let path: PathBuf = directory.charter();
    let file = SignedFile::of(charter.document()).map_err(|why| failed(why.to_string()))?.to_json();
    layout::make_directory(directory.path(), 0o700).map_err(|why| unwritten(&path, &why))?;
    layout::create(&path, file.as_bytes(), layout::PRIVATE).map_err(|why| unwritten(&path, &why))?;
    Ok(Left::New)
}

/// Whose cards the tool has not seen, and what that means.
fn say_missing_cards(
    desk: &Desk<'_>,
    charter: &Charter,
    me: &MemberId,
    name: &str,
    said: &mut Said,
) -> Result<()> {
    let channels = channels::chosen(&desk.data, Some(name))?;
    let Some(channel) = channels.first() else { return Ok(()) };
    let roster = channel.roster();
    let missing = |id: &MemberId| id != me && roster.current(id).is_none();
    let install = |id: &MemberId| format!("demarche install {id}.card --data {}", quoted(desk.data.path()));
    for mediator in charter.mediators.iter().filter(|member| missing(&member.id)) {
        said.lines.push(format!("{}: no card yet, so its address is not known", mediator.id));
        said.next.push(install(&mediator.id));
    }
    for party in charter.parties.iter().filter(|member| missing(&member.id)) {
        said.lines.push(format!("{}: no card yet; it comes from the mediator, or by hand", party.id));
        said.next.push(install(&party.id));
    }
    Ok(())
}
