//! `charter draft`: members from their signed cards, provisions from a file, and every rule written out to be edited.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use demarche_control::layout;
use demarche_protocol::{
    charter::{Charter, Member, Policy, Provision},
    document::{DocumentType, Fields},
    hash::ChannelId,
    identity::card::{Card, Role},
};
use serde_json::json;

use crate::ceremony::{
    Desk,
    beside::{Beside, malformed, quoted, read_text},
    channels::unwritten,
    check,
    said::Said,
    words,
};
use crate::error::{Result, failed, refused, usage};

/// What a charter is drafted from.
#[derive(Debug, Args)]
pub struct DraftArgs {
    /// The memorandum's title.
    #[arg(long)]
    title: String,
    /// A member's card, signed by its roots and its node. Once for each party and mediator.
    #[arg(long = "card", value_name = "FILE", required = true)]
    cards: Vec<PathBuf>,
    /// The provisions that can be breached: `[[provision]]` with `code` and `title`.
    #[arg(long, value_name = "FILE")]
    provisions: PathBuf,
    /// Where the draft goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Drafts a charter. Nothing is signed yet.
pub(super) fn run(args: &DraftArgs, desk: &Desk<'_>) -> Result<Said> {
    let mut notes = Vec::new();
    let title = words::line("--title", &args.title, &mut notes)?;
    words::refuse_existing(&args.out)?;
    let (parties, mediators) = members(&args.cards)?;
    let charter = Charter {
        title,
        drafted_at: desk.now,
        parties,
        mediators,
        provisions: provisions(&args.provisions)?,
        policy: Policy::default(),
    };
    let text = annotate(&charter.render());
    // What was drafted must be what everybody will read.
    let read = Charter::parse(&text).map_err(|why| malformed(&args.out, &why))?;
    if read != charter {
        return Err(failed(format!("{} would not say what was asked for", args.out.display())));
    }
    layout::create(&args.out, text.as_bytes(), layout::PUBLIC).map_err(|why| unwritten(&args.out, &why))?;
    let ids = |members: &[Member]| {
        members.iter().map(|member| member.id.to_string()).collect::<Vec<_>>().join(", ")
    };
    let file = quoted(&args.out);
    Ok(Said::new(format!("a charter is drafted: {}", args.out.display()))
        .lines(notes)
        .line(format!("  parties     {}", ids(&charter.parties)))
        .line(format!("  mediators   {}", ids(&charter.mediators)))
        .line(format!("  provisions  {}", charter.provisions.len()))
        .line("edit its rules and fallbacks now: once anybody has signed, a change makes it another charter")
        .next(format!("demarche charter explain {file}"))
        .next(format!("each member's roots: demarche sign {file} --key ROOT.key"))
        .json(json!({
            "file": args.out.display().to_string(),
            "channel": ChannelId::of(text.as_bytes()).to_string(),
            "parties": charter.parties.iter().map(|member| member.id.to_string()).collect::<Vec<_>>(),
            "mediators": charter.mediators.iter().map(|member| member.id.to_string()).collect::<Vec<_>>(),
            "provisions": charter.provisions.len(),
        })))
}

/// Parties and mediators, in the order of the cards.
fn members(cards: &[PathBuf]) -> Result<(Vec<Member>, Vec<Member>)> {
    let mut parties: Vec<Member> = Vec::new();
    let mut mediators: Vec<Member> = Vec::new();
    for (at, path) in cards.iter().enumerate() {
        let card = signed_card(path)?;
        let known = parties.iter().chain(&mediators).position(|member| member.id == card.member);
        if known.is_some() {
            let first = cards[..at].iter().find(|path| member_of(path).as_ref() == Some(&card.member));
            return Err(refused(format!(
                "{} is given twice: by {} and by {}",
                card.member,
                first.map_or_else(String::new, |path| path.display().to_string()),
                path.display()
            ))
            .help("give one card for each party and mediator"));
        }
        let list = match card.role {
            Role::Party { .. } => &mut parties,
            Role::Mediator { .. } => &mut mediators,
        };
        list.push(Member { id: card.member, name: card.name, roots: card.roots, fallback: Vec::new() });
    }
    let names = |members: &[Member]| {
        members.iter().map(|member| member.id.to_string()).collect::<Vec<_>>().join(", ")
    };
    match (parties.len(), mediators.len()) {
        (0, _) => {
            Err(usage("a charter needs at least two parties; no party's card was given").help("--card FILE"))
        }
        (1, _) => {
            Err(usage(format!("a charter needs at least two parties; only {} was given", names(&parties)))
                .help("add the other party's card: --card FILE"))
        }
        (_, 0) => Err(usage("a charter needs at least one mediator; no mediator's card was given")
            .help("add the mediator's card: --card FILE")),
        _ => Ok((parties, mediators)),
    }
}

fn member_of(path: &Path) -> Option<demarche_protocol::identity::member::MemberId> {
    Some(Card::parse(&read_text(path).ok()?).ok()?.member)
}

/// A card that the roots printed on it and its own node have signed: who drafts a charter from it knows that somebody
/// holds those keys, and that the two belong together.
fn signed_card(path: &Path) -> Result<Card> {
    let beside = Beside::read(path)?;
    let claimed = Card::parse(beside.text()).map_err(|why| malformed(path, &why))?;
    check::card(&beside, &claimed.member, &claimed.roots)
}

fn provisions(path: &Path) -> Result<Vec<Provision>> {
    let text = read_text(path)?;
    let mut fields = Fields::of_toml(&text).map_err(|why| malformed(path, &why))?;
    let provisions = Provision::read_all(&mut fields).map_err(|why| malformed(path, &why))?;
    fields.finish().map_err(|why| malformed(path, &why))?;
    if provisions.is_empty() {
        return Err(refused(format!("{} holds no provision", path.display())).help(
            "a provision is: [[provision]], code = \"3.2\", title = { en = \"Freedom of navigation\" }",
        ));
    }
    Ok(provisions)
}

/// Adds comments where a charter is meant to be edited. They are part of the text that is signed, and say so.
fn annotate(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1024);
    let mut table = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("[[").and_then(|line| line.strip_suffix("]]")) {
            name.clone_into(&mut table);
        }
        if line == "[policy.flash]" {
            out.push_str("# Rules. What stands here holds as it was drafted unless it is edited before anyone signs.\n");
        }
        out.push_str(line);
        out.push('\n');
        if line.starts_with("roots_needed = ") {
            out.push_str(
                "# To have this printed when nothing gets through to it, remove the `# ` before both lines:\n",
            );
            // Writing into a String cannot fail.
            let _ = writeln!(out, "# [[{table}.fallback]]");
            out.push_str("# say = \"Foreign ministry watch desk, +00 00 0000\"\n");
        }
    }
    debug_assert_eq!(DocumentType::of(&out), Some(DocumentType::Charter));
    out
}
