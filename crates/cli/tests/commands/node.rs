//! A node of our own making: one log in memory behind the local API, which can be told to refuse, to lie and to vanish.

use std::{
    path::{Path as File, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{
        IntoResponse as _, Response, Sse,
        sse::{self, KeepAlive},
    },
    routing::{get, post},
};
use demarche_control::{
    Code, Problem, Serial, SignedFile,
    types::{
        Alarm, Case, CaseState, Chain, ChannelInfo, Effect, Event, EventKind, Evidence, EvidenceKind, Header,
        LineTest, OfficerInfo, OfficerState, OpenRequest, Sent, Shown, State as Step, Status, TakeRequest,
        Taken,
    },
};
use demarche_protocol::{
    dispatch::{Content, Dispatch, Nature},
    document::SignedDocument,
    hash::EntryHash,
    identity::officer::Officer,
};
use serde::Deserialize;
use tokio::sync::{broadcast, oneshot};

use crate::scene::{channel, charter, id, now, officers, until};

/// What the node holds and how it behaves.
pub(crate) struct Held {
    pub(crate) charter: SignedDocument,
    pub(crate) shown: Vec<Shown>,
    pub(crate) officers: Vec<SignedDocument>,
    pub(crate) officer_state: OfficerState,
    /// What is shown whatever was asked for.
    pub(crate) lie: Option<Shown>,
    /// What every case is said to be.
    pub(crate) nature_of_cases: Option<Nature>,
    /// Whether posts are never answered.
    pub(crate) deaf: bool,
    /// What the next post is refused with.
    pub(crate) refuse: Option<Problem>,
    /// What every look at the inbox is refused with.
    pub(crate) no_inbox: Option<Problem>,
    pub(crate) status: Option<Status>,
    /// Whether nobody is told how it is, not even that it will not say.
    pub(crate) hangs: bool,
    pub(crate) tests: Vec<LineTest>,
    pub(crate) alarms: Vec<Alarm>,
    /// Durable events, numbered from 1.
    pub(crate) events: Vec<Event>,
    /// `METHOD path?query` of every request.
    pub(crate) asked: Vec<String>,
    pub(crate) opened_by: Vec<String>,
    live: broadcast::Sender<Option<Event>>,
}

impl Held {
    /// Enters a signed document in its party's log.
    pub(crate) fn enter(&mut self, document: &SignedDocument) -> Sent {
        if let Some(known) = self.shown.iter().find(|shown| shown.header.document == document.id()) {
            return sent(known);
        }
        let dispatch = Dispatch::parse(document.text()).unwrap();
        let party = dispatch.party.clone();
        let seq = 1 + self.shown.iter().filter(|shown| shown.header.from == party).count() as u64;
        let serial = Serial { party: party.clone(), seq };
        let notice = dispatch.refers_to();
        let refers = self.shown.iter().find(|shown| Some(shown.header.document) == notice);
        let case = match &dispatch.content {
            Content::Breach(_) => Some(serial.clone()),
            _ => refers.and_then(|shown| shown.header.case.clone()),
        };
        let provision = match &dispatch.content {
            Content::Breach(breach) => Some(breach.provision.clone()),
            _ => None,
        };
        let own = party == id("washington");
        let header = Header {
            channel: "memo26".to_owned(),
            serial,
            case,
            document: document.id(),
            entry: EntryHash::of(document.text().as_bytes()),
            kind: dispatch.kind().into(),
            nature: Some(dispatch.nature),
            precedence: Some(dispatch.precedence),
            provision,
            title: dispatch.title().map(str::to_owned),
            from: party.clone(),
            officer: Officer::parse(officers(party.as_str()).text()).unwrap().name,
            written_at: Some(dispatch.written_at),
            recorded_at: now(),
            received_at: (!own).then(now),
            state: if own { Step::Recorded } else { Step::Delivered },
            effect: Effect::Accepted,
            void_reason: None,
            chain: Chain::Complete,
        };
        let file = SignedFile::of(document).unwrap();
        let shown = Shown {
            header,
            body: dispatch.body().map(str::to_owned),
            text: file.text,
            signatures: file.signatures,
            fields: Shown::fields_of(&dispatch),
            evidence: vec![evidence(EvidenceKind::Recorded, party.as_str())],
            authority: vec![SignedFile::of(&officers(party.as_str())).unwrap()],
            same_serial: Vec::new(),
        };
        let answer = sent(&shown);
        self.shown.push(shown);
        answer
    }

    /// A step on the way of a dispatch, told to everyone who listens.
    pub(crate) fn step(&mut self, serial: &str, state: Step, evidence: Evidence) {
        let shown = self.shown.iter_mut().find(|shown| shown.header.serial.to_string() == serial).unwrap();
        shown.header.state = state;
        shown.evidence.push(evidence.clone());
        let header = shown.header.clone();
        let kind = match state {
            Step::Custody => EventKind::Custody,
            Step::Delivered => EventKind::Delivered,
            Step::Opened => EventKind::Opened,
            Step::Acknowledged => EventKind::Acknowledged,
            _ => EventKind::Void,
        };
        self.tell(kind, Some(header), Some(evidence));
    }

    /// What the node tells of itself, between the durable events.
    pub(crate) fn tell_of_itself(&self, kind: EventKind, detail: &str) {
        let event = Event {
            id: None,
            channel: None,
            kind,
            at: Some(now()),
            header: None,
            evidence: None,
            peer: None,
            alarm: None,
            detail: Some(detail.to_owned()),
        };
        let _ = self.live.send(Some(event));
    }

    /// An alarm as it is told.
    pub(crate) fn tell_alarm(&self, alarm: &Alarm) {
        let event = Event {
            id: None,
            channel: alarm.channel,
            kind: EventKind::Alarm,
            at: Some(now()),
            header: None,
            evidence: None,
            peer: alarm.peer.clone(),
            alarm: Some(alarm.clone()),
            detail: Some(alarm.detail.clone()),
        };
        let _ = self.live.send(Some(event));
    }

    /// A durable event.
    pub(crate) fn tell(&mut self, kind: EventKind, header: Option<Header>, evidence: Option<Evidence>) {
        let id = Some(self.events.len() as u64 + 1);
        let (channel, at) = (Some(channel()), Some(now()));
        let event = Event { id, channel, kind, at, header, evidence, peer: None, alarm: None, detail: None };
        self.events.push(event.clone());
        let _ = self.live.send(Some(event));
    }

    /// Ends every feed that is being listened to.
    pub(crate) fn cut_feeds(&self) {
        let _ = self.live.send(None);
    }

    pub(crate) fn listeners(&self) -> usize {
        self.live.receiver_count()
    }
}

pub(crate) fn evidence(kind: EvidenceKind, by: &str) -> Evidence {
    Evidence { kind, by: id(by), at: now(), verified: true, officer: None, serial: None, detail: None }
}

fn sent(shown: &Shown) -> Sent {
    Sent {
        serial: shown.header.serial.clone(),
        case: shown.header.case.clone(),
        document: shown.header.document,
        entry: shown.header.entry,
        state: shown.header.state,
    }
}

type Shared = Arc<Mutex<Held>>;
type Answer<T> = Result<Json<T>, Refusal>;

struct Refusal(Problem);

impl axum::response::IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status()).unwrap();
        (status, Json(self.0)).into_response()
    }
}

/// The node, listening until it is dropped.
pub(crate) struct Node {
    held: Shared,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Node {
    /// Listens on this socket.
    pub(crate) fn on(socket: &File) -> Self {
        let held = Arc::new(Mutex::new(Held {
            charter: charter(),
            shown: Vec::new(),
            officers: vec![officers("washington"), officers("tehran")],
            officer_state: OfficerState::InForce,
            lie: None,
            nature_of_cases: None,
            deaf: false,
            refuse: None,
            no_inbox: None,
            status: None,
            hangs: false,
            tests: Vec::new(),
            alarms: Vec::new(),
            events: Vec::new(),
            asked: Vec::new(),
            opened_by: Vec::new(),
            live: broadcast::channel(64).0,
        }));
        let (thread, stop) = serve(socket.to_owned(), Arc::clone(&held));
        Self { held, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap()
    }

    /// Waits until so many feeds are listened to.
    #[track_caller]
    pub(crate) fn until_listeners(&self, count: usize) {
        until(|| self.held().listeners() >= count);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.held().cut_feeds();
        drop(self.stop.take());
        let _ = self.thread.take().unwrap().join();
    }
}

fn serve(socket: PathBuf, held: Shared) -> (std::thread::JoinHandle<()>, oneshot::Sender<()>) {
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::UnixListener::from_std(listener).unwrap();
            tokio::select! {
                served = axum::serve(listener, router(held)) => served.unwrap(),
                _ = stopped => {}
            }
        });
    });
    (thread, stop)
}

fn router(held: Shared) -> Router {
    let in_channel = Router::new()
        .route("/charter", get(get_charter))
        .route("/officers", get(get_officers))
        .route("/documents", post(post_document))
        .route("/inbox", get(get_inbox))
        .route("/cases", get(get_cases))
        .route("/dispatches/{serial}", get(get_dispatch))
        .route("/dispatches/{serial}/open", post(open_dispatch))
        .route("/line-test", post(line_test));
    Router::new()
        .route("/v1/status", get(get_status))
        .route("/v1/channels", get(get_channels))
        .route("/v1/events", get(get_events))
        .route("/v1/alarms", get(get_alarms))
        .route("/v1/alarms/take", post(take_alarms))
        .nest("/v1/channels/{channel}", in_channel)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&held), note))
        .with_state(held)
}

async fn note(
    State(held): State<Shared>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    held.lock().unwrap().asked.push(format!("{} {}", request.method(), request.uri()));
    next.run(request).await
}

async fn get_channels() -> Json<Vec<ChannelInfo>> {
    Json(vec![ChannelInfo {
        name: "memo26".to_owned(),
        channel: channel(),
        title: "Memorandum of 2026".to_owned(),
        party: id("washington"),
        parties: vec![id("washington"), id("tehran")],
        mediators: vec![id("muscat")],
    }])
}

async fn get_charter(State(held): State<Shared>) -> Json<SignedFile> {
    Json(SignedFile::of(&held.lock().unwrap().charter).unwrap())
}

async fn get_officers(State(held): State<Shared>) -> Json<Vec<OfficerInfo>> {
    let held = held.lock().unwrap();
    let info = |document: &SignedDocument| {
        let officer = Officer::parse(document.text()).unwrap();
        OfficerInfo {
            party: officer.party,
            name: officer.name,
            key: officer.key.to_openssh(),
            duties: officer.duties,
            document: document.id(),
            state: held.officer_state,
            expires_at: officer.expires_at,
        }
    };
    Json(held.officers.iter().map(info).collect())
}

async fn post_document(State(held): State<Shared>, Json(file): Json<SignedFile>) -> Answer<Sent> {
    let deaf = held.lock().unwrap().deaf;
    if deaf {
        std::future::pending::<()>().await;
    }
    let mut held = held.lock().unwrap();
    if let Some(problem) = held.refuse.clone() {
        return Err(Refusal(problem));
    }
    let sent = held.enter(&file.document().unwrap());
    Ok(Json(sent))
}

async fn get_inbox(State(held): State<Shared>) -> Answer<Vec<Header>> {
    let held = held.lock().unwrap();
    match held.no_inbox.clone() {
        Some(problem) => Err(Refusal(problem)),
        None => Ok(Json(held.shown.iter().map(|shown| shown.header.clone()).collect())),
    }
}

async fn get_cases(State(held): State<Shared>) -> Json<Vec<Case>> {
    let held = held.lock().unwrap();
    let headers = || held.shown.iter().map(|shown| shown.header.clone());
    let notices = headers().filter(|header| header.provision.is_some());
    Json(
        notices
            .map(|notice| Case {
                channel: notice.channel.clone(),
                serial: notice.serial.clone(),
                document: notice.document,
                title: notice.title.clone().unwrap(),
                provision: notice.provision.clone().unwrap(),
                precedence: notice.precedence.unwrap(),
                nature: held.nature_of_cases.or(notice.nature).unwrap(),
                from: notice.from.clone(),
                state: CaseState::Open,
                position: None,
                opened_at: notice.recorded_at,
                entries: headers().filter(|header| header.case.as_ref() == Some(&notice.serial)).collect(),
            })
            .collect(),
    )
}

fn find(held: &Held, wanted: &str) -> Result<Shown, Refusal> {
    let fits = |shown: &&Shown| {
        shown.header.serial.to_string() == wanted || shown.header.document.to_string() == wanted
    };
    let problem = || {
        Problem::new(Code::UnknownSerial, format!("there is no {wanted} here")).with_help("demarche inbox")
    };
    held.shown.iter().find(fits).cloned().ok_or_else(|| Refusal(problem()))
}

async fn get_dispatch(
    State(held): State<Shared>,
    Path((_, serial)): Path<(String, String)>,
) -> Answer<Shown> {
    let held = held.lock().unwrap();
    held.lie.clone().map_or_else(|| find(&held, &serial), Ok).map(Json)
}

async fn open_dispatch(
    State(held): State<Shared>,
    Path((_, serial)): Path<(String, String)>,
    Json(request): Json<OpenRequest>,
) -> Answer<Shown> {
    let mut held = held.lock().unwrap();
    let mut shown = find(&held, &serial)?;
    held.opened_by.push(request.officer_key);
    shown.header.state = Step::Opened;
    Ok(Json(shown))
}

async fn line_test(State(held): State<Shared>) -> Json<Vec<LineTest>> {
    Json(held.lock().unwrap().tests.clone())
}

async fn get_status(State(held): State<Shared>) -> Answer<Status> {
    let hangs = held.lock().unwrap().hangs;
    if hangs {
        std::future::pending::<()>().await;
    }
    let status = held.lock().unwrap().status.clone();
    status.map(Json).ok_or_else(|| Refusal(Problem::new(Code::Stopping, "the node is starting")))
}

async fn get_alarms(State(held): State<Shared>) -> Json<Vec<Alarm>> {
    Json(held.lock().unwrap().alarms.clone())
}

async fn take_alarms(
    State(held): State<Shared>,
    Json(TakeRequest { numbers, by }): Json<TakeRequest>,
) -> Answer<Vec<Alarm>> {
    let mut held = held.lock().unwrap();
    if let Some(problem) = held.refuse.clone() {
        return Err(Refusal(problem));
    }
    let taken = held.alarms.iter_mut().filter(|alarm| numbers.contains(&alarm.number)).map(|alarm| {
        alarm.taken = Some(Taken { by: by.clone(), at: now() });
        alarm.clone()
    });
    Ok(Json(taken.collect()))
}

#[derive(Deserialize)]
struct After {
    after: Option<u64>,
}

async fn get_events(State(held): State<Shared>, Query(After { after }): Query<After>) -> Response {
    let (past, live) = {
        let held = held.lock().unwrap();
        let from = after.map_or(held.events.len() as u64, |after| after);
        let past = held.events.iter().filter(|event| event.id > Some(from)).cloned().collect::<Vec<_>>();
        (past, held.live.subscribe())
    };
    let stream = futures::stream::unfold((past.into_iter(), live), |(mut past, mut live)| async move {
        let event = match past.next() {
            Some(event) => event,
            None => live.recv().await.ok()??,
        };
        let sse = sse::Event::default().json_data(&event);
        let sse = sse.map(|sse| match event.id {
            Some(id) => sse.id(id.to_string()),
            None => sse,
        });
        Some((sse, (past, live)))
    });
    Sse::new(stream).keep_alive(KeepAlive::default()).into_response()
}
