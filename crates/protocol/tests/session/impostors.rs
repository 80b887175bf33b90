//! Whoever is not the peer gets no session, and is refused by name where there is one.

use demarche_protocol::{
    identity::{card::SessionKey, roster},
    session::{Expected, HandshakeError, MessageNumber, Opener, Refusal, SessionSecret},
};

use crate::{
    attacker::{Claim, introduction, noise, noise_named, read, write},
    support::{Node, card_document, handshake, id, key, revocation, rng, session_secret},
};

/// What washington says to an attacker that answers its call.
fn answered_by(claim: &Claim, shown: &Node) -> HandshakeError {
    let mut washington = Node::new("washington");
    let before = washington.roster.digest();
    let (opener, one) = washington.open(1);
    let mut attacker = noise(washington.channel, claim, false);
    read(&mut attacker, &one).unwrap();
    let two = write(&mut attacker, &introduction(shown.card.document(), shown.channel));
    let error = washington.conclude(opener, &two).unwrap_err();
    if !matches!(error, HandshakeError::Refused(_)) {
        assert_eq!(washington.roster.digest(), before, "an unauthentic card was taken in");
    }
    error
}

/// What washington says to an attacker that calls it.
fn called_by(claim: &Claim, shown: &Node) -> HandshakeError {
    let mut washington = Node::new("washington");
    let mut attacker = noise(washington.channel, claim, true);
    let one = write(&mut attacker, &[]);
    let (answered, two) = washington.answer(1, &one).unwrap();
    read(&mut attacker, &two).unwrap();
    let three = write(&mut attacker, &introduction(shown.card.document(), shown.channel));
    washington.accept(answered, &three).unwrap_err()
}

#[test]
fn an_honest_second_implementation_is_understood_both_ways() {
    let (mut washington, tehran) = (Node::new("washington"), Node::new("tehran"));
    let claim = Claim::honest(&tehran.secret);

    let (opener, one) = washington.open(1);
    let mut other = noise(washington.channel, &claim, false);
    read(&mut other, &one).unwrap();
    let two = write(&mut other, &introduction(tehran.card.document(), tehran.channel));
    let (mut ours, three) = washington.conclude(opener, &two).unwrap();
    read(&mut other, &three).unwrap();
    let mut other = other.into_transport_mode().unwrap();
    let mut frame = [0; 64];
    let sealed = ours.session.seal(b"hello").unwrap();
    assert_eq!(other.read_message(&sealed[2..], &mut frame).unwrap(), 5);
    assert_eq!(&frame[..5], b"hello");

    let mut other = noise(washington.channel, &claim, true);
    let one = write(&mut other, &[]);
    let (answered, two) = washington.answer(2, &one).unwrap();
    read(&mut other, &two).unwrap();
    let three = write(&mut other, &introduction(tehran.card.document(), tehran.channel));
    assert_eq!(washington.accept(answered, &three).unwrap().peer.member, id("tehran"));
}

/// K5: with our own static key in hand, nobody can pose as the peer to us.
#[test]
fn k5_our_stolen_static_key_does_not_let_anybody_pose_as_the_peer_to_us() {
    let (washington, tehran) = (Node::new("washington"), Node::new("tehran"));
    let stolen = washington.secret.clone();

    let posing = Claim { secret: stolen.clone(), public: tehran.secret.public() };
    assert_eq!(answered_by(&posing, &tehran), HandshakeError::NotAuthentic(MessageNumber::Two));
    assert_eq!(called_by(&posing, &tehran), HandshakeError::NotAuthentic(MessageNumber::Three));

    let ourselves = Claim::honest(&stolen);
    let refusal = || HandshakeError::Refused(Refusal::Ourselves(id("washington")));
    for shown in [&washington, &tehran] {
        assert_eq!(answered_by(&ourselves, shown), refusal());
        assert_eq!(called_by(&ourselves, shown), refusal());
    }
}

#[test]
fn m12_a_card_shown_by_somebody_else_is_refused_by_name() {
    let tehran = Node::new("tehran");
    for other in ["nobody", "paris"] {
        let claim = Claim::honest(&session_secret(other));
        let refusal = || Refusal::NotItsCard { member: id("tehran"), serial: tehran.card.serial };
        assert_eq!(answered_by(&claim, &tehran), HandshakeError::Refused(refusal()));
        assert_eq!(called_by(&claim, &tehran), HandshakeError::Refused(refusal()));
    }
}

#[test]
fn m12_a_mediator_that_shows_a_partys_kind_of_card_is_refused_by_name() {
    let card = card_document("muscat", 1, "muscat");
    let muscat = Node::with_card("muscat", &card, session_secret("muscat"));
    let claim = Claim::honest(&muscat.secret);
    let refusal = || HandshakeError::Refused(Refusal::NotAParty(id("muscat")));
    assert_eq!(answered_by(&claim, &muscat), refusal());
    assert_eq!(called_by(&claim, &muscat), refusal());
}

#[test]
fn m12_a_stranger_is_refused_by_name() {
    let card = card_document("london", 1, "london");
    let london = Node::with_card("london", &card, session_secret("london"));
    let stranger = roster::Refusal::Stranger("london".to_owned());
    let refusal = HandshakeError::Refused(Refusal::Card(stranger));
    assert_eq!(called_by(&Claim::honest(&london.secret), &london), refusal);
}

#[test]
fn m12_a_stream_that_leads_to_another_node_is_refused() {
    let (mut washington, tehran) = (Node::new("washington"), Node::new("tehran"));
    let (opener, one) = washington.open(1);
    let (_, two) = tehran.answer(2, &one).unwrap();
    let expected = Expected { party: Some(id("tehran")), node: Some(key("paris node 1").public()) };
    let error = washington.conclude_expecting(opener, &two, expected).unwrap_err();
    let refusal = Refusal::AnotherNode { member: id("tehran"), serial: tehran.card.serial };
    assert_eq!(error, HandshakeError::Refused(refusal));
}

/// K1b: the node's key is not enough once its card is revoked.
#[test]
fn k1b_a_revoked_card_opens_no_session() {
    let (mut washington, mut tehran) = (Node::new("washington"), Node::new("tehran"));
    handshake(&mut washington, &mut tehran, [1, 2]).unwrap();
    assert_eq!(washington.roster.offer(&revocation(&tehran.card)), Ok(true));
    for seeds in [[3, 4], [5, 6]] {
        let error = handshake(&mut washington, &mut tehran, seeds).unwrap_err();
        assert!(
            matches!(&error, HandshakeError::Refused(Refusal::Card(roster::Refusal::Revoked { member, .. }))
                if *member == id("tehran")),
            "{error:?}"
        );
    }
}

/// M13: our own messages, sent back to us.
#[test]
fn m13_a_reflected_handshake_is_refused() {
    let mut washington = Node::new("washington");
    let (opener, one) = washington.open(1);
    assert!(washington.conclude(opener, &one).is_err());

    // The mediator leads our call back to ourselves.
    let mut mirror = Node::new("washington");
    let error = handshake(&mut washington, &mut mirror, [1, 2]).unwrap_err();
    assert_eq!(error, HandshakeError::Refused(Refusal::Ourselves(id("washington"))));

    // Another node of our own party, with a key of its own.
    let card = card_document("washington", 2, "washington spare");
    let mut spare = Node::with_card("washington", &card, session_secret("washington spare"));
    let error = handshake(&mut washington, &mut spare, [1, 2]).unwrap_err();
    assert_eq!(error, HandshakeError::Refused(Refusal::Ourselves(id("washington"))));
}

/// K7: low-order keys in each place where one can stand.
#[test]
fn k7_a_low_order_key_ends_the_handshake() {
    let tehran = Node::new("tehran");
    let low = Claim { secret: SessionSecret::from_bytes(&[1; 32]), public: SessionKey([0; 32]) };
    assert_eq!(answered_by(&low, &tehran), HandshakeError::LowOrder(MessageNumber::Two));
    assert_eq!(called_by(&low, &tehran), HandshakeError::LowOrder(MessageNumber::Three));

    let mut washington = Node::new("washington");
    for ephemeral in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let (opener, mut one) = washington.open(1);
        let (_, mut two) = tehran.answer(2, &one).unwrap();
        one[..32].copy_from_slice(&ephemeral);
        two[..32].copy_from_slice(&ephemeral);
        assert_eq!(tehran.answer(2, &one).err(), Some(HandshakeError::LowOrder(MessageNumber::One)));
        assert_eq!(
            washington.conclude(opener, &two).unwrap_err(),
            HandshakeError::LowOrder(MessageNumber::Two)
        );
    }
}

#[test]
fn an_unreduced_ml_kem_key_is_refused() {
    let (washington, tehran) = (Node::new("washington"), Node::new("tehran"));
    let (_, mut one) = washington.open(1);
    // Two coefficients of 0xfff, where 3328 is the greatest (FIPS 203, section 7.2).
    one[32..35].copy_from_slice(&[0xff; 3]);
    assert_eq!(tehran.answer(2, &one).err(), Some(HandshakeError::BadKem(MessageNumber::One)));
}

/// M11: another suite, version or channel than the one that both mean.
#[test]
fn m11_another_suite_or_channel_does_not_authenticate() {
    let (washington, tehran) = (Node::new("washington"), Node::new("tehran"));
    let claim = Claim::honest(&tehran.secret);
    let payload = introduction(tehran.card.document(), tehran.channel);
    let answer = |mut other: snow::HandshakeState| {
        let mut node = Node::new("washington");
        let (opener, one) = node.open(1);
        read(&mut other, &one).unwrap();
        node.conclude(opener, &write(&mut other, &payload)).unwrap_err()
    };
    let not_authentic = HandshakeError::NotAuthentic(MessageNumber::Two);
    let kyber = "Noise_XXhfs_25519+Kyber1024_ChaChaPoly_SHA256";
    assert_eq!(answer(noise_named(kyber, washington.channel, &claim, false)), not_authentic);
    let channel = demarche_protocol::hash::ChannelId::of(b"another channel");
    assert_eq!(answer(noise(channel, &claim, false)), not_authentic);

    // Plain XX, without the hybrid part: message 1 is an X25519 key alone.
    let plain = write(
        &mut snow::Builder::new("Noise_XX_25519_ChaChaPoly_SHA256".parse().unwrap())
            .local_private_key(claim.secret.to_bytes().as_slice())
            .unwrap()
            .build_initiator()
            .unwrap(),
        &[],
    );
    let length = HandshakeError::Length { message: MessageNumber::One, length: 32 };
    assert_eq!(washington.answer(1, &plain).err(), Some(length));
}

#[test]
fn message_1_with_a_payload_is_refused() {
    let (washington, tehran) = (Node::new("washington"), Node::new("tehran"));
    let one = write(&mut noise(washington.channel, &Claim::honest(&tehran.secret), true), b"x");
    let length = HandshakeError::Length { message: MessageNumber::One, length: 1217 };
    assert_eq!(washington.answer(1, &one).err(), Some(length));
}

#[test]
fn a_payload_that_is_no_introduction_is_refused() {
    let tehran = Node::new("tehran");
    let mut washington = Node::new("washington");
    for payload in [&b""[..], b"junk", &[0xff; 300]] {
        let (opener, one) = washington.open(1);
        let mut other = noise(washington.channel, &Claim::honest(&tehran.secret), false);
        read(&mut other, &one).unwrap();
        let error = washington.conclude(opener, &write(&mut other, payload)).unwrap_err();
        assert!(
            matches!(error, HandshakeError::Introduction { message: MessageNumber::Two, .. }),
            "{error:?}"
        );
    }
}

#[test]
fn a_card_that_is_not_ours_is_refused_before_a_byte_is_sent() {
    let mut washington = Node::new("washington");
    washington.secret = session_secret("somebody");
    let outcome = Opener::start(&washington.local(), &mut rng(1));
    assert_eq!(outcome.err(), Some(HandshakeError::NotOurCard));
}
