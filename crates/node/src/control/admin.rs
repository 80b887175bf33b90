//! What operators ask: line tests, and taking in what was installed.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use demarche_control::{
    Code, Problem,
    types::{Installed, LineTest, LineTestRequest},
};
use demarche_protocol::{
    channel::LineTestResult,
    identity::{member::MemberId, roster::Roster},
};
use futures::future::join_all;
use tokio::{sync::oneshot, time::timeout};

use super::{
    problems::{Answer, Refused, stopping},
    server::Api,
};
use crate::{
    defaults::LINE_TEST,
    link::{Links, status::no_path},
    runtime::{channel::Handle, clock::wall, names::node_of},
};

/// Tests the line to one peer, or to all.
pub(super) async fn line_test(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    request: Option<Json<LineTestRequest>>,
) -> Answer<Vec<LineTest>> {
    let handle = api.handle(&name)?;
    let channel = api.channel(&name)?;
    let parties = channel.charter.parties.iter().map(|party| party.id.clone());
    let others: Vec<MemberId> = parties.filter(|party| *party != api.identity.me).collect();
    let peers = match request.and_then(|Json(request)| request.peer) {
        None => others,
        Some(peer) if others.contains(&peer) => vec![peer],
        Some(peer) => {
            return Err(Problem::new(
                Code::UnknownReference,
                format!("{peer} is no other party of this channel"),
            )
            .into());
        }
    };
    let line = api.standing().line.clone().ok_or_else(|| Refused(stopping()))?;
    let mediators = channel.charter.mediators.iter().map(|mediator| &mediator.id);
    let paths = peers.iter().flat_map(|peer| mediators.clone().map(move |via| (peer, via)));
    Ok(Json(join_all(paths.map(|(peer, via)| one_test(&handle, &line.links, peer, via))).await))
}

/// Tests one path: to a peer over one mediator.
async fn one_test(handle: &Handle, links: &Links, peer: &MemberId, via: &MemberId) -> LineTest {
    let failed = |why: String| LineTest {
        peer: peer.clone(),
        via: via.to_string(),
        there_ms: None,
        back_ms: None,
        rtt_ms: None,
        at: wall(),
        verified: false,
        stands_by: false,
        error: Some(why),
    };
    let roster = handle.roster().borrow().clone();
    if let Some(why) = no_path(links, &roster, via, peer) {
        return failed(why);
    }
    if let Some(standing) = stands_by(handle, links, &roster, peer, via).await {
        let unsigned =
            |rtt| LineTest { rtt_ms: Some(rtt), stands_by: true, error: None, ..failed(String::new()) };
        return standing.map_or_else(failed, unsigned);
    }
    match timeout(LINE_TEST, handle.line_test(peer.clone(), via.clone())).await {
        Err(_) => failed(format!("no answer within {} s", LINE_TEST.as_secs())),
        Ok(Err(why)) => failed(why.to_string()),
        Ok(Ok(result)) => tested(&result, via.to_string()),
    }
}

/// Where the session with a peer goes over another mediator: how this way would be, in milliseconds of a ping, or why it would not.
async fn stands_by(
    handle: &Handle,
    links: &Links,
    roster: &Roster,
    peer: &MemberId,
    via: &MemberId,
) -> Option<Result<f64, String>> {
    let whose = peer.clone();
    let used = handle.query(move |look| {
        let state = look.peers.iter().find(|(id, _)| *id == whose).map(|(_, state)| state);
        state.and_then(|state| state.via.filter(|_| state.up))
    });
    let used = used.await.ok().flatten()?;
    let (peer_node, via_node) = (node_of(roster.current(peer)?), node_of(roster.current(via)?));
    if used == via_node {
        return None;
    }
    let circuit = links.circuit(peer_node, via_node).filter(|circuit| circuit.up);
    let rtt = circuit.and_then(|circuit| circuit.rtt).filter(|_| !links.has_failed(peer_node, via_node));
    let why = || format!("{peer} answers no ping over it; the line goes over another mediator");
    Some(rtt.map(|rtt| rtt.as_secs_f64() * 1000.0).ok_or_else(why))
}

fn tested(result: &LineTestResult, via: String) -> LineTest {
    let round_trip = result.round_trip.as_secs_f64() * 1000.0;
    // By the peer's clock against ours: what the clocks differ by is in it, with opposite signs.
    let there = millis(result.answered_at.as_millis()) - millis(result.asked_at.as_millis());
    LineTest {
        peer: result.peer.clone(),
        via,
        there_ms: Some(there),
        back_ms: Some(round_trip - there),
        rtt_ms: Some(round_trip),
        at: result.asked_at,
        verified: true,
        stands_by: false,
        error: None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^52")]
fn millis(value: u64) -> f64 {
    value as f64
}

/// Takes in what lies in the channels' directories.
pub(super) async fn install(State(api): State<Arc<Api>>) -> Answer<Vec<Installed>> {
    let (reply, answer) = oneshot::channel();
    api.installs.send(reply).await.map_err(|_| Refused(stopping()))?;
    let installed = answer.await.map_err(|_| Refused(stopping()))?;
    Ok(Json(installed?))
}

pub(super) async fn not_found() -> Refused {
    Refused(
        Problem::new(Code::UnknownReference, "this node does not know that request")
            .with_help("use a demarche of the node's own version"),
    )
}
