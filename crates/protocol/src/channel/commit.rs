//! Commits under way, and what waits for them. State changes only when a commit is answered, so a failed one is
//! undone by forgetting it.

use std::collections::{BTreeSet, VecDeque};

use super::{
    Batch, Channel, CommitFailure, Confirm, Event, Frame, Output, PrekeyHeld, Record, Refusal, RequestId,
    Ticket,
    custody::{Deposited, ParcelId},
};
use crate::{
    custody::{SignedStatement, Stated, Statement, ToMediator},
    document::SignedDocument,
    hash::{DocumentId, EntryHash, EnvelopeHash},
    identity::{member::MemberId, roster::Roster, signed_prekey::SignedPrekey},
    limits,
    time::Now,
    transcript::{Authentic, Head, Receipt, ReceiptId, ReceiptKind, SignedReceipt},
};

/// A record that was checked, with what the check has found.
#[derive(Clone, Debug)]
pub(super) enum Prepared {
    Entry(Box<Authentic>),
    Receipt(Box<Receipt>, SignedReceipt),
    Roster(SignedDocument),
    Confirmed(ReceiptId),
    Deposited(Box<Statement>, Box<Deposited>),
    CustodyEnded(Box<Statement>, SignedStatement),
    Prekey(SignedPrekey),
}

impl Prepared {
    fn record(&self) -> Record {
        match self {
            Self::Entry(entry) => Record::Entry(entry.item().clone()),
            Self::Receipt(_, signed) => Record::Receipt(signed.clone()),
            Self::Roster(document) => Record::Roster(document.clone()),
            Self::Confirmed(receipt) => Record::Confirmed(*receipt),
            Self::Deposited(_, deposited) => Record::Deposited(deposited.as_ref().clone()),
            Self::CustodyEnded(_, signed) => Record::CustodyEnded(signed.clone()),
            Self::Prekey(signed) => Record::Prekey(signed.clone()),
        }
    }
}

/// What is to be said once the commit is durable.
#[derive(Clone, Debug)]
pub(super) enum Then {
    /// Answer a request to append.
    Recorded { request: RequestId, entry: Head, new: bool },
    /// Answer a request to state that an entry was opened.
    Opened { request: RequestId, receipt: Receipt },
    /// Answer a request to take a roster document in.
    RosterTaken { request: RequestId },
    /// Tell of another party's entry.
    Arrived { entry: Head },
    /// Send a receipt to the entry's author; to one whose entry came in an envelope also in an envelope, since it may hear nothing else.
    SendReceipt { to: MemberId, receipt: SignedReceipt, sealed: bool },
    /// Tell that a receipt came, and confirm it if nobody would otherwise.
    Receipted { receipt: Receipt, id: ReceiptId },
    /// Pass a roster document on to everybody but its source.
    Gossip { document: SignedDocument, not_to: Option<MemberId> },
    /// Tell that a mediator keeps something.
    InCustody { parcel: ParcelId, entries: Vec<EntryHash>, peer: MemberId, mediator: MemberId },
    /// Tell a mediator that what it handed us is here.
    Collected { mediator: MemberId, envelope: EnvelopeHash, all: bool },
    /// Tell a peer that its prekey is here.
    PrekeyHeld { to: MemberId, held: PrekeyHeld },
    /// Tell a mediator something.
    Tell { mediator: MemberId, message: ToMediator },
}

impl Then {
    const fn request(&self) -> Option<RequestId> {
        match self {
            Self::Recorded { request, .. } | Self::Opened { request, .. } | Self::RosterTaken { request } => {
                Some(*request)
            }
            Self::Arrived { .. }
            | Self::SendReceipt { .. }
            | Self::Receipted { .. }
            | Self::Gossip { .. }
            | Self::InCustody { .. }
            | Self::Collected { .. }
            | Self::PrekeyHeld { .. }
            | Self::Tell { .. } => None,
        }
    }
}

struct Pending {
    ticket: Ticket,
    records: Vec<Prepared>,
    then: Vec<Then>,
}

/// The commits under way, oldest first.
#[derive(Default)]
pub(super) struct Commits {
    pending: VecDeque<Pending>,
    next: u64,
    under_way: UnderWay,
}

/// Entries and receipts whose commit is under way, so that a repeated frame is not stored twice.
#[derive(Default)]
struct UnderWay {
    entries: BTreeSet<EntryHash>,
    receipts: BTreeSet<ReceiptId>,
}

impl UnderWay {
    fn insert(&mut self, records: &[Prepared]) {
        for record in records {
            match record {
                Prepared::Entry(entry) => {
                    self.entries.insert(entry.hash());
                }
                Prepared::Receipt(_, signed) => {
                    self.receipts.insert(signed.id());
                }
                _ => {}
            }
        }
    }

    fn remove(&mut self, record: &Prepared) {
        match record {
            Prepared::Entry(entry) => {
                self.entries.remove(&entry.hash());
            }
            Prepared::Receipt(_, signed) => {
                self.receipts.remove(&signed.id());
            }
            _ => {}
        }
    }
}

impl Commits {
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= limits::COMMITS_IN_FLIGHT
    }

    /// Whether so many more may be under way.
    pub(super) fn have_room_for(&self, more: usize) -> bool {
        self.pending.len() + more <= limits::COMMITS_IN_FLIGHT
    }

    /// Says this when all that is under way is durable. False when that is so already.
    pub(super) fn when_all_is_durable(&mut self, then: Then) -> bool {
        match self.pending.back_mut() {
            Some(last) => {
                last.then.push(then);
                true
            }
            None => false,
        }
    }

    /// Whether a mediator's word for this envelope is under way.
    pub(super) fn has_deposit(&self, envelope: &EnvelopeHash) -> bool {
        let mut records = self.pending.iter().flat_map(|pending| &pending.records);
        records.any(|record| matches!(record, Prepared::Deposited(said, _) if said.envelope == *envelope))
    }

    pub(super) fn has_entry(&self, hash: &EntryHash) -> bool {
        self.under_way.entries.contains(hash)
    }

    pub(super) fn has_receipt(&self, id: &ReceiptId) -> bool {
        self.under_way.receipts.contains(id)
    }

    fn own_entries(&self, me: &MemberId) -> impl Iterator<Item = &Authentic> {
        let me = me.clone();
        self.pending.iter().flat_map(|pending| &pending.records).filter_map(move |record| match record {
            Prepared::Entry(entry) if entry.entry().party == me => Some(entry.as_ref()),
            _ => None,
        })
    }

    /// The entry of ours under way that enters this document.
    pub(super) fn entering(&self, me: &MemberId, document: &DocumentId) -> Option<Head> {
        self.own_entries(me).find(|entry| entry.entry().document == *document).map(Authentic::head)
    }

    /// Receipts whose commit is under way, our own and others'.
    pub(super) fn statements(&self) -> impl Iterator<Item = &Receipt> {
        self.pending.iter().flat_map(|pending| &pending.records).filter_map(|record| match record {
            Prepared::Receipt(receipt, _) => Some(receipt.as_ref()),
            _ => None,
        })
    }

    /// Whether a statement of this kind about another's entry, hence by us, is under way.
    pub(super) fn is_stating(&self, of: &EntryHash, kind: ReceiptKind) -> bool {
        self.statements().any(|receipt| receipt.of.hash == *of && receipt.kind == kind)
    }

    /// Answers one request more when the statement under way that an officer was shown this entry is durable. False when none is.
    pub(super) fn also_opened(&mut self, request: RequestId, of: &EntryHash, kind: ReceiptKind) -> bool {
        let about = |receipt: &&Receipt| receipt.of.hash == *of && receipt.kind == kind;
        let Some(receipt) = self.statements().find(about).cloned() else { return false };
        let states = |pending: &&mut Pending| {
            pending
                .records
                .iter()
                .any(|record| matches!(record, Prepared::Receipt(one, _) if **one == receipt))
        };
        if let Some(pending) = self.pending.iter_mut().find(states) {
            pending.then.push(Then::Opened { request, receipt: receipt.clone() });
        }
        true
    }

    /// Answers one request more when the commit of this entry is durable.
    pub(super) fn also(&mut self, entry: EntryHash, then: Then) {
        let holds = |pending: &&mut Pending| {
            pending.records.iter().any(|record| matches!(record, Prepared::Entry(one) if one.hash() == entry))
        };
        if let Some(pending) = self.pending.iter_mut().find(holds) {
            pending.then.push(then);
        }
    }
}

impl Channel {
    pub(super) fn commit(&mut self, records: Vec<Prepared>, then: Vec<Then>) {
        let ticket = Ticket(self.commits.next);
        self.commits.next += 1;
        self.commits.under_way.insert(&records);
        let batch = Batch { records: records.iter().map(Prepared::record).collect() };
        self.commits.pending.push_back(Pending { ticket, records, then });
        self.outputs.push_back(Output::Commit { ticket, batch });
    }

    pub(super) fn committed(&mut self, now: Now, ticket: Ticket) {
        // Tickets complete in order: an answer to a forgotten or unknown one changes nothing.
        if self.commits.pending.front().is_none_or(|pending| pending.ticket != ticket) {
            return;
        }
        let Some(done) = self.commits.pending.pop_front() else { return };
        for record in done.records {
            self.commits.under_way.remove(&record);
            for event in self.apply(now, record) {
                self.emit(event);
            }
        }
        for then in done.then {
            self.carry_out(now, then);
        }
        self.append_waiting(now);
    }

    /// Takes a durable record into the state. The events are what a running node tells; a restored one tells nothing.
    pub(super) fn apply(&mut self, now: Now, record: Prepared) -> Vec<Event> {
        match record {
            Prepared::Entry(entry) => self.apply_entry(now, &entry),
            Prepared::Receipt(receipt, signed) => {
                self.apply_receipt(now, *receipt, signed);
                Vec::new()
            }
            Prepared::Roster(document) => match self.roster.offer(&document) {
                Ok(true) => {
                    self.learn_cards();
                    self.heed_own_card();
                    vec![Event::RosterChanged]
                }
                // It was checked before the commit: by now another one may have overtaken it.
                Ok(false) | Err(_) => Vec::new(),
            },
            Prepared::Confirmed(receipt) => {
                self.receipt_confirmed(now, receipt);
                Vec::new()
            }
            Prepared::Deposited(statement, deposited) => {
                self.apply_deposited(&statement, *deposited);
                Vec::new()
            }
            Prepared::CustodyEnded(statement, _) => self.apply_custody_ended(now, &statement),
            Prepared::Prekey(signed) => {
                self.apply_prekey(&signed);
                Vec::new()
            }
        }
    }

    fn carry_out(&mut self, now: Now, then: Then) {
        match then {
            Then::Recorded { request, entry, new } => self.emit(Event::Recorded { request, entry, new }),
            Then::Opened { request, receipt } => self.emit(Event::OpenedRecorded { request, receipt }),
            Then::RosterTaken { request } => self.emit(Event::RosterTaken { request }),
            Then::Arrived { entry } => self.emit(Event::Arrived { entry }),
            Then::SendReceipt { to, receipt, sealed } => {
                if let Some(author) = self.peers.get_mut(&to).filter(|_| sealed) {
                    author.say(receipt.clone());
                }
                self.answer(&to, Frame::Receipt(receipt));
            }
            Then::InCustody { parcel, entries, peer, mediator } => {
                self.parcel_settled(parcel);
                if !entries.is_empty() {
                    self.emit(Event::InCustody { entries, peer, mediator });
                }
            }
            Then::Collected { mediator, envelope, all } => {
                self.say_ended(now, &mediator, envelope, Stated::Collected { all });
            }
            Then::PrekeyHeld { to, held } => self.answer(&to, Frame::PrekeyHeld(held)),
            Then::Tell { mediator, message } => self.tell(&mediator, message),
            Then::Receipted { receipt, id } => {
                if matches!(receipt.kind, ReceiptKind::Opened(_)) {
                    self.answer(&receipt.by.clone(), Frame::Confirm(Confirm { receipt: id }));
                }
                self.emit(Event::Receipted { receipt });
            }
            Then::Gossip { document, not_to } => {
                let others: Vec<MemberId> =
                    self.peers.keys().filter(|peer| Some(*peer) != not_to.as_ref()).cloned().collect();
                for peer in others {
                    self.answer(&peer, Frame::Card(document.clone()));
                }
            }
        }
    }

    pub(super) fn commit_failed(&mut self, now: Now, ticket: Ticket, failure: CommitFailure) {
        let Some(first) = self.commits.pending.iter().position(|pending| pending.ticket == ticket) else {
            return;
        };
        let failed = self.commits.pending.split_off(first);
        let why = match failure {
            CommitFailure::NoSpace => Refusal::NoSpace,
            CommitFailure::Unknown => Refusal::OutcomeUnknown,
        };
        for pending in failed {
            for then in &pending.then {
                if let Then::InCustody { parcel, .. } = then {
                    self.parcel_refused_by_our_disk(now, *parcel);
                }
            }
            for request in pending.then.iter().filter_map(Then::request) {
                self.refuse(request, why.clone());
            }
        }
        if failure == CommitFailure::Unknown {
            for request in self.writer.take_waiting() {
                self.refuse(request, Refusal::OutcomeUnknown);
            }
            self.emit(Event::Stopped);
            self.stopped = true;
            return;
        }
        let Commits { pending, under_way, .. } = &mut self.commits;
        *under_way = UnderWay::default();
        for pending in pending.iter() {
            under_way.insert(&pending.records);
        }
        self.rewind_writer();
        if self.writer.needs_volume() {
            // They were to follow the entry that opens the volume, which is tried again in a while.
            for request in self.writer.take_waiting() {
                self.refuse(request, Refusal::NoSpace);
            }
        }
        self.append_waiting(now);
    }

    /// What the roster will know of whom a document is about, when everything under way is durable: the document is judged after it.
    pub(super) fn roster_ahead(&self, document: &SignedDocument) -> Roster {
        let mut roster = self.roster.about(document);
        for record in self.commits.pending.iter().flat_map(|pending| &pending.records) {
            if let Prepared::Roster(document) = record {
                // It was checked when its commit was asked for, or is about another member.
                let _ = roster.offer(document);
            }
        }
        roster
    }

    /// The last entry of ours that is under way, if any.
    pub(super) fn last_own_pending(&self) -> Option<&Authentic> {
        self.commits.own_entries(&self.config.me).last()
    }
}
