//! What every command of the ceremony is given: where the data is, which key, the screen, the clock, the way to the node.

use std::{
    cell::RefCell,
    future::Future,
    path::{Path, PathBuf},
};

use demarche_control::{Client, ClientError, layout::DataDir, types::OfficerInfo};
use demarche_protocol::{identity::keys::SecretKey, time::Timestamp};
use zeroize::Zeroizing;

use super::said::Said;
use crate::{
    args::Globals,
    error::{Result, failed, usage},
    keyfile::{self, Passphrase},
    profile::Profile,
    screen::{Line, Style},
    station::{socket_of, unknown_channel},
    world::World,
};

/// The options and the world, as the ceremony needs them.
pub(super) struct Desk<'a> {
    /// The data directory: named, or the usual one.
    pub(super) data: DataDir,
    /// Whether `--data` or the environment named it.
    pub(super) data_was_named: bool,
    /// `--socket`.
    pub(super) socket_named: Option<PathBuf>,
    /// `--channel`.
    pub(super) channel: Option<String>,
    /// `--key`.
    pub(super) key: Option<PathBuf>,
    /// `--passphrase-file`.
    pub(super) passphrase_file: Option<PathBuf>,
    /// Where the officer's profile is or would be.
    pub(super) profile: Option<PathBuf>,
    /// Whether `--profile` named it: then later commands must name it as well.
    pub(super) profile_was_named: bool,
    /// The wall clock when the command began, in whole seconds: texts that people read carry no more.
    pub(super) now: Timestamp,
    world: RefCell<&'a mut World>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(globals: &Globals, world: &'a mut World) -> Result<Self> {
        let env = &world.env;
        let named = globals.data.clone().or_else(|| env.path("DEMARCHE_DATA"));
        let profile = globals
            .profile
            .clone()
            .or_else(|| env.path("DEMARCHE_PROFILE"))
            .or_else(|| env.default_profile());
        let data_was_named = named.is_some();
        let of_profile = || {
            let path = profile.as_ref().filter(|path| path.exists())?;
            Profile::read(path).ok()?.data
        };
        let data = named
            .or_else(of_profile)
            .or_else(|| env.default_data())
            .ok_or_else(|| usage("there is no home directory to keep data in").help("--data DIR"))?;
        Ok(Self {
            data: DataDir::new(data),
            data_was_named,
            socket_named: globals.socket.clone(),
            channel: globals.channel.clone(),
            key: globals.key.clone(),
            passphrase_file: globals.passphrase_file.clone(),
            profile,
            profile_was_named: globals.profile.is_some(),
            now: Timestamp::from_millis((world.now)().as_millis() / 1000 * 1000),
            world: RefCell::new(world),
        })
    }

    /// Prints a line of prose at once, before the command is over.
    pub(super) fn show(&self, line: &str) {
        self.world.borrow_mut().screen.say(line);
    }

    /// Prints what a step said: its lines, then what to do next, or its JSON and the rest beside it.
    pub(super) fn tell(&self, said: Said) {
        let screen = &mut self.world.borrow_mut().screen;
        for line in said.lines {
            screen.say(line);
        }
        for (at, next) in said.next.into_iter().enumerate() {
            let label = if at == 0 { "next: " } else { "      " };
            screen.say(Line::styled(Style::Bold, label).and(next));
        }
        if let Some(text) = said.text.filter(|_| !screen.is_json()) {
            if screen.is_terminal() { screen.block("", &text) } else { screen.verbatim(&text) }
        }
        if !said.json.is_null() {
            screen.json(&said.json);
        }
    }

    /// Whether a person can be asked.
    pub(super) fn on_terminal(&self) -> bool {
        self.world.borrow().is_asked()
    }

    /// Asks a question whose answer is yes or, for anything else, no.
    pub(super) fn ask(&self, question: &str) -> Result<bool> {
        let mut world = self.world.borrow_mut();
        world.screen.ask(format!("{question} [y/N] "));
        let answer = world.input.line().map_err(|why| failed(format!("no answer: {why}")))?;
        let answer = answer.unwrap_or_default().trim().to_lowercase();
        Ok(matches!(answer.as_str(), "y" | "yes"))
    }

    /// The private key named by `--key`, opened.
    pub(super) fn signing_key(&self) -> Result<SecretKey> {
        let path = self.key.as_ref().ok_or_else(|| usage("no key to sign with").help("--key ROOT.key"))?;
        keyfile::read(path, Passphrase::from_option(self.passphrase_file.as_ref()))
    }

    /// A passphrase for a new key.
    pub(super) fn new_passphrase(&self, of: &Path) -> Result<Zeroizing<String>> {
        match &self.passphrase_file {
            Some(file) => keyfile::passphrase_of(file),
            None => keyfile::ask_new(&of.display().to_string()),
        }
    }

    /// Where the node listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.socket_named.clone().unwrap_or_else(|| socket_of(&self.data))
    }

    /// Asks the node one thing.
    pub(super) fn with_node<T, F: Future<Output = Result<T, ClientError>>>(
        &self,
        ask: impl FnOnce(Client) -> F,
    ) -> Result<T, ClientError> {
        let socket = self.socket();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(ask(Client::new(socket))),
            Err(source) => Err(ClientError::NotReachable { socket, source }),
        }
    }

    /// The officers that a running node knows, by channel; `None` when it does not run.
    pub(super) fn node_officers(&self) -> Result<Option<Vec<(String, OfficerInfo)>>> {
        let wanted = self.channel.clone();
        let asked = self.with_node(|client| async move {
            let channels = client.channels().await?;
            let names: Vec<String> = channels.iter().map(|channel| channel.name.clone()).collect();
            let mut meant = channels;
            if let Some(wanted) = &wanted {
                meant.retain(|channel| *wanted == channel.name || *wanted == channel.channel.to_string());
                if meant.is_empty() {
                    return Ok(Err(unknown_channel(wanted, &names)));
                }
            }
            let mut officers = Vec::new();
            for channel in meant {
                let found = client.officers(&channel.name).await?;
                officers.extend(found.into_iter().map(|officer| (channel.name.clone(), officer)));
            }
            Ok(Ok(officers))
        });
        match asked {
            Ok(officers) => officers.map(Some),
            Err(ClientError::NotReachable { .. }) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}
