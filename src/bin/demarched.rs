//! The node: arguments in, one call, an exit code out.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use demarche_node::{LogFormat, Options, check_config, run};

/// The node of a capital or a mediator. Runs in the foreground until SIGTERM.
#[derive(Parser)]
#[command(name = "demarched", version)]
struct Arguments {
    /// Data directory, as `demarche setup` made it [default: $XDG_DATA_HOME/demarche]
    #[arg(long, env = "DEMARCHE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file [default: DIR/demarched.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check configuration, cards, keys and charters, and end without starting anything
    #[arg(long)]
    check_config: bool,
    /// Form of the log on standard error
    #[arg(long, value_name = "FORM")]
    log_format: Option<Form>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Human,
    Json,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(data) = arguments.data.or_else(default_data) else {
        eprintln!(
            "error: no data directory: neither --data nor XDG_DATA_HOME nor HOME is set\nhelp: demarched --data DIR"
        );
        return ExitCode::from(2);
    };
    let log_format = arguments.log_format.map(|form| match form {
        Form::Human => LogFormat::Human,
        Form::Json => LogFormat::Json,
    });
    let options = Options { data, config: arguments.config, log_format };
    let done = if arguments.check_config {
        check_config(&options).map(|()| println!("the configuration is good"))
    } else {
        run(&options)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn default_data() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share"))).map(|base| base.join("demarche"))
}

/// An error and its sources, once; the help, if there is one, last.
fn chain(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let (mut said, help) = match text.split_once("\nhelp: ") {
        Some((said, help)) => (said.to_owned(), Some(help.to_owned())),
        None => (text, None),
    };
    let mut source = error.source();
    while let Some(error) = source {
        let why = error.to_string();
        if !said.contains(&why) {
            said = format!("{said}: {why}");
        }
        source = error.source();
    }
    help.map_or_else(|| said.clone(), |help| format!("{said}\nhelp: {help}"))
}
