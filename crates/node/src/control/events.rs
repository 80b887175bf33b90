//! The feed: server-sent events from the node's journal. Whoever comes back with the last index it saw misses nothing, also across
//! restarts of the node. Links and alarms are told between them, and are gone when they were not heard.
//!
//! A reader takes at its own pace: the journal waits for it, and of the transient events it then misses some.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::sse::{Event as Sse, KeepAlive, Sse as SseResponse},
};
use demarche_control::types::{Event, EventKind, Evidence};
use demarche_protocol::{
    channel::Record,
    document::DocumentType,
    hash::{ChannelId, EntryHash},
    identity::member::MemberId,
    transcript::{Effect, Receipt, ReceiptKind},
};
use futures::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use tokio::{
    sync::{broadcast, watch},
    time::sleep,
};

use super::{reads::header, server::Api};
use crate::{
    defaults::JOURNAL_PAGE,
    runtime::{
        channel::Look,
        clock::wall,
        news::plain,
        view::{Draft, View},
    },
    store::{JournalIndex, Journaled},
};

/// How long until a line that is being set up anew is asked again.
const LINE_AGAIN: Duration = Duration::from_millis(50);

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
    // An index without an event: whoever has heard nothing yet can resume from here as well.
    let place = Sse::default().id(after.0.to_string());
    SseResponse::new(stream::iter([Ok(place)]).chain(events)).keep_alive(KeepAlive::default())
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
            if self.api.stop.is_cancelled() {
                return None;
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
        if page.is_empty() {
            return false;
        }
        let mut page = page.into_iter().peekable();
        while let Some(first) = page.next() {
            let (channel, mut last) = (first.channel, first.index);
            let mut run = vec![first];
            while let Some(next) = page.next_if(|next| next.channel == channel) {
                last = next.index;
                run.push(next);
            }
            if !self.tell(channel, run).await {
                sleep(LINE_AGAIN).await;
                return true;
            }
            self.after = last;
        }
        true
    }

    /// Tells what some records of one channel say; the channel is asked once for all of them. False when it is being set
    /// up anew and has to be asked again.
    async fn tell(&mut self, channel: ChannelId, records: Vec<Journaled>) -> bool {
        let standing = self.api.standing();
        let handle = standing.line.as_ref().and_then(|line| line.channel(channel).cloned());
        let told: Vec<(Event, Option<Draft>)> = match &handle {
            Some(handle) => {
                let name = handle.name().to_owned();
                let asked = handle
                    .query(move |look| records.iter().filter_map(|one| told(look, &name, one)).collect());
                match asked.await {
                    Ok(told) => told,
                    Err(_) => return false,
                }
            }
            None if !self.api.identity.mediates => return false,
            // A mediator keeps rosters alone.
            None => {
                records.into_iter().filter_map(|one| of_roster(&one).map(|event| (event, None))).collect()
            }
        };
        for (mut event, draft) in told {
            if let Some(draft) = draft {
                let Ok(header) = header(&self.api, draft) else { continue };
                event.header = Some(header);
            }
            self.ready.push_back(event);
        }
        true
    }
}

/// What a record tells, and the dispatch it is about.
fn told(look: &Look<'_>, name: &str, journaled: &Journaled) -> Option<(Event, Option<Draft>)> {
    if let Some(event) = of_roster(journaled) {
        return Some((event, None));
    }
    let view = View::new(look, name);
    let about = match &journaled.record {
        Record::Entry(item) => of_entry(look, &view, item.entry.hash()),
        Record::Receipt(receipt) => {
            receipt.claims(journaled.channel).ok().and_then(|receipt| of_receipt(look, &view, &receipt))
        }
        Record::Roster(_) | Record::Confirmed(_) => None,
    };
    let About { kind, draft, evidence, peer } = about?;
    let event = Event {
        id: Some(journaled.index.0),
        channel: journaled.channel,
        kind,
        at: wall(),
        header: None,
        evidence,
        peer,
        detail: None,
    };
    Some((event, Some(draft)))
}

/// A document that says who may speak.
fn of_roster(journaled: &Journaled) -> Option<Event> {
    let kind = match &journaled.record {
        Record::Roster(document) => document.document_type(),
        Record::Entry(item) => DocumentType::of(&item.text).filter(|kind| *kind != DocumentType::Dispatch),
        Record::Receipt(_) | Record::Confirmed(_) => None,
    }?;
    let event =
        plain(journaled.channel, EventKind::Roster, format!("a document of type {kind} was taken in"));
    Some(Event { id: Some(journaled.index.0), ..event })
}

/// What happened to which dispatch.
struct About {
    kind: EventKind,
    draft: Draft,
    evidence: Option<Evidence>,
    peer: Option<MemberId>,
}

/// An entry: our own is recorded, another's has arrived; one that acknowledges says so of what it acknowledges.
fn of_entry(look: &Look<'_>, view: &View<'_>, entry: EntryHash) -> Option<About> {
    let machine = look.machine;
    let node = machine.transcript().get(&entry)?;
    let own = node.head.party == *machine.me();
    let peer = (!own).then(|| node.head.party.clone());
    let acknowledged = view.acknowledged_by(node).filter(|_| !own && node.effect == Effect::Accepted);
    if let Some(about) = acknowledged {
        let evidence = Some(view.of_acknowledgement(node));
        return Some(About { kind: EventKind::Acknowledged, draft: view.draft(about)?, evidence, peer });
    }
    let kind = if own { EventKind::Recorded } else { EventKind::Arrived };
    Some(About { kind, draft: view.draft(node)?, evidence: None, peer })
}

fn of_receipt(look: &Look<'_>, view: &View<'_>, receipt: &Receipt) -> Option<About> {
    let machine = look.machine;
    let own = receipt.by == *machine.me();
    let kind = match receipt.kind {
        // Our own receipt for what arrived was told as its arrival.
        ReceiptKind::Held if own => return None,
        ReceiptKind::Held => EventKind::Delivered,
        ReceiptKind::Opened(_) => EventKind::Opened,
    };
    let draft = view.draft(machine.transcript().get(&receipt.of.hash)?)?;
    let evidence = Some(view.of_receipt(&receipt.by, receipt.kind, receipt.at));
    Some(About { kind, draft, evidence, peer: (!own).then(|| receipt.by.clone()) })
}
