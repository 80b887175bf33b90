//! What each side shows of itself inside the handshake: its card, and the charter it goes by.

use bincode::{Decode, Encode};

use crate::{codec::Wire, document::SignedDocument, hash::DocumentId, limits};

/// The payload of the second and third handshake message. Says nothing until admitted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Introduction {
    /// The card of the node that speaks.
    pub card: SignedDocument,
    /// The charter in force at its side.
    pub charter: DocumentId,
}

impl Wire for Introduction {
    /// The longest text, a signature (key, kind, 64 bytes) by every root and the node, the charter, and lengths.
    const LIMIT: usize = limits::DOCUMENT_TEXT + limits::ENTRY_SIGNATURES * (32 + 1 + 64) + 32 + 16;
    const NAME: &'static str = "introduction";
}
