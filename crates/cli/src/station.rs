//! Where the officer sits: which node, which channel, which key. Found from options, profile and data directory, in
//! this order: an option, the named profile, `DEMARCHE_DATA`, the default profile, the default data directory.

use std::{
    io,
    path::{Path, PathBuf},
};

use demarche_control::{
    Client,
    layout::{self, DataDir},
    types::ChannelInfo,
};
use demarche_protocol::{
    charter::Charter,
    hash::ChannelId,
    identity::{Verified, keys::SecretKey, member::MemberId},
};

use crate::{
    args::Globals,
    error::{Failure, Result, failed, refused, usage},
    invocation::Invocation,
    keyfile::{self, Passphrase},
    profile::{Profile, charter_of, read_signed_file},
    world::Env,
};

/// The officer's place.
pub struct Station {
    /// The node's client.
    pub client: Client,
    data: Option<DataDir>,
    profile: Option<Profile>,
    globals: Globals,
}

/// A channel whose charter was verified here, and for whom the officer speaks in it.
pub struct Pin {
    /// The channel.
    pub channel: ChannelId,
    /// The local name, where it is known; else the hash.
    pub name: String,
    /// Its charter, signed by all.
    pub charter: Verified<Charter>,
    /// The party the officer serves.
    pub party: MemberId,
    /// On whose word the charter is taken for the right one.
    pub source: Source,
}

/// On whose word a charter is taken for the channel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The officer's own profile pins it.
    Profile,
    /// It lies in the data directory, which this account can read.
    Directory,
    /// The node handed it out. All signatures are good, but the node chose which charter.
    Node,
}

impl Pin {
    /// How the local API calls the channel: by its hash, which no node can turn into another.
    pub fn path(&self) -> String {
        self.channel.to_string()
    }
}

impl Station {
    /// Finds node and profile. Does not ask the node anything yet.
    pub fn of(globals: &Globals, env: &Env) -> Result<Self> {
        let named = globals.profile.clone().or_else(|| env.path("DEMARCHE_PROFILE"));
        let elsewhere =
            globals.data.is_some() || globals.socket.is_some() || env.get("DEMARCHE_DATA").is_some();
        let profile = match &named {
            Some(path) => Some(Profile::read(path).map_err(|failure| failure.wrong("profile"))?),
            None => default_profile(env)?,
        };
        // A default profile speaks for one node. An option that names another node's directory means another party.
        let applies = |profile: &Profile| {
            let data = globals.data.clone().or_else(|| env.path("DEMARCHE_DATA"));
            !elsewhere
                || globals.socket.is_none() && data.is_some() && same(data.as_ref(), profile.data.as_ref())
        };
        let profile = profile.filter(|profile| named.is_some() || applies(profile));
        let from_profile = profile.as_ref().and_then(|profile| profile.data.clone());
        let data = globals.data.clone();
        let data = data.or_else(|| if named.is_some() { from_profile.clone() } else { None });
        let data = data.or_else(|| env.path("DEMARCHE_DATA")).or(from_profile);
        let own_socket = profile.as_ref().and_then(|profile| profile.socket.clone());
        let data = match (data, &own_socket) {
            (None, None) => env.default_data(),
            (data, _) => data,
        };
        let data = data.map(DataDir::new);
        let socket = globals.socket.clone().or(if globals.data.is_some() { None } else { own_socket });
        let socket = socket.or_else(|| data.as_ref().map(socket_of));
        let socket = socket.ok_or_else(|| {
            usage("it is not known where the node is")
                .help("--data DIR, --socket FILE, or a profile: demarche profile")
        })?;
        Ok(Self { client: Client::new(socket), data, profile, globals: globals.clone() })
    }

    /// The line that was typed.
    pub const fn invocation(&self) -> &Invocation {
        &self.globals.invocation
    }

    /// The officer's key. Reads it, asking for its passphrase.
    pub fn key(&self) -> Result<SecretKey> {
        let passphrase = Passphrase::from_option(self.globals.passphrase_file.as_ref());
        let mut key = keyfile::read(&self.key_path()?, passphrase);
        if let (Err(failure), None) = (&mut key, &self.globals.key) {
            // It was the profile that named it.
            failure.wrong = failure.wrong.filter(|id| *id != "key");
        }
        key
    }

    /// The officer's public key, without a passphrase where `KEY.pub` lies beside it.
    pub fn public_key(&self) -> Result<demarche_protocol::identity::keys::PublicKey> {
        let passphrase = Passphrase::from_option(self.globals.passphrase_file.as_ref());
        keyfile::public_of(&self.key_path()?, passphrase)
    }

    fn key_path(&self) -> Result<PathBuf> {
        let from_profile = || self.profile.as_ref().and_then(|profile| profile.key.clone());
        self.globals.key.clone().or_else(from_profile).ok_or_else(|| {
            refused("it is not known which key is yours")
                .help("--key officer.key, or once for all: demarche profile --data DIR --channel NAME --key officer.key")
                .wrong("key")
        })
    }

    /// The channel for reading: what was named, else the profile's, else `None` for all.
    pub fn wanted_channel(&self, asked: Option<&str>) -> Option<String> {
        let named = asked.map(str::to_owned).or_else(|| self.globals.channel.clone());
        let pinned = self.profile.as_ref().map(|profile| profile.channel.to_string());
        named
            .map(|name| if self.is_profiles(&name) { pinned.clone().unwrap_or(name) } else { name })
            .or(pinned)
    }

    /// The channels to read from: the wanted one, else all that the node holds.
    pub async fn channels(&self, asked: Option<&str>) -> Result<Vec<ChannelInfo>> {
        let all = self.client.channels().await?;
        let Some(wanted) = self.wanted_channel(asked) else { return Ok(all) };
        let names: Vec<String> = all.iter().map(|channel| channel.name.clone()).collect();
        let found: Vec<ChannelInfo> = all.into_iter().filter(|channel| fits(&wanted, channel)).collect();
        if found.is_empty() { Err(said_by(asked, unknown_channel(&wanted, &names))) } else { Ok(found) }
    }

    /// The one channel to read from.
    pub async fn channel(&self, asked: Option<&str>) -> Result<ChannelInfo> {
        let mut found = self.channels(asked).await?;
        if found.len() > 1 {
            let names: Vec<String> = found.into_iter().map(|channel| channel.name).collect();
            return Err(ambiguous(&names));
        }
        found.pop().ok_or_else(no_channel)
    }

    /// The channel to sign in: its verified charter and the party that the officer serves. The profile's pin where
    /// it applies; else the data directory's charter, else the node's.
    pub async fn pin(&self, asked: Option<&str>) -> Result<Pin> {
        let named = asked.map(str::to_owned).or_else(|| self.globals.channel.clone());
        if let Some(profile) = &self.profile
            && named.as_deref().is_none_or(|name| self.is_profiles(name))
        {
            let charter = profile.charter()?;
            let party = match &profile.party {
                Some(party) => party.clone(),
                None => self.party_in(profile.channel, &charter).await?,
            };
            let name = profile.name.clone().unwrap_or_else(|| profile.channel.to_string());
            return checked(Pin { channel: profile.channel, name, charter, party, source: Source::Profile });
        }
        if let Some(data) = &self.data
            && let Some((name, charter)) =
                charter_in(data, named.as_deref()).map_err(|failure| said_by(asked, failure))?
        {
            let channel = ChannelId::from(charter.id());
            let party = self.party_in(channel, &charter).await?;
            return checked(Pin { channel, name, charter, party, source: Source::Directory });
        }
        let info = self.channel(asked).await?;
        let file = self.client.charter(&info.channel.to_string()).await?;
        let charter = charter_of(&file, Some(info.channel), "what the node gave")?;
        checked(Pin {
            channel: info.channel,
            name: info.name,
            charter,
            party: info.party,
            source: Source::Node,
        })
    }

    fn is_profiles(&self, name: &str) -> bool {
        let fits =
            |profile: &Profile| profile.name.as_deref() == Some(name) || profile.channel.to_string() == name;
        self.profile.as_ref().is_some_and(fits)
    }

    /// Whose node this is: by the cards in its directory, else by its own word.
    async fn party_in(&self, channel: ChannelId, charter: &Charter) -> Result<MemberId> {
        let cards =
            self.data.as_ref().map(|data| parties_with_cards(data.path(), charter)).unwrap_or_default();
        if let [party] = cards.as_slice() {
            return Ok(party.clone());
        }
        let channels = self.client.channels().await.map_err(|error| {
            Failure::from(error)
                .line("so it is not known which party you serve")
                .help("or set `party` in the profile")
        })?;
        channels
            .into_iter()
            .find(|info| info.channel == channel)
            .map(|info| info.party)
            .ok_or_else(no_channel)
    }
}

fn checked(pin: Pin) -> Result<Pin> {
    if pin.charter.party(&pin.party).is_some() {
        return Ok(pin);
    }
    Err(refused(format!(
        "{} is no party of this channel: a mediator carries dispatches and signs none",
        pin.party
    )))
}

fn default_profile(env: &Env) -> Result<Option<Profile>> {
    match env.default_profile() {
        Some(path) if path.exists() => Profile::read(&path).map(Some),
        _ => Ok(None),
    }
}

fn same(one: Option<&PathBuf>, other: Option<&PathBuf>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return false };
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

/// `DIR/control.sock`, unless the node's configuration names another place.
pub(crate) fn socket_of(data: &DataDir) -> PathBuf {
    let configured = || {
        let bytes = layout::read_bounded(&data.config(), layout::SIGNED_FILE).ok()?;
        let table: toml::Table = std::str::from_utf8(&bytes).ok()?.parse().ok()?;
        let path = table.get("socket")?.get("path")?.as_str()?;
        Some(data.path().join(path))
    };
    configured().unwrap_or_else(|| data.socket())
}

/// The charter of the named channel, or of the only one; `None` when this directory cannot be read or holds none.
fn charter_in(data: &DataDir, asked: Option<&str>) -> Result<Option<(String, Verified<Charter>)>> {
    let names = match data.channel_names() {
        Ok(names) => names,
        // An officer's account may use the socket and still not enter the node's directory.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        Err(error) => return Err(failed(format!("{} cannot be read: {error}", data.channels().display()))),
    };
    if names.is_empty() {
        return Ok(None);
    }
    let read = |name: &String| {
        let path = data.channel(name).charter();
        let charter = charter_of(&read_signed_file(&path)?, None, &path.display().to_string())?;
        Ok((name.clone(), charter))
    };
    let Some(asked) = asked else {
        return if names.len() > 1 { Err(ambiguous(&names)) } else { names.first().map(read).transpose() };
    };
    if let Some(name) = names.iter().find(|name| *name == asked) {
        return read(name).map(Some);
    }
    let all = names.iter().map(read).collect::<Result<Vec<_>>>()?;
    let found = all.into_iter().find(|(_, charter)| charter.id().to_string() == asked);
    found.map(Some).ok_or_else(|| unknown_channel(asked, &names))
}

fn parties_with_cards(directory: &Path, charter: &Charter) -> Vec<MemberId> {
    let here = |party: &MemberId| directory.join(format!("{party}.card")).is_file();
    charter.parties.iter().map(|party| party.id.clone()).filter(here).collect()
}

fn fits(wanted: &str, channel: &ChannelInfo) -> bool {
    channel.name == wanted || channel.channel.to_string() == wanted
}

/// A channel that is not there, beside those that are.
pub(crate) fn unknown_channel(wanted: &str, names: &[String]) -> Failure {
    let failure = usage(format!("there is no channel `{wanted}` here")).wrong("channel");
    failure.help(match names {
        [] => "demarche install charter.toml --data DIR".to_owned(),
        names => format!("one of: {}", names.join(", ")),
    })
}

/// A channel may be named before a serial, `memo26:tehran/7`: then it is the serial that is wrong.
fn said_by(asked: Option<&str>, mut failure: Failure) -> Failure {
    if asked.is_some() && failure.wrong == Some("channel") {
        failure.wrong = Some("case");
    }
    failure
}

fn ambiguous(names: &[String]) -> Failure {
    usage("there are several channels, and it is not clear which is meant")
        .help(format!("--channel NAME, with one of: {}", names.join(", ")))
        .wrong("channel")
}

fn no_channel() -> Failure {
    failed("this node holds no channel yet").help("demarche install charter.toml --data DIR")
}
