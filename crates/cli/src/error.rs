//! How every command fails: what failed, then `help:` with the next step, and the exit code.

use std::{fmt, path::PathBuf};

use demarche_control::{ClientError, Code};

use crate::{exit::Exit, shell};

/// A failure as it is told to the officer. Its texts may quote anybody's: they are escaped when printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What failed, in one sentence.
    pub what: String,
    /// Particulars, one a line, between what failed and the help.
    pub lines: Vec<String>,
    /// The next steps, as commands where there are some.
    pub help: Vec<String>,
    /// The code of the node's refusal, for `--json`.
    pub code: Option<Code>,
    /// Where the signed file or the text was kept, so that nothing typed is lost.
    pub kept: Option<PathBuf>,
    /// The argument that was wrong or is missing, by its identifier: it is not given back as it was typed.
    pub wrong: Option<&'static str>,
}

/// What every command gives.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure with this exit code.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            lines: Vec::new(),
            help: Vec::new(),
            code: None,
            kept: None,
            wrong: None,
        }
    }

    /// The same, with one step more to take.
    #[must_use]
    pub fn help(mut self, step: impl Into<String>) -> Self {
        self.help.push(step.into());
        self
    }

    /// The same, for an argument that was wrong or is missing.
    #[must_use]
    pub fn wrong(mut self, id: &'static str) -> Self {
        self.wrong = Some(id);
        self
    }

    /// The same, with one more particular.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// The same, with more particulars.
    #[must_use]
    pub fn lines(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.lines.extend(lines);
        self
    }
}

/// Exit 1.
pub fn failed(what: impl Into<String>) -> Failure {
    Failure::new(Exit::Failed, what)
}

/// Exit 2.
pub fn usage(what: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, what)
}

/// Exit 4.
pub fn refused(what: impl Into<String>) -> Failure {
    Failure::new(Exit::Refused, what)
}

/// Exit 6.
pub fn unverified(what: impl Into<String>) -> Failure {
    Failure::new(Exit::Unverified, what)
}

/// An error with all its causes in one line: `what: why: why`. The chain is printed once, here at the edge.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // Some libraries repeat their cause in their own words.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = Exit::from_code(error.exit());
        match error {
            ClientError::Problem(problem) => {
                let known = Some(problem.code).filter(|code| *code != Code::Other);
                let help = problem.help.into_iter().collect();
                Self { help, code: known, ..Self::new(exit, problem.message) }
            }
            ClientError::NotReachable { ref source, ref socket } => {
                let denied = source.kind() == std::io::ErrorKind::PermissionDenied;
                let failure = Self::new(exit, chain(&error));
                if denied {
                    failure.help("this account may not use the socket; ask the node's operator for the group")
                } else {
                    // The usual place is in the data directory; another says nothing of it.
                    let usual = socket.file_name().is_some_and(|name| name == "control.sock");
                    let data = socket.parent().filter(|data| usual && !data.as_os_str().is_empty());
                    let data = data.map_or_else(|| "DIR".to_owned(), shell::path);
                    failure
                        .help(format!("start the node there: demarched --data {data}"))
                        .help("or say where it is: --profile FILE, --data DIR")
                }
            }
            ref broken if broken.outcome_unknown() => {
                Self::new(exit, chain(broken)).help("see whether it runs: demarche status")
            }
            other => Self::new(exit, chain(&other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use demarche_control::Problem;

    use super::*;

    #[test]
    fn a_nodes_refusal_keeps_its_words_code_and_exit() {
        let problem =
            Problem::new(Code::UnknownProvision, "the charter has no provision 9").with_help("see 3.1");
        let failure = Failure::from(ClientError::Problem(problem));
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(failure.code, Some(Code::UnknownProvision));
        assert_eq!(failure.help, ["see 3.1"]);
    }

    #[test]
    fn an_absent_node_is_exit_3_with_the_command_that_starts_it() {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        let failure = Failure::from(ClientError::NotReachable { socket: "W/control.sock".into(), source });
        assert_eq!(failure.exit, Exit::NodeAway);
        assert!(failure.help[0].contains("demarched --data"));
    }
}
