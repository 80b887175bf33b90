//! The roster says the same whatever the order in which its documents came (threats M16b, K1b, K1c, K1d).

use demarche_protocol::{
    document::{DocumentType, SignedDocument},
    hash::{ChannelId, DocumentId, EntryHash},
    identity::{
        Verified,
        card::{Card, CardSerial},
        revocation::{Revocation, Revoked},
        roots::{RootList, Roots},
        roster::{Refusal, Roster},
    },
    labels::Namespace,
    limits,
    transcript::{Authority, Void},
};
use proptest::{prelude::*, sample::Index};

use crate::support::{
    at, breach, card, channel, id, key, new_roots, node_key, revocation, roster, sign, sign_card,
    sign_with_roots, signed_card, signing_roots, verified_charter,
};

/// The serial of the card that speaks for a member.
fn current(roster: &Roster, member: &str) -> Option<u64> {
    roster.current(&id(member)).map(|card| card.serial.0)
}

fn revoking(document: &SignedDocument, reason: &str) -> SignedDocument {
    let serial = Card::parse(document.text()).unwrap().serial;
    let revoked = Revoked::Card { card: document.id(), serial };
    let revocation = Revocation { reason: reason.to_owned(), ..revocation(revoked) };
    sign_with_roots(revocation.render(), DocumentType::Revocation, "washington")
}

/// A second card of the same serial: another date.
fn rival(serial: u64, day: u8) -> SignedDocument {
    let mut other = card("washington", serial);
    other.issued_at = at(&format!("2026-11-{day}T00:00:00Z"));
    sign_card(&other, &signing_roots("washington"))
}

/// The list that takes root c's place, signed by the old one.
fn replacement() -> SignedDocument {
    sign_with_roots(new_roots().render(), DocumentType::Roots, "washington")
}

/// … and the next: root b gives way to root e.
fn second_replacement() -> SignedDocument {
    let keys = ["root a", "root d", "root e"].map(|name| key(&format!("washington {name}")).public());
    let roots =
        Roots { list: RootList::new(keys.to_vec(), 2).unwrap(), replaces: replacement().id(), ..new_roots() };
    sign(roots.render(), DocumentType::Roots, &[key("washington root a"), key("washington root d")])
}

#[test]
fn the_highest_serial_speaks() {
    let mut roster = roster();
    assert_eq!(current(&roster, "washington"), None);
    assert_eq!(roster.offer(&signed_card("washington", 2)), Ok(true));
    assert_eq!(roster.offer(&signed_card("washington", 2)), Ok(false), "known");
    assert_eq!(roster.offer(&signed_card("washington", 1)), Ok(false), "older");
    assert_eq!(current(&roster, "washington"), Some(2));
    assert_eq!(roster.offer(&signed_card("washington", 3)), Ok(true));
    assert_eq!(current(&roster, "washington"), Some(3));
    assert!(roster.admits(&node_key("washington", 3).public()).is_some());
    assert!(roster.admits(&node_key("washington", 2).public()).is_none());
    assert_eq!(current(&roster, "tehran"), None);
    assert_eq!(roster.channel(), channel());
}

#[test]
fn m16b_a_node_with_an_older_card_is_told_why_it_stays_out() {
    let mut roster = roster();
    roster.offer(&signed_card("washington", 2)).unwrap();
    let refused = roster.present(&signed_card("washington", 1)).unwrap_err();
    let newest = CardSerial(2);
    assert_eq!(refused, Refusal::Replaced { member: id("washington"), serial: CardSerial(1), newest });
    assert_eq!(refused.to_string(), "card 1 of washington is replaced by card 2");
    let (card, changed) = roster.present(&signed_card("washington", 3)).unwrap();
    assert_eq!((card.serial, changed), (CardSerial(3), true));
    assert!(!roster.present(&signed_card("washington", 3)).unwrap().1);
}

#[test]
fn k1d_two_cards_of_one_serial_speak_for_nobody_until_a_higher_one() {
    let mut roster = roster();
    let (one, two, three) = (signed_card("washington", 5), rival(5, 20), rival(5, 21));
    roster.offer(&one).unwrap();
    assert_eq!(current(&roster, "washington"), Some(5));
    assert_eq!(roster.offer(&two), Ok(true));
    assert_eq!(current(&roster, "washington"), None);
    for document in [&one, &two, &three] {
        let refused = roster.present(document).unwrap_err();
        let contested = Refusal::Contested { member: id("washington"), serial: CardSerial(5) };
        assert_eq!(refused, contested);
        assert_eq!(
            refused.to_string(),
            "two cards of washington bear the serial 5: neither counts until a higher one comes"
        );
    }
    // Revoking one of them does not give the other its voice back.
    roster.offer(&revoking(&one, "the wrong one")).unwrap();
    assert_eq!(current(&roster, "washington"), None);
    roster.offer(&signed_card("washington", 6)).unwrap();
    assert_eq!(current(&roster, "washington"), Some(6));
}

#[test]
fn k1b_a_revoked_card_is_refused_with_the_roots_reason() {
    let mut roster = roster();
    let stolen = signed_card("washington", 2);
    roster.offer(&signed_card("washington", 1)).unwrap();
    roster.offer(&stolen).unwrap();
    assert_eq!(roster.offer(&revoking(&stolen, "stolen from the rack")), Ok(true));
    assert_eq!(current(&roster, "washington"), None);
    let refused = roster.present(&stolen).unwrap_err();
    assert_eq!(refused.to_string(), "card 2 of washington is revoked: stolen from the rack");
    // The older card does not come back, a newer one opens again.
    assert!(matches!(roster.present(&signed_card("washington", 1)), Err(Refusal::Replaced { .. })));
    roster.offer(&signed_card("washington", 3)).unwrap();
    assert_eq!(current(&roster, "washington"), Some(3));
    assert!(roster.revocation(&id("washington"), CardSerial(2)).is_some());
    assert!(roster.revocation(&id("washington"), CardSerial(3)).is_none());
}

#[test]
fn k1b_a_revocation_may_come_before_its_card() {
    let mut roster = roster();
    let stolen = signed_card("washington", 2);
    assert_eq!(roster.offer(&revoking(&stolen, "stolen")), Ok(true));
    assert!(matches!(roster.present(&stolen), Err(Refusal::Revoked { .. })));
}

#[test]
fn documents_that_are_none_of_the_rosters_are_refused_by_name() {
    let mut roster = roster();
    let said =
        |roster: &mut Roster, document: &SignedDocument| roster.offer(document).unwrap_err().to_string();
    assert_eq!(said(&mut roster, &SignedDocument::unsigned("hello")), "not a document");
    let dispatch = SignedDocument::unsigned(breach().render());
    assert_eq!(said(&mut roster, &dispatch), "a dispatch is not a document of the roster");
    let mut stranger = card("washington", 1);
    stranger.member = id("atlantis");
    let stranger = sign_card(&stranger, &signing_roots("washington"));
    assert_eq!(said(&mut roster, &stranger), "atlantis is neither party nor mediator of this channel");
    let unsigned = SignedDocument::unsigned(card("washington", 1).render());
    assert_eq!(said(&mut roster, &unsigned), "0 of the 2 signatures needed by roots of washington");
    let officer = revocation(Revoked::Officer(key("washington officer").public()));
    let officer = sign_with_roots(officer.render(), DocumentType::Revocation, "washington");
    assert!(roster.offer(&officer).is_err());
    let broken = SignedDocument::unsigned("demarche = \"card/1\"\nmember = 1\n");
    assert_eq!(
        said(&mut roster, &broken),
        "line 2, column 10: `member` must be a string, not a whole number"
    );
}

#[test]
fn a_revocation_for_other_channels_leaves_this_one_alone() {
    let mut roster = roster();
    let document = signed_card("washington", 1);
    roster.offer(&document).unwrap();
    let revoked = Revoked::Card { card: document.id(), serial: CardSerial(1) };
    let elsewhere = Revocation { channels: vec![ChannelId::of(b"another charter")], ..revocation(revoked) };
    let elsewhere = sign_with_roots(elsewhere.render(), DocumentType::Revocation, "washington");
    assert_eq!(roster.offer(&elsewhere), Ok(false));
    assert_eq!(current(&roster, "washington"), Some(1));
}

#[test]
fn k1c_a_list_of_roots_replaces_the_one_in_force_and_no_other() {
    let mut roster = roster();
    let out_of_turn = Refusal::RootsOutOfTurn(id("washington"));
    assert_eq!(roster.offer(&second_replacement()), Err(out_of_turn));
    assert_eq!(
        Refusal::RootsOutOfTurn(id("washington")).to_string(),
        "this list of roots of washington replaces one that is not in force"
    );
    assert_eq!(roster.offer(&replacement()), Ok(true));
    assert_eq!(roster.offer(&replacement()), Ok(false));
    assert_eq!(roster.roots(&id("washington")), Some(&new_roots().list));
    assert_eq!(roster.offer(&second_replacement()), Ok(true));
    // A rival of the first replacement comes too late: whoever took in one is not turned by the other.
    let mut rival = new_roots();
    rival.issued_at = at("2026-11-27T00:00:00Z");
    let rival = sign_with_roots(rival.render(), DocumentType::Roots, "washington");
    assert_eq!(roster.offer(&rival), Err(Refusal::RootsOutOfTurn(id("washington"))));
    // Tehran's roots do not replace washington's.
    let foreign = sign_with_roots(new_roots().render(), DocumentType::Roots, "tehran");
    let mut fresh = crate::support::roster();
    assert_eq!(
        fresh.offer(&foreign).unwrap_err().to_string(),
        "0 of the 2 signatures needed by roots of washington"
    );
}

#[test]
fn k1c_a_root_that_was_replaced_opens_nothing_any_more() {
    let mut roster = roster();
    roster.offer(&replacement()).unwrap();
    // Root c was stolen; with root b, which stays, it was enough before.
    let old = [key("washington root b"), key("washington root c")];
    let late = sign_card(&card("washington", 4), &old);
    let refused = roster.present(&late).unwrap_err();
    assert_eq!(refused.to_string(), "1 of the 2 signatures needed by roots of washington");
    assert_eq!(current(&roster, "washington"), None);
    // With a signature of the new list beside it, the same card speaks.
    let again = late.signed_by(Namespace::Card, &key("washington root d"));
    let (card, changed) = roster.present(&again).unwrap();
    assert_eq!((card.serial, changed), (CardSerial(4), true));
}

#[test]
fn k1c_a_card_of_the_old_list_falls_silent_but_reopens_no_older_one() {
    let mut roster = roster();
    let by = |serial, names: [&str; 2]| {
        sign_card(&card("washington", serial), &names.map(|name| key(&format!("washington root {name}"))))
    };
    roster.offer(&by(1, ["a", "b"])).unwrap();
    roster.offer(&by(2, ["b", "c"])).unwrap();
    assert_eq!(current(&roster, "washington"), Some(2));
    roster.offer(&replacement()).unwrap();
    assert_eq!(current(&roster, "washington"), None, "roots b and c are no longer enough");
    // Card 1 would have been signed well enough for the new list; it stays replaced all the same.
    assert!(matches!(roster.present(&by(1, ["a", "b"])), Err(Refusal::Replaced { .. })));
    // A revocation under the old list still closes.
    let mut signed = revocation(Revoked::Card { card: by(3, ["a", "d"]).id(), serial: CardSerial(3) });
    signed.reason = "signed in time".to_owned();
    let old = sign(
        signed.render(),
        DocumentType::Revocation,
        &[key("washington root b"), key("washington root c")],
    );
    assert_eq!(roster.offer(&old), Ok(true));
    assert!(matches!(roster.present(&by(3, ["a", "d"])), Err(Refusal::Revoked { .. })));
}

#[test]
fn junk_signatures_do_not_travel_on() {
    let mut roster = roster();
    let clean = signed_card("washington", 1);
    let junk = clean.clone().signed_by(Namespace::Card, &key("stranger"));
    roster.offer(&junk).unwrap();
    assert_eq!(roster.documents(), std::slice::from_ref(&clean));
    for clean in [revoking(&clean, "stolen"), replacement()] {
        let kind = clean.document_type().unwrap();
        let mut roster = crate::support::roster();
        let junk = clean.clone().signed_by(kind.namespace(), &key("stranger"));
        assert_eq!(roster.offer(&junk), Ok(true));
        assert_eq!(roster.documents(), [clean]);
    }
}

/// M23: anybody may add signatures, and each costs whoever looks at it: beyond those that can say something none is.
#[test]
fn m23_a_document_with_more_signatures_than_say_anything_is_refused() {
    for clean in
        [signed_card("washington", 1), revoking(&signed_card("washington", 1), "stolen"), replacement()]
    {
        let kind = clean.document_type().unwrap();
        let mut document = clean.clone();
        for number in 0.. {
            if document.signatures().len() == limits::ROSTER_SIGNATURES {
                break;
            }
            document = document.signed_by(kind.namespace(), &key(&format!("stranger {number}")));
        }
        assert_eq!(roster().offer(&document), Ok(true));
        let signatures = document.signatures().len() + 1;
        let one_more = document.signed_by(kind.namespace(), &key("one more"));
        let refused = || Refusal::TooManySignatures { kind, signatures };
        assert_eq!(roster().offer(&one_more), Err(refused()));
        if kind == DocumentType::Card {
            assert_eq!(roster().present(&one_more).map(|_| ()), Err(refused()));
        }
    }
}

/// What is known of one member alone says of its documents what the whole says.
#[test]
fn a_roster_about_one_member_answers_as_the_whole_does() {
    let mut whole = roster();
    let known = signed_card("washington", 2);
    whole.offer(&known).unwrap();
    whole.offer(&signed_card("tehran", 1)).unwrap();
    let stranger = breach_by_nobody();
    for document in [
        known,
        signed_card("washington", 1),
        signed_card("washington", 3),
        rival(2, 17),
        replacement(),
        stranger,
    ] {
        let mut about = whole.about(&document);
        assert!(about.documents().len() < 2, "the others are left out");
        assert_eq!(about.offer(&document), whole.clone().offer(&document), "{document:?}");
    }
}

fn breach_by_nobody() -> SignedDocument {
    SignedDocument::unsigned("demarche = \"dispatch/1\"\n")
}

#[test]
fn k1b_a_revocation_shuts_out_every_older_card_as_well() {
    let mut roster = roster();
    let spare = signed_card("washington", 5);
    roster.offer(&signed_card("washington", 4)).unwrap();
    assert_eq!(roster.offer(&revoking(&spare, "stolen from the safe")), Ok(true));
    assert_eq!(current(&roster, "washington"), None);
    let refused = roster.present(&signed_card("washington", 4)).unwrap_err();
    assert_eq!(refused.to_string(), "card 4 of washington is revoked: stolen from the safe");
    assert_eq!(roster.present(&signed_card("washington", 6)).unwrap().0.serial, CardSerial(6));
}

/// A party's roots can sign without end, and so can whoever stole a replaced list: nobody keeps more for it.
#[test]
fn m16b_a_flood_of_revocations_is_kept_as_one_and_reopens_nothing() {
    let mut roster = roster();
    let stolen = signed_card("washington", 200);
    let theft = revoking(&stolen, "stolen");
    roster.offer(&stolen).unwrap();
    roster.offer(&theft).unwrap();
    roster.offer(&signed_card("tehran", 1)).unwrap();
    for serial in 1..200 {
        let revoked = Revoked::Card { card: card_named(serial), serial: CardSerial(serial) };
        let flood = sign_with_roots(revocation(revoked).render(), DocumentType::Revocation, "washington");
        assert_eq!(roster.offer(&flood), Ok(false), "it shuts out nothing that is open");
    }
    assert_eq!(roster.documents(), [signed_card("tehran", 1), stolen.clone(), theft]);
    assert!(matches!(roster.present(&stolen), Err(Refusal::Revoked { .. })));
    // Ever higher ones replace each other.
    for serial in 201..300 {
        let revoked = Revoked::Card { card: card_named(serial), serial: CardSerial(serial) };
        let flood = sign_with_roots(revocation(revoked).render(), DocumentType::Revocation, "washington");
        assert_eq!(roster.offer(&flood), Ok(true));
    }
    assert_eq!(roster.documents().len(), 3);
    assert!(matches!(roster.present(&stolen), Err(Refusal::Revoked { .. })));
    assert_eq!(current(&roster, "tehran"), Some(1), "another's flood");
}

fn card_named(serial: u64) -> DocumentId {
    DocumentId::of(&serial.to_be_bytes())
}

/// Lists of roots that replace one another, from the charter's on, all with the same keys.
fn chain_of_roots(count: usize) -> Vec<SignedDocument> {
    let mut replaces = DocumentId::from(channel());
    let mut chain = Vec::new();
    for _ in 0..count {
        let roots = Roots { replaces, list: crate::support::roots("washington"), ..new_roots() };
        let document = sign_with_roots(roots.render(), DocumentType::Roots, "washington");
        replaces = document.id();
        chain.push(document);
    }
    chain
}

#[test]
fn k1c_roots_are_replaced_a_bounded_number_of_times_in_roster_and_log_alike() {
    let chain = chain_of_roots(limits::ROOTS_REPLACED + 1);
    let (last, kept) = chain.split_last().unwrap();
    let mut roster = roster();
    let mut authority = Authority::founding(&verified_charter(), &id("washington")).unwrap();
    let entry = EntryHash::from_bytes([1; 32]);
    for document in kept {
        assert_eq!(roster.offer(document), Ok(true));
        authority = authority.after(DocumentType::Roots, document, entry).unwrap();
    }
    let refused = roster.offer(last).unwrap_err();
    let said = "the roots of washington were replaced 64 times: the next list takes an amended charter";
    assert_eq!(refused.to_string(), said);
    let void = authority.after(DocumentType::Roots, last, entry).unwrap_err();
    assert_eq!(void, Void::Credential(said.to_owned()));
    // What was signed so far still holds, and others' documents come first where not all fit.
    assert_eq!(roster.offer(&signed_card("washington", 1)), Ok(true));
    roster.offer(&signed_card("tehran", 1)).unwrap();
    assert_eq!(roster.documents()[0], signed_card("tehran", 1));
    assert_eq!(roster.documents().len(), limits::ROOTS_REPLACED + 2);
}

#[test]
fn what_is_too_long_for_a_roster_is_refused_by_name() {
    let mut roster = roster();
    let padding = format!("# {}\n", "x".repeat(500)).repeat(30);
    let long = format!("{}{padding}", card("washington", 1).render());
    let length = long.len();
    let long = sign(long, DocumentType::Card, &signing_roots("washington"))
        .signed_by(Namespace::Card, &node_key("washington", 1));
    assert_eq!(
        roster.offer(&long).unwrap_err().to_string(),
        format!("a card of {length} bytes, and a roster keeps none longer than 12288")
    );
}

/// Everything that could be known of washington's and muscat's nodes.
fn everything() -> Vec<SignedDocument> {
    let (first, second) = (signed_card("washington", 1), signed_card("washington", 2));
    let resigned = sign_card(&card("washington", 2), &[key("washington root a"), key("washington root d")]);
    vec![
        revoking(&first, "lost"),
        revoking(&first, "stolen"),
        revoking(&second, "stolen"),
        first,
        second,
        resigned,
        rival(3, 20),
        rival(3, 21),
        rival(3, 22),
        sign_card(&card("washington", 4), &[key("washington root b"), key("washington root c")]),
        sign_card(&card("washington", 5), &[key("washington root a"), key("washington root d")]),
        replacement(),
        second_replacement(),
        signed_card("muscat", 1),
        signed_card("muscat", 2),
        // These never hold.
        SignedDocument::unsigned(card("washington", 9).render()),
        sign_card(&card("tehran", 9), &signing_roots("washington")),
        SignedDocument::unsigned(breach().render()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any part of it, in any two orders and with any repetitions, makes the same roster; and taking in an older
    /// document afterwards changes nothing.
    #[test]
    fn m16b_the_order_of_arrival_does_not_matter(
        chosen in proptest::sample::subsequence((0..18_usize).collect::<Vec<_>>(), 1..=18),
        order in proptest::collection::vec(any::<Index>(), 18),
        repeats in proptest::collection::vec(any::<Index>(), 0..10),
    ) {
        let all = EVERYTHING.with(Clone::clone);
        let one: Vec<SignedDocument> = chosen.iter().map(|at| all[*at].clone()).collect();
        let mut other: Vec<SignedDocument> = repeats.iter().map(|at| one[at.index(one.len())].clone()).collect();
        for (document, place) in one.iter().zip(&order) {
            other.insert(place.index(other.len() + 1), document.clone());
        }
        let (mut a, mut b) = (ROSTER.with(Clone::clone), ROSTER.with(Clone::clone));
        a.offer_all(&one);
        b.offer_all(&other);
        prop_assert_eq!(a.digest(), b.digest());
        let ids = |roster: &Roster| roster.documents().iter().map(SignedDocument::id).collect::<Vec<_>>();
        prop_assert_eq!(ids(&a), ids(&b));
        for member in ["washington", "muscat", "tehran"] {
            prop_assert_eq!(a.current(&id(member)).map(Verified::id), b.current(&id(member)).map(Verified::id));
            prop_assert_eq!(a.roots(&id(member)), b.roots(&id(member)));
        }
        // What it gives away makes the same roster elsewhere, in one pass.
        let mut c = ROSTER.with(Clone::clone);
        for document in a.documents() {
            prop_assert_eq!(c.offer(&document), Ok(true));
        }
        prop_assert_eq!(c.digest(), a.digest());
        // Nothing of it is news any more.
        for document in one.iter().chain(&other) {
            prop_assert_ne!(a.offer(document), Ok(true));
        }
    }

    /// At every step, not only at the end: a door that a higher serial or a revocation closed stays closed to that card.
    #[test]
    fn m16b_a_stale_roster_never_reopens_a_door(arrivals in proptest::collection::vec(any::<Index>(), 1..40)) {
        let all = EVERYTHING.with(Clone::clone);
        let mut roster = ROSTER.with(Clone::clone);
        let (mut highest, mut closed) = (0, std::collections::BTreeSet::new());
        for at in arrivals {
            let before = roster.current(&id("washington")).map(Verified::id);
            let _ = roster.offer(&all[at.index(all.len())]);
            let now = roster.current(&id("washington"));
            if let Some(before) = before && now.is_none_or(|card| card.id() != before) {
                // Only new roots' signatures may give a silent card its voice back; see `resigned`, card 2.
                closed.insert(before);
            }
            if let Some(card) = now {
                prop_assert!(card.serial.0 >= highest);
                highest = card.serial.0;
                prop_assert!(!closed.contains(&card.id()) || card.serial.0 == 2);
                prop_assert!(roster.revocation(&id("washington"), card.serial).is_none());
            }
        }
    }
}

thread_local! {
    static EVERYTHING: Vec<SignedDocument> = everything();
    static ROSTER: Roster = roster();
}
