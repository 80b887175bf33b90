//! `card renew`: new keys and a new card for the same node. The old card speaks until the new one is signed and
//! installed. `card spare`: the same for the safe, its keys sealed and not left here.
//!
//! Serials order them: a spare's is lower than the next renewal's, so that it counts after a loss and no longer once the node has been
//! renewed; a renewal makes the next spare.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use demarche_control::layout::{self, DataDir, PRIVATE, PUBLIC, Unfinished};
use demarche_protocol::{
    hash::DocumentId,
    identity::{
        card::{Card, CardSerial, Role},
        keys::PublicKey,
        roots::RootList,
    },
};
use serde_json::{Value, json};

use super::{
    Desk,
    backup::sealed,
    beside::quoted,
    channels::{self, unwritten},
    node_keys::{self, Draft, Drafted},
    own::{self, Own},
    said::Said,
    setup::{public_address, who_signs, write_card},
    words,
};
use crate::error::{Result, failed, usage};

/// Commands about the node's card.
#[derive(Debug, Subcommand)]
pub enum CardCommand {
    /// Draw new keys and draft their card, with the next serial; and the next spare card, where one was made before.
    Renew(RenewArgs),
    /// Draft a card for the safe, with keys of its own, sealed: with it a lost node speaks again at once.
    ///
    /// Its keys are sealed into `ID.SERIAL.card.keys.age`. The roots sign it now; it is not installed before it is needed. `card renew`
    /// makes the next one for the same recipients.
    Spare(SpareArgs),
}

/// What the new card says that the old one did not.
#[derive(Debug, Args)]
pub struct RenewArgs {
    /// Where the card goes. Default: `ID.SERIAL.card` in the data directory.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A mediator's new address, host and port. Default: those of the old card.
    #[arg(long, value_name = "HOST:PORT")]
    public: Vec<String>,
    /// When the card is due for renewal: a day, a UTC time or a duration.
    #[arg(long, value_name = "WHEN", default_value = words::VALID_FOR)]
    expires: String,
}

/// For whom the spare card's keys are sealed.
#[derive(Debug, Args)]
pub struct SpareArgs {
    /// Who can open the keys: an `ssh-ed25519` public key's line, or the .pub file that holds it. Once for each.
    #[arg(long = "recipient", value_name = "KEY", required = true)]
    recipients: Vec<String>,
    /// When the card is due for renewal: a day, a UTC time or a duration.
    #[arg(long, value_name = "WHEN", default_value = words::VALID_FOR)]
    expires: String,
}

/// Drafts the new card.
pub(super) fn run(command: CardCommand, desk: &Desk<'_>) -> Result<Said> {
    match command {
        CardCommand::Renew(args) => renew(args, desk),
        CardCommand::Spare(args) => spare(&args, desk),
    }
}

fn renew(args: RenewArgs, desk: &Desk<'_>) -> Result<Said> {
    let data = &desk.data;
    let own = own::read(data)?;
    let old = &own.newest().ok_or_else(|| failed("no card"))?.card;
    let addresses = match (&old.role, args.public.as_slice()) {
        (_, []) => addresses_on(old),
        (Role::Party { .. }, [typed, ..]) => {
            return Err(usage(format!("--public {typed}: only a mediator's card has addresses")));
        }
        (Role::Mediator { .. }, typed) => {
            Some(typed.iter().map(|typed| public_address(typed)).collect::<Result<Vec<_>>>()?)
        }
    };
    let mut draft = next(&own, old, &args.expires, desk)?;
    draft.addresses.clone_from(&addresses);
    let serial = draft.serial;
    let path = args.out.unwrap_or_else(|| own.card_file(data, serial));
    words::refuse_existing(&path)?;
    let recipients = remembered(data)?;
    let drafted = node_keys::draft(data, draft)?;
    write_card(data, &path, &drafted)?;
    let said = Said::new(format!("card {serial} of {} is drafted: {}", own.member, path.display()))
        .line(format!("  keys           {}", data.keys(serial).display()))
        .line(format!("  to be signed by {}", who_signs(&drafted.card.roots)))
        .line("the old card speaks until the new one is signed and installed")
        .next(format!("on the machine of the roots: demarche sign {} --key ROOT.key", quoted(&path)))
        .next(format!("then here: demarche install {} --data {}", quoted(&path), quoted(data.path())));
    let mut told = told(&own, &path, &drafted);
    if recipients.is_empty() {
        return Ok(said.json(told));
    }
    let draft = Draft { serial: CardSerial(serial.0 + 1), ..next(&own, old, &args.expires, desk)? };
    let (spare, drafted) = make_spare(&own, Draft { addresses, ..draft }, &recipients, desk)?;
    told["spare"] = self::told(&own, &spare, &drafted);
    let said = said.line(format!(
        "the spare card in the safe counts no longer once this one is installed: {} takes its place",
        spare.display()
    ));
    Ok(into_the_safe(said, &spare).json(told))
}

fn spare(args: &SpareArgs, desk: &Desk<'_>) -> Result<Said> {
    let data = &desk.data;
    let recipients = sealed::recipients(&args.recipients)?;
    let own = own::read(data)?;
    let old = &own.newest().ok_or_else(|| failed("no card"))?.card;
    let draft = next(&own, old, &args.expires, desk)?;
    let (path, drafted) = make_spare(&own, draft, &recipients, desk)?;
    let lines: String = recipients.iter().map(|key| key.to_openssh() + "\n").collect();
    let remember = data.spare_recipients();
    layout::write(&remember, lines.as_bytes(), PUBLIC).map_err(|why| unwritten(&remember, &why))?;
    let said = Said::new(format!(
        "spare card {} of {} is drafted: {}",
        drafted.card.serial,
        own.member,
        path.display()
    ))
    .line(format!("  keys           {}, sealed", layout::sealed_keys_file(&path).display()))
    .line(format!("  to be signed by {}", who_signs(&drafted.card.roots)))
    .line("it counts when this node is lost, and no longer once the node's card has been renewed")
    .next(format!("on the machine of the roots: demarche sign {} --key ROOT.key", quoted(&path)));
    Ok(into_the_safe(said, &path).json(told(&own, &path, &drafted)))
}

/// What becomes of a spare card.
fn into_the_safe(said: Said, path: &std::path::Path) -> Said {
    said.next(format!(
        "into the safe, once the roots have signed {file}: it, its .sig files and its .keys.age. Do not install it: it would shut this node out",
        file = path.display()
    ))
    .next("after a loss: demarche restore BACKUP --identity KEY --spare CARD --data DIR")
}

/// Draws the keys of a spare card, seals them, and drafts it. Nothing of them is left open on this disk.
fn make_spare(
    own: &Own,
    draft: Draft,
    recipients: &[PublicKey],
    desk: &Desk<'_>,
) -> Result<(PathBuf, Drafted)> {
    use std::io::Write as _;
    let data = &desk.data;
    let path = own.card_file(data, draft.serial);
    let keys = layout::sealed_keys_file(&path);
    words::refuse_existing(&path)?;
    let (drafted, secrets) = node_keys::draw(draft)?;
    let failed = |why: std::io::Error| unwritten(&keys, &why);
    let mut seal = sealed::seal(recipients, Unfinished::create(&keys, PRIVATE).map_err(failed)?)?;
    seal.write_all(secrets.to_text().as_bytes()).map_err(failed)?;
    seal.finish().and_then(Unfinished::finish).map_err(failed)?;
    write_card(data, &path, &drafted).inspect_err(|_| {
        // They are on no card, and the first error is the one to report.
        let _ = layout::remove(&keys);
    })?;
    Ok((path, drafted))
}

fn told(own: &Own, path: &std::path::Path, drafted: &Drafted) -> Value {
    json!({
        "member": own.member.as_str(),
        "card": path.display().to_string(),
        "document": DocumentId::of(drafted.text.as_bytes()).to_string(),
        "serial": drafted.card.serial.0,
        "node": drafted.card.node.to_openssh(),
        "fingerprint": drafted.card.node.fingerprint(),
    })
}

/// The next card after all that are known: those whose cards or keys lie here, and those of which a node that runs has heard, for its
/// disk may have been set back.
fn next(own: &Own, old: &Card, expires: &str, desk: &Desk<'_>) -> Result<Draft> {
    let heard = desk.with_node(|client| async move { client.status().await });
    let heard = heard.ok().filter(|status| status.party == own.member);
    let heard =
        heard.into_iter().flat_map(|status| status.channels).filter_map(|channel| channel.newest_card);
    let highest = heard.max().unwrap_or(0).max(own.highest.0);
    Ok(Draft {
        member: own.member.clone(),
        name: old.name.clone(),
        serial: CardSerial(highest + 1),
        addresses: addresses_on(old),
        roots: roots_in_force(&desk.data, own, &old.roots)?,
        issued_at: desk.now,
        expires_at: words::expires(expires, desk.now)?,
    })
}

/// A mediator's addresses, for its next card.
pub(super) fn addresses_on(card: &Card) -> Option<Vec<demarche_protocol::identity::card::Address>> {
    match &card.role {
        Role::Party { .. } => None,
        Role::Mediator { addresses } => Some(addresses.clone()),
    }
}

/// For whom the last spare card was made; nobody when none was.
fn remembered(data: &DataDir) -> Result<Vec<PublicKey>> {
    let path = data.spare_recipients();
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = super::beside::read_text(&path)?;
    let read =
        |line: &str| PublicKey::from_openssh(line).map_err(|why| super::beside::malformed(&path, &why));
    text.lines().map(read).collect()
}

/// The roots that will have to sign: those of the first installed charter, else those of the old card.
fn roots_in_force(data: &DataDir, own: &Own, printed: &RootList) -> Result<RootList> {
    let channels = channels::all(data)?;
    let in_force = channels.iter().find_map(|channel| channel.roster().roots(&own.member).cloned());
    Ok(in_force.unwrap_or_else(|| printed.clone()))
}
