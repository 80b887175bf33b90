//! The channel: the sans-IO machine that keeps a party's log and replicates all logs.
//!
//! One [`Input`] goes in, one ordered stream of [`Output`] comes out, time is passed in. Nothing that claims durability is produced
//! before the [`Commit`](Output::Commit) that it rests on has been answered by [`Input::Committed`]: "durable before spoken" is a property of this
//! type that the simulator checks, not of call order in the driver.
//!
//! Drain [`Channel::poll_output`] after every [`Channel::handle`]. The machine's whole memory is the sequence of
//! [`Record`]s that it asked to commit: [`Channel::restore`] makes it again from them.

mod commit;
mod custody;
mod debt;
mod evidence;
pub mod io;
mod line_test;
mod pace;
mod path;
mod peer;
mod prekeys;
mod receive;
mod restore;
mod want;
mod writer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use crate::frame::{
    CloseReason, Confirm, Frame, FrameError, Hello, LineTest, PrekeyHeld, SignedLineTest, Want,
};
pub use custody::{Deposited, ParcelId};
pub use evidence::Evidence;
pub use io::{
    Batch, CommitFailure, Event, Input, LineTestResult, Outgoing, Output, Record, Refusal, RequestId, Ticket,
};
pub use prekeys::Addressee;
pub use restore::RestoreError;

use crate::{
    charter::Charter,
    identity::{
        Verified,
        card::{Card, CardSerial},
        keys::SecretKey,
        member::MemberId,
        roster::Roster,
    },
    time::Now,
    transcript::Transcript,
};
use commit::Commits;
use custody::Custody;
use line_test::LineTests;
use peer::Peer;
use prekeys::Prekeys;
use writer::Writer;

/// What a channel is made of before anything has been said.
pub struct Config {
    /// The charter that founds it.
    pub charter: Verified<Charter>,
    /// The party that this node speaks for.
    pub me: MemberId,
    /// The node's key, which `card` names.
    pub key: SecretKey,
    /// The node's current card.
    pub card: Verified<Card>,
}

/// One channel at one party's node.
pub struct Channel {
    config: Config,
    roster: Roster,
    /// Every card that the roots vouched for, by member and serial: whose signature an entry needs.
    cards: BTreeMap<(MemberId, CardSerial), Vec<Verified<Card>>>,
    transcript: Transcript,
    /// Volumes of others whose beginning is here.
    volumes: BTreeSet<(MemberId, CardSerial)>,
    evidence: Evidence,
    writer: Writer,
    commits: Commits,
    peers: BTreeMap<MemberId, Peer>,
    line_tests: LineTests,
    custody: Custody,
    prekeys: Prekeys,
    outputs: VecDeque<Output>,
    wake: Option<std::time::Duration>,
    /// How often something was refused.
    refusals: u64,
    stopped: bool,
}

impl Channel {
    /// Takes one input in. Drain [`Channel::poll_output`] afterwards.
    pub fn handle(&mut self, now: Now, input: Input) {
        if self.stopped {
            return self.answer_stopped(&input);
        }
        match input {
            Input::Append { request, document } => self.append(now, request, document),
            Input::Opened { request, entry, officer } => self.opened(now, request, entry, officer),
            Input::Roster { request, document } => self.roster_requested(request, document),
            Input::LineTest { request, peer } => self.test_line(now, request, &peer),
            Input::Frame { peer, frame } => self.receive(now, &peer, frame),
            Input::PathUp { peer } => self.path_up(now, &peer),
            Input::PathDown { peer } => self.path_down(now, &peer),
            Input::MediatorUp { mediator } => self.mediator_up(now, &mediator),
            Input::MediatorDown { mediator } => self.mediator_down(&mediator),
            Input::ParcelKept { parcel, salt, keeps } => self.parcel_kept(parcel, salt, &keeps),
            Input::ParcelRefused { parcel, why } => self.parcel_refused(now, parcel, why),
            Input::CustodyEnded { mediator, statement } => self.custody_ended(now, &mediator, &statement),
            Input::Envelope { from, envelope, opened } => {
                self.envelope_opened(now, from.as_ref(), envelope, opened);
            }
            Input::Prekey { prekey } => self.prekey_received(&prekey),
            Input::NewPrekey { number, prekey } => self.publish_prekey(number, &prekey),
            Input::Sendable { peer, bytes } => {
                if let Some(path) = self.path_to(&peer) {
                    path.credit = bytes;
                }
            }
            Input::Committed(ticket) => self.committed(now, ticket),
            Input::CommitFailed { ticket, failure } => self.commit_failed(now, ticket, failure),
            Input::Tick => self.tick(now),
        }
        if !self.stopped {
            self.pump(now);
            self.deposit(now);
            self.plan_wake(now);
        }
    }

    /// The next output, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The party that this node speaks for.
    pub const fn me(&self) -> &MemberId {
        &self.config.me
    }

    /// The card under which this node writes.
    pub const fn card(&self) -> &Verified<Card> {
        &self.config.card
    }

    /// The channel's roster, as far as it is durable.
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// All logs, as far as they are durable.
    pub const fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The receipts, as far as they are durable.
    pub const fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Why this node may not write under its card any more, if it may not.
    pub fn halted(&self) -> Option<&str> {
        self.writer.halted()
    }

    /// Whether a peer holds an entry that this node has signed under its card and does not hold: its disk was set back, or its key is
    /// elsewhere.
    pub const fn is_set_back(&self) -> bool {
        self.writer.is_set_back()
    }

    /// How many entries of ours a peer has not receipted.
    pub fn owed_to(&self, peer: &MemberId) -> usize {
        self.peers.get(peer).map_or(0, Peer::owed)
    }

    fn emit(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn refuse(&mut self, request: RequestId, why: impl Into<Refusal>) {
        self.emit(Event::Refused { request, why: why.into() });
    }

    fn peer_refused(&mut self, peer: &MemberId, why: impl ToString) {
        self.refusals += 1;
        self.emit(Event::PeerRefused { peer: peer.clone(), why: why.to_string() });
    }

    /// A machine that has stopped says nothing to peers or disk. Whoever asks it something is told why.
    fn answer_stopped(&mut self, input: &Input) {
        match input {
            Input::Append { request, .. }
            | Input::Opened { request, .. }
            | Input::Roster { request, .. }
            | Input::LineTest { request, .. } => self.refuse(*request, Refusal::OutcomeUnknown),
            _ => {}
        }
    }

    fn tick(&mut self, now: Now) {
        self.ensure_volume(now);
        self.greet_again(now);
        for peer in self.peers.values_mut() {
            peer.offer_again(now);
        }
        self.drop_stale_wants(now);
        self.drop_stale_line_tests(now);
        self.tend_custody(now);
    }

    fn plan_wake(&mut self, now: Now) {
        let volume_missing = self.writer.needs_volume().then(|| now.monotonic + writer::OPEN_AGAIN);
        let peers = self.peers.values().filter_map(Peer::wakes_at);
        let others = self.line_tests.wakes_at().into_iter().chain(self.custody_wakes_at(now));
        let next = peers.chain(others).chain(volume_missing).min();
        // A wake that is already due at a coming moment is left as it is, so that it cannot recede for ever.
        let keep =
            self.wake.is_some_and(|wake| wake > now.monotonic && next.is_some_and(|next| wake <= next));
        if !keep && next != self.wake {
            self.wake = next;
            if let Some(at) = next {
                self.outputs.push_back(Output::WakeAt(at));
            }
        }
    }
}
