//! The command line: one enum of commands, and the options that may stand before or after each.

use std::{ffi::OsString, path::PathBuf, str::FromStr};

use clap::{
    Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};

use crate::{ceremony, commands, invocation::Invocation};

/// The officers' tool.
#[derive(Debug, Parser)]
#[command(
    name = "demarche",
    version,
    about = "The officers' tool: report a breach, answer, and see how the line is",
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 node not reachable, 4 refused by rule here, \
                  5 --wait ran out of time, 6 a verification failed, 7 refused or expired on the way",
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads a command line, and keeps it as it was typed.
    pub fn read(arguments: &[OsString]) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(arguments)?;
        let mut cli = Self::from_arg_matches(&matches).map_err(|why| why.format(&mut command))?;
        cli.globals.invocation = Invocation::of(&command, &matches);
        Ok(cli)
    }
}

/// What the tool does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report a breach: opens a case.
    ///
    /// On a terminal it asks for what is missing, shows the notice, and then sends, edits or keeps it. In scripts the
    /// text comes on stdin, its first line is the title.
    Breach(Box<commands::breach::Breach>),
    /// List dispatches, headers only: reading does not betray that one has read.
    Inbox(commands::inbox::Inbox),
    /// Display a dispatch, and tell the other side that it was displayed to you.
    Open(commands::open::Open),
    /// Acknowledge a dispatch: receipt and understanding; not agreement.
    Ack(commands::ack::Ack),
    /// Take a position on a case. The text comes on stdin.
    Reply(commands::reply::Reply),
    /// Say something, in a case or outside any. The text comes on stdin.
    Say(commands::say::Say),
    /// Send what was signed elsewhere, or kept by a command that failed. May be repeated safely.
    Send(commands::send::Send),
    /// List the cases: notices and how far they have come.
    Cases(commands::cases::Cases),
    /// Show a dispatch or a whole case with all evidence, without telling anyone.
    Show(commands::show::Show),
    /// Show what happens as it happens; ring for urgent arrivals until they are opened, and for alarms until they are taken.
    Watch(commands::watch::Watch),
    /// List the alarms, those that call somebody first; or take them by name.
    ///
    /// An alarm is told, and told again every minute, until its cause is over or somebody takes it. Those that are over stay listed
    /// for a while.
    Alarms(commands::alarms::Alarms),
    /// Say how the line is, the verdict first.
    Status(commands::status::Status),
    /// Test the line.
    #[command(subcommand)]
    Line(commands::line::Line),
    /// Print the completions for a shell.
    Completions(commands::completions::Completions),
    /// How channels, nodes and officers come to be.
    #[command(flatten)]
    Ceremony(ceremony::CeremonyCommand),
}

/// A word of a fixed list, offered in help and completions.
pub fn term<T>(words: &[&'static str]) -> impl TypedValueParser<Value = T> + use<T>
where
    T: FromStr<Err = String> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words.to_vec()).try_map(|word| word.parse::<T>())
}

/// The options of commands that sign and send.
#[derive(Args, Clone, Debug, Default)]
pub struct Sending {
    /// How long to stay with it.
    #[command(flatten)]
    pub waiting: crate::wait::Waiting,
    /// Where the signed file is kept if it cannot be sent [default: the current directory].
    #[arg(long, value_name = "DIR")]
    pub keep_in: Option<PathBuf>,
}

/// Options that may stand before or after the command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Common options")]
pub struct Globals {
    /// The node's data directory [env: DEMARCHE_DATA; default: the profile's, else the XDG data directory].
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The node's socket [default: DIR/control.sock, or what DIR/demarched.toml names].
    #[arg(long, global = true, value_name = "FILE")]
    pub socket: Option<PathBuf>,
    /// The channel: its local name or its 64-digit hash.
    #[arg(long, global = true, value_name = "NAME")]
    pub channel: Option<String>,
    /// The private key to sign with, in OpenSSH's form.
    #[arg(long, global = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The file whose first line is the key's passphrase; else it is asked.
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// The officer's profile [env: DEMARCHE_PROFILE; default: demarche/profile.toml in the XDG configuration directory].
    #[arg(long, global = true, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Print JSON on stdout; prose goes to stderr.
    #[arg(long, global = true)]
    pub json: bool,
    /// The whole line as it was typed.
    #[arg(skip)]
    pub invocation: Invocation,
}
