//! A command line that is not understood: told in the tool's own form, with what was meant or what to use instead.

use std::ffi::OsString;

use clap::{
    CommandFactory as _,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    args::Cli,
    error::{Failure, Result, usage},
    exit::Exit,
    world::World,
};

const NOTHING: &str = "it is not said what to do";

/// What the interface settles and this version does not have, and what to use until then.
const NOT_YET: [(&str, &str); 5] = [
    ("export", "demarche show SERIAL --text gives a signed text byte for byte, --json all evidence"),
    (
        "verify",
        "demarche show SERIAL verifies; by other means: demarche show SERIAL --text and ssh-keygen -Y verify",
    ),
    ("history", "demarche watch --after 0 shows what happened on the line; the node's log has the rest"),
    ("--agent", "--key FILE, with a passphrase if you like: it is asked, or comes from --passphrase-file"),
    (
        "--evidence",
        "name the file and its SHA-256 (sha256sum FILE) in the text, and hand it over by another way",
    ),
];

/// Whether the output is for a program: the line was not understood, so it is looked at word by word.
pub(crate) fn wants_json(arguments: &[OsString]) -> bool {
    arguments.iter().take_while(|word| *word != "--").any(|word| word == "--json")
}

/// The command of this line, as far as it names one that there is: `demarche charter explain`.
pub(crate) fn command_of(arguments: &[OsString]) -> String {
    let mut command = Cli::command();
    let mut name = command.get_name().to_owned();
    for word in arguments.iter().skip(1).filter_map(|word| word.to_str()) {
        if let Some(found) = command.find_subcommand(word).cloned() {
            name = format!("{name} {word}");
            command = found;
        }
    }
    name
}

/// Prints clap's help where that was asked for; else gives its complaint as a failure.
pub(crate) fn told(error: &clap::Error, arguments: &[OsString], world: &mut World) -> Result<Exit> {
    let text = error.render().to_string();
    if !error.use_stderr() {
        text.trim_end().lines().for_each(|line| world.screen.say(line));
        return Ok(Exit::Done);
    }
    let help = format!("{} --help", command_of(arguments));
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        text.trim_end().lines().for_each(|line| world.screen.note(line));
        return Err(usage(NOTHING).help(help));
    }
    if error.kind() == ErrorKind::MissingSubcommand {
        return Err(Failure { what: NOTHING.to_owned(), ..complaint(&text).help(help) });
    }
    Err(match instead(error) {
        Some((name, instead)) => usage(format!("{name} is not there yet")).help(instead),
        None => complaint(&text).help(help),
    })
}

/// The word that is only understood by a later version, and what to use now.
fn instead(error: &clap::Error) -> Option<(&'static str, &'static str)> {
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.clone()),
        _ => None,
    };
    let word = match error.kind() {
        ErrorKind::InvalidSubcommand => said(ContextKind::InvalidSubcommand)?,
        ErrorKind::UnknownArgument => said(ContextKind::InvalidArg)?,
        ErrorKind::InvalidValue => {
            // Clap names the option as `--wait <STEP>`.
            let option = said(ContextKind::InvalidArg)?;
            format!("{} {}", option.split(' ').next()?, said(ContextKind::InvalidValue)?)
        }
        _ => return None,
    };
    NOT_YET.into_iter().find(|(name, _)| *name == word)
}

/// Clap's text in parts: its first paragraph is what failed; a tip is a help; how it is used is a particular.
fn complaint(text: &str) -> Failure {
    let mut paragraphs = text.split("\n\n").map(str::trim_end);
    let mut first = paragraphs.next().unwrap_or_default().lines();
    let what = first.next().unwrap_or_default();
    let mut failure = usage(what.strip_prefix("error: ").unwrap_or(what));
    failure.lines.extend(first.map(|line| line.trim().to_owned()));
    for line in paragraphs.flat_map(str::lines).map(str::trim) {
        if let Some(tip) = line.strip_prefix("tip: ") {
            failure.help.push(tip.to_owned());
        } else if !line.is_empty() && !line.starts_with("For more information") {
            failure.lines.push(line.replacen("Usage:", "usage:", 1));
        }
    }
    failure
}
