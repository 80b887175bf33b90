//! Who may speak, and how that is proven: keys, roots, cards, officers, suspensions, revocations, and
//! the roster that says which card is current.

pub mod card;
pub mod keys;
pub mod member;
pub mod officer;
pub mod openssh;
pub mod prekey;
pub mod revocation;
pub mod roots;
pub mod roster;
pub mod signed_prekey;
pub mod suspension;

use std::ops::Deref;

use crate::{document::SignedDocument, hash::DocumentId};

/// A document whose signatures were found to be the ones it needs. Only the functions that check can make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    document: SignedDocument,
}

impl<T> Verified<T> {
    pub(crate) const fn new(value: T, document: SignedDocument) -> Self {
        Self { value, document }
    }

    /// The document's name.
    pub fn id(&self) -> DocumentId {
        self.document.id()
    }

    /// The text and signatures it was read from.
    pub const fn document(&self) -> &SignedDocument {
        &self.document
    }

    /// What it says.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
