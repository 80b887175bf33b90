//! The name by which transports know a node: its raw Ed25519 public key.
//!
//! The same 32 bytes are the key in the node's card and the key behind its libp2p identity, so no table
//! translates between the two worlds.

use std::fmt;

/// A node, named by its Ed25519 public key.
///
/// Holding one proves nothing: only a completed TLS, QUIC or Noise handshake shows that somebody
/// possesses the private half, and only a card says whose it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// Names the node whose raw Ed25519 public key is `bytes`.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw Ed25519 public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for NodeId {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<NodeId> for [u8; 32] {
    fn from(node: NodeId) -> Self {
        node.0
    }
}

/// Lower-case hexadecimal, all 64 digits.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The first eight hexadecimal digits: enough for a log line.
impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeId(")?;
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}
