//! Node names and libp2p peer ids: two spellings of one Ed25519 key.

use libp2p::{
    PeerId,
    identity::{PublicKey, ed25519},
};

use crate::transport::NodeId;

/// The peer id of `node`, or `None` if its bytes are no point of the curve.
pub(super) fn peer_id(node: NodeId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(node.as_bytes()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The node behind `peer`, or `None` if its key is not Ed25519.
pub(super) fn node_id(peer: &PeerId) -> Option<NodeId> {
    // An Ed25519 key is short enough that the peer id carries it whole instead of its hash.
    let key = PublicKey::try_decode_protobuf(peer.as_ref().digest()).ok()?;
    Some(NodeId::from_bytes(key.try_into_ed25519().ok()?.to_bytes()))
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    #[test]
    fn a_node_and_its_peer_id_name_each_other() {
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let node = node_id(&peer).expect("an Ed25519 key");
        assert_eq!(peer_id(node), Some(peer));
    }

    #[test]
    fn a_hashed_peer_id_names_no_node() {
        assert_eq!(node_id(&PeerId::random()), None);
    }
}
