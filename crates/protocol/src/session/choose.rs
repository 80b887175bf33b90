//! Which session lives, when several to one peer overlap. The rule stands here once, for the simulator and the node.
//!
//! Streams are lost without either side noticing, both sides open at the same moment, a peer restarts and comes back
//! while its old session still looks alive. Frames are idempotent, so two sessions at once do no harm; what must not
//! happen is that the two sides settle on different ones, each closing the other's. Four rules prevent it:
//!
//! 1. *Open only when nothing is under way*: no handshake either way and no session still waiting for its first Hello; and only
//!    when no session is left, or the one in use is our own and due. So whatever a side opens is newer than all it knows.
//! 2. *Crossing*: of two handshakes that cross, the one opened by the lower party id stays. The higher side drops its
//!    own and answers. The lower side lets the incoming one wait, and answers it if its own fails or dawdles:
//!    a path that works one way round only must not stop both.
//! 3. *Newer means begun later*, by this side's own count of first messages sent or received; never completed
//!    later. The last word of a dead session may come after its successor's.
//! 4. *A completed session replaces those begun before it when the peer's first valid Hello arrives in it*: only then is
//!    it known to work both ways. Until then it is greeted, and the old one carries the frames; with no old one it carries
//!    them at once.
//!
//! 5. *A session in use that has fallen silent* ([`Sessions::said`], [`Sessions::heard`]) may be replaced over another way before it has
//!    ended, by whichever side misses an answer. Rule 4 decides then as well.
//!
//! Why both sides agree: a session completes at its responder only after its opener has sent message 3, so the
//! opener has the last word on which of its attempts can live at all. By rules 1, 2 and 5, of two sessions alive
//! at both ends the opener of the second began it after it had seen the first complete. By then the first had begun at both
//! ends, so both number them alike.
//!
//! The struct decides and remembers; the caller owns streams and keys. Every method answers with decisions to be carried
//! out in order. A session named in a `Close` is forgotten; nothing more need be said of it.

use std::time::Duration;

use super::pulse::{Pulse, Silence};
use crate::{
    identity::member::MemberId,
    limits::{
        HANDSHAKE_TIME, REHANDSHAKE_EVERY, REOPEN_AFTER, REOPEN_AT_MOST, REOPEN_PATIENCE, SESSION_LIFE,
    },
    time::Now,
};

/// How long the lower side lets a crossing handshake wait for its own: half the time a handshake has, so that
/// the other half is left to answer it.
const CROSSING_WAITS: Duration = Duration::from_millis(HANDSHAKE_TIME.as_secs() * 1000 / 2);

/// A session or the attempt at one, as this side counts them: higher is begun later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// Which side opened a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedBy {
    /// This side.
    Us,
    /// The other side.
    Peer,
}

/// Why a session or attempt is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A newer session carries the frames. Say so in a last frame, `Close(rekeyed)`.
    Rekeyed,
    /// It has lived as long as a session may. Say so in a last frame, `Close(rekeyed)`.
    Expired,
    /// It gave way to a handshake that crossed it. Drop the stream.
    Crossed,
    /// Its opener has begun another since, and so has given it up. Drop the stream.
    GivenUp,
    /// The handshake, or the first Hello, did not come in time. Drop the stream.
    TimedOut,
}

/// What the caller is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Open a stream to the peer and send message 1.
    Open(SessionId),
    /// Answer message 1 of this incoming stream.
    Answer(SessionId),
    /// Send a Hello in it, and go on using the other.
    Greet(SessionId),
    /// From now on send everything in it, a Hello first.
    Use(SessionId),
    /// End it; forgotten here.
    Close(SessionId, Ending),
    /// Ask the peer in it something that it answers at once, whatever its disk does.
    Ask(SessionId),
    /// A question in it was not answered, and nothing else was heard. Where there is another way to the peer than the one that
    /// carries it, say [`Sessions::elsewhere`]. Said again while the silence lasts.
    Doubt(SessionId),
    /// No session is left.
    Down,
}

/// The sessions with one peer in one channel.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// Our party id is the lower one.
    lower: bool,
    next: u64,
    /// In the order begun. Never more than five: in use, waiting for Hello, and three unfinished.
    all: Vec<Tracked>,
    in_use: Option<SessionId>,
    /// Attempts since a session last held.
    failures: u32,
    /// Not to be opened before.
    open_at: Duration,
}

#[derive(Clone, Debug)]
struct Tracked {
    id: SessionId,
    opened_by: OpenedBy,
    stage: Stage,
    /// When it reached the stage.
    since: Duration,
    /// Once it is complete.
    pulse: Option<Pulse>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Incoming, and not answered while our own crosses it.
    Waiting,
    /// Its handshake is under way.
    Handshake,
    /// Complete; the peer's Hello has not come.
    Complete,
    /// Known to work both ways.
    Greeted {
        /// When it completed: its age counts from there.
        complete_at: Duration,
        /// It has carried enough frames.
        worn: bool,
    },
}

impl Sessions {
    /// No session yet with `peer`, which is another party than `us`.
    pub fn new(us: &MemberId, peer: &MemberId, now: Now) -> Self {
        let mut sessions = Self {
            lower: us < peer,
            next: 0,
            all: Vec::new(),
            in_use: None,
            failures: 0,
            open_at: Duration::ZERO,
        };
        sessions.open_at = now.monotonic + sessions.patience();
        sessions
    }

    /// The session in which frames are sent, if any.
    pub const fn in_use(&self) -> Option<SessionId> {
        self.in_use
    }

    /// Message 1 of a stream that the peer opened has come; or the stream, if the caller reads no further
    /// before it is told to answer.
    pub fn incoming(&mut self, now: Now) -> (SessionId, Vec<Decision>) {
        let mut out = Vec::new();
        self.close_where(&mut out, Ending::GivenUp, |other| {
            other.opened_by == OpenedBy::Peer && matches!(other.stage, Stage::Waiting | Stage::Handshake)
        });
        let crossing = self.own_handshake().is_some();
        let stage = if crossing && self.lower { Stage::Waiting } else { Stage::Handshake };
        if stage == Stage::Handshake {
            self.close_where(&mut out, Ending::Crossed, Tracked::is_own_handshake);
        }
        let id = self.begin(OpenedBy::Peer, stage, now);
        if stage == Stage::Handshake {
            out.push(Decision::Answer(id));
        }
        (id, out)
    }

    /// A session that the peer opened has completed, and only its card told whose it is: the node is
    /// a renewed one, whose key was not known before. Takes the place of [`Sessions::incoming`] and
    /// [`Sessions::completed`].
    pub fn adopted(&mut self, now: Now) -> (SessionId, Vec<Decision>) {
        let mut out = Vec::new();
        // Ours was addressed to the old node.
        self.close_where(&mut out, Ending::Crossed, Tracked::is_own_handshake);
        let id = self.begin(OpenedBy::Peer, Stage::Handshake, now);
        out.extend(self.completed(id, now));
        (id, out)
    }

    /// The handshake has completed and the peer is admitted.
    pub fn completed(&mut self, id: SessionId, now: Now) -> Vec<Decision> {
        let mut out = Vec::new();
        let Some(session) = self.find(id) else { return out };
        if session.stage != Stage::Handshake {
            return out;
        }
        session.pulse = Some(Pulse::new(now.monotonic.saturating_sub(session.since), now.monotonic));
        session.enter(Stage::Complete, now);
        // What neither carries frames nor is the newest would only pile up; a crossing that waited has lost.
        let in_use = self.in_use;
        let idle =
            |other: &Tracked| other.stage == Stage::Complete && other.id < id && in_use != Some(other.id);
        self.close_where(&mut out, Ending::Rekeyed, idle);
        self.close_where(&mut out, Ending::Crossed, |other| other.stage == Stage::Waiting);
        if self.in_use.is_some() {
            out.push(Decision::Greet(id));
        } else {
            self.in_use = Some(id);
            out.push(Decision::Use(id));
        }
        out
    }

    /// A valid Hello of the peer has come in it.
    pub fn greeted(&mut self, id: SessionId, now: Now) -> Vec<Decision> {
        let mut out = Vec::new();
        let Some(session) = self.find(id) else { return out };
        if session.stage != Stage::Complete {
            return out;
        }
        let complete_at = session.since;
        session.enter(Stage::Greeted { complete_at, worn: false }, now);
        if self.in_use != Some(id) {
            self.in_use = Some(id);
            out.push(Decision::Use(id));
        }
        self.close_where(&mut out, Ending::Rekeyed, |other| other.id < id && other.is_complete());
        self.close_where(&mut out, Ending::GivenUp, |other| other.id < id);
        out
    }

    /// It has carried as many frames as a session should ([`Session::is_worn`]). Of no effect when the
    /// peer opened it: the peer counts as well.
    ///
    /// [`Session::is_worn`]: super::Session::is_worn
    pub fn worn(&mut self, id: SessionId, now: Now) -> Vec<Decision> {
        if let Some(Tracked { stage: Stage::Greeted { worn, .. }, .. }) = self.find(id) {
            *worn = true;
        }
        let mut out = Vec::new();
        self.maybe_open(&mut out, now);
        out
    }

    /// A frame of so many bytes was sent in it. `asks` says whether the peer answers it by itself, at once but for its disk.
    pub fn said(&mut self, id: SessionId, bytes: usize, asks: bool, now: Now) {
        if let Some(pulse) = self.pulse(id) {
            pulse.said(bytes, asks, now.monotonic);
        }
    }

    /// Something was heard in it, be it part of a frame; how many of the questions put in it that answers, the oldest first.
    pub fn heard(&mut self, id: SessionId, answers: usize, now: Now) {
        if let Some(pulse) = self.pulse(id) {
            pulse.heard(answers, now.monotonic);
        }
    }

    /// There is another way to the peer than that of the session in use, which is in doubt.
    pub fn elsewhere(&mut self, now: Now) -> Vec<Decision> {
        // One that is still to be greeted is such a try already.
        let trying = |other: &Tracked| self.in_use != Some(other.id) && !other.is_greeted();
        if self.in_use.is_none() || self.all.iter().any(trying) {
            return Vec::new();
        }
        vec![Decision::Open(self.begin(OpenedBy::Us, Stage::Handshake, now))]
    }

    /// Its stream ended, its handshake failed or was refused, or the peer closed it.
    pub fn closed(&mut self, id: SessionId, now: Now) -> Vec<Decision> {
        let mut out = Vec::new();
        if let Some(at) = self.all.iter().position(|session| session.id == id) {
            let session = self.all.remove(at);
            self.after_loss(&session, now);
            self.settle(&mut out, now);
        }
        out
    }

    /// Something changed that lets a new attempt look better than the last ones did: a link came up, a new
    /// card is known.
    pub fn retry(&mut self, now: Now) -> Vec<Decision> {
        self.failures = 0;
        self.open_at = self.open_at.min(now.monotonic + self.patience());
        let mut out = Vec::new();
        self.maybe_open(&mut out, now);
        out
    }

    /// The way of a session that was just lost has failed, and there is another that has not. The first loss in a row is not waited
    /// after; a peer that takes sessions and drops them, over whatever ways, is still left its pauses.
    pub fn another_way(&mut self, now: Now) -> Vec<Decision> {
        if self.failures <= 1 {
            self.open_at = self.open_at.min(now.monotonic + self.patience());
        }
        let mut out = Vec::new();
        self.maybe_open(&mut out, now);
        out
    }

    /// Time has passed: to be called at [`Sessions::wake_at`], and whenever it suits. The first call opens
    /// the first session.
    pub fn tick(&mut self, now: Now) -> Vec<Decision> {
        let mut out = Vec::new();
        while let Some((session, ending)) = self.overdue(now) {
            self.all.retain(|other| other.id != session.id);
            out.push(Decision::Close(session.id, ending));
            self.after_loss(&session, now);
        }
        self.settle(&mut out, now);
        self.listen(&mut out, now);
        out
    }

    /// When [`Sessions::tick`] is next due, on the monotonic clock.
    pub fn wake_at(&self) -> Option<Duration> {
        let waiting = self.waiting().map(|waiting| waiting.since + CROSSING_WAITS);
        let deadlines = self.all.iter().map(Tracked::deadline);
        let open = self.open_due_at();
        deadlines.chain(waiting).chain(open).chain(self.silence_at()).min()
    }

    /// Says what a silence in the session in use calls for.
    fn listen(&mut self, out: &mut Vec<Decision>, now: Now) {
        let Some(id) = self.in_use else { return };
        let Some(pulse) = self.pulse(id) else { return };
        match pulse.silence(now.monotonic) {
            Some(Silence::Ask) => {
                pulse.asking();
                out.push(Decision::Ask(id));
            }
            Some(Silence::Doubt) => {
                pulse.doubted(now.monotonic);
                out.push(Decision::Doubt(id));
            }
            None => {}
        }
    }

    fn silence_at(&self) -> Option<Duration> {
        let id = self.in_use?;
        self.all.iter().find(|session| session.id == id)?.pulse.as_ref()?.wakes_at()
    }

    fn pulse(&mut self, id: SessionId) -> Option<&mut Pulse> {
        self.find(id)?.pulse.as_mut()
    }

    fn begin(&mut self, opened_by: OpenedBy, stage: Stage, now: Now) -> SessionId {
        let id = SessionId(self.next);
        self.next += 1;
        self.all.push(Tracked { id, opened_by, stage, since: now.monotonic, pulse: None });
        id
    }

    fn find(&mut self, id: SessionId) -> Option<&mut Tracked> {
        self.all.iter_mut().find(|session| session.id == id)
    }

    fn own_handshake(&self) -> Option<&Tracked> {
        self.all.iter().find(|session| session.is_own_handshake())
    }

    fn waiting(&self) -> Option<&Tracked> {
        self.all.iter().find(|session| session.stage == Stage::Waiting)
    }

    /// Closes on our own account: what follows from it is for the caller to say.
    fn close_where(&mut self, out: &mut Vec<Decision>, ending: Ending, which: impl Fn(&Tracked) -> bool) {
        self.all.retain(|session| {
            let goes = which(session);
            if goes {
                out.push(Decision::Close(session.id, ending));
            }
            !goes
        });
        if self.in_use.is_some_and(|id| self.all.iter().all(|session| session.id != id)) {
            self.in_use = None;
        }
    }

    /// What is past its time, and why it ends.
    fn overdue(&self, now: Now) -> Option<(Tracked, Ending)> {
        if let (Some(waiting), Some(own)) = (self.waiting(), self.own_handshake())
            && now.monotonic >= waiting.since + CROSSING_WAITS
        {
            return Some((own.clone(), Ending::Crossed));
        }
        let late = self.all.iter().find(|session| now.monotonic >= session.deadline())?;
        let ending = if late.is_greeted() { Ending::Expired } else { Ending::TimedOut };
        Some((late.clone(), ending))
    }

    /// When to try again after this one is gone.
    fn after_loss(&mut self, lost: &Tracked, now: Now) {
        match lost.stage {
            Stage::Greeted { .. } if now.monotonic.saturating_sub(lost.since) >= REOPEN_AT_MOST => {
                self.failures = 0;
                self.open_at = now.monotonic + self.patience();
            }
            // The peer tries as well: it may have its next attempt under way.
            _ if lost.opened_by == OpenedBy::Peer && !lost.is_complete() => {
                self.open_at = self.open_at.max(now.monotonic + self.patience());
            }
            // An attempt failed, or a session ended as soon as it stood.
            _ => {
                self.failures = self.failures.saturating_add(1);
                let doubled = REOPEN_AFTER.saturating_mul(1 << (self.failures - 1).min(16));
                self.open_at = now.monotonic + doubled.min(REOPEN_AT_MOST) + self.patience();
            }
        }
    }

    /// Puts the next best session to use, lets a waiting handshake go on, opens one if none is left.
    fn settle(&mut self, out: &mut Vec<Decision>, now: Now) {
        if self.in_use.is_some_and(|id| self.all.iter().all(|session| session.id != id)) {
            let best = self.all.iter().rev().filter(|session| session.is_complete());
            self.in_use = best.max_by_key(|session| session.is_greeted()).map(|session| session.id);
            out.push(self.in_use.map_or(Decision::Down, Decision::Use));
        }
        if self.own_handshake().is_none()
            && let Some(waiting) = self.all.iter_mut().find(|session| session.stage == Stage::Waiting)
        {
            waiting.enter(Stage::Handshake, now);
            out.push(Decision::Answer(waiting.id));
        }
        self.maybe_open(out, now);
    }

    fn maybe_open(&mut self, out: &mut Vec<Decision>, now: Now) {
        if self.open_due_at().is_some_and(|due| now.monotonic >= due) {
            out.push(Decision::Open(self.begin(OpenedBy::Us, Stage::Handshake, now)));
        }
    }

    /// When this side is to open the next session, if it is to open one at all (rule 1).
    fn open_due_at(&self) -> Option<Duration> {
        if self.all.iter().any(|session| !session.is_greeted()) {
            return None;
        }
        let Some(id) = self.in_use else { return Some(self.open_at) };
        let session = self.all.iter().find(|session| session.id == id)?;
        match (session.opened_by, session.stage) {
            (OpenedBy::Us, Stage::Greeted { worn: true, .. }) => Some(self.open_at),
            (OpenedBy::Us, Stage::Greeted { complete_at, .. }) => {
                Some(self.open_at.max(complete_at + REHANDSHAKE_EVERY))
            }
            _ => None,
        }
    }

    /// The higher side leaves the lower a moment, so that they do not cross as a matter of course.
    const fn patience(&self) -> Duration {
        if self.lower { Duration::ZERO } else { REOPEN_PATIENCE }
    }
}

impl Tracked {
    fn enter(&mut self, stage: Stage, now: Now) {
        self.stage = stage;
        self.since = now.monotonic;
    }

    fn is_own_handshake(&self) -> bool {
        self.opened_by == OpenedBy::Us && self.stage == Stage::Handshake
    }

    const fn is_greeted(&self) -> bool {
        matches!(self.stage, Stage::Greeted { .. })
    }

    const fn is_complete(&self) -> bool {
        matches!(self.stage, Stage::Complete | Stage::Greeted { .. })
    }

    fn deadline(&self) -> Duration {
        match self.stage {
            Stage::Waiting | Stage::Handshake | Stage::Complete => self.since + HANDSHAKE_TIME,
            Stage::Greeted { complete_at, .. } => complete_at + SESSION_LIFE,
        }
    }
}
