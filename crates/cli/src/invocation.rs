//! The command line as it was typed, to be given back when a text was kept. Every option counts: a line that leaves one out
//! turns an exercise into a real notice. What was wrong is left for the officer to fill in.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgMatches, Command, CommandFactory as _, parser::ValueSource};

use crate::{args::Cli, shell};

/// A command and what was typed with it.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// The commands below `demarche`: `breach`, or `line` and `test`.
    names: Vec<String>,
    /// Arguments by their identifiers, each with its values; those of a switch are of no account.
    given: Vec<(String, Vec<OsString>)>,
}

impl Invocation {
    /// What was typed, and nothing that was only taken for granted.
    pub(crate) fn of(command: &Command, matches: &ArgMatches) -> Self {
        let (mut command, mut matches) = (command, matches);
        let mut names = Vec::new();
        while let Some((name, below)) = matches.subcommand() {
            let Some(found) = command.find_subcommand(name) else { break };
            (command, matches) = (found, below);
            names.push(name.to_owned());
        }
        let ids = command.get_arguments().map(|arg| arg.get_id().as_str());
        let typed = ids.filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine));
        let given = typed.map(|id| {
            let values = matches.get_raw(id).into_iter().flatten().map(OsStr::to_owned).collect();
            (id.to_owned(), values)
        });
        Self { given: given.collect(), names }
    }

    /// With this argument said, in place of what was typed for it.
    pub fn set(&mut self, id: &str, value: impl Into<OsString>) {
        self.given.retain(|(given, _)| given != id);
        self.given.push((id.to_owned(), vec![value.into()]));
    }

    /// Another command with whatever it also takes.
    #[must_use]
    pub fn turned(&self, name: &str) -> Self {
        Self { names: vec![name.to_owned()], given: self.given.clone() }
    }

    /// Without these arguments.
    #[must_use]
    pub fn without(mut self, ids: &[&str]) -> Self {
        self.given.retain(|(given, _)| !ids.contains(&given.as_str()));
        self
    }

    /// The line as a shell takes it. An argument that was wrong, or is missing, stands there by its name.
    pub fn line(&self, wrong: Option<&str>) -> String {
        let mut whole = Cli::command();
        whole.build();
        let mut command = &whole;
        let mut words = vec![command.get_name().to_owned()];
        for name in &self.names {
            let Some(found) = command.find_subcommand(name) else { break };
            command = found;
            words.push(name.clone());
        }
        let mut last = Vec::new();
        for arg in command.get_arguments() {
            let id = arg.get_id().as_str();
            let given = self.given.iter().find(|(given, _)| given == id).map(|(_, values)| values.as_slice());
            if wrong == Some(id) {
                words.push(blank(arg));
            } else if let Some(values) = given {
                written(arg, values, &mut words, &mut last);
            }
        }
        if !last.is_empty() {
            words.push("--".to_owned());
            words.append(&mut last);
        }
        words.join(" ")
    }
}

/// What is to be filled in: `--occurred …`, `PROVISION`.
fn blank(arg: &Arg) -> String {
    match arg.get_long() {
        Some(long) => format!("--{long} …"),
        None => arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect(),
    }
}

/// What was typed. A value that could be taken for an option is tied to its own; without one, it goes `last`.
fn written(arg: &Arg, values: &[OsString], words: &mut Vec<String>, last: &mut Vec<String>) {
    let dashed = |value: &OsStr| value.as_encoded_bytes().starts_with(b"-");
    match arg.get_long() {
        Some(long) if !arg.get_action().takes_values() => words.push(format!("--{long}")),
        Some(long) => words.extend(values.iter().map(|value| {
            let between = if dashed(value) { '=' } else { ' ' };
            format!("--{long}{between}{}", shell::word(value))
        })),
        None => {
            for value in values {
                if dashed(value) { &mut *last } else { &mut *words }.push(shell::word(value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(words: &[&str]) -> Invocation {
        let arguments: Vec<OsString> = ["demarche"].iter().chain(words).map(OsString::from).collect();
        Cli::read(&arguments).unwrap().globals.invocation
    }

    #[test]
    fn a_line_is_given_back_with_everything_that_was_typed_wherever_it_stood() {
        for (words, line) in [
            (
                &["--json", "breach", "--nature", "exercise", "3.2", "--place", "At sea"][..],
                "demarche breach 3.2 --nature exercise --place 'At sea' --json",
            ),
            (&["breach"], "demarche breach"),
            (&["line", "test", "tehran", "--data", "W"], "demarche line test tehran --data W"),
            (&["say", "--title=-x"], "demarche say --title=-x"),
            (
                &["send", "f", "--signature", "a", "--signature", "b"],
                "demarche send f --signature a --signature b",
            ),
            (&["send", "--", "-f"], "demarche send -- -f"),
        ] {
            let invocation = typed(words);
            assert_eq!(invocation.line(None), line);
            let again: Vec<&str> = line.split(' ').skip(1).collect();
            if !line.contains('\'') {
                assert_eq!(typed(&again).line(None), line);
            }
        }
    }

    #[test]
    fn what_was_wrong_or_is_missing_is_left_to_be_filled_in() {
        let typed = typed(&["breach", "9.9", "--occurred", "bad", "--nature", "test"]);
        let line = typed.line(Some("provision"));
        assert_eq!(line, "demarche breach PROVISION --nature test --occurred bad");
        let line = typed.clone().without(&["nature"]).line(Some("occurred"));
        assert_eq!(line, "demarche breach 9.9 --occurred …");
        let line = typed.line(Some("key"));
        assert!(line.ends_with(" --key …"), "{line}");
        let mut other = typed.turned("say");
        other.set("case", "tehran/1");
        assert_eq!(other.line(None), "demarche say --case tehran/1 --nature test");
    }
}
