//! `profile --data DIR --channel NAME --key officer.key`: the officer's own configuration. It pins the channel by the
//! hash of its charter and keeps a copy, so that a lying node cannot choose what the officer signs (threat K1).

use std::path::{Path, PathBuf};

use clap::Args;
use demarche_control::{ClientError, SignedFile, types::OfficerState};
use demarche_protocol::{
    charter::Charter,
    hash::ChannelId,
    identity::{Verified, keys::PublicKey, member::MemberId},
};
use serde_json::json;

use super::{Desk, beside::quoted, channels, key, own, said::Said};
use crate::{
    error::{Result, failed, usage},
    keyfile::{self, Passphrase},
    profile::{Profile, charter_of},
    station::unknown_channel,
};

/// Nothing of its own: `--data`, `--channel`, `--key` and `--profile` say it all.
#[derive(Debug, Args)]
pub struct ProfileArgs {}

/// A channel to be pinned, and what is known of this node in it.
struct Pinned {
    name: String,
    charter: Verified<Charter>,
    party: MemberId,
    /// The officers with this key, and whether they may speak, where that is known.
    officers: Vec<(String, OfficerState)>,
    /// Whether the charter came over the socket: then its hash is worth comparing by voice.
    from_node: bool,
}

/// Writes the profile.
pub(super) fn run(_: &ProfileArgs, desk: &Desk<'_>) -> Result<Said> {
    let key = desk.key.as_ref().ok_or_else(|| {
        usage("the officer's private key is not named").help("--key officer.key; it stays where it is")
    })?;
    let passphrase = Passphrase::from_option(desk.passphrase_file.as_ref());
    let public = keyfile::public_of(key, passphrase)?;
    let path = desk
        .profile
        .clone()
        .ok_or_else(|| usage("there is no home directory to keep a profile in").help("--profile FILE"))?;
    let pinned = match local(desk, &public)? {
        Some(pinned) => pinned,
        None => from_node(desk, &public)?,
    };
    if pinned.charter.party(&pinned.party).is_none() {
        return Err(usage(format!("{} is a mediator: it has no officers", pinned.party))
            .help("name a party's data directory with --data"));
    }
    let channel = ChannelId::from(pinned.charter.id());
    refuse_other_channel(&path, channel)?;
    let copy = PathBuf::from(path.file_name().unwrap_or_default()).with_extension("charter.json");
    let profile = Profile {
        channel,
        name: Some(pinned.name.clone()),
        party: Some(pinned.party.clone()),
        key: Some(absolute(key)?),
        // An account that cannot read the directory is only told where the socket is.
        data: if pinned.from_node { None } else { Some(absolute(desk.data.path())?) },
        socket: match &desk.socket_named {
            Some(named) => Some(absolute(named)?),
            None if pinned.from_node => Some(absolute(&desk.socket())?),
            None => None,
        },
        charter: copy,
    };
    let charter = SignedFile::of(pinned.charter.document()).map_err(|why| failed(why.to_string()))?;
    profile.write(&path, &charter)?;
    // Another command looks where this one did only if it is told to.
    let named = if desk.profile_was_named { format!(" --profile {}", quoted(&path)) } else { String::new() };
    Ok(tell(&path, &pinned, &profile, &public, &format!("demarche status{named}")))
}

fn tell(path: &Path, pinned: &Pinned, profile: &Profile, public: &PublicKey, status: &str) -> Said {
    let mut said = Said::new(format!("the profile is written: {}", path.display()))
        .line(format!("  channel  {} ({})", profile.channel, pinned.name))
        .line(format!("  party    {}", pinned.party))
        .line(format!("  key      {}", public.fingerprint()));
    if pinned.from_node {
        said =
            said.line("the charter came from the node: compare the channel's hash with your party's roots");
    }
    for (name, state) in &pinned.officers {
        said = said.line(match state {
            OfficerState::InForce => format!("  officer  {name}"),
            other => format!("  officer  {name}: {other}"),
        });
    }
    let revoked = |(_, state): &(String, OfficerState)| *state == OfficerState::Revoked;
    said = match pinned.officers.as_slice() {
        [] => said
            .line("no officer's document with this key is known here: it cannot sign for the party yet")
            .next(format!(
                "demarche officer draft --name NAME --key {} --duties draft,release,acknowledge --out officer.toml --party {}",
                quoted(&public_file(profile.key.as_deref().unwrap_or(Path::new("officer.key")))),
                pinned.party
            )),
        officers if officers.iter().all(revoked) => said
            .line("the key was revoked: nothing that it signs has effect any more")
            .next("demarche key new NEW.key, and an officer's document for it: demarche officer draft"),
        _ => said.next(status),
    };
    let names: Vec<&str> = pinned.officers.iter().map(|(name, _)| name.as_str()).collect();
    said.json(json!({
        "profile": path.display().to_string(),
        "channel": profile.channel.to_string(),
        "name": pinned.name,
        "party": pinned.party.as_str(),
        "key": public.to_openssh(),
        "officers": names,
        "data": profile.data,
        "socket": profile.socket,
    }))
}

/// Where the public half of a key is, or would be.
fn public_file(key: &Path) -> PathBuf {
    keyfile::public_beside(key).map_or_else(|| key::public_beside(key), |(file, _)| file)
}

/// From the data directory, where this account may read it.
fn local(desk: &Desk<'_>, key: &PublicKey) -> Result<Option<Pinned>> {
    if desk.data.channel_names().is_ok_and(|names| names.is_empty()) && desk.socket().exists() {
        return Ok(None);
    }
    if desk.data.channel_names().is_err() {
        return Ok(None);
    }
    let mut found = channels::chosen(&desk.data, desk.channel.as_deref())?;
    let names: Vec<String> = found.iter().map(|channel| channel.name.clone()).collect();
    let (Some(channel), true) = (found.pop(), names.len() == 1) else {
        return Err(which_channel(&names, desk));
    };
    let officers = channel.officers(desk.now);
    let of_key = officers.into_iter().filter(|officer| officer.key == key.to_openssh());
    Ok(Some(Pinned {
        name: channel.name,
        charter: channel.charter,
        party: own::read(&desk.data)?.member,
        officers: of_key.map(|officer| (officer.name, officer.state)).collect(),
        from_node: false,
    }))
}

/// From the running node, for an account that may only use its socket.
fn from_node(desk: &Desk<'_>, key: &PublicKey) -> Result<Pinned> {
    let wanted = desk.channel.clone();
    let asked = desk.with_node(|client| async move {
        let mut infos = client.channels().await?;
        let all: Vec<String> = infos.iter().map(|info| info.name.clone()).collect();
        if let Some(wanted) = &wanted {
            infos.retain(|info| info.name == *wanted || info.channel.to_string() == *wanted);
        }
        let found = infos.len();
        let (Some(info), 1) = (infos.pop(), found) else {
            return Ok::<_, ClientError>(Err(all));
        };
        let charter = client.charter(&info.name).await?;
        let officers = client.officers(&info.name).await?;
        Ok(Ok((info, charter, officers)))
    })?;
    let (info, file, officers) = asked.map_err(|names| match &desk.channel {
        Some(wanted) if !names.is_empty() => unknown_channel(wanted, &names),
        _ => which_channel(&names, desk),
    })?;
    let charter = charter_of(&file, Some(info.channel), "the node's charter")?;
    let of_key = officers.into_iter().filter(|officer| officer.key == key.to_openssh());
    Ok(Pinned {
        name: info.name,
        charter,
        party: info.party,
        officers: of_key.map(|officer| (officer.name, officer.state)).collect(),
        from_node: true,
    })
}

fn which_channel(names: &[String], desk: &Desk<'_>) -> crate::error::Failure {
    match names {
        [] => usage(format!("no channel is installed in {}", desk.data.path().display()))
            .help(format!("demarche install charter.toml --data {}", quoted(desk.data.path()))),
        several => usage("several channels are installed: say which")
            .help(format!("--channel {}", several.join(" or "))),
    }
}

/// Writing the same profile again is harmless; another channel's is not written over.
fn refuse_other_channel(path: &Path, channel: ChannelId) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    match Profile::read(path) {
        Ok(profile) if profile.channel == channel => Ok(()),
        Ok(profile) => Err(failed(format!(
            "{} pins another channel, {}",
            path.display(),
            profile.name.unwrap_or_else(|| profile.channel.to_string())
        ))
        .help("give this one a file of its own: --profile FILE")),
        Err(why) => Err(why),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|why| failed(format!("{} has no absolute path: {why}", path.display())))
}
