//! `officer draft|list`: the document by which a party's roots let a person act for it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use demarche_control::{layout, types::OfficerInfo};
use demarche_protocol::{
    hash::ChannelId,
    identity::{
        card::{Card, Role},
        member::MemberId,
        officer::{Duty, Officer},
    },
};
use serde_json::json;

use super::{
    Desk,
    beside::{quoted, read_text},
    channels::{self, Channel, unwritten},
    own,
    said::Said,
    words,
};
use crate::error::{Result, usage};

/// Commands about officers.
#[derive(Debug, Subcommand)]
pub enum OfficerCommand {
    /// Draft an officer's document for the roots to sign.
    Draft(DraftArgs),
    /// List the officers of every party, as the node knows them.
    List,
}

/// What an officer's document says.
#[derive(Debug, Args)]
pub struct DraftArgs {
    /// The officer's name or post, as both sides will see it.
    #[arg(long)]
    name: String,
    /// The officer's public key, which the document names: the .pub file that the officer gave. Nothing is signed here.
    // In place of the option of every command, whose key signs; `Globals` has it all the same.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// What the officer may do.
    #[arg(long, value_name = "DUTY", value_delimiter = ',', required = true)]
    duties: Vec<Duty>,
    /// Where the draft goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The party that the officer serves. Default: the one whose data directory or card is at hand.
    #[arg(long, value_name = "ID")]
    party: Option<MemberId>,
    /// When the document is due for renewal: a day, a UTC time or a duration.
    #[arg(long, value_name = "WHEN", default_value = words::VALID_FOR)]
    expires: String,
}

pub(super) fn run(command: OfficerCommand, desk: &Desk<'_>) -> Result<Said> {
    match command {
        OfficerCommand::Draft(args) => draft(args, desk),
        OfficerCommand::List => list(desk),
    }
}

fn draft(args: DraftArgs, desk: &Desk<'_>) -> Result<Said> {
    let mut notes = Vec::new();
    words::refuse_existing(&args.out)?;
    let key = desk.key.as_ref().ok_or_else(|| {
        usage("the officer's public key is not given")
            .help("--key officer.pub, the .pub file that the officer gave")
    })?;
    let mut duties = args.duties;
    duties.sort();
    duties.dedup();
    let officer = Officer {
        party: match args.party {
            Some(party) => party,
            None => party_at_hand(&args.out, desk)?,
        },
        name: words::line("--name", &args.name, &mut notes)?,
        key: words::public_key("--key", &key.display().to_string())?,
        duties,
        channels: only_channel(desk)?,
        issued_at: desk.now,
        expires_at: words::expires(&args.expires, desk.now)?,
    };
    let text = officer.render();
    layout::create(&args.out, text.as_bytes(), layout::PUBLIC).map_err(|why| unwritten(&args.out, &why))?;
    let file = quoted(&args.out);
    let all: Vec<&str> = officer.duties.iter().map(|duty| duty.as_str()).collect();
    Ok(Said::new(format!("an officer of {} is drafted: {}", officer.party, args.out.display()))
        .lines(notes)
        .line(format!("  name    {}", officer.name))
        .line(format!("  key     {}", officer.key.fingerprint()))
        .line(format!("  duties  {}", all.join(", ")))
        .next(format!("on the machine of {}'s roots: demarche sign {file} --key ROOT.key", officer.party))
        .next(format!("then: demarche install {file} --data DIR"))
        .json(json!({
            "file": args.out.display().to_string(),
            "document": demarche_protocol::hash::DocumentId::of(text.as_bytes()).to_string(),
            "party": officer.party.as_str(),
            "name": officer.name,
            "key": officer.key.to_openssh(),
            "duties": all,
            "expires_at": officer.expires_at.to_string(),
        })))
}

/// `--channel` narrows the document to one channel; without it, it holds for every channel of the party.
fn only_channel(desk: &Desk<'_>) -> Result<Vec<ChannelId>> {
    let Some(wanted) = desk.channel.as_deref() else { return Ok(Vec::new()) };
    match wanted.parse() {
        Ok(channel) => Ok(vec![channel]),
        Err(_) => Ok(channels::chosen(&desk.data, Some(wanted))?.iter().map(Channel::id).collect()),
    }
}

/// Which party is meant when it is not said: that of `--data`; else of the only party's card beside the output, here, or
/// one folder down.
fn party_at_hand(out: &Path, desk: &Desk<'_>) -> Result<MemberId> {
    let ask = |found: &[MemberId]| {
        let choices: Vec<String> = found.iter().map(|party| format!("--party {party}")).collect();
        usage("it is not said for which party the officer acts").help(if choices.is_empty() {
            "add --party ID, or --data with the party's data directory".to_owned()
        } else {
            format!("add {}", choices.join(" or "))
        })
    };
    if desk.data_was_named || desk.data.config().exists() {
        return own::read(&desk.data).map(|own| own.member);
    }
    let beside = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for folders in [vec![beside.to_owned()], vec![PathBuf::from(".")], folders_here()] {
        let mut parties: Vec<MemberId> = folders.iter().flat_map(|folder| parties_in(folder)).collect();
        parties.sort();
        parties.dedup();
        match parties.as_slice() {
            [] => {}
            [only] => return Ok(only.clone()),
            several => return Err(ask(several)),
        }
    }
    Err(ask(&[]))
}

fn folders_here() -> Vec<PathBuf> {
    let entries = fs::read_dir(".").into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn parties_in(folder: &Path) -> Vec<MemberId> {
    let cards = cards_in(folder).into_iter().filter(|(_, card)| matches!(card.role, Role::Party { .. }));
    cards.map(|(_, card)| card.member).collect()
}

fn cards_in(folder: &Path) -> Vec<(PathBuf, Card)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries
        .filter(|path| path.extension().is_some_and(|ending| ending == "card"))
        .filter_map(|path| Card::parse(&read_text(&path).ok()?).ok().map(|card| (path, card)))
        .collect()
}

/// The newest card of a member that lies here or one folder down.
pub(super) fn card_at_hand(member: &MemberId) -> Option<(PathBuf, Card)> {
    let folders = std::iter::once(PathBuf::from(".")).chain(folders_here());
    let cards = folders.flat_map(|folder| cards_in(&folder)).filter(|(_, card)| card.member == *member);
    cards.max_by_key(|(_, card)| card.serial)
}

/// From the node when it runs; else what this tool has installed.
fn list(desk: &Desk<'_>) -> Result<Said> {
    let mut officers: Vec<(String, OfficerInfo)> = Vec::new();
    let running = desk.node_officers()?;
    let from_node = running.is_some();
    match running {
        Some(found) => officers = found,
        None => {
            for channel in channels::chosen(&desk.data, desk.channel.as_deref())? {
                officers.extend(
                    channel.officers(desk.now).into_iter().map(|officer| (channel.name.clone(), officer)),
                );
            }
        }
    }
    let json: Vec<_> = officers
        .iter()
        .map(|(channel, officer)| {
            let mut json = json!(officer);
            json["channel"] = channel.as_str().into();
            json
        })
        .collect();
    let mut said = Said::default().json(json.into());
    if !from_node {
        said = said.line("the node does not answer; this is what was installed here:");
    }
    if officers.is_empty() {
        return Ok(said.line("no officers").next(
            "demarche officer draft --name NAME --key officer.pub --duties draft,release,acknowledge --out officer.toml",
        ));
    }
    for (channel, officer) in &officers {
        let duties: Vec<&str> = officer.duties.iter().map(|duty| duty.as_str()).collect();
        let day = officer.expires_at.to_string();
        let day = day.split('T').next().unwrap_or_default();
        let key = officer.key.parse::<demarche_protocol::identity::keys::PublicKey>();
        let fingerprint = key.map_or_else(|_| officer.key.clone(), |key| key.fingerprint());
        said = said
            .line(format!("{channel}  {}  {}: {}", officer.party, officer.name, officer.state))
            .line(format!("    {fingerprint}"))
            .line(format!("    {}; until {day}", duties.join(", ")));
    }
    Ok(said)
}
