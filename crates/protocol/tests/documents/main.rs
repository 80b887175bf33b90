//! Codec, documents, identity, charter and dispatch, held to docs/protocol.md §1 to §5.

mod codec;
mod credentials;
mod keys;
mod refusals;
mod refused_documents;
mod renderings;
mod roster;
mod ssh;
mod support;
mod vectors;
