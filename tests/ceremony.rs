//! The ceremony as people type it, with the real program: from the first key to an installed channel with officers, and
//! everything that is refused on the way.

#[path = "ceremony/scene.rs"]
mod scene;

#[path = "ceremony/guide.rs"]
mod guide;
#[path = "ceremony/node.rs"]
mod node;
#[path = "ceremony/refusals.rs"]
mod refusals;
#[path = "ceremony/roots.rs"]
mod roots;

use std::{fs, os::unix::fs::PermissionsExt as _};

use scene::{DRAFT, Scene};

#[test]
fn two_parties_and_a_mediator_with_one_root_each() {
    let scene = Scene::new();
    scene.keys(&["w", "t", "m", "officer"]);
    scene.says(
        "demarche setup party --data W --id washington --name 'United States' --root w.pub",
        &[
            "W is set up as the node of washington",
            "next: ",
            "demarche sign W/washington.card --key ROOT.key",
        ],
    );
    scene.ok("demarche setup party --data T --id tehran --name ایران --root t.pub");
    scene.ok(
        "demarche setup mediator --data M --id muscat --name Oman --root m.pub --listen 127.0.0.1:7701 --public relay.example:7701",
    );
    for (file, key) in [("W/washington.card", "w"), ("T/tehran.card", "t"), ("M/muscat.card", "m")] {
        scene.says(&format!("demarche sign {file} --key {key}.key"), &[&format!("signed: {file}.sig")]);
    }
    scene.write("p.toml", scene::PROVISIONS);
    scene.says(
        DRAFT,
        &["parties     washington, tehran", "mediators   muscat", "demarche charter explain charter.toml"],
    );

    let spoken = scene.ok("demarche charter explain charter.toml");
    for key in ["w", "t", "m"] {
        assert!(spoken.contains(&scene.fingerprint(key)), "{spoken}");
    }
    assert!(spoken.contains("all as usual"), "{spoken}");

    for (key, missing) in
        [("w", &["tehran: 0 of the 1", "muscat: 0 of the 1"][..]), ("t", &["muscat: 0 of the 1"][..])]
    {
        scene.says(&format!("demarche sign charter.toml --key {key}.key"), missing);
        let ran = scene.types("demarche charter verify charter.toml");
        assert_eq!(ran.code, 1, "incomplete is not done");
        assert!(ran.out.contains("next: a root of"), "{}", ran.out);
    }
    scene.says(
        "demarche sign charter.toml --key m.key",
        &["signed: charter.toml.muscat.sig", "next: demarche charter verify charter.toml"],
    );
    scene.says(
        "demarche charter verify charter.toml",
        &["all have signed", "next: ", "demarche install charter.toml"],
    );

    for data in ["W", "T", "M"] {
        scene.says(
            &format!("demarche install charter.toml --data {data} --as memo26 --card W/washington.card --card T/tehran.card --card M/muscat.card"),
            &["the charter of \"Memorandum of 2026\" (installed, waiting for the node)", "card 1 of muscat", &format!("demarched --data {data}")],
        );
        assert_eq!(scene.names(&format!("{data}/channels/memo26/incoming")).len(), 3);
    }
    for (data, root) in [("W", "w"), ("T", "t")] {
        let out = format!("{data}.officer.toml");
        scene.ok(&format!("demarche officer draft --data {data} --name 'Duty officer' --key officer.pub --duties draft,release,acknowledge --out {out}"));
        scene.ok(&format!("demarche sign {out} --key {root}.key"));
        scene.says(
            &format!("demarche install {out} --data {data}"),
            &["officer Duty officer of", "installed, waiting"],
        );
    }
    scene.says(
        "demarche profile --data W --channel memo26 --key officer.key",
        &["the profile is written", "party    washington", "officer  Duty officer"],
    );
    assert!(scene.read("home/.config/demarche/profile.toml").contains("channel = "));
    // Once more is harmless.
    scene.ok("demarche profile --data W --channel memo26 --key officer.key");
}

#[test]
fn what_setup_writes_is_closed_to_others_and_documented() {
    let scene = Scene::new();
    scene.cards();
    let mode = |name: &str| fs::metadata(scene.path(name)).unwrap().permissions().mode() & 0o777;
    for key in ["W/keys/1/node.key", "W/keys/1/session.key", "W/keys/1/prekey.key", "M/keys/1/node.key"] {
        assert_eq!(mode(key), 0o600, "{key}");
    }
    assert_eq!(mode("W/keys/1"), 0o700);
    assert_eq!(mode("W"), 0o700);
    assert_eq!(scene.names("M/keys/1"), ["node.key"], "a mediator has no session");
    assert!(scene.read("M/demarched.toml").contains("\nlisten = [\"127.0.0.1:7701\"]\n"));
    assert!(!scene.read("W/demarched.toml").contains("\nlisten"));
    assert!(scene.read("M/muscat.card").contains("addresses = [\"127.0.0.1:7701\"]"));
    let session = scene.read("W/keys/1/session.key");
    assert_eq!(session.trim().strip_prefix("x25519-secret:").unwrap().len(), 64);
    let prekey = scene.read("W/keys/1/prekey.key");
    assert_eq!(prekey.lines().nth(1).unwrap().strip_prefix("ml-kem-768-seed:").unwrap().len(), 128);
}

#[test]
fn signing_and_installing_twice_is_harmless_and_said() {
    let scene = Scene::new();
    scene.installed();
    scene.says("demarche sign charter.toml --key w.key", &["already signed: charter.toml.washington.sig"]);
    assert!(!scene.path("charter.toml.washington.2.sig").exists());
    scene.says(
        "demarche install charter.toml --card M/muscat.card --data W",
        &["(already installed)", "card 1 of muscat (installed before, waiting for the node again)"],
    );
    scene.officer();
    scene.ok("demarche sign officer.toml --key w.key");
    scene.says("demarche install officer.toml --data W", &["(installed, waiting for the node)"]);
    let again = "(installed before, waiting for the node again)";
    scene.says("demarche install officer.toml --data W", &[again, "when it starts"]);
    // The node has taken it in and removed the file. Whether its store still has it the node alone knows.
    let incoming = scene.path("W/channels/memo26/incoming");
    fs::remove_dir_all(&incoming).unwrap();
    scene.says("demarche install officer.toml --data W", &[again]);
    assert_eq!(scene.names("W/channels/memo26/incoming").len(), 1, "it is left for the node each time");
}

#[test]
fn a_card_is_renewed_with_fresh_keys_and_the_next_serial() {
    let scene = Scene::new();
    scene.installed();
    scene.says(
        "demarche card renew --data W",
        &["card 2 of washington is drafted: W/washington.2.card", "the old card speaks until"],
    );
    assert_eq!(scene.names("W/keys"), ["1", "2"]);
    assert_ne!(scene.read("W/keys/1/session.key"), scene.read("W/keys/2/session.key"));
    scene.refuses("demarche install W/washington.2.card --data W", 6, &["washington: 0 of the 1 signature"]);
    scene.ok("demarche sign W/washington.2.card --key w.key");
    scene.says("demarche install W/washington.2.card --data W", &["card 2 of washington (installed"]);
    // Anybody may hand it to anybody: Tehran's operator, too.
    scene.ok("demarche install charter.toml --data T");
    scene.says("demarche install W/washington.2.card --data T", &["card 2 of washington (installed"]);
    let renewed = scene.json("demarche card renew --data W --out spare.card");
    assert_eq!((renewed["serial"].as_u64(), scene.path("spare.card.node.sig").exists()), (Some(3), true));
}

#[test]
fn a_renewal_whose_card_cannot_be_written_leaves_nothing_behind() {
    let scene = Scene::new();
    scene.cards();
    scene.refuses(
        "demarche card renew --data W --out nowhere/x.card",
        1,
        &["nowhere/x.card cannot be written"],
    );
    scene.write("W/washington.2.card.node.sig", "of another");
    scene.refuses("demarche card renew --data W", 1, &["washington.2.card.node.sig cannot be written"]);
    assert_eq!(scene.names("W/keys"), ["1"]);
    assert!(!scene.path("W/washington.2.card").exists());
    // As one that was killed while it drew its keys leaves them.
    scene.ok("mkdir W/keys/2 && echo half > W/keys/2/session.key");
    assert_eq!(scene.json("demarche card renew --data W --out x.card")["serial"], 2, "no serial is used up");
}

#[test]
fn a_mediators_address_changes_by_a_new_card() {
    let scene = Scene::new();
    scene.cards();
    scene.ok("demarche card renew --data M --public relay.example:7702 --public '[2001:db8::1]:7702'");
    assert!(scene.read("M/muscat.2.card").contains("\"relay.example:7702\""));
    scene.refuses(
        "demarche card renew --data W --public relay.example:1",
        2,
        &["only a mediator's card has addresses"],
    );
    scene.refuses("demarche card renew --data M --public nowhere", 2, &["--public nowhere: not an address"]);
    assert_eq!(scene.names("M/keys"), ["1", "2"], "a refused renewal draws no keys");
}

#[test]
fn an_officer_is_listed_and_revoked() {
    let scene = Scene::new();
    scene.installed();
    scene.says("demarche officer list --data W", &["no officers", "next: demarche officer draft"]);
    scene.officer();
    scene.ok("demarche sign officer.toml --key w.key && demarche install officer.toml --data W");
    let listed = scene.json("demarche officer list --data W");
    assert_eq!(listed[0]["name"], "Duty officer, first watch");
    assert_eq!(listed[0]["state"], "in-force");
    assert_eq!(listed[0]["channel"], "memo26");
    scene.says(
        "demarche revoke officer.toml --reason 'key lost' --out revocation.toml",
        &["will no longer speak", "no effect before the roots have signed", "demarche sign revocation.toml"],
    );
    scene.refuses("demarche install revocation.toml --data W", 6, &["washington: 0 of the 1 signature"]);
    scene.says(
        "demarche sign revocation.toml --key w.key",
        &["because       key lost", &scene.fingerprint("officer")],
    );
    scene.says(
        "demarche install revocation.toml --data W",
        &["the revocation of officer's key", "(installed"],
    );
    assert_eq!(scene.json("demarche officer list --data W")[0]["state"], "revoked");
    // A card is revoked likewise; the others may have it from anybody.
    scene.ok(
        "demarche revoke T/tehran.card --reason stolen --out rt.toml && demarche sign rt.toml --key t.key",
    );
    scene.says("demarche install rt.toml --data W", &["the revocation of card"]);
}

/// L2, for roots: a key or passphrase that others may read is refused with the remedy.
#[test]
fn keys_with_passphrases_sign_and_wrong_ones_do_not() {
    let scene = Scene::new();
    scene.write("pass", "correct horse\n");
    scene.write("wrong", "battery\n");
    scene.ok("chmod 600 pass wrong");
    let made = scene.json("demarche key new w.key --passphrase-file pass --comment 'root of washington'");
    assert_eq!(made["encrypted"], true);
    assert!(scene.read("w.pub").ends_with(" root of washington\n"));
    scene.ok("demarche setup party --data W --id washington --name US --root w.pub");
    scene.refuses(
        "demarche sign W/washington.card --key w.key --passphrase-file wrong",
        4,
        &["the passphrase is wrong"],
    );
    assert!(!scene.path("W/washington.card.sig").exists());
    scene.ok("demarche sign W/washington.card --key w.key --passphrase-file pass");
    scene.ok("chmod 644 pass");
    scene.refuses(
        "demarche sign W/washington.card --key w.key --passphrase-file pass",
        4,
        &["chmod 600 pass"],
    );
    scene.ok("chmod 600 pass && chmod 640 w.key");
    scene.refuses(
        "demarche sign W/washington.card --key w.key --passphrase-file pass",
        4,
        &["0640", "chmod 600 w.key"],
    );
}

#[test]
fn a_root_that_lies_in_a_nodes_directory_is_pointed_out() {
    let scene = Scene::new();
    scene.cards();
    scene.ok("cp w.key W/w.key && demarche card renew --data W");
    let pointed = "the key lies in";
    scene.says(
        "demarche sign W/washington.2.card --key W/w.key",
        &[pointed, "a root must never touch a node"],
    );
    assert!(!scene.ok("demarche sign W/washington.2.card --key w.key").contains(pointed));
}

#[test]
fn every_step_prints_one_json_document() {
    let scene = Scene::new();
    scene.cards();
    assert_eq!(
        scene.json("demarche setup party --data X --id oslo --name Norway --root w.pub")["member"],
        "oslo"
    );
    assert_eq!(scene.json("demarche sign X/oslo.card --key w.key")["type"], "card");
    let draft = scene.json(DRAFT);
    let explained = scene.json("demarche charter explain charter.toml");
    assert_eq!(draft["channel"], explained["channel"]);
    assert_eq!(explained["members"][0]["roots"][0]["fingerprint"], scene.fingerprint("w"));
    assert_eq!(explained["members"][0]["roots"][0]["spoken"].as_str().unwrap().split(' ').count(), 12);
    let verify = scene.types("demarche charter verify charter.toml --json");
    let verified: serde_json::Value = serde_json::from_str(&verify.out).unwrap();
    assert_eq!((verify.code, verified["missing"].as_array().unwrap().len()), (1, 3));
    for key in ["w", "t", "m"] {
        scene.json(&format!("demarche sign charter.toml --key {key}.key"));
    }
    let installed = scene.json("demarche install charter.toml --data W --as memo26");
    assert_eq!(installed["running"], false);
    assert_eq!(installed["installed"][0]["outcome"], "waiting");
    assert_eq!(scene.json("demarche charter show --data W")["name"], "memo26");
    scene.officer();
    let profile = scene.json("demarche profile --data W --key officer.key");
    assert_eq!(
        (profile["party"].as_str(), profile["channel"].as_str()),
        (Some("washington"), draft["channel"].as_str())
    );
    let refused = scene.types("demarche install officer.toml --data W --json");
    let said: serde_json::Value = serde_json::from_str(&refused.out).unwrap();
    assert_eq!((refused.code, said["exit"].as_u64()), (6, Some(6)));
}

#[test]
fn a_charter_shown_into_a_pipe_is_the_signed_text_byte_for_byte() {
    let scene = Scene::new();
    scene.installed();
    assert_eq!(scene.ok("demarche charter show --data W"), scene.read("charter.toml"));
    scene.ok("test $(demarche charter show charter.toml | sha256sum | cut -d' ' -f1) = $(sha256sum < charter.toml | cut -d' ' -f1)");
}

#[test]
fn every_departure_from_the_defaults_is_told() {
    let scene = Scene::new();
    scene.drafted();
    scene.edit("charter.toml", "signatures = 1", "signatures = 2");
    scene.edit("charter.toml", "# [[party.fallback]]\n# say = ", "[[party.fallback]]\nsay = ");
    scene.says(
        "demarche charter explain charter.toml",
        &[
            "1 not as usual",
            "policy.flash.signatures = 2 (default 1)",
            "if nothing gets through: Foreign ministry watch desk, +00 00 0000",
        ],
    );
}
