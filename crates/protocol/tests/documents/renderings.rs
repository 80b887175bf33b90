//! What was written reads back to the same value, whatever it holds; and what is refused is refused, never a panic.

use std::collections::BTreeMap;

use demarche_protocol::{
    charter::{
        Charter, Member, Policy, Provision,
        policy::{Size, Span},
    },
    dispatch::{
        Acknowledgement, Breach, Confidence, Content, Dispatch, Means, Nature, Occurred, Position,
        Precedence, Reply, ReplyBy, Statement,
    },
    document::{
        DocumentType, Fields, Writer,
        reader::{forbidden_character, not_nfc},
    },
    hash::{ChannelId, DocumentId, sha256},
    identity::{
        card::{Address, Card, CardSerial},
        keys::{PublicKey, SecretKey},
        member::MemberId,
        officer::{Duty, Officer},
        revocation::{Revocation, Revoked},
        roots::{RootList, Roots},
        suspension::Suspension,
    },
    time::Timestamp,
};
use proptest::{collection::vec, option, prelude::*, sample::subsequence};

use crate::{
    support::{breach, card},
    vectors::all,
};

/// Pieces that a careless writer would break on.
const NASTY: &[&str] = &[
    "\"",
    "\"\"",
    "\"\"\"",
    "\\",
    "\\\"",
    "\\n",
    "\n",
    "\n\n",
    "\t",
    "#",
    "'",
    "'''",
    "]",
    "[a]",
    "=",
    ",",
    "{}",
    " ",
    "a",
    "é",
    "کشتی\u{200C}رانی",
    "العربية",
    "👩\u{200D}✈\u{FE0F}",
    "\u{200F}",
    "\\u202E",
    "\r\u{7}",
    "demarche = \"card/1\"\n",
];

/// A text of several lines that a document may hold.
fn text() -> impl Strategy<Value = String> {
    let pieces = vec(
        prop_oneof![4 => proptest::sample::select(NASTY).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)],
        1..24,
    );
    pieces.prop_map(|pieces| tidy(&pieces.concat()))
}

/// What composing does with what a person pasted.
fn tidy(text: &str) -> String {
    use unicode_normalization::UnicodeNormalization as _;
    let allowed: String = text.chars().filter(|c| forbidden_character(&c.to_string()).is_none()).collect();
    let tidy: String = allowed.nfc().collect();
    if tidy.trim().is_empty() { format!("x{tidy}") } else { tidy }
}

fn line() -> impl Strategy<Value = String> {
    text()
        .prop_map(|text| text.replace('\n', " ").chars().take(120).collect::<String>())
        .prop_map(|line| tidy(&line))
}

fn time() -> impl Strategy<Value = Timestamp> {
    // Up to the end of the year 9998.
    (0..253_300_000_000_000_u64).prop_map(Timestamp::from_millis)
}

fn public_key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(|seed| SecretKey::from_seed(&seed).public())
}

fn member_id() -> impl Strategy<Value = MemberId> {
    "[a-z][a-z0-9-]{0,31}".prop_map(|text| text.parse().unwrap())
}

fn name() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>()
}

fn root_list() -> impl Strategy<Value = RootList> {
    (any::<u64>(), 1..16_usize)
        .prop_flat_map(|(seed, count)| {
            let keys = (0..count)
                .map(move |n| SecretKey::from_seed(&sha256(format!("{seed} {n}").as_bytes())).public());
            (Just(keys.collect::<Vec<_>>()), 1..=count)
        })
        .prop_map(|(keys, needed)| RootList::new(keys, needed).unwrap())
}

fn channels() -> impl Strategy<Value = Vec<ChannelId>> {
    proptest::collection::btree_set(name().prop_map(ChannelId::from_bytes), 0..4)
        .prop_map(|set| set.into_iter().collect())
}

fn span() -> impl Strategy<Value = Span> {
    (1..100_000_000_u64).prop_map(|seconds| Span(std::time::Duration::from_secs(seconds)))
}

fn policy() -> impl Strategy<Value = Policy> {
    (
        vec((1..17_u64, span(), span(), span()), 4),
        span(),
        (1..5_000_u64).prop_map(|kib| Size(kib << 10)),
        span(),
    )
        .prop_map(|(rules, test_every, size, custody_for)| {
            let mut policy = Policy {
                test_every,
                evidence_file: size,
                custody: Size(size.0 << 10),
                custody_for,
                ..Policy::default()
            };
            for (slot, (signatures, deliver, acknowledge, reply)) in policy.precedences.iter_mut().zip(rules)
            {
                slot.signatures = signatures;
                (slot.deliver_within, slot.acknowledge_within, slot.reply_within) =
                    (deliver, acknowledge, reply);
            }
            policy
        })
}

prop_compose! {
    fn a_charter()(
        title in line(),
        drafted_at in time(),
        names in vec((line(), vec(line(), 0..3), root_list()), 3..6),
        provisions in proptest::collection::btree_map(
            "[0-9]{1,2}(\\.[a-z0-9]{1,4})?",
            (proptest::collection::btree_map("[a-z]{2}(-[A-Z]{2})?", line(), 1..4), option::of(precedence())),
            1..5,
        ),
        policy in policy(),
    ) -> Charter {
        let mut members: Vec<Member> = names
            .into_iter()
            .enumerate()
            .map(|(n, (name, fallback, roots))| Member { id: format!("m{n}").parse().unwrap(), name, roots, fallback })
            .collect();
        let mediators = members.split_off(2);
        let provisions = provisions
            .into_iter()
            .map(|(code, (title, precedence))| Provision { code, title: BTreeMap::from_iter(title), precedence })
            .collect();
        Charter { title, drafted_at, parties: members, mediators, provisions, policy }
    }
}

fn precedence() -> impl Strategy<Value = Precedence> {
    proptest::sample::select(Precedence::ALL)
}

fn occurred() -> impl Strategy<Value = Occurred> {
    (time(), option::of(0..1_000_000_u64)).prop_map(|(from, length)| Occurred {
        from,
        to: length.map(|length| from.plus(std::time::Duration::from_millis(length))),
    })
}

fn reply_by() -> impl Strategy<Value = ReplyBy> {
    prop_oneof![span().prop_map(ReplyBy::Within), time().prop_map(ReplyBy::At)]
}

prop_compose! {
    fn a_breach()(
        provision in "[0-9]{1,3}(\\.[a-z])?",
        title in line(),
        body in option::of(text()),
        occurred in option::of(occurred()),
        place in option::of(line()),
        means in option::of(proptest::sample::select(Means::ALL)),
        confidence in option::of(proptest::sample::select(Confidence::ALL)),
        request in option::of(line()),
        reply_by in option::of(reply_by()),
    ) -> Breach {
        Breach { provision, title, body, occurred, place, means, confidence, request, reply_by }
    }
}

fn content() -> impl Strategy<Value = Content> {
    let document = || name().prop_map(DocumentId::from_bytes);
    prop_oneof![
        a_breach().prop_map(Content::Breach),
        (document(), option::of(text()))
            .prop_map(|(of, note)| Content::Acknowledgement(Acknowledgement { of, note })),
        (document(), proptest::sample::select(Position::ALL), text())
            .prop_map(|(case, position, body)| Content::Reply(Reply { case, position, body })),
        (option::of(document()), option::of(line()), text())
            .prop_map(|(case, title, body)| Content::Statement(Statement { case, title, body })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn dispatches_read_back(
        channel in name(), party in member_id(), written_at in time(), content in content(),
        nature in proptest::sample::select(Nature::ALL), precedence in precedence(),
    ) {
        let channel = ChannelId::from_bytes(channel);
        let dispatch = Dispatch { channel, party, nature, precedence, written_at, content };
        let text = dispatch.render();
        prop_assert_eq!(Dispatch::parse(&text), Ok(dispatch));
    }

    #[test]
    fn charters_read_back(charter in a_charter()) {
        let text = charter.render();
        prop_assert_eq!(Charter::parse(&text), Ok(charter));
    }

    #[test]
    fn credentials_read_back(
        member in member_id(), words in (line(), line()), times in (time(), time()), keys in (public_key(), public_key()),
        serial in 1..u64::from(u32::MAX), list in root_list(), replaces in name(), channels in channels(),
        duties in subsequence(Duty::ALL.to_vec(), 1..=4), of_card in any::<bool>(), at_mediator in any::<bool>(),
    ) {
        let (issued_at, expires_at) = times;
        let card = Card {
            member: member.clone(), name: words.0.clone(), serial: CardSerial(serial), node: keys.0, issued_at, expires_at,
            roots: list.clone(), ..card(if at_mediator { "muscat" } else { "tehran" }, 1)
        };
        prop_assert_eq!(Card::parse(&card.render()), Ok(card));
        let roots = Roots { member: member.clone(), list, replaces: DocumentId::from_bytes(replaces), issued_at };
        prop_assert_eq!(Roots::parse(&roots.render()), Ok(roots));
        let officer = Officer {
            party: member.clone(), name: words.0, key: keys.0, duties, channels: channels.clone(), issued_at, expires_at,
        };
        prop_assert_eq!(Officer::parse(&officer.render()), Ok(officer));
        let suspension = Suspension { party: member.clone(), key: keys.1, reason: words.1.clone(), issued_at };
        prop_assert_eq!(Suspension::parse(&suspension.render()), Ok(suspension));
        let of_that = Revoked::Card { card: DocumentId::from_bytes(replaces), serial: CardSerial(serial) };
        let revoked = if of_card { of_that } else { Revoked::Officer(keys.1) };
        let revocation = Revocation { member, revoked, reason: words.1, channels, issued_at };
        prop_assert_eq!(Revocation::parse(&revocation.render()), Ok(revocation));
    }

    /// Any text at all is written so that it reads back, short of what no document may hold.
    #[test]
    fn texts_read_back_in_every_form(value in text()) {
        let written = Writer::new(DocumentType::Dispatch)
            .string("one_line", &value)
            .text("lines", &value)
            .list("items", &[value.as_str(), "other"])
            .list("item", &[value.as_str()])
            .finish();
        prop_assert!(forbidden_character(&written).is_none() && not_nfc(&written).is_none());
        let mut fields = Fields::of(&written, DocumentType::Dispatch).unwrap();
        prop_assert_eq!(&fields.string("one_line").unwrap(), &value);
        prop_assert_eq!(&fields.string("lines").unwrap(), &value);
        let keep = |item: &str| Ok::<_, String>(item.to_owned());
        prop_assert_eq!(fields.list("items", 2, keep).unwrap(), [value.clone(), "other".to_owned()]);
        prop_assert_eq!(fields.list("item", 2, keep).unwrap(), [value]);
        prop_assert!(fields.finish().is_ok());
    }

    /// What is accepted here is TOML to a reader without our restrictions. (That nothing makes our own reader panic, and that what
    /// it reads has one rendering, is for `fuzz/targets.rs`.)
    #[test]
    fn what_is_accepted_of_mangled_documents_is_toml_to_others(
        which in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(),
        cut in 0..4_usize,
        new in proptest::sample::select(NASTY),
    ) {
        let vectors = all();
        let vector = &vectors[which.index(vectors.len())];
        let chars: Vec<char> = vector.text.chars().collect();
        let at = at.index(chars.len());
        let mangled: String =
            chars[..at].iter().copied().chain(new.chars()).chain(chars[(at + cut).min(chars.len())..].iter().copied()).collect();
        if let Ok((kind, _)) = Fields::of_any(&mangled) {
            prop_assert_eq!(kind, vector.kind);
            prop_assert!(mangled.parse::<toml::Table>().is_ok());
        }
    }

    #[test]
    fn times_read_back(time in time()) {
        prop_assert_eq!(time.to_string().parse(), Ok(time));
    }

    #[test]
    fn spans_and_sizes_read_back(seconds in 1..3_000_000_000_u64, kib in 1..(1_u64 << 40)) {
        let span = Span(std::time::Duration::from_secs(seconds));
        prop_assert_eq!(span.to_string().parse(), Ok(span));
        let size = Size(kib << 10);
        prop_assert_eq!(size.to_string().parse(), Ok(size));
    }

    #[test]
    fn addresses_read_back(port in 1..=u16::MAX, v6 in any::<[u8; 16]>(), v4 in 1..0xe000_0000_u32, host in "[A-Za-z0-9][a-z0-9-]{0,8}[a-z]\\.[a-z]{2,4}") {
        use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
        let v6 = Ipv6Addr::from(v6);
        prop_assume!(!v6.is_multicast() && !v6.is_unspecified());
        for text in [SocketAddr::from((v6, port)).to_string(), SocketAddr::from((Ipv4Addr::from(v4), port)).to_string(), format!("{host}:{port}")] {
            let address: Address = text.parse().unwrap();
            prop_assert_eq!(address.to_string(), text.to_ascii_lowercase());
        }
    }
}

#[test]
fn times_beyond_the_calendar_still_print() {
    assert_eq!(Timestamp::from_millis(u64::MAX).to_string(), format!("@{}ms", u64::MAX));
    assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
    assert_eq!(
        Timestamp::from_millis(u64::MAX).plus(std::time::Duration::MAX),
        Timestamp::from_millis(u64::MAX)
    );
}

#[test]
fn bodies_end_and_begin_as_they_were_given() {
    let mut dispatch = breach();
    for body in [
        "\n",
        "\nx",
        "x\n\"",
        "x\n\"\"",
        "x\n\"\"\"",
        "x\n\"\"\"\"",
        "x\n\\\"",
        "x\n\\",
        "\"\n\"",
        "\\\n  x",
        "x\\\n",
    ] {
        if let Content::Breach(breach) = &mut dispatch.content {
            breach.body = Some(format!("y{body}"));
        }
        assert_eq!(Dispatch::parse(&dispatch.render()), Ok(dispatch.clone()), "{body:?}");
    }
}

#[test]
fn the_multi_line_form_stays_readable() {
    let text = Writer::new(DocumentType::Dispatch).text("body", "He said \"no\".\n\"\"\"\n\\ \"\"").finish();
    let wanted = "demarche = \"dispatch/1\"\nbody = \"\"\"\nHe said \"no\".\n\"\\\"\\\"\n\\\\ \"\\\"\"\"\"\n";
    assert_eq!(text, wanted);
}

#[test]
fn a_comment_cannot_become_a_line_of_its_own() {
    let text = Writer::new(DocumentType::Roots).comment("one\nserial = 2").finish();
    assert_eq!(text, "demarche = \"roots/1\"\n# one\n# serial = 2\n");
}

#[test]
fn the_departures_of_a_charter_from_the_defaults_are_told() {
    assert_eq!(Policy::default().departures(), Vec::<String>::new());
    assert_eq!(
        crate::support::charter().policy.departures(),
        ["policy.flash.signatures = 2 (default 1)", "policy.line.test_every = \"30m\" (default \"1h\")"]
    );
    let short = "demarche = \"charter/1\"\n";
    assert!(Charter::parse(short).is_err());
}

#[test]
fn a_charter_without_rules_has_the_defaults() {
    let charter = crate::support::charter();
    let text = charter.render();
    let bare = text.split("[policy.flash]").next().unwrap();
    assert_eq!(Charter::parse(bare).unwrap().policy, Policy::default());
    let one = format!("{bare}[policy.line]\ntest_every = \"5m\"\n");
    let policy = Charter::parse(&one).unwrap().policy;
    assert_eq!((policy.test_every, policy.custody), ("5m".parse().unwrap(), Policy::default().custody));
}
