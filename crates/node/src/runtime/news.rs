//! What is told as it happens: links that come and go, and the alarms of the node's [book](super::alarms::book). Listeners who are
//! slow miss some; an alarm that nobody takes is told again.

use std::{
    io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

pub(crate) use demarche_control::types::Cause;
use demarche_control::types::{Alarm, AlarmCount, Event, EventKind};
use demarche_protocol::{hash::ChannelId, identity::member::MemberId, time::Now};
use tokio::sync::broadcast;

use super::{
    alarms::{
        book::{About, Book, Found, NotThere, Told},
        file::{File, Saved},
    },
    clock::{Clock, wall},
};
use crate::defaults::NEWS;

/// The node's transient events.
pub(crate) struct News {
    events: broadcast::Sender<Event>,
    clock: Clock,
    alarms: Mutex<Book>,
    /// Where the alarms outlive the process.
    file: Mutex<Option<File>>,
}

/// Why alarms were not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    #[error(transparent)]
    NotThere(#[from] NotThere),
    /// After a restart nobody would know.
    #[error("that they are taken cannot be written down")]
    Unwritten(#[from] io::Error),
}

impl News {
    /// News of a node whose alarms stand in this file.
    pub(crate) fn open(path: PathBuf) -> Self {
        let (file, saved) = File::read(path);
        Self::of(Some(file), saved)
    }

    fn of(file: Option<File>, saved: Saved) -> Self {
        let clock = Clock::start();
        let alarms = Mutex::new(Book::new(clock.now(), saved));
        Self { events: broadcast::Sender::new(NEWS), clock, alarms, file: Mutex::new(file) }
    }

    /// Listens from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Tells an event.
    pub(crate) fn tell(&self, event: Event) {
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }

    /// A link to a peer came up or went down.
    pub(crate) fn link(&self, channel: ChannelId, peer: &MemberId, detail: String) {
        tracing::info!(channel = channel.short(), peer = peer.as_str(), "{detail}");
        self.tell(Event { peer: Some(peer.clone()), ..plain(Some(channel), EventKind::Link, detail) });
    }

    /// Something that an operator must look at, in a channel or at the node itself.
    pub(crate) fn alarm(
        &self,
        channel: impl Into<Option<ChannelId>>,
        peer: Option<&MemberId>,
        cause: Cause,
        detail: String,
    ) {
        let about = About { cause, channel: channel.into(), peer: peer.cloned(), entry: None };
        self.write(|book, now| book.raise(now, about, detail));
    }

    /// The cause of an alarm has ended: whoever sees it is told so.
    pub(crate) fn over(&self, channel: impl Into<Option<ChannelId>>, peer: Option<&MemberId>, cause: Cause) {
        let about = About { cause, channel: channel.into(), peer: peer.cloned(), entry: None };
        self.write(|book, now| book.over(now, &about));
    }

    /// A channel was looked at.
    pub(crate) fn settle(&self, channel: ChannelId, found: Found) {
        self.write(|book, now| book.settle(now, channel, found));
    }

    /// These channels are looked at, and no others.
    pub(crate) fn keep_alarms_of(&self, channels: &[ChannelId]) {
        self.write(|book, now| book.keep_only(now, channels));
    }

    /// Tells again what nobody has taken, where it is time.
    pub(crate) fn call_again(&self) {
        self.write(Book::call);
    }

    /// Somebody takes these alarms by name. Durable when it returns.
    pub(crate) fn take(&self, numbers: &[u64], by: &str) -> Result<Vec<Alarm>, TakeError> {
        // Nobody else writes until the book says what the file does.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self.read(Book::clone);
        let (now, before) = (self.clock.now(), taken.changes());
        taken.take(now, numbers, by)?;
        // A full disk is not asked to write that somebody minds it.
        if taken.changes() != before
            && let Some(file) = file.as_mut()
        {
            file.write_ahead(&taken)?;
        }
        let mut all = Vec::new();
        self.write(|book, _| {
            // What has ended meanwhile needs nobody any more.
            let stands = |number: &u64| book.stands(*number).is_ok();
            let still: Vec<u64> = numbers.iter().copied().filter(stands).collect();
            all = book.take(now, &still, by).unwrap_or_default();
        });
        Ok(all)
    }

    /// Makes durable what must outlive the process; `always`, whether or not something has changed. That it fails is an alarm.
    pub(crate) fn save_alarms(&self, always: bool) -> Result<(), String> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = file.as_mut().map_or(Ok(()), |file| file.write(always, &self.read(Book::clone)));
        drop(file);
        if written.is_ok() {
            self.over(None, None, Cause::Store);
        }
        written.map_err(|error| {
            let why = format!("the alarms cannot be written down: {error}");
            self.alarm(None, None, Cause::Store, why.clone());
            why
        })
    }

    /// All alarms, in the order in which they are to be looked at.
    pub(crate) fn alarms(&self) -> Vec<Alarm> {
        self.read(Book::list)
    }

    /// How many there are.
    pub(crate) fn count_alarms(&self) -> AlarmCount {
        self.read(Book::count)
    }

    fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.alarms.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the book, and tells what is to be told then.
    fn write(&self, change: impl FnOnce(&mut Book, Now)) {
        let mut book = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut book, self.clock.now());
        let told = book.drain();
        drop(book);
        for told in told {
            log(&told.alarm);
            self.tell(event(told));
        }
    }
}

fn log(alarm: &Alarm) {
    let Alarm { number, cause, times, detail, .. } = alarm;
    let (channel, peer) =
        (alarm.channel.map(|channel| channel.short()), alarm.peer.as_ref().map(MemberId::as_str));
    if let Some(since) = alarm.over {
        tracing::info!(channel, peer, number, %cause, %since, detail, "what was alarmed is over");
    } else if let Some(taken) = &alarm.taken {
        tracing::info!(channel, peer, number, %cause, by = taken.by, detail, "an alarm is taken");
    } else {
        tracing::warn!(channel, peer, number, %cause, detail, count = times, "alarm");
    }
}

/// What is told of an alarm.
fn event(told: Told) -> Event {
    let Told { alarm, header } = told;
    let detail = match (&alarm.over, &alarm.taken) {
        (Some(_), _) => format!("over: {}", alarm.detail),
        (None, Some(taken)) => format!("taken by {}: {}", taken.by, alarm.detail),
        (None, None) => alarm.detail.clone(),
    };
    let (channel, peer) = (alarm.channel, alarm.peer.clone());
    Event { header, peer, alarm: Some(alarm), ..plain(channel, EventKind::Alarm, detail) }
}

/// An event of a kind, now, with one sentence.
pub(crate) fn plain(channel: Option<ChannelId>, kind: EventKind, detail: String) -> Event {
    Event {
        id: None,
        channel,
        kind,
        at: Some(wall()),
        header: None,
        evidence: None,
        peer: None,
        alarm: None,
        detail: Some(detail),
    }
}

#[cfg(test)]
impl News {
    /// News of a node that remembers no alarms.
    pub(crate) fn new() -> Self {
        Self::of(None, Saved::default())
    }

    /// Tells again what would be told then.
    pub(crate) fn call_again_after(&self, later: std::time::Duration) {
        self.write(|book, Now { monotonic, wall }| {
            book.call(Now { monotonic: monotonic + later, wall: wall.plus(later) });
        });
    }
}
