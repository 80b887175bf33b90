//! `demarche` and `demarched` as processes: a command in, its whole outcome out.

use std::{
    ffi::OsStr,
    fmt,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

/// Where the two programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The officers' tool.
    pub demarche: PathBuf,
    /// The node.
    pub demarched: PathBuf,
}

/// Variables of whoever runs the tests that would change what the programs do.
const FOREIGN: [&str; 6] =
    ["DEMARCHE_DATA", "DEMARCHE_PROFILE", "SSLKEYLOGFILE", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "RUST_LOG"];

/// A command that inherits nothing of ours.
pub fn command(program: &Path, in_dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(in_dir).env("HOME", in_dir).env("NO_COLOR", "1").stdin(Stdio::null());
    for name in FOREIGN {
        command.env_remove(name);
    }
    command
}

/// How a command ended and what it printed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was typed, for messages.
    pub typed: String,
    /// The exit code; -1 after a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ended with {}\n{}{}", self.typed, self.code, self.stdout, self.stderr)
    }
}

impl Outcome {
    /// Runs to the end, with this on its standard input.
    pub fn of(mut command: Command, input: Option<&[u8]>) -> Self {
        let typed = typed(&command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{typed}: {error}"));
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // A command that refuses before it reads closes its end: not our failure.
            let _ = stdin.write_all(input);
        }
        Self::wait(child, typed)
    }

    /// Waits for one that was started with its output piped.
    pub fn wait(child: Child, typed: String) -> Self {
        let output = child.wait_with_output().unwrap_or_else(|error| panic!("{typed}: {error}"));
        Self {
            typed,
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// It must have ended with 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exit(0)
    }

    /// It must have ended with this.
    #[track_caller]
    pub fn exit(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// An error as officers get it: this exit code, and a next step.
    #[track_caller]
    pub fn refused(self, code: i32, says: &str) -> Self {
        let refused = self.exit(code);
        assert!(refused.stderr.contains("help:"), "no next step: {refused}");
        assert!(refused.stderr.contains(says), "does not say {says:?}: {refused}");
        refused
    }

    /// Its standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

/// The command line as a person would type it.
pub fn typed(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(name).chain(command.get_args()).map(quoted);
    words.collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./=:@,".contains(c)) {
        word.into_owned()
    } else {
        format!("'{word}'")
    }
}
