//! A folder in which the ceremony is typed: every command goes through a shell, as an operator types it, with the real
//! program on its path and nothing of the caller's own configuration.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: i32,
    /// What it printed on stdout.
    pub(crate) out: String,
    /// What it printed on stderr.
    pub(crate) err: String,
}

/// The folder.
pub(crate) struct Scene {
    folder: TempDir,
}

impl Scene {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    /// A file or folder in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A text in it.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
    }

    /// Writes a text.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Changes a text that is there.
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} does not hold {from}");
        self.write(name, text.replacen(from, to, 1));
    }

    /// Names in a folder, sorted.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Types a line into a shell.
    pub(crate) fn types(&self, line: &str) -> Ran {
        let programs = Path::new(env!("CARGO_BIN_EXE_demarche")).parent().unwrap().to_owned();
        let inherited = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .args(["-euc", line])
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", format!("{}:{inherited}", programs.display()))
            .env("HOME", self.path("home"))
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Types a line that must succeed; gives what it printed on stdout.
    pub(crate) fn ok(&self, line: &str) -> String {
        let ran = self.types(line);
        assert_eq!(ran.code, 0, "{line}\n{}{}", ran.out, ran.err);
        ran.out
    }

    /// Types a line that must succeed and print all of these.
    pub(crate) fn says(&self, line: &str, words: &[&str]) {
        let ran = self.types(line);
        assert_eq!(ran.code, 0, "{line}\n{}{}", ran.out, ran.err);
        for word in words {
            assert!(ran.out.contains(word), "{line}\ndoes not say {word:?}:\n{}", ran.out);
        }
    }

    /// Types a line with `--json` that must succeed; gives the one document it printed.
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        let out = self.ok(&format!("{line} --json"));
        serde_json::from_str(&out).unwrap_or_else(|why| panic!("{line}: {why}\n{out}"))
    }

    /// Types a line that must be refused with this exit code, an error that says all of these, and a help line or none.
    pub(crate) fn refuses(&self, line: &str, code: i32, words: &[&str]) -> String {
        let ran = self.types(line);
        assert_eq!(ran.code, code, "{line}\n{}{}", ran.out, ran.err);
        assert!(ran.err.contains("error: "), "{line}\n{}", ran.err);
        for word in words {
            assert!(ran.err.contains(word), "{line}\ndoes not say {word:?}:\n{}", ran.err);
        }
        ran.err
    }

    /// Keys without passphrase: `NAME.key`, `NAME.pub`.
    pub(crate) fn keys(&self, names: &[&str]) {
        for name in names {
            self.ok(&format!("demarche key new {name}.key --no-passphrase"));
        }
    }

    /// The fingerprint of `NAME.pub`, by ssh-keygen's own account.
    pub(crate) fn fingerprint(&self, name: &str) -> String {
        let listed = self.ok(&format!("ssh-keygen -l -f {name}.pub"));
        listed.split_whitespace().nth(1).unwrap().to_owned()
    }

    /// Washington, Tehran and Muscat with one root each, set up and their cards signed; provisions and an officer's key.
    pub(crate) fn cards(&self) {
        self.keys(&["w", "t", "m", "officer"]);
        self.ok("demarche setup party --data W --id washington --name 'United States' --root w.pub");
        self.ok("demarche setup party --data T --id tehran --name 'جمهوری اسلامی ایران' --root t.pub");
        self.ok(
            "demarche setup mediator --data M --id muscat --name 'Sultanate of Oman' --root m.pub --listen 127.0.0.1:7701",
        );
        self.ok("demarche sign W/washington.card --key w.key");
        self.ok("demarche sign T/tehran.card --key t.key");
        self.ok("demarche sign M/muscat.card --key m.key");
        self.write("p.toml", PROVISIONS);
    }

    /// The same with a charter that is drafted, not signed.
    pub(crate) fn drafted(&self) {
        self.cards();
        self.ok(DRAFT);
    }

    /// The same with a charter that all have signed.
    pub(crate) fn signed(&self) {
        self.drafted();
        for key in ["w", "t", "m"] {
            self.ok(&format!("demarche sign charter.toml --key {key}.key"));
        }
    }

    /// The same, installed at Washington with all cards.
    pub(crate) fn installed(&self) {
        self.signed();
        self.ok(
            "demarche install charter.toml --card M/muscat.card --card T/tehran.card --data W --as memo26",
        );
    }

    /// An officer's document, drafted.
    pub(crate) fn officer(&self) {
        self.ok("demarche officer draft --data W --name 'Duty officer, first watch' --key officer.pub --duties draft,release,acknowledge --out officer.toml");
    }
}

/// The command that drafts the scene's charter.
pub(crate) const DRAFT: &str = "demarche charter draft --title 'Memorandum of 2026' --card W/washington.card \
     --card T/tehran.card --card M/muscat.card --provisions p.toml --out charter.toml";

/// The scene's provisions.
pub(crate) const PROVISIONS: &str = r#"[[provision]]
code = "3.2"
title = { en = "Freedom of navigation", fa = "آزادی کشتیرانی" }
precedence = "flash"

[[provision]]
code = "4.1"
title = { en = "Notice of exercises" }
"#;
