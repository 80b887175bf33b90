//! Sending, showing and opening dispatches.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
};
use demarche_control::{
    Code, Problem, SignedFile,
    serial::SerialError,
    types::{Header, OpenRequest, Sent, Shown, State as Step},
};
use demarche_protocol::{
    document::{DocumentType, SignedDocument},
    identity::{Verified, keys::PublicKey},
    limits,
};
use tokio::time::{Instant, timeout_at};

use super::{
    problems::{Answer, Refused},
    server::Api,
};
use crate::{
    defaults::NEW_LINE,
    logging::escaped,
    runtime::{
        channel::{Handle, Recorded},
        view::{self, View, Wanted},
    },
};

/// The body of a request, or why it is none.
pub(super) fn body<T>(read: Result<Json<T>, JsonRejection>) -> Result<T, Refused> {
    read.map(|Json(body)| body).map_err(|why| {
        let code = if why.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            Code::TooLong
        } else {
            Code::Malformed
        };
        Refused(Problem::new(code, why.body_text()))
    })
}

pub(super) async fn post(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    file: Result<Json<SignedFile>, JsonRejection>,
) -> Answer<Sent> {
    let document = body(file)?.document()?;
    if document.text().len() > limits::DOCUMENT_TEXT {
        let message = format!(
            "a text of {} bytes; at most {} are allowed",
            document.text().len(),
            limits::DOCUMENT_TEXT
        );
        return Err(Problem::new(Code::TooLong, message)
            .with_help("shorten it, or send it in two parts")
            .into());
    }
    if !matches!(document.document_type(), Some(DocumentType::Dispatch)) {
        return Err(Problem::new(Code::Malformed, "only a dispatch is sent like this")
            .with_help("install it instead: demarche install FILE")
            .into());
    }
    let until = Instant::now() + NEW_LINE;
    let mut now = api.now.subscribe();
    loop {
        now.mark_unchanged();
        let refused = match send(&api, &name, document.clone()).await {
            Err(refused) if refused.0.code == Code::Stopping => refused,
            answer => return answer,
        };
        // The line is being set up anew, for a new card say. Entering a document twice is harmless.
        tokio::select! {
            () = api.stop.cancelled() => return Err(refused),
            stands = timeout_at(until, now.changed()) => if !matches!(stands, Ok(Ok(()))) {
                return Err(refused);
            },
        }
    }
}

async fn send(api: &Api, name: &str, document: SignedDocument) -> Answer<Sent> {
    let handle = api.handle(name)?;
    let id = document.id();
    let Recorded { entry, new } = handle.append(document).await?;
    let header = header(api, &handle, Wanted::Document(id)).await?;
    Ok(Json(Sent {
        serial: header.serial,
        case: header.case,
        document: header.document,
        entry: entry.hash,
        state: if new { Step::Recorded } else { header.state },
    }))
}

fn unknown(message: String) -> Problem {
    Problem::new(Code::UnknownSerial, message).with_help("see what is here: demarche inbox")
}

fn wanted(serial: &str) -> Result<Wanted, Problem> {
    Wanted::parse(serial).ok_or_else(|| unknown(format!("`{}` is no serial: {SerialError}", escaped(serial))))
}

/// What was asked for and is not here: by its name, and with the parties when it is of none.
fn not_here(api: &Api, handle: &Handle, wanted: &Wanted) -> Problem {
    let serial = match wanted {
        Wanted::Document(document) => return unknown(format!("there is no {document} here")),
        Wanted::Serial(serial) => serial,
    };
    let standing = api.standing();
    let channel = standing.channels.iter().find(|channel| channel.id() == handle.id());
    let parties = channel.map(|channel| &channel.charter.parties);
    match parties.filter(|parties| parties.iter().all(|party| party.id != serial.party)) {
        Some(parties) => {
            let parties: Vec<&str> = parties.iter().map(|party| party.id.as_str()).collect();
            unknown(format!("{} is no party of this channel: {}", serial.party, parties.join(", ")))
        }
        None => unknown(format!("there is no {serial} here")),
    }
}

async fn header(api: &Api, handle: &Handle, wanted: Wanted) -> Result<Header, Refused> {
    let (name, asked) = (handle.name().to_owned(), wanted.clone());
    let found = handle.query(move |look| {
        let view = View::new(look, &name);
        view.find(&asked).and_then(|node| view.header(node))
    });
    found.await?.ok_or_else(|| not_here(api, handle, &wanted).into())
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path((name, serial)): Path<(String, String)>,
) -> Answer<Shown> {
    let handle = api.handle(&name)?;
    shown(&api, &handle, wanted(&serial)?).await
}

async fn shown(api: &Api, handle: &Handle, wanted: Wanted) -> Answer<Shown> {
    let (name, asked) = (handle.name().to_owned(), wanted.clone());
    let missing = || not_here(api, handle, &wanted);
    let found = handle.query(move |look| {
        let view = View::new(look, &name);
        let node = view.find(&asked)?;
        Some((view.header(node)?, view.evidence(node), view.authority(node), view.same_serial(node)))
    });
    let (header, evidence, authority, same_serial) = found.await?.ok_or_else(missing)?;
    let item = api.store.item(handle.id(), header.entry)?.ok_or_else(missing)?;
    Ok(Json(view::shown(header, &item, evidence, authority, same_serial)))
}

/// Shows a dispatch to an officer: first the statement that it was displayed is durable, then the text leaves the node.
pub(super) async fn open(
    State(api): State<Arc<Api>>,
    Path((name, serial)): Path<(String, String)>,
    request: Result<Json<OpenRequest>, JsonRejection>,
) -> Answer<Shown> {
    let key = PublicKey::from_openssh(&body(request)?.officer_key)
        .map_err(|why| Problem::new(Code::Malformed, why.to_string()))?;
    let handle = api.handle(&name)?;
    let wanted = wanted(&serial)?;
    let asked = wanted.clone();
    let found = handle.query(move |look| {
        let machine = look.machine;
        let view = View::new(look, "");
        let node = view.find(&asked)?;
        let own = node.head.party == *machine.me();
        let authority = machine.transcript().authority(machine.me());
        let officer = authority.and_then(|authority| {
            let revoked = machine.transcript().revokes(machine.me(), &key);
            let active = !revoked && !authority.is_suspended(&key);
            authority.officer(&key).filter(|_| active).map(Verified::id)
        });
        Some((node.head.hash, own, officer))
    });
    let (entry, own, officer) = found.await?.ok_or_else(|| not_here(&api, &handle, &wanted))?;
    let officer = officer.ok_or_else(|| {
        Problem::new(
            Code::NotAuthorised,
            format!("{} is no officer's key of {} in force", key.fingerprint(), api.identity.me),
        )
        .with_help("see who is: demarche officer list")
    })?;
    // Nobody needs to be told that we read what we wrote.
    if !own {
        handle.opened(entry, officer).await?;
    }
    shown(&api, &handle, wanted).await
}
