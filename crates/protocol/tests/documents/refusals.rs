//! Every refusal of a text has a message of its own, with line and column (threat B2).

use demarche_protocol::{
    charter::Provision,
    dispatch::Dispatch,
    document::{DocumentError, Fields, utf8},
    identity::card::Card,
    limits,
};

use crate::support::{card, officer, statement};

/// A text with one part replaced, which must be there.
pub(crate) fn bent(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} does not stand in the sample");
    text.replacen(from, to, 1)
}

/// Tries each replacement in `text`; the refusal must be exactly what stands beside it.
pub(crate) fn refuses<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, DocumentError>,
    cases: &[(&str, &str, &str)],
) {
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

/// The specification names the version whose tables decide what is in form C; another one is a change of the protocol.
#[test]
fn the_tables_of_unicode_are_those_of_the_specification() {
    assert_eq!(unicode_normalization::UNICODE_VERSION, (18, 0, 0), "docs/protocol.md §2.1");
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
    let text = mediators_card();
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
pub(crate) fn mediators_card() -> String {
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
fn b1_long_deep_and_crowded_texts_are_refused() {
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
    for text in
        [many_keys, many_tables, marks, head.clone() + &"[".repeat(40_000), head + &"a.".repeat(20_000)]
    {
        assert!(text.len() <= max && Dispatch::parse(&text).is_err());
    }
    let refused = Provision::read_all(&mut Fields::of_toml(&languages).unwrap()).unwrap_err().to_string();
    assert!(refused.ends_with("languages; at most 16 are allowed"), "{refused}");
}
