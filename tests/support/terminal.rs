//! A program at a terminal, and somebody who types: a pseudoterminal that is the program's controlling one, as
//! `setsid --ctty` of util-linux makes it, with the signals that `env` of coreutils gives back.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr},
};

/// What does not show within this is not going to.
const PATIENCE: Duration = Duration::from_secs(90);

/// The end key of a running command: Ctrl-C.
pub const INTERRUPT: &str = "\u{3}";

/// Shown when the program has ended.
const END: &str = "\u{1}the end\u{1}";

/// A program that runs at a terminal of its own.
pub struct Terminal {
    keys: File,
    /// The program's end, held open.
    screen: File,
    output: Receiver<Vec<u8>>,
    /// Everything that has shown so far.
    pub shown: String,
    /// How much of it was waited for.
    read: usize,
    child: Child,
}

impl Terminal {
    /// Starts the command, with its environment and directory, at a new terminal.
    pub fn run(command: &Command) -> Self {
        let keys =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&keys).expect("granted");
        unlockpt(&keys).expect("unlocked");
        let name = ptsname(&keys, Vec::new()).expect("its name");
        let screen = open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
        let screen = File::from(screen.expect("its other end"));
        // At Ctrl-C the kernel signals first and then discards what is not read yet: also what the program says to that, if it is quick.
        let mut modes = tcgetattr(&screen).expect("its modes");
        modes.local_modes |= LocalModes::NOFLSH;
        tcsetattr(&screen, OptionalActions::Now, &modes).expect("its modes are set");
        let mut seated = Command::new("setsid");
        // Whoever runs the tests may ignore Ctrl-C, as a job in the background does; a program at a terminal of its own does not.
        seated.args(["--ctty", "--wait", "env", "--default-signal"]);
        seated.arg(command.get_program()).args(command.get_args());
        if let Some(directory) = command.get_current_dir() {
            seated.current_dir(directory);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => seated.env(name, value),
                None => seated.env_remove(name),
            };
        }
        let end = || screen.try_clone().expect("its other end");
        let child = seated.stdin(end()).stdout(end()).stderr(end()).spawn().expect("setsid of util-linux");
        let keys = File::from(keys);
        let mut from = keys.try_clone().expect("the terminal");
        let (tell, output) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                if tell.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { keys, screen, output, shown: String::new(), read: 0, child }
    }

    /// Returns when this has shown, after whatever was waited for before.
    #[track_caller]
    pub fn until(&mut self, text: &str) {
        let began = Instant::now();
        loop {
            if let Some(at) = self.shown[self.read..].find(text) {
                self.read += at + text.len();
                return;
            }
            let left = PATIENCE.saturating_sub(began.elapsed());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(why) => panic!("{text:?} does not show ({why}):\n{}", self.shown),
            }
        }
    }

    /// Types this.
    pub fn keys(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).expect("typed");
    }

    /// Sends the program a signal, by name.
    pub fn signal(&self, name: &str) {
        // `setsid` has become the program: it forks only when it leads a group already.
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(sent.expect("sh").success());
    }

    /// Whether what is typed shows.
    pub fn echoes(&self) -> bool {
        tcgetattr(&self.keys).expect("its settings").local_modes.contains(LocalModes::ECHO)
    }

    /// Returns when the program has turned the echo off: what is typed before is thrown away.
    pub fn silent(&self) {
        let began = Instant::now();
        while self.echoes() {
            assert!(began.elapsed() < PATIENCE, "the terminal still echoes:\n{}", self.shown);
            thread::yield_now();
        }
    }

    /// Waits for the program to end; gives its exit code and everything that it showed.
    pub fn ended(mut self) -> (i32, String) {
        let code = self.child.wait().expect("wait").code().unwrap_or(-1);
        // Behind all that the program said. Were the terminal closed with it, the kernel could lose the last of that.
        self.screen.write_all(END.as_bytes()).expect("the terminal");
        while !self.shown.ends_with(END) {
            let bytes = self.output.recv_timeout(PATIENCE).expect("the terminal");
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
        self.shown.truncate(self.shown.len() - END.len());
        (code, std::mem::take(&mut self.shown))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
