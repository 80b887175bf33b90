//! Evidence outlives the software: OpenSSH's own program accepts what `demarche` signs, and `demarche` takes what
//! OpenSSH's own program signed, with keys that either has made.

#[path = "ceremony/scene.rs"]
mod scene;

use scene::{DRAFT, Scene};

/// The line of `allowed_signers` for a key, and the check itself.
fn verifies(scene: &Scene, file: &str, signature: &str, namespace: &str, signer: &str, public: &str) {
    let mut words = public.split_whitespace();
    let key = format!("{} {}", words.next().unwrap(), words.next().unwrap());
    scene.write("allowed_signers", format!("{signer} namespaces=\"{namespace}@demarche.v1\" {key}\n"));
    let check = |namespace: &str| {
        format!(
            "ssh-keygen -Y verify -f allowed_signers -I {signer} -n {namespace}@demarche.v1 -s {signature} < {file}"
        )
    };
    let good = scene.ok(&check(namespace));
    assert!(good.contains("Good \"") && good.contains(signer), "{good}");
    // K10: for another purpose it is none.
    assert_ne!(scene.types(&check("entry")).code, 0, "{signature} passes for an entry");
}

fn node_key(scene: &Scene, card: &str) -> String {
    let text = scene.read(card);
    let line = text.lines().find(|line| line.starts_with("node = ")).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

#[test]
fn k10_ssh_keygen_verifies_what_demarche_signs() {
    let scene = Scene::new();
    scene.installed();
    scene.officer();
    scene.ok("demarche sign officer.toml --key w.key");
    scene.ok("demarche revoke officer.toml --reason 'key lost' --out revocation.toml && demarche sign revocation.toml --key w.key");
    let root = scene.read("w.pub");
    for (file, namespace) in [
        ("charter.toml", "charter"),
        ("W/washington.card", "card"),
        ("officer.toml", "officer"),
        ("revocation.toml", "revocation"),
    ] {
        let member = if namespace == "charter" { ".washington" } else { "" };
        verifies(&scene, file, &format!("{file}{member}.sig"), namespace, "washington", &root);
    }
    for (card, member) in [("W/washington.card", "washington"), ("M/muscat.card", "muscat")] {
        verifies(&scene, card, &format!("{card}.node.sig"), "card", member, &node_key(&scene, card));
    }
    verifies(&scene, "charter.toml", "charter.toml.muscat.sig", "charter", "muscat", &scene.read("m.pub"));
    // A changed text is refused by both.
    scene.edit("officer.toml", "Duty", "duty");
    let changed = "ssh-keygen -Y check-novalidate -n officer@demarche.v1 -s officer.toml.sig < officer.toml";
    assert_ne!(scene.types(changed).code, 0);
    scene.refuses("demarche install officer.toml --data W", 6, &["officer.toml.sig is no signature by"]);
}

#[test]
fn install_takes_what_ssh_keygen_signs() {
    let scene = Scene::new();
    for key in ["w", "w2", "t", "m", "officer"] {
        scene.ok(&format!(
            "ssh-keygen -q -t ed25519 -N '' -C '{key} of somebody' -f {key}.key && mv {key}.key.pub {key}.pub"
        ));
    }
    scene.ok(
        "demarche setup party --data W --id washington --name US --root w.pub --root w2.pub --roots-needed 2",
    );
    scene.ok("demarche setup party --data T --id tehran --name Iran --root t.pub");
    scene.ok("demarche setup mediator --data M --id muscat --name Oman --root m.pub --listen 127.0.0.1:7701");
    let signs = |namespace: &str, key: &str, file: &str| {
        scene.ok(&format!("ssh-keygen -q -Y sign -n {namespace}@demarche.v1 -f {key}.key {file}"));
    };
    signs("card", "w", "W/washington.card");
    scene.ok("mv W/washington.card.sig W/washington.card.2.sig");
    signs("card", "w2", "W/washington.card");
    signs("card", "t", "T/tehran.card");
    signs("card", "m", "M/muscat.card");
    scene.write("p.toml", scene::PROVISIONS);
    scene.ok(DRAFT);
    // Named as demarche would, numbered, and left as ssh-keygen calls it: whose it is stands inside.
    for (key, name) in [("w", "washington.sig"), ("w2", "7.sig"), ("t", "tehran.sig"), ("m", "sig")] {
        signs("charter", key, "charter.toml");
        if name != "sig" {
            scene.ok(&format!("mv charter.toml.sig charter.toml.{name}"));
        }
    }
    scene.says("demarche charter verify charter.toml", &["all have signed"]);
    scene.says("demarche sign charter.toml --key m.key", &["already signed: charter.toml.sig"]);
    scene.says(
        "demarche install charter.toml --data W --card M/muscat.card",
        &["(installed, waiting for the node)", "card 1 of muscat"],
    );
    assert_eq!(
        scene.names("W/channels/memorandum-of-2026/incoming").len(),
        2,
        "both cards wait for the node"
    );
    scene.officer();
    signs("officer", "w", "officer.toml");
    scene.ok("mv officer.toml.sig officer.toml.2.sig");
    scene.refuses("demarche install officer.toml --data W", 6, &["1 of the 2 signatures"]);
    signs("officer", "w2", "officer.toml");
    scene.says(
        "demarche install officer.toml --data W",
        &["officer Duty officer, first watch of washington (installed"],
    );
}

#[test]
fn keys_with_passphrases_go_both_ways() {
    let scene = Scene::new();
    scene.write("pass", "correct horse\n");
    scene.ok("chmod 600 pass && ssh-keygen -q -t ed25519 -N 'correct horse' -f theirs.key");
    scene.ok("demarche key new ours.key --passphrase-file pass --comment 'our root'");
    let opened = scene.ok("ssh-keygen -y -P 'correct horse' -f ours.key");
    assert_eq!(opened.split_whitespace().nth(1), scene.read("ours.pub").split_whitespace().nth(1));
    assert_ne!(scene.types("ssh-keygen -y -P wrong -f ours.key").code, 0);
    // `root.pub` may be what ssh-keygen calls `root.key.pub`.
    scene.ok("demarche setup party --data W --id washington --name US --root theirs.pub");
    scene.ok("demarche sign W/washington.card --key theirs.key --passphrase-file pass");
    verifies(
        &scene,
        "W/washington.card",
        "W/washington.card.sig",
        "card",
        "washington",
        &scene.read("theirs.key.pub"),
    );
}

#[test]
fn fingerprints_are_those_that_ssh_keygen_prints() {
    let scene = Scene::new();
    let made = scene.json("demarche key new w.key --no-passphrase");
    assert_eq!(made["fingerprint"], scene.fingerprint("w"));
}

#[test]
fn a_key_or_signature_of_another_kind_is_refused_by_its_name() {
    let scene = Scene::new();
    scene.cards();
    scene.ok("ssh-keygen -q -t rsa -b 2048 -N '' -f rsa.key && ssh-keygen -q -t ecdsa -N '' -f ec.key");
    scene.refuses(
        "demarche setup party --data X --id x --name X --root rsa.key.pub",
        4,
        &["rsa.key.pub: ", "only ssh-ed25519 is taken"],
    );
    scene.refuses(
        "demarche sign W/washington.card --key ec.key",
        4,
        &["ec.key: ", "only ssh-ed25519 is taken"],
    );
    scene.ok("ssh-keygen -q -Y sign -n card@demarche.v1 -f rsa.key T/tehran.card < /dev/null || true");
    scene.ok("rm -f T/tehran.card.sig && ssh-keygen -q -Y sign -n card@demarche.v1 -f rsa.key T/tehran.card");
    scene.refuses(
        DRAFT,
        6,
        &["T/tehran.card.sig: a signature of type", "only ssh-ed25519 with SHA-512 is taken"],
    );
}
