//! Two capitals and a mediator, made ready by the real commands.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use super::processes::Process;

/// The provisions of the bench's memorandum.
const PROVISIONS: &str = "[[provision]]\ncode = \"3.2\"\nprecedence = \"flash\"\n[provision.title]\nen = \"Freedom of navigation\"\n";

/// A line that is ready.
pub(crate) struct Scene {
    /// Its directory, removed when dropped.
    pub directory: tempfile::TempDir,
    /// washington, tehran, muscat.
    pub nodes: Vec<Process>,
    /// Where the mediator listens.
    pub port: u16,
}

/// Runs the officers' tool.
pub(crate) fn demarche(directory: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_demarche"))
        .args(arguments)
        .current_dir(directory)
        .env("XDG_CONFIG_HOME", directory.join("config"))
        .env("NO_COLOR", "1")
        .output()?;
    if !output.status.success() {
        bail!("demarche {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

impl Scene {
    /// Plays the ceremony and starts the nodes.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("demarche-bench").tempdir_in(target())?;
        let at = directory.path();
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let run = |line: &str| {
            let arguments: Vec<&str> = line.split(' ').collect();
            demarche(at, &arguments)
        };
        fs::write(at.join("p.toml"), PROVISIONS)?;
        for member in ["washington", "tehran", "muscat"] {
            run(&format!("key new {member}.root --no-passphrase"))?;
            match member {
                "muscat" => run(&format!(
                    "setup mediator --data {member} --id {member} --name {member} --root {member}.root.pub --listen 127.0.0.1:{port}"
                ))?,
                _ => run(&format!(
                    "setup party --data {member} --id {member} --name {member} --root {member}.root.pub"
                ))?,
            };
            run(&format!("sign {member}/{member}.card --key {member}.root --yes"))?;
        }
        let cards = "--card washington/washington.card --card tehran/tehran.card --card muscat/muscat.card";
        run(&format!("charter draft --title Memorandum {cards} --provisions p.toml --out charter.toml"))?;
        for member in ["washington", "tehran", "muscat"] {
            run(&format!("sign charter.toml --key {member}.root --yes"))?;
        }
        for member in ["washington", "tehran", "muscat"] {
            run(&format!("install charter.toml {cards} --data {member} --as memo"))?;
        }
        for member in ["washington", "tehran"] {
            run(&format!("key new {member}.officer --no-passphrase"))?;
            run(&format!(
                "officer draft --data {member} --name Officer-of-{member} --key {member}.officer.pub --duties draft,release,acknowledge --out {member}.officer.toml"
            ))?;
            run(&format!("sign {member}.officer.toml --key {member}.root --yes"))?;
            run(&format!("install {member}.officer.toml --data {member}"))?;
        }
        let nodes = ["muscat", "washington", "tehran"]
            .into_iter()
            .map(|member| {
                let mut command = Command::new(env!("CARGO_BIN_EXE_demarched"));
                Process::node(member, command.arg("--data").arg(at.join(member)))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        for member in ["washington", "tehran"] {
            run(&format!("status --data {member} --wait-ready 30s"))?;
        }
        Ok(Self { directory, nodes, port })
    }

    /// A node's data directory.
    pub(crate) fn data(&self, member: &str) -> PathBuf {
        self.directory.path().join(member)
    }

    /// A node.
    pub(crate) fn node(&self, member: &str) -> anyhow::Result<&Process> {
        self.nodes.iter().find(|node| node.name == member).with_context(|| format!("no node {member}"))
    }
}

/// A directory on the disk that the project is on: `/tmp` is memory on some machines.
pub(crate) fn target() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}
