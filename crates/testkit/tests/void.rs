//! Entries of no effect: void with the same reason on both sides, numbered, receipted, and in nobody's way.

use demarche_protocol::{
    channel::{Frame, Input, Refusal},
    charter::Policy,
    dispatch::Precedence,
    document::SignedDocument,
    hash::{ChannelId, DocumentId},
    identity::{keys::SecretKey, member::MemberId, officer::Duty},
    labels::Namespace,
    transcript::{Effect, Facts, Head, ReceiptKind, Void},
};
use demarche_testkit::{
    fixtures::{self, NodeKeys, Scene, officer_key},
    forger::{self, Forger},
    table::Table,
};

/// One officer alone is not enough for a FLASH notice.
fn four_eyes() -> Scene {
    let mut policy = Policy::default();
    policy.precedences[0].signatures = 2;
    Scene::with_policy(2, policy)
}

fn statement(scene: &Scene, party: &MemberId, text: &str, by: &SecretKey) -> SignedDocument {
    fixtures::signed(&scene.dispatch(party, Precedence::Routine, fixtures::statement(text)), by)
}

/// Every way in which an entry can be void, with the reason expected.
fn void_documents(scene: &Scene, party: &MemberId, other: &MemberId) -> Vec<(SignedDocument, Void)> {
    let releasing = officer_key(party, 1);
    let drafting = officer_key(party, 2);
    let nobody = fixtures::key("nobody's");
    let elsewhere = {
        let mut dispatch = scene.dispatch(party, Precedence::Routine, fixtures::statement("elsewhere"));
        dispatch.channel = ChannelId::from(DocumentId::of(b"another charter"));
        fixtures::signed(&dispatch, &releasing)
    };
    let unknown_provision = {
        let mut breach = scene.dispatch(party, Precedence::Routine, fixtures::breach("unknown"));
        if let demarche_protocol::dispatch::Content::Breach(breach) = &mut breach.content {
            "9.9".clone_into(&mut breach.provision);
        }
        fixtures::signed(&breach, &releasing)
    };
    let alone =
        fixtures::signed(&scene.dispatch(party, Precedence::Flash, fixtures::breach("by one")), &releasing);
    let altered = {
        let signed = statement(scene, party, "as signed", &releasing);
        let other = statement(scene, party, "as altered", &releasing);
        SignedDocument::new(other.shared_text(), signed.signatures().to_vec())
    };
    let unsigned = SignedDocument::unsigned(
        scene.dispatch(party, Precedence::Routine, fixtures::statement("unsigned")).render(),
    );
    let drafted = Void::MissingDuty { officer: format!("Officer 2 of {party}"), duty: Duty::Release };
    vec![
        (statement(scene, party, "by a drafter", &drafting), drafted),
        (unknown_provision, Void::UnknownProvision("9.9".to_owned())),
        (elsewhere, Void::WrongChannel),
        (statement(scene, other, "for another", &releasing), Void::WrongParty),
        (statement(scene, party, "by nobody", &nobody), Void::UnknownOfficer(nobody.public())),
        (alone, Void::TooFewSignatures { have: 1, needed: 2 }),
        (unsigned, Void::TooFewSignatures { have: 0, needed: 1 }),
        (altered, Void::BadSignature(releasing.public())),
        (scene.charter.document().clone(), Void::OutOfPlace("charter")),
    ]
}

fn receipted(table: &Table, by: &MemberId, entry: &Head) -> bool {
    let author = table.at(&entry.party);
    author.channel.evidence().by(&entry.hash, by, ReceiptKind::Held).is_some()
}

#[test]
fn t1_every_void_kind_is_numbered_receipted_and_void_for_the_same_reason_on_both_sides() {
    let mut table = Table::with(four_eyes());
    let (one, other) = (table.party(0), table.party(1));
    table.join_all();
    table.enrol(&one, 1);
    table.append(&one, &fixtures::officer(&one, 2, &[Duty::Draft]));
    let mut before = table.at(&one).channel.transcript().log(&one).unwrap().tip().unwrap().seq;
    for (document, why) in void_documents(&table.scene, &one, &other) {
        // An honest node refuses it at the officer's desk …
        let request = table.ask(&one, &document);
        assert_eq!(table.refused(&one, request), Some(Refusal::Void(why.clone())), "{document:?}");
        // … and a careless one that enters it all the same harms nobody but itself.
        let now = table.now(&one);
        table.at_mut(&one).channel.append_unchecked(now, &document);
        table.input(&one, Input::Tick);
        table.settle();
        let tip = table.at(&one).channel.transcript().log(&one).unwrap().tip().unwrap().clone();
        assert_eq!(tip.seq, before.next(), "{why}: numbered");
        before = tip.seq;
        for party in [&one, &other] {
            assert_eq!(table.effect(party, &tip), Some(Effect::Void(why.clone())), "at {party}");
        }
        assert!(receipted(&table, &other, &tip), "{why}: receipted");
    }
    let next = table.append(&one, &statement(&table.scene, &one, "goes on", &officer_key(&one, 1)));
    assert_eq!(table.effect(&other, &next), Some(Effect::Accepted));
    assert_eq!(table.at(&one).channel.owed_to(&other), 0);
}

#[test]
fn t1_junk_is_void_on_both_sides_and_the_next_ones_go_on() {
    let mut table = Table::new(2);
    let (one, other) = (table.party(0), table.party(1));
    table.join_all();
    table.enrol(&one, 1);
    let texts = [
        "",
        "no document",
        "demarche = \"dispatch/1\"\n",
        "demarche = \"dispatch/1\"\nunknown = 1\n",
        "demarche = \"dispatch/2\"\n",
        "demarche = \"officer/1\"\n",
        "demarche = \"card/1\"\n",
        "demarche = \"revocation/1\"\nnothing = true\n",
    ];
    for text in texts {
        let now = table.now(&one);
        table.at_mut(&one).channel.append_unchecked(now, &SignedDocument::unsigned(text));
        table.input(&one, Input::Tick);
        table.settle();
        let tip = table.at(&one).channel.transcript().log(&one).unwrap().tip().unwrap().clone();
        let (here, there) = (table.effect(&one, &tip), table.effect(&other, &tip));
        assert!(matches!(here, Some(Effect::Void(_))), "{text:?}: {here:?}");
        assert_eq!(here, there);
        assert!(receipted(&table, &other, &tip), "{text:?}: receipted");
    }
    let next = table.append(&one, &statement(&table.scene, &one, "goes on", &officer_key(&one, 1)));
    assert_eq!(table.effect(&other, &next), Some(Effect::Accepted));
    assert!(table.alike(&one, &other));
}

/// A second signature that makes the same text valid is not shut out by the first, short attempt.
#[test]
fn t1_a_void_entry_does_not_use_its_document_up() {
    let mut table = Table::with(four_eyes());
    let (one, other) = (table.party(0), table.party(1));
    table.join_all();
    table.enrol(&one, 1);
    table.enrol(&one, 2);
    let notice = table.scene.dispatch(&one, Precedence::Flash, fixtures::breach("by two"));
    let short = fixtures::signed(&notice, &officer_key(&one, 1));
    let now = table.now(&one);
    table.at_mut(&one).channel.append_unchecked(now, &short);
    table.input(&one, Input::Tick);
    table.settle();
    let whole = short.signed_by(Namespace::Dispatch, &officer_key(&one, 2));
    let entry = table.append(&one, &whole);
    assert_eq!(table.effect(&other, &entry), Some(Effect::Accepted));
    // The same file once more is the same entry.
    assert_eq!(table.append(&one, &whole), entry);
}

/// Whoever has a node's key, and no officer's, can make entries, and none of them counts.
#[test]
fn k1_a_stolen_node_key_makes_no_dispatch_that_counts() {
    let mut table = Table::new(2);
    let (one, other) = (table.party(0), table.party(1));
    table.join(&one, &other);
    table.enrol(&one, 1);
    let real = table.append(&one, &statement(&table.scene, &one, "real", &officer_key(&one, 1)));
    let text = statement(&table.scene, &one, "real", &officer_key(&one, 1));
    // From here on the thief has the node's key and the path.
    table.part(&one);
    table.join_by_hand(&other, &one);
    let mut thief = Forger::new(&table.scene, &one, 1);
    thief.tail = Some(real);
    thief.authority = table.at(&one).channel.transcript().log(&one).unwrap().in_order().find_map(|node| {
        matches!(node.facts, Facts::Authority(demarche_protocol::document::DocumentType::Officer, _))
            .then(|| node.pointer())
    });
    let node = NodeKeys::of(one.as_str(), 1).node;
    let attempts = [
        statement(&table.scene, &one, "signed by the node", &node),
        SignedDocument::new(
            statement(&table.scene, &one, "signed elsewhere", &node).shared_text(),
            text.signatures().to_vec(),
        ),
        // An officer of the thief's own making.
        {
            let officer = fixtures::officer(&one, 9, &[Duty::Release]);
            SignedDocument::unsigned(officer.shared_text()).signed_by(Namespace::Officer, &node)
        },
        statement(&table.scene, &one, "by that officer", &officer_key(&one, 9)),
        // The real text in another place: it has effect already.
        text,
    ];
    for document in attempts {
        let item = thief.write(&document);
        let head = forger::head(&item);
        table.read(&other, &one, Frame::Entry(item));
        assert!(matches!(table.effect(&other, &head), Some(Effect::Void(_))), "{document:?}");
    }
}

/// Times on documents and entries warn; position decides.
#[test]
fn k3_s3_clocks_that_are_ten_years_wrong_change_nothing_but_what_is_shown() {
    const TEN_YEARS: i64 = 10 * 365 * 86_400_000;
    let mut table = Table::new(2);
    let (one, other) = (table.party(0), table.party(1));
    table.join_all();
    table.enrol(&one, 1);
    table.enrol(&one, 2);
    let mut entries = Vec::new();
    for (number, error) in [TEN_YEARS, -TEN_YEARS, 0].into_iter().enumerate() {
        table.at_mut(&one).clock_error = error;
        table.at_mut(&other).clock_error = -error;
        let text = format!("at {error}");
        let by = officer_key(&one, 1 + number as u64 % 2);
        entries.push(table.append(&one, &statement(&table.scene, &one, &text, &by)));
    }
    for (at, entry) in entries.iter().enumerate() {
        assert_eq!(table.effect(&other, entry), Some(Effect::Accepted));
        assert!(at == 0 || entry.seq == entries[at - 1].seq.next());
    }
    // Revoked while the clock stands ten years back: what came before in the log still counts, what comes after does not.
    table.at_mut(&one).clock_error = -TEN_YEARS;
    table.append(&one, &fixtures::revoke_officer(&one, officer_key(&one, 2).public()));
    let late = statement(&table.scene, &one, "too late", &officer_key(&one, 2));
    let request = table.ask(&one, &late);
    assert_eq!(
        table.refused(&one, request),
        Some(Refusal::Void(Void::RevokedOfficer(officer_key(&one, 2).public())))
    );
    assert_eq!(table.effect(&other, &entries[1]), Some(Effect::Accepted));
    assert!(table.alike(&one, &other));
}
