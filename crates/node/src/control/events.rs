//! The feed: server-sent events from the node's journal. Whoever comes back with the last index it saw misses nothing, also across
//! restarts of the node. Links and alarms are told between them, and are gone when they were not heard.
//!
//! A reader takes at its own pace: the journal waits for it, and of the transient events it then misses some.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::sse::{Event as Sse, KeepAlive, Sse as SseResponse},
};
use demarche_control::types::{Event, EventKind};
use demarche_protocol::{
    channel::Record,
    document::DocumentType,
    hash::{ChannelId, EntryHash},
    identity::member::MemberId,
    transcript::{Effect, ReceiptKind},
};
use futures::{Stream, stream};
use serde::Deserialize;
use tokio::sync::{broadcast, watch};

use super::{reads::header, server::Api};
use crate::{
    defaults::JOURNAL_PAGE,
    runtime::{
        channel::Handle,
        clock::wall,
        news::plain,
        view::{Draft, View},
    },
    store::{JournalIndex, Journaled},
};

#[derive(Debug, Default, Deserialize)]
pub(super) struct From {
    after: Option<u64>,
}

/// Where a reader stands.
struct Reader {
    api: Arc<Api>,
    after: JournalIndex,
    durable: watch::Receiver<JournalIndex>,
    news: broadcast::Receiver<Event>,
    ready: VecDeque<Event>,
}

pub(super) async fn feed(
    State(api): State<Arc<Api>>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> SseResponse<impl Stream<Item = Result<Sse, Infallible>>> {
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    // Without a place: from now on.
    let after = resumed.or(from.after).map_or_else(|| api.store.durable(), JournalIndex);
    let durable = api.durable.clone();
    let news = api.news.listen();
    let reader = Reader { api, after, durable, news, ready: VecDeque::new() };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(sse(&event)), reader))
    });
    SseResponse::new(events).keep_alive(KeepAlive::default())
}

fn sse(event: &Event) -> Sse {
    let sse = Sse::default().event(event.kind.as_str());
    let sse = match event.id {
        Some(id) => sse.id(id.to_string()),
        None => sse,
    };
    // Such a value has only strings for keys, and so always a JSON form.
    sse.data(serde_json::to_string(event).unwrap_or_default())
}

impl Reader {
    /// The next event; the end when the node stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.read_journal().await {
                continue;
            }
            tokio::select! {
                () = self.api.stop.cancelled() => return None,
                changed = self.durable.changed() => if changed.is_err() { return None },
                news = self.news.recv() => match news {
                    Ok(event) => self.ready.push_back(event),
                    Err(broadcast::error::RecvError::Lagged(missed)) => tracing::debug!(missed, "a listener is slow"),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            }
        }
    }

    /// Reads a page of the journal. False when there is nothing new.
    async fn read_journal(&mut self) -> bool {
        self.durable.borrow_and_update();
        let page = match self.api.store.journal(self.after, JOURNAL_PAGE) {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "the journal could not be read");
                return false;
            }
        };
        let Some(last) = page.last().map(|journaled| journaled.index) else { return false };
        for journaled in page {
            self.tell(journaled).await;
        }
        self.after = last;
        true
    }

    async fn tell(&mut self, journaled: Journaled) {
        let standing = self.api.standing();
        let handle = standing.line.as_ref().and_then(|line| line.channel(journaled.channel).cloned());
        let (index, channel) = (journaled.index, journaled.channel);
        let event = match (journaled.record, handle) {
            (Record::Roster(document), _) => Some(roster(channel, &format!("{document:?}"))),
            (_, None) | (Record::Confirmed(_), _) => None,
            (Record::Entry(item), Some(handle)) => {
                if DocumentType::of(&item.text).is_some_and(|kind| kind != DocumentType::Dispatch) {
                    let kind = DocumentType::of(&item.text).map_or("", DocumentType::name);
                    Some(roster(channel, &format!("a document of type {kind} was entered")))
                } else {
                    self.of_entry(&handle, item.entry.hash()).await
                }
            }
            (Record::Receipt(receipt), Some(handle)) => match receipt.claims(channel) {
                Ok(receipt) => self.of_receipt(&handle, receipt).await,
                Err(_) => None,
            },
        };
        if let Some(event) = event {
            self.ready.push_back(Event { id: Some(index.0), ..event });
        }
    }

    /// An entry: our own is recorded, another's has arrived; one that acknowledges says so of what it acknowledges.
    async fn of_entry(&self, handle: &Handle, entry: EntryHash) -> Option<Event> {
        let name = handle.name().to_owned();
        let seen = handle.query(move |look| {
            let machine = look.machine;
            let view = View::new(look, &name);
            let node = machine.transcript().get(&entry)?;
            let own = node.head.party == *machine.me();
            let about = view
                .acknowledged_by(node)
                .filter(|_| !own && node.effect == Effect::Accepted)
                .and_then(|about| Some((view.draft(about)?, view.of_acknowledgement(node))));
            Some((view.draft(node)?, own, about))
        });
        let (draft, own, about) = seen.await.ok().flatten()?;
        let party = draft.header.from.clone();
        if let Some((about, evidence)) = about {
            let event = self.about(handle, EventKind::Acknowledged, about, Some(party))?;
            return Some(Event { evidence: Some(evidence), ..event });
        }
        let kind = if own { EventKind::Recorded } else { EventKind::Arrived };
        self.about(handle, kind, draft, (!own).then_some(party))
    }

    async fn of_receipt(
        &self,
        handle: &Handle,
        receipt: demarche_protocol::transcript::Receipt,
    ) -> Option<Event> {
        let name = handle.name().to_owned();
        let seen = handle.query(move |look| {
            let machine = look.machine;
            // Our own receipt for what arrived was told as its arrival.
            if receipt.by == *machine.me() && receipt.kind == ReceiptKind::Held {
                return None;
            }
            let view = View::new(look, &name);
            let draft = view.draft(machine.transcript().get(&receipt.of.hash)?)?;
            let peer = (receipt.by != *machine.me()).then(|| receipt.by.clone());
            Some((draft, peer, receipt.kind, view.of_receipt(&receipt.by, receipt.kind, receipt.at)))
        });
        let (draft, peer, kind, evidence) = seen.await.ok().flatten()?;
        let kind = match kind {
            ReceiptKind::Held => EventKind::Delivered,
            ReceiptKind::Opened(_) => EventKind::Opened,
        };
        Some(Event { evidence: Some(evidence), ..self.about(handle, kind, draft, peer)? })
    }

    fn about(&self, handle: &Handle, kind: EventKind, draft: Draft, peer: Option<MemberId>) -> Option<Event> {
        let header = header(&self.api, draft).ok()?;
        Some(Event {
            id: None,
            channel: handle.id(),
            kind,
            at: wall(),
            header: Some(header),
            evidence: None,
            peer,
            detail: None,
        })
    }
}

fn roster(channel: ChannelId, detail: &str) -> Event {
    plain(channel, EventKind::Roster, detail.to_owned())
}
