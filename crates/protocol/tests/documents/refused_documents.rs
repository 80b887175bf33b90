//! What each type of document refuses, every time with a message of its own that names line, column and key.

use demarche_protocol::{
    charter::Charter,
    dispatch::Dispatch,
    identity::{
        card::{Card, CardSerial},
        officer::Officer,
        revocation::{Revocation, Revoked},
        roots::Roots,
        suspension::Suspension,
    },
};

use crate::{
    refusals::{bent, mediators_card, refuses},
    support::{breach, card, charter, document_id, key, new_roots, officer, revocation, suspension},
};

#[test]
fn a_charter_names_everybody_once() {
    let text = charter().render();
    let root = key("tehran root").public();
    let ours = key("washington root a").public();
    let twice_root = format!(
        "line 24, column 9: `party.roots`: the root {} is a root of another member as well",
        ours.fingerprint()
    );
    let all_lines: Vec<&str> = text.lines().collect();
    assert_eq!(all_lines[20], "[[party]]", "the line numbers below count from here");
    refuses(
        &text,
        Charter::parse,
        &[
            (
                "id = \"tehran\"",
                "id = \"washington\"",
                "line 22, column 6: `party.id`: this party or mediator stands twice",
            ),
            (
                "id = \"muscat\"",
                "id = \"tehran\"",
                "line 31, column 6: `mediator.id`: this party or mediator stands twice",
            ),
            (
                "code = \"4\"",
                "code = \"3.2\"",
                "line 45, column 8: `provision.code`: the provision 3.2 stands twice",
            ),
            (
                "code = \"4\"",
                "code = \"4 a\"",
                "line 45, column 8: `provision.code`: a provision's code is one word, like 3.2",
            ),
            (&root.to_openssh(), &ours.to_openssh(), &twice_root),
            (
                "[[mediator]]",
                "[[party]]",
                "line 1, column 1: `mediator`: a charter needs at least one mediator",
            ),
            (
                "en = \"Notice of exercises\"",
                "",
                "line 47, column 12: `provision.title.en`: a provision needs a title in at least one language",
            ),
            (
                "en = \"Notice",
                "e_n = \"Notice",
                "line 48, column 7: `provision.title.e_n`: not a language code, like `en` or `fa`",
            ),
        ],
    );
    let one_party = bent(&text, "[[party]]\nid = \"tehran\"", "[[mediator]]\nid = \"tehran\"")
        .replace("[[party.fallback]]\nsay = \"Foreign", "[[mediator.fallback]]\nsay = \"Foreign");
    let said = Charter::parse(&one_party).unwrap_err().to_string();
    assert_eq!(said, "line 5, column 1: `party`: a charter needs at least two parties");
}

#[test]
fn a_charters_rules_in_the_wrong_form() {
    refuses(
        &charter().render(),
        Charter::parse,
        &[
            (
                "\"30m\"",
                "\"+30m\"",
                "line 75, column 14: `policy.line.test_every`: not a duration, like 90s, 15m, 6h or 5d",
            ),
            (
                "\"30m\"",
                "\"0m\"",
                "line 75, column 14: `policy.line.test_every`: not a duration, like 90s, 15m, 6h or 5d",
            ),
            (
                "\"64MiB\"",
                "\"64MB\"",
                "line 79, column 17: `policy.limits.evidence_file`: not a size, like 512KiB, 64MiB or 2GiB",
            ),
            (
                "\"none\"",
                "\"some\"",
                "line 76, column 11: `policy.line.padding`: the only padding known is `none`",
            ),
            ("[policy.line]", "[policy.lime]", "line 74, column 9: unknown key `policy.lime`"),
            (
                "signatures = 2",
                "signatures = 99",
                "line 51, column 14: `policy.flash.signatures`: must be between 1 and 17",
            ),
        ],
    );
}

#[test]
fn a_list_of_roots_that_is_none() {
    let text = new_roots().render();
    let key = |name: &str| key(&format!("washington root {name}")).public();
    refuses(
        &text,
        Roots::parse,
        &[
            (
                &key("b").to_openssh(),
                &key("a").to_openssh(),
                "line 5, column 3: `roots`: this item stands twice",
            ),
            (
                &key("b").to_openssh(),
                &format!("{} laptop", key("a").to_openssh()),
                &format!("line 3, column 9: `roots`: the root {} stands twice", key("a")),
            ),
            (
                "roots_needed = 2",
                "roots_needed = 4",
                "line 3, column 9: `roots`: 4 of 3 roots cannot be needed",
            ),
            (
                "roots_needed = 2",
                "roots_needed = 0",
                "line 8, column 16: `roots_needed`: must be between 1 and 16",
            ),
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM",
                "ssh-rsa AAAAB3NzaC1yc2E",
                "line 4, column 3: `roots`: a key of type ssh-rsa; only ssh-ed25519 is taken",
            ),
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM",
                "ssh-ed25519 AAAA",
                "line 4, column 3: `roots`: not an OpenSSH public key, like `ssh-ed25519 AAAA…`",
            ),
            ("roots = [", "root = [", "line 1, column 1: `roots`: at least one root is needed"),
        ],
    );
    let many = (0..17).fold(String::new(), |out, n| {
        out + &format!("\"{}\", ", super::support::key(&n.to_string()).public())
    });
    let start = text.find("roots = [").unwrap();
    let end = text.find(']').unwrap();
    let said =
        Roots::parse(&format!("{}roots = [{many}{}", &text[..start], &text[end..])).unwrap_err().to_string();
    assert_eq!(said, "line 3, column 9: `roots`: has 17 items; at most 16 are allowed");
}

#[test]
fn an_address_that_is_none() {
    let text = mediators_card();
    let wanted = "line 8, column 3: `addresses`: not an address, like relay.example:7701, 192.0.2.1:7701 or [2001:db8::1]:7701";
    for address in [
        "relay.example",
        "relay.example:",
        "relay.example:0",
        "relay.example:65536",
        "relay.example:+7701",
        "relay.example:07701",
        ":7701",
        "relay..example:7701",
        "-relay.example:7701",
        "relay-.example:7701",
        "relay_1.example:7701",
        "192.0.2.256:7701",
        "192.0.2:7701",
        "2001:db8::1:7701",
        "[2001:db8::g]:7701",
        "[fe80::1%2]:7701",
        "0.0.0.0:7701",
        "[::]:7701",
        "224.0.0.1:7701",
        "relay example:7701",
        "http://relay.example:7701",
        "نمونه.example:7701",
        "",
    ] {
        refuses(&text, Card::parse, &[("relay.example:7701", address, wanted)]);
    }
    refuses(
        &text,
        Card::parse,
        &[
            (
                "role = \"mediator\"",
                "role = \"judge\"",
                "line 4, column 8: `role`: must be `party` or `mediator`",
            ),
            ("role = \"mediator\"", "role = \"party\"", "line 1, column 1: key `session` is missing"),
            ("192.0.2.1:7701", "relay.example:7701", "line 9, column 3: `addresses`: this item stands twice"),
        ],
    );
    let none = format!(
        "{}addresses = []{}",
        text.split("addresses").next().unwrap(),
        text.split_once(']').unwrap().1
    );
    let none = none.replace("\n,\n", "\n");
    let said = Card::parse(&none).unwrap_err().to_string();
    assert!(said.starts_with("line 7, column "), "{said}");
}

#[test]
fn keys_of_a_card_in_the_wrong_form() {
    let text = card("washington", 1).render();
    refuses(
        &text,
        Card::parse,
        &[
            (
                "x25519:",
                "x448:",
                "line 7, column 11: `session`: not an X25519 key, like x25519:<64 hex digits>",
            ),
            (
                "prekey_x25519 = \"",
                "prekey_x25519 = \"00",
                "line 8, column 17: `prekey_x25519`: must be 64 hexadecimal digits",
            ),
            (
                "prekey_ml_kem_768 = \"",
                "prekey_ml_kem_768 = \"0",
                "line 9, column 21: `prekey_ml_kem_768`: must be 2368 hexadecimal digits",
            ),
            (
                "session = ",
                "addresses = [\"a.example:1\"]\nsession = ",
                "line 7, column 1: unknown key `addresses`",
            ),
        ],
    );
}

#[test]
fn officers_suspensions_and_revocations_in_the_wrong_form() {
    refuses(
        &officer().render(),
        Officer::parse,
        &[
            (
                "\"release\"",
                "\"relase\"",
                "line 7, column 3: `duties`: a duty is one of draft, release, acknowledge, administer",
            ),
            ("\"release\"", "\"draft\"", "line 7, column 3: `duties`: this item stands twice"),
            ("duties", "duty", "line 1, column 1: `duties`: an officer needs at least one duty"),
            (
                "channels = [\"",
                "channels = [\"x",
                "line 10, column 13: `channels`: not a SHA-256: 64 lower-case hexadecimal digits",
            ),
        ],
    );
    refuses(
        &suspension().render(),
        Suspension::parse,
        &[("reason = \"has", "reason = \"\\nhas", "line 4, column 10: `reason`: must be one line")],
    );
    let text = revocation(Revoked::Officer(key("washington officer").public())).render();
    let of_card = Revoked::Card { card: document_id("a card"), serial: CardSerial(7) };
    let serial = "line 3, column 8: `card`: a revocation of a card names its `serial` as well";
    refuses(&revocation(of_card).render(), Revocation::parse, &[("serial = 7\n", "", serial)]);
    let either = "a revocation names either `card` or `officer_key`";
    refuses(
        &text,
        Revocation::parse,
        &[
            (
                "officer_key = ",
                &format!("card = \"{}\"\nofficer_key = ", "0".repeat(64)),
                &format!("line 3, column 8: `card`: {either}"),
            ),
            ("officer_key = ", "# ", &format!("line 1, column 1: `card`: {either}")),
            (
                "officer_key = ",
                "serial = 1\nofficer_key = ",
                "line 3, column 10: `serial`: only a card has a `serial`",
            ),
        ],
    );
}

#[test]
fn a_notice_of_breach_in_the_wrong_form() {
    refuses(
        &breach().render(),
        Dispatch::parse,
        &[
            (
                "occurred_from = 2026-11-23T09:31:00.000Z\n",
                "",
                "line 10, column 15: `occurred_to`: an end needs a beginning, `occurred_from`",
            ),
            (
                "occurred_to = 2026-11-23T09:36",
                "occurred_to = 2026-11-23T09:30",
                "line 11, column 15: `occurred_to`: the end is before the beginning",
            ),
            (
                "reply_within = ",
                "reply_by = 2026-11-24T00:00:00Z\nreply_within = ",
                "line 16, column 12: `reply_by`: either `reply_within` or `reply_by`, not both",
            ),
            ("\"3.2\"", "\"\"", "line 8, column 13: `provision`: a provision's code is one word, like 3.2"),
            (
                "\"heard\"",
                "\"dreamt\"",
                "line 13, column 9: `means`: a means is one of seen, heard, sensor, reported",
            ),
        ],
    );
}
