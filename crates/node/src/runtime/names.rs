//! Whose node is whose: for the log, and for what is kept of each. A node whose card was revoked or replaced is a stranger,
//! but not a nameless one.

use std::collections::BTreeMap;

use demarche_protocol::{
    document::DocumentType,
    hash::ChannelId,
    identity::{card::Card, member::MemberId, roster::Roster},
};

use crate::transport::NodeId;

/// Former nodes of which the names are kept: several for each member of several charters.
const FORMER: usize = 256;

#[derive(Default)]
pub(super) struct Names {
    current: BTreeMap<NodeId, MemberId>,
    former: BTreeMap<NodeId, MemberId>,
}

impl Names {
    /// Takes over what the rosters say now.
    pub(super) fn follow(&mut self, rosters: &[(ChannelId, Roster)]) {
        let cards = rosters.iter().flat_map(|(_, roster)| roster.cards());
        let current = cards.map(|card| (node_of(card), card.member.clone())).collect();
        let before = std::mem::replace(&mut self.current, current);
        // Cards that speak no more: those of a moment ago, and those that the rosters keep with their revocations.
        let documents = rosters.iter().flat_map(|(_, roster)| roster.documents());
        let cards = documents.filter(|document| document.document_type() == Some(DocumentType::Card));
        let shown = cards.filter_map(|document| Card::parse(document.text()).ok());
        let former = before.into_iter().chain(shown.map(|card| (node_of(&card), card.member.clone())));
        for (node, member) in former {
            if self.former.len() < FORMER {
                self.former.insert(node, member);
            }
        }
        self.former.retain(|node, _| !self.current.contains_key(node));
    }

    /// Whether a node's card speaks now.
    pub(super) fn knows(&self, node: &NodeId) -> bool {
        self.current.contains_key(node)
    }

    /// A node as whose it is or was, or as its number.
    pub(super) fn of(&self, node: &NodeId) -> String {
        match (self.current.get(node), self.former.get(node)) {
            (Some(member), _) => member.to_string(),
            (None, Some(member)) => format!("{member} (by a card that speaks no more)"),
            (None, None) => format!("{node:?}"),
        }
    }
}

/// The node that a card names.
pub(crate) fn node_of(card: &Card) -> NodeId {
    NodeId::from_bytes(*card.node.as_bytes())
}

#[cfg(test)]
mod tests {
    use demarche_testkit::fixtures::{self, NodeKeys, Scene};

    use super::*;

    /// M12: who comes with a replaced or a revoked card is turned away by name, also by a node that has started since.
    #[test]
    fn m12_former_nodes_keep_their_names() {
        let scene = Scene::new(2);
        let node = |serial| NodeId::from_bytes(*NodeKeys::of("tehran", serial).node.public().as_bytes());
        let mut roster = Roster::new(&scene.charter);
        let mut names = Names::default();
        let follow = |names: &mut Names, roster: &Roster| names.follow(&[(scene.channel(), roster.clone())]);
        follow(&mut names, &roster);
        assert_eq!(names.of(&node(1)), format!("{:?}", node(1)));
        for serial in [1, 2] {
            roster.offer(&fixtures::card("tehran", serial)).unwrap();
            follow(&mut names, &roster);
            assert!(names.knows(&node(serial)));
            assert_eq!(names.of(&node(serial)), "tehran");
        }
        let former = "tehran (by a card that speaks no more)";
        assert_eq!(names.of(&node(1)), former);
        let tehran = &scene.parties[1];
        roster.offer(&fixtures::revoke_card(tehran, fixtures::card("tehran", 2).id(), 2)).unwrap();
        let mut fresh = Names::default();
        for names in [&mut names, &mut fresh] {
            follow(names, &roster);
            assert!(!names.knows(&node(2)));
            assert_eq!(names.of(&node(2)), former);
        }
    }
}
