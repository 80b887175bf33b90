//! One peer: what it is owed, and the path on which it goes, if there is one.

use super::{
    Channel, Frame, Hello, Output,
    debt::{Debt, Turn},
    path::Path,
};
use crate::{
    hash::EntryHash,
    identity::{card::CardSerial, member::MemberId},
    limits,
    time::Now,
    transcript::{ReceiptId, SignedReceipt},
};

/// One peer of a channel.
#[derive(Default)]
pub(super) struct Peer {
    debt: Debt,
    /// While it can be heard.
    pub(super) path: Option<Path>,
}

impl Peer {
    pub(super) const fn is_up(&self) -> bool {
        self.path.is_some()
    }

    pub(super) fn owed(&self) -> usize {
        self.debt.len()
    }

    /// Notes an entry of ours that the peer has to receipt under `since` or a later card.
    pub(super) fn owe(&mut self, turn: Turn, since: CardSerial) {
        self.debt.owe(turn, since);
        if let Some(path) = &mut self.path {
            path.owe(turn);
        }
    }

    /// The peer's receipt for an entry is durable here.
    pub(super) fn receipted(&mut self, entry: &EntryHash, by_card: CardSerial) {
        if let (Some(turn), Some(path)) = (self.debt.settle(entry, by_card), &mut self.path) {
            path.settled(turn);
        }
    }

    /// States *opened* until the peer confirms.
    pub(super) fn state(&mut self, receipt: SignedReceipt) {
        if let Some(path) = &mut self.path {
            path.state(receipt.id());
        }
        self.debt.state(receipt);
    }

    pub(super) fn confirmed(&mut self, id: ReceiptId) {
        self.debt.confirmed(id);
        if let Some(path) = &mut self.path {
            path.confirmed(id);
        }
    }

    pub(super) fn awaits_confirmation(&self, id: ReceiptId) -> bool {
        self.debt.statement(id).is_some()
    }

    pub(super) fn offer_again(&mut self, now: Now) {
        if let Some(path) = &mut self.path {
            path.offer_again(now, &self.debt);
        }
    }

    pub(super) fn wakes_at(&self) -> Option<std::time::Duration> {
        self.path.as_ref()?.wakes_at(&self.debt)
    }
}

impl Channel {
    /// What this side holds: the first frame in a session, also in one that does not carry the others yet.
    pub fn hello(&self) -> Hello {
        Hello { heads: self.hello_heads(), roster: self.roster.digest() }
    }

    pub(super) fn path_up(&mut self, peer: &MemberId) {
        let hello = self.hello();
        if let Some(state) = self.peers.get_mut(peer) {
            state.path = Some(Path::new(hello, &state.debt));
        }
        // Question or answer may have been lost with the path that this one replaces.
        self.line_tests_lost(peer);
    }

    pub(super) fn path_down(&mut self, now: Now, peer: &MemberId) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.path = None;
        }
        self.line_tests_lost(peer);
        // What it would have offered by itself is now wanted from those who hold it.
        let others: Vec<MemberId> = self.peers.keys().filter(|other| *other != peer).cloned().collect();
        for other in others {
            self.ask_next(now, &other);
        }
    }

    /// Tells those peers anew what we hold to whom it may be news.
    pub(super) fn greet_again(&mut self, now: Now) {
        let due: Vec<MemberId> = self
            .peers
            .iter_mut()
            .filter_map(|(peer, state)| state.path.as_mut()?.greets(now).then(|| peer.clone()))
            .collect();
        for peer in due {
            let hello = self.hello();
            self.answer(&peer, Frame::Hello(hello));
        }
    }

    /// The newest volumes first, when there are more than a Hello may carry.
    fn hello_heads(&self) -> Vec<crate::transcript::Head> {
        let mut heads = self.transcript.heads();
        heads.sort_by(|a, b| b.card.cmp(&a.card).then_with(|| a.party.cmp(&b.party)).then(b.seq.cmp(&a.seq)));
        heads.truncate(limits::HELLO_HEADS);
        heads
    }

    /// The path to a peer, while it can be heard.
    pub(super) fn path_to(&mut self, peer: &MemberId) -> Option<&mut Path> {
        self.peers.get_mut(peer)?.path.as_mut()
    }

    /// Queues a frame that goes before entries. Without a path it is not needed: a new one begins with a Hello.
    pub(super) fn answer(&mut self, peer: &MemberId, frame: Frame) {
        if let Some(path) = self.path_to(peer) {
            path.answer(frame);
        }
    }

    /// Sends what there is room for.
    pub(super) fn pump(&mut self, now: Now) {
        let transcript = &self.transcript;
        // Frame kind, lengths and signature beside the entry's bytes and text.
        let size_of = |hash: &EntryHash| transcript.get(hash).map_or(0, |node| node.size + 80);
        for (id, peer) in &mut self.peers {
            let Some(path) = &mut peer.path else { continue };
            while let Some(frame) = path.next(now, &peer.debt, size_of) {
                self.outputs.push_back(Output::Transmit { peer: id.clone(), frame });
            }
        }
    }
}
