//! `revoke FILE --reason WHY --out FILE`: drafts the document by which the roots end a card or an officer's key.

use std::path::PathBuf;

use clap::Args;
use demarche_control::layout;
use demarche_protocol::{
    document::DocumentType,
    identity::{
        card::Card,
        officer::Officer,
        revocation::{Revocation, Revoked},
    },
};
use serde_json::json;

use super::{
    Desk,
    beside::{Beside, malformed, quoted},
    channels::unwritten,
    said::Said,
    words,
};
use crate::error::{Result, refused};

/// What is revoked, and why.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The officer's document or the card.
    file: PathBuf,
    /// Why; both sides will read it.
    #[arg(long)]
    reason: String,
    /// Where the draft goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Drafts a revocation.
pub(super) fn run(args: &RevokeArgs, desk: &Desk<'_>) -> Result<Said> {
    let mut notes = Vec::new();
    let reason = words::line("--reason", &args.reason, &mut notes)?;
    words::refuse_existing(&args.out)?;
    let beside = Beside::read(&args.file)?;
    let wrong = |why| malformed(&args.file, &why);
    let (member, revoked, what) = match beside.kind {
        DocumentType::Card => {
            let card = Card::parse(beside.text()).map_err(wrong)?;
            let what = format!("card {} of {}", card.serial, card.member);
            let revoked = Revoked::Card { card: beside.document().id(), serial: card.serial };
            (card.member, revoked, what)
        }
        DocumentType::Officer => {
            let officer = Officer::parse(beside.text()).map_err(wrong)?;
            let what = format!("the key of {}, officer of {}", officer.name, officer.party);
            (officer.party, Revoked::Officer(officer.key), what)
        }
        other => {
            return Err(refused(format!(
                "{} is a {other}: only an officer or a card is revoked",
                args.file.display()
            ))
            .help("name the text that the roots signed for the officer or the card"));
        }
    };
    let revocation = Revocation { member, revoked, reason, channels: Vec::new(), issued_at: desk.now };
    let text = revocation.render();
    layout::create(&args.out, text.as_bytes(), layout::PUBLIC).map_err(|why| unwritten(&args.out, &why))?;
    let file = quoted(&args.out);
    let said = Said::new(format!("a revocation is drafted: {}", args.out.display()))
        .lines(notes)
        .line(format!("  {what} will no longer speak, from where the revocation stands in the log"))
        .line("it has no effect before the roots have signed and a node has taken it in");
    let said = match revocation.revoked {
        Revoked::Card { serial, .. } => said.line(format!(
            "nodes with that card or an older one are shut out at once: make a successor of card {serial} ready first \
             (demarche card renew)"
        )),
        Revoked::Officer(_) => said,
    };
    Ok(said
        .next(format!("on the machine of {}'s roots: demarche sign {file} --key ROOT.key", revocation.member))
        .next(format!("then: demarche install {file} --data DIR"))
        .json(json!({
            "file": args.out.display().to_string(),
            "document": demarche_protocol::hash::DocumentId::of(text.as_bytes()).to_string(),
            "member": revocation.member.as_str(),
            "revokes": what,
        })))
}
