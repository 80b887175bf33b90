//! Alarms: listed, and taken by name.

use std::sync::Arc;

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
};
use demarche_control::{
    Code, Problem,
    types::{Alarm, NAME, TakeRequest, is_name},
};
use tokio::task::spawn_blocking;

use super::{
    dispatches::body,
    problems::{Answer, Refused, stopping},
    server::Api,
};
use crate::runtime::{alarms::book::NotThere, news::TakeError};

pub(super) async fn list(State(api): State<Arc<Api>>) -> Json<Vec<Alarm>> {
    Json(api.news.alarms())
}

pub(super) async fn take(
    State(api): State<Arc<Api>>,
    request: Result<Json<TakeRequest>, JsonRejection>,
) -> Answer<Vec<Alarm>> {
    let TakeRequest { numbers, by } = body(request)?;
    if !is_name(&by) {
        let problem = Problem::new(Code::Malformed, "that is no name by which an alarm can be taken");
        return Err(problem.with_help(format!("one line of at most {NAME} bytes")).into());
    }
    let news = Arc::clone(&api.news);
    let taken = spawn_blocking(move || news.take(&numbers, by.trim())).await;
    Ok(Json(taken.map_err(|_| Refused(stopping()))??))
}

impl From<TakeError> for Refused {
    fn from(error: TakeError) -> Self {
        let (code, help) = match &error {
            TakeError::NotThere(NotThere::Unknown(_) | NotThere::Over { .. }) => {
                (Code::UnknownAlarm, "see which stand: demarche alarms")
            }
            TakeError::Unwritten(_) => (Code::DiskFull, "look after the node's disk, then take them again"),
        };
        let why = std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
        Self(Problem::new(code, format!("{error}{why}")).with_help(help))
    }
}
