//! Wrong input and a node that is away or refuses: the exit code, the next step, and nothing lost.

use std::os::unix::fs::PermissionsExt as _;

use demarche_cli::{exit::Exit, interrupts::Ending, profile::read_signed_file};
use demarche_control::{Code, Problem, layout, types::OfficerState};
use demarche_protocol::{
    dispatch::Dispatch,
    identity::{officer::Duty, openssh},
    limits,
};

use crate::{
    node::Node,
    scene::{Desk, TEHRAN_OFFICER, WASHINGTON_OFFICER, WASHINGTON_ROOT, Written, key, officer, until},
};

/// The text that was kept unsigned.
fn kept_text(desk: &Desk) -> Vec<u8> {
    let kept = desk.kept();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(kept[0].extension().is_some_and(|ending| ending == "txt"));
    std::fs::read(&kept[0]).unwrap()
}

#[test]
fn with_the_node_down_the_notice_is_signed_kept_and_sent_later_as_the_same_document() {
    let desk = Desk::new();
    let ended = desk.run(&["breach", "3.2"], "Boarding\nText").with(Exit::NodeAway);
    let kept = desk.kept();
    assert_eq!(kept.len(), 1);
    let document = read_signed_file(&kept[0]).unwrap().document().unwrap();
    assert_eq!(Dispatch::parse(document.text()).unwrap().title(), Some("Boarding"));
    assert_eq!(std::fs::metadata(&kept[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let command = format!("demarche send {}", kept[0].display());
    assert!(ended.err.trim_end().ends_with(&command), "{}", ended.err);

    let still = desk.run(&["send", kept[0].to_str().unwrap()], "").with(Exit::NodeAway);
    assert!(still.err.trim_end().ends_with(&command), "{}", still.err);

    let node = Node::on(&desk.socket());
    for _ in 0..2 {
        let sent = desk.run(&["send", kept[0].to_str().unwrap(), "--json"], "").with(Exit::Done).json();
        assert_eq!(sent["document"], document.id().to_string());
        assert_eq!(sent["serial"], "washington/1");
    }
    assert_eq!(node.held().shown.len(), 1);
}

#[test]
fn what_was_signed_lies_in_a_file_while_the_node_does_not_answer_and_a_signal_leaves_it_there() {
    for ending in [Ending::HungUp, Ending::Interrupted, Ending::Terminated] {
        let desk = Desk::new();
        let node = Node::on(&desk.socket());
        node.held().deaf = true;
        let silent = (&Written::default(), &Written::default());
        let ended = desk.run_beside(&["breach", "3.2", "--json"], "Boarding\nText", silent, || {
            until(|| node.held().asked.iter().any(|asked| asked.starts_with("POST")));
            assert_eq!(desk.kept().len(), 1, "it is kept before it is posted");
            desk.end.send_replace(Some(ending));
        });
        let ended = ended.with(ending.exit());
        let kept = desk.kept().remove(0);
        assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(
            ended.err.trim_end().ends_with(&format!("demarche send {}", kept.display())),
            "{}",
            ended.err
        );
        assert_eq!(ended.json()["kept"], kept.display().to_string());

        node.held().deaf = false;
        desk.end.send_replace(None);
        desk.run(&["send", kept.to_str().unwrap()], "").with(Exit::Done);
        assert_eq!(desk.kept(), [kept], "the officer's own file stays");
    }
}

#[test]
fn a_signal_before_anything_is_signed_leaves_the_text() {
    let desk = Desk::new();
    desk.end.send_replace(Some(Ending::Terminated));
    let ended = desk.run(&["breach", "3.1"], "").with(Exit::Terminated);
    assert!(ended.err.starts_with("error: asked to end (SIGTERM)"), "{}", ended.err);
    assert!(desk.kept().is_empty(), "nothing was read");
}

#[test]
fn keep_in_says_where_the_signed_file_goes() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("outbox")).unwrap();
    let outbox = desk.path("outbox");
    desk.run(&["say", "--keep-in", outbox.to_str().unwrap()], "Text").with(Exit::NodeAway);
    assert!(desk.kept().is_empty());
    assert_eq!(std::fs::read_dir(outbox).unwrap().count(), 1);
}

#[test]
fn every_refusal_of_the_node_keeps_the_signed_file_and_has_its_own_exit_code() {
    for code in Code::ALL {
        let desk = Desk::new();
        let node = Node::on(&desk.socket());
        node.held().refuse = Some(Problem::new(*code, "it will not do").with_help("do something else"));
        let ended = desk.run(&["say", "--json"], "Text");
        let exit = Exit::from_code(code.exit());
        let ended = ended.with(exit);
        let said = ended.json();
        assert_eq!(said["code"], code.as_str());
        assert_eq!(said["exit"], exit.code());
        assert!(ended.help().starts_with("do something else\n"), "{}", ended.err);
        assert!(ended.err.trim_end().ends_with(&format!("demarche send {}", desk.kept()[0].display())));
        assert_eq!(said["kept"], desk.kept()[0].display().to_string());
    }
}

#[test]
fn an_unknown_provision_is_refused_with_the_list_and_the_text_is_kept() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let ended = desk.run(&["breach", "9.9"], "Boarding\nText").with(Exit::Refused);
    assert!(
        ended.err.starts_with("error: the charter has no provision 9.9\n  3.1  Access for inspectors\n"),
        "{}",
        ended.err
    );
    assert_eq!(kept_text(&desk), b"Boarding\nText");
    assert!(ended.help().contains("then demarche breach PROVISION < "), "{}", ended.err);
    assert!(node.held().shown.is_empty());
}

#[test]
fn a_script_that_names_no_provision_is_told_which_there_are() {
    let desk = Desk::new();
    let ended = desk.run(&["breach"], "Text").with(Exit::Usage);
    assert!(ended.err.contains("3.2  Freedom of navigation"), "{}", ended.err);
}

#[test]
fn an_over_long_text_is_refused_with_its_size_and_kept_whole() {
    let desk = Desk::new();
    let long = format!("Title\n{}", "x".repeat(limits::BODY + 1));
    let ended = desk.run(&["breach", "3.1"], &long).with(Exit::Refused);
    assert!(ended.err.contains("has 32769 bytes; at most 32768 are allowed"), "{}", ended.err);
    assert_eq!(kept_text(&desk), long.as_bytes());
    let title = desk.run(&["breach", "3.1"], "t".repeat(limits::LINE + 1)).with(Exit::Refused);
    assert!(title.err.contains("has 513 bytes"), "{}", title.err);
}

#[test]
fn b2_invalid_utf8_is_refused_with_its_place_and_kept() {
    let desk = Desk::new();
    let ended = desk.run(&["say"], b"one\ntw\xff").with(Exit::Refused);
    assert!(ended.err.contains("byte 0xFF at line 2, column 3"), "{}", ended.err);
    assert_eq!(kept_text(&desk), b"one\ntw\xff");
}

#[test]
fn an_empty_text_is_refused() {
    let desk = Desk::new();
    assert!(desk.run(&["say"], "\n\n").with(Exit::Refused).err.contains("is empty"));
    assert!(desk.run(&["breach", "3.1"], "").with(Exit::Refused).err.contains("there is no title"));
}

#[test]
fn an_unreadable_file_is_named() {
    let desk = Desk::new();
    for arguments in [["say", "--body-file", "/nonexistent/text"].as_slice(), &["send", "/nonexistent/text"]]
    {
        let ended = desk.run(arguments, "").with(Exit::Failed);
        assert!(ended.err.contains("/nonexistent/text cannot be read"), "{}", ended.err);
    }
}

#[test]
fn without_a_key_nothing_is_signed_and_the_text_is_kept() {
    let desk = Desk::new();
    std::fs::remove_file(desk.path("officer.key")).unwrap();
    let ended = desk.run(&["say"], "Text").with(Exit::Failed);
    assert!(ended.err.contains("officer.key cannot be read"), "{}", ended.err);
    assert_eq!(kept_text(&desk), b"Text");
}

#[test]
fn l2_a_key_that_others_may_read_is_refused_with_the_remedy() {
    let desk = Desk::new();
    let path = desk.path("officer.key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let ended = desk.run(&["say"], "Text").with(Exit::Refused);
    assert!(ended.help().contains(&format!("chmod 600 {}", path.display())), "{}", ended.err);
}

#[test]
fn a_key_of_no_officer_is_refused_before_anything_is_signed() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    desk.put_key("other.key", TEHRAN_OFFICER);
    let other = desk.path("other.key");
    let ended = desk.run(&["say", "--key", other.to_str().unwrap()], "Text").with(Exit::Refused);
    assert!(ended.err.contains("is no officer's key of washington"), "{}", ended.err);
    assert!(node.held().shown.is_empty());
}

#[test]
fn a_missing_duty_is_refused_with_what_the_officer_may_do() {
    let desk = Desk::new();
    let node = Node::on(&desk.socket());
    let clerk =
        officer("washington", "Clerk", key(WASHINGTON_OFFICER).public(), &[Duty::Draft], WASHINGTON_ROOT);
    node.held().officers = vec![clerk];
    let ended = desk.run(&["breach", "3.1"], "Title").with(Exit::Refused);
    assert!(ended.err.contains("Clerk does not have the duty to release, only to draft"), "{}", ended.err);
    assert!(node.held().shown.is_empty());
}

#[test]
fn k2_a_revoked_or_suspended_officer_is_refused_and_an_expired_one_warned() {
    for (state, exit, said) in [
        (OfficerState::Revoked, Exit::Refused, "was revoked"),
        (OfficerState::Suspended, Exit::Refused, "is suspended until the roots decide"),
        (OfficerState::Expired, Exit::Done, "past its date"),
    ] {
        let desk = Desk::new();
        let node = Node::on(&desk.socket());
        node.held().officer_state = state;
        let ended = desk.run(&["say"], "Text").with(exit);
        assert!(ended.err.contains(said), "{}", ended.err);
    }
}

#[test]
fn a_changed_or_unsigned_file_is_not_sent() {
    let desk = Desk::new();
    desk.run(&["say"], "The truth").with(Exit::NodeAway);
    let kept = desk.kept().remove(0);
    let node = Node::on(&desk.socket());
    let json = std::fs::read_to_string(&kept).unwrap();
    std::fs::write(&kept, json.replace("The truth", "A lie")).unwrap();
    let ended = desk.run(&["send", kept.to_str().unwrap()], "").with(Exit::Unverified);
    assert!(ended.err.contains("does not fit this text"), "{}", ended.err);

    let mut file = read_signed_file(&kept).unwrap();
    file.signatures.clear();
    std::fs::write(&kept, file.to_json()).unwrap();
    let ended = desk.run(&["send", kept.to_str().unwrap()], "").with(Exit::Refused);
    assert!(ended.help().contains("ssh-keygen -Y sign -n dispatch@demarche.v1"), "{}", ended.err);
    assert!(node.held().shown.is_empty());
}

#[test]
fn k10_a_document_of_another_type_is_not_a_dispatch() {
    let desk = Desk::new();
    let charter = desk.path("config/demarche/charter.json");
    let ended = desk.run(&["send", charter.to_str().unwrap()], "").with(Exit::Refused);
    assert!(ended.err.contains("is a charter, not a dispatch"), "{}", ended.err);
}

#[test]
fn wrong_usage_is_exit_2_and_says_what_there_is() {
    let desk = Desk::new();
    for (arguments, said) in [
        (["breach", "3.1", "--precedence", "urgent"].as_slice(), "flash, immediate, priority, routine"),
        (&["reply", "tehran/1"], "--position"),
        (&["ack", "tehran-1"], "washington/7"),
        (&["say", "--wait", "read"], "acknowledged"),
        (&["frobnicate"], "frobnicate"),
    ] {
        let ended = desk.run(arguments, "").with(Exit::Usage);
        assert!(ended.err.contains(said), "{}", ended.err);
    }
    let ended = desk.run(&["breach", "3.1", "--occurred", "yesterday"], "Title").with(Exit::Usage);
    assert!(ended.err.contains("--occurred: not a UTC time"), "{}", ended.err);
    assert_eq!(kept_text(&desk), b"Title");
}

#[test]
fn wrong_usage_is_told_in_the_tools_own_form_and_to_programs_too() {
    let desk = Desk::bare();
    for (arguments, said, help) in [
        (
            &["breach", "3.1", "--precedence", "urgent"][..],
            "invalid value 'urgent'",
            "demarche breach --help",
        ),
        (&["charter", "explain"], "required arguments were not provided", "demarche charter explain --help"),
        (&["inboks"], "unrecognized subcommand 'inboks'", "a similar subcommand exists: 'inbox'"),
        (&["export", "--out", "X"], "export is not there yet", "demarche show SERIAL --text"),
        (&["verify", "X"], "verify is not there yet", "demarche show SERIAL verifies"),
        (&["line", "history"], "history is not there yet", "demarche watch"),
        (&["say", "--agent", "SHA256:x"], "--agent is not there yet", "--key FILE"),
        (
            &["breach", "3.1", "--evidence", "x"],
            "--evidence is not there yet",
            "name the file and its SHA-256",
        ),
        (&[], "it is not said what to do", "demarche --help"),
    ] {
        let told = desk.run(arguments, "").with(Exit::Usage);
        assert!(told.err.contains("error: ") && told.err.contains(said), "{}", told.err);
        assert!(told.help().starts_with(help), "{}", told.err);
        assert!(!told.err.contains("For more information"), "{}", told.err);
        let json = [arguments, &["--json"]].concat();
        let told = desk.run(&json, "").with(Exit::Usage).json();
        assert!(told["error"].as_str().unwrap().contains(said), "{told}");
        assert_eq!(told["exit"], 2);
    }
    assert!(desk.run(&["inbox", "--help", "--json"], "").with(Exit::Done).out.contains("Usage:"));
}

#[test]
fn one_rule_gives_the_exit_code_of_every_file_that_is_not_taken() {
    let desk = Desk::new();
    let pipe = desk.path("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    desk.put("junk", b"junk\n");
    desk.put("binary", b"\xff\xfe");
    let officer =
        officer("washington", "X", key(WASHINGTON_OFFICER).public(), &[Duty::Draft], WASHINGTON_ROOT);
    desk.put("officer.toml", officer.text().as_bytes());
    desk.put("officer.toml.sig", b"no signature");
    desk.put_key("root.key", WASHINGTON_ROOT);
    let root = desk.path("root.key").display().to_string();
    let takers: [&[&str]; 7] = [
        &["send", "@"],
        &["say", "--body-file", "@"],
        &["say", "--key", "@"],
        &["status", "--profile", "@"],
        &["sign", "@", "--key", &root, "--yes"],
        &["install", "@", "--data", "W"],
        &["charter", "explain", "@"],
    ];
    let run = |words: &[&str], file: &str| {
        let file =
            if file.starts_with('/') { file.to_owned() } else { desk.path(file).display().to_string() };
        let words: Vec<&str> = words.iter().map(|word| if *word == "@" { &*file } else { word }).collect();
        let ended = desk.run(&words, "Text");
        assert!(ended.err.contains("\nhelp: "), "{words:?}: {}", ended.err);
        (ended, format!("{words:?}"))
    };
    for words in takers {
        for file in ["absent", "pipe", "/dev/zero", "/dev/null", "config"] {
            let (ended, typed) = run(words, file);
            assert_eq!(ended.exit, Exit::Failed, "{typed}: {}", ended.err);
        }
        for file in ["junk", "binary"] {
            // A text of the officer's own may be junk, for all that anybody knows.
            if words[1] != "--body-file" || file == "binary" {
                let (ended, typed) = run(words, file);
                assert_eq!(ended.exit, Exit::Refused, "{typed}: {}", ended.err);
            }
        }
    }
    let (ended, _) = run(&["send", "@"], "officer.toml");
    let ended = ended.with(Exit::Refused);
    assert!(ended.help().starts_with("it is installed: demarche install "), "{}", ended.err);
}

#[test]
fn a_channel_that_is_not_there_is_refused_with_those_that_are() {
    let desk = Desk::new();
    let _node = Node::on(&desk.socket());
    let ended = desk.run(&["inbox", "--channel", "memo25"], "").with(Exit::Usage);
    assert!(ended.help().contains("memo26"), "{}", ended.err);
}

#[test]
fn what_is_no_private_key_is_called_so_whoever_may_read_it() {
    let desk = Desk::new();
    let public = key(WASHINGTON_OFFICER).public().to_openssh();
    for (name, text, said, help) in [
        ("officer.pub", public.as_str(), "holds a public key; the private one is needed", "officer.key"),
        ("provisions.toml", "[[provision]]\n", "no private key", "--key"),
    ] {
        let path = desk.put(name, text.as_bytes());
        for mode in [0o644, 0o600] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            for command in [&["say"][..], &["profile"], &["open", "tehran/1"]] {
                let words = [command, &["--key", path.to_str().unwrap()]].concat();
                let ended = desk.run(&words, "Text").with(Exit::Refused);
                assert!(ended.err.contains(said), "{words:?} {mode:o}: {}", ended.err);
                assert!(ended.help().contains(help), "{words:?} {mode:o}: {}", ended.err);
                assert!(!ended.err.contains("chmod"), "{words:?} {mode:o}: {}", ended.err);
            }
        }
    }
}

#[test]
fn a_passphrase_file_that_is_not_there_is_called_by_its_own_name() {
    let desk = Desk::new();
    let protection = openssh::Protection { passphrase: "correct horse", salt: [1; 16], check: 7 };
    let pem = openssh::write(&key(WASHINGTON_OFFICER), "", Some(&protection)).unwrap();
    layout::write(&desk.path("locked.key"), pem.as_bytes(), layout::PRIVATE).unwrap();
    let locked = desk.path("locked.key");
    let words = ["say", "--key", locked.to_str().unwrap(), "--passphrase-file", "/nonexistent/pass"];
    let ended = desk.run(&words, "Text").with(Exit::Failed);
    assert!(ended.help().starts_with("name the file whose first line is the passphrase"), "{}", ended.err);
    assert!(ended.err.contains(" --passphrase-file … < "), "{}", ended.err);
}

#[test]
fn a_key_in_a_directory_that_is_not_there_is_told_what_to_make_first() {
    let desk = Desk::bare();
    let path = desk.path("nodir/x");
    let words = ["key", "new", path.to_str().unwrap(), "--no-passphrase"];
    let ended = desk.run(&words, "").with(Exit::Failed);
    let directory = desk.path("nodir");
    assert!(
        ended.help().starts_with(&format!("make the directory first: mkdir {}", directory.display())),
        "{}",
        ended.err
    );
}
