//! Judgements are a function of the logs held, whatever the order in which their entries came.

use demarche_protocol::{
    channel::{Channel, Config, Record},
    dispatch::Precedence,
    document::SignedDocument,
    identity::{member::MemberId, officer::Duty},
    time::{Now, Timestamp},
    transcript::{Authentic, Effect, Head, Item, Pointer, Seq, Transcript, Void},
};
use demarche_testkit::{
    fixtures::{self, NodeKeys, Scene, officer_key},
    forger::{self, Forger},
    rng::Chance,
    witness::judgements,
};
use proptest::prelude::*;

fn statement(scene: &Scene, party: &MemberId, text: &str, number: u64) -> SignedDocument {
    fixtures::signed(
        &scene.dispatch(party, Precedence::Routine, fixtures::statement(text)),
        &officer_key(party, number),
    )
}

fn officer(party: &MemberId, number: u64) -> SignedDocument {
    fixtures::officer(party, number, &[Duty::Draft, Duty::Release])
}

fn held(scene: &Scene, entries: &[&Authentic]) -> Transcript {
    let mut transcript = Transcript::new(scene.charter.clone());
    for entry in entries {
        transcript.insert(entry);
    }
    transcript
}

fn effect(transcript: &Transcript, item: &Item) -> Effect {
    transcript.get(&item.entry.hash()).expect("held").effect.clone()
}

/// A party's pens: branches of its log under several cards, honest or not, and everything they have written.
struct Party {
    id: MemberId,
    pens: Vec<Forger>,
    written: Vec<Authentic>,
    documents: Vec<SignedDocument>,
    serial: u64,
}

/// Writes logs as wild as the chance allows: branches, volumes, revocations, repeated documents, false
/// pointers, impossible numbers, junk.
fn wild_logs(scene: &Scene, chance: &mut Chance, entries: u64) -> Vec<Authentic> {
    let mut parties: Vec<Party> = scene
        .parties
        .iter()
        .map(|id| {
            let mut pen = Forger::new(scene, id, 1);
            let written = [pen.open(), pen.write(&officer(id, 1)), pen.write(&officer(id, 2))];
            let written = written.iter().map(|item| pen.authentic(item)).collect();
            Party { id: id.clone(), pens: vec![pen], written, documents: Vec::new(), serial: 1 }
        })
        .collect();
    for number in 0..entries {
        let heads: Vec<Head> = parties.iter().flat_map(|p| p.written.iter().map(Authentic::head)).collect();
        let at = usize::try_from(chance.below(parties.len() as u64)).unwrap();
        let party = &mut parties[at];
        let mut pen = chance.pick(&party.pens).clone();
        let slot = party.pens.iter().position(|known| known.tail == pen.tail && known.at == pen.at).unwrap();
        if chance.percent(40) {
            pen.seen = (0..=chance.below(2)).map(|_| chance.pick(&heads).clone()).collect();
        }
        match chance.below(12) {
            // A branch under the same card: a fork.
            0 => party.pens.push(party.pens[slot].clone()),
            // A new volume, from here or from the very beginning.
            1 => {
                party.serial += 1;
                let mut new = pen.renewed(party.serial);
                if chance.percent(20) {
                    (new.tail, new.authority) = (None, None);
                }
                let item = new.open();
                party.written.push(new.authentic(&item));
                party.pens.push(new);
                continue;
            }
            _ => {}
        }
        let document = match chance.below(12) {
            0..=1 if !party.documents.is_empty() => chance.pick(&party.documents).clone(),
            2 => fixtures::revoke_officer(&party.id, officer_key(&party.id, 1 + chance.below(3)).public()),
            3 => officer(&party.id, 1 + chance.below(3)),
            4 => SignedDocument::unsigned(*chance.pick(&["junk", "demarche = \"card/1\"\n"])),
            5 => fixtures::card(party.id.as_str(), party.serial),
            _ => statement(scene, &party.id, &format!("number {number}"), 1 + chance.below(3)),
        };
        let mut draft = pen.draft(&document);
        match chance.below(30) {
            0 => draft.authority = None,
            1 => {
                let head = chance.pick(&heads);
                draft.authority = Some(Pointer { seq: head.seq, hash: head.hash });
            }
            2 => draft.seq = Seq(draft.seq.0 + 1 + chance.below(2)),
            _ => {}
        }
        let item = pen.sign(&draft, &document);
        pen.goes_on_from(&item);
        party.written.push(pen.authentic(&item));
        party.documents.push(document);
        party.pens[slot] = pen;
    }
    parties.into_iter().flat_map(|party| party.written).collect()
}

fn shuffled<'a>(entries: &'a [Authentic], chance: &mut Chance) -> Vec<&'a Authentic> {
    let mut order: Vec<&Authentic> = entries.iter().collect();
    for at in (1..order.len()).rev() {
        order.swap(at, usize::try_from(chance.below(at as u64 + 1)).unwrap());
    }
    order
}

fn compare(scene: &Scene, entries: &[Authentic], chance: &mut Chance) -> Result<(), TestCaseError> {
    let in_order: Vec<&Authentic> = entries.iter().collect();
    let first = held(scene, &in_order);
    let wanted = judgements(&first);
    for _ in 0..4 {
        let order = shuffled(entries, chance);
        let other = held(scene, &order);
        let found = judgements(&other);
        for (hash, wanted) in &wanted {
            prop_assert_eq!(&found[hash], wanted, "{:?}", first.get(hash));
        }
        let heads = |transcript: &Transcript| {
            let mut heads = transcript.heads();
            heads.sort();
            heads
        };
        prop_assert_eq!(heads(&first), heads(&other));
        for party in &scene.parties {
            prop_assert_eq!(first.log(party).unwrap().tip(), other.log(party).unwrap().tip());
        }
    }
    // From a node's own records it comes out the same.
    let me = scene.parties[0].clone();
    let config = Config {
        charter: scene.charter.clone(),
        key: NodeKeys::of(me.as_str(), 99).node,
        card: scene.card(&me, 99),
        me,
    };
    let records = shuffled(entries, chance).into_iter().map(|entry| Record::Entry(entry.item().clone()));
    let now = Now { monotonic: std::time::Duration::ZERO, wall: Timestamp::from_millis(0) };
    let restored = Channel::restore(config, records, now).expect("good records");
    prop_assert_eq!(judgements(restored.transcript()), wanted);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn t2_any_order_of_arrival_gives_the_same_judgements(seed: u64, entries in 5_u64..60, parties in 2_usize..4) {
        let scene = Scene::new(parties);
        let mut chance = Chance::new(seed);
        let logs = wild_logs(&scene, &mut chance, entries);
        compare(&scene, &logs, &mut chance)?;
    }

    /// However often and wherever a document is entered, with whatever signatures: it has effect once, by the first entry
    /// that may give it effect.
    #[test]
    fn t7_a_document_entered_in_two_volumes_has_one_effect(
        seed: u64, short in proptest::collection::vec(any::<bool>(), 2..6),
    ) {
        let mut policy = demarche_protocol::charter::Policy::default();
        policy.precedences[0].signatures = 2;
        let scene = Scene::with_policy(2, policy);
        let party = scene.parties[0].clone();
        let mut pen = Forger::new(&scene, &party, 1);
        let mut items = vec![pen.open(), pen.write(&officer(&party, 1)), pen.write(&officer(&party, 2))];
        let mut written: Vec<Authentic> = items.iter().map(|item| pen.authentic(item)).collect();
        let notice = scene.dispatch(&party, Precedence::Flash, fixtures::breach("once"));
        let one = fixtures::signed(&notice, &officer_key(&party, 1));
        let two = one.clone().signed_by(demarche_protocol::labels::Namespace::Dispatch, &officer_key(&party, 2));
        let mut places = Vec::new();
        for (number, short) in short.iter().enumerate() {
            let mut volume = pen.renewed(2 + number as u64);
            items.clear();
            items.push(volume.open());
            items.push(volume.write(if *short { &one } else { &two }));
            places.push((*short, forger::head(&items[1])));
            written.extend(items.iter().map(|item| volume.authentic(item)));
        }
        let mut chance = Chance::new(seed);
        let transcript = held(&scene, &shuffled(&written, &mut chance));
        let first = places.iter().find(|(short, _)| !*short).map(|(_, head)| head.hash);
        for (short, head) in places {
            let wanted = match (short, first) {
                (true, _) => Effect::Void(Void::TooFewSignatures { have: 1, needed: 2 }),
                (false, Some(first)) if first != head.hash => Effect::Void(Void::AlreadyInEffect(first)),
                _ => Effect::Accepted,
            };
            prop_assert_eq!(&transcript.get(&head.hash).unwrap().effect, &wanted);
        }
    }
}

#[test]
fn t3_a_flash_that_overtakes_its_officers_document_is_judged_when_that_comes() {
    let scene = Scene::new(2);
    let party = scene.parties[0].clone();
    let mut pen = Forger::new(&scene, &party, 1);
    let card = pen.open();
    let enrolled = pen.write(&officer(&party, 1));
    let quiet = pen.write(&statement(&scene, &party, "before", 1));
    let flash = pen.write(&statement(&scene, &party, "flash", 1));
    let mut transcript = held(&scene, &[&pen.authentic(&flash)]);
    assert_eq!(effect(&transcript, &flash), Effect::AuthorityUnknown);
    transcript.insert(&pen.authentic(&card));
    assert_eq!(effect(&transcript, &flash), Effect::AuthorityUnknown);
    let change = transcript.insert(&pen.authentic(&enrolled));
    assert!(change.judged.contains(&(forger::head(&flash), Effect::Accepted)), "told: {change:?}");
    // Judged, and still shown as pending: what is before it is not all there.
    assert!(!transcript.get(&flash.entry.hash()).unwrap().is_chained());
    transcript.insert(&pen.authentic(&quiet));
    assert!(transcript.get(&flash.entry.hash()).unwrap().is_chained());
    assert_eq!(effect(&transcript, &flash), Effect::Accepted);
}

#[test]
fn t4_a_false_pointer_shows_when_the_gap_fills() {
    let scene = Scene::new(2);
    let party = scene.parties[0].clone();
    let mut pen = Forger::new(&scene, &party, 1);
    let card = pen.open();
    let enrolled = pen.write(&officer(&party, 1));
    let stale = pen.authority;
    let revoked = pen.write(&fixtures::revoke_officer(&party, officer_key(&party, 1).public()));
    let mut draft = pen.draft(&statement(&scene, &party, "too late", 1));
    draft.authority = stale;
    let late = pen.sign(&draft, &statement(&scene, &party, "too late", 1));
    pen.goes_on_from(&late);
    let after = pen.write(&statement(&scene, &party, "later still", 1));
    let mut transcript = held(&scene, &[&card, &enrolled].map(|item| pen.authentic(item)).each_ref());
    transcript.insert(&pen.authentic(&late));
    // With the pointer alone it looks good …
    assert_eq!(effect(&transcript, &late), Effect::Accepted);
    assert!(!transcript.get(&late.entry.hash()).unwrap().is_chained());
    // … until what it left out is there.
    let change = transcript.insert(&pen.authentic(&revoked));
    assert!(change.judged.contains(&(forger::head(&late), Effect::Void(Void::FalseAuthority))), "{change:?}");
    transcript.insert(&pen.authentic(&after));
    assert_eq!(
        effect(&transcript, &after),
        Effect::Void(Void::RevokedOfficer(officer_key(&party, 1).public()))
    );
}

#[test]
fn t4_an_entry_after_a_misplaced_one_is_misplaced_in_whatever_order_they_come() {
    let scene = Scene::new(2);
    let party = scene.parties[0].clone();
    let mut pen = Forger::new(&scene, &party, 1);
    let card = pen.open();
    let enrolled = pen.write(&officer(&party, 1));
    let document = statement(&scene, &party, "jumps", 1);
    let mut draft = pen.draft(&document);
    draft.seq = Seq(7);
    let jumps = pen.sign(&draft, &document);
    pen.goes_on_from(&jumps);
    let follows = pen.write(&statement(&scene, &party, "follows", 1));
    let all = [&card, &enrolled, &jumps, &follows].map(|item| pen.authentic(item));
    let [card, enrolled, early, late] = [&all[0], &all[1], &all[2], &all[3]];
    for order in [[card, enrolled, early, late], [late, early, enrolled, card], [card, enrolled, late, early]]
    {
        let transcript = held(&scene, &order);
        for item in [&jumps, &follows] {
            assert_eq!(effect(&transcript, item), Effect::Void(Void::Misplaced));
        }
    }
}
