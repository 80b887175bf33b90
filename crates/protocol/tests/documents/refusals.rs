//! Every refusal of a text has a message of its own, with line and column (threat B2; issue: ceremony).

use std::time::{Duration, Instant};

use demarche_protocol::{
    charter::{Charter, Provision},
    dispatch::Dispatch,
    document::{DocumentError, Fields, utf8},
    identity::{card::Card, officer::Officer, revocation::Revocation, roots::Roots, suspension::Suspension},
    limits,
};

use crate::support::{breach, card, charter, key, new_roots, officer, statement, suspension};

/// A text with one part replaced, which must be there.
fn bent(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} does not stand in the sample");
    text.replacen(from, to, 1)
}

/// Tries each replacement in `text`; the refusal must be exactly what stands beside it.
fn refuses<T>(text: &str, parse: impl Fn(&str) -> Result<T, DocumentError>, cases: &[(&str, &str, &str)]) {
    assert!(parse(text).is_ok(), "the sample itself");
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(from, to, wanted)| {
            let said = match parse(&bent(text, from, to)) {
                Ok(_) => "nothing".to_owned(),
                Err(why) => why.to_string(),
            };
            (said != *wanted).then(|| format!("{from:?} → {to:?}\n  wanted: {wanted}\n  said:   {said}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A dispatch whose lines are easy to count: `title` stands on line 8, `body` on line 9.
fn sample() -> String {
    statement().render()
}

#[test]
fn b2_characters_that_may_not_stand_in_a_text() {
    refuses(
        &sample(),
        Dispatch::parse,
        &[
            ("One line", "One\u{0007}line", "line 9, column 12: the character U+0007 is not allowed"),
            ("One line", "One\u{001B}[31mline", "line 9, column 12: the character U+001B is not allowed"),
            ("One line", "One\u{0085}line", "line 9, column 12: the character U+0085 is not allowed"),
            ("One line", "One\u{007F}line", "line 9, column 12: the character U+007F is not allowed"),
            ("One line", "One\u{202E}line", "line 9, column 12: the character U+202E is not allowed"),
            ("One line", "One\u{2066}line", "line 9, column 12: the character U+2066 is not allowed"),
            ("One line", "One\u{2028}line", "line 9, column 12: the character U+2028 is not allowed"),
            ("One line", "One\u{FEFF}line", "line 9, column 12: the character U+FEFF is not allowed"),
            // Columns count characters, not bytes.
            ("One line", "کشتی\u{202B}", "line 9, column 13: the character U+202B is not allowed"),
            // CRLF: the carriage return is a control character.
            ("title", "title = \"a\"\r\nx", "line 8, column 12: the character U+000D is not allowed"),
            // A byte order mark in front.
            ("demarche", "\u{FEFF}demarche", "line 1, column 1: the character U+FEFF is not allowed"),
            // In a comment as well: it is signed, and shown.
            ("title", "# \u{202E}\ntitle", "line 8, column 3: the character U+202E is not allowed"),
            // e and a combining acute accent, which NFC joins.
            ("One line", "e\u{0301}t\u{e9}", "line 9, column 9: the text is not in Unicode normal form C"),
        ],
    );
}

#[test]
fn b2_what_escapes_bring_in_is_refused_as_well() {
    refuses(
        &sample(),
        Dispatch::parse,
        &[
            ("One line", "a\\u202Eb", "line 9, column 8: the character U+202E is not allowed"),
            ("One line", "a\\u001Bb", "line 9, column 8: the character U+001B is not allowed"),
            ("One line", "a\\r\\nb", "line 9, column 8: the character U+000D is not allowed"),
            ("One line", "a\\u0000b", "line 9, column 8: the character U+0000 is not allowed"),
            ("One line", "a\\U0000FEFFb", "line 9, column 8: the character U+FEFF is not allowed"),
            ("One line", "e\\u0301", "line 9, column 8: the text is not in Unicode normal form C"),
        ],
    );
}

#[test]
fn joiners_that_persian_needs_and_emoji_are_welcome() {
    let text = bent(&sample(), "One line", "کشتی\u{200C}رانی 👩\u{200D}✈\u{FE0F} \u{200F}(الف)");
    assert!(Dispatch::parse(&text).is_ok());
}

#[test]
fn b2_bytes_that_are_not_utf8() {
    let said = |bytes: &[u8]| utf8(bytes).unwrap_err().to_string();
    assert_eq!(said(b"one\ntw\xFFo"), "line 2, column 3: not UTF-8");
    assert_eq!(said(b"\xC3\xA9\xED\xA0\x80"), "line 1, column 2: not UTF-8", "a surrogate");
    assert_eq!(said(b"\xC0\xAF"), "line 1, column 1: not UTF-8", "an overlong slash");
    assert_eq!(utf8("été".as_bytes()), Ok("été"));
}

#[test]
fn b2_keys_and_types() {
    refuses(
        &sample(),
        Dispatch::parse,
        &[
            ("title = ", "titel = ", "line 8, column 1: unknown key `titel`"),
            ("title = ", "Title = ", "line 8, column 1: unknown key `Title`"),
            ("nature = \"exercise\"\n", "", "line 1, column 1: key `nature` is missing"),
            ("body = ", "party = \"tehran\"\nbody = ", "line 9, column 1: `party` stands twice"),
            (
                "body = ",
                "title.x = 1\nbody = ",
                "line 9, column 6: a key with dots is not used here: begin a table, [NAME]",
            ),
            ("\"Test of the line\"", "5", "line 8, column 9: `title` must be a string, not a whole number"),
            ("\"Test of the line\"", "true", "line 8, column 9: `title` must be a string, not true or false"),
            ("\"Test of the line\"", "[\"a\"]", "line 8, column 9: `title` must be a string, not a list"),
            (
                "\"Test of the line\"",
                "1.5",
                "line 8, column 9: `title` must be a string, not a decimal number",
            ),
            (
                "\"Test of the line\"",
                "2026-11-23",
                "line 8, column 9: `title` must be a string, not a date or time",
            ),
            ("\"Test of the line\"", "\"\"", "line 8, column 9: `title`: must not be empty"),
            ("\"Test of the line\"", "\"a\\nb\"", "line 8, column 9: `title`: must be one line"),
            ("\"One line\"", "\" \\n\"", "line 9, column 8: `body`: must not be empty"),
            ("body = \"One line\"", "", "line 1, column 1: key `body` is missing"),
            (
                "\"exercise\"",
                "\"drill\"",
                "line 5, column 10: `nature`: a nature is one of real, exercise, test",
            ),
            (
                "\"routine\"",
                "\"urgent\"",
                "line 6, column 14: `precedence`: a precedence is one of flash, immediate, priority, routine",
            ),
            (
                "\"statement\"",
                "\"threat\\n\"",
                "line 4, column 8: `kind`: a dispatch of kind `threat\\n` is not known here",
            ),
            (
                "\"washington\"",
                "\"Washington\"",
                "line 3, column 9: `party`: an id is 1 to 32 lower-case letters, digits and hyphens, and begins with a letter",
            ),
            (
                "channel = \"",
                "channel = \"E",
                "line 2, column 11: `channel`: not a SHA-256: 64 lower-case hexadecimal digits",
            ),
        ],
    );
}

#[test]
fn b2_forms_that_two_readers_could_take_differently() {
    const BRACES: &str = "a table in braces is not used here: begin a table, [NAME]";
    let case = |place: &str, what: &str| format!("{place}: {what}");
    refuses(
        &sample(),
        Dispatch::parse,
        &[
            ("\"Test of the line\"", "{ en = \"a\" }", &case("line 8, column 9", BRACES)),
            ("\"Test of the line\"", "{ en = \"a\",\n}", &case("line 8, column 9", BRACES)),
            ("\"Test of the line\"", "[{ a = 1 }]", &case("line 8, column 10", BRACES)),
            ("\"Test of the line\"", "[[\"a\"]]", "line 8, column 10: a list within a list is not used here"),
            ("title", "\"title\"", "line 8, column 1: a key is written without quotes"),
            ("title", "'title'", "line 8, column 1: a key is written without quotes"),
            ("title", "\"t\\u0069tle\"", "line 8, column 1: a key is written without quotes"),
            ("title", "títle", "line 8, column 1: a key is made of ASCII letters, digits, `-` and `_`"),
            ("Test of", "Test \\x41 of", "line 8, column 15: the escapes \\e and \\x are not used here"),
            ("Test of", "Test \\\\\\e of", "line 8, column 17: the escapes \\e and \\x are not used here"),
            ("body", "[a.b.c]\nbody", "line 9, column 5: tables lie at most two deep, [NAME.NAME]"),
            ("body", "[\"a\"]\nbody", "line 9, column 2: a key is written without quotes"),
            // Time of another form.
            ("09:40:00.125Z", "09:40Z", &time("line 7, column 14")),
            ("09:40:00.125Z", "09:40:00", &time("line 7, column 14")),
            ("09:40:00.125Z", "09:40:00z", &time("line 7, column 14")),
            ("09:40:00.125Z", "09:40:00+00:00", &time("line 7, column 14")),
            ("09:40:00.125Z", "11:40:00+02:00", &time("line 7, column 14")),
            ("09:40:00.125Z", "09:40:00.1Z", &time("line 7, column 14")),
            ("09:40:00.125Z", "09:40:00.125000Z", &time("line 7, column 14")),
            ("T09:40:00.125Z", " 09:40:00.125Z", &time("line 7, column 14")),
            ("T09:40:00.125Z", "t09:40:00.125Z", &time("line 7, column 14")),
            ("2026-11-23T09:40:00.125Z", "2016-12-31T23:59:60Z", &time("line 7, column 14")),
            ("2026-11-23T09:40:00.125Z", "1969-12-31T23:59:59Z", &time("line 7, column 14")),
            ("2026-11-23T09:40:00.125Z", "2026-11-23", &time("line 7, column 14")),
            (
                "2026-11-23T09:40:00.125Z",
                "\"2026-11-23T09:40:00Z\"",
                "line 7, column 14: `written_at` must be a UTC date-time, not a string",
            ),
        ],
    );
    // A backslash that is itself escaped makes no escape.
    assert!(Dispatch::parse(&bent(&sample(), "Test of", "Test \\\\x41 \\\\e of")).is_ok());
}

fn time(place: &str) -> String {
    format!("{place}: `written_at`: not a UTC time in RFC 3339 form, like 2026-11-23T09:40:00Z")
}

#[test]
fn b2_numbers_in_one_form_and_within_bounds() {
    let text = officer_like_card();
    let wanted = "line 5, column 10: `serial`: must be written in decimal digits alone";
    let bound = "line 5, column 10: `serial`: must be between 1 and 4294967295";
    refuses(
        &text,
        Card::parse,
        &[
            ("serial = 7", "serial = +7", wanted),
            ("serial = 7", "serial = 0x7", wanted),
            ("serial = 7", "serial = 1_000", wanted),
            ("serial = 7", "serial = -7", wanted),
            ("serial = 7", "serial = 0", bound),
            ("serial = 7", "serial = 4294967296", bound),
            ("serial = 7", "serial = 99999999999999999999999999", bound),
            (
                "serial = 7",
                "serial = \"7\"",
                "line 5, column 10: `serial` must be a whole number, not a string",
            ),
            (
                "serial = 7",
                "serial = 7.0",
                "line 5, column 10: `serial` must be a whole number, not a decimal number",
            ),
        ],
    );
}

/// A mediator's card: short, with a serial on line 5.
fn officer_like_card() -> String {
    card("muscat", 7).render()
}

#[test]
fn the_first_line_decides_and_has_one_form() {
    const NO_TYPE: &str = "line 1, column 1: the first line must be `demarche = \"TYPE/1\"`";
    let said = |text: &str| Dispatch::parse(text).unwrap_err().to_string();
    for text in [
        "",
        "\n",
        " ",
        "# a comment\ndemarche = \"dispatch/1\"\n",
        " demarche = \"dispatch/1\"\n",
        "demarche=\"dispatch/1\"\n",
        "demarche = 'dispatch/1'\n",
        "demarche = \"dispatch/1\" # signed\n",
        "demarche = \"dispatch/1\" \n",
        "demarche_too = \"dispatch/1\"\ndemarche = \"dispatch/1\"\n",
        "title = \"demarche\"\n",
    ] {
        assert_eq!(said(text), NO_TYPE, "{text:?}");
        assert_eq!(demarche_protocol::document::DocumentType::of(text), None, "{text:?}");
    }
    let unknown = "line 1, column 13: a document of type `dispatch/2` is not known here";
    assert_eq!(said("demarche = \"dispatch/2\"\n= = other = syntax"), unknown);
    assert_eq!(
        said("demarche = \"treaty/1\"\n"),
        "line 1, column 13: a document of type `treaty/1` is not known here"
    );
    assert_eq!(
        said(&officer().render()),
        "line 1, column 1: a document of type officer, where one of type dispatch is needed"
    );
}

#[test]
fn syntax_is_refused_in_the_parsers_words() {
    let sample = sample();
    for (from, to, place) in [
        ("title = \"Test", "title = Test", "line 8, column 9: "),
        ("the line\"", "the line", "line 8, column 26: "),
        ("title =", "title", "line 8, column "),
        ("title", "= title", "line 8, column "),
        ("One line", "\\q", "line 9, column "),
        ("One line", "\\ud800", "line 9, column "),
    ] {
        let said = Dispatch::parse(&bent(&sample, from, to)).unwrap_err().to_string();
        assert!(said.starts_with(place) && !said.contains('\n'), "{to:?}: {said}");
    }
}

#[test]
fn b1_long_deep_and_crowded_texts_are_refused_quickly() {
    let max = limits::DOCUMENT_TEXT;
    let head = sample();
    let long = bent(&head, "One line", &"a".repeat(max));
    let said = Dispatch::parse(&long).unwrap_err().to_string();
    assert_eq!(
        said,
        format!("line 1, column 1: the text has {} bytes; at most 49152 are allowed", long.len())
    );
    let body = bent(&head, "One line", &"a".repeat(limits::BODY + 1));
    let said = Dispatch::parse(&body).unwrap_err().to_string();
    assert_eq!(said, "line 9, column 8: `body`: has 32769 bytes; at most 32768 are allowed");
    assert!(Dispatch::parse(&bent(&head, "One line", &"a".repeat(limits::BODY))).is_ok());
    let title = bent(&head, "Test of the line", &"a".repeat(limits::LINE + 1));
    let said = Dispatch::parse(&title).unwrap_err().to_string();
    assert_eq!(said, "line 8, column 9: `title`: has 513 bytes; at most 512 are allowed");

    let many_keys = (0..5_000).fold(head.clone(), |out, n| out + &format!("k{n}=1\n"));
    let many_tables = (0..5_500).fold(head.clone(), |out, n| out + &format!("[t{n}]\n"));
    let marks = bent(&head, "One line", &format!("a{}", "\u{0316}\u{0301}".repeat(9_000)));
    let languages =
        (0..9_000).fold(String::from("[[provision]]\ncode=\"1\"\n[provision.title]\n"), |out, n| {
            if out.len() + 12 > max { out } else { out + &format!("a{n}=\"\"\n") }
        });
    let start = std::hint::black_box(now());
    for text in
        [many_keys, many_tables, marks, head.clone() + &"[".repeat(40_000), head + &"a.".repeat(20_000)]
    {
        assert!(text.len() <= max && Dispatch::parse(&text).is_err());
    }
    let refused = Provision::read_all(&mut Fields::of_toml(&languages).unwrap()).unwrap_err().to_string();
    assert!(refused.ends_with("languages; at most 16 are allowed"), "{refused}");
    // Milliseconds when linear; the bound only has to tell that from quadratic work on a slow machine.
    assert!(start.elapsed() < Duration::from_secs(20));
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "how long reading takes is what is tested")]
    Instant::now()
}

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
    let one_party = bent(&text, "[[party]]\nid = \"tehran\"", "[[mediator]]\nid = \"tehran\"")
        .replace("[[party.fallback]]\nsay = \"Foreign", "[[mediator.fallback]]\nsay = \"Foreign");
    let said = Charter::parse(&one_party).unwrap_err().to_string();
    assert_eq!(said, "line 5, column 1: `party`: a charter needs at least two parties");
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
        out + &format!("\"{}\", ", crate::support::key(&n.to_string()).public())
    });
    let start = text.find("roots = [").unwrap();
    let end = text.find(']').unwrap();
    let said =
        Roots::parse(&format!("{}roots = [{many}{}", &text[..start], &text[end..])).unwrap_err().to_string();
    assert_eq!(said, "line 3, column 9: `roots`: has 17 items; at most 16 are allowed");
}

#[test]
fn an_address_that_is_none() {
    let text = officer_like_card();
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
    let text = crate::support::revocation(demarche_protocol::identity::revocation::Revoked::Officer(
        key("washington officer").public(),
    ))
    .render();
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
