//! The same provision by the same party minutes ago: probably the same event, told twice.

use std::time::Duration;

use demarche_control::types::Case;
use demarche_protocol::time::Timestamp;
use tokio::time::timeout;

use super::super::release::{self, Author};

/// Two notices this close under one provision are probably about one event.
const MINUTES: Duration = Duration::from_secs(10 * 60);

/// Own notices under this provision of the last minutes, newest first. Nothing when the node is away.
pub(super) async fn recent(author: &Author, provision: &str, now: Timestamp) -> Vec<Case> {
    let asked = timeout(release::ASK_WITHIN, author.station.client.cases(&author.pin.path())).await;
    let mut cases = asked.ok().and_then(Result::ok).unwrap_or_default();
    cases.retain(|case| {
        case.provision == provision && case.from == author.pin.party && now.since(case.opened_at) < MINUTES
    });
    cases.sort_by_key(|case| std::cmp::Reverse(case.opened_at));
    cases
}
