//! What is only read: status, channels, charter, officers, inbox, cases.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State, rejection::QueryRejection},
};
use demarche_control::{
    SignedFile,
    types::{Case, ChannelInfo, Header, OfficerInfo, Status},
};
use serde::Deserialize;

use super::{
    problems::{Answer, query},
    server::Api,
};
use crate::{
    link,
    runtime::{clock::wall, view::View},
};

pub(super) async fn status(State(api): State<Arc<Api>>) -> Json<Status> {
    let standing = api.standing();
    let status = link::status::status(
        &api.identity,
        &standing.channels,
        standing.line.as_deref(),
        api.store.hindrance(),
        api.news.count_alarms(),
    );
    Json(link::status::with_broken(status.await, &standing.broken))
}

pub(super) async fn channels(State(api): State<Arc<Api>>) -> Json<Vec<ChannelInfo>> {
    let standing = api.standing();
    let info = standing.channels.iter().map(|channel| ChannelInfo {
        name: channel.name.to_string(),
        channel: channel.id(),
        title: channel.charter.title.clone(),
        party: api.identity.me.clone(),
        parties: channel.charter.parties.iter().map(|member| member.id.clone()).collect(),
        mediators: channel.charter.mediators.iter().map(|member| member.id.clone()).collect(),
    });
    Json(info.collect())
}

pub(super) async fn charter(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Answer<SignedFile> {
    Ok(Json(SignedFile::of(api.channel(&name)?.charter.document())?))
}

pub(super) async fn officers(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Answer<Vec<OfficerInfo>> {
    let officers = api.handle(&name)?.query(|look| View::new(look, "").officers(wall())).await?;
    Ok(Json(officers))
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Which {
    /// Also what is void.
    #[serde(default)]
    all: bool,
    /// Only what calls somebody: a watch asks for it every few seconds, however long the inbox has become.
    #[serde(default)]
    urgent: bool,
}

pub(super) async fn inbox(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
) -> Answer<Vec<Header>> {
    let which = query(which)?;
    let handle = api.handle(&name)?;
    let local = handle.name().to_owned();
    let headers = handle
        .query(move |look| {
            let view = View::new(look, &local);
            if which.urgent { view.urgent() } else { view.inbox(which.all) }
        })
        .await?;
    Ok(Json(headers))
}

pub(super) async fn cases(State(api): State<Arc<Api>>, Path(name): Path<String>) -> Answer<Vec<Case>> {
    let handle = api.handle(&name)?;
    let local = handle.name().to_owned();
    Ok(Json(handle.query(move |look| View::new(look, &local).cases()).await?))
}
