//! The feed: server-sent events from the node's journal. Whoever comes back with the last place it saw misses nothing, also across
//! restarts of the node; and when that place is of a store that is no longer there, hears so and then everything. Links and alarms are told between them, and are gone when they were not heard.
//!
//! A reader takes at its own pace: the journal waits for it, and of the transient events it then misses some.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderName, HeaderValue},
    response::sse::{Event as Sse, KeepAlive, Sse as SseResponse},
};
use demarche_control::{
    Bookmark, BookmarkError, Code, Problem,
    types::{Event, EventKind, Evidence, Header},
};
use demarche_protocol::{
    channel::Record,
    custody::{Stated, Statement},
    document::DocumentType,
    hash::{ChannelId, EntryHash},
    identity::{
        card::Card, member::MemberId, officer::Officer, revocation::Revocation, roots::Roots,
        suspension::Suspension,
    },
    time::Timestamp,
    transcript::{Effect, Node, Receipt, ReceiptKind},
};
use futures::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use tokio::sync::{broadcast, watch};

use super::{
    problems::{Refused, query},
    server::{Api, Standing},
};
use crate::{
    defaults::{DISOWNED_TOLD, JOURNAL_PAGE},
    runtime::{
        channel::Look,
        news::plain,
        view::View,
        volumes::{Volume, left_behind},
    },
    store::{JournalIndex, Journaled, Store},
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

#[derive(Debug, Default, Deserialize)]
pub(super) struct From {
    after: Option<Bookmark>,
}

/// Where a reader stands.
struct Reader {
    api: Arc<Api>,
    after: JournalIndex,
    durable: watch::Receiver<JournalIndex>,
    now: watch::Receiver<Arc<Standing>>,
    news: broadcast::Receiver<Event>,
    ready: VecDeque<Ready>,
}

/// An event to hand out, and where a reader who has it may resume: nowhere new in the middle of what one record tells, so
/// that one who is cut off there hears some of it twice rather than some of it never.
struct Ready(Event, Option<Bookmark>);

/// What came of looking into the journal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// A page; there may be more.
    Page,
    /// Nothing new.
    Nothing,
    /// Something that nobody can explain now: the line is being set up anew, or there is none.
    NoLine,
}

pub(super) async fn feed(
    State(api): State<Arc<Api>>,
    from: Result<Query<From>, QueryRejection>,
    headers: HeaderMap,
) -> Result<SseResponse<impl Stream<Item = Result<Sse, Infallible>>>, Refused> {
    let from = query(from)?;
    let resumed = headers.get(LAST_EVENT_ID).map(last_event_id).transpose()?;
    let (reader, place) = Reader::new(api, resumed.or(from.after));
    let events = stream::unfold(reader, |mut reader| async move {
        let ready = reader.next().await?;
        Some((Ok(sse(&ready)), reader))
    });
    // A place without an event: whoever has heard nothing yet can resume from here as well.
    let place = Sse::default().id(place.to_string());
    Ok(SseResponse::new(stream::iter([Ok(place)]).chain(events)).keep_alive(KeepAlive::default()))
}

/// A browser's way of resuming. What is no place of ours must not be taken for none: whoever sends it would miss something.
fn last_event_id(header: &HeaderValue) -> Result<Bookmark, Refused> {
    let place = header.to_str().ok().and_then(|text| text.parse().ok());
    place.ok_or_else(|| {
        let problem = Problem::new(Code::Malformed, format!("Last-Event-ID: {BookmarkError}"));
        problem.with_help("send back the id of the last event as it came").into()
    })
}

fn sse(Ready(event, place): &Ready) -> Sse {
    let sse = Sse::default().event(event.kind.as_str());
    let sse = match place {
        Some(id) => sse.id(id.to_string()),
        None => sse,
    };
    // Such a value has only strings for keys, and so always a JSON form.
    sse.data(serde_json::to_string(event).unwrap_or_default())
}

/// The place behind a record that is durable here.
fn place_of(store: &dyn Store, index: JournalIndex) -> Bookmark {
    let before = JournalIndex(index.0.saturating_sub(1));
    let found = store.journal(before, 1).unwrap_or_default().pop().filter(|found| found.index == index);
    found.map_or(Bookmark::behind(index.0), |found| found.bookmark())
}

/// Whether this store holds what a listener has heard last, as far as its place tells.
fn is_here(store: &dyn Store, place: Bookmark) -> bool {
    let index = JournalIndex(place.index);
    if index == JournalIndex::START {
        return true;
    }
    let here = || place_of(store, index).seal;
    index <= store.durable() && place.seal.is_none_or(|seal| here().is_none_or(|here| here == seal))
}

impl Reader {
    /// A reader behind a place, or from now on without one; and the place where it begins. What is behind a place of another store
    /// nobody knows: then it begins anew, and says so.
    fn new(api: Arc<Api>, asked: Option<Bookmark>) -> (Self, Bookmark) {
        let (durable, now, news) = (api.durable.clone(), api.now.subscribe(), api.news.listen());
        let mut ready = VecDeque::new();
        let place = match asked {
            None => place_of(api.store.as_ref(), api.store.durable()),
            Some(place) if is_here(api.store.as_ref(), place) => place,
            Some(place) => {
                let detail = format!(
                    "event {} is not in this node's store as it was told: the store was replaced or set back; all that it holds now follows, from its beginning",
                    place.index
                );
                tracing::warn!(
                    place = place.index,
                    "a listener asks for what is not here: the feed begins anew"
                );
                ready.push_back(Ready(plain(None, EventKind::Anew, detail), Some(Bookmark::START)));
                Bookmark::START
            }
        };
        let after = JournalIndex(place.index);
        (Self { api, after, durable, now, news, ready }, place)
    }

    /// The next event; the end when the node stops.
    async fn next(&mut self) -> Option<Ready> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            if self.api.stop.is_cancelled() {
                return None;
            }
            let read = self.read_journal().await;
            // What came before something that nobody can explain now is told meanwhile.
            if read == Read::Page || !self.ready.is_empty() {
                continue;
            }
            tokio::select! {
                () = self.api.stop.cancelled() => return None,
                changed = self.durable.changed(), if read == Read::Nothing => if changed.is_err() { return None },
                changed = self.now.changed(), if read == Read::NoLine => if changed.is_err() { return None },
                news = self.news.recv() => match news {
                    Ok(event) => self.ready.push_back(Ready(event, None)),
                    Err(broadcast::error::RecvError::Lagged(missed)) => tracing::debug!(missed, "a listener is slow"),
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            }
        }
    }

    /// Reads a page of the journal: no further than the channels have been told. A record is durable a moment before its channel knows of
    /// it, and would have nothing to say until then.
    async fn read_journal(&mut self) -> Read {
        let told = *self.durable.borrow_and_update();
        self.now.mark_unchanged();
        let page = match self.api.store.journal(self.after, JOURNAL_PAGE) {
            Ok(page) => page.into_iter().take_while(|one| one.index <= told).collect::<Vec<_>>(),
            Err(error) => {
                tracing::error!(%error, "the journal could not be read");
                return Read::Nothing;
            }
        };
        if page.is_empty() {
            return Read::Nothing;
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
                return Read::NoLine;
            }
            self.after = last;
        }
        Read::Page
    }

    /// Tells what some records of one channel say; the channel is asked once for all of them. False when it is being set
    /// up anew and has to be asked again.
    ///
    /// A line without the channel cannot say what its records mean: its charter is damaged, or was taken away. Whoever listens
    /// hears of the others, and of what is wrong with this one from status.
    async fn tell(&mut self, channel: ChannelId, records: Vec<Journaled>) -> bool {
        let standing = self.api.standing();
        let handle = standing.line.as_ref().and_then(|line| line.channel(channel).cloned());
        let places: Vec<Bookmark> = records.iter().map(Journaled::bookmark).collect();
        let told: Vec<Vec<Event>> = match &handle {
            Some(handle) => {
                let name = handle.name().to_owned();
                let asked =
                    handle.query(move |look| records.iter().map(|one| told(look, &name, one)).collect());
                match asked.await {
                    Ok(told) => told,
                    Err(_) => return false,
                }
            }
            None if !self.api.identity.mediates => return standing.line.is_some(),
            // A mediator keeps rosters alone.
            None => records.into_iter().map(|one| of_roster(&one).into_iter().collect()).collect(),
        };
        for (record, place) in told.into_iter().zip(places) {
            self.ready(record, place);
        }
        true
    }

    /// Makes what one record tells ready: the last of its events is where one may resume.
    fn ready(&mut self, record: Vec<Event>, place: Bookmark) {
        let before = self.ready.len();
        self.ready.extend(record.into_iter().map(|event| Ready(event, None)));
        if self.ready.len() > before
            && let Some(Ready(_, behind)) = self.ready.back_mut()
        {
            *behind = Some(place);
        }
    }
}

/// What a record tells, in the order in which it is to be read.
fn told(look: &Look<'_>, name: &str, journaled: &Journaled) -> Vec<Event> {
    let view = View::new(look, name);
    let mut all = Vec::new();
    let mut at = None;
    match &journaled.record {
        Record::Entry(item) => {
            if let Some(node) = look.machine.transcript().get(&item.entry.hash()) {
                at = durable_at(look, &view, node);
                of_entry(look, &view, node, &mut all);
            }
        }
        Record::Receipt(receipt) => {
            if let Ok(receipt) = receipt.claims(journaled.channel) {
                at = Some(receipt.at);
                all.extend(of_receipt(look, &view, &receipt));
            }
        }
        Record::Deposited(deposited) => {
            if let Ok(statement) = deposited.statement.claims(journaled.channel) {
                at = Some(statement.at);
                of_custody(look, &view, &statement, &deposited.entries, &mut all);
            }
        }
        Record::Roster(_) | Record::Confirmed(_) | Record::CustodyEnded(_) | Record::Prekey(_) => {}
    }
    let about = |About { kind, header, evidence, peer, detail }| Event {
        id: Some(journaled.index.0),
        channel: Some(journaled.channel),
        kind,
        at,
        header,
        evidence,
        peer,
        alarm: None,
        detail,
    };
    // A text that only looks like such a document has arrived, and is void.
    let shown = all.iter().any(|about| matches!(about.kind, EventKind::Recorded | EventKind::Arrived));
    let first = of_roster(journaled).filter(|_| !shown).map(|event| Event { at, ..event });
    first.into_iter().chain(all.into_iter().map(about)).collect()
}

/// When an entry became durable here, where a record says so: our own as it states itself, another's as our receipt does.
fn durable_at(look: &Look<'_>, view: &View<'_>, node: &Node) -> Option<Timestamp> {
    let own = node.head.party == *look.machine.me();
    if own { Some(node.recorded_at) } else { view.received_at(node) }
}

/// A document that says who may speak. When it came no record of a roster says.
fn of_roster(journaled: &Journaled) -> Option<Event> {
    let text = match &journaled.record {
        Record::Roster(document) => document.text(),
        Record::Entry(item) => &item.text,
        Record::Receipt(_)
        | Record::Confirmed(_)
        | Record::Deposited(_)
        | Record::CustodyEnded(_)
        | Record::Prekey(_) => return None,
    };
    let kind = DocumentType::of(text).filter(|kind| *kind != DocumentType::Dispatch)?;
    let what = document_of(kind, text).unwrap_or_else(|| format!("a document of type {kind}"));
    let event = plain(Some(journaled.channel), EventKind::Roster, format!("{what} was taken in"));
    Some(Event { id: Some(journaled.index.0), at: None, ..event })
}

/// Which document, and whose.
fn document_of(kind: DocumentType, text: &str) -> Option<String> {
    Some(match kind {
        DocumentType::Card => {
            let card = Card::parse(text).ok()?;
            format!("card {} of {}", card.serial, card.member)
        }
        DocumentType::Roots => format!("a list of roots of {}", Roots::parse(text).ok()?.member),
        DocumentType::Officer => format!("an officer's document of {}", Officer::parse(text).ok()?.party),
        DocumentType::Suspension => format!("a suspension of {}", Suspension::parse(text).ok()?.party),
        DocumentType::Revocation => format!("a revocation of {}", Revocation::parse(text).ok()?.member),
        DocumentType::Charter | DocumentType::Dispatch => return None,
    })
}

/// What happened to which dispatch; without one, to an entry that says who may sign.
struct About {
    kind: EventKind,
    header: Option<Header>,
    evidence: Option<Evidence>,
    peer: Option<MemberId>,
    detail: Option<String>,
}

/// An entry: our own is recorded, another's has arrived. Then what is judged now that it is here: itself, and those
/// that had waited for it.
fn of_entry(look: &Look<'_>, view: &View<'_>, node: &Node, all: &mut Vec<About>) {
    let transcript = look.machine.transcript();
    let entry = node.head.hash;
    // What is judged with it was judged when it came.
    let at = durable_at(look, view, node).unwrap_or(node.recorded_at);
    let own = node.head.party == *look.machine.me();
    let kind = if own { EventKind::Recorded } else { EventKind::Arrived };
    if let Some(header) = view.header(node) {
        let peer = peer_of(look, node);
        all.push(About { kind, header: Some(header), evidence: None, peer, detail: None });
    }
    of_volume(look, view, node, all);
    // What was decided later is told with the entry that decided it.
    if !transcript.is_rejudged(&entry) {
        of_judgement(look, view, node, at, all);
    }
    for other in transcript.judged_by(&entry) {
        if other.effect == Effect::Accepted
            && let Some(header) = view.header(other)
        {
            let peer = peer_of(look, other);
            let detail = Some("it counts, now that what it rests on is here".to_owned());
            all.push(About { kind: EventKind::Accepted, header: Some(header), evidence: None, peer, detail });
        }
        of_judgement(look, view, other, at, all);
    }
}

/// What a new volume tells, and what was left behind by it: another's with the volume, our own as it comes back.
fn of_volume(look: &Look<'_>, view: &View<'_>, node: &Node, all: &mut Vec<About>) {
    let transcript = look.machine.transcript();
    let peer = peer_of(look, node);
    let disowned = |node: &Node| {
        let (header, peer) = (view.header(node)?, peer_of(look, node));
        Some(About { kind: EventKind::Disowned, header: Some(header), evidence: None, peer, detail: None })
    };
    if let Some(volume) = Volume::opened_by(look.machine, node) {
        let detail = Some(volume.to_string());
        all.push(About { kind: EventKind::Volume, header: None, evidence: None, peer: peer.clone(), detail });
        if let Some(log) = transcript.log(&node.head.party).filter(|_| peer.is_some()) {
            all.extend(left_behind(log, node).filter_map(disowned).take(DISOWNED_TOLD));
        }
    } else if peer.is_none() && transcript.is_disowned(node) {
        all.extend(disowned(node));
    }
}

/// What an entry's effect tells: nothing when it simply counts, unless it acknowledges something.
fn of_judgement(look: &Look<'_>, view: &View<'_>, node: &Node, at: Timestamp, all: &mut Vec<About>) {
    let peer = peer_of(look, node);
    match &node.effect {
        Effect::Void(why) => {
            let header = view.header(node);
            let detail = header.is_none().then(|| format!("{} is of no effect: {why}", node.head));
            let evidence = Some(view.of_void(why, at));
            all.push(About { kind: EventKind::Void, header, evidence, peer, detail });
        }
        Effect::Accepted if peer.is_some() => {
            if let Some(header) = view.acknowledged_by(node).and_then(|about| view.header(about)) {
                let evidence = Some(view.of_acknowledgement(node));
                let header = Some(header);
                all.push(About { kind: EventKind::Acknowledged, header, evidence, peer, detail: None });
            }
        }
        Effect::Accepted | Effect::AuthorityUnknown => {}
    }
}

/// Whose entry it is, if not ours.
fn peer_of(look: &Look<'_>, node: &Node) -> Option<MemberId> {
    (node.head.party != *look.machine.me()).then(|| node.head.party.clone())
}

/// Entries of ours that a mediator keeps for a peer.
fn of_custody(
    look: &Look<'_>,
    view: &View<'_>,
    statement: &Statement,
    entries: &[EntryHash],
    all: &mut Vec<About>,
) {
    let Stated::Kept { to, .. } = &statement.says else { return };
    let nodes = entries.iter().filter_map(|entry| look.machine.transcript().get(entry));
    for header in nodes.filter_map(|node| view.header(node)) {
        let evidence = Some(View::of_custody(statement));
        let (kind, header, peer) = (EventKind::Custody, Some(header), Some(to.clone()));
        all.push(About { kind, header, evidence, peer, detail: None });
    }
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
    let header = view.header(machine.transcript().get(&receipt.of.hash)?)?;
    let evidence = Some(view.of_receipt(&receipt.by, receipt.kind, receipt.at));
    let peer = (!own).then(|| receipt.by.clone());
    Some(About { kind, header: Some(header), evidence, peer, detail: None })
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::Ordering, time::Duration};

    use tokio::{sync::mpsc, time::timeout};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        home::Identity,
        runtime::news::{Cause, News},
        store::{SledStore, conformance, fault::FaultStore},
    };

    /// A node without a card, say: nobody can tell what its records mean, and asking again and again would keep the disk
    /// busy for every listener. Alarms are told meanwhile.
    #[tokio::test]
    async fn without_a_line_a_listener_waits_for_one_and_still_hears_alarms() {
        let directory = tempfile::tempdir().unwrap();
        let store = SledStore::open(directory.path()).unwrap();
        let channel = conformance::channel(1);
        store.commit(&[conformance::commit(channel, &[conformance::entry(channel, 1)])]).unwrap();
        let (store, reads) = FaultStore::counted(store);
        let store: Arc<dyn Store> = Arc::new(store);
        let (_told, durable) = watch::channel(store.durable());
        let api = Arc::new(Api {
            identity: Identity { me: "washington".parse().unwrap(), mediates: false },
            store,
            news: Arc::new(News::new()),
            durable,
            installs: mpsc::channel(1).0,
            stop: CancellationToken::new(),
            now: watch::Sender::new(Arc::new(Standing::default())),
        });
        let (mut reader, _) = Reader::new(Arc::clone(&api), Some(Bookmark::START));
        let waiting = timeout(Duration::from_millis(200), reader.next()).await;
        assert!(waiting.is_err(), "there is nothing to tell");
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        api.news.alarm(channel, None, Cause::DiskFull, "look after the disk".to_owned());
        let told = timeout(Duration::from_secs(20), reader.next()).await.expect("it is told");
        let Ready(alarm, place) = told.unwrap();
        assert_eq!((alarm.kind, place), (EventKind::Alarm, None), "heard, and nothing is skipped by it");
        // A new line is asked at once, and once.
        let mut next = std::pin::pin!(reader.next());
        assert!(futures::poll!(&mut next).is_pending());
        let before = reads.load(Ordering::Relaxed);
        api.stand(Standing::default());
        assert!(futures::poll!(&mut next).is_pending());
        assert_eq!(reads.load(Ordering::Relaxed), before + 1);
        api.stop.cancel();
        assert!(next.await.is_none());
    }
}
