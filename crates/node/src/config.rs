//! The configuration file, `DIR/demarched.toml`. Every key has a default and may be left out, and so may the file in its
//! usual place; one that was named and is not there is an error, and so is every key that is not known.
//! `examples/demarched.toml` documents each key.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use demarche_control::layout::{self, DataDir};
use demarche_protocol::charter::policy::Span;
use serde::Deserialize;

use crate::{
    defaults::PROGRAM_TIME,
    transport::{Address, AddressError},
};

/// Longest configuration file, in bytes: thousands of lines of comments fit.
const LONGEST: u64 = 256 << 10;

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// `[network]`
    pub(crate) network: Network,
    /// `[socket]`
    pub(crate) socket: Socket,
    /// `[log]`
    pub(crate) log: Log,
    /// `[hook]`
    pub(crate) hook: Hook,
    /// `[heartbeat]`
    pub(crate) heartbeat: Heartbeat,
}

/// Where a mediator listens. A capital listens nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Network {
    /// Addresses to listen on, TCP and QUIC (UDP) alike.
    pub(crate) listen: Vec<ConfigAddress>,
    /// How others reach it, where that differs from `listen`.
    pub(crate) public: Vec<ConfigAddress>,
}

/// The officers' socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Socket {
    /// Where; `DIR/control.sock` when absent.
    pub(crate) path: Option<PathBuf>,
    /// The group whose members may open it, by number or by its name in `/etc/group`.
    pub(crate) group: Option<String>,
    /// Permission bits in octal, like `"0660"`; `"0600"` when absent.
    pub(crate) mode: Option<Mode>,
}

/// What the node writes on stderr.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// Form of a line.
    pub(crate) format: LogFormat,
    /// Least level: error, warn, info, debug or trace; `info` when absent.
    pub(crate) level: Level,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Least level of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// A program that is told of alarms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Hook {
    /// Program and arguments; none when empty. It gets the event as JSON on its standard input.
    pub(crate) command: Vec<String>,
}

/// A program that is started again and again while the node is well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Heartbeat {
    /// Program and arguments; none when empty. It gets the node's status as JSON on its standard input.
    pub(crate) command: Vec<String>,
    /// How often; a minute when absent.
    pub(crate) every: Every,
}

/// How often a heartbeat is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Every(pub(crate) Duration);

impl Default for Every {
    fn default() -> Self {
        Self(Duration::from_secs(60))
    }
}

impl TryFrom<String> for Every {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let Span(every) = text.parse()?;
        // Its program may run for ten seconds; and who hears of a dead node a day later hears of it too late.
        let bounds = PROGRAM_TIME..=Duration::from_secs(24 * 60 * 60);
        if bounds.contains(&every) { Ok(Self(every)) } else { Err("a heartbeat comes every 10s to 24h") }
    }
}

/// An address in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ConfigAddress(pub(crate) Address);

impl TryFrom<String> for ConfigAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse().map(Self)
    }
}

/// Permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Mode(pub(crate) u32);

impl TryFrom<String> for Mode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WHY: &str = "a mode is three octal digits after a 0, like \"0600\" or \"0660\"";
        let bits = u32::from_str_radix(&text, 8).map_err(|_| WHY)?;
        if text.len() != 4 || !text.starts_with('0') || bits & 0o111 != 0 {
            return Err(WHY);
        }
        if bits & 0o007 != 0 {
            return Err("the socket must stay closed to everybody else: the last digit of its mode is 0");
        }
        Ok(Self(bits))
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("the configuration {} cannot be read\nhelp: name one that is there with --config, or leave it out", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error(
        "the configuration {} is wrong: {why}\nhelp: correct it there; docs/operations.md and examples/demarched.toml have every key",
        path.display()
    )]
    Wrong {
        /// Which.
        path: PathBuf,
        /// Where and why.
        why: String,
    },
}

impl Config {
    /// Reads the configuration: the file that was named, or the usual one, or the defaults where there is none.
    pub(crate) fn read(data: &DataDir, named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.map_or_else(|| data.config(), Path::to_owned);
        let bytes = match layout::read_bounded(&path, LONGEST) {
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(source) => return Err(ConfigError::Read { path, source }),
            Ok(bytes) => bytes,
        };
        let wrong = |why: String| ConfigError::Wrong { path: path.clone(), why };
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
        Self::parse(text).map_err(wrong)
    }

    /// Reads a configuration's text. The error names line and column.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }

    /// Where the officers' socket is.
    pub(crate) fn socket_path(&self, data: &DataDir) -> PathBuf {
        self.socket.path.as_ref().map_or_else(|| data.socket(), |path| data.path().join(path))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    const EXAMPLE: &str = include_str!("../../../examples/demarched.toml");

    /// The example with every key that is commented out brought to life.
    fn everything() -> String {
        EXAMPLE
            .lines()
            .map(|line| line.strip_prefix("#! ").unwrap_or(line))
            .fold(String::new(), |all, line| all + line + "\n")
    }

    #[test]
    fn the_example_is_the_default_and_documents_every_key() {
        assert_eq!(Config::parse(EXAMPLE).unwrap(), Config::default());
        let config = Config::parse(&everything()).unwrap();
        let Config { network, socket, log, hook, heartbeat } = config;
        assert!(!network.listen.is_empty() && !network.public.is_empty());
        assert!(socket.path.is_some() && socket.group.is_some() && socket.mode == Some(Mode(0o660)));
        assert!(log.format == LogFormat::Json && log.level == Level::Debug);
        assert!(!hook.command.is_empty() && !heartbeat.command.is_empty());
        assert_eq!(heartbeat.every, Every(Duration::from_secs(30)));
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_line() {
        let why = Config::parse("[socket]\npaht = \"x\"\n").unwrap_err();
        assert!(why.contains("line 2") && why.contains("paht"), "{why}");
        for wrong in [
            "[network]\nlisten = [\"nowhere\"]",
            "[socket]\nmode = \"0666\"",
            "[socket]\nmode = \"660\"",
            "[log]\nlevel = \"loud\"",
            "[hook]\ncommand = \"ring\"",
            "[heartbeat]\nevery = \"1s\"",
            "[heartbeat]\nevery = \"2d\"",
            "[heartbeat]\nevery = 60",
            "x = 1",
        ] {
            assert!(Config::parse(wrong).is_err(), "{wrong} was taken");
        }
    }

    #[test]
    fn a_named_file_must_be_there() {
        let directory = tempdir().unwrap();
        let data = DataDir::new(directory.path());
        assert_eq!(Config::read(&data, None).unwrap(), Config::default());
        assert!(matches!(Config::read(&data, Some(&data.config())), Err(ConfigError::Read { .. })));
        std::fs::write(data.config(), "[socket]\npaht = \"x\"\n").unwrap();
        let wrong = Config::read(&data, None).unwrap_err().to_string();
        assert!(wrong.contains("paht") && wrong.contains("\nhelp: correct it there"), "{wrong}");
    }
}
