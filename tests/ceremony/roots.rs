//! Lists of roots with a threshold: two of three sign cards, charter and officers; one alone signs nothing (K1c).

use crate::scene::{DRAFT, PROVISIONS, Scene};

/// Washington with three roots of which two must sign; everybody else with one.
fn two_of_three() -> Scene {
    let scene = Scene::new();
    scene.keys(&["a", "b", "c", "t", "m", "officer"]);
    scene.says(
        "demarche setup party --data W --id washington --name 'United States' --root a.pub --root b.pub --root c.pub --roots-needed 2",
        &["to be signed by 2 of 3 roots"],
    );
    scene.ok("demarche setup party --data T --id tehran --name Iran --root t.pub");
    scene.ok("demarche setup mediator --data M --id muscat --name Oman --root m.pub --listen 127.0.0.1:7701");
    scene.ok("demarche sign T/tehran.card --key t.key && demarche sign M/muscat.card --key m.key");
    scene.write("p.toml", PROVISIONS);
    scene
}

#[test]
fn k1c_each_of_the_roots_signs_in_turn_and_one_alone_is_refused() {
    let scene = two_of_three();
    scene.says(
        "demarche sign W/washington.card --key a.key",
        &[
            "signed: W/washington.card.sig",
            "washington: 1 of the 2 signatures needed by roots of washington; missing 1 of",
        ],
    );
    scene.refuses(
        DRAFT,
        6,
        &[
            "W/washington.card: washington: 1 of the 2 signatures",
            &scene.fingerprint("b"),
            &scene.fingerprint("c"),
        ],
    );
    scene.says("demarche sign W/washington.card --key c.key", &["signed: W/washington.card.2.sig"]);
    scene.ok(DRAFT);
    scene.ok("demarche sign charter.toml --key t.key && demarche sign charter.toml --key m.key");
    scene.ok("demarche sign charter.toml --key b.key");
    scene.refuses(
        "demarche install charter.toml --data W",
        6,
        &["not all have signed", "washington: 1 of the 2 signatures", "demarche sign charter.toml"],
    );
    assert!(!scene.path("W/channels").exists(), "nothing is left behind by a refused install");
    scene.says("demarche sign charter.toml --key a.key", &["signed: charter.toml.washington.2.sig"]);
    // A third signature does no harm.
    scene.says("demarche sign charter.toml --key c.key", &["signed: charter.toml.washington.3.sig"]);
    scene
        .says("demarche charter verify charter.toml", &["washington: signed (3 of the 2 signatures needed)"]);
    scene.ok("demarche install charter.toml --data W --as memo26");

    scene.officer();
    scene.ok("demarche sign officer.toml --key a.key");
    scene.refuses(
        "demarche install officer.toml --data W",
        6,
        &["officer.toml: washington: 1 of the 2 signatures", &scene.fingerprint("b")],
    );
    // The same root twice is one root.
    scene.ok("cp officer.toml.sig officer.toml.2.sig");
    scene.refuses("demarche install officer.toml --data W", 6, &["1 of the 2 signatures"]);
    scene.ok("rm officer.toml.2.sig && demarche sign officer.toml --key b.key");
    scene.ok("demarche install officer.toml --data W");
}

#[test]
fn a_signature_by_a_strangers_key_is_named_as_such() {
    let scene = two_of_three();
    scene.keys(&["stranger"]);
    scene.ok("demarche sign W/washington.card --key a.key && demarche sign W/washington.card --key b.key");
    scene.ok(DRAFT);
    scene.ok("for k in a b t m; do demarche sign charter.toml --key $k.key; done");
    scene.ok("demarche install charter.toml --data W");
    scene.officer();
    scene.ok("demarche sign officer.toml --key a.key && demarche sign officer.toml --key stranger.key");
    scene.refuses(
        "demarche install officer.toml --data W",
        6,
        &["officer.toml.2.sig is by", &scene.fingerprint("stranger"), "which is no root of washington"],
    );
}

#[test]
fn k1c_a_lost_root_is_replaced_by_the_others_and_the_old_list_ends() {
    let scene = two_of_three();
    scene.keys(&["new"]);
    scene.ok("demarche sign W/washington.card --key a.key && demarche sign W/washington.card --key b.key");
    scene.ok(DRAFT);
    scene.ok("for k in a b t m; do demarche sign charter.toml --key $k.key; done");
    let channel = scene.json("demarche charter explain charter.toml")["channel"].as_str().unwrap().to_owned();
    scene.ok("demarche install charter.toml --data W");
    let roots = |replaces: &str| {
        let keys: Vec<String> = ["b", "c", "new"]
            .iter()
            .map(|name| {
                let line = scene.read(&format!("{name}.pub"));
                let mut words = line.split_whitespace();
                format!("  \"{} {}\",\n", words.next().unwrap(), words.next().unwrap())
            })
            .collect();
        format!(
            "demarche = \"roots/1\"\nmember = \"washington\"\nroots = [\n{}]\nroots_needed = 2\nreplaces = \"{replaces}\"\nissued_at = 2026-11-23T09:00:00.000Z\n",
            keys.concat()
        )
    };
    scene.write("out-of-turn.toml", roots(&"ab".repeat(32)));
    scene.ok("for k in a b; do demarche sign out-of-turn.toml --key $k.key; done");
    scene.refuses("demarche install out-of-turn.toml --data W", 4, &["replaces one that is not in force"]);

    scene.write("roots.toml", roots(&channel));
    scene.says(
        "demarche sign roots.toml --key c.key",
        &["From now on these are the roots of washington", "2 of its 3 roots"],
    );
    scene.ok("demarche sign roots.toml --key new.key");
    scene.refuses(
        "demarche install roots.toml --data W",
        6,
        &["1 of the 2 signatures", "no root of washington"],
    );
    scene.ok("rm roots.toml.2.sig && demarche sign roots.toml --key b.key");
    scene.says("demarche install roots.toml --data W", &["the new roots of washington (installed"]);
    scene.says("demarche install roots.toml --data W", &["(installed before, waiting for the node again)"]);

    scene.officer();
    scene.ok("for k in a b; do demarche sign officer.toml --key $k.key; done");
    scene.refuses(
        "demarche install officer.toml --data W",
        6,
        &["1 of the 2 signatures", &scene.fingerprint("a")],
    );
    scene.ok("demarche sign officer.toml --key new.key");
    scene.ok("demarche install officer.toml --data W");
    // A new card names the roots that are in force.
    scene.ok("demarche card renew --data W");
    let blob = scene.read("new.pub").split_whitespace().nth(1).unwrap().to_owned();
    assert!(scene.read("W/washington.2.card").contains(&blob));
}

#[test]
fn a_list_of_roots_that_is_none_is_refused() {
    let scene = Scene::new();
    scene.keys(&["a", "b"]);
    let setup = |rest: &str| format!("demarche setup party --data W --id washington --name US {rest}");
    scene.refuses(
        &setup("--root a.pub --root b.pub"),
        2,
        &["not said how many of them must sign", "--roots-needed 2"],
    );
    scene.refuses(&setup("--root a.pub --root a.pub --roots-needed 2"), 2, &["stands twice"]);
    scene.refuses(&setup("--root a.pub --roots-needed 2"), 2, &["2 of 1 roots cannot be needed"]);
    scene.refuses(&setup("--root a.pub --roots-needed 0"), 2, &["0 of 1 roots cannot be needed"]);
    scene.refuses(&setup("--root a.key"), 2, &["a.key is a private key"]);
    scene.refuses(&setup("--root absent.pub"), 1, &["absent.pub cannot be read"]);
    scene.write("rsa.pub", "ssh-rsa AAAAB3NzaC1yc2E=\n");
    scene.refuses(&setup("--root rsa.pub"), 4, &["rsa.pub: "]);
    assert!(!scene.path("W").exists(), "a refused setup leaves nothing");
}
