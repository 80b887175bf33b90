//! `key new`: an Ed25519 key in OpenSSH's form, for a root or an officer; the same as `ssh-keygen -t ed25519`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use demarche_control::layout;
use demarche_protocol::identity::{keys::SecretKey, openssh};
use serde_json::json;

use super::{
    Desk,
    beside::{quoted, with_suffix},
    channels::unwritten,
    said::Said,
    words,
};
use crate::error::{Result, failed};
use crate::keyfile;

/// Commands about keys of people.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key for a root or an officer.
    New(NewArgs),
}

/// What the key is for and how it is protected.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Where the private key goes. The public one goes beside it: `root.pub` beside `root.key`.
    #[arg(value_name = "FILE", default_value = "root.key")]
    file: PathBuf,
    /// The same as FILE.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    out: Option<PathBuf>,
    /// A remark in the files: whose key it is.
    #[arg(long, default_value = "")]
    comment: String,
    /// Make it without a passphrase: whoever gets the file can sign.
    #[arg(long, conflicts_with = "passphrase_file")]
    no_passphrase: bool,
}

/// Makes the key.
pub(super) fn run(command: KeyCommand, desk: &Desk<'_>) -> Result<Said> {
    let KeyCommand::New(args) = command;
    let path = args.out.unwrap_or(args.file);
    let public_path = public_beside(&path);
    words::refuse_existing(&path)?;
    words::refuse_existing(&public_path)?;
    // Before anybody thinks of a passphrase.
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        return Err(failed(format!(
            "{} cannot be written: {} is not there",
            path.display(),
            folder.display()
        ))
        .help(format!("make the directory first: mkdir {}", quoted(folder))));
    }
    let comment = match args.comment.trim() {
        "" => String::new(),
        typed => words::line("--comment", typed, &mut Vec::new())?,
    };
    let passphrase = if args.no_passphrase { None } else { Some(desk.new_passphrase(&path)?) };
    let random = |why| failed(format!("the system gives no randomness: {why}"));
    let key = SecretKey::from_seed(&*keyfile::random::<32>().map_err(random)?);
    let salt = keyfile::random::<16>().map_err(random)?;
    let check = keyfile::random::<4>().map_err(random)?;
    let protection = passphrase.as_ref().map(|passphrase| openssh::Protection {
        passphrase: passphrase.as_str(),
        salt: *salt,
        check: u32::from_be_bytes(*check),
    });
    let pem = openssh::write(&key, &comment, protection.as_ref()).map_err(|why| failed(why.to_string()))?;
    put(&path, pem.as_bytes(), layout::PRIVATE)?;
    let public = key.public();
    put(&public_path, openssh::public_line(&public, &comment).trim_end().as_bytes(), layout::PUBLIC)?;
    let file = quoted(&public_path);
    Ok(Said::new(format!("key made: {} (keep it), {} (give it)", path.display(), public_path.display()))
        .line(format!("  fingerprint    {}", public.fingerprint()))
        .line(format!("  to read aloud  {}", public.spoken()))
        .next(format!("a root's: demarche setup party --data DIR --id ID --name NAME --root {file}"))
        .next(format!(
            "an officer's: demarche officer draft --name NAME --key {file} --duties draft,release,acknowledge --out officer.toml"
        ))
        .json(json!({
            "key": path.display().to_string(),
            "public": public.to_openssh(),
            "public_file": public_path.display().to_string(),
            "fingerprint": public.fingerprint(),
            "spoken": public.spoken(),
            "encrypted": passphrase.is_some(),
        })))
}

/// `root.pub` beside `root.key`; beside any other name, the name with `.pub` added, as `ssh-keygen` does.
pub(super) fn public_beside(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|ending| ending == "key") {
        path.with_extension("pub")
    } else {
        with_suffix(path, ".pub")
    }
}

fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut content = bytes.to_vec();
    if content.last() != Some(&b'\n') {
        content.push(b'\n');
    }
    let written = layout::create(path, &content, mode).map_err(|why| unwritten(path, &why));
    zeroize::Zeroize::zeroize(&mut content);
    written
}
