//! `card renew`: new keys and a new card for the same node. The old card speaks until the new one is signed and
//! installed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use demarche_control::layout::DataDir;
use demarche_protocol::identity::{
    card::{CardSerial, Role},
    roots::RootList,
};
use serde_json::json;

use super::{
    Desk,
    beside::quoted,
    channels,
    node_keys::{self, Draft},
    own::{self, Own},
    said::Said,
    setup::{public_address, who_signs, write_card},
    words,
};
use crate::error::{Result, failed, usage};

/// Commands about the node's card.
#[derive(Debug, Subcommand)]
pub enum CardCommand {
    /// Draw new keys and draft their card, with the next serial.
    Renew(RenewArgs),
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

/// Drafts the new card.
pub(super) fn run(command: CardCommand, desk: &Desk<'_>) -> Result<Said> {
    let CardCommand::Renew(args) = command;
    let data = &desk.data;
    let own = own::read(data)?;
    let old = &own.newest().ok_or_else(|| failed("no card"))?.card;
    let addresses = match (&old.role, args.public.as_slice()) {
        (Role::Party { .. }, []) => None,
        (Role::Party { .. }, [typed, ..]) => {
            return Err(usage(format!("--public {typed}: only a mediator's card has addresses")));
        }
        (Role::Mediator { addresses }, []) => Some(addresses.clone()),
        (Role::Mediator { .. }, typed) => {
            Some(typed.iter().map(|typed| public_address(typed)).collect::<Result<Vec<_>>>()?)
        }
    };
    let serial = CardSerial(own.highest.0 + 1);
    let path = args.out.unwrap_or_else(|| data.path().join(format!("{}.{serial}.card", own.member)));
    words::refuse_existing(&path)?;
    let draft = Draft {
        member: own.member.clone(),
        name: old.name.clone(),
        serial,
        addresses,
        roots: roots_in_force(data, &own, &old.roots)?,
        issued_at: desk.now,
        expires_at: words::expires(&args.expires, desk.now)?,
    };
    let drafted = node_keys::draft(data, draft)?;
    write_card(data, &path, &drafted)?;
    Ok(Said::new(format!("card {serial} of {} is drafted: {}", own.member, path.display()))
        .line(format!("  keys           {}", data.keys(serial).display()))
        .line(format!("  to be signed by {}", who_signs(&drafted.card.roots)))
        .line("the old card speaks until the new one is signed and installed")
        .next(format!("on the machine of the roots: demarche sign {} --key ROOT.key", quoted(&path)))
        .next(format!("then here: demarche install {} --data {}", quoted(&path), quoted(data.path())))
        .json(json!({
            "member": own.member.as_str(),
            "card": path.display().to_string(),
            "document": demarche_protocol::hash::DocumentId::of(drafted.text.as_bytes()).to_string(),
            "serial": serial.0,
            "node": drafted.card.node.to_openssh(),
            "fingerprint": drafted.card.node.fingerprint(),
        })))
}

/// The roots that will have to sign: those of the first installed charter, else those of the old card.
fn roots_in_force(data: &DataDir, own: &Own, printed: &RootList) -> Result<RootList> {
    let channels = channels::all(data)?;
    let in_force = channels.iter().find_map(|channel| channel.roster().roots(&own.member).cloned());
    Ok(in_force.unwrap_or_else(|| printed.clone()))
}
