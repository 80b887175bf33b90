//! Documents that would say who may sign and have no effect: a party's node, or whoever stole its key, may enter as many as it likes.
//! They cost the others neither memory for their texts nor a FLASH its place.

use demarche_protocol::{
    channel::{Event, Frame, Input},
    dispatch::Precedence,
    document::SignedDocument,
    identity::{keys::SecretKey, member::MemberId, officer::Duty},
    limits,
    transcript::{Authentic, Effect, Facts, Head, Item, Node, Seq, Transcript, Void},
};
use demarche_testkit::{
    fixtures::{self, Scene, officer_key},
    forger::{self, Forger},
    table::Table,
};

fn officer(party: &MemberId, number: u64) -> SignedDocument {
    fixtures::officer(party, number, &[Duty::Draft, Duty::Release])
}

fn unsigned(party: &MemberId, number: u64) -> SignedDocument {
    SignedDocument::unsigned(officer(party, number).shared_text())
}

/// Signed by nobody, and as long as a text may be.
fn padded(party: &MemberId, number: u64) -> SignedDocument {
    let text = officer(party, 1).text().to_owned();
    let padding = limits::DOCUMENT_TEXT - text.len() - 20;
    SignedDocument::unsigned(format!("{text}# {number} {}\n", "x".repeat(padding - 2)))
}

fn signed(
    scene: &Scene,
    party: &MemberId,
    precedence: Precedence,
    text: &str,
    by: &SecretKey,
) -> SignedDocument {
    fixtures::signed(&scene.dispatch(party, precedence, fixtures::statement(text)), by)
}

fn kept(node: &Node) -> bool {
    matches!(&node.facts, Facts::Authority(_, Ok(_)))
}

fn held<'a>(scene: &Scene, pen: &Forger, items: impl IntoIterator<Item = &'a Item>) -> Transcript {
    let mut transcript = Transcript::new(scene.charter.clone());
    for item in items {
        let entry: Authentic = pen.authentic(item);
        transcript.insert(&entry);
    }
    transcript
}

/// T1, E8: whatever the order in which they came, the texts of those with effect are kept and of the others none.
#[test]
fn t1_texts_without_effect_are_not_kept_in_memory() {
    let scene = Scene::new(2);
    let party = scene.parties[0].clone();
    let mut pen = Forger::new(&scene, &party, 1);
    let mut items = vec![pen.open(), pen.write(&officer(&party, 1))];
    let counts = items.len();
    for document in [
        unsigned(&party, 2),
        // Real, and in effect already.
        officer(&party, 1),
        fixtures::card(party.as_str(), 1),
        SignedDocument::unsigned("demarche = \"officer/1\"\n"),
        scene.charter.document().clone(),
    ] {
        items.push(pen.write(&document));
    }
    // One whose number does not follow.
    let document = officer(&party, 3);
    let mut misplaced = pen.draft(&document);
    misplaced.seq = Seq(misplaced.seq.0 + 3);
    items.push(pen.sign(&misplaced, &document));
    for transcript in [held(&scene, &pen, &items), held(&scene, &pen, items.iter().rev())] {
        for (at, item) in items.iter().enumerate() {
            let node = transcript.get(&item.entry.hash()).unwrap();
            assert_eq!(node.effect == Effect::Accepted, at < counts, "{at}: {:?}", node.effect);
            assert_eq!(kept(node), at < counts, "{at}: {:?}", node.effect);
            match (&node.facts, &node.effect) {
                (Facts::Authority(_, Err(why)), Effect::Void(effect)) => assert_eq!(why, effect),
                _ => assert!(at < counts),
            }
        }
    }
}

/// T4: a verdict that rests on what an entry claims is not the last one. What is void by a false pointer before it counts when the gap
/// fills, so its text is still there.
#[test]
fn t4_what_is_void_while_something_is_missing_may_still_take_effect() {
    let scene = Scene::new(2);
    let party = scene.parties[0].clone();
    let mut pen = Forger::new(&scene, &party, 1);
    let before = [pen.open(), pen.write(&officer(&party, 1))];
    let missing = pen.write(&signed(&scene, &party, Precedence::Routine, "late", &officer_key(&party, 1)));
    let revocation = fixtures::revoke_officer(&party, officer_key(&party, 2).public());
    let mut falsely = pen.draft(&revocation);
    falsely.authority = None;
    let falsely = pen.sign(&falsely, &revocation);
    pen.goes_on_from(&falsely);
    let late = pen.write(&officer(&party, 2));
    let mut transcript = held(&scene, &pen, before.iter().chain([&falsely, &late]));
    let effect = |transcript: &Transcript| transcript.get(&late.entry.hash()).unwrap().effect.clone();
    assert_eq!(effect(&transcript), Effect::Void(Void::RevokedOfficer(officer_key(&party, 2).public())));
    transcript.insert(&pen.authentic(&missing));
    assert_eq!(effect(&transcript), Effect::Accepted);
    assert!(kept(transcript.get(&late.entry.hash()).unwrap()));
    assert!(!kept(transcript.get(&falsely.entry.hash()).unwrap()));
}

/// T8, E8: a FLASH goes before whatever has no effect, and that is owed until it is receipted all the same.
#[test]
fn t8_documents_without_effect_do_not_go_before_a_flash() {
    let mut table = Table::new(2);
    let (one, other) = (table.party(0), table.party(1));
    table.enrol(&one, 1);
    for number in 10..40 {
        let now = table.now(&one);
        table.at_mut(&one).channel.append_unchecked(now, &unsigned(&one, number));
        table.input(&one, Input::Tick);
        table.settle();
    }
    let flash = signed(&table.scene, &one, Precedence::Flash, "first", &officer_key(&one, 1));
    let flash = table.append(&one, &flash);
    table.join(&one, &other);
    let sent: Vec<Head> = table
        .frames(&one, &other)
        .filter_map(|frame| match frame {
            Frame::Entry(item) => Some(forger::head(item)),
            _ => None,
        })
        .collect();
    let at = sent.iter().position(|head| *head == flash).unwrap();
    assert_eq!(at, 2, "after the card and the officer");
    assert_eq!(table.at(&one).channel.owed_to(&other), 0);
    assert!(table.alike(&one, &other));
}

/// E8: a gap that never fills holds no more than its bound in memory; what is real comes through when it fills.
#[test]
fn e8_a_gap_left_open_does_not_fill_the_memory() {
    let mut table = Table::new(2);
    let (one, other) = (table.party(0), table.party(1));
    table.join_by_hand(&other, &one);
    let mut pen = Forger::new(&table.scene, &one, 1);
    let card = pen.open();
    let missing = pen.write(&officer(&one, 1));
    table.read(&other, &one, Frame::Entry(card));
    let items: Vec<Item> = (0..240).map(|number| pen.write(&padded(&one, number))).collect();
    for item in &items {
        table.read(&other, &one, Frame::Entry(item.clone()));
    }
    let real = pen.write(&officer(&one, 2));
    table.read(&other, &one, Frame::Entry(real.clone()));
    let texts = |table: &Table| -> usize {
        let log = table.at(&other).channel.transcript().log(&one).unwrap().nodes();
        log.map(|node| match &node.facts {
            Facts::Authority(_, Ok(document)) => document.text().len(),
            _ => 0,
        })
        .sum()
    };
    assert!(texts(&table) < limits::PENDING_AUTHORITY + 2 * limits::DOCUMENT_TEXT, "{}", texts(&table));
    assert_eq!(table.effect(&other, &forger::head(&real)), None);
    assert!(table.at(&other).events.iter().any(|event| matches!(event, Event::PeerRefused { .. })));
    // The gap fills, and what was not receipted is offered again.
    for item in [&missing].into_iter().chain(&items).chain([&real]) {
        table.read(&other, &one, Frame::Entry(item.clone()));
    }
    assert_eq!(table.effect(&other, &forger::head(&real)), Some(Effect::Accepted));
    assert!(texts(&table) < 64 * 1024, "{}", texts(&table));
}
