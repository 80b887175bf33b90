//! `sign FILE --key KEY`: the one act of a root. Shows what the text says, asks, and writes a signature beside it.

use std::path::{Path, PathBuf};

use clap::Args;
use demarche_control::layout;
use demarche_protocol::{
    charter::Charter,
    document::DocumentType,
    identity::{
        card::Card,
        keys::{PublicKey, SecretKey},
        member::MemberId,
        officer::Officer,
        revocation::Revocation,
        roots::RootList,
    },
};
use serde_json::json;

use super::{
    Desk,
    beside::{Beside, malformed, quoted},
    channels::unwritten,
    check::{Standing, charter_standing},
    officer::card_at_hand,
    plain,
    said::Said,
};
use crate::error::{Result, failed, refused, unverified};

/// What to sign.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// Any document: a charter, card, officer, revocation, list of roots, suspension or dispatch.
    file: PathBuf,
    /// Sign without asking.
    #[arg(long)]
    yes: bool,
}

/// Signs.
pub(super) fn run(args: &SignArgs, desk: &Desk<'_>) -> Result<Said> {
    let beside = Beside::read(&args.file)?;
    let (kind, plain) = plain::explain(beside.text()).map_err(|why| malformed(&args.file, &why))?;
    desk.show(&plain.headline);
    plain.lines.iter().for_each(|line| desk.show(&format!("  {line}")));
    let key = desk.signing_key()?;
    let public = key.public();
    let members = signs_for(&beside, &public)?;
    desk.show(&format!("  signed with   {}", public.fingerprint()));
    if let Some(warning) = foreign_root(&beside, &public) {
        desk.show(&warning);
    }
    if kind != DocumentType::Dispatch
        && let Some(node) = desk.key.as_deref().and_then(node_directory)
    {
        desk.show(&format!(
            "  the key lies in {}, a node's directory: a root must never touch a node",
            node.display()
        ));
    }
    if let Some(found) = beside.by(&public) {
        if !found.good {
            return Err(unverified(format!(
                "{} is by this key over another text: this {kind} was changed after it was signed",
                found.path.display()
            ))
            .help(format!("if the change is meant, remove it and sign again: rm {}", quoted(&found.path))));
        }
        let said = Said::new(format!("already signed: {}", found.path.display()));
        return finish(said, args, &found.path.clone(), &public);
    }
    if !args.yes && desk.on_terminal() && !desk.ask(&format!("Sign this {kind}?"))? {
        return Err(failed("not signed, as you said"));
    }
    // One key may be a root of several members; each member's own signature file is then found by its name.
    let mut paths = Vec::new();
    for member in members.iter().map(Some).chain(members.is_empty().then_some(None)) {
        paths.push(write(&beside, member, &key)?);
    }
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    finish(Said::new(format!("signed: {}", names.join(", "))), args, &paths[0], &public)
}

/// The node's data directory in which a file lies, if it does.
fn node_directory(file: &Path) -> Option<PathBuf> {
    let file = file.canonicalize().ok()?;
    file.ancestors().skip(1).find(|folder| folder.join("demarched.toml").exists()).map(Path::to_owned)
}

fn write(beside: &Beside, member: Option<&MemberId>, key: &SecretKey) -> Result<PathBuf> {
    let namespace = beside.kind.namespace();
    let armour = key.sign(namespace, beside.text().as_bytes()).to_armoured(namespace);
    let path = beside.free_path(member);
    layout::create(&path, armour.as_bytes(), layout::PUBLIC).map_err(|why| unwritten(&path, &why))?;
    Ok(path)
}

/// The members of a charter whose root the key is; none for other documents. A key whose signature could not count is
/// refused, as far as the text shows it.
fn signs_for(beside: &Beside, key: &PublicKey) -> Result<Vec<MemberId>> {
    let not_a_root = |of: &str, roots: &[(&MemberId, &RootList)]| {
        let known: Vec<String> = roots
            .iter()
            .flat_map(|(member, list)| {
                list.keys().iter().map(move |key| format!("{} ({member})", key.fingerprint()))
            })
            .collect();
        refused(format!("{} is no root of {of}; its roots are {}", key.fingerprint(), known.join(", ")))
            .help("give the key of a root with --key")
    };
    match beside.kind {
        DocumentType::Charter => {
            let charter = Charter::parse(beside.text()).map_err(|why| malformed(&beside.path, &why))?;
            let members: Vec<MemberId> = charter
                .members()
                .filter(|member| member.roots.keys().contains(key))
                .map(|member| member.id.clone())
                .collect();
            if members.is_empty() {
                let roots: Vec<_> = charter.members().map(|member| (&member.id, &member.roots)).collect();
                return Err(not_a_root("this charter", &roots));
            }
            Ok(members)
        }
        DocumentType::Card => {
            let card = Card::parse(beside.text()).map_err(|why| malformed(&beside.path, &why))?;
            if !card.roots.keys().contains(key) {
                return Err(not_a_root(&format!("{}'s card", card.member), &[(&card.member, &card.roots)]));
            }
            Ok(Vec::new())
        }
        _ => Ok(Vec::new()),
    }
}

/// A key that is no root of the member by the card at hand. Only a warning: the roots may have changed since.
fn foreign_root(beside: &Beside, key: &PublicKey) -> Option<String> {
    let member = match beside.kind {
        DocumentType::Officer => Officer::parse(beside.text()).ok()?.party,
        DocumentType::Revocation => Revocation::parse(beside.text()).ok()?.member,
        _ => return None,
    };
    let (path, card) = card_at_hand(&member)?;
    let foreign = !card.roots.keys().contains(key);
    foreign.then(|| {
        format!(
            "warning: {} is no root of {member} by {}: unless its roots have changed, this signature counts for nothing",
            key.fingerprint(),
            path.display()
        )
    })
}

/// Who is still missing, and the next command.
fn finish(said: Said, args: &SignArgs, path: &Path, key: &PublicKey) -> Result<Said> {
    let beside = Beside::read(&args.file)?;
    let file = quoted(&args.file);
    let standing = match beside.kind {
        DocumentType::Charter => {
            let charter = Charter::parse(beside.text()).map_err(|why| malformed(&beside.path, &why))?;
            charter_standing(&beside, &charter)
        }
        DocumentType::Card => {
            let card = Card::parse(beside.text()).map_err(|why| malformed(&beside.path, &why))?;
            vec![Standing::of(&beside, &card.member, &card.roots)]
        }
        _ => Vec::new(),
    };
    let missing: Vec<String> =
        standing.iter().filter(|standing| !standing.complete()).map(Standing::line).collect();
    let complete = missing.is_empty();
    let said = said.lines(missing.iter().map(|line| format!("  {line}"))).json(json!({
        "type": beside.kind.name(),
        "document": beside.document().id().to_string(),
        "key": key.fingerprint(),
        "signature": path.display().to_string(),
        "missing": missing,
    }));
    Ok(match beside.kind {
        _ if !complete => said.next(format!("the roots that are missing: demarche sign {file} --key ROOT.key")),
        DocumentType::Charter => said.next(format!("demarche charter verify {file}")),
        DocumentType::Card if layout::sealed_keys_file(&args.file).exists() => said
            .next("a spare card: into the safe with its .sig files and its .keys.age; it is not installed before its node is lost"),
        DocumentType::Card => said
            .next(format!("for a new charter: demarche charter draft --title TITLE --card {file} --card … --provisions FILE --out charter.toml"))
            .next(format!("for a channel that is installed: demarche install {file} --data DIR")),
        DocumentType::Dispatch => said.next(format!("demarche send {file}")),
        _ => said
            .next(format!("when as many roots have signed as the party needs: demarche install {file} --data DIR")),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use crate::{
        exit::Exit,
        screen::{Screen, Sink},
        world::{Env, Input, World},
    };

    fn on_a_terminal(typed: &str) -> World {
        let sink = || Sink { to: Box::new(Vec::new()) as Box<dyn Write + Send>, terminal: true };
        World {
            screen: Screen::new(sink(), sink(), true),
            input: Input::new(Box::new(std::io::Cursor::new(typed.to_owned())), true),
            env: Env::new([("HOME".into(), "/nonexistent".into())]),
            now: Box::new(crate::world::wall_clock),
            directory: ".".into(),
            interrupts: crate::interrupts::Interrupts::given().1,
        }
    }

    #[test]
    fn a_person_is_asked_and_only_yes_is_yes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let run = |line: &[String], typed: &str| {
            let arguments =
                std::iter::once("demarche".to_owned()).chain(line.iter().cloned()).map(Into::into);
            crate::run(arguments, &mut on_a_terminal(typed))
        };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(run(&words(&["key", "new", &path("r.key"), "--no-passphrase"]), ""), Exit::Done);
        let setup =
            ["setup", "party", "--data", &path("W"), "--id", "w", "--name", "W", "--root", &path("r.pub")];
        assert_eq!(run(&words(&setup), ""), Exit::Done);
        let card = path("W/w.card");
        let sign = words(&["sign", &card, "--key", &path("r.key")]);
        let signature = folder.path().join("W/w.card.sig");
        for typed in ["n\n", "\n", "", "yesterday\n"] {
            assert_eq!(run(&sign, typed), Exit::Failed, "{typed:?}");
            assert!(!signature.exists(), "{typed:?}");
        }
        assert_eq!(run(&sign, "y\n"), Exit::Done);
        assert!(signature.exists());
    }
}
