//! What is told as it happens and not kept: links that come and go, alarms. Listeners who are slow miss some.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use demarche_control::types::{Event, EventKind};
use demarche_protocol::{hash::ChannelId, identity::member::MemberId};
use tokio::sync::broadcast;

use super::clock::wall;
use crate::defaults::NEWS;

/// Alarms that status still shows: enough for an operator to see what kind of night it was.
const ALARMS: usize = 16;

/// The node's transient events.
pub(crate) struct News {
    events: broadcast::Sender<Event>,
    alarms: Mutex<VecDeque<String>>,
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
        self.tell(Event { peer: Some(peer.clone()), ..plain(channel, EventKind::Link, detail) });
    }

    /// Something that an operator must look at. Kept for status as well.
    pub(crate) fn alarm(&self, channel: ChannelId, peer: Option<&MemberId>, detail: String) {
        tracing::warn!(channel = channel.short(), peer = peer.map(MemberId::as_str), detail, "alarm");
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{} {detail}", wall());
        alarms.push_back(line);
        if alarms.len() > ALARMS {
            alarms.pop_front();
        }
        drop(alarms);
        self.tell(Event { peer: peer.cloned(), ..plain(channel, EventKind::Alarm, detail) });
    }

    /// The newest alarms, oldest first.
    pub(crate) fn alarms(&self) -> Vec<String> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// An event of a kind, now, with one sentence.
pub(crate) fn plain(channel: ChannelId, kind: EventKind, detail: String) -> Event {
    Event {
        id: None,
        channel,
        kind,
        at: wall(),
        header: None,
        evidence: None,
        peer: None,
        detail: Some(detail),
    }
}
