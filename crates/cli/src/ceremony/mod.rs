//! The ceremony: how keys, cards, charters and officers come to be. Every act of a root is one verb, `sign`, on a readable
//! file, on a machine that is not the node; every step says who or what is missing and what to type next.
//!
//! How a node is kept and comes back is here as well, since it turns on cards and keys: `backup`, `restore`.
//!
//! One file for each command. [`beside`] reads a text and its signatures, [`check`] says whether the roots have signed,
//! [`channels`] and [`own`] read a data directory, [`plain`] says what a document says.

mod backup;
mod beside;
mod card;
mod channels;
mod charter;
mod check;
mod config;
mod desk;
mod install;
mod key;
mod node_keys;
mod officer;
mod own;
mod plain;
mod profile;
mod restore;
mod revoke;
mod said;
mod setup;
mod sign;
mod words;

use clap::Subcommand;

use desk::Desk;

use crate::{args::Globals, error::Result, exit::Exit, world::World};

/// The commands of the ceremony.
#[derive(Debug, Subcommand)]
pub enum CeremonyCommand {
    /// Make keys for roots and officers.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Make a node's data directory: its keys, its card for the roots to sign, its configuration.
    #[command(subcommand)]
    Setup(setup::SetupCommand),
    /// Show what a document says, and sign it.
    Sign(sign::SignArgs),
    /// Draft, explain, check and show charters.
    #[command(subcommand)]
    Charter(charter::CharterCommand),
    /// Verify a signed document and leave it for the node, stopped or running, to take in.
    Install(install::InstallArgs),
    /// Draft and list officers.
    #[command(subcommand)]
    Officer(officer::OfficerCommand),
    /// Draft a revocation of an officer or a card.
    Revoke(revoke::RevokeArgs),
    /// Renew the node's card, or make a spare one for the safe.
    #[command(subcommand)]
    Card(card::CardCommand),
    /// Put the node's memory into one sealed file, while it runs; never its keys.
    ///
    /// It is for the node's own account, and sealed in the age format: `age -d` opens it, and inside is a tar file.
    Backup(backup::BackupArgs),
    /// Make a data directory from a backup, for a node whose disk is gone.
    ///
    /// It goes into an empty directory. The node then speaks under the spare card, or under the one that is drafted now; what was written after the
    /// backup comes back from the peers.
    Restore(restore::RestoreArgs),
    /// Write the officer's own configuration: pins channel, key and node.
    ///
    /// It has no options of its own: `--data` (or `--socket`) says which node, `--channel` which channel, `--key` which private
    /// key, and `--profile` where the profile goes. With one of its own for each office, name it later by `--profile` or
    /// `DEMARCHE_PROFILE`.
    Profile(profile::ProfileArgs),
}

/// Runs one of them and prints what it says.
pub fn run(command: CeremonyCommand, globals: &Globals, world: &mut World) -> Result<Exit> {
    let desk = &Desk::new(globals, world)?;
    let said = match command {
        CeremonyCommand::Key(command) => key::run(command, desk),
        CeremonyCommand::Setup(command) => setup::run(command, desk),
        CeremonyCommand::Sign(args) => sign::run(&args, desk),
        CeremonyCommand::Charter(command) => charter::run(command, desk),
        CeremonyCommand::Install(args) => install::run(&args, desk),
        CeremonyCommand::Officer(command) => officer::run(command, desk),
        CeremonyCommand::Revoke(args) => revoke::run(&args, desk),
        CeremonyCommand::Card(command) => card::run(command, desk),
        CeremonyCommand::Backup(args) => backup::run(args, desk),
        CeremonyCommand::Restore(args) => restore::run(&args, desk),
        CeremonyCommand::Profile(args) => profile::run(&args, desk),
    }?;
    let incomplete = said.incomplete;
    desk.tell(said);
    Ok(if incomplete { Exit::Failed } else { Exit::Done })
}
