//! What comes from a peer: every frame is checked, made durable where it counts, and only then answered.

use super::{
    Channel, Event, Frame, Hello, RequestId,
    commit::{Prepared, Then},
    debt::Turn,
};
use crate::{
    document::{DocumentType, SignedDocument},
    identity::{
        Verified,
        card::{Card, CardSerial},
        member::MemberId,
    },
    limits,
    time::Now,
    transcript::{
        Authentic, EntryError, Facts, Item, Node, Receipt, ReceiptError, ReceiptKind, Seq, SignedReceipt,
    },
};

/// Why an entry from a peer is not taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("an entry that is not authentic: {0}")]
    Entry(#[from] EntryError),
    #[error("an entry of {0}, who is no party of this channel")]
    Stranger(MemberId),
    #[error("an entry under card {1} of {0}, which the roots have not shown to us")]
    UnknownCard(MemberId, CardSerial),
}

/// How a frame came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carried {
    Session,
    Envelope,
}

impl Channel {
    pub(super) fn receive(&mut self, now: Now, peer: &MemberId, frame: Frame) {
        if !self.peers.contains_key(peer) {
            return self.peer_refused(peer, "not a party of this channel");
        }
        match frame {
            Frame::Hello(hello) => self.greeted(now, peer, &hello),
            Frame::Entry(item) => self.entry_received(now, peer, item, Carried::Session),
            Frame::Receipt(signed) => self.receipt_received(peer, &signed),
            Frame::Confirm(confirm) => {
                let waits =
                    self.peers.get(peer).is_some_and(|state| state.awaits_confirmation(confirm.receipt));
                if waits && !self.commits.is_full() {
                    self.commit(vec![Prepared::Confirmed(confirm.receipt)], Vec::new());
                }
            }
            Frame::Card(document) => self.roster_received(now, Some(peer), &document),
            Frame::Want(want) => self.wanted(peer, &want),
            Frame::LineTest(test) => self.line_test_received(now, peer, test),
            Frame::Prekey(prekey) => self.prekey_received(&prekey),
            Frame::PrekeyHeld(held) => self.prekey_held(peer, held),
            // The session's driver has ended it; the path goes down.
            Frame::Close(_) => {}
        }
    }

    /// A frame from an envelope. Nobody vouches for who sealed it, so each is taken as from whoever signed it.
    pub(super) fn receive_sealed(&mut self, now: Now, frame: Frame) {
        let channel = self.transcript.channel();
        match frame {
            Frame::Entry(item) => match item.entry.claims() {
                Ok(entry) => self.entry_received(now, &entry.party, item, Carried::Envelope),
                Err(why) => self.sealed_refused(&format!("an entry that is not authentic: {why}")),
            },
            Frame::Receipt(signed) => match signed.claims(channel) {
                Ok(receipt) => self.receipt_received(&receipt.by, &signed),
                Err(why) => self.sealed_refused(&format!("a receipt that does not hold: {why}")),
            },
            Frame::Card(document) => self.roster_received(now, None, &document),
            Frame::Prekey(prekey) => self.prekey_received(&prekey),
            // Only a session vouches for these; no envelope with one of them opens.
            Frame::Hello(_)
            | Frame::Confirm(_)
            | Frame::Want(_)
            | Frame::LineTest(_)
            | Frame::Close(_)
            | Frame::PrekeyHeld(_) => {}
        }
    }

    /// Something is refused that nobody has signed.
    pub(super) fn sealed_refused(&mut self, why: &str) {
        let why = format!("in an envelope: {why}");
        self.peer_refused(&self.config.me.clone(), why);
    }

    fn greeted(&mut self, now: Now, peer: &MemberId, hello: &Hello) {
        if hello.heads.len() > limits::HELLO_HEADS {
            return self.peer_refused(peer, format!("a hello with {} heads", hello.heads.len()));
        }
        if hello.roster != self.roster.digest() {
            for document in self.roster.documents() {
                self.answer(peer, Frame::Card(document));
            }
        }
        for head in &hello.heads {
            if let Some(missing) = self.missing_before(head) {
                self.consider(now, peer, &missing);
            }
        }
    }

    fn entry_received(&mut self, now: Now, peer: &MemberId, item: Item, carried: Carried) {
        let authentic = match self.authenticate(item) {
            Ok(authentic) => authentic,
            Err(why) => return self.peer_refused(peer, why),
        };
        let head = authentic.head();
        self.want_progressed(now, peer, &head);
        if self.transcript.holds(&head.hash) {
            return self.receipt_again(now, peer, &authentic, carried);
        }
        if self.commits.has_entry(&head.hash) {
            return;
        }
        if self.commits.is_full() {
            // Not receipted, hence offered again later.
            return;
        }
        if !self.has_room_for(&authentic) {
            let why = format!("entry {head}: too much of this log is held before which something is missing");
            return self.peer_refused(peer, why);
        }
        let mut records = vec![Prepared::Entry(Box::new(authentic.clone()))];
        let mut then = Vec::new();
        if head.party == self.config.me {
            if head.card == self.config.card.serial {
                // Our own signature on what we do not hold: our disk was rolled back, or our key is elsewhere.
                let why =
                    format!("{peer} holds entry {head}, signed by this node, which this node does not hold");
                if self.writer.halt_set_back(why) {
                    self.emit(Event::OwnSignatureUnknown { entry: head });
                }
                return;
            }
        } else {
            let (receipt, signed) = self.own_receipt_for(now, &authentic);
            records.push(Prepared::Receipt(Box::new(receipt), signed.clone()));
            let sealed = carried == Carried::Envelope;
            then.push(Then::SendReceipt { to: head.party.clone(), receipt: signed, sealed });
        }
        then.push(Then::Arrived { entry: head.clone() });
        // Whoever merely passes an entry on does not thereby claim to hold what its author had seen.
        let seen = if head.party == *peer { authentic.entry().seen.clone() } else { Vec::new() };
        for seen in seen {
            self.consider(now, peer, &seen);
        }
        self.consider_before(now, peer, &authentic);
        self.commit(records, then);
    }

    /// Whether a document that says who may sign may be held although what stands before it is not here. It is offered again,
    /// and taken when the gap fills.
    fn has_room_for(&self, authentic: &Authentic) -> bool {
        let Some(log) = self.transcript.log(&authentic.entry().party) else { return false };
        let follows = || log.get(&authentic.entry().prev).is_some_and(Node::is_chained);
        log.pending_texts() < limits::PENDING_AUTHORITY
            || !authentic.facts().is_authority()
            || authentic.entry().seq == Seq::FIRST
            || follows()
    }

    /// The entry is held already: its author gets our receipt once more, the same bytes.
    fn receipt_again(&mut self, now: Now, peer: &MemberId, authentic: &Authentic, carried: Carried) {
        let sealed = carried == Carried::Envelope;
        let head = authentic.head();
        if head.party != *peer {
            return;
        }
        // It may have lost what it was told before: that its entry was opened, too.
        if let Some(author) = self.peers.get_mut(peer) {
            for (receipt, signed) in self.evidence.of(&head.hash) {
                if receipt.by == self.config.me && matches!(receipt.kind, ReceiptKind::Opened(_)) {
                    author.state(now, signed.clone());
                }
            }
        }
        let known = self.evidence.by(&head.hash, &self.config.me, ReceiptKind::Held);
        match known.filter(|(receipt, _)| receipt.by_card == self.config.card.serial) {
            Some((_, signed)) => {
                let signed = signed.clone();
                if let Some(author) = self.peers.get_mut(peer).filter(|_| sealed) {
                    author.say(signed.clone());
                }
                self.answer(peer, Frame::Receipt(signed));
            }
            // Stated under an earlier card: whoever offers it again wants to hear it under this one.
            None if !self.commits.is_full() && !self.commits.is_stating(&head.hash, ReceiptKind::Held) => {
                let (receipt, signed) = self.own_receipt_for(now, authentic);
                let record = Prepared::Receipt(Box::new(receipt), signed.clone());
                self.commit(
                    vec![record],
                    vec![Then::SendReceipt { to: peer.clone(), receipt: signed, sealed }],
                );
            }
            // Or stated at this moment: signed once, it goes when it is durable.
            None => {}
        }
    }

    fn authenticate(&mut self, item: Item) -> Result<Authentic, NotTaken> {
        let channel = self.transcript.channel();
        let claimed = item.claims(channel)?;
        let (party, card) = (claimed.entry().party.clone(), claimed.entry().card);
        if self.transcript.log(&party).is_none() {
            return Err(NotTaken::Stranger(party));
        }
        // A volume's first entry carries its card: the roots' signatures on it are what makes its node known.
        let document = claimed.document();
        if document.document_type() == Some(DocumentType::Card) {
            self.learn_card(&party, &document);
        }
        match self.cards.get(&(party.clone(), card)) {
            Some(cards) => Ok(claimed.authenticate(cards.iter().map(|card| &card.node))?),
            None => Err(NotTaken::UnknownCard(party, card)),
        }
    }

    /// Keeps a card that the member's roots vouch for: those in force, or any that were.
    pub(super) fn learn_card(&mut self, member: &MemberId, document: &SignedDocument) {
        if let Some(card) = self.roster.vouches(member, document) {
            self.keep_card(card);
        }
    }

    pub(super) fn learn_cards(&mut self) {
        let cards: Vec<Verified<Card>> = self.roster.cards().cloned().collect();
        for card in cards {
            self.keep_card(card);
        }
    }

    pub(super) fn keep_card(&mut self, card: Verified<Card>) {
        let known = self.cards.entry((card.member.clone(), card.serial)).or_default();
        // Two prove that the serial is contested; more prove nothing more.
        if known.len() < 2 && !known.iter().any(|one| one.id() == card.id()) {
            known.push(card);
        }
    }

    fn receipt_received(&mut self, peer: &MemberId, signed: &SignedReceipt) {
        let receipt = match self.check_receipt(peer, signed) {
            Ok(receipt) => receipt,
            Err(why) => return self.peer_refused(peer, why),
        };
        let id = signed.id();
        if self.evidence.holds(&receipt.of.hash, id) {
            if matches!(receipt.kind, ReceiptKind::Opened(_)) {
                self.answer(peer, Frame::Confirm(super::Confirm { receipt: id }));
            }
        } else if self.commits.has_receipt(&id) {
            // Told when it is durable.
        } else if let Some(why) = self.evidence.refuses(&receipt, self.commits.statements()) {
            self.peer_refused(peer, format!("a receipt for {}: {why}", receipt.of));
        } else if !self.commits.is_full() {
            let then = vec![Then::Receipted { receipt: receipt.clone(), id }];
            self.commit(vec![Prepared::Receipt(Box::new(receipt), signed.clone())], then);
        }
    }

    fn check_receipt(&self, peer: &MemberId, signed: &SignedReceipt) -> Result<Receipt, String> {
        let channel = self.transcript.channel();
        let claimed = signed
            .claims(channel)
            .map_err(|why: ReceiptError| format!("a receipt that does not hold: {why}"))?;
        if claimed.by != *peer {
            return Err(format!("a receipt by {}", claimed.by));
        }
        let known = self.transcript.get(&claimed.of.hash).is_some_and(|node| node.head == claimed.of);
        if claimed.of.party != self.config.me || !known {
            return Err(format!("a receipt for {}, which is no entry of ours", claimed.of));
        }
        let cards = self.cards.get(&(claimed.by.clone(), claimed.by_card)).map_or(&[][..], Vec::as_slice);
        cards
            .iter()
            .find_map(|card| signed.verify(channel, &card.node).ok())
            .ok_or_else(|| format!("a receipt for {} that its card's node did not sign", claimed.of))
    }

    fn roster_received(&mut self, now: Now, peer: Option<&MemberId>, document: &SignedDocument) {
        match self.roster_ahead(document).offer(document) {
            Ok(false) => {}
            Ok(true) if self.commits.is_full() => {
                // It will offer it again when it hears that we lack it.
                if let Some(path) = peer.and_then(|peer| self.path_to(peer)) {
                    path.greet_soon(now);
                }
            }
            Ok(true) => {
                let then = vec![Then::Gossip { document: document.clone(), not_to: peer.cloned() }];
                self.commit(vec![Prepared::Roster(document.clone())], then);
            }
            Err(why) => {
                let why = format!("a roster document that is refused: {why}");
                match peer {
                    Some(peer) => self.peer_refused(peer, why),
                    None => self.sealed_refused(&why),
                }
            }
        }
    }

    pub(super) fn roster_requested(&mut self, request: RequestId, document: SignedDocument) {
        match self.roster_ahead(&document).offer(&document) {
            Ok(false) => self.emit(Event::RosterTaken { request }),
            Ok(true) if self.commits.is_full() => self.refuse(request, super::Refusal::Busy),
            Ok(true) => {
                let gossip = Then::Gossip { document: document.clone(), not_to: None };
                self.commit(vec![Prepared::Roster(document)], vec![gossip, Then::RosterTaken { request }]);
            }
            Err(why) => self.refuse(request, super::Refusal::Credential(why.to_string())),
        }
    }

    /// Takes a durable entry into the logs, and settles who owes what because of it.
    pub(super) fn apply_entry(&mut self, now: Now, entry: &Authentic) -> Vec<Event> {
        let head = entry.head();
        let change = self.transcript.insert(entry);
        if !change.new {
            return Vec::new();
        }
        let Some(node) = self.transcript.get(&head.hash) else { return Vec::new() };
        let turn = Turn::of(node);
        if let Facts::Authority(DocumentType::Card, Ok(card)) = entry.facts() {
            self.learn_card(&head.party, card);
        }
        if head.party == self.config.me {
            for peer in self.peers.values_mut() {
                peer.owe(now, turn, CardSerial(0));
            }
            self.heed_newer_volume();
        } else {
            // The card itself, and once: a party may enter texts of this type as often as it likes.
            let is_its_card = self
                .cards
                .get(&(head.party.clone(), head.card))
                .is_some_and(|cards| cards.iter().any(|card| card.id() == entry.entry().document));
            if is_its_card && self.volumes.insert((head.party.clone(), head.card)) {
                let ours = entry.entry().seen.iter().filter(|seen| seen.party == self.config.me);
                self.owe_beyond(now, &head.party.clone(), head.card, &ours.collect::<Vec<_>>());
                self.state_opened_again(now, &head.party);
            }
        }
        for (peer, state) in &mut self.peers {
            if let Some(path) = state.path.as_mut().filter(|_| *peer != head.party) {
                path.greet_soon(now);
            }
        }
        let fork = change.fork.map(|other| Event::Fork { one: other, other: head });
        let judged = change.judged.into_iter().map(|(entry, effect)| Event::Judged { entry, effect });
        judged.chain(fork).collect()
    }

    /// Takes a durable receipt in: another's for our entry, or our own.
    pub(super) fn apply_receipt(&mut self, now: Now, receipt: Receipt, signed: SignedReceipt) {
        if receipt.by == self.config.me {
            if let (ReceiptKind::Opened(_), Some(author)) =
                (receipt.kind, self.peers.get_mut(&receipt.of.party))
            {
                author.state(now, signed.clone());
            }
        } else if let Some(peer) = self.peers.get_mut(&receipt.by)
            && peer.receipted(now, &receipt.of.hash, receipt.by_card)
        {
            self.custody.settled(&receipt.by, &receipt.of.hash);
        }
        self.evidence.insert(receipt, signed);
    }
}
