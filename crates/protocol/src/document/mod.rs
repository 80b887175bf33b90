//! The one door for texts: what a person answers for is a short TOML text, signed over its exact bytes.
//!
//! A document's name is the SHA-256 of its text (docs/protocol.md §2). [`reader`] takes a text apart strictly, with line and
//! column for whatever it refuses; [`writer`] renders in one fixed form. Whether the signatures are
//! the ones needed is for `identity`, `charter` and `transcript` to judge.

pub mod reader;
mod shape;
pub mod writer;

use std::{fmt, sync::Arc};

use bincode::{Decode, Encode, de::Decoder, error::DecodeError};

pub use reader::{DocumentError, Fields, Position, Problem, utf8};
pub use writer::Writer;

use crate::{
    codec::Wire,
    hash::DocumentId,
    identity::keys::{KeySignature, PublicKey, SecretKey},
    labels::Namespace,
    limits,
};

/// The kinds of document, named on their first line: `demarche = "card/1"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table of docs/protocol.md says what each is")]
pub enum DocumentType {
    Charter,
    Roots,
    Card,
    Officer,
    Suspension,
    Revocation,
    Dispatch,
}

impl DocumentType {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Charter,
        Self::Roots,
        Self::Card,
        Self::Officer,
        Self::Suspension,
        Self::Revocation,
        Self::Dispatch,
    ];

    /// The word before `/1`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Charter => "charter",
            Self::Roots => "roots",
            Self::Card => "card",
            Self::Officer => "officer",
            Self::Suspension => "suspension",
            Self::Revocation => "revocation",
            Self::Dispatch => "dispatch",
        }
    }

    /// The namespace of the signatures on it.
    pub const fn namespace(self) -> Namespace {
        match self {
            Self::Charter => Namespace::Charter,
            Self::Roots => Namespace::Roots,
            Self::Card => Namespace::Card,
            Self::Officer => Namespace::Officer,
            Self::Suspension => Namespace::Suspension,
            Self::Revocation => Namespace::Revocation,
            Self::Dispatch => Namespace::Dispatch,
        }
    }

    /// The type that a text's first line names, read without parsing the rest.
    pub fn of(text: &str) -> Option<Self> {
        named_type(text).and_then(Self::named)
    }

    /// The type of `TYPE/1`.
    fn named(type_and_version: &str) -> Option<Self> {
        let name = type_and_version.strip_suffix("/1")?;
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What stands between the quotes of the first line, `demarche = "TYPE/VERSION"`: exactly this line, so that no two
/// readers can take one text for documents of two types.
fn named_type(text: &str) -> Option<&str> {
    let line = text.split('\n').next()?;
    let named = line.strip_prefix("demarche = \"")?.strip_suffix('"')?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-/".contains(&byte);
    (named.len() <= limits::LINE && named.bytes().all(plain)).then_some(named)
}

impl fmt::Display for DocumentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A document's text with the signatures that came with it. Says nothing until verified.
///
/// Cheap to clone: the text is shared.
#[derive(Clone, PartialEq, Eq, Encode)]
pub struct SignedDocument {
    text: Arc<str>,
    signatures: Vec<KeySignature>,
}

impl Wire for SignedDocument {
    const LIMIT: usize = limits::FRAME;
    const NAME: &'static str = "signed document";
}

impl<C> Decode<C> for SignedDocument {
    /// Signatures out of order, twice or too many are no encoding of a document: one set of signatures
    /// is one row of bytes (threat K11), and no key counts twice.
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let text = String::decode(decoder)?;
        if text.len() > limits::DOCUMENT_TEXT {
            return Err(DecodeError::Other("a document's text is too long"));
        }
        let signatures = Vec::<KeySignature>::decode(decoder)?;
        if signatures.len() > limits::SIGNATURES || !signatures.is_sorted_by(|a, b| a < b) {
            return Err(DecodeError::Other("a document's signatures are not in order"));
        }
        Ok(Self { text: text.into(), signatures })
    }
}
bincode::impl_borrow_decode!(SignedDocument);

impl fmt::Debug for SignedDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedDocument({}, {} signatures)", self.id().short(), self.signatures.len())
    }
}

impl SignedDocument {
    /// A text and its signatures. Signatures are put in order and repeated ones dropped, so that the
    /// same set of signatures is always the same bytes.
    pub fn new(text: impl Into<Arc<str>>, mut signatures: Vec<KeySignature>) -> Self {
        signatures.sort();
        signatures.dedup();
        Self { text: text.into(), signatures }
    }

    /// A text without signatures yet.
    pub fn unsigned(text: impl Into<Arc<str>>) -> Self {
        Self::new(text, Vec::new())
    }

    /// The text, exactly.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text, shared.
    pub fn shared_text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// The signatures, unverified, in order.
    pub fn signatures(&self) -> &[KeySignature] {
        &self.signatures
    }

    /// Its name.
    pub fn id(&self) -> DocumentId {
        DocumentId::of(self.text.as_bytes())
    }

    /// The type that its first line names.
    pub fn document_type(&self) -> Option<DocumentType> {
        DocumentType::of(&self.text)
    }

    /// The same document with one signature more.
    #[must_use]
    pub fn with_signature(self, signature: KeySignature) -> Self {
        let mut signatures = self.signatures;
        signatures.push(signature);
        Self::new(self.text, signatures)
    }

    /// The same document signed with `key` for `namespace`.
    #[must_use]
    pub fn signed_by(self, namespace: Namespace, key: &SecretKey) -> Self {
        let signature = key.sign(namespace, self.text.as_bytes());
        self.with_signature(signature)
    }

    /// The keys whose signatures for `namespace` are good, each once.
    pub fn verified_keys(&self, namespace: Namespace) -> Vec<PublicKey> {
        let mut keys: Vec<PublicKey> = self
            .signatures
            .iter()
            .filter(|signature| signature.verify(namespace, self.text.as_bytes()).is_ok())
            .map(|signature| signature.key)
            .collect();
        // The signatures are in the order of their keys.
        keys.dedup();
        keys
    }
}
