//! Everything that is refused on the way, each with words of its own that name the line or the culprit.

use crate::scene::{DRAFT, PROVISIONS, Scene};

#[test]
fn b2_an_unknown_repeated_or_mistyped_key_is_refused_with_line_and_column() {
    let scene = Scene::new();
    scene.cards();
    for (from, to, words) in [
        ("code = \"4.1\"", "cod = \"4.1\"", &["p.toml: line 6", "`provision.code` is missing"][..]),
        (
            "title = { en = \"Notice",
            "titel = { en = \"Notice",
            &["p.toml: line 6", "`provision.title` is missing"],
        ),
        (
            "precedence = \"flash\"",
            "urgency = \"flash\"",
            &["p.toml: line 4, column 1: unknown key `provision.urgency`"],
        ),
        ("precedence = \"flash\"", "code = \"9\"", &["p.toml: line 4, column 1: ", "`code` stands twice"]),
        ("code = \"3.2\"", "code = 3", &["p.toml: line 2, column 8: `provision.code` must be a string"]),
        (
            "precedence = \"flash\"",
            "precedence = \"flsh\"",
            &["p.toml: line 4, column 14", "a precedence is one of"],
        ),
        (
            "[[provision]]\ncode = \"3.2\"",
            "x = 1\n[[provision]]\ncode = \"3.2\"",
            &["p.toml: line 1, column 1: unknown key `x`"],
        ),
        ("code = \"4.1\"", "code = \"3.2\"", &["p.toml: line 7, column 8", "the provision 3.2 stands twice"]),
        ("Notice", "Notice\\u202e", &["p.toml: line 8", "U+202E"]),
    ] {
        scene.write("p.toml", PROVISIONS);
        scene.edit("p.toml", from, to);
        scene.refuses(DRAFT, 4, words);
        assert!(!scene.path("charter.toml").exists(), "{to}");
    }
    scene.write("p.toml", b"[[provision]]\ncode = \"\xff\"\n");
    scene.refuses(DRAFT, 4, &["p.toml: line 2, column 9: not UTF-8"]);
    scene.write("p.toml", "");
    scene.refuses(DRAFT, 4, &["p.toml holds no provision", "[[provision]]"]);
}

#[test]
fn b2_a_charter_that_was_edited_wrongly_is_refused_with_line_and_column() {
    let scene = Scene::new();
    scene.drafted();
    let good = scene.read("charter.toml");
    for (from, to, words) in [
        ("signatures = 1", "signatures = \"2\"", &["`policy.flash.signatures` must be", "not a string"][..]),
        ("signatures = 1", "signatures = 1\nsignatures = 2", &["`signatures` stands twice"]),
        (
            "deliver_within = \"2m\"",
            "deliver_within = \"2 minutes\"",
            &["`policy.flash.deliver_within`: not a duration"],
        ),
        ("[policy.flash]", "[policy.flahs]", &["unknown key `policy.flahs`"]),
        ("id = \"tehran\"", "id = \"washington\"", &["stands twice"]),
        ("roots_needed = 1", "roots_needed = 2", &["2 of 1 roots cannot be needed"]),
        ("custody = \"256MiB\"", "custody = \"256MB\"", &["`policy.limits.custody`: not a size"]),
        ("demarche = \"charter/1\"", "demarche = \"charter/2\"", &["line 1, column 1"]),
        ("demarche = \"charter/1\"\n", "", &["the first line must be `demarche = \"TYPE/1\"`"]),
    ] {
        scene.write("charter.toml", &good);
        scene.edit("charter.toml", from, to);
        for command in ["explain", "verify"] {
            scene.refuses(&format!("demarche charter {command} charter.toml"), 4, &["charter.toml: line "]);
        }
        scene.refuses("demarche sign charter.toml --key w.key", 4, words);
        scene.refuses("demarche install charter.toml --data W", 4, words);
    }
}

#[test]
fn an_address_that_is_none_is_refused() {
    let scene = Scene::new();
    scene.keys(&["m"]);
    let setup =
        |rest: &str| format!("demarche setup mediator --data M --id muscat --name Oman --root m.pub {rest}");
    for (listen, words) in [
        ("nowhere", "--listen nowhere: not an address to listen on"),
        ("127.0.0.1", "--listen 127.0.0.1: not an address to listen on"),
        ("127.0.0.1:0", "--listen 127.0.0.1:0: not an address to listen on"),
        ("300.1.1.1:7701", "--listen 300.1.1.1:7701: not an address to listen on"),
        ("relay.example:7701", "--listen relay.example:7701: not an address to listen on"),
    ] {
        scene.refuses(&setup(&format!("--listen {listen}")), 2, &[words, "help: like 127.0.0.1:7701"]);
    }
    for public in ["relay.example", "relay.example:0", "-x.example:1", "300.1.1.1:7701"] {
        let line = setup(&format!("--listen 0.0.0.0:7701 --public={public}"));
        scene.refuses(&line, 2, &[&format!("--public {public}: not an address")]);
    }
    scene.refuses(&setup("--listen 0.0.0.0:7701"), 2, &["not where others reach the node", "--public"]);
    assert!(!scene.path("M").exists(), "a refused setup leaves nothing");
    scene.ok(&setup("--listen 0.0.0.0:7701 --public relay.example:7701"));
    scene.edit("M/muscat.card", "relay.example:7701", "relay.example");
    scene.refuses(
        "demarche sign M/muscat.card --key m.key",
        4,
        &["M/muscat.card: line 7", "`addresses`: not an address"],
    );
}

/// K10: a signature made for another purpose. K1d: a node's key that nobody has shown to hold.
#[test]
fn a_missing_or_wrong_signature_is_named() {
    let scene = Scene::new();
    scene.cards();
    let draft = |words: &[&str]| scene.refuses(DRAFT, 6, words);
    scene.ok("mv T/tehran.card.sig kept");
    draft(&[
        "T/tehran.card: tehran: 0 of the 1 signature needed",
        &scene.fingerprint("t"),
        "demarche sign T/tehran.card",
    ]);
    scene.ok("cp W/washington.card.sig T/tehran.card.sig");
    draft(&["T/tehran.card.sig is no signature by", &scene.fingerprint("w"), "rm T/tehran.card.sig"]);
    scene.write("T/tehran.card.sig", "no signature at all\n");
    draft(&["T/tehran.card.sig: not an armoured SSH signature"]);
    // Made for another purpose.
    scene.ok("rm T/tehran.card.sig && ssh-keygen -q -Y sign -n officer@demarche.v1 -f t.key T/tehran.card");
    draft(&[
        "T/tehran.card.sig: a signature for `officer@demarche.v1`, where one for `card@demarche.v1` is needed",
    ]);
    scene.ok("mv kept T/tehran.card.sig && mv T/tehran.card.node.sig kept");
    // The roots vouch for a key that nobody has shown to hold.
    draft(&["T/tehran.card: the node has not signed its own card", "T/tehran.card.node.sig"]);
    scene.ok("mv kept T/tehran.card.node.sig");
    scene.ok(DRAFT);
}

#[test]
fn a_text_changed_after_it_was_signed_is_refused_everywhere() {
    let scene = Scene::new();
    scene.signed();
    scene.edit("charter.toml", "\"6h\"", "\"7h\"");
    let words = ["charter.toml.muscat.sig is no signature by", "the text was changed after it was signed"];
    scene.refuses("demarche charter verify charter.toml", 6, &words);
    scene.refuses("demarche install charter.toml --data W", 6, &words);
    let again =
        ["charter.toml.washington.sig is by this key over another text", "rm charter.toml.washington.sig"];
    scene.refuses("demarche sign charter.toml --key w.key", 6, &again);
    assert!(!scene.path("W/channels").exists());
}

#[test]
fn a_key_that_is_no_root_is_refused_with_both_fingerprints() {
    let scene = Scene::new();
    scene.drafted();
    let (officer, w, t) = (scene.fingerprint("officer"), scene.fingerprint("w"), scene.fingerprint("t"));
    scene.refuses(
        "demarche sign charter.toml --key officer.key",
        4,
        &[&officer, "is no root of this charter", &w, &t],
    );
    scene.refuses(
        "demarche sign W/washington.card --key t.key",
        4,
        &[&t, "is no root of washington's card", &w],
    );
    scene.refuses("demarche sign charter.toml --key w.pub", 4, &["w.pub"]);
    scene.refuses("demarche sign charter.toml", 2, &["no key to sign with", "--key ROOT.key"]);
    assert!(!scene.names(".").iter().any(|name| name.starts_with("charter.toml.")));
}

/// K1d: two cards of one serial.
#[test]
fn a_card_of_another_party_is_refused() {
    let scene = Scene::new();
    scene.signed();
    scene.keys(&["o"]);
    scene.ok("demarche setup party --data O --id oslo --name Norway --root o.pub && demarche sign O/oslo.card --key o.key");
    scene.refuses(
        "demarche install charter.toml --card O/oslo.card --data W",
        4,
        &["O/oslo.card is of oslo, who is neither party nor mediator of \"Memorandum of 2026\""],
    );
    scene.refuses(
        "demarche install charter.toml --data O",
        4,
        &["O is the node of oslo, which is neither party nor mediator"],
    );
    scene.ok("demarche install charter.toml --data W");
    scene.refuses("demarche install O/oslo.card --data W", 4, &["O/oslo.card is of oslo"]);
    // Washington's name under Oslo's root.
    scene.ok("demarche setup party --data F --id washington --name US --root o.pub && demarche sign F/washington.card --key o.key");
    scene.refuses(
        "demarche install F/washington.card --data T",
        4,
        &["before the charter", "a charter that names the roots of washington"],
    );
    scene.ok("demarche install charter.toml --data T");
    scene.refuses(
        "demarche install F/washington.card --data T",
        6,
        &["washington: 0 of the 1 signature", &scene.fingerprint("o"), "which is no root of washington"],
    );
    // Signed by the right root, but the second of its serial.
    scene.ok("demarche setup party --data D --id washington --name US --root w.pub && demarche sign D/washington.card --key w.key");
    scene.ok("demarche install W/washington.card --data T");
    scene.refuses(
        "demarche install D/washington.card --data T",
        4,
        &["second card 1 of washington", "neither counts", "demarche card renew"],
    );
    scene.refuses(
        "demarche install charter.toml --data M --card W/washington.card --card D/washington.card",
        4,
        &["washington is given twice"],
    );
}

#[test]
fn a_party_given_twice_or_too_few_members_make_no_charter() {
    let scene = Scene::new();
    scene.cards();
    let draft = |cards: &str| {
        format!("demarche charter draft --title Memo --provisions p.toml --out charter.toml {cards}")
    };
    let (w, t, m) = ("--card W/washington.card", "--card T/tehran.card", "--card M/muscat.card");
    scene.refuses(
        &draft(&format!("{w} {t} {m} {w}")),
        4,
        &["washington is given twice: by W/washington.card and by W/washington.card"],
    );
    scene.refuses(&draft(&format!("{w} {m}")), 2, &["at least two parties; only washington was given"]);
    scene.refuses(&draft(m), 2, &["at least two parties; no party's card was given"]);
    scene.refuses(&draft(&format!("{w} {t}")), 2, &["at least one mediator; no mediator's card was given"]);
    scene.refuses(
        &draft(&format!("{w} {t} --card p.toml")),
        4,
        &["p.toml: line 1, column 1: the first line must be"],
    );
    scene.refuses(&draft(&format!("{w} {t} --card absent.card")), 1, &["absent.card cannot be read"]);
}

#[test]
fn an_officer_before_the_charter_or_of_another_party_is_refused() {
    let scene = Scene::new();
    scene.signed();
    scene.officer();
    scene.ok("demarche sign officer.toml --key w.key");
    scene.refuses(
        "demarche install officer.toml --data W",
        4,
        &[
            "officer.toml before the charter",
            "the roots of washington",
            "demarche install charter.toml --data W",
        ],
    );
    // Drafted for one channel alone: that charter is named by its hash.
    let channel = scene.json("demarche charter explain charter.toml")["channel"].as_str().unwrap().to_owned();
    scene.ok(&format!("demarche officer draft --party washington --channel {channel} --name One --key officer.pub --duties release --out one.toml && demarche sign one.toml --key w.key"));
    scene.refuses(
        "demarche install one.toml --data W",
        4,
        &[&format!("the charter {channel} is not installed in W")],
    );
    scene.ok("demarche install charter.toml --data W && demarche install charter.toml --data T");
    scene.refuses(
        "demarche install officer.toml --data T",
        4,
        &["officer.toml is of washington; this is the node of tehran", "install it at washington's node"],
    );
    scene.ok("demarche install one.toml --data W");
    let other = "ab".repeat(32);
    scene.ok(&format!("demarche officer draft --party washington --channel {other} --name Two --key officer.pub --duties release --out two.toml && demarche sign two.toml --key w.key"));
    scene.refuses("demarche install two.toml --data W", 4, &["two.toml holds for none of the channels here"]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let scene = Scene::new();
    scene.cards();
    for line in [
        "demarche sign absent --key w.key",
        "demarche install absent --data W",
        "demarche charter verify absent",
        "demarche revoke absent --reason x --out r",
        "demarche sign W/washington.card --key absent",
    ] {
        let ran = scene.types(line);
        assert!([1, 4].contains(&ran.code) && ran.err.contains("absent"), "{line}: {} {}", ran.code, ran.err);
    }
    scene.refuses("demarche sign W --key w.key", 1, &["W cannot be read"]);
    scene.ok("head -c 2000000 /dev/zero > big");
    scene.refuses("demarche sign big --key w.key", 4, &["big: longer than 1048576 bytes"]);
    scene.refuses("demarche install W/washington.card --data nowhere", 1, &["nowhere"]);
    scene.refuses("demarche install W/washington.card --data home/x", 1, &["home/x"]);
}

#[test]
fn what_is_there_is_not_overwritten() {
    let scene = Scene::new();
    scene.signed();
    scene.officer();
    let before = scene.read("charter.toml");
    scene.refuses(DRAFT, 1, &["charter.toml is there already; it is not overwritten"]);
    assert_eq!(scene.read("charter.toml"), before);
    scene.refuses(
        "demarche officer draft --party washington --name X --key officer.pub --duties draft --out officer.toml",
        1,
        &["officer.toml is there already"],
    );
    scene.refuses(
        "demarche revoke officer.toml --reason x --out officer.toml",
        1,
        &["officer.toml is there already"],
    );
    scene.refuses("demarche key new w.key --no-passphrase", 1, &["w.key is there already"]);
    scene.refuses("demarche key new --out officer.key --no-passphrase", 1, &["officer.key is there already"]);
    let keys = scene.read("W/keys/1/node.key");
    scene.refuses(
        "demarche setup party --data W --id washington --name US --root w.pub",
        1,
        &["W is set up already; it is left as it is", "demarche card renew"],
    );
    assert_eq!(scene.read("W/keys/1/node.key"), keys);
    scene.ok("mkdir -p H/keys");
    scene.refuses(
        "demarche setup party --data H --id h --name H --root w.pub",
        1,
        &["H holds keys of a setup that was broken off"],
    );
}

#[test]
fn wrong_words_on_the_command_line_are_refused_by_name() {
    let scene = Scene::new();
    scene.installed();
    let officer = "demarche officer draft --party washington --out o.toml";
    for (rest, words) in [
        (
            "--name X --duties release,administrate",
            "a duty is one of draft, release, acknowledge, administer",
        ),
        (
            "--name X --duties release --expires yesterday",
            "--expires yesterday: neither a day, a UTC time nor a duration",
        ),
        ("--name X --duties release --expires 2020-01-01", "is in the past"),
        ("--name '' --duties release", "--name is empty"),
        ("--name $'a\\u202eb' --duties release", "U+202E"),
        ("--name X", "--duties"),
        ("--name X --duties release --key officer.key", "--key officer.pub"),
    ] {
        let key = if rest.contains("--key") { "" } else { "--key officer.pub" };
        scene.refuses(&format!("{officer} {key} {rest}"), 2, &[words]);
    }
    scene.refuses(
        "demarche setup party --data Y --id Washington --name US --root w.pub",
        2,
        &["lower-case letters"],
    );
    scene.refuses(
        "demarche officer draft --name X --key officer.pub --duties release --out o.toml",
        2,
        &["--party tehran or --party washington"],
    );
    scene.refuses(
        "demarche install charter.toml --data T --as 'My Memo'",
        2,
        &["--as My Memo", "like my-memo"],
    );
    scene.refuses("demarche install charter.toml --data W --as other", 1, &["installed already, as memo26"]);
    scene.refuses("demarche install M/muscat.card --data W --as other", 2, &["--as belongs to a charter"]);
    scene.refuses(
        "demarche install M/muscat.card --data W --channel other",
        2,
        &["no channel `other`", "memo26"],
    );
    scene.refuses(
        "demarche revoke charter.toml --reason x --out r",
        4,
        &["only an officer or a card is revoked"],
    );
    scene.refuses("demarche profile --data M --key officer.key", 2, &["no channel is installed in M"]);
    scene.ok("demarche install charter.toml --data M");
    scene.refuses(
        "demarche profile --data M --key officer.key",
        2,
        &["muscat is a mediator: it has no officers"],
    );
    scene.ok("sed -i '/title/s/2026/2027/' charter.toml && rm charter.toml.*.sig");
    scene.ok("for k in w t m; do demarche sign charter.toml --key $k.key; done");
    scene.refuses(
        "demarche install charter.toml --data W --as memo26",
        1,
        &["the name memo26 belongs to", "--as NAME"],
    );
    scene.ok("demarche install charter.toml --data W --as memo27");
    scene.refuses(
        "demarche profile --data W --key officer.key",
        2,
        &["several channels", "--channel memo26 or memo27"],
    );
    scene.ok("demarche profile --data W --key officer.key --channel memo26");
    scene.refuses(
        "demarche profile --data W --key officer.key --channel memo27",
        1,
        &["pins another channel, memo26", "--profile FILE"],
    );
}

#[test]
fn a_dispatch_is_sent_and_not_installed() {
    let scene = Scene::new();
    scene.installed();
    scene.write(
        "d.toml",
        format!(
            "demarche = \"dispatch/1\"\nchannel = \"{}\"\nparty = \"washington\"\nkind = \"statement\"\nnature = \"test\"\nprecedence = \"routine\"\nwritten_at = 2026-11-23T09:00:00.000Z\nbody = \"Good morning.\"\n",
            "ab".repeat(32)
        ),
    );
    scene.refuses("demarche install d.toml --data W", 4, &["d.toml is a dispatch", "demarche send d.toml"]);
    scene.says(
        "demarche sign d.toml --key officer.key",
        &["washington speaks: statement, TEST.", "Good morning.", "demarche send d.toml"],
    );
}

#[test]
fn a_root_of_another_party_is_warned_before_it_signs_what_a_card_at_hand_does_not_bear_out() {
    let scene = Scene::new();
    scene.cards();
    scene.officer();
    let own = scene.ok("demarche sign officer.toml --key w.key");
    assert!(!own.contains("warning"), "{own}");
    let fingerprint = scene.fingerprint("t");
    let warning = format!("warning: {fingerprint} is no root of washington by ./W/washington.card");
    scene.says("demarche sign officer.toml --key t.key", &[&warning, "signed: "]);
    scene.ok("demarche revoke officer.toml --reason 'Left' --out revocation.toml");
    scene.says("demarche sign revocation.toml --key t.key", &[&warning]);
    // Elsewhere nothing is known of the party, and nothing is said.
    scene.ok("mkdir alone && cp officer.toml t.key alone/");
    let alone = scene.ok("cd alone && demarche sign officer.toml --key t.key");
    assert!(!alone.contains("warning"), "{alone}");
}
