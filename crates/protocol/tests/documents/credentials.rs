//! Who must have signed what: charters, cards, officers, roots, revocations (threats K1, K1c, K1d).

use demarche_protocol::{
    charter::{Charter, CharterError, Signing},
    document::{DocumentType, SignedDocument},
    identity::{
        card::{Card, CredentialError},
        keys::{BadSignature, KeySignature, SecretKey},
        officer::Officer,
        revocation::{Revocation, Revoked},
        roots::{Roots, RootsError},
    },
    labels::Namespace,
};

use crate::support::{
    breach, card, charter, id, key, new_roots, node_key, officer, revocation, roots, sign, sign_card,
    sign_with_roots, signed_card, signed_charter, signing_roots,
};

fn too_few(member: &str, have: usize, needed: usize) -> RootsError {
    RootsError::TooFew { member: id(member), have, needed }
}

/// The signature of `key` over another text, put on `document`.
fn with_wrong_signature(document: &SignedDocument, key: &SecretKey, namespace: Namespace) -> SignedDocument {
    document.clone().with_signature(key.sign(namespace, b"another text"))
}

#[test]
fn a_charter_needs_the_roots_of_every_member() {
    let text = charter().render();
    let signers = ["washington", "tehran", "muscat"].into_iter().flat_map(signing_roots);
    let keys: Vec<SecretKey> = signers.collect();
    assert!(Charter::verify(&sign(text.clone(), DocumentType::Charter, &keys)).is_ok());
    let without = |left_out: usize| {
        let mut keys = keys.clone();
        keys.remove(left_out);
        Charter::verify(&sign(text.clone(), DocumentType::Charter, &keys)).unwrap_err()
    };
    assert_eq!(without(0), CharterError::Roots(too_few("washington", 1, 2)));
    assert_eq!(without(2), CharterError::Roots(too_few("tehran", 0, 1)));
    assert_eq!(without(3), CharterError::Roots(too_few("muscat", 0, 1)));
    assert_eq!(without(0).to_string(), "1 of the 2 signatures needed by roots of washington");
    // The third root will do as well as the first.
    let mut others = keys.clone();
    others[0] = key("washington root c");
    assert!(Charter::verify(&sign(text, DocumentType::Charter, &others)).is_ok());
}

#[test]
fn one_root_signing_twice_counts_once() {
    let root = key("washington root a");
    let text = charter().render();
    let once = root.sign(Namespace::Charter, text.as_bytes());
    let document = SignedDocument::new(text, vec![once, once]);
    let signing = charter().signing(&document).unwrap();
    assert_eq!(signing[0], Signing { member: id("washington"), have: 1, needed: 2 });
    assert_eq!(signing.iter().map(|signing| signing.have).collect::<Vec<_>>(), [1, 0, 0]);
}

#[test]
fn a_wrong_signature_of_a_root_is_named_even_beside_enough_good_ones() {
    let root = key("washington root c");
    let document = with_wrong_signature(&signed_charter(), &root, Namespace::Charter);
    let wanted = RootsError::Wrong { member: id("washington"), key: root.public(), source: BadSignature };
    assert_eq!(
        wanted.to_string(),
        format!("the signature by root {} of washington does not fit this text", root.public().fingerprint())
    );
    assert_eq!(Charter::verify(&document), Err(CharterError::Roots(wanted)));
    // A stranger's signature, right or wrong, says nothing.
    let document = with_wrong_signature(&signed_charter(), &key("stranger"), Namespace::Charter);
    assert!(Charter::verify(&document).is_ok());
}

#[test]
fn a_changed_text_takes_every_signature_with_it() {
    let document = signed_charter();
    let text = document.text().replace("2m", "3m");
    let changed = SignedDocument::new(text, document.signatures().to_vec());
    let refused = Charter::verify(&changed).unwrap_err();
    assert!(matches!(refused, CharterError::Roots(RootsError::Wrong { .. })), "{refused}");
}

#[test]
fn k1d_a_card_needs_its_own_nodes_signature() {
    let washington = id("washington");
    let card = card("washington", 1);
    let without = sign_with_roots(card.render(), DocumentType::Card, "washington");
    let refused = Card::verify(&without, &washington, &roots("washington")).unwrap_err();
    assert_eq!(refused, CredentialError::Possession(card.node));
    assert_eq!(
        refused.to_string(),
        format!(
            "the node has not signed its own card: it does not prove to hold {}",
            card.node.fingerprint()
        )
    );
    // Another node's signature proves nothing.
    let other = without.clone().signed_by(Namespace::Card, &node_key("washington", 2));
    assert_eq!(
        Card::verify(&other, &washington, &roots("washington")),
        Err(CredentialError::Possession(card.node))
    );
    // Nor does the node's own over another text, or for another purpose.
    let wrong = with_wrong_signature(&without, &node_key("washington", 1), Namespace::Card);
    assert!(Card::verify(&wrong, &washington, &roots("washington")).is_err());
    let purpose = without.signed_by(Namespace::Entry, &node_key("washington", 1));
    assert!(Card::verify(&purpose, &washington, &roots("washington")).is_err());
}

#[test]
fn k1d_a_card_naming_another_members_node_is_refused() {
    // Tehran's roots vouch for a card that names washington's node: its signature cannot be had.
    let mut stolen = card("tehran", 1);
    stolen.node = node_key("washington", 1).public();
    let document = sign_with_roots(stolen.render(), DocumentType::Card, "tehran");
    assert_eq!(
        Card::verify(&document, &id("tehran"), &roots("tehran")),
        Err(CredentialError::Possession(stolen.node))
    );
    // Not even with the signature from washington's own card.
    let borrowed: KeySignature = *signed_card("washington", 1)
        .signatures()
        .iter()
        .find(|signature| signature.key == stolen.node)
        .unwrap();
    let document = document.with_signature(borrowed);
    assert_eq!(
        Card::verify(&document, &id("tehran"), &roots("tehran")),
        Err(CredentialError::Possession(stolen.node))
    );
}

#[test]
fn a_card_of_another_party_is_refused_by_name() {
    let refused =
        Card::verify(&signed_card("tehran", 1), &id("washington"), &roots("washington")).unwrap_err();
    assert_eq!(refused.to_string(), "it is of tehran, not of washington");
    // Signed by washington's roots, it would still be tehran's.
    let document = sign_card(&card("tehran", 1), &signing_roots("washington"));
    let refused = Card::verify(&document, &id("tehran"), &roots("tehran")).unwrap_err();
    assert_eq!(refused, CredentialError::Roots(too_few("tehran", 0, 1)));
}

#[test]
fn the_roots_printed_on_a_card_do_not_vouch_for_it() {
    let mut forged = card("washington", 9);
    let own = key("forger");
    forged.roots = demarche_protocol::identity::roots::RootList::new(vec![own.public()], 1).unwrap();
    let document = sign_card(&forged, &[own]);
    let refused = Card::verify(&document, &id("washington"), &roots("washington")).unwrap_err();
    assert_eq!(refused, CredentialError::Roots(too_few("washington", 0, 2)));
}

#[test]
fn k1c_one_root_of_three_signs_nothing_alone() {
    let stolen = [key("washington root c")];
    let us = id("washington");
    let list = roots("washington");
    let refused = || CredentialError::Roots(too_few("washington", 1, 2));
    assert_eq!(Card::verify(&sign_card(&card("washington", 1), &stolen), &us, &list).unwrap_err(), refused());
    let officer = sign(officer().render(), DocumentType::Officer, &stolen);
    assert_eq!(Officer::verify(&officer, &us, &list).unwrap_err(), refused());
    let revoked = revocation(Revoked::Officer(key("washington officer").public()));
    let revoked = sign(revoked.render(), DocumentType::Revocation, &stolen);
    assert_eq!(Revocation::verify(&revoked, &us, &list).unwrap_err(), refused());
    let roots = sign(new_roots().render(), DocumentType::Roots, &stolen);
    assert_eq!(Roots::verify(&roots, &list).unwrap_err(), refused());
}

#[test]
fn k1c_the_old_list_not_the_new_one_replaces() {
    let by_new = sign(
        new_roots().render(),
        DocumentType::Roots,
        &[key("washington root d"), key("washington root a")],
    );
    assert_eq!(
        Roots::verify(&by_new, &roots("washington")).unwrap_err(),
        CredentialError::Roots(too_few("washington", 1, 2))
    );
    let by_old = sign_with_roots(new_roots().render(), DocumentType::Roots, "washington");
    assert_eq!(Roots::verify(&by_old, &roots("washington")).unwrap().into_inner(), new_roots());
}

#[test]
fn officers_and_revocations_of_another_party_are_refused_by_name() {
    let document = sign_with_roots(officer().render(), DocumentType::Officer, "washington");
    assert!(Officer::verify(&document, &id("washington"), &roots("washington")).is_ok());
    let refused = Officer::verify(&document, &id("tehran"), &roots("tehran")).unwrap_err();
    assert_eq!(refused.to_string(), "it is of washington, not of tehran");
    let revoked = revocation(Revoked::Officer(key("washington officer").public()));
    let document = sign_with_roots(revoked.render(), DocumentType::Revocation, "washington");
    assert!(Revocation::verify(&document, &id("washington"), &roots("washington")).is_ok());
    let refused = Revocation::verify(&document, &id("tehran"), &roots("tehran")).unwrap_err();
    assert_eq!(refused.to_string(), "it is of washington, not of tehran");
}

/// K1, key × act: which key's signature makes which document hold.
#[test]
fn k1_each_key_does_its_own_act_and_no_other() {
    let us = id("washington");
    let list = roots("washington");
    let roots: &dyn Fn() -> Vec<SecretKey> = &|| signing_roots("washington");
    let holders: [(&str, Vec<SecretKey>); 5] = [
        ("roots", roots()),
        ("node", vec![node_key("washington", 1)]),
        ("officer", vec![key("washington officer")]),
        ("the other party's roots", signing_roots("tehran")),
        ("mediator's roots and node", [signing_roots("muscat"), vec![node_key("muscat", 7)]].concat()),
    ];
    for (who, keys) in holders {
        let only_roots = who == "roots";
        // A card needs roots and node; the node's own signature is given to everybody here.
        let card = sign_card(&card("washington", 1), &keys);
        assert_eq!(Card::verify(&card, &us, &list).is_ok(), only_roots, "card by {who}");
        let officer_document = sign(officer().render(), DocumentType::Officer, &keys);
        assert_eq!(Officer::verify(&officer_document, &us, &list).is_ok(), only_roots, "officer by {who}");
        let replaced = sign(new_roots().render(), DocumentType::Roots, &keys);
        assert_eq!(Roots::verify(&replaced, &list).is_ok(), only_roots, "roots by {who}");
        let revoked = revocation(Revoked::Officer(officer().key)).render();
        let revoked = sign(revoked, DocumentType::Revocation, &keys);
        assert_eq!(Revocation::verify(&revoked, &us, &list).is_ok(), only_roots, "revocation by {who}");
        // A dispatch counts by the officers' keys found on it: a node's, or the roots', is none.
        let dispatch = sign(breach().render(), DocumentType::Dispatch, &keys);
        let by_officer = dispatch.verified_keys(Namespace::Dispatch).contains(&officer().key);
        assert_eq!(by_officer, who == "officer", "dispatch by {who}");
    }
}

/// K1: what a stolen node key can make claims the officer's key only with a signature that does not fit.
#[test]
fn k1_a_node_cannot_put_an_officers_name_on_its_own_signature() {
    let text = breach().render();
    let by_node = node_key("washington", 1).sign(Namespace::Dispatch, text.as_bytes());
    let claimed = KeySignature { key: officer().key, signature: by_node.signature };
    assert!(SignedDocument::new(text.clone(), vec![claimed]).verified_keys(Namespace::Dispatch).is_empty());
    // Nor does what the officer signed for another purpose serve.
    let other = key("washington officer").sign(Namespace::Suspension, text.as_bytes());
    assert!(SignedDocument::new(text, vec![other]).verified_keys(Namespace::Dispatch).is_empty());
}

#[test]
fn an_officer_and_a_revocation_hold_for_the_channels_they_name() {
    let mut officer = officer();
    assert!(officer.holds_for(crate::support::channel()));
    let other = demarche_protocol::hash::ChannelId::of(b"another charter");
    assert!(!officer.holds_for(other));
    officer.channels.clear();
    assert!(officer.holds_for(other));
    assert!(revocation(Revoked::Officer(officer.key)).holds_for(other));
}
