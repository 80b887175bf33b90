//! Processes, looked at through `/proc`; and children that say on stdout when they are ready.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};

/// Clock ticks a second: `_SC_CLK_TCK`, 100 on every Linux.
const TICKS: u64 = 100;

/// A child that runs until this is dropped.
pub(crate) struct Running(Child);

impl Running {
    /// Starts a child that prints one line on stdout when it is ready, and gives that line.
    pub(crate) fn announced(command: &mut Command) -> anyhow::Result<(Self, String)> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("stdout is piped")?).read_line(&mut line)?;
        Ok((Self(child), line.trim().to_owned()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that runs.
pub(crate) struct Process {
    /// Its name in the tables.
    pub name: String,
    /// Its id.
    pub id: u32,
}

impl Process {
    /// Processor time it has used, user and system (proc(5), `/proc/pid/stat`, fields 14 and 15).
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id))?;
        let fields: Vec<&str> =
            stat.rsplit_once(')').context("no name in stat")?.1.split_ascii_whitespace().collect();
        let ticks = fields.get(11).context("utime")?.parse::<u64>()?
            + fields.get(12).context("stime")?.parse::<u64>()?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS))
    }

    /// Resident memory, MiB.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }

    /// Payload bytes that it has sent and received over TCP connections to `port` (`ss -i`).
    pub(crate) fn tcp_bytes(&self, port: u16) -> anyhow::Result<u64> {
        let output = Command::new("ss")
            .args(["-tinpHO", "state", "established"])
            .output()
            .context("ss, of iproute2")?;
        let text = String::from_utf8(output.stdout)?;
        let peer = format!(":{port} ");
        let owner = format!("pid={},", self.id);
        let field = |line: &str, name: &str| -> u64 {
            line.split_ascii_whitespace().find_map(|word| word.strip_prefix(name)?.parse().ok()).unwrap_or(0)
        };
        let lines: Vec<&str> =
            text.lines().filter(|line| line.contains(&peer) && line.contains(&owner)).collect();
        if lines.is_empty() {
            bail!("{} has no TCP connection to port {port}", self.name);
        }
        Ok(lines.iter().map(|line| field(line, "bytes_sent:") + field(line, "bytes_received:")).sum())
    }
}
