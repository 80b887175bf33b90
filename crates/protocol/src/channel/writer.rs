//! Writing our own log: appending documents, opening a volume under a new card, stating what was opened.

use std::{collections::VecDeque, time::Duration};

use super::{
    Channel, Refusal, RequestId,
    commit::{Prepared, Then},
};
use crate::{
    document::SignedDocument,
    hash::{DocumentId, EntryHash},
    limits,
    time::Now,
    transcript::{
        Chaining, Entry, Facts, Head, Pointer, Receipt, ReceiptKind, Seq, SignedReceipt, Void,
        entry::{Authentic, VERSION},
    },
};

/// A volume that could not be opened (the disk was full) is tried again after this long.
pub(super) const OPEN_AGAIN: Duration = Duration::from_secs(5);

/// The end of our own log, entries under way included.
#[derive(Default)]
pub(super) struct Writer {
    tail: Option<Head>,
    authority: Option<Pointer>,
    /// An entry that says who may sign is under way: what comes next is judged after it.
    authority_under_way: bool,
    volume_open: bool,
    /// Why this node may not write.
    halted: Option<String>,
    /// Whether that is because a peer holds what this node has signed and does not hold.
    set_back: bool,
    waiting: VecDeque<(RequestId, SignedDocument)>,
}

impl Writer {
    pub(super) const fn needs_volume(&self) -> bool {
        !self.volume_open && self.halted.is_none()
    }

    pub(super) fn take_waiting(&mut self) -> Vec<RequestId> {
        self.waiting.drain(..).map(|(request, _)| request).collect()
    }

    pub(super) fn halted(&self) -> Option<&str> {
        self.halted.as_deref()
    }

    pub(super) const fn is_set_back(&self) -> bool {
        self.set_back
    }

    /// Halts for good: the disk was set back, or the key is elsewhere. True the first time.
    pub(super) fn halt_set_back(&mut self, why: String) -> bool {
        self.halt(why);
        !std::mem::replace(&mut self.set_back, true)
    }

    pub(super) fn halt(&mut self, why: String) -> bool {
        let first = self.halted.is_none();
        self.halted.get_or_insert(why);
        first
    }
}

impl Channel {
    /// Sets the end of our log to what is durable, or under way after it.
    pub(super) fn rewind_writer(&mut self) {
        let pending = self
            .last_own_pending()
            .map(|entry| (entry.head(), entry.entry().authority, entry.facts().is_authority()));
        let log = self.transcript.log(&self.config.me);
        let card = self.config.card.serial;
        let open = log.and_then(|log| log.tip_of(card)).cloned();
        let tip = open.clone().or_else(|| log.and_then(|log| log.tip()).cloned());
        let authority =
            tip.as_ref().and_then(|tip| self.transcript.get(&tip.hash)).and_then(|node| {
                match node.chaining {
                    Chaining::Chained { authority } => authority,
                    Chaining::Pending | Chaining::Misplaced => None,
                }
            });
        self.writer.volume_open = open.is_some();
        self.writer.authority_under_way = false;
        self.writer.tail = tip;
        self.writer.authority = authority;
        if let Some((head, authority, is_authority)) = pending {
            self.writer.volume_open = true;
            self.writer.authority_under_way = is_authority;
            self.writer.authority =
                if is_authority { Some(Pointer { seq: head.seq, hash: head.hash }) } else { authority };
            self.writer.tail = Some(head);
        }
    }

    /// Opens the volume of our card if it is not open: its first entry carries the card itself.
    pub(super) fn ensure_volume(&mut self, now: Now) {
        if self.writer.needs_volume() && !self.commits.is_full() {
            let card = self.config.card.document().clone();
            self.write(now, &card, Facts::of(&card), Vec::new());
        }
    }

    /// A node whose card its roots have revoked or replaced writes nothing more under it.
    pub(super) fn heed_own_card(&mut self) {
        if let Some(revocation) = self.roster.revocation(&self.config.me, self.config.card.serial) {
            self.writer.halt(format!("its card is revoked: {}", revocation.reason));
        } else if let Some(newer) =
            self.roster.current(&self.config.me).filter(|newer| newer.serial > self.config.card.serial)
        {
            self.writer.halt(format!("its card is replaced by card {}", newer.serial));
        }
    }

    /// A node whose log goes on under a later card has no place of its own in it.
    pub(super) fn heed_newer_volume(&mut self) {
        let newest = self.transcript.log(&self.config.me).and_then(|log| log.tip()).map(|tip| tip.card);
        if let Some(newest) = newest.filter(|newest| *newest > self.config.card.serial) {
            self.writer.halt(format!("its log goes on under card {newest}"));
        }
    }

    /// Enters a document after the last entry and asks for its commit.
    fn write(&mut self, now: Now, document: &SignedDocument, facts: Facts, mut then: Vec<Then>) {
        let entry = Entry {
            version: VERSION,
            channel: self.transcript.channel(),
            party: self.config.me.clone(),
            card: self.config.card.serial,
            seq: self.writer.tail.as_ref().map_or(Seq::FIRST, |tail| tail.seq.next()),
            prev: self.writer.tail.as_ref().map_or_else(
                || EntryHash::from_bytes(*self.transcript.channel().as_bytes()),
                |tail| tail.hash,
            ),
            authority: self.writer.authority,
            seen: self.transcript.seen_by(&self.config.me),
            recorded_at: now.wall,
            document: document.id(),
            signatures: document.signatures().to_vec(),
        };
        let is_authority = facts.is_authority();
        let authentic = Authentic::written(entry, &self.config.key, document, facts);
        let head = authentic.head();
        for then in &mut then {
            if let Then::Recorded { entry, .. } = then {
                entry.clone_from(&head);
            }
        }
        if is_authority {
            self.writer.authority = Some(Pointer { seq: head.seq, hash: head.hash });
            self.writer.authority_under_way = true;
        }
        self.writer.volume_open = true;
        self.writer.tail = Some(head);
        self.commit(vec![Prepared::Entry(Box::new(authentic))], then);
    }

    pub(super) fn append(&mut self, now: Now, request: RequestId, document: SignedDocument) {
        if let Some(why) = &self.writer.halted {
            let why = Refusal::NeedsNewCard(why.clone());
            return self.refuse(request, why);
        }
        self.ensure_volume(now);
        if self.writer.authority_under_way || !self.writer.volume_open || !self.writer.waiting.is_empty() {
            if self.writer.waiting.len() >= limits::COMMITS_IN_FLIGHT {
                return self.refuse(request, Refusal::Busy);
            }
            self.writer.waiting.push_back((request, document));
            return;
        }
        self.append_now(now, request, &document);
    }

    pub(super) fn append_waiting(&mut self, now: Now) {
        if let Some(why) = self.writer.halted.clone() {
            for request in self.writer.take_waiting() {
                self.refuse(request, Refusal::NeedsNewCard(why.clone()));
            }
        }
        let last = self.last_own_pending();
        self.writer.authority_under_way = last.is_some_and(|entry| entry.facts().is_authority());
        while !self.writer.authority_under_way && self.writer.volume_open {
            let Some((request, document)) = self.writer.waiting.pop_front() else { break };
            self.append_now(now, request, &document);
        }
    }

    fn append_now(&mut self, now: Now, request: RequestId, document: &SignedDocument) {
        let id = document.id();
        if let Some(entry) = self.commits.entering(&self.config.me, &id) {
            let hash = entry.hash;
            return self.commits.also(hash, Then::Recorded { request, entry, new: false });
        }
        // One that says who may sign has effect on each branch by itself: lost with a branch, it may be entered again.
        let known = self.transcript.effective(&id).filter(|node| {
            node.head.party == self.config.me
                && !(node.facts.is_authority() && self.transcript.is_disowned(node))
        });
        if let Some(entry) = known.map(|node| node.head.clone()) {
            return self.emit(super::Event::Recorded { request, entry, new: false });
        }
        if self.commits.is_full() {
            return self.refuse(request, Refusal::Busy);
        }
        let facts = match self.acceptable(document) {
            Ok(facts) => facts,
            Err(why) => return self.refuse(request, why),
        };
        let placeholder = Head {
            party: self.config.me.clone(),
            card: self.config.card.serial,
            seq: Seq(0),
            hash: EntryHash::from_bytes([0; 32]),
        };
        self.write(now, document, facts, vec![Then::Recorded { request, entry: placeholder, new: true }]);
    }

    /// What an honest node demands before it enters a document: that it will have effect. Gives what it says.
    fn acceptable(&self, document: &SignedDocument) -> Result<Facts, Refusal> {
        if document.text().len() > limits::DOCUMENT_TEXT {
            return Err(Void::NotADocument(format!("a text of {} bytes", document.text().len())).into());
        }
        if document.signatures().len() > limits::ENTRY_SIGNATURES {
            let why =
                format!("{} signatures; at most {}", document.signatures().len(), limits::ENTRY_SIGNATURES);
            return Err(Void::Credential(why).into());
        }
        let facts = Facts::of(document);
        self.transcript.would_accept(&self.config.me, self.config.card.serial, &facts)?;
        if let Facts::Dispatch(dispatch) = &facts
            && let Some(reference) = dispatch.refers_to
            && self.transcript.entries_of(&reference).next().is_none()
            && self.commits.entering(&self.config.me, &reference).is_none()
        {
            return Err(Refusal::UnknownReference(reference.to_string()));
        }
        Ok(facts)
    }

    /// Enters a document without asking whether it will have effect: what a careless or dishonest node would do.
    /// For simulations of such a node.
    #[doc(hidden)]
    pub fn append_unchecked(&mut self, now: Now, document: &SignedDocument) {
        if self.writer.volume_open && !self.stopped {
            self.write(now, document, Facts::of(document), Vec::new());
        }
    }

    pub(super) fn opened(&mut self, now: Now, request: RequestId, entry: EntryHash, officer: DocumentId) {
        let me = self.config.me.clone();
        let Some(of) =
            self.transcript.get(&entry).map(|node| node.head.clone()).filter(|head| head.party != me)
        else {
            return self.refuse(request, Refusal::UnknownReference(entry.to_string()));
        };
        let known = self.transcript.authority(&me).is_some_and(|authority| {
            authority.officers().any(|known| known.id() == officer && !authority.is_suspended(&known.key))
        });
        if !known {
            return self.refuse(request, Refusal::UnknownReference(format!("officer {officer}")));
        }
        let kind = ReceiptKind::Opened(officer);
        if let Some((receipt, _)) = self.evidence.by(&entry, &me, kind) {
            let receipt = receipt.clone();
            return self.emit(super::Event::OpenedRecorded { request, receipt });
        }
        // Said twice in one breath, it is signed once.
        if self.commits.also_opened(request, &entry, kind) {
            return;
        }
        if self.commits.is_full() {
            return self.refuse(request, Refusal::Busy);
        }
        let receipt = self.state(now, kind, of);
        let signed = receipt.sign(&self.config.key);
        self.commit(
            vec![Prepared::Receipt(Box::new(receipt.clone()), signed.clone())],
            vec![Then::Opened { request, receipt }],
        );
    }

    /// A statement about another party's entry, as of now.
    pub(super) fn state(&self, now: Now, kind: ReceiptKind, of: Head) -> Receipt {
        Receipt {
            version: VERSION,
            kind,
            channel: self.transcript.channel(),
            of,
            by: self.config.me.clone(),
            by_card: self.config.card.serial,
            at: now.wall,
            head: self.transcript.log(&self.config.me).and_then(|log| log.tip()).cloned(),
        }
    }

    /// Our signed statement that we hold an entry, as of now.
    pub(super) fn own_receipt_for(&self, now: Now, entry: &Authentic) -> (Receipt, SignedReceipt) {
        let receipt = self.state(now, ReceiptKind::Held, entry.head());
        let signed = receipt.sign(&self.config.key);
        (receipt, signed)
    }
}
