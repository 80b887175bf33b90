//! What goes by custody: what a peer has not confirmed in its time is sealed for it and deposited with every mediator that answers, and what
//! mediators hand us is taken in as if it had come by a session.
//!
//! There is no outbox here either. What is owed stands in [`Debt`](super::debt::Debt); this only knows which of it some mediator keeps, and made that
//! durable with the mediator's word. An envelope that ended without a receipt leaves what it held uncovered, and that is deposited
//! again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bincode::{Decode, Encode};

use super::{
    Channel, Event, Frame, Outgoing, Output,
    commit::{Prepared, Then},
    debt::Debt,
    pace::Pace,
    peer::Peer,
};
use crate::{
    custody::{
        NotKept, SignedStatement, Stated, Statement, ToMediator,
        message::{Keeps, Named},
    },
    envelope::Salt,
    frame::FrameError,
    hash::{EntryHash, EnvelopeHash},
    identity::member::MemberId,
    limits,
    time::Now,
    transcript::ReceiptId,
};

/// Entries of which the peer says that it collected them and for which no receipt has come in this time are deposited again …
const AGAIN: Duration = Duration::from_secs(60);
/// … the next time after twice as long, up to this.
const AGAIN_AT_MOST: Duration = Duration::from_secs(10 * 60);
/// A mediator that refused, or could not be understood, is asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// A mediator that has handed out nothing for this long is asked once more, in case the question was lost.
const STILL_THERE: Duration = Duration::from_secs(5 * 60);
/// A mediator has this long to answer for an envelope, and the time that the slowest line takes to carry it.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// A parcel: what one envelope is to hold. The mark for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParcelId(pub u64);

/// A mediator's word for an envelope of ours, with what only we know of it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Deposited {
    /// That it is kept.
    pub statement: SignedStatement,
    /// Shows which entries it held.
    pub salt: Salt,
    /// The entries.
    pub entries: Vec<EntryHash>,
    /// Receipts of ours in it.
    pub receipts: Vec<ReceiptId>,
}

/// What an envelope holds of what is owed.
#[derive(Clone, Debug, Default)]
struct Holds {
    entries: Vec<EntryHash>,
    receipts: Vec<ReceiptId>,
    /// Bytes of these, at most.
    bytes: usize,
}

/// A mediator, as far as custody goes.
#[derive(Default)]
pub(super) struct Attendance {
    /// It can be heard.
    up: bool,
    /// When it is to be asked again for the next envelope, if it handed none out or we could not take it.
    next_at: Option<Duration>,
    /// When it is to be asked again how envelopes have ended, if what it told could not be believed yet.
    ends_at: Option<Duration>,
    /// By peer: when it may be asked again to keep something.
    not_before: BTreeMap<MemberId, Duration>,
    /// By peer: bytes that it keeps from us for it.
    used: BTreeMap<MemberId, u64>,
}

/// A parcel that no mediator has answered for.
struct UnderWay {
    mediator: MemberId,
    peer: MemberId,
    holds: Holds,
    /// When it is given up if no answer has come.
    until: Duration,
}

/// What is where, of all peers.
#[derive(Default)]
pub(super) struct Custody {
    mediators: BTreeMap<MemberId, Attendance>,
    parcels: BTreeMap<ParcelId, UnderWay>,
    next: u64,
    /// Envelopes of ours that some mediator keeps, by their names.
    kept: BTreeMap<EnvelopeHash, InCustody>,
    /// What is owed and need not be deposited: by mediator and peer, and until when if that ends.
    covered: BTreeMap<(MemberId, MemberId), BTreeMap<Thing, Option<Duration>>>,
    /// How often something was collected and not confirmed.
    in_vain: BTreeMap<Thing, u32>,
}

struct InCustody {
    mediator: MemberId,
    peer: MemberId,
    holds: Holds,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Entry(EntryHash),
    Receipt(ReceiptId),
}

impl Holds {
    fn things(&self) -> impl Iterator<Item = Thing> {
        let receipts = self.receipts.iter().copied().map(Thing::Receipt);
        self.entries.iter().copied().map(Thing::Entry).chain(receipts)
    }
}

impl Custody {
    fn is_up(&self, mediator: &MemberId) -> bool {
        self.mediators.get(mediator).is_some_and(|attendance| attendance.up)
    }

    /// A peer is not owed this entry any more.
    pub(super) fn settled(&mut self, peer: &MemberId, entry: &EntryHash) {
        self.uncover(peer, Thing::Entry(*entry));
    }

    /// A peer's node holds this receipt.
    pub(super) fn confirmed(&mut self, peer: &MemberId, receipt: ReceiptId) {
        self.uncover(peer, Thing::Receipt(receipt));
    }

    fn uncover(&mut self, peer: &MemberId, thing: Thing) {
        self.in_vain.remove(&thing);
        for (_, covered) in self.covered.iter_mut().filter(|((_, of), _)| of == peer) {
            covered.remove(&thing);
        }
    }

    /// What was covered for a while is due again.
    fn uncover_due(&mut self, now: Now) {
        for covered in self.covered.values_mut() {
            covered.retain(|_, until| until.is_none_or(|until| now.monotonic < until));
        }
    }

    /// A parcel for this peer is with this mediator and not answered for.
    fn waits(&self, mediator: &MemberId, peer: &MemberId) -> bool {
        self.parcels.values().any(|parcel| parcel.mediator == *mediator && parcel.peer == *peer)
    }

    /// The mediators to which something can be said.
    pub(super) fn answering(&self) -> impl Iterator<Item = &MemberId> {
        self.mediators.iter().filter(|(_, attendance)| attendance.up).map(|(mediator, _)| mediator)
    }
}

impl Channel {
    pub(super) fn mediator_up(&mut self, now: Now, mediator: &MemberId) {
        if !self.config.charter.mediators.iter().any(|known| known.id == *mediator) {
            return;
        }
        self.mediator_down(mediator);
        self.custody.mediators.insert(mediator.clone(), Attendance { up: true, ..Attendance::default() });
        self.tell_prekey(mediator);
        let channel = self.transcript.channel();
        self.tell(mediator, ToMediator::Ends(channel));
        self.ask_for_next(now, mediator);
    }

    pub(super) fn mediator_down(&mut self, mediator: &MemberId) {
        self.custody.mediators.remove(mediator);
        self.custody.parcels.retain(|_, parcel| parcel.mediator != *mediator);
    }

    pub(super) fn tell(&mut self, mediator: &MemberId, message: ToMediator) {
        if self.custody.is_up(mediator) {
            self.outputs.push_back(Output::Tell { mediator: mediator.clone(), message });
        }
    }

    fn ask_for_next(&mut self, now: Now, mediator: &MemberId) {
        let channel = self.transcript.channel();
        if let Some(attendance) = self.custody.mediators.get_mut(mediator) {
            attendance.next_at = Some(now.monotonic + STILL_THERE);
            self.tell(mediator, ToMediator::Next(channel));
        }
    }

    /// Asks for envelopes that could not be taken when they came, and looks what is to be deposited again.
    pub(super) fn tend_custody(&mut self, now: Now) {
        self.custody.uncover_due(now);
        self.custody.parcels.retain(|_, parcel| now.monotonic < parcel.until);
        let due = |attendance: &Attendance| attendance.next_at.is_some_and(|at| now.monotonic >= at);
        let mediators = self.custody.mediators.iter().filter(|(_, attendance)| due(attendance));
        for mediator in mediators.map(|(mediator, _)| mediator.clone()).collect::<Vec<_>>() {
            self.ask_for_next(now, &mediator);
        }
        let channel = self.transcript.channel();
        let told = |attendance: &mut Attendance| attendance.ends_at.take_if(|at| now.monotonic >= *at);
        let mediators = self
            .custody
            .mediators
            .iter_mut()
            .filter_map(|(mediator, attendance)| told(attendance).map(|_| mediator.clone()));
        for mediator in mediators.collect::<Vec<_>>() {
            self.tell(&mediator, ToMediator::Ends(channel));
        }
    }

    /// Deposits with every mediator that answers what its peer has not confirmed in its time, one envelope at a time.
    pub(super) fn deposit(&mut self, now: Now) {
        let mediators: Vec<MemberId> = self.custody.answering().cloned().collect();
        let peers: Vec<MemberId> = self.peers.keys().cloned().collect();
        for peer in &peers {
            for mediator in &mediators {
                let wait = self.custody.mediators.get(mediator).and_then(|known| known.not_before.get(peer));
                if self.custody.waits(mediator, peer) || wait.is_some_and(|at| now.monotonic < *at) {
                    continue;
                }
                self.deposit_for(now, mediator, peer);
            }
        }
    }

    fn deposit_for(&mut self, now: Now, mediator: &MemberId, peer: &MemberId) {
        let Some(holds) = self.uncovered(now, mediator, peer) else { return };
        let Some(to) = self.addressee(peer) else { return };
        let Some(state) = self.peers.get(peer) else { return };
        let receipts =
            holds.receipts.iter().filter_map(|id| state.debt().receipt(*id)).cloned().map(Frame::Receipt);
        let entries = holds.entries.iter().copied().map(Outgoing::Stored);
        let contents = entries.chain(receipts.map(Outgoing::Frame)).collect();
        let parcel = ParcelId(self.custody.next);
        self.custody.next += 1;
        let until = now.monotonic + ANSWERS_WITHIN + Pace::default().patience(2 * holds.bytes);
        let under_way = UnderWay { mediator: mediator.clone(), peer: peer.clone(), holds, until };
        self.custody.parcels.insert(parcel, under_way);
        self.outputs.push_back(Output::Deposit { parcel, mediator: mediator.clone(), to, contents });
    }

    /// What a mediator is to be given for a peer next: what is late and it does not keep, in the order of service, as much as one
    /// envelope holds; and receipts for what came by custody, at once.
    fn uncovered(&self, now: Now, mediator: &MemberId, peer: &MemberId) -> Option<Holds> {
        let state = self.peers.get(peer)?;
        let late = state.is_late(now);
        let debt: &Debt = state.debt();
        let nothing = BTreeMap::new();
        let covered = self.custody.covered.get(&(mediator.clone(), peer.clone())).unwrap_or(&nothing);
        // What is covered is owed: as many, and it is all of it.
        let all = covered.len() >= debt.len() + debt.statements().count();
        if debt.unsaid().next().is_none() && (all || !late) {
            return None;
        }
        let mut holds = Holds::default();
        let mut room = limits::PARCEL;
        let mut fits = |size: usize| {
            let fits = size <= room;
            room = room.saturating_sub(if fits { size } else { room });
            fits
        };
        let full = self.is_nearly_full(mediator, peer);
        if late {
            let turns: BTreeSet<_> = debt.turns().collect();
            for turn in turns {
                let size = self.transcript.get(&turn.hash).map_or(0, |node| node.size + 80);
                if full && !turn.is_urgent() || covered.contains_key(&Thing::Entry(turn.hash)) {
                    continue;
                }
                if holds.entries.len() >= limits::PARCEL_FRAMES || !fits(size) {
                    break;
                }
                holds.entries.push(turn.hash);
            }
        }
        let statements = debt.statements().filter(|_| late);
        for id in debt.unsaid().chain(statements) {
            let uncovered = !covered.contains_key(&Thing::Receipt(id));
            if uncovered && holds.receipts.len() < limits::PARCEL_FRAMES && fits(limits::RECEIPT) {
                holds.receipts.push(id);
            }
        }
        holds.bytes = limits::PARCEL - room;
        let is_empty = holds.entries.is_empty() && holds.receipts.is_empty();
        if is_empty { None } else { Some(holds) }
    }

    /// A quarter of what a mediator keeps is left to what is urgent.
    fn is_nearly_full(&self, mediator: &MemberId, peer: &MemberId) -> bool {
        let used = self.custody.mediators.get(mediator).and_then(|known| known.used.get(peer));
        used.is_some_and(|used| *used > self.config.charter.policy.custody.0 / 4 * 3)
    }

    /// A mediator answered for a parcel: it keeps it.
    pub(super) fn parcel_kept(&mut self, parcel: ParcelId, salt: Salt, keeps: &Keeps) {
        let Some(UnderWay { mediator, peer, holds, .. }) = self.custody.parcels.get(&parcel) else { return };
        let (mediator, peer, holds) = (mediator.clone(), peer.clone(), holds.clone());
        let checked = self.statement_by(&mediator, &keeps.statement).and_then(|statement| {
            let Stated::Kept { from, to, content, .. } = &statement.says else {
                return Err("it is not about custody".to_owned());
            };
            let same = *from == self.config.me
                && *to == peer
                && *content == salt.content(holds.entries.iter().copied());
            if same { Ok(statement) } else { Err("it is about another envelope".to_owned()) }
        });
        if let Some(attendance) = self.custody.mediators.get_mut(&mediator) {
            attendance.used.insert(peer.clone(), keeps.used);
        }
        let statement = match checked {
            Ok(statement) => statement,
            Err(why) => return self.parcel_failed(parcel, format!("its word does not hold: {why}")),
        };
        if self.commits.is_full() {
            // It keeps what we do not know of: deposited again, that does no harm.
            self.custody.parcels.remove(&parcel);
            return;
        }
        let deposited = Deposited {
            statement: keeps.statement.clone(),
            salt,
            entries: holds.entries,
            receipts: holds.receipts,
        };
        let entries = deposited.entries.clone();
        let then = Then::InCustody { parcel, entries, peer, mediator };
        self.commit(vec![Prepared::Deposited(Box::new(statement), Box::new(deposited))], vec![then]);
    }

    /// What became of a parcel is settled: the next one may follow.
    pub(super) fn parcel_settled(&mut self, parcel: ParcelId) {
        self.custody.parcels.remove(&parcel);
    }

    /// A mediator does not keep a parcel.
    pub(super) fn parcel_refused(&mut self, now: Now, parcel: ParcelId, why: NotKept) {
        let Some(UnderWay { mediator, peer, .. }) = self.custody.parcels.get(&parcel) else { return };
        let (mediator, peer) = (mediator.clone(), peer.clone());
        if let Some(attendance) = self.custody.mediators.get_mut(&mediator) {
            attendance.not_before.insert(peer.clone(), now.monotonic + ASK_AGAIN);
            if let NotKept::Full { used, .. } = why {
                attendance.used.insert(peer.clone(), used);
            }
        }
        self.custody.parcels.remove(&parcel);
        self.emit(Event::CustodyRefused { mediator, peer, why });
    }

    /// A mediator keeps it, and we could not write that down: it is given to it again later, which does no harm.
    pub(super) fn parcel_refused_by_our_disk(&mut self, now: Now, parcel: ParcelId) {
        if let Some(UnderWay { mediator, peer, .. }) = self.custody.parcels.remove(&parcel)
            && let Some(attendance) = self.custody.mediators.get_mut(&mediator)
        {
            attendance.not_before.insert(peer, now.monotonic + ASK_AGAIN);
        }
    }

    fn parcel_failed(&mut self, parcel: ParcelId, why: String) {
        // It stays under way, so that the same mediator is not asked again before it comes anew.
        if let Some(UnderWay { mediator, .. }) = self.custody.parcels.get(&parcel) {
            let mediator = mediator.clone();
            self.emit(Event::MediatorRefused { mediator, why });
        }
    }

    /// Takes a mediator's durable word into the state.
    pub(super) fn apply_deposited(&mut self, statement: &Statement, deposited: Deposited) {
        let Stated::Kept { to, .. } = &statement.says else { return };
        let holds = Holds { entries: deposited.entries, receipts: deposited.receipts, bytes: 0 };
        let Some(state) = self.peers.get_mut(to) else { return };
        for receipt in &holds.receipts {
            state.said(*receipt);
        }
        let covered = self.custody.covered.entry((statement.by.clone(), to.clone())).or_default();
        for thing in holds.things() {
            let owed = match thing {
                Thing::Entry(entry) => state.debt().owes(&entry),
                Thing::Receipt(receipt) => state.debt().statement(receipt).is_some(),
            };
            if owed {
                covered.insert(thing, None);
            }
        }
        self.evidence.add_statement(statement, &holds.entries);
        let kept = InCustody { mediator: statement.by.clone(), peer: to.clone(), holds };
        self.custody.kept.insert(statement.envelope, kept);
    }

    /// A mediator tells how an envelope of ours has ended.
    pub(super) fn custody_ended(&mut self, now: Now, mediator: &MemberId, signed: &SignedStatement) {
        let channel = self.transcript.channel();
        let claimed = match signed.claims(channel) {
            Ok(claimed) => claimed,
            Err(why) => return self.mediator_refused(mediator, why.to_string()),
        };
        let noted = Named { channel, envelope: claimed.envelope };
        let Some(kept) = self.custody.kept.get(&claimed.envelope) else {
            if self.commits.has_deposit(&claimed.envelope) {
                return self.hear_ends_again(now, mediator);
            }
            // We died before its word was durable here. What it held is still owed.
            return self.tell(mediator, ToMediator::Noted(noted));
        };
        let by = match &claimed.says {
            Stated::Kept { .. } => {
                return self.mediator_refused(mediator, "custody has not ended".to_owned());
            }
            Stated::Expired { .. } => kept.mediator.clone(),
            Stated::Collected { .. } | Stated::Unopenable { .. } => kept.peer.clone(),
        };
        let checked = self.statement_by(&by, signed);
        if checked.is_err() || self.commits.is_full() {
            // The card may only be on its way to us.
            self.hear_ends_again(now, mediator);
        }
        let statement = match checked {
            Ok(statement) => statement,
            Err(why) => return self.mediator_refused(mediator, why),
        };
        if !self.commits.is_full() {
            let then = Then::Tell { mediator: mediator.clone(), message: ToMediator::Noted(noted) };
            self.commit(vec![Prepared::CustodyEnded(Box::new(statement), signed.clone())], vec![then]);
        }
    }

    /// How envelopes have ended is asked again in a while.
    fn hear_ends_again(&mut self, now: Now, mediator: &MemberId) {
        if let Some(attendance) = self.custody.mediators.get_mut(mediator) {
            attendance.ends_at.get_or_insert(now.monotonic + ASK_AGAIN);
        }
    }

    /// Takes the durable end of an envelope into the state. What it held and is still owed is deposited again: at once when it cannot have
    /// arrived, after a while when a receipt may be on its way.
    pub(super) fn apply_custody_ended(&mut self, now: Now, statement: &Statement) -> Vec<Event> {
        let Some(InCustody { mediator, peer, holds }) = self.custody.kept.remove(&statement.envelope) else {
            return Vec::new();
        };
        self.evidence.add_statement(statement, &holds.entries);
        let collected = matches!(statement.says, Stated::Collected { .. });
        let all = matches!(statement.says, Stated::Collected { all: true });
        let mut confirmed = Vec::new();
        let covered = self.custody.covered.entry((mediator.clone(), peer.clone())).or_default();
        for thing in holds.things() {
            match (thing, covered.get_mut(&thing)) {
                // Its node has said that it took this in, durably.
                (Thing::Receipt(receipt), _) if all => confirmed.push(receipt),
                (thing, Some(until)) if collected => {
                    let in_vain = self.custody.in_vain.entry(thing).or_default();
                    let wait = AGAIN * 2_u32.saturating_pow((*in_vain).min(16));
                    *in_vain += 1;
                    *until = Some(now.monotonic + wait.min(AGAIN_AT_MOST));
                }
                _ => drop(covered.remove(&thing)),
            }
        }
        for receipt in confirmed {
            self.receipt_confirmed(now, receipt);
        }
        if let Stated::Unopenable { .. } = statement.says
            && let Some(attendance) = self.custody.mediators.get_mut(&mediator)
        {
            // Whoever opens nothing must not make us seal without end.
            attendance.not_before.insert(peer.clone(), now.monotonic + ASK_AGAIN);
        }
        let says = statement.says.clone();
        vec![Event::CustodyEnded {
            envelope: statement.envelope,
            entries: holds.entries,
            peer,
            mediator,
            says,
        }]
    }

    /// Checks that a member's node signed a statement, under whatever card of it.
    fn statement_by(&self, by: &MemberId, signed: &SignedStatement) -> Result<Statement, String> {
        let channel = self.transcript.channel();
        let claimed = signed.claims(channel).map_err(|why| why.to_string())?;
        if claimed.by != *by {
            return Err(format!("it is by {}", claimed.by));
        }
        let cards = self.cards.get(&(claimed.by.clone(), claimed.by_card)).map_or(&[][..], Vec::as_slice);
        let verified = cards.iter().find_map(|card| signed.verify(channel, &card.node).ok());
        verified.ok_or_else(|| format!("card {} of {by} has not signed it", claimed.by_card))
    }

    /// Takes in what came in an envelope: from a mediator, who is told when it is durable, or by hand.
    pub(super) fn envelope_opened(
        &mut self,
        now: Now,
        from: Option<&MemberId>,
        envelope: EnvelopeHash,
        opened: Option<Vec<Result<Frame, FrameError>>>,
    ) {
        let Some(frames) = opened else {
            let Some(mediator) = from else { return };
            let newest = self.prekeys.own().cloned();
            return self.say_ended(now, mediator, envelope, Stated::Unopenable { newest });
        };
        if !self.commits.have_room_for(frames.len()) {
            return self.ask_later(now, from);
        }
        let refusals = self.refusals;
        for frame in frames {
            match frame {
                Ok(frame) => self.receive_sealed(now, frame),
                Err(why) => self.sealed_refused(&format!("a frame in an envelope: {why}")),
            }
        }
        let Some(mediator) = from.cloned() else { return };
        // Whatever of it is under way, also because it came another way a moment ago.
        self.ask_later(now, Some(&mediator));
        let all = self.refusals == refusals;
        let then = Then::Collected { mediator: mediator.clone(), envelope, all };
        if !self.commits.when_all_is_durable(then) {
            self.say_ended(now, &mediator, envelope, Stated::Collected { all });
        }
    }

    /// Signs how an envelope that was handed to us has ended, and asks for the next one.
    pub(super) fn say_ended(&mut self, now: Now, mediator: &MemberId, envelope: EnvelopeHash, says: Stated) {
        let me = (self.config.me.clone(), self.config.card.serial);
        let statement = Statement::new(self.transcript.channel(), envelope, me, now.wall, says);
        let signed = statement.sign(&self.config.key);
        self.tell(mediator, ToMediator::Ended(signed));
        self.ask_for_next(now, mediator);
    }

    /// An envelope could not be taken now, or its answer may fail with the disk.
    fn ask_later(&mut self, now: Now, mediator: Option<&MemberId>) {
        if let Some(attendance) = mediator.and_then(|mediator| self.custody.mediators.get_mut(mediator)) {
            attendance.next_at = Some(now.monotonic + ASK_AGAIN);
        }
    }

    fn mediator_refused(&mut self, mediator: &MemberId, why: String) {
        self.emit(Event::MediatorRefused { mediator: mediator.clone(), why });
    }

    /// When something becomes late that a mediator could be given, or is to be tried again.
    pub(super) fn custody_wakes_at(&self, now: Now) -> Option<Duration> {
        let mediators = || self.custody.mediators.values();
        mediators().next()?;
        let late = self.peers.values().filter_map(Peer::late_at);
        let again = self.custody.covered.values().flat_map(BTreeMap::values).filter_map(|until| *until);
        let asked = mediators()
            .flat_map(|known| known.not_before.values().copied().chain(known.next_at).chain(known.ends_at));
        // What is late already waits for an answer of some mediator.
        let parcels = self.custody.parcels.values().map(|parcel| parcel.until);
        late.chain(again).chain(parcels).chain(asked).filter(|at| *at > now.monotonic).min()
    }
}
