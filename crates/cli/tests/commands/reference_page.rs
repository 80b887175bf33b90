//! `docs/commands.md` is what the tool says of itself. `DEMARCHE_BLESS=1 cargo test` writes it anew.

use std::{fmt::Write as _, path::Path};

use clap::{Arg, Command, CommandFactory as _};
use demarche_cli::{args::Cli, exit::Exit};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/commands.md");

#[test]
fn the_command_reference_is_fresh() {
    let fresh = render();
    if std::env::var_os("DEMARCHE_BLESS").is_some() {
        std::fs::write(PAGE, &fresh).unwrap();
    }
    let written = std::fs::read_to_string(Path::new(PAGE)).unwrap_or_default();
    assert!(
        written == fresh,
        "docs/commands.md is stale; write it anew: DEMARCHE_BLESS=1 cargo test -p demarche-cli"
    );
}

fn render() -> String {
    let mut command = Cli::command();
    command.build();
    let mut page = String::from(
        "# Commands of `demarche`\n\nGenerated from the program (`DEMARCHE_BLESS=1 cargo test -p demarche-cli`); do not edit.\n\n",
    );
    page.push_str("## Options of every command\n\nThey may stand before or after the command.\n\n");
    arguments(&command, &mut page, false);
    page.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (exit, meaning) in Exit::ALL.into_iter().chain(Exit::SIGNALS) {
        writeln!(page, "| {} | {meaning} |", exit.code()).unwrap();
    }
    writeln!(page, "\n{}\n\n{}", Exit::CTRL_C, Exit::FILES).unwrap();
    for sub in command.get_subcommands() {
        section(sub, 2, &mut page);
    }
    page
}

fn section(command: &Command, level: usize, page: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    writeln!(page, "\n{} `{name}`\n", "#".repeat(level)).unwrap();
    let about = command.get_long_about().or_else(|| command.get_about());
    if let Some(about) = about {
        let about = about.to_string();
        let stop = if about.ends_with(['.', '!', '?']) { "" } else { "." };
        writeln!(page, "{about}{stop}\n").unwrap();
    }
    let subs: Vec<&Command> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
    if subs.is_empty() || !command.is_subcommand_required_set() {
        let usage = command.clone().render_usage().to_string();
        writeln!(page, "    {}\n", usage.trim_start_matches("Usage: ").replace('\n', "\n    ")).unwrap();
        arguments(command, page, true);
    }
    for sub in subs {
        section(sub, level + 1, page);
    }
}

fn arguments(command: &Command, page: &mut String, own: bool) {
    let shown = |arg: &&Arg| {
        let global = arg.is_global_set() == own;
        !(arg.is_hide_set() || global || ["help", "version"].contains(&arg.get_id().as_str()))
    };
    for arg in command.get_arguments().filter(shown) {
        let help =
            arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let words: Vec<String> =
            arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        let takes_one = arg.get_action().takes_values();
        let words = if takes_one && !words.is_empty() {
            format!(" One of {}.", words.join(", "))
        } else {
            String::new()
        };
        let default: Vec<String> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        let default = if takes_one && !default.is_empty() {
            format!(" Default: `{}`.", default.join(" "))
        } else {
            String::new()
        };
        let repeated =
            if matches!(arg.get_action(), clap::ArgAction::Append) { " May be repeated." } else { "" };
        let help = help.trim_end_matches('.').replace('\n', " ");
        writeln!(page, "- `{}`: {help}.{words}{default}{repeated}", named(arg)).unwrap();
    }
}

fn named(arg: &Arg) -> String {
    let value = arg.get_value_names().map(|names| names.join(" ")).unwrap_or_default();
    match arg.get_long() {
        Some(long) if arg.get_action().takes_values() => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    }
}
