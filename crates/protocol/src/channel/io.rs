//! What goes into the machine and what comes out of it.

use std::time::Duration;

use bincode::{Decode, Encode};

use super::{
    Frame,
    custody::{Deposited, ParcelId},
    prekeys::Addressee,
};
use crate::{
    codec::Wire,
    custody::{NotKept, SignedStatement, Stated, ToMediator, message::Keeps},
    document::SignedDocument,
    envelope::Salt,
    frame::FrameError,
    hash::{DocumentId, EntryHash, EnvelopeHash},
    identity::{
        card::Prekey,
        member::MemberId,
        signed_prekey::{PrekeyNumber, SignedPrekey},
    },
    limits,
    time::Timestamp,
    transcript::{
        Head, Item, Receipt, ReceiptId, SignedReceipt,
        effect::{Effect, Void},
    },
};

/// The caller's mark on a request, returned in the event that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A commit's number. Tickets complete in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the driver tells the machine.
#[derive(Clone, Debug)]
pub enum Input {
    /// Enter a document in our own log: a dispatch, or an officer, suspension or revocation.
    Append {
        /// The mark for the answer.
        request: RequestId,
        /// The document.
        document: SignedDocument,
    },
    /// An officer was shown this entry: state it, durably, before the text leaves the node.
    Opened {
        /// The mark for the answer.
        request: RequestId,
        /// The entry.
        entry: EntryHash,
        /// The officer's document.
        officer: DocumentId,
    },
    /// A document of the roster, from whatever source.
    Roster {
        /// The mark for the answer.
        request: RequestId,
        /// The document.
        document: SignedDocument,
    },
    /// Test the line to a peer.
    LineTest {
        /// The mark for the answer.
        request: RequestId,
        /// Whom to ask.
        peer: MemberId,
    },
    /// A session opened this frame.
    Frame {
        /// From whom, as the session authenticated it.
        peer: MemberId,
        /// The frame.
        frame: Frame,
    },
    /// A session to this peer is ready to carry frames. Again for one that replaces another.
    PathUp {
        /// The peer.
        peer: MemberId,
    },
    /// No session to this peer is left.
    PathDown {
        /// The peer.
        peer: MemberId,
    },
    /// A stream to this mediator's custody is ready. Again for one that replaces another.
    MediatorUp {
        /// The mediator.
        mediator: MemberId,
    },
    /// The stream to this mediator's custody has ended.
    MediatorDown {
        /// The mediator.
        mediator: MemberId,
    },
    /// A mediator keeps what a parcel was sealed into.
    ParcelKept {
        /// The parcel.
        parcel: ParcelId,
        /// The salt with which it was sealed.
        salt: Salt,
        /// The mediator's word.
        keeps: Keeps,
    },
    /// A mediator does not keep a parcel.
    ParcelRefused {
        /// The parcel.
        parcel: ParcelId,
        /// Why.
        why: NotKept,
    },
    /// A mediator tells how an envelope that it kept for us has ended.
    CustodyEnded {
        /// The mediator.
        mediator: MemberId,
        /// Collected, unopenable or expired.
        statement: SignedStatement,
    },
    /// An envelope for us was opened, or could not be.
    Envelope {
        /// The mediator that kept it, who is told; none when it was brought by hand.
        from: Option<MemberId>,
        /// Its name.
        envelope: EnvelopeHash,
        /// Its frames, each as its bytes say; none when it did not open.
        opened: Option<Vec<Result<Frame, FrameError>>>,
    },
    /// A mediator tells a party's newest prekey.
    Prekey {
        /// The prekey.
        prekey: SignedPrekey,
    },
    /// We have a new prekey, whose private half is durable.
    NewPrekey {
        /// Its number under our card.
        number: PrekeyNumber,
        /// Its public half.
        prekey: Prekey,
    },
    /// The path to this peer has room for so many bytes of frames now.
    Sendable {
        /// The peer.
        peer: MemberId,
        /// Bytes, counted anew: replaces what was said before.
        bytes: usize,
    },
    /// The batch is durable.
    Committed(Ticket),
    /// The batch is not, or it is not known whether it is. Covers this ticket and all later ones.
    CommitFailed {
        /// The first that failed.
        ticket: Ticket,
        /// How.
        failure: CommitFailure,
    },
    /// The moment asked for by [`Output::WakeAt`] has come.
    Tick,
}

/// How a commit failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFailure {
    /// No room, found before anything was applied: nothing of it is stored.
    NoSpace,
    /// Anything else: it may or may not be stored. The machine stops speaking.
    Unknown,
}

/// What the machine asks of the driver, in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Make this durable, atomically, then say [`Input::Committed`].
    Commit {
        /// Its number.
        ticket: Ticket,
        /// What.
        batch: Batch,
    },
    /// Send this. Only produced against [`Input::Sendable`] credit.
    Transmit {
        /// To whom.
        peer: MemberId,
        /// What.
        frame: Outgoing,
    },
    /// Seal this for a peer and deposit it with a mediator. Only produced while [`Input::MediatorUp`] holds, one at a time for each mediator and
    /// peer; answered by [`Input::ParcelKept`] or [`Input::ParcelRefused`].
    Deposit {
        /// The mark for the answer.
        parcel: ParcelId,
        /// With whom.
        mediator: MemberId,
        /// For whom.
        to: Addressee,
        /// What.
        contents: Vec<Outgoing>,
    },
    /// Say this to a mediator. Only produced while [`Input::MediatorUp`] holds.
    Tell {
        /// To whom.
        mediator: MemberId,
        /// What.
        message: ToMediator,
    },
    /// Something the officers, the operator or the driver should know.
    Event(Event),
    /// Say [`Input::Tick`] at this monotonic time. Replaces what was asked before.
    WakeAt(Duration),
}

/// A frame to send. An entry is named, not carried: its bytes are durable, and the driver reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// This frame.
    Frame(Frame),
    /// [`Frame::Entry`] with the stored item of this name.
    Stored(EntryHash),
}

/// What one commit makes durable, atomically and in this order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Batch {
    /// The records.
    pub records: Vec<Record>,
}

/// One durable record. The channel's whole memory is the sequence of these.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Record {
    /// An entry with its text.
    Entry(Item),
    /// A receipt, ours or another's.
    Receipt(SignedReceipt),
    /// A document of the roster.
    Roster(SignedDocument),
    /// The author has confirmed this receipt of ours.
    Confirmed(ReceiptId),
    /// A mediator keeps an envelope of ours.
    Deposited(Deposited),
    /// How that ended.
    CustodyEnded(SignedStatement),
    /// A peer's prekey.
    Prekey(SignedPrekey),
}

impl Wire for Record {
    const LIMIT: usize = limits::FRAME;
    const NAME: &'static str = "record";
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The document would be void.
    #[error(transparent)]
    Void(#[from] Void),
    /// The roots or the roster say no.
    #[error("{0}")]
    Credential(String),
    /// It is about something this node does not hold.
    #[error("no such entry here: {0}")]
    UnknownReference(String),
    /// The disk is full; nothing was recorded.
    #[error("the disk is full; nothing was recorded")]
    NoSpace,
    /// It is not known whether it was recorded.
    #[error("it is not known whether it was recorded; the same file may be sent again safely")]
    OutcomeUnknown,
    /// Too many commits under way.
    #[error("too much is being recorded at this moment")]
    Busy,
    /// The node may not write under its card.
    #[error("this node needs a new card before it may write: {0}")]
    NeedsNewCard(String),
    /// No session to that peer.
    #[error("{0} cannot be reached now")]
    NoPath(MemberId),
}

/// The result of a line test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineTestResult {
    /// Who answered.
    pub peer: MemberId,
    /// When it was asked, by our clock.
    pub asked_at: Timestamp,
    /// When it was answered, by the peer's clock.
    pub answered_at: Timestamp,
    /// There and back.
    pub round_trip: Duration,
}

impl LineTestResult {
    /// By how much the two clocks differ at least: the answer was given somewhere between question and answer by our clock, so only
    /// what lies outside is skew.
    pub fn skew(&self) -> Duration {
        let back_at = self.asked_at.plus(self.round_trip);
        self.asked_at.since(self.answered_at).max(self.answered_at.since(back_at))
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request to append is durable.
    Recorded {
        /// The request.
        request: RequestId,
        /// The entry.
        entry: Head,
        /// False when the document had been entered before: its entry is named again.
        new: bool,
    },
    /// An *opened* statement is durable.
    OpenedRecorded {
        /// The request.
        request: RequestId,
        /// The statement.
        receipt: Receipt,
    },
    /// A roster document was taken in (or was known).
    RosterTaken {
        /// The request.
        request: RequestId,
    },
    /// A request was refused; nothing of it was recorded.
    Refused {
        /// The request.
        request: RequestId,
        /// Why.
        why: Refusal,
    },
    /// An entry of another party is durable here.
    Arrived {
        /// The entry.
        entry: Head,
    },
    /// What is said of an entry has changed.
    Judged {
        /// The entry.
        entry: Head,
        /// The judgement.
        effect: Effect,
    },
    /// A receipt for one of our entries is durable here.
    Receipted {
        /// What it says.
        receipt: Receipt,
    },
    /// A mediator keeps these entries of ours for a peer: its word is durable here.
    InCustody {
        /// The entries.
        entries: Vec<EntryHash>,
        /// For whom.
        peer: MemberId,
        /// With whom.
        mediator: MemberId,
    },
    /// A mediator keeps an envelope of ours no more.
    CustodyEnded {
        /// The envelope.
        envelope: EnvelopeHash,
        /// The entries in it.
        entries: Vec<EntryHash>,
        /// For whom it was.
        peer: MemberId,
        /// With whom it was.
        mediator: MemberId,
        /// How it ended, as whoever ended it has signed.
        says: Stated,
    },
    /// A mediator does not keep something for a peer. It is asked again.
    CustodyRefused {
        /// The mediator.
        mediator: MemberId,
        /// The peer.
        peer: MemberId,
        /// Why.
        why: NotKept,
    },
    /// A peer holds a prekey of ours durably, or a later one than that.
    PrekeyHeld {
        /// The peer.
        peer: MemberId,
        /// Its number under our card.
        number: PrekeyNumber,
    },
    /// What a mediator said or brought was refused.
    MediatorRefused {
        /// The mediator.
        mediator: MemberId,
        /// Why.
        why: String,
    },
    /// The roster changed: admissions and addresses are to be looked at again, sessions of replaced or revoked cards ended.
    RosterChanged,
    /// Two entries bear one number under one card. Both are kept as proof.
    Fork {
        /// One.
        one: Head,
        /// The other.
        other: Head,
    },
    /// We were shown an entry that our own node signed and does not hold: it stops writing under this card.
    OwnSignatureUnknown {
        /// The entry.
        entry: Head,
    },
    /// A line test was answered.
    LineTested {
        /// The request.
        request: RequestId,
        /// The result.
        result: LineTestResult,
    },
    /// The peer sent something that is refused. The session goes on unless the driver decides otherwise.
    PeerRefused {
        /// The peer.
        peer: MemberId,
        /// What and why, for the log.
        why: String,
    },
    /// The peer's clock differs from ours by more than [`limits::CLOCK_SKEW`].
    ClockSkew {
        /// The peer.
        peer: MemberId,
        /// By how much.
        by: Duration,
    },
    /// The machine has stopped speaking: a commit's outcome is unknown.
    Stopped,
}
