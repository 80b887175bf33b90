//! What is told as it happens and not kept: links that come and go, alarms. Listeners who are slow miss some.
//!
//! Of alarms one stands for each cause, with how often it came, so that what a peer or a full disk makes happen again and again
//! hides nothing else. It says so when its cause is over.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use demarche_control::types::{Event, EventKind};
use demarche_protocol::{hash::ChannelId, identity::member::MemberId, time::Timestamp};
use tokio::sync::broadcast;

use super::clock::wall;
use crate::defaults::NEWS;

/// Alarms that status still shows: one for each cause, and for each peer where it is about one. Enough for an operator
/// to see what kind of night it was.
const ALARMS: usize = 32;

/// How long an alarm that comes again and again is only counted before it is told again.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Why an operator must look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The disk is full.
    DiskFull,
    /// The store does not give back what it should hold.
    Store,
    /// Two entries of one number.
    Fork,
    /// This node may not write under its card.
    NeedsNewCard,
    /// This node was restored, or went on by itself after a loss.
    Restored,
    /// Another node of ours has taken over.
    ThisNodeReplaced,
    /// A clock is wrong.
    Clock,
    /// The peer goes by another charter.
    OtherCharter,
    /// The hook failed.
    HookFailed,
    /// The hook is behind.
    HookBehind,
}

/// The node's transient events.
pub(crate) struct News {
    events: broadcast::Sender<Event>,
    /// The one that came last at the end.
    alarms: Mutex<VecDeque<Standing>>,
}

/// An alarm that status shows.
struct Standing {
    about: (Option<ChannelId>, Option<MemberId>, Cause),
    /// As it was when it came last.
    detail: String,
    count: u64,
    first: Timestamp,
    last: Timestamp,
    over: Option<Timestamp>,
    told: Instant,
}

impl Standing {
    fn line(&self) -> String {
        let Self { detail, count, first, last, .. } = self;
        let times = if *count > 1 { format!(" ({count} times since {first})") } else { String::new() };
        let over = self.over.map_or_else(String::new, |at| format!("; over since {at}"));
        format!("{last} {detail}{times}{over}")
    }
}

impl News {
    pub(crate) fn new() -> Self {
        Self { events: broadcast::Sender::new(NEWS), alarms: Mutex::new(VecDeque::new()) }
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

    /// Something that an operator must look at, in a channel or at the node itself. Kept for status as well; what comes again and
    /// again is told once a minute.
    pub(crate) fn alarm(
        &self,
        channel: impl Into<Option<ChannelId>>,
        peer: Option<&MemberId>,
        cause: Cause,
        detail: String,
    ) {
        let channel = channel.into();
        let (at, now) = (wall(), Instant::now());
        let about = (channel, peer.cloned(), cause);
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        let known =
            alarms.iter().position(|alarm| alarm.about == about).and_then(|known| alarms.remove(known));
        let mut alarm = known.unwrap_or_else(|| Standing {
            about,
            detail: String::new(),
            count: 0,
            first: at,
            last: at,
            over: None,
            told: now,
        });
        let is_told = alarm.count == 0 || alarm.over.is_some() || now >= alarm.told + TOLD_AGAIN;
        alarm.count = alarm.count.saturating_add(1);
        (alarm.last, alarm.over) = (at, None);
        alarm.detail.clone_from(&detail);
        let count = alarm.count;
        if is_told {
            alarm.told = now;
        }
        alarms.push_back(alarm);
        if alarms.len() > ALARMS {
            let over = alarms.iter().position(|alarm| alarm.over.is_some());
            alarms.remove(over.unwrap_or(0));
        }
        drop(alarms);
        if is_told {
            tracing::warn!(
                channel = channel.map(|channel| channel.short()),
                peer = peer.map(MemberId::as_str),
                detail,
                count,
                "alarm"
            );
            self.tell(Event { peer: peer.cloned(), ..plain(channel, EventKind::Alarm, detail) });
        }
    }

    /// The cause of an alarm has ended: whoever sees it is told so.
    pub(crate) fn over(&self, channel: ChannelId, peer: Option<&MemberId>, cause: Cause) {
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        let about = (Some(channel), peer.cloned(), cause);
        if let Some(alarm) = alarms.iter_mut().find(|alarm| alarm.about == about && alarm.over.is_none()) {
            alarm.over = Some(wall());
            tracing::info!(channel = channel.short(), detail = alarm.detail, "what was alarmed is over");
        }
    }

    /// The alarms of every cause, the one that came last at the end.
    pub(crate) fn alarms(&self) -> Vec<String> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Standing::line).collect()
    }
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
        detail: Some(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel() -> ChannelId {
        ChannelId::from_bytes([1; 32])
    }

    /// T5: whatever a peer makes happen again and again, each cause stands once, with its count, and is told once a minute.
    #[test]
    fn t5_a_flood_of_one_alarm_hides_no_other() {
        let news = News::new();
        let mut told = news.listen();
        let tehran: MemberId = "tehran".parse().unwrap();
        news.alarm(channel(), None, Cause::NeedsNewCard, "this node stops writing".to_owned());
        for number in 0..1000 {
            news.alarm(channel(), Some(&tehran), Cause::Fork, format!("fork {number}"));
            news.alarm(channel(), None, Cause::DiskFull, "the disk is full".to_owned());
        }
        let alarms = news.alarms();
        assert_eq!(alarms.len(), 3, "{alarms:?}");
        assert!(alarms[0].ends_with("this node stops writing"), "{alarms:?}");
        assert!(alarms[1].contains("fork 999 (1000 times since "), "{alarms:?}");
        let mut events = 0;
        while told.try_recv().is_ok() {
            events += 1;
        }
        assert_eq!(events, 3);
    }

    #[test]
    fn an_alarm_whose_cause_is_over_says_so_and_is_told_anew_when_it_comes_again() {
        let news = News::new();
        let mut told = news.listen();
        let full = || news.alarm(channel(), None, Cause::DiskFull, "the disk is full".to_owned());
        full();
        news.over(channel(), None, Cause::Clock);
        assert!(news.alarms()[0].ends_with("the disk is full"), "{:?}", news.alarms());
        news.over(channel(), None, Cause::DiskFull);
        assert!(news.alarms()[0].contains("the disk is full; over since "), "{:?}", news.alarms());
        full();
        assert!(news.alarms()[0].contains("the disk is full (2 times since "), "{:?}", news.alarms());
        assert!(!news.alarms()[0].contains("over since"));
        assert_eq!((told.try_recv().is_ok(), told.try_recv().is_ok()), (true, true));
    }

    #[test]
    fn what_is_over_gives_way_first() {
        let news = News::new();
        let of = |number: usize| ChannelId::from_bytes([u8::try_from(number).unwrap(); 32]);
        for number in 0..ALARMS {
            news.alarm(of(number), None, Cause::Fork, format!("fork {number}."));
        }
        news.over(of(7), None, Cause::Fork);
        news.alarm(of(100), None, Cause::Fork, "one more".to_owned());
        let alarms = news.alarms();
        assert_eq!(alarms.len(), ALARMS);
        assert!(
            alarms[0].ends_with("fork 0.") && !alarms.iter().any(|line| line.contains("fork 7.")),
            "{alarms:?}"
        );
    }
}
