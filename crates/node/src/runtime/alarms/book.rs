//! The book of alarms: one for each thing that an alarm can be about, so that what a peer or a full disk makes happen again and
//! again is counted and hides nothing else.

use std::{collections::VecDeque, mem, time::Duration};

use demarche_control::{
    Serial,
    types::{Alarm, AlarmCount, Cause, Header, Taken},
};
use demarche_protocol::{
    hash::{ChannelId, EntryHash},
    identity::member::MemberId,
    time::{Now, Timestamp},
};

use super::file::Saved;

/// How often an alarm that nobody has taken is told; one that comes again meanwhile is counted.
const AGAIN: Duration = Duration::from_secs(60);

/// Alarms that are over and still listed: enough for an operator to see what kind of night it was.
const PAST: usize = 32;

/// What an alarm is about. For each of these there is one alarm at most.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct About {
    pub(crate) cause: Cause,
    pub(crate) channel: Option<ChannelId>,
    pub(crate) peer: Option<MemberId>,
    pub(crate) entry: Option<EntryHash>,
}

/// What a look at a channel has found that somebody must look at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    pub(crate) about: About,
    pub(crate) serial: Option<Serial>,
    pub(crate) detail: String,
    pub(crate) due: Option<Timestamp>,
    pub(crate) since: Timestamp,
    /// How many it stands for.
    pub(crate) times: u64,
    pub(crate) header: Option<Header>,
}

/// What one look at a channel has found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// What calls somebody now.
    pub(crate) now: Vec<Finding>,
    /// What has not ended and does not call by itself: its time is not up, or another alarm stands for it with others.
    pub(crate) open: Vec<About>,
    /// When the first of those calls, if nothing happens until then.
    pub(crate) next: Option<Timestamp>,
}

/// An alarm to be told of, as it is now.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) alarm: Alarm,
    pub(crate) header: Option<Header>,
}

/// Why alarms were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotThere {
    #[error("there is no alarm {0}")]
    Unknown(u64),
    #[error("alarm {number} is over since {since}")]
    Over { number: u64, since: Timestamp },
}

/// All alarms of a node.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    next: u64,
    standing: Vec<Kept>,
    /// The one that ended last at the end.
    past: VecDeque<Kept>,
    to_tell: Vec<Told>,
    /// Counts what changes in [`Book::saved`].
    changes: u64,
}

#[derive(Clone, Debug)]
struct Kept {
    alarm: Alarm,
    header: Option<Header>,
    /// When it was told last, by the monotonic clock.
    told: Option<Duration>,
}

impl Kept {
    fn about(&self) -> About {
        let Alarm { cause, channel, peer, entry, .. } = self.alarm.clone();
        About { cause, channel, peer, entry }
    }

    fn as_it_is(&self) -> Told {
        Told { alarm: self.alarm.clone(), header: self.header.clone() }
    }
}

/// Whether a look at a channel decides that this cause stands.
const fn is_looked_for(cause: Cause) -> bool {
    use Cause::{
        LineDown, MediatorUnreachable, Unacknowledged, UnacknowledgedHere, Undelivered, Unopened,
        UnopenedHere, UrgentArrival,
    };
    matches!(
        cause,
        UrgentArrival
            | UnopenedHere
            | UnacknowledgedHere
            | Undelivered
            | Unopened
            | Unacknowledged
            | LineDown
            | MediatorUnreachable
    )
}

/// Whether an alarm of this cause outlives the process. The others' causes end with it, or raise theirs anew.
const fn survives(cause: Cause) -> bool {
    is_looked_for(cause)
        || matches!(cause, Cause::Fork | Cause::NeedsNewCard | Cause::NodeReplaced | Cause::Restored)
}

impl Book {
    /// The book of a node that begins with these alarms. What had called somebody before calls again after a while, if it still stands
    /// then.
    pub(crate) fn new(now: Now, saved: Saved) -> Self {
        let told = Some(now.monotonic);
        let standing = saved.alarms.into_iter().map(|alarm| Kept { alarm, header: None, told }).collect();
        let next = saved.next.max(1);
        Self { next, standing, past: VecDeque::new(), to_tell: Vec::new(), changes: 0 }
    }

    /// Something happened that somebody must look at.
    pub(crate) fn raise(&mut self, now: Now, about: About, detail: String) {
        let known = self.standing.iter_mut().find(|kept| kept.about() == about);
        if let Some(kept) = known {
            kept.alarm.times = kept.alarm.times.saturating_add(1);
            (kept.alarm.last, kept.alarm.detail) = (now.wall, detail);
        } else if let Some(at) = self.past.iter().position(|kept| kept.about() == about)
            && let Some(mut kept) = self.past.remove(at)
        {
            let alarm = &mut kept.alarm;
            alarm.times = alarm.times.saturating_add(1);
            (alarm.last, alarm.detail, alarm.over, alarm.taken) = (now.wall, detail, None, None);
            self.changes += u64::from(survives(kept.alarm.cause));
            self.standing.push(kept);
        } else {
            let finding =
                Finding { about, serial: None, detail, due: None, since: now.wall, times: 1, header: None };
            self.enter(now, finding);
        }
        self.call(now);
    }

    /// The cause of an alarm has ended.
    pub(crate) fn over(&mut self, now: Now, about: &About) {
        if let Some(at) = self.standing.iter().position(|kept| kept.about() == *about) {
            let kept = self.standing.remove(at);
            self.end(now, kept);
        }
    }

    /// A channel was looked at: what was found stands, and of what is looked for nothing else does.
    pub(crate) fn settle(&mut self, now: Now, channel: ChannelId, found: Found) {
        let Found { now: mut calling, open, .. } = found;
        for mut kept in mem::take(&mut self.standing) {
            if kept.alarm.channel != Some(channel) || !is_looked_for(kept.alarm.cause) {
                self.standing.push(kept);
                continue;
            }
            let about = kept.about();
            if let Some(at) = calling.iter().position(|finding| finding.about == about) {
                self.update(now, &mut kept.alarm, calling.remove(at), &mut kept.header);
                self.standing.push(kept);
            } else if open.contains(&about) {
                self.standing.push(kept);
            } else {
                self.end(now, kept);
            }
        }
        for finding in calling {
            self.enter(now, finding);
        }
        self.call(now);
    }

    /// These channels are there, and no others: what was looked for in one that is gone is over.
    pub(crate) fn keep_only(&mut self, now: Now, channels: &[ChannelId]) {
        let gone = |kept: &mut Kept| {
            is_looked_for(kept.alarm.cause)
                && kept.alarm.channel.is_some_and(|channel| !channels.contains(&channel))
        };
        let ended: Vec<Kept> = self.standing.extract_if(.., gone).collect();
        for kept in ended {
            self.end(now, kept);
        }
    }

    /// Tells every alarm that nobody has taken, if it was not told for a while.
    pub(crate) fn call(&mut self, now: Now) {
        for kept in self.standing.iter_mut().filter(|kept| kept.alarm.calls()) {
            if kept.told.is_none_or(|told| now.monotonic >= told + AGAIN) {
                kept.told = Some(now.monotonic);
                self.to_tell.push(kept.as_it_is());
            }
        }
    }

    /// Takes these alarms by name: all of them, or none if one of them does not stand. Gives them as they are now.
    pub(crate) fn take(&mut self, now: Now, numbers: &[u64], by: &str) -> Result<Vec<Alarm>, NotThere> {
        for number in numbers {
            self.stands(*number)?;
        }
        let mut all = Vec::new();
        for kept in self.standing.iter_mut().filter(|kept| numbers.contains(&kept.alarm.number)) {
            if kept.alarm.taken.as_ref().is_none_or(|taken| taken.by != by) {
                kept.alarm.taken = Some(Taken { by: by.to_owned(), at: now.wall });
                self.changes += u64::from(survives(kept.alarm.cause));
                self.to_tell.push(kept.as_it_is());
            }
            all.push(kept.alarm.clone());
        }
        Ok(all)
    }

    /// Whether this one stands.
    pub(crate) fn stands(&self, number: u64) -> Result<(), NotThere> {
        if self.standing.iter().any(|kept| kept.alarm.number == number) {
            return Ok(());
        }
        let past = self.past.iter().find(|kept| kept.alarm.number == number);
        let over = past.and_then(|kept| kept.alarm.over);
        Err(over.map_or(NotThere::Unknown(number), |since| NotThere::Over { number, since }))
    }

    /// All alarms: those that call somebody first, the gravest at the head, then those that are taken, then those that are over.
    pub(crate) fn list(&self) -> Vec<Alarm> {
        let mut standing: Vec<Alarm> = self.standing.iter().map(|kept| kept.alarm.clone()).collect();
        standing.sort_by_key(|alarm| (alarm.taken.is_some(), alarm.cause, alarm.number));
        standing.extend(self.past.iter().rev().map(|kept| kept.alarm.clone()));
        standing
    }

    /// How many there are.
    pub(crate) fn count(&self) -> AlarmCount {
        let taken = self.standing.iter().filter(|kept| !kept.alarm.calls()).count();
        let worst = self.list().into_iter().next().filter(Alarm::stands);
        AlarmCount { standing: self.standing.len() as u64, taken: taken as u64, worst }
    }

    /// What must outlive the process.
    pub(crate) fn saved(&self) -> Saved {
        let alarms = self.standing.iter().map(|kept| kept.alarm.clone());
        Saved { next: self.next, alarms: alarms.filter(|alarm| survives(alarm.cause)).collect() }
    }

    /// Counts up whenever [`Book::saved`] has become other than it was, but for wording and counts.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// What is to be told now, in order.
    pub(crate) fn drain(&mut self) -> Vec<Told> {
        mem::take(&mut self.to_tell)
    }

    fn enter(&mut self, now: Now, finding: Finding) {
        let Finding {
            about: About { cause, channel, peer, entry },
            serial,
            detail,
            due,
            since,
            times,
            header,
        } = finding;
        let (number, last) = (self.next, now.wall);
        (self.next, self.changes) = (self.next + 1, self.changes + 1);
        let (taken, over) = (None, None);
        let alarm = Alarm {
            number,
            cause,
            channel,
            peer,
            serial,
            entry,
            detail,
            due,
            since,
            last,
            times,
            taken,
            over,
        };
        self.standing.push(Kept { alarm, header, told: None });
    }

    /// An alarm that stands is found again. When it stands for more than somebody has taken, it is taken no more.
    fn update(&mut self, now: Now, alarm: &mut Alarm, found: Finding, header: &mut Option<Header>) {
        if found.times > alarm.times {
            alarm.last = now.wall;
            self.changes += u64::from(alarm.taken.take().is_some());
        }
        (alarm.detail, alarm.due, alarm.times, *header) =
            (found.detail, found.due, found.times, found.header);
    }

    fn end(&mut self, now: Now, mut kept: Kept) {
        self.changes += u64::from(survives(kept.alarm.cause));
        kept.alarm.over = Some(now.wall);
        self.to_tell.push(kept.as_it_is());
        self.past.push_back(kept);
        if self.past.len() > PAST {
            self.past.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
