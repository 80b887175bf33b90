//! Events on their way to the runtime, which may be slow, from a task that must not wait for it.
//!
//! Link states must arrive; pings and refusals are left out when the reader lags, and streams are turned away.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::transport::{
    Incoming, TransportEvent,
    defaults::{EVENT_BACKLOG, EVENT_QUEUE},
};

pub(super) struct Backlog {
    waiting: VecDeque<TransportEvent>,
    sender: mpsc::Sender<TransportEvent>,
}

impl Backlog {
    pub(super) fn new() -> (Self, mpsc::Receiver<TransportEvent>) {
        // The queue itself is in `waiting`, where its kinds can be told apart.
        let (sender, receiver) = mpsc::channel(1);
        let backlog = Self { waiting: VecDeque::new(), sender };
        (backlog, receiver)
    }

    /// Sends an event, or leaves it out according to its kind.
    pub(super) fn tell(&mut self, event: TransportEvent) {
        let room = match event {
            TransportEvent::Rtt { .. } | TransportEvent::Refused { .. } => EVENT_QUEUE / 2,
            _ => EVENT_BACKLOG,
        };
        if self.waiting.len() < room {
            self.waiting.push_back(event);
        } else if room == EVENT_BACKLOG {
            tracing::error!(?event, "the runtime takes no events; one is lost");
        }
    }

    /// Sends a stream, or gives `false` when the runtime lags.
    pub(super) fn deliver(&mut self, incoming: Incoming) -> bool {
        let room = self.waiting.len() < EVENT_QUEUE;
        if room {
            self.waiting.push_back(TransportEvent::Incoming(incoming));
        }
        room
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Hands one event over as soon as there is room. Cancelling it loses nothing.
    pub(super) async fn flush_one(&mut self) {
        match self.sender.reserve().await {
            Ok(permit) => {
                if let Some(event) = self.waiting.pop_front() {
                    permit.send(event);
                }
            }
            // Nobody will ever read them.
            Err(_) => self.waiting.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::transport::NodeId;

    #[tokio::test]
    async fn link_states_survive_a_slow_reader_and_pings_do_not() {
        let (mut backlog, mut receiver) = Backlog::new();
        let node = NodeId::from_bytes([1; 32]);
        for _ in 0..EVENT_QUEUE {
            backlog.tell(TransportEvent::Rtt { peer: node, via: None, rtt: Duration::ZERO });
        }
        backlog.tell(TransportEvent::Reserved { node });
        let mut pings = 0;
        while !backlog.is_empty() {
            backlog.flush_one().await;
            match receiver.recv().await {
                Some(TransportEvent::Rtt { .. }) => pings += 1,
                Some(TransportEvent::Reserved { .. }) => assert!(backlog.is_empty()),
                other => panic!("unexpected {other:?}"),
            }
        }
        assert_eq!(pings, EVENT_QUEUE / 2);
    }
}
