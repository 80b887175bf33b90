//! The channel's loop: inputs in, outputs carried out, and nothing in between.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use demarche_protocol::{
    channel::{
        Channel as Machine, CloseReason, CommitFailure, Event, Frame, Input, LineTestResult, Outgoing,
        Output, Record, Refusal, RequestId,
    },
    dispatch::Precedence,
    document::SignedDocument,
    hash::ChannelId,
    identity::{member::MemberId, roster::Roster},
    limits::CLOCK_SKEW,
    session::{SessionId, Sessions},
    transcript::{Effect, Facts, Head, Receipt},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::Sleep,
};

use super::{
    handle::{Handle, Look, Message, Recorded, Reply},
    parts::{Parts, Urgent},
    sessions::{Outcome, PeerLine, Stage},
};
use crate::{
    defaults::{DRAIN_WITHIN, REQUESTS},
    link::Links,
    runtime::{
        clock::Clock,
        handshake::Ground,
        items::Items,
        names::node_of,
        news::{Cause, News},
        view::Acknowledgements,
    },
    store::{self, Answer, Answers, Commits, Store},
    throttle::Throttle,
    transport::Transport,
};

/// Frames taken from one session before others get their turn.
const FRAMES_A_TURN: usize = 64;
/// Requests taken before others get their turn.
const REQUESTS_A_TURN: usize = 64;
/// Turns taken before other tasks get theirs.
const TURNS: usize = 32;

/// How a channel's task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was asked to.
    Stopped,
    /// It is not known whether the last records are on disk: the node must stop.
    OutcomeUnknown,
    /// By our own bug.
    Failed,
}

enum Waiting {
    Append(Reply<Recorded>),
    Opened(Reply<Receipt>),
    Roster(Option<Reply<()>>),
    LineTest(Reply<LineTestResult>),
}

pub(super) struct Task {
    pub(super) machine: Machine,
    pub(super) clock: Clock,
    pub(super) ground: Arc<Ground>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) links: Arc<Links>,
    pub(super) news: Arc<News>,
    /// How often this channel's log tells of the same.
    pub(super) throttle: Throttle,
    pub(super) lines: BTreeMap<MemberId, PeerLine>,
    /// Handshakes with nodes that only their card will name.
    pub(super) unnamed: usize,
    /// Not bounded by itself: one outcome for each handshake, and those are bounded.
    pub(super) outcomes_to: mpsc::UnboundedSender<Outcome>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
    peers: Vec<MemberId>,
    store: Arc<dyn Store>,
    commits: Commits,
    answers: Answers,
    items: Items,
    acknowledgements: Acknowledgements,
    messages: mpsc::Receiver<Message>,
    waiting: BTreeMap<RequestId, Waiting>,
    next_request: u64,
    roster: watch::Sender<Roster>,
    roster_changed: Arc<Notify>,
    urgent: Urgent,
    /// The last commit found no room.
    disk_full: bool,
    /// When the machine wants its tick.
    wake: Option<Duration>,
    sleep: Pin<Box<Sleep>>,
    /// Set by a stop: no later than this it ends.
    stop_by: Option<Duration>,
    end: Option<End>,
}

/// Starts a channel's task.
pub(crate) fn spawn(parts: Parts) -> (Handle, JoinHandle<End>) {
    let now = parts.clock.now();
    let machine = parts.machine;
    let id = machine.transcript().channel();
    let charter = machine.transcript().charter().clone();
    let peers: Vec<MemberId> =
        charter.parties.iter().map(|party| party.id.clone()).filter(|party| party != machine.me()).collect();
    let line = |peer: &MemberId| (peer.clone(), PeerLine::new(Sessions::new(machine.me(), peer, now)));
    let lines = peers.iter().map(line).collect();
    let ground = Ground { channel: id, charter, card: machine.card().clone(), secret: parts.secret };
    let (commits, answers) = parts.service.channel(id);
    let (messages_to, messages) = mpsc::channel(REQUESTS);
    let (outcomes_to, outcomes) = mpsc::unbounded_channel();
    let acknowledgements = Acknowledgements::of(&machine);
    if machine.halted().is_none() {
        // Whatever ended the writing under an earlier card.
        parts.news.over(id, None, Cause::NeedsNewCard);
        parts.news.over(id, None, Cause::ThisNodeReplaced);
    }
    let (roster, roster_seen) = watch::channel(machine.roster().clone());
    let task = Task {
        machine,
        clock: parts.clock,
        ground: Arc::new(ground),
        transport: parts.transport,
        links: parts.links,
        news: parts.news,
        throttle: Throttle::default(),
        lines,
        unnamed: 0,
        outcomes_to,
        outcomes,
        peers,
        store: parts.store,
        commits,
        answers,
        items: Items::default(),
        acknowledgements,
        messages,
        waiting: BTreeMap::new(),
        next_request: 0,
        roster,
        roster_changed: parts.roster_changed,
        urgent: parts.urgent,
        disk_full: false,
        wake: None,
        sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
        stop_by: None,
        end: None,
    };
    let handle = Handle { id, name: parts.name, messages: messages_to, roster: roster_seen };
    (handle, tokio::spawn(task.run()))
}

impl Task {
    async fn run(mut self) -> End {
        // What the machine wants after it was restored.
        self.drain();
        let end = poll_fn(|cx| self.poll(cx)).await;
        let mut farewells = JoinSet::new();
        for line in self.lines.into_values() {
            for stage in line.stages.into_values() {
                if let Stage::Live(live) = stage {
                    farewells.spawn(live.farewell(CloseReason::Stopping));
                }
            }
        }
        farewells.join_all().await;
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..TURNS {
            let mut busy = self.poll_answers(cx);
            busy |= self.poll_frames(cx);
            busy |= self.poll_outcomes(cx);
            busy |= self.poll_messages(cx);
            busy |= self.poll_time(cx);
            busy |= self.poll_writes(cx);
            if let Some(end) = self.ended() {
                return Poll::Ready(end);
            }
            if !busy {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn ended(&mut self) -> Option<End> {
        if let Some(end) = self.end.take() {
            self.refuse_all(&Refusal::OutcomeUnknown);
            return Some(end);
        }
        let stop_by = self.stop_by?;
        let idle = !self.waiting.values().any(|waiting| !matches!(waiting, Waiting::LineTest(..)));
        (idle || self.clock.now().monotonic >= stop_by).then_some(End::Stopped)
    }

    pub(super) fn id(&self) -> ChannelId {
        self.ground.channel
    }

    fn poll_answers(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        while let Poll::Ready(Some(answer)) = self.answers.poll_recv(cx) {
            busy = true;
            self.answered(&answer);
        }
        busy
    }

    fn answered(&mut self, answer: &Answer) {
        if self.commits.is_stale(answer) {
            return;
        }
        let now = self.clock.now();
        let input = match answer.outcome {
            store::Outcome::Durable(_) => {
                if std::mem::take(&mut self.disk_full) {
                    self.news.over(self.id(), None, Cause::DiskFull);
                }
                Input::Committed(answer.ticket)
            }
            store::Outcome::Failed(failure) => {
                if failure == CommitFailure::NoSpace {
                    self.commits.forget_failures();
                    self.disk_full = true;
                    let detail = "the disk is full: nothing more is recorded".to_owned();
                    self.news.alarm(self.id(), None, Cause::DiskFull, detail);
                }
                Input::CommitFailed { ticket: answer.ticket, failure }
            }
        };
        self.machine.handle(now, input);
        self.drain();
    }

    fn poll_frames(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        for at in 0..self.peers.len() {
            let peer = self.peers[at].clone();
            let ids = self.lines.get(&peer).map_or_else(Vec::new, PeerLine::live_ids);
            for id in ids {
                busy |= self.poll_session(cx, &peer, id);
            }
        }
        busy
    }

    fn poll_session(&mut self, cx: &mut Context<'_>, peer: &MemberId, id: SessionId) -> bool {
        for taken in 0..FRAMES_A_TURN {
            let Some(live) = self.lines.get_mut(peer).and_then(|line| line.live(id)) else { return true };
            match live.poll_frame(cx) {
                Poll::Pending => return taken > 0,
                Poll::Ready(Err(why)) => {
                    self.lose(peer, id, &why.to_string());
                    return true;
                }
                Poll::Ready(Ok(frame)) => self.received(peer, id, frame),
            }
        }
        true
    }

    fn received(&mut self, peer: &MemberId, id: SessionId, frame: Option<Frame>) {
        let now = self.clock.now();
        let Some(line) = self.lines.get_mut(peer) else { return };
        line.state.last_heard = Some(now.wall);
        let worn = line.live(id).is_some_and(|live| live.is_worn());
        let decisions = match &frame {
            Some(Frame::Close(reason)) => {
                let why = match reason {
                    CloseReason::Rekeyed => "a newer session takes over",
                    CloseReason::Stopping => "its node was stopped",
                    CloseReason::Misbehaved => "it says that we broke the protocol",
                    CloseReason::NotAdmitted => "it does not admit our card any more",
                    CloseReason::Busy => "it cannot take more at the moment",
                };
                return self.lose(peer, id, why);
            }
            Some(Frame::Hello(_)) => line.sessions.greeted(id, now),
            _ if worn => line.sessions.worn(id, now),
            _ => Vec::new(),
        };
        if !decisions.is_empty() {
            self.decide(peer, decisions);
        }
        if let Some(frame) = frame {
            self.machine.handle(now, Input::Frame { peer: peer.clone(), frame });
            self.drain();
        }
    }

    fn poll_outcomes(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        while let Poll::Ready(Some(outcome)) = self.outcomes.poll_recv(cx) {
            busy = true;
            self.handshake_ended(outcome);
        }
        busy
    }

    fn poll_messages(&mut self, cx: &mut Context<'_>) -> bool {
        for taken in 0..REQUESTS_A_TURN {
            match self.messages.poll_recv(cx) {
                Poll::Pending => return taken > 0,
                Poll::Ready(None) => {
                    // Everybody who could ask has gone.
                    self.stop_by.get_or_insert(Duration::ZERO);
                    return taken > 0;
                }
                Poll::Ready(Some(message)) => self.message(message),
            }
        }
        true
    }

    fn message(&mut self, message: Message) {
        // Whoever asks may have been told what is durable since the answers were looked at.
        while let Ok(answer) = self.answers.try_recv() {
            self.answered(&answer);
        }
        match message {
            Message::Append(document, reply) => {
                let request = self.wait(Waiting::Append(reply));
                self.input(Input::Append { request, document });
            }
            Message::Opened(entry, officer, reply) => {
                let request = self.wait(Waiting::Opened(reply));
                self.input(Input::Opened { request, entry, officer });
            }
            Message::Roster(document, reply) => {
                let request = self.wait(Waiting::Roster(Some(reply)));
                self.input(Input::Roster { request, document });
            }
            Message::LineTest(peer, via, reply) => self.line_test(peer, &via, reply),
            Message::Query(query) => {
                let peers: Vec<_> =
                    self.lines.iter().map(|(peer, line)| (peer.clone(), line.state.clone())).collect();
                let acknowledgements = &self.acknowledgements;
                query(&Look { machine: &self.machine, acknowledgements, peers: &peers });
            }
            Message::Incoming(incoming) => self.incoming(incoming),
            Message::LinksChanged => self.retry_all(),
            Message::Stop => {
                let by = self.clock.now().monotonic + DRAIN_WITHIN;
                self.stop_by.get_or_insert(by);
            }
        }
    }

    /// Asks the peer over the session in use, if that is carried by the mediator whose path is to be tested.
    fn line_test(&mut self, peer: MemberId, via: &MemberId, reply: Reply<LineTestResult>) {
        let node = self.machine.roster().current(via).map(|card| node_of(card));
        let used = self.lines.get(&peer).filter(|line| line.state.up).and_then(|line| line.state.via);
        if used.is_none() || used != node {
            // Whoever asked may have gone.
            let _ = reply.send(Err(Refusal::NoPath(peer)));
            return;
        }
        let request = self.wait(Waiting::LineTest(reply));
        self.input(Input::LineTest { request, peer });
    }

    fn input(&mut self, input: Input) {
        self.machine.handle(self.clock.now(), input);
        self.drain();
    }

    /// Takes a document of the roster in on the node's own account.
    pub(super) fn take_roster_document(&mut self, document: SignedDocument) {
        let request = self.wait(Waiting::Roster(None));
        self.input(Input::Roster { request, document });
    }

    fn wait(&mut self, waiting: Waiting) -> RequestId {
        // A line test whose path went is never answered; whoever waited has given up.
        self.waiting.retain(|_, waiting| !matches!(waiting, Waiting::LineTest(reply) if reply.is_closed()));
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.waiting.insert(request, waiting);
        request
    }

    fn poll_time(&mut self, cx: &mut Context<'_>) -> bool {
        let sessions = self.lines.values().filter_map(|line| line.sessions.wake_at()).min();
        let Some(due) = self.wake.into_iter().chain(sessions).chain(self.stop_by).min() else { return false };
        let deadline = self.clock.instant(due);
        if self.sleep.deadline() != deadline {
            self.sleep.as_mut().reset(deadline);
        }
        if self.sleep.as_mut().poll(cx).is_pending() {
            return false;
        }
        let now = self.clock.now();
        self.tick_sessions();
        if self.wake.is_some_and(|at| at <= now.monotonic) {
            self.wake = None;
            self.input(Input::Tick);
        }
        true
    }

    fn poll_writes(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        for at in 0..self.peers.len() {
            let peer = self.peers[at].clone();
            let Some(line) = self.lines.get_mut(&peer) else { continue };
            let in_use = line.sessions.in_use();
            for id in line.live_ids() {
                let Some(session) = self.lines.get_mut(&peer).and_then(|line| line.live(id)) else {
                    continue;
                };
                if let Poll::Ready(Err(why)) = session.poll_write(cx) {
                    self.lose(&peer, id, &why.to_string());
                    busy = true;
                    continue;
                }
                let bytes = session.room();
                if session.tell_room && bytes > 0 && in_use == Some(id) {
                    session.tell_room = false;
                    busy = true;
                    self.input(Input::Sendable { peer: peer.clone(), bytes });
                }
            }
        }
        busy
    }

    /// Carries out what the machine wants.
    pub(super) fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Commit { ticket, batch } => {
                    for record in &batch.records {
                        if let Record::Entry(item) = record {
                            self.items.insert(item);
                        }
                    }
                    self.commits.commit(ticket, batch);
                }
                Output::Transmit { peer, frame } => self.transmit(&peer, frame),
                Output::Event(event) => self.event(event),
                Output::WakeAt(at) => self.wake = Some(at),
            }
        }
    }

    fn transmit(&mut self, peer: &MemberId, frame: Outgoing) {
        let frame = match frame {
            Outgoing::Frame(frame) => frame,
            Outgoing::Stored(entry) => {
                let cached = self.items.get(&entry).cloned();
                let item = cached.map_or_else(|| self.store.item(self.id(), entry), |item| Ok(Some(item)));
                match item {
                    Ok(Some(item)) => Frame::Entry(item),
                    Ok(None) => {
                        let detail = format!("entry {entry} is not in the store");
                        return self.news.alarm(self.id(), None, Cause::Store, detail);
                    }
                    Err(why) => return self.news.alarm(self.id(), None, Cause::Store, why.to_string()),
                }
            }
        };
        let Some((id, live)) = self.lines.get_mut(peer).and_then(PeerLine::in_use) else { return };
        if let Frame::Close(reason) = frame {
            return self.close(peer, id, reason);
        }
        if let Err(why) = live.queue(&frame) {
            tracing::error!(peer = peer.as_str(), %why, "a frame was not sealed");
        }
    }

    fn event(&mut self, event: Event) {
        let channel = self.id();
        match event {
            Event::Recorded { request, entry, new } => {
                self.entered(&entry);
                if let Some(Waiting::Append(reply)) = self.waiting.remove(&request) {
                    // Whoever asked may have gone; the entry stands.
                    let _ = reply.send(Ok(Recorded { entry, new }));
                }
            }
            Event::OpenedRecorded { request, receipt } => {
                if let Some(Waiting::Opened(reply)) = self.waiting.remove(&request) {
                    let _ = reply.send(Ok(receipt));
                }
            }
            Event::RosterTaken { request } => {
                if let Some(Waiting::Roster(Some(reply))) = self.waiting.remove(&request) {
                    let _ = reply.send(Ok(()));
                }
            }
            Event::LineTested { request, result } => {
                if result.skew() <= CLOCK_SKEW {
                    self.news.over(channel, Some(&result.peer), Cause::Clock);
                }
                if let Some(Waiting::LineTest(reply)) = self.waiting.remove(&request) {
                    let _ = reply.send(Ok(result));
                }
            }
            Event::Refused { request, why } => self.refuse(request, &why),
            Event::Arrived { entry } => self.entered(&entry),
            Event::Judged { entry, effect: Effect::Void(why) } => {
                if self.throttle.admits(entry.party.as_str(), &format!("an entry is void: {why}")) {
                    tracing::warn!(channel = channel.short(), %entry, %why, "an entry is void");
                }
            }
            Event::Judged { entry, effect: Effect::Accepted } => self.accepted(entry),
            Event::Judged { .. } | Event::Receipted { .. } => {}
            Event::RosterChanged => {
                self.roster.send_replace(self.machine.roster().clone());
                self.roster_changed.notify_one();
                self.end_replaced_sessions();
            }
            Event::Fork { one, other } => self.news.alarm(
                channel,
                Some(&one.party),
                Cause::Fork,
                format!("two different entries bear the number {one}: {} and {}", one.hash, other.hash),
            ),
            Event::OwnSignatureUnknown { entry } => {
                let detail = format!(
                    "a peer holds {entry} under our own signature, which is not here: this node's disk was set back, or its key is elsewhere. It stops writing until it has a new card: demarche card renew, sign it with the roots, install it"
                );
                self.news.alarm(channel, None, Cause::NeedsNewCard, detail);
                // The node looks whether one lies ready.
                self.roster_changed.notify_one();
            }
            Event::PeerRefused { peer, why } => {
                if !self.throttle.admits(peer.as_str(), &why) {
                    return;
                }
                tracing::warn!(channel = channel.short(), peer = peer.as_str(), why, "something was refused");
            }
            Event::ClockSkew { peer, by } => self.news.alarm(
                channel,
                Some(&peer),
                Cause::Clock,
                format!("its clock and ours differ by {} s", by.as_secs()),
            ),
            Event::Stopped => self.end = Some(End::OutcomeUnknown),
        }
    }

    fn entered(&mut self, entry: &Head) {
        if let Some(node) = self.machine.transcript().get(&entry.hash) {
            self.acknowledgements.enter(node);
        }
    }

    /// An entry counts: at once when it came in, or when what it rests on did.
    fn accepted(&mut self, entry: Head) {
        let node = self.machine.transcript().get(&entry.hash);
        if let Some(Facts::Dispatch(dispatch)) = node.map(|node| &node.facts)
            && dispatch.precedence <= Precedence::Immediate
            && entry.party != *self.machine.me()
        {
            (self.urgent)(self.id(), entry);
        }
    }

    fn refuse(&mut self, request: RequestId, why: &Refusal) {
        let why = why.clone();
        match self.waiting.remove(&request) {
            None => {}
            Some(Waiting::Append(reply)) => drop(reply.send(Err(why))),
            Some(Waiting::Opened(reply)) => drop(reply.send(Err(why))),
            Some(Waiting::Roster(Some(reply))) => drop(reply.send(Err(why))),
            Some(Waiting::Roster(None)) => tracing::warn!(%why, "a card was refused"),
            Some(Waiting::LineTest(reply)) => drop(reply.send(Err(why))),
        }
    }

    fn refuse_all(&mut self, why: &Refusal) {
        while let Some((request, _)) = self.waiting.first_key_value() {
            let request = *request;
            self.refuse(request, why);
        }
    }
}
