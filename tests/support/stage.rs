//! A channel founded by the real commands in one directory: two capitals, one mediator or several, an officer at each capital.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::{
    node::Node,
    ports,
    programs::{Outcome, Programs, command, typed},
};

/// The provisions of every test's charter.
pub const PROVISIONS: &str = r#"[[provision]]
code = "3.2"
title = { en = "Freedom of navigation", fa = "آزادی کشتیرانی" }
precedence = "flash"

[[provision]]
code = "4.1"
title = { en = "Notice of exercises", fa = "اطلاع رزمایش" }
"#;

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// Parties: id, name, officer's name.
    pub parties: &'static [(&'static str, &'static str, &'static str)],
    /// The mediators: id and name.
    pub mediators: &'static [(&'static str, &'static str)],
    /// The charter's title.
    pub title: &'static str,
}

impl Cast {
    /// Everybody's id, parties first.
    fn ids(self) -> impl Iterator<Item = &'static str> + use<> {
        let parties = self.parties.iter().map(|(id, ..)| *id);
        parties.chain(self.mediators.iter().map(|(id, _)| *id))
    }
}

/// Washington, Tehran, Muscat.
pub const CAST: Cast = Cast {
    parties: &[
        ("washington", "United States of America", "Duty officer, first watch"),
        ("tehran", "جمهوری اسلامی ایران", "افسر کشیک شب"),
    ],
    mediators: &[("muscat", "Sultanate of Oman")],
    title: "Memorandum of Understanding of 2026",
};

/// The same capitals, with two mediators.
pub const OVER_TWO: Cast =
    Cast { mediators: &[("muscat", "Sultanate of Oman"), ("geneva", "Swiss Confederation")], ..CAST };

/// Told of every command before it runs: the demo prints them.
pub type Teller = Box<dyn Fn(&str) + Send + Sync>;

/// The directory with everything in it, and the nodes.
pub struct Stage {
    /// The programs.
    pub programs: Programs,
    /// The directory: `ID/` is a node's data, `ID.root` a root's key, `ID.officer` an officer's.
    pub dir: PathBuf,
    /// Where each mediator listens, in the cast's order.
    ports: Vec<u16>,
    /// Capitals first, in the cast's order, then the mediators.
    pub nodes: Vec<Node>,
    /// Its cast.
    pub cast: Cast,
    teller: Teller,
    /// The mediators are another stage's: their cards and their roots' keys are here, their nodes are there.
    borrows_mediators: bool,
    kept: Option<tempfile::TempDir>,
}

impl Stage {
    /// A founded channel in a temporary directory, no node running.
    pub fn found(programs: Programs) -> Self {
        Self::found_as(programs, CAST)
    }

    /// The same with another cast.
    pub fn found_as(programs: Programs, cast: Cast) -> Self {
        let temporary = tempfile::Builder::new().prefix("demarche-").tempdir().expect("temporary directory");
        let mut stage = Self::empty(programs, temporary.path(), cast, Box::new(|_| {}));
        stage.kept = Some(temporary);
        stage.ceremony();
        stage
    }

    /// A channel of other capitals over this stage's mediators. Their roots have signed the charter; their nodes know nothing of it yet.
    pub fn found_beside(&self, cast: Cast) -> Self {
        let temporary = tempfile::Builder::new().prefix("demarche-").tempdir().expect("temporary directory");
        let mut stage = Self::empty(self.programs.clone(), temporary.path(), cast, Box::new(|_| {}));
        assert_eq!(cast.mediators, self.cast.mediators, "the same mediators");
        stage.borrows_mediators = true;
        stage.ports.clone_from(&self.ports);
        for (id, _) in cast.mediators {
            fs::create_dir(stage.dir.join(id)).expect("directory");
            let ends = ["", ".sig", ".node.sig"].map(|end| format!("{}{end}", card(id)));
            for file in ends.into_iter().chain([format!("{id}.root"), format!("{id}.root.pub")]) {
                fs::copy(self.dir.join(&file), stage.dir.join(&file)).expect("copied");
            }
        }
        stage.kept = Some(temporary);
        stage.ceremony();
        stage
    }

    /// A founded channel, all nodes running, the line open on both sides.
    pub fn open(programs: Programs) -> Self {
        Self::open_as(programs, CAST)
    }

    /// The same with another cast.
    pub fn open_as(programs: Programs, cast: Cast) -> Self {
        let mut stage = Self::found_as(programs, cast);
        stage.start();
        stage
    }

    /// Nothing but a directory.
    pub fn empty(programs: Programs, dir: &Path, cast: Cast, teller: Teller) -> Self {
        let nodes = cast.ids().map(|id| Node::new(&programs, dir, id)).collect();
        Self {
            programs,
            dir: dir.to_owned(),
            ports: cast.mediators.iter().map(|_| ports::free()).collect(),
            nodes,
            cast,
            teller,
            borrows_mediators: false,
            kept: None,
        }
    }

    /// The whole ceremony, by the commands of docs/ceremony.md.
    pub fn ceremony(&self) {
        self.keys_and_cards();
        self.charter();
        for (id, ..) in self.cast.parties {
            self.officer_of(id);
        }
    }

    /// Keys of roots and officers, data directories, signed cards.
    pub fn keys_and_cards(&self) {
        for id in self.own_ids() {
            self.ok(&["key", "new", &format!("{id}.root"), "--no-passphrase"]);
        }
        for (id, name, _) in self.cast.parties {
            let root = format!("{id}.root.pub");
            self.ok(&["setup", "party", "--data", id, "--id", id, "--name", name, "--root", &root]);
        }
        for (id, name) in self.own_mediators() {
            let (root, at) = (format!("{id}.root.pub"), format!("127.0.0.1:{}", self.port(id)));
            self.ok(&[
                "setup", "mediator", "--data", id, "--id", id, "--name", name, "--root", &root, "--listen",
                &at,
            ]);
        }
        for id in self.own_ids() {
            self.ok(&["sign", &card(id), "--key", &format!("{id}.root")]);
        }
    }

    /// The charter drafted, signed by all, installed at every node.
    pub fn charter(&self) {
        self.draft();
        self.agree();
    }

    /// The charter drafted: `charter.toml`, to be edited before anyone signs.
    pub fn draft(&self) {
        fs::write(self.dir.join("provisions.toml"), PROVISIONS).expect("provisions");
        let cards: Vec<String> = self.ids().flat_map(|id| ["--card".to_owned(), card(id)]).collect();
        let mut draft = vec!["charter", "draft", "--title", self.cast.title];
        draft.extend(cards.iter().map(String::as_str));
        draft.extend(["--provisions", "provisions.toml", "--out", "charter.toml"]);
        self.ok(&draft);
    }

    /// The charter signed by all and installed at every node.
    pub fn agree(&self) {
        let cards: Vec<String> = self.ids().flat_map(|id| ["--card".to_owned(), card(id)]).collect();
        for id in self.ids() {
            self.ok(&["sign", "charter.toml", "--key", &format!("{id}.root")]);
        }
        self.ok(&["charter", "verify", "charter.toml"]);
        for id in self.own_ids() {
            let mut install = vec!["install", "charter.toml", "--data", id, "--as", "memo26"];
            install.extend(cards.iter().map(String::as_str));
            self.ok(&install);
        }
    }

    /// A party's officer, with all duties that messages need, and the officer's profile.
    pub fn officer_of(&self, id: &str) {
        let name = self.cast.parties.iter().find(|(party, ..)| *party == id).expect("a party").2;
        let key = format!("{id}.officer");
        self.ok(&["key", "new", &key, "--no-passphrase"]);
        self.enrol(id, name, &key, "draft,release,acknowledge");
        self.ok(&["profile", "--data", id, "--channel", "memo26", "--key", &key, "--profile", &profile(id)]);
    }

    /// An officer's document drafted, signed and installed. The text is `KEY.toml`.
    pub fn enrol(&self, id: &str, name: &str, key: &str, duties: &str) {
        let (public, text) = (format!("{key}.pub"), format!("{key}.toml"));
        let draft = [
            "officer", "draft", "--party", id, "--name", name, "--key", &public, "--duties", duties, "--out",
            &text,
        ];
        self.ok(&draft);
        self.ok(&["sign", &text, "--key", &format!("{id}.root")]);
        self.ok(&["install", &text, "--data", id]);
    }

    /// All nodes started, and the line open on both sides.
    pub fn start(&mut self) {
        for node in self.nodes.iter_mut().rev() {
            node.start();
        }
        self.nodes.iter().for_each(Node::ready);
        self.line_open();
    }

    /// Returns when both capitals say that the line is open, and every mediator that runs here that both are connected to it: a capital may
    /// take a connection to a mediator that was killed for a standing one for some seconds.
    #[track_caller]
    pub fn line_open(&self) {
        for node in self.nodes.iter().filter(|node| node.pid().is_some()) {
            if self.cast.mediators.iter().any(|(id, _)| *id == node.id) {
                let words =
                    ["status", "--check", "--wait-ready", "60s", "--channel", "memo26", "--data", &node.id];
                let status = self.run(&words);
                assert_eq!(status.code, 0, "{status}\n{}", node.log());
            }
        }
        for (id, ..) in self.cast.parties {
            let status = self.as_officer(id, &["status", "--check", "--wait-ready", "60s"]);
            assert_eq!(status.code, 0, "{status}\n{}", self.node(id).log());
        }
    }

    /// Its members.
    pub fn ids(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.cast.ids()
    }

    /// Those whose nodes are founded here.
    fn own_ids(&self) -> impl Iterator<Item = &'static str> {
        let parties = self.cast.parties.iter().map(|(id, ..)| *id);
        parties.chain(self.own_mediators().iter().map(|(id, _)| *id))
    }

    fn own_mediators(&self) -> &'static [(&'static str, &'static str)] {
        if self.borrows_mediators { &[] } else { self.cast.mediators }
    }

    /// Where a mediator listens.
    pub fn port(&self, mediator: &str) -> u16 {
        let at = self.cast.mediators.iter().position(|(id, _)| *id == mediator).expect("a mediator");
        self.ports[at]
    }

    /// One node.
    pub fn node(&self, id: &str) -> &Node {
        self.nodes.iter().find(|node| node.id == id).expect("a member")
    }

    /// One node, to start or stop it.
    pub fn node_mut(&mut self, id: &str) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id == id).expect("a member")
    }

    /// `demarche` in the stage's directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.programs.demarche, &self.dir);
        command.args(arguments);
        (self.teller)(&typed(&command));
        command
    }

    /// Runs `demarche`.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.command(arguments), None)
    }

    /// Runs `demarche`, which must succeed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> Outcome {
        self.run(arguments).ok()
    }

    /// `demarche` with a party's officer's profile.
    pub fn officer_command(&self, id: &str, arguments: &[&str]) -> Command {
        let profile = profile(id);
        let mut all = arguments.to_vec();
        all.extend(["--profile", &profile]);
        self.command(&all)
    }

    /// Runs it.
    pub fn as_officer(&self, id: &str, arguments: &[&str]) -> Outcome {
        Outcome::of(self.officer_command(id, arguments), None)
    }

    /// Runs it with this on standard input.
    pub fn as_officer_saying(&self, id: &str, arguments: &[&str], text: &str) -> Outcome {
        Outcome::of(self.officer_command(id, arguments), Some(text.as_bytes()))
    }

    /// Runs it with `--json`; it must succeed.
    #[track_caller]
    pub fn json(&self, id: &str, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        self.as_officer(id, &all).ok().json()
    }

    /// The same with this on standard input.
    #[track_caller]
    pub fn json_saying(&self, id: &str, arguments: &[&str], text: &str) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        self.as_officer_saying(id, &all, text).ok().json()
    }

    /// Starts it and goes on; [`Outcome::wait`] collects it. The text comes from a file.
    pub fn begin(&self, id: &str, arguments: &[&str], text: &str) -> Child {
        let file = self.dir.join(format!("{id}.input"));
        fs::write(&file, text).expect("input");
        let mut command = self.officer_command(id, arguments);
        command.stdin(fs::File::open(file).expect("input")).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("demarche starts")
    }
}

/// A member's card.
pub fn card(id: &str) -> String {
    format!("{id}/{id}.card")
}

/// A party's officer's profile.
pub fn profile(id: &str) -> String {
    format!("{id}.profile/profile.toml")
}

/// A text field of a JSON document; empty when absent.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The evidence of one kind in a shown dispatch.
#[track_caller]
pub fn evidence<'a>(shown: &'a Value, kind: &str) -> &'a Value {
    let all = shown["evidence"].as_array().expect("evidence");
    all.iter().find(|piece| piece["kind"] == kind).unwrap_or_else(|| panic!("no {kind} in {shown:#}"))
}
