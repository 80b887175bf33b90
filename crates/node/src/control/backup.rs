//! What a backup takes from a node that runs: its journal, up to one record, in segments. Whoever makes it asks for one after another at
//! its own pace, so the node holds one at a time, and goes on recording meanwhile.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State, rejection::QueryRejection},
};
use demarche_control::backup::{About, Placed, SEGMENT, VERSION};
use serde::Deserialize;

use super::{
    problems::{Answer, Refused, query},
    server::Api,
};
use crate::{
    defaults::JOURNAL_PAGE,
    runtime::clock::wall,
    store::{JournalIndex, Store, StoreError},
};

/// What a backup made now would be.
pub(super) async fn about(State(api): State<Arc<Api>>) -> Answer<About> {
    Ok(Json(About {
        version: VERSION,
        party: api.identity.me.clone(),
        mediates: api.identity.mediates,
        journal: api.store.durable().0,
        made_at: wall(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}

#[derive(Debug, Deserialize)]
pub(super) struct Range {
    /// Behind this record.
    after: u64,
    /// Up to this one.
    until: u64,
}

/// The next segment. A record that is not what was written is named, and none behind it is given.
pub(super) async fn segment(
    State(api): State<Arc<Api>>,
    range: Result<Query<Range>, QueryRejection>,
) -> Result<Bytes, Refused> {
    let Range { after, until } = query(range)?;
    let store = Arc::clone(&api.store);
    // A megabyte is long enough to keep others waiting.
    let read = tokio::task::spawn_blocking(move || read(store.as_ref(), after, until)).await;
    let read = read.map_err(|_| Refused(super::problems::stopping()))?;
    Ok(read?.into())
}

fn read(store: &dyn Store, mut after: u64, until: u64) -> Result<Vec<u8>, StoreError> {
    let mut segment = Vec::new();
    while after < until {
        let page = store.journal(JournalIndex(after), JOURNAL_PAGE)?;
        if page.is_empty() {
            break;
        }
        for found in page {
            if found.index.0 > until || segment.len() >= SEGMENT {
                return Ok(segment);
            }
            after = found.index.0;
            Placed { index: after, channel: found.channel, record: found.record }.put(&mut segment);
        }
    }
    Ok(segment)
}
