//! The officer's own configuration: it pins the channel by its charter's hash, holds a copy of that charter, and names
//! party, key and node. So composing works with the node down, and a lying node cannot choose what is
//! signed (threat K1).

use std::path::{Path, PathBuf};

use demarche_control::{SignedFile, layout};
use demarche_protocol::{
    charter::Charter,
    document::{DocumentType, Writer},
    hash::ChannelId,
    identity::{Verified, member::MemberId},
};
use serde::Deserialize;

use crate::{
    error::{Result, chain, failed, refused, unverified},
    files,
};

/// What a profile says. Paths are absolute, or relative to the directory the profile lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The channel: SHA-256 of its charter.
    pub channel: ChannelId,
    /// The channel's local name at the node, so that `--channel NAME` finds the pin.
    pub name: Option<String>,
    /// The party the officer serves.
    pub party: Option<MemberId>,
    /// The officer's private key.
    pub key: Option<PathBuf>,
    /// The node's data directory.
    pub data: Option<PathBuf>,
    /// The node's socket, where it is not in the data directory.
    pub socket: Option<PathBuf>,
    /// The officer's own copy of the charter: a signed file.
    pub charter: PathBuf,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    channel: String,
    name: Option<String>,
    party: Option<String>,
    key: Option<PathBuf>,
    data: Option<PathBuf>,
    socket: Option<PathBuf>,
    charter: PathBuf,
}

impl Profile {
    /// Reads a profile.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let anew = "write it anew: demarche profile --data DIR --channel NAME --key officer.key";
        let wrong = |why: &dyn std::fmt::Display| refused(format!("the profile {name}: {why}")).help(anew);
        let bytes = files::read(path, layout::SECRET_FILE).map_err(|failure| failure.help(anew))?;
        let text = std::str::from_utf8(&bytes).map_err(|why| wrong(&why))?;
        let written: Written = toml::from_str(text).map_err(|why| wrong(&why.to_string().trim()))?;
        let base = path.parent().unwrap_or(Path::new("."));
        let here = |path: PathBuf| base.join(path);
        Ok(Self {
            channel: written.channel.parse().map_err(|why| wrong(&why))?,
            name: written.name,
            party: written.party.map(|id| id.parse()).transpose().map_err(|why| wrong(&why))?,
            key: written.key.map(here),
            data: written.data.map(here),
            socket: written.socket.map(here),
            charter: here(written.charter),
        })
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        // The writer's first line names a document, which a profile is not.
        let fields = Writer::new(DocumentType::Charter)
            .comment("What `demarche` takes for granted: see `demarche profile --help`. The channel is the SHA-256 of")
            .comment("the charter, whose own copy lies in the file named last.")
            .string("channel", &self.channel.to_string())
            .optional("name", self.name.as_deref())
            .optional("party", self.party.as_ref().map(MemberId::as_str))
            .optional("key", path(&self.key).as_deref())
            .optional("data", path(&self.data).as_deref())
            .optional("socket", path(&self.socket).as_deref())
            .string("charter", &self.charter.display().to_string())
            .finish();
        fields.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned())
    }

    /// Writes the profile to `path` and the charter to [`Profile::charter`], both durably.
    pub fn write(&self, path: &Path, charter: &SignedFile) -> Result<()> {
        let base = path.parent().filter(|base| !base.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let copy = base.join(&self.charter);
        layout::make_directory(base, 0o700)
            .and_then(|()| layout::write(&copy, charter.to_json().as_bytes(), layout::PRIVATE))
            .and_then(|()| layout::write(path, self.render().as_bytes(), layout::PRIVATE))
            .map_err(|why| failed(format!("the profile {} cannot be written: {why}", path.display())))
    }

    /// The pinned charter: exactly the one that the profile names, signed by all.
    pub fn charter(&self) -> Result<Verified<Charter>> {
        let file = read_signed_file(&self.charter)?;
        charter_of(&file, Some(self.channel), &self.charter.display().to_string())
    }
}

/// Verifies a charter, and that it is the one of `channel` if that is known. `name` says where it came from.
pub fn charter_of(file: &SignedFile, channel: Option<ChannelId>, name: &str) -> Result<Verified<Charter>> {
    let document = file.document().map_err(|why| unverified(format!("{name}: {}", chain(&why))))?;
    let found = ChannelId::from(document.id());
    if let Some(channel) = channel
        && channel != found
    {
        return Err(unverified(format!("{name} is the charter {found}, not the pinned {channel}")));
    }
    Charter::verify(&document).map_err(|why| unverified(format!("{name}: {}", chain(&why))))
}

/// Reads a signed file: JSON with text and signatures.
pub fn read_signed_file(path: &Path) -> Result<SignedFile> {
    let bytes = files::read(path, layout::SIGNED_FILE)?;
    let text = String::from_utf8(bytes).map_err(|why| files::malformed(path, &why.utf8_error()))?;
    SignedFile::from_json(&text).map_err(|why| files::malformed(path, &chain(&why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            channel: ChannelId::of(b"charter"),
            name: Some("memo26".to_owned()),
            party: Some("washington".parse().unwrap()),
            key: Some("/keys/\"odd\" officer.key".into()),
            data: Some("/data".into()),
            socket: None,
            charter: "profile.charter.json".into(),
        }
    }

    #[test]
    fn a_profile_reads_back_with_its_charter_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/profile.toml");
        profile().write(&path, &SignedFile::default()).unwrap();
        let read = Profile::read(&path).unwrap();
        let charter = directory.path().join("new/profile.charter.json");
        assert_eq!(read, Profile { charter: charter.clone(), ..profile() });
        assert_eq!(read_signed_file(&charter).unwrap(), SignedFile::default());
    }

    #[test]
    fn k1_another_charter_than_the_pinned_one_is_a_failed_verification() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("profile.toml");
        let other = SignedFile { text: "demarche = \"charter/1\"\n".to_owned(), signatures: Vec::new() };
        profile().write(&path, &other).unwrap();
        let failure = Profile::read(&path).unwrap().charter().unwrap_err();
        assert_eq!(failure.exit, crate::exit::Exit::Unverified);
        assert!(failure.what.contains("not the pinned"), "{}", failure.what);
    }

    #[test]
    fn a_mistyped_key_in_a_profile_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("profile.toml");
        std::fs::write(&path, format!("{}chanel = 1\n", profile().render())).unwrap();
        let failure = Profile::read(&path).unwrap_err();
        assert!(failure.what.contains("chanel"), "{}", failure.what);
    }
}
