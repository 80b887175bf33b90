//! One `demarched`: started, stopped, killed, and started again over the same data.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::programs::{Outcome, Programs, command};

/// A node that is founded, running or not.
#[derive(Debug)]
pub struct Node {
    programs: Programs,
    root: PathBuf,
    /// Its member's id; its data directory below the stage's has the same name.
    pub id: String,
    child: Option<Child>,
}

impl Node {
    /// A node over `root/id`, not running yet.
    pub fn new(programs: &Programs, root: &Path, id: &str) -> Self {
        Self { programs: programs.clone(), root: root.to_owned(), id: id.to_owned(), child: None }
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.root.join(&self.id)
    }

    /// Everything it wrote on standard error, all its lives together.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Where that is.
    pub fn log_file(&self) -> PathBuf {
        self.root.join(format!("{}.log", self.id))
    }

    /// The command that starts it.
    pub fn command(&self) -> Command {
        let mut command = command(&self.programs.demarched, &self.root);
        command.arg("--data").arg(&self.id);
        command
    }

    /// Starts it and returns at once.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.id);
        let log = OpenOptions::new().create(true).append(true).open(self.log_file()).expect("log");
        let child = self.command().stdout(Stdio::null()).stderr(log).spawn().expect("demarched starts");
        self.child = Some(child);
    }

    /// Starts it and returns when it answers.
    pub fn start_ready(&mut self) {
        self.start();
        self.ready();
    }

    /// Returns when it answers.
    pub fn ready(&self) {
        let mut command = command(&self.programs.demarche, &self.root);
        command.args(["status", "--wait-ready", "30s", "--data", &self.id]);
        let outcome = Outcome::of(command, None);
        assert_eq!(outcome.code, 0, "{outcome}\n{}", self.log());
    }

    /// `kill -9`, and the corpse collected.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("kill");
        child.wait().expect("wait");
    }

    /// SIGTERM. Gives how long it took to end, and its exit code.
    pub fn terminate(&mut self) -> (Duration, i32) {
        let began = Instant::now();
        self.signal("TERM");
        let status = self.child.take().expect("it runs").wait().expect("wait");
        (began.elapsed(), status.code().unwrap_or(-1))
    }

    /// It hangs: its connections stand, and it does nothing.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// It goes on with what it was at.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.pid().expect("it runs");
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("sh");
        assert!(sent.success());
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Leaves the process running when this value goes.
    pub fn leave(&mut self) {
        self.child = None;
    }

    /// Waits for the process to end by itself, and gives its exit code.
    pub fn ended(&mut self) -> i32 {
        let status = self.child.take().expect("it runs").wait().expect("wait");
        status.code().unwrap_or(-1)
    }

    /// A new empty log.
    pub fn forget_log(&self) {
        File::create(self.log_file()).expect("log");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
