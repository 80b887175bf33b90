//! Bytes: one encoding of every value, bounded before anything is allocated (threats B1, K11).

use demarche_protocol::{
    codec::{CodecError, Wire as _, decode, encode},
    document::SignedDocument,
    identity::keys::{KeySignature, SecretKey},
    labels::Namespace,
    limits,
};
use proptest::prelude::*;

use crate::{support::key, vectors::all};

/// bincode's marks before an integer of two, four, eight and sixteen bytes.
const MARKS: [(u8, usize); 4] = [(251, 2), (252, 4), (253, 8), (254, 16)];

const NAME: &str = SignedDocument::NAME;

fn document() -> SignedDocument {
    SignedDocument::unsigned("abc")
        .signed_by(Namespace::Dispatch, &key("one"))
        .signed_by(Namespace::Dispatch, &key("two"))
}

#[test]
fn the_layout_is_as_specified() {
    let document = document();
    let bytes = encode(&document);
    let mut wanted = vec![3, b'a', b'b', b'c', 2];
    for signature in document.signatures() {
        let demarche_protocol::identity::keys::Signature::Ed25519(raw) = signature.signature;
        wanted.extend_from_slice(signature.key.as_bytes());
        wanted.push(0);
        wanted.extend_from_slice(&raw);
    }
    assert_eq!(bytes, wanted);
    assert_eq!(decode(&bytes), Ok(document));
}

#[test]
fn k11_longer_forms_of_an_integer_are_refused() {
    let bytes = encode(&document());
    for (mark, width) in MARKS {
        for (at, value) in [(0, 3_u128), (4, 2), (5 + 32, 0), (5 + 97 + 32, 0)] {
            let mut longer = bytes[..at].to_vec();
            longer.push(mark);
            longer.extend_from_slice(&value.to_le_bytes()[..width]);
            longer.extend_from_slice(&bytes[at + 1..]);
            let refused = decode::<SignedDocument>(&longer).unwrap_err();
            let expected = [CodecError::NotCanonical { name: NAME }, CodecError::Malformed { name: NAME }];
            assert!(expected.contains(&refused), "{refused:?} at {at} with {width} bytes");
        }
    }
}

#[test]
fn k11_signatures_out_of_order_or_twice_are_another_encoding() {
    let bytes = encode(&document());
    let (head, [one, two]) = (&bytes[..5], [&bytes[5..102], &bytes[102..]]);
    let swapped = [head, two, one].concat();
    assert_eq!(decode::<SignedDocument>(&swapped), Err(CodecError::Malformed { name: NAME }));
    let twice = [head, one, one].concat();
    assert_eq!(decode::<SignedDocument>(&twice), Err(CodecError::Malformed { name: NAME }));
    // The same set is the same bytes in whatever order it was put together.
    let [a, b] = [document().signatures()[0], document().signatures()[1]];
    let other = SignedDocument::new("abc", vec![b, a, b, a]);
    assert_eq!(encode(&other), bytes);
}

#[test]
fn one_key_counts_once_and_a_wrong_signature_not_at_all() {
    let good = key("one").sign(Namespace::Dispatch, b"abc");
    let other =
        KeySignature { signature: key("two").sign(Namespace::Dispatch, b"abc").signature, key: good.key };
    let document =
        SignedDocument::new("abc", vec![good, other, key("two").sign(Namespace::Dispatch, b"abc")]);
    let mut wanted = vec![key("one").public(), key("two").public()];
    wanted.sort();
    assert_eq!(document.verified_keys(Namespace::Dispatch), wanted);
}

#[test]
fn bytes_left_over_are_refused() {
    let mut bytes = encode(&document());
    bytes.extend_from_slice(&[0, 0]);
    assert_eq!(decode::<SignedDocument>(&bytes), Err(CodecError::Trailing { name: NAME, extra: 2 }));
}

#[test]
fn m7_every_shorter_part_is_refused() {
    let bytes = encode(&document());
    for length in 0..bytes.len() {
        assert_eq!(
            decode::<SignedDocument>(&bytes[..length]),
            Err(CodecError::Malformed { name: NAME }),
            "{length} bytes"
        );
    }
}

#[test]
fn b1_too_many_bytes_are_refused_by_their_number() {
    let bytes = vec![0; SignedDocument::LIMIT + 1];
    let refused = decode::<SignedDocument>(&bytes).unwrap_err();
    assert_eq!(refused, CodecError::TooLong { name: NAME, length: bytes.len(), limit: limits::FRAME });
    assert_eq!(refused.to_string(), "signed document of 65520 bytes is longer than 65519");
}

#[test]
fn b1_announced_lengths_beyond_reason_are_refused_without_allocating() {
    // A text, and a row of signatures, of 4 GiB and of 2^64 - 1; the process would abort if memory were asked for.
    for announced in [u64::from(u32::MAX), u64::MAX, 1 << 40] {
        let mut text = vec![253];
        text.extend_from_slice(&announced.to_le_bytes());
        assert_eq!(decode::<SignedDocument>(&text), Err(CodecError::Malformed { name: NAME }));
        let mut row = vec![3, b'a', b'b', b'c', 253];
        row.extend_from_slice(&announced.to_le_bytes());
        assert_eq!(decode::<SignedDocument>(&row), Err(CodecError::Malformed { name: NAME }));
    }
}

#[test]
fn b1_a_text_beyond_the_limit_of_documents_is_refused() {
    let longest = SignedDocument::unsigned("a".repeat(limits::DOCUMENT_TEXT));
    assert_eq!(decode(&encode(&longest)), Ok(longest));
    let longer = SignedDocument::unsigned("a".repeat(limits::DOCUMENT_TEXT + 1));
    assert_eq!(decode::<SignedDocument>(&encode(&longer)), Err(CodecError::Malformed { name: NAME }));
}

#[test]
fn the_largest_charters_document_still_travels() {
    let keys: Vec<SecretKey> = (0..64_u8).map(|n| SecretKey::from_seed(&[n; 32])).collect();
    let text = "a".repeat(limits::DOCUMENT_TEXT);
    let document = keys
        .iter()
        .fold(SignedDocument::unsigned(text), |document, key| document.signed_by(Namespace::Charter, key));
    assert!(encode(&document).len() <= SignedDocument::LIMIT);
    assert_eq!(decode(&encode(&document)), Ok(document));
}

#[test]
fn b2_a_text_that_is_not_utf8_is_no_document() {
    assert_eq!(decode::<SignedDocument>(&[1, 0xff, 0]), Err(CodecError::Malformed { name: NAME }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Bytes near a true encoding: random ones would never be one. `fuzz/targets.rs` does the same to every type that travels.
    #[test]
    fn k11_m10_changed_bytes_are_refused_or_another_value(
        which in any::<proptest::sample::Index>(), at in any::<proptest::sample::Index>(), new in any::<u8>(), cut in 0..3_usize,
    ) {
        let vectors = all();
        let document = vectors[which.index(vectors.len())].document();
        let bytes = encode(&document);
        // Most of a document is text; its ends are where the structure is.
        let at = match at.index(300) {
            early @ 0..150 => early,
            late => bytes.len() - (late - 149),
        };
        let mut changed = bytes.clone();
        changed.splice(at..(at + cut).min(bytes.len()), [new]);
        if let Ok(other) = decode::<SignedDocument>(&changed) {
            prop_assert_eq!(encode(&other), changed.clone());
            prop_assert_eq!(other == document, changed == bytes);
        }
    }
}
