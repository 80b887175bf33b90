//! What a person meets at a terminal, with real processes: passphrases without echo, the notice asked for and previewed, and
//! Ctrl-C, which leaves a notice going.

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use support::{
    stage::{Stage, text},
    terminal::{INTERRUPT, Terminal},
};

/// A passphrase typed where it does not show.
fn secretly(terminal: &mut Terminal, prompt: &str, passphrase: &str) {
    terminal.until(prompt);
    terminal.silent();
    terminal.keys(&format!("{passphrase}\r"));
}

#[test]
fn l3_a_passphrase_is_asked_for_without_echo() {
    let stage = Stage::found(programs!());
    let mut terminal = Terminal::run(&stage.command(&["key", "new", "locked.key"]));
    secretly(&mut terminal, "New passphrase for", "correct horse");
    secretly(&mut terminal, "The same again: ", "correct house");
    terminal.until("They differ. Once more.");
    secretly(&mut terminal, "New passphrase for", "correct horse");
    secretly(&mut terminal, "The same again: ", "correct horse");
    let (code, shown) = terminal.ended();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("correct"), "a passphrase shows: {shown}");

    let sign = ["sign", "charter.toml", "--key", "locked.key", "--yes"];
    let mut terminal = Terminal::run(&stage.command(&sign));
    secretly(&mut terminal, "Passphrase for", "battery staple");
    let (code, shown) = terminal.ended();
    assert_eq!(code, 4, "{shown}");
    assert!(shown.contains("passphrase") && shown.contains("help:"), "{shown}");

    // The right one with a mistake mended on the way; the key is nobody's root, and that is said now.
    let mut terminal = Terminal::run(&stage.command(&sign));
    secretly(&mut terminal, "Passphrase for", "correct horsf\u{7f}e");
    let (code, shown) = terminal.ended();
    assert_ne!(code, 0);
    assert!(shown.contains("root") && !shown.contains("correct"), "{shown}");
}

#[test]
fn ctrl_c_at_a_passphrase_leaves_the_terminal_as_it_was() {
    let stage = Stage::found(programs!());
    let mut terminal = Terminal::run(&stage.command(&["key", "new", "locked.key"]));
    terminal.until("New passphrase for");
    terminal.silent();
    terminal.keys(INTERRUPT);
    terminal.until("interrupted");
    assert!(terminal.echoes());
    let (code, shown) = terminal.ended();
    assert_eq!(code, 130, "{shown}");
    assert!(shown.contains("error: interrupted (SIGINT)"), "{shown}");
    assert!(!stage.dir.join("locked.key").exists());
}

#[test]
fn a_notice_is_asked_for_previewed_edited_and_delivered() {
    let stage = Stage::open(programs!());
    let mut command = stage.officer_command("washington", &["breach"]);
    command.env("EDITOR", "sed -i s/Two/Three/").env_remove("VISUAL");
    let mut terminal = Terminal::run(&command);
    terminal.until("Which provision was breached?");
    terminal.until("Number or code: ");
    terminal.keys("9\r");
    terminal.until("there is no `9` in the list");
    terminal.until("Number or code: ");
    terminal.keys("1\r");
    terminal.until("What happened?");
    terminal.keys("Two boats at the tanker\rAt 09:31 they fired.\r.\r");
    terminal.until("When, in UTC?");
    terminal.keys("\r");
    terminal.until("FLASH breach from washington");
    terminal.until("Two boats at the tanker");
    terminal.until("  | At 09:31 they fired.");
    terminal.until("[s]end [e]dit [k]eep: ");
    terminal.keys("e\r");
    terminal.until("Three boats at the tanker");
    terminal.until("[s]end [e]dit [k]eep: ");
    terminal.keys("s\r");
    terminal.until("RECORDED HERE, NOT YET DELIVERED");
    let (code, shown) = terminal.ended();
    assert_eq!(code, 0, "{shown}");
    let inbox = stage.json("tehran", &["inbox"]);
    assert_eq!(text(&inbox[0], "title"), "Three boats at the tanker", "{shown}");
}

/// What was kept in the stage's directory as a text, and the command that goes on with it, as it was shown.
#[track_caller]
fn kept(stage: &Stage, shown: &str) -> (String, String) {
    let entries = fs::read_dir(&stage.dir).expect("directory").flatten().map(|entry| entry.path());
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let mut files: Vec<PathBuf> = entries.filter(|path| name(path).starts_with("demarche-")).collect();
    assert_eq!(files.len(), 1, "{files:?}\n{shown}");
    let file = files.remove(0);
    let line = shown.lines().find_map(|line| line.split_once("then ").map(|(_, line)| line.trim_end()));
    let command = line.and_then(|line| line.strip_suffix(&format!(" < ./{}", name(&file))));
    let command = command.unwrap_or_else(|| panic!("{shown}")).to_owned();
    let mode = fs::metadata(&file).expect("kept").permissions().mode() & 0o777;
    let text = fs::read_to_string(&file).expect("kept");
    fs::remove_file(file).expect("removed");
    assert_eq!(mode, 0o600);
    (text, command)
}

#[test]
fn whatever_ends_the_asking_keeps_what_was_typed_even_an_unfinished_line() {
    // Nothing of this needs a node.
    let stage = Stage::found(programs!());
    let asked = |words: &[&str], prompt: &str| {
        let mut terminal = Terminal::run(&stage.officer_command("washington", words));
        terminal.until(prompt);
        terminal
    };
    let exercise = ["breach", "3.2", "--nature", "exercise", "--place", "At the pier"];
    let mut terminal = asked(&exercise, "one dot.");
    terminal.keys("Two boats\rAt 09:31 they");
    terminal.until("they");
    terminal.keys(INTERRUPT);
    let (code, shown) = terminal.ended();
    assert_eq!(code, 130, "{shown}");
    let (text, command) = kept(&stage, &shown);
    assert_eq!(text, "Two boats\nAt 09:31 they");
    let same = "demarche breach 3.2 --nature exercise --place 'At the pier' --profile ";
    assert!(command.starts_with(same), "{command}");

    // At the preview, by Ctrl-C and by what a terminal that goes away sends.
    for (signal, expected) in [("INT", 130), ("HUP", 129), ("TERM", 143)] {
        let mut terminal = asked(&["breach", "3.2", "--occurred", "10m"], "one dot.");
        terminal.keys("Two boats\rAt 09:31 they fired.\r.\r");
        terminal.until("[s]end [e]dit [k]eep: ");
        if signal == "INT" {
            terminal.keys(INTERRUPT);
        } else {
            terminal.signal(signal);
        }
        let (code, shown) = terminal.ended();
        assert_eq!(code, expected, "{shown}");
        let (text, command) = kept(&stage, &shown);
        assert_eq!(text, "Two boats\nAt 09:31 they fired.\n");
        assert!(command.starts_with("demarche breach 3.2 --occurred 20"), "as a moment: {command}");
    }

    let words = ["reply", "tehran/3", "--position", "deny"];
    for (words, command) in
        [(&["say"][..], "demarche say"), (&words, "demarche reply tehran/3 --position deny")]
    {
        let mut terminal = asked(words, "Ctrl-D on a line of its own:");
        terminal.keys("We see them.\rThey are");
        terminal.until("They are");
        terminal.keys(INTERRUPT);
        let (code, shown) = terminal.ended();
        assert_eq!(code, 130, "{shown}");
        let (text, line) = kept(&stage, &shown);
        assert_eq!(text, "We see them.\nThey are");
        assert!(line.starts_with(&format!("{command} --profile ")), "{line}");
    }
}

#[test]
fn ctrl_c_leaves_a_notice_going_and_says_so() {
    let mut stage = Stage::open(programs!());
    fs::write(stage.dir.join("body.txt"), "At 09:31 they fired.").expect("written");
    let words = ["breach", "3.2", "--title", "Two boats", "--body-file", "body.txt"];
    let waiting = [&words[..], &["--wait", "acknowledged"]].concat();
    let mut terminal = Terminal::run(&stage.officer_command("washington", &waiting));
    terminal.until("RECORDED HERE");
    terminal.until("DELIVERED    tehran's node holds it, signed");
    terminal.keys(INTERRUPT);
    terminal.until("left going");
    let (code, shown) = terminal.ended();
    assert_eq!(code, 5, "what --wait was for has not happened, and it goes on: {shown}");
    let serial = text(&stage.json("tehran", &["inbox"])[0], "serial").to_owned();
    assert!(shown.contains(&format!("demarche show {serial}")), "{shown}");
    stage.as_officer("tehran", &["ack", &serial]).ok();

    // Nobody asked it to wait, and the other side is away: it is recorded, which is what was asked.
    stage.node_mut("tehran").kill();
    let words = ["breach", "4.1", "--title", "No notice of exercises", "--body-file", "body.txt"];
    let mut terminal = Terminal::run(&stage.officer_command("washington", &words));
    terminal.until("RECORDED HERE, NOT YET DELIVERED");
    terminal.keys(INTERRUPT);
    terminal.until("left going");
    let (code, shown) = terminal.ended();
    assert_eq!(code, 0, "{shown}");
    stage.node_mut("tehran").start_ready();
    // What is less urgent and was written later does not come first.
    stage.json_saying("washington", &["say", "--wait", "delivered", "--timeout", "60s"], "Are you there?");
    let inbox = stage.json("tehran", &["inbox"]);
    let titles: Vec<&str> = inbox.as_array().expect("headers").iter().map(|one| text(one, "title")).collect();
    assert!(titles.contains(&"No notice of exercises"), "{inbox:#}");
}
