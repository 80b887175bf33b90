//! A party whose roots were replaced twice, in the eyes of a node that lost its disk and comes to know it only now (threats K1c, S1).

use demarche_protocol::{
    channel::{Event, Frame},
    dispatch::Precedence,
    document::SignedDocument,
    hash::DocumentId,
    identity::{
        keys::SecretKey,
        member::MemberId,
        officer::Duty,
        roots::{RootList, Roots},
    },
    labels::Namespace,
    transcript::{Effect, Item},
};
use demarche_testkit::{
    fixtures::{self, DRAFTED, NodeKeys, officer_key},
    forger::{self, Forger},
    table::Table,
};

/// One root gives way to another.
fn replaced(party: &MemberId, old: &SecretKey, new: &SecretKey, replaces: DocumentId) -> SignedDocument {
    let list = RootList::new(vec![new.public()], 1).unwrap();
    let roots = Roots { member: party.clone(), list, replaces, issued_at: DRAFTED };
    SignedDocument::unsigned(roots.render()).signed_by(Namespace::Roots, old)
}

/// A card that only this root has signed.
fn card(party: &MemberId, serial: u64, root: &SecretKey) -> SignedDocument {
    SignedDocument::unsigned(fixtures::card(party.as_str(), serial).text())
        .signed_by(Namespace::Card, root)
        .signed_by(Namespace::Card, &NodeKeys::of(party.as_str(), serial).node)
}

/// What such a party's node shows: its roster, and its whole log.
struct Shown {
    roster: Vec<SignedDocument>,
    log: Vec<Item>,
}

fn history(table: &Table, party: &MemberId) -> Shown {
    let [middle, newest] = ["middle root", "newest root"].map(fixtures::key);
    let first = replaced(party, &fixtures::root(party.as_str()), &middle, table.scene.channel().into());
    let second = replaced(party, &middle, &newest, first.id());
    let (card_2, card_3) = (card(party, 2, &middle), card(party, 3, &newest));
    let said = |text: &str| {
        let statement = table.scene.dispatch(party, Precedence::Routine, fixtures::statement(text));
        fixtures::signed(&statement, &officer_key(party, 1))
    };
    let mut pen = Forger::new(&table.scene, party, 1);
    let mut log = vec![pen.open(), pen.write(&fixtures::officer(party, 1, &[Duty::Release]))];
    log.extend([pen.write(&said("under the first list")), pen.write(&first)]);
    let mut pen = pen.renewed(2);
    log.extend([pen.write(&card_2), pen.write(&said("under the middle list")), pen.write(&second)]);
    let mut pen = pen.renewed(3);
    log.extend([pen.write(&card_3), pen.write(&said("under the newest list"))]);
    Shown { roster: vec![first, second, card_3], log }
}

#[test]
fn s1_k1c_a_volume_under_a_list_between_the_first_and_the_newest_is_known() {
    let mut table = Table::new(2);
    let (washington, tehran) = (table.party(0), table.party(1));
    let shown = history(&table, &washington);
    table.join_by_hand(&tehran, &washington);
    for document in &shown.roster {
        table.read(&tehran, &washington, Frame::Card(document.clone()));
    }
    for item in &shown.log {
        table.read(&tehran, &washington, Frame::Entry(item.clone()));
    }
    for item in &shown.log {
        let effect = table.effect(&tehran, &forger::head(item));
        assert_eq!(effect, Some(Effect::Accepted), "{:?}", table.at(&tehran).events);
    }
    // And again from its own disk.
    table.restart(&tehran);
    for item in &shown.log {
        assert_eq!(table.effect(&tehran, &forger::head(item)), Some(Effect::Accepted));
    }
}

/// What the roster has not shown yet is refused, and comes again: nobody is believed about roots but the roots before them.
#[test]
fn k1c_a_card_of_a_list_that_nobody_vouched_for_opens_no_volume() {
    let mut table = Table::new(2);
    let (washington, tehran) = (table.party(0), table.party(1));
    let shown = history(&table, &washington);
    table.join_by_hand(&tehran, &washington);
    let under_middle = &shown.log[4];
    table.read(&tehran, &washington, Frame::Entry(under_middle.clone()));
    assert_eq!(table.effect(&tehran, &forger::head(under_middle)), None);
    let refused =
        |event: &Event| matches!(event, Event::PeerRefused { why, .. } if why.contains("under card 2"));
    assert!(table.at(&tehran).events.iter().any(refused), "{:?}", table.at(&tehran).events);
    for document in &shown.roster {
        table.read(&tehran, &washington, Frame::Card(document.clone()));
    }
    table.read(&tehran, &washington, Frame::Entry(under_middle.clone()));
    assert!(table.effect(&tehran, &forger::head(under_middle)).is_some());
}
