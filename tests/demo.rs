//! `cargo demo -- --keep`: the nodes stay when the demo has ended, and every command that it printed works as printed.

mod support;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use support::{
    programs::{Outcome, command},
    terminal::{INTERRUPT, Terminal},
};

/// What the demo left: processes and a directory, which go when the test does.
struct Left {
    directory: PathBuf,
    pids: Vec<String>,
    mediator: Option<Child>,
}

impl Drop for Left {
    fn drop(&mut self) {
        // The very processes that the demo named; those that ended by then are none.
        let _ = Command::new("kill").arg("-9").args(&self.pids).stderr(Stdio::null()).status();
        if let Some(child) = &mut self.mediator {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The commands that the demo printed.
struct Printed {
    lines: Vec<String>,
    /// `cd` and `alias`, which stand before all others.
    before: String,
}

impl Printed {
    fn of(shown: &str) -> Self {
        let (_, commands) = shown.split_once("Commands to type:\n").expect("commands");
        let lines: Vec<String> = commands.lines().map(str::to_owned).collect();
        let before = format!("{}\n{}\n", lines[0], lines[1]);
        assert!(lines[0].starts_with("cd ") && lines[1].starts_with("alias demarche="), "{commands}");
        Self { lines, before }
    }

    fn line(&self, with: &str) -> &str {
        self.lines.iter().find(|line| line.contains(with)).unwrap_or_else(|| panic!("no {with:?} is printed"))
    }

    /// A shell that types one of them, as a person would who has typed `cd` and `alias` before.
    fn typing(&self, line: &str) -> Command {
        let mut shell = command(Path::new("sh"), Path::new("/"));
        shell.arg("-c").arg(format!("{}{line}\n", self.before));
        shell
    }

    #[track_caller]
    fn done(&self, with: &str) -> String {
        Outcome::of(self.typing(self.line(with)), None).ok().stdout
    }
}

fn play() -> (Printed, Left) {
    // `cargo test` builds the examples and the programs, all up to date: the demo's own build would only build them once more with
    // the features of fewer packages, for a minute and a half. So its cargo is one that does nothing.
    let built = std::env::current_exe().expect("this test");
    let example = built.ancestors().nth(2).expect("target/PROFILE").join("examples/demo");
    assert!(example.is_file(), "the demo is not built: cargo build --examples");
    let mut demo = Command::new(example);
    demo.arg("--keep").env("CARGO", "true").stdin(Stdio::null());
    let played = Outcome::of(demo, None).ok();
    let printed = Printed::of(&played.stdout);
    let directory = PathBuf::from(printed.lines[0].trim_start_matches("cd "));
    let kill = printed.line("# the end").trim_start_matches("kill ");
    let pids = kill.split(';').next().expect("pids").split(' ').map(str::to_owned).collect();
    (printed, Left { directory, pids, mediator: None })
}

/// Waits until a process that is none of our children has let go of everything: it is gone, or nobody has fetched it yet and the last
/// of its threads has ended as well.
fn until_ended(pid: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let ended = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(_) => true,
        Ok(stat) => {
            let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
            threads <= 1 && stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
        }
    };
    while !ended() {
        assert!(Instant::now() < deadline, "process {pid} does not end");
        std::thread::yield_now();
    }
}

#[test]
fn the_nodes_that_the_demo_keeps_obey_the_commands_that_it_prints() {
    let (printed, mut left) = play();
    assert_eq!(left.pids.len(), 3, "{:?}", left.pids);
    let status = printed.done("demarche status");
    assert!(status.contains("tehran") && status.contains("up"), "{status}");

    let mut watch = Terminal::run(&printed.typing(printed.line("demarche watch")));
    watch.until("Ctrl-C ends it");
    let mut breach = Terminal::run(&printed.typing(printed.line("demarche breach")));
    breach.until("Number or code: ");
    breach.keys("2\r");
    breach.until("What happened?");
    breach.keys("Typed after the demo\rAs it said.\r.\r");
    breach.until("When, in UTC?");
    breach.keys("\r");
    // The demo gave notice under it a moment ago.
    breach.until("[y]es [n]o: ");
    breach.keys("n\r");
    breach.until("[s]end [e]dit [k]eep: ");
    breach.keys("s\r");
    let (code, shown) = breach.ended();
    assert_eq!(code, 0, "{shown}");
    watch.until("Typed after the demo");
    // The shell that typed it ends with it, by the same key.
    watch.keys(INTERRUPT);
    watch.ended();
    assert!(printed.done("demarche inbox").contains("Typed after the demo"));
    assert!(printed.done("demarche cases").contains("Typed after the demo"));

    let mediator = printed.line("# the mediator").split(' ').nth(2).expect("its pid").to_owned();
    printed.done("kill -9");
    // It holds its data directory until it has ended, and `kill` does not wait for that.
    until_ended(&mediator);
    let mut back = printed.typing(&format!("exec {}", printed.line("--data muscat")));
    left.mediator = Some(back.stdout(Stdio::null()).spawn().expect("sh"));
    let ready = printed.line("demarche status").to_owned() + " --check --wait-ready 60s";
    Outcome::of(printed.typing(&ready), None).ok();

    printed.done("# the end");
    assert!(!left.directory.exists(), "the directory is still there");
    left.pids.clear();
}
