//! `setup party|mediator`: a new data directory with the node's keys, a card for the roots to sign, and the
//! configuration. The roots' private keys are neither asked for nor wanted here.

use std::{net::SocketAddr, path::Path};

use clap::{Args, Subcommand};
use demarche_control::layout::{self, DataDir};
use demarche_protocol::identity::{
    card::{Address, CardSerial},
    member::MemberId,
    roots::RootList,
};
use serde_json::json;

use super::{
    Desk,
    beside::{quoted, with_suffix},
    config,
    node_keys::{self, Draft, Drafted},
    said::Said,
    words,
};
use crate::error::{Result, failed, usage};

/// Whose node.
#[derive(Debug, Subcommand)]
pub enum SetupCommand {
    /// A capital's node.
    Party(Common),
    /// A mediator's node.
    Mediator(MediatorArgs),
}

/// What every node's card says.
#[derive(Debug, Args)]
pub struct Common {
    /// Short name, as it will stand in serials: lower-case letters, digits and hyphens.
    #[arg(long)]
    id: MemberId,
    /// Full name, as both sides will see it.
    #[arg(long)]
    name: String,
    /// Public key of a root: a .pub file, or its line. Once for each root.
    #[arg(long = "root", value_name = "FILE", required = true)]
    roots: Vec<String>,
    /// How many of the roots must sign. Needed when there are several; 2 of 3 is advised.
    #[arg(long, value_name = "NUMBER")]
    roots_needed: Option<usize>,
    /// When the card is due for renewal: a day, a UTC time or a duration.
    #[arg(long, value_name = "WHEN", default_value = words::VALID_FOR)]
    expires: String,
}

/// What a mediator's card says besides.
#[derive(Debug, Args)]
pub struct MediatorArgs {
    #[command(flatten)]
    common: Common,
    /// Where the node listens, TCP and UDP: address and port.
    #[arg(long, value_name = "ADDRESS:PORT", required = true)]
    listen: Vec<String>,
    /// Where others reach it, when that differs: host and port.
    #[arg(long, value_name = "HOST:PORT")]
    public: Vec<String>,
}

/// Makes the directory.
pub(super) fn run(command: SetupCommand, desk: &Desk<'_>) -> Result<Said> {
    match command {
        SetupCommand::Party(common) => set_up(&common, None, desk),
        SetupCommand::Mediator(args) => {
            let reached = Reached::new(&args)?;
            set_up(&args.common, Some(&reached), desk)
        }
    }
}

/// Where a mediator listens and is reached.
struct Reached {
    listen: Vec<SocketAddr>,
    public: Vec<Address>,
}

impl Reached {
    fn new(args: &MediatorArgs) -> Result<Self> {
        let listen = args.listen.iter().map(|typed| listen_address(typed)).collect::<Result<Vec<_>>>()?;
        let public = args.public.iter().map(|typed| public_address(typed)).collect::<Result<Vec<_>>>()?;
        if public.is_empty()
            && let Some(any) = listen.iter().find(|address| address.ip().is_unspecified())
        {
            return Err(usage(format!(
                "--listen {any} says where to listen, not where others reach the node"
            ))
            .help("name that too: --public relay.example:7701"));
        }
        Ok(Self { listen, public })
    }

    /// What stands on the card: the public addresses, else those it listens on.
    fn on_card(&self) -> Result<Vec<Address>> {
        if !self.public.is_empty() {
            return Ok(self.public.clone());
        }
        self.listen.iter().map(|address| public_address(&address.to_string())).collect()
    }
}

fn listen_address(typed: &str) -> Result<SocketAddr> {
    typed.parse().ok().filter(|address: &SocketAddr| address.port() != 0).ok_or_else(|| {
        usage(format!("--listen {typed}: not an address to listen on"))
            .help("like 127.0.0.1:7701, 0.0.0.0:7701 or [::]:7701")
    })
}

/// An address for a card, as typed after `--public`.
pub(super) fn public_address(typed: &str) -> Result<Address> {
    typed.parse().map_err(|why| usage(format!("--public {typed}: {why}")))
}

fn set_up(common: &Common, reached: Option<&Reached>, desk: &Desk<'_>) -> Result<Said> {
    let mut notes = Vec::new();
    let name = words::line("--name", &common.name, &mut notes)?;
    let roots = root_list(&common.roots, common.roots_needed)?;
    let expires_at = words::expires(&common.expires, desk.now)?;
    let addresses = reached.map(Reached::on_card).transpose()?;
    let data = &desk.data;
    refuse_set_up(data)?;
    let unwritten =
        |why: std::io::Error| failed(format!("{} cannot be written: {why}", data.path().display()));
    layout::make_directory(data.path(), 0o700).map_err(unwritten)?;
    let draft = Draft {
        member: common.id.clone(),
        name,
        serial: CardSerial(1),
        addresses,
        roots,
        issued_at: desk.now,
        expires_at,
    };
    let drafted = node_keys::draft(data, draft)?;
    let card = data.card(&common.id);
    write_card(data, &card, &drafted)?;
    let strings = |reached: &Reached| {
        let listen: Vec<String> = reached.listen.iter().map(SocketAddr::to_string).collect();
        (listen, reached.public.iter().map(Address::to_string).collect::<Vec<_>>())
    };
    let (listen, public) = reached.map(strings).unwrap_or_default();
    let text = config::render(&listen, &public);
    layout::create(&data.config(), text.as_bytes(), layout::PUBLIC).map_err(unwritten)?;
    let said = Said::new(format!("{} is set up as the node of {}", data.path().display(), common.id))
        .lines(notes)
        .line(format!("  keys           {}", data.keys(CardSerial(1)).display()))
        .line(format!("  configuration  {}", data.config().display()))
        .line(format!(
            "  card           {}, to be signed by {}",
            card.display(),
            who_signs(&drafted.card.roots)
        ));
    Ok(said
        .next(format!("on the machine of the roots: demarche sign {} --key ROOT.key", quoted(&card)))
        .json(json!({
            "member": common.id.as_str(),
            "data": data.path().display().to_string(),
            "card": card.display().to_string(),
            "document": demarche_protocol::hash::DocumentId::of(drafted.text.as_bytes()).to_string(),
            "serial": 1,
            "node": drafted.card.node.to_openssh(),
            "fingerprint": drafted.card.node.fingerprint(),
            "config": data.config().display().to_string(),
        })))
}

/// Writes a card and its node's signature; neither replaces anything.
///
/// A card that cannot be written takes its keys along: they were drawn for nothing else, and would use up its serial.
pub(super) fn write_card(data: &DataDir, path: &Path, drafted: &Drafted) -> Result<()> {
    let possession = with_suffix(path, ".node.sig");
    let create = |path: &Path, text: &str| {
        layout::create(path, text.as_bytes(), layout::PUBLIC)
            .map_err(|why| failed(format!("{} cannot be written: {why}", path.display())))
    };
    let written = create(path, &drafted.text).and_then(|()| {
        create(&possession, &drafted.possession).inspect_err(|_| {
            // The first error is the one to report.
            let _ = layout::remove(path);
        })
    });
    written.inspect_err(|_| node_keys::withdraw(data, drafted.card.serial))
}

/// Who must sign a card, in words.
pub(super) fn who_signs(roots: &RootList) -> String {
    match (roots.needed(), roots.keys()) {
        (1, [only]) => format!("the root {}", only.fingerprint()),
        (needed, keys) => format!("{needed} of {} roots", keys.len()),
    }
}

fn root_list(typed: &[String], needed: Option<usize>) -> Result<RootList> {
    let keys = typed.iter().map(|typed| words::public_key("--root", typed)).collect::<Result<Vec<_>>>()?;
    let needed = match (needed, keys.len()) {
        (Some(needed), _) => needed,
        (None, 1) => 1,
        (None, several) => {
            return Err(usage(format!("{several} roots: it is not said how many of them must sign"))
                .help(format!("--roots-needed {}", several / 2 + 1)));
        }
    };
    RootList::new(keys, needed).map_err(|why| usage(format!("--root: {why}")))
}

fn refuse_set_up(data: &DataDir) -> Result<()> {
    let folder = data.path();
    if data.config().exists() {
        return Err(failed(format!("{} is set up already; it is left as it is", folder.display()))
            .help("name another directory with --data; for new keys of the same node: demarche card renew"));
    }
    if folder.join("keys").exists() {
        return Err(failed(format!("{} holds keys of a setup that was broken off", folder.display())).help(
            format!("if nothing of it was signed, remove it and begin again: rm -r {}", quoted(folder)),
        ));
    }
    Ok(())
}
