//! The whole story with real processes: a notice from capital to capital through the mediator, and back acknowledged; and the
//! same signed by `ssh-keygen` alone.

mod support;

use std::{fs, process::Command};

use support::{
    programs::Outcome,
    stage::{Stage, evidence, text},
};

const BODY: &str = "Two vessels stopped\n\nThe vessels were stopped at 11:02 in the strait.\n";

#[test]
fn a_breach_goes_from_capital_to_capital_and_comes_back_acknowledged() {
    let stage = Stage::open(programs!());

    let sent = stage.json_saying(
        "washington",
        &[
            "breach",
            "3.2",
            "--place",
            "Strait of Hormuz",
            "--means",
            "sensor",
            "--wait",
            "delivered",
            "--timeout",
            "30s",
        ],
        BODY,
    );
    assert_eq!(sent["state"], "delivered");
    assert_eq!(sent["case"], sent["serial"], "a case bears its notice's serial");
    let serial = text(&sent, "serial");

    // Reading the headers does not betray that one has read.
    let inbox = stage.json("tehran", &["inbox"]);
    let header = &inbox[0];
    assert_eq!((text(header, "serial"), text(header, "precedence")), (serial, "flash"));
    assert_eq!((text(header, "title"), text(header, "nature")), ("Two vessels stopped", "real"));
    assert_eq!(header["document"], sent["document"]);
    assert!(header.get("body").is_none(), "an inbox carries no text");
    let shown = stage.json("washington", &["show", serial]);
    let shown = dispatch(&shown);
    assert_eq!(shown["state"], "delivered");
    assert_eq!(evidence(shown, "delivered")["by"], "tehran");
    assert_eq!(evidence(shown, "delivered")["verified"], true);

    let opened = stage.json("tehran", &["open", serial]);
    assert!(text(&opened, "body").contains("stopped at 11:02"));
    assert_eq!(opened["fields"]["place"], "Strait of Hormuz");

    let acknowledgement = stage
        .json("tehran", &["ack", serial, "--note", "Understood.", "--wait", "delivered", "--timeout", "30s"]);
    assert_eq!(acknowledgement["case"], serial);
    let reply = stage.json_saying(
        "tehran",
        &["reply", serial, "--position", "investigating", "--wait", "delivered", "--timeout", "30s"],
        "We are looking into it.",
    );
    assert_eq!(reply["case"], serial);
    stage.json_saying(
        "washington",
        &["say", "--case", serial, "--wait", "delivered", "--timeout", "30s"],
        "Thank you.",
    );

    // Both sides tell the same story of the case.
    for id in ["washington", "tehran"] {
        let shown = stage.json(id, &["show", serial]);
        let notice = dispatch(&shown);
        assert_eq!(notice["state"], "acknowledged", "{id}: {shown:#}");
        let by_officer = evidence(notice, "acknowledged");
        assert_eq!((text(by_officer, "by"), text(by_officer, "officer")), ("tehran", "افسر کشیک شب"));
        assert_eq!(evidence(notice, "opened")["officer"], "افسر کشیک شب");
        let cases = stage.json(id, &["cases"]);
        assert_eq!((text(&cases[0], "serial"), text(&cases[0], "position")), (serial, "investigating"));
        assert_eq!(cases[0]["entries"].as_array().map(Vec::len), Some(4), "{id}: {cases:#}");
    }

    let tests = stage.json("washington", &["line", "test"]);
    assert_eq!((&tests[0]["verified"], text(&tests[0], "via")), (&true.into(), "muscat"));
    assert!(tests[0]["rtt_ms"].as_f64().is_some_and(|rtt| rtt > 0.0));

    // What happened stands in the feed, resumable from its beginning.
    let watched = stage.as_officer("washington", &["watch", "--after", "0", "--count", "6", "--json"]).ok();
    assert_eq!(watched.stdout.lines().count(), 6, "{watched}");
}

/// `show` of a notice gives the case; the notice itself is in it or is it.
fn dispatch(shown: &serde_json::Value) -> &serde_json::Value {
    if shown.get("evidence").is_some() { shown } else { &shown["notice"] }
}

/// K10: what the same key signed for another purpose is refused.
#[test]
fn a_dispatch_signed_by_ssh_keygen_alone_is_sent_and_one_signed_here_verifies_there() {
    let stage = Stage::open(programs!());
    let sent = stage.json_saying("washington", &["breach", "4.1", "--wait", "delivered"], BODY);
    let shown = stage.json("tehran", &["show", text(&sent, "serial")]);
    let shown = dispatch(&shown);

    // Ours, there: the exact text and its signature, checked by ssh-keygen at the other capital.
    let public = fs::read_to_string(stage.dir.join("washington.officer.pub")).expect("public key");
    fs::write(stage.dir.join("allowed_signers"), format!("officer {public}")).expect("signers");
    fs::write(stage.dir.join("ours.sig"), shown["signatures"][0].as_str().expect("armoured"))
        .expect("signature");
    let mut verify = keygen(&stage);
    verify.args(["-Y", "verify", "-f", "allowed_signers", "-I", "officer"]);
    verify.args(["-n", "dispatch@demarche.v1", "-s", "ours.sig"]);
    Outcome::of(verify, Some(text(shown, "text").as_bytes())).ok();

    // Theirs, here: a text written by hand, signed on a machine that has only OpenSSH.
    let theirs =
        text(shown, "text").replace("stopped at 11:02", "let go at 14:30").replace("stopped\"", "let go\"");
    assert_ne!(theirs, text(shown, "text"));
    fs::write(stage.dir.join("notice.toml"), &theirs).expect("text");
    let mut sign = keygen(&stage);
    sign.args(["-Y", "sign", "-n", "dispatch@demarche.v1", "-f", "washington.officer", "notice.toml"]);
    Outcome::of(sign, None).ok();
    let send =
        ["send", "notice.toml", "--signature", "notice.toml.sig", "--wait", "delivered", "--timeout", "30s"];
    let again = stage.json("washington", &send);
    assert_eq!(again["state"], "delivered");
    // Repeating it is safe: the same serial.
    assert_eq!(stage.json("washington", &send)["serial"], again["serial"]);

    // The same key over the same text, for another purpose.
    fs::write(stage.dir.join("other.toml"), theirs.replace("14:30", "15:30")).expect("text");
    let mut sign = keygen(&stage);
    sign.args(["-Y", "sign", "-n", "charter@demarche.v1", "-f", "washington.officer", "other.toml"]);
    Outcome::of(sign, None).ok();
    let refused = stage.as_officer("washington", &["send", "other.toml", "--signature", "other.toml.sig"]);
    assert!(matches!(refused.code, 4 | 6), "{refused}");
    assert!(refused.stderr.contains("help:"), "{refused}");
}

fn keygen(stage: &Stage) -> Command {
    let mut command = Command::new("ssh-keygen");
    command.current_dir(&stage.dir);
    command
}
