//! One peer: what it is owed, and the path on which it goes, if there is one.

use std::time::Duration;

use super::{
    Channel, Frame, Hello, Output,
    debt::{Debt, Turn},
    pace::Pace,
    path::Path,
};
use crate::{
    hash::EntryHash,
    identity::{card::CardSerial, member::MemberId},
    limits,
    time::Now,
    transcript::{ReceiptId, SignedReceipt},
};

/// A path that has just come up is given its time no more often than this: one that comes and goes must not put off for ever that
/// what is owed goes by custody.
const GRACE_EVERY: Duration = Duration::from_secs(30);

/// One peer of a channel.
#[derive(Default)]
pub(super) struct Peer {
    debt: Debt,
    /// While it can be heard.
    pub(super) path: Option<Path>,
    pace: Pace,
    /// Since when it owes us a confirmation: the last one, or the first thing that it was to confirm.
    quiet_since: Option<Duration>,
    /// When a new path was last given its time.
    graced_at: Option<Duration>,
}

impl Peer {
    pub(super) const fn is_up(&self) -> bool {
        self.path.is_some()
    }

    pub(super) fn owed(&self) -> usize {
        self.debt.len()
    }

    pub(super) const fn debt(&self) -> &Debt {
        &self.debt
    }

    /// Notes an entry of ours that the peer has to receipt under `since` or a later card.
    pub(super) fn owe(&mut self, now: Now, turn: Turn, since: CardSerial) {
        self.quiet_since.get_or_insert(now.monotonic);
        self.debt.owe(turn, since);
        if let Some(path) = &mut self.path {
            path.owe(turn);
        }
    }

    /// The peer's receipt for an entry is durable here. True when it was owed until now.
    pub(super) fn receipted(&mut self, now: Now, entry: &EntryHash, by_card: CardSerial) -> bool {
        let Some(turn) = self.debt.settle(entry, by_card) else { return false };
        if let Some((after, bytes)) = self.path.as_mut().and_then(|path| path.settled(now, turn)) {
            self.pace.measured(after, bytes);
        }
        self.heard(now);
        true
    }

    /// The peer has confirmed something.
    fn heard(&mut self, now: Now) {
        self.quiet_since = self.debt.is_owed().then_some(now.monotonic);
    }

    /// A new path, with all that is owed before it.
    pub(super) fn path_up(&mut self, now: Now, hello: Hello) {
        self.path = Some(Path::new(hello, &self.debt));
        if self.graced_at.is_none_or(|at| now.monotonic >= at + GRACE_EVERY) {
            self.graced_at = Some(now.monotonic);
            self.heard(now);
        }
    }

    /// When what is owed becomes late: the peer has confirmed nothing for as long as that takes at most.
    pub(super) fn late_at(&self) -> Option<Duration> {
        let bytes = self.path.as_ref().map_or(0, Path::bytes_in_flight);
        let pace = if self.is_up() { self.pace } else { Pace::default() };
        self.quiet_since.map(|since| since + pace.patience(bytes))
    }

    pub(super) fn is_late(&self, now: Now) -> bool {
        self.late_at().is_some_and(|at| now.monotonic >= at)
    }

    /// A receipt for what came in an envelope.
    pub(super) fn say(&mut self, receipt: SignedReceipt) {
        self.debt.say(receipt);
    }

    /// A mediator keeps this receipt for the peer.
    pub(super) fn said(&mut self, id: ReceiptId) {
        self.debt.said(id);
    }

    /// States *opened* until the peer confirms.
    pub(super) fn state(&mut self, now: Now, receipt: SignedReceipt) {
        self.quiet_since.get_or_insert(now.monotonic);
        if let Some(path) = &mut self.path {
            path.state(receipt.id());
        }
        self.debt.state(receipt);
    }

    pub(super) fn confirmed(&mut self, now: Now, id: ReceiptId) {
        if !self.awaits_confirmation(id) {
            return;
        }
        self.debt.confirmed(id);
        self.heard(now);
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

    pub(super) fn wakes_at(&self) -> Option<Duration> {
        self.path.as_ref()?.wakes_at(&self.debt)
    }
}

impl Channel {
    /// What this side holds: the first frame in a session, also in one that does not carry the others yet.
    pub fn hello(&self) -> Hello {
        Hello { heads: self.hello_heads(), roster: self.roster.digest() }
    }

    pub(super) fn path_up(&mut self, now: Now, peer: &MemberId) {
        let hello = self.hello();
        if let Some(state) = self.peers.get_mut(peer) {
            state.path_up(now, hello);
        }
        self.show_prekey(peer);
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

    /// The author of an entry holds this statement of ours.
    pub(super) fn receipt_confirmed(&mut self, now: Now, receipt: ReceiptId) {
        for (peer, state) in &mut self.peers {
            state.confirmed(now, receipt);
            self.custody.confirmed(peer, receipt);
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
