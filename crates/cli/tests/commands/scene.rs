//! A channel of two parties and a mediator, its officers, and one officer's desk in a directory of its own.

use std::{
    ffi::OsString,
    io::{self, BufReader, Cursor, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use demarche_cli::{
    exit::Exit,
    interrupts::{Ending, Interrupts},
    profile::Profile,
    screen::{Screen, Sink},
    world::{Env, Input, World},
};
use demarche_control::{SignedFile, layout};
use demarche_protocol::{
    charter::{Charter, Member, Policy, Provision},
    dispatch::{Content, Dispatch, Nature, Precedence},
    document::SignedDocument,
    hash::ChannelId,
    identity::{
        keys::{PublicKey, SecretKey},
        member::MemberId,
        officer::{Duty, Officer},
        openssh,
        roots::RootList,
    },
    labels::Namespace,
    time::Timestamp,
};
use tokio::sync::watch;

/// The clock on every desk.
pub(crate) const NOW: &str = "2026-11-23T09:40:00.000Z";

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(crate) fn id(text: &str) -> MemberId {
    text.parse().unwrap()
}

/// The root of a member, the key of an officer: each from its own seed.
pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub(crate) const WASHINGTON_ROOT: u8 = 1;
pub(crate) const TEHRAN_ROOT: u8 = 2;
pub(crate) const MUSCAT_ROOT: u8 = 3;
pub(crate) const WASHINGTON_OFFICER: u8 = 11;
pub(crate) const TEHRAN_OFFICER: u8 = 12;

pub(crate) fn charter() -> SignedDocument {
    charter_titled("Memorandum of 2026")
}

pub(crate) fn charter_titled(title: &str) -> SignedDocument {
    let member = |name: &str, root: u8, fallback: &str| Member {
        id: id(name),
        name: name.to_uppercase(),
        roots: RootList::new(vec![key(root).public()], 1).unwrap(),
        fallback: vec![fallback.to_owned()],
    };
    let provision = |code: &str, title: &str, precedence| Provision {
        code: code.to_owned(),
        title: [("en".to_owned(), title.to_owned())].into(),
        precedence,
    };
    let mut charter = Charter {
        title: title.to_owned(),
        drafted_at: now(),
        parties: vec![
            member("washington", WASHINGTON_ROOT, "Operations desk, +00 11"),
            member("tehran", TEHRAN_ROOT, "Foreign ministry watch desk, +00 22"),
        ],
        mediators: vec![member("muscat", MUSCAT_ROOT, "Mediator's desk, +00 33")],
        provisions: vec![
            provision("3.1", "Access for inspectors", None),
            provision("3.2", "Freedom of navigation", Some(Precedence::Flash)),
        ],
        policy: Policy::default(),
    };
    // So that a test need not wait for what is late.
    charter.policy.precedences[3].deliver_within = "1s".parse().unwrap();
    [WASHINGTON_ROOT, TEHRAN_ROOT, MUSCAT_ROOT]
        .into_iter()
        .fold(SignedDocument::unsigned(charter.render()), |document, root| {
            document.signed_by(Namespace::Charter, &key(root))
        })
}

pub(crate) fn channel() -> ChannelId {
    ChannelId::from(charter().id())
}

/// An officer's document, signed by this root.
pub(crate) fn officer(
    party: &str,
    name: &str,
    officer: PublicKey,
    duties: &[Duty],
    root: u8,
) -> SignedDocument {
    let officer = Officer {
        party: id(party),
        name: name.to_owned(),
        key: officer,
        duties: duties.to_vec(),
        channels: Vec::new(),
        issued_at: now(),
        expires_at: "2027-11-23T09:40:00Z".parse().unwrap(),
    };
    SignedDocument::unsigned(officer.render()).signed_by(Namespace::Officer, &key(root))
}

pub(crate) const ALL_DUTIES: [Duty; 3] = [Duty::Draft, Duty::Release, Duty::Acknowledge];

/// The officers of both sides, in force.
pub(crate) fn officers(party: &str) -> SignedDocument {
    match party {
        "washington" => {
            let key = key(WASHINGTON_OFFICER).public();
            officer(party, "Duty officer, first watch", key, &ALL_DUTIES, WASHINGTON_ROOT)
        }
        _ => officer(party, "Desk of the ministry", key(TEHRAN_OFFICER).public(), &ALL_DUTIES, TEHRAN_ROOT),
    }
}

/// A dispatch of Tehran's desk, signed.
pub(crate) fn from_tehran(content: Content, precedence: Precedence) -> SignedDocument {
    let dispatch = Dispatch {
        channel: channel(),
        party: id("tehran"),
        nature: Nature::Real,
        precedence,
        written_at: now(),
        content,
    };
    SignedDocument::unsigned(dispatch.render()).signed_by(Namespace::Dispatch, &key(TEHRAN_OFFICER))
}

/// Bytes that a command wrote.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Longer than anything here takes; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that happens in another thread.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it did not happen within {} s", PATIENCE.as_secs());
        thread::yield_now();
    }
}

/// How a command ended and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn with(self, exit: Exit) -> Self {
        assert_eq!(self.exit, exit, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}: {}", self.out))
    }

    /// The line of stderr that begins with `help:`, and those after it.
    pub(crate) fn help(&self) -> &str {
        self.err.split_once("help: ").map_or("", |(_, help)| help)
    }
}

/// An officer's desk: a directory with a key, a profile and whatever commands leave behind.
pub(crate) struct Desk {
    pub(crate) home: tempfile::TempDir,
    pub(crate) terminal: bool,
    pub(crate) env: Vec<(String, String)>,
    /// Ends the commands that run here, as a signal would.
    pub(crate) end: watch::Sender<Option<Ending>>,
    interrupts: Interrupts,
}

impl Desk {
    /// Washington's officer, with a profile that pins the channel.
    pub(crate) fn new() -> Self {
        let desk = Self::bare();
        desk.put_key("officer.key", WASHINGTON_OFFICER);
        let profile = Profile {
            channel: channel(),
            name: Some("memo26".to_owned()),
            party: Some(id("washington")),
            key: Some(desk.path("officer.key")),
            data: Some(desk.path("W")),
            socket: None,
            charter: "charter.json".into(),
        };
        let charter = SignedFile::of(&charter()).unwrap();
        profile.write(&desk.path("config/demarche/profile.toml"), &charter).unwrap();
        layout::make_directory(&desk.path("W"), 0o700).unwrap();
        desk
    }

    /// Without key or profile.
    pub(crate) fn bare() -> Self {
        let (end, interrupts) = Interrupts::given();
        Self { home: tempfile::tempdir().unwrap(), terminal: false, env: Vec::new(), end, interrupts }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("W/control.sock")
    }

    pub(crate) fn put_key(&self, name: &str, seed: u8) {
        let pem = openssh::write(&key(seed), "", None).unwrap();
        layout::write(&self.path(name), pem.as_bytes(), layout::PRIVATE).unwrap();
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// Runs `demarche ARGUMENTS` with this on stdin.
    pub(crate) fn run(&self, arguments: &[&str], stdin: impl AsRef<[u8]>) -> Ended {
        self.ready(arguments, stdin, Written::default(), Written::default())()
    }

    /// Runs a command beside what happens, with stdout and stderr to be read while it runs.
    #[track_caller]
    pub(crate) fn run_beside(
        &self,
        arguments: &[&str],
        stdin: impl AsRef<[u8]>,
        (out, err): (&Written, &Written),
        happens: impl FnOnce(),
    ) -> Ended {
        // Not a scope: that would wait for a command that does not end, and the failure would never be told.
        let command = thread::spawn(self.ready(arguments, stdin, out.clone(), err.clone()));
        happens();
        until(|| command.is_finished());
        command.join().unwrap()
    }

    /// A command with all that it needs, to be run in any thread.
    fn ready(
        &self,
        arguments: &[&str],
        stdin: impl AsRef<[u8]>,
        out: Written,
        err: Written,
    ) -> impl FnOnce() -> Ended + Send + 'static {
        let (terminal, directory) = (self.terminal, self.home.path().to_owned());
        let variables = [
            ("HOME".to_owned(), self.home.path().display().to_string()),
            ("XDG_CONFIG_HOME".to_owned(), self.path("config").display().to_string()),
        ];
        let variables = variables.into_iter().chain(self.env.clone());
        let stdin = BufReader::new(Cursor::new(stdin.as_ref().to_vec()));
        let env = Env::new(variables.map(|(name, value)| (name.into(), value.into())));
        let interrupts = self.interrupts.clone();
        let arguments: Vec<OsString> = ["demarche"].iter().chain(arguments).map(OsString::from).collect();
        move || {
            let sink = |to: &Written| Sink { to: Box::new(to.clone()), terminal };
            let mut world = World {
                screen: Screen::new(sink(&out), sink(&err), true),
                input: Input::new(Box::new(stdin), terminal),
                env,
                now: Box::new(now),
                directory,
                interrupts,
            };
            let exit = demarche_cli::run(arguments, &mut world);
            Ended { exit, out: out.text(), err: err.text() }
        }
    }

    /// The files that commands have kept, by name.
    pub(crate) fn kept(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.home.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut kept: Vec<PathBuf> = entries.filter(|path| is_kept(path)).collect();
        kept.sort();
        kept
    }
}

fn is_kept(path: &Path) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with("demarche-")
}
