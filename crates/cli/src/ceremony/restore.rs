//! `restore`: a data directory from a backup, for a node whose disk is gone. What a backup holds is looked at whole before anything is in its
//! place; the node itself takes the journal in when it starts.
//!
//! A backup has no keys, so the node speaks under another card: a spare one from the safe, or one that is drafted now for the roots to
//! sign. Under either nobody has written yet; what was written after the backup keeps its own card and numbers.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::Args;
use demarche_control::{
    backup::{ABOUT, in_data, is_journal_file},
    layout::{self, DataDir, PRIVATE, PUBLIC, SECRET_FILE},
};
use demarche_protocol::{
    document::SignedDocument,
    identity::card::{Card, CardSerial},
};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    Desk,
    backup::{self, contents::Found, sealed},
    beside::{Beside, malformed, quoted},
    card::addresses_on,
    channels::{self, unwritten},
    check,
    node_keys::{self, Draft, Secrets},
    said::Said,
    setup::{who_signs, write_card},
    words,
};
use crate::{
    error::{Result, failed, refused},
    files,
};

/// Where everything lies until all of it is there.
const STAGING: &str = ".restoring";

/// Numbers left free for cards that were issued since the backup was made, of which it knows nothing: eight renewals, each with a spare. Two cards
/// of one number would contradict each other.
const ISSUED_SINCE: u64 = 16;

/// From which backup, and under which card it will speak.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup.
    file: PathBuf,
    /// The private key of one of its recipients; of the spare card's as well.
    #[arg(long, value_name = "KEY")]
    identity: PathBuf,
    /// The signed spare card from the safe, its .sig files and its .keys.age beside it. Without it a card is drafted for the roots to sign.
    #[arg(long, value_name = "CARD")]
    spare: Option<PathBuf>,
}

/// Restores.
pub(super) fn run(args: &RestoreArgs, desk: &Desk<'_>) -> Result<Said> {
    let root = desk.data.path();
    refuse_in_use(root)?;
    let made = !root.exists();
    let staging = root.join(STAGING);
    // One that was broken off.
    let _ = fs::remove_dir_all(&staging);
    layout::make_directory(&staging, 0o700).map_err(|why| unwritten(root, &why))?;
    let staged = DataDir::new(&staging);
    let done = lay_out(args, &staged, desk).and_then(|laid| {
        move_up(&staging, root).map_err(|why| unwritten(root, &why))?;
        Ok(laid)
    });
    if done.is_err() {
        // Nothing half done stays; the first error is the one to report.
        let _ = fs::remove_dir_all(&staging);
        if made {
            let _ = fs::remove_dir(root);
        }
    }
    Ok(told(&done?, args, desk))
}

/// What was laid out.
struct Laid {
    found: Found,
    card: Card,
    /// Whether it is a spare one, which speaks at once.
    speaks: bool,
}

fn refuse_in_use(root: &Path) -> Result<()> {
    let entries = match fs::read_dir(root) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|why| files::unreadable(root, &why))?,
    };
    let mut names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    match names.find(|name| name != STAGING && name != "lost+found") {
        None => Ok(()),
        Some(name) => Err(failed(format!(
            "{} is not empty ({name} lies in it): a backup is restored into an empty directory only",
            root.display()
        ))
        .help("name another with --data; to keep what is left of a node, move its directory away first")),
    }
}

/// Everything that will be the data directory, in the staging directory.
fn lay_out(args: &RestoreArgs, staged: &DataDir, desk: &Desk<'_>) -> Result<Laid> {
    let found = backup::check(&args.file, &args.identity, desk, &mut |name, bytes| {
        let path = match in_data(name) {
            Some(path) => staged.path().join(path),
            None if name == ABOUT || is_journal_file(name) => {
                staged.restore().join(name.rsplit('/').next().unwrap_or(name))
            }
            None => return Ok(()),
        };
        let full = |why: io::Error| unwritten(&path, &why).help("free space there, and restore again");
        layout::make_directory(path.parent().unwrap_or(staged.path()), 0o700).map_err(full)?;
        let is_public = |ending: &OsStr| ["card", "sig", "toml"].iter().any(|public| ending == *public);
        let mode = if path.extension().is_some_and(is_public) { PUBLIC } else { PRIVATE };
        layout::create(&path, bytes, mode).map_err(full)
    })?;
    let (card, speaks) = match &args.spare {
        Some(path) => (spare(path, &found, staged, args, desk)?, true),
        None => (drafted(&found, staged, desk)?, false),
    };
    // Whatever the old disk held: under these cards it may have gone on.
    let last = found.last_written();
    let noted = fs::read_to_string(staged.last_card()).ok().and_then(|text| text.trim().parse().ok());
    let last = last.max(CardSerial(noted.unwrap_or(0)));
    if card.serial <= last {
        return Err(refused(format!(
            "card {} cannot be used: the node has written under card {last}, and perhaps more than the backup knows",
            card.serial
        ))
        .help("restore without --spare: a card with a higher serial is drafted for the roots to sign"));
    }
    let path = staged.last_card();
    layout::write(&path, format!("{last}\n").as_bytes(), PUBLIC).map_err(|why| unwritten(&path, &why))?;
    Ok(Laid { found, card, speaks })
}

/// Lays the spare card and its keys in their places.
fn spare(path: &Path, found: &Found, staged: &DataDir, args: &RestoreArgs, desk: &Desk<'_>) -> Result<Card> {
    let beside = Beside::read(path)?;
    let member = &found.about.party;
    let claimed = Card::parse(beside.text()).map_err(|why| malformed(path, &why))?;
    if claimed.member != *member {
        return Err(refused(format!(
            "{} is a card of {}, and the backup is {member}'s",
            path.display(),
            claimed.member
        ))
        .help(format!("name the spare card of {member}: --spare CARD")));
    }
    let channels = channels::all(staged)?;
    for channel in &channels {
        let roster = channel.roster();
        let Some(roots) = roster.roots(member) else { continue };
        check::card(&beside, member, roots)?;
        if let Some(current) = roster.current(member).filter(|current| current.serial > claimed.serial) {
            return Err(refused(format!(
                "card {} is replaced by card {}, which the backup knows: a spare counts until the node's card is renewed",
                claimed.serial, current.serial
            ))
            .help("take the spare that was made with that renewal; or restore without --spare, and have the roots sign"));
        }
    }
    if channels.is_empty() {
        check::card(&beside, member, &claimed.roots)?;
    }
    let sealed_keys = layout::sealed_keys_file(path);
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(SECRET_FILE).unwrap_or_default()));
    sealed::open(&sealed_keys, &args.identity, desk)?
        .take(SECRET_FILE)
        .read_to_string(&mut text)
        .map_err(|why| sealed::damaged(&sealed_keys, &why))?;
    let secrets = Secrets::of_card(&text, &claimed).ok_or_else(|| {
        refused(format!(
            "{} does not hold the keys that card {} names",
            sealed_keys.display(),
            claimed.serial
        ))
        .help("name the card with its own .keys.age beside it: --spare CARD")
    })?;
    secrets.write(staged, claimed.serial)?;
    keep_beside(&beside, &card_file(staged, &claimed))?;
    let document: SignedDocument = beside.document();
    for channel in &channels {
        channel.leave(&document)?;
    }
    Ok(claimed)
}

/// Writes a card's text and its signatures where the node's other cards are.
fn keep_beside(beside: &Beside, to: &Path) -> Result<()> {
    let put =
        |path: &Path, bytes: &[u8]| layout::write(path, bytes, PUBLIC).map_err(|why| unwritten(path, &why));
    put(to, beside.text().as_bytes())?;
    let name = beside.path.as_os_str().to_string_lossy().into_owned();
    for found in beside.signatures() {
        let from = found.path.as_os_str().to_string_lossy().into_owned();
        if let Some(ending) = from.strip_prefix(&name).filter(|ending| !ending.is_empty()) {
            let mut to = to.as_os_str().to_owned();
            to.push(ending);
            put(Path::new(&to), &files::read(&found.path, layout::SIGNED_FILE)?)?;
        }
    }
    Ok(())
}

/// Draws keys and drafts their card, higher than any that was issued.
fn drafted(found: &Found, staged: &DataDir, desk: &Desk<'_>) -> Result<Card> {
    let member = found.about.party.clone();
    let old = found.newest.as_ref().ok_or_else(|| failed("the backup holds no card of its own node"))?;
    let channels = channels::all(staged)?;
    let in_force = channels.iter().find_map(|channel| channel.roster().roots(&member).cloned());
    let draft = Draft {
        member,
        name: old.name.clone(),
        serial: CardSerial(found.highest().0 + ISSUED_SINCE + 1),
        addresses: addresses_on(old),
        roots: in_force.unwrap_or_else(|| old.roots.clone()),
        issued_at: desk.now,
        expires_at: words::expires(words::VALID_FOR, desk.now)?,
    };
    let drafted = node_keys::draft(staged, draft)?;
    write_card(staged, &card_file(staged, &drafted.card), &drafted)?;
    Ok(drafted.card)
}

fn card_file(data: &DataDir, card: &Card) -> PathBuf {
    data.path().join(format!("{}.{}.card", card.member, card.serial))
}

/// Puts everything in its place, the cards last: without one no node starts there.
fn move_up(staging: &Path, root: &Path) -> io::Result<()> {
    let mut names =
        fs::read_dir(staging)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort_by_key(|name| Path::new(name).extension().is_some_and(|ending| ending == "card"));
    for name in names {
        layout::rename(&staging.join(&name), &root.join(&name))?;
    }
    fs::remove_dir(staging)
}

fn told(laid: &Laid, args: &RestoreArgs, desk: &Desk<'_>) -> Said {
    let Laid { found, card, speaks } = laid;
    let data = &desk.data;
    let path = card_file(data, card);
    let said = Said::new(format!("{}'s node is restored in {}", card.member, data.path().display()))
        .line(format!("  as of          {}, up to record {}", found.about.made_at, found.about.journal))
        .lines(if found.about.mediates {
            vec![format!("  card           {}; what was learned since comes back from the capitals", card.serial)]
        } else {
            vec![
                format!("  card           {}: a new volume begins under it", card.serial),
                "  written since  comes back from the peers and is shown as disowned; what nobody else has is lost"
                    .to_owned(),
            ]
        });
    let start = format!("demarched --data {}", quoted(data.path()));
    let said = if *speaks {
        said.next(start).next(format!(
            "the spare is used up; make the next one: demarche card spare --data {} --recipient KEY",
            quoted(data.path())
        ))
    } else {
        said.line(format!("  to be signed by {}", who_signs(&card.roots)))
            .next(format!("on the machine of the roots: demarche sign {} --key ROOT.key", quoted(&path)))
            .next(format!("then here: demarche install {} --data {}", quoted(&path), quoted(data.path())))
            .next(start)
    };
    said.json(json!({
        "file": args.file.display().to_string(),
        "data": data.path().display().to_string(),
        "party": card.member.as_str(),
        "made_at": found.about.made_at.to_string(),
        "journal": found.about.journal,
        "card": path.display().to_string(),
        "serial": card.serial.0,
        "signed": speaks,
    }))
}
