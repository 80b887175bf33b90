//! The same provision by the same party minutes ago, equally meant: probably the same event, told twice.

use std::time::Duration;

use demarche_control::types::Case;
use demarche_protocol::{dispatch::Nature, time::Timestamp};
use tokio::time::timeout;

use super::super::release::{self, Author};

/// Two notices this close under one provision are probably about one event.
const MINUTES: Duration = Duration::from_secs(10 * 60);

/// Own notices under this provision of the last minutes, newest first. An exercise does not go on with a real case, nor the
/// other way round. Nothing when the node is away.
pub(super) async fn recent(author: &Author, provision: &str, nature: Nature, now: Timestamp) -> Vec<Case> {
    let asked = timeout(release::ASK_WITHIN, author.station.client.cases(&author.pin.path())).await;
    let mut cases = asked.ok().and_then(Result::ok).unwrap_or_default();
    cases.retain(|case| {
        let own = case.from == author.pin.party && case.nature == nature;
        own && case.provision == provision && now.since(case.opened_at) < MINUTES
    });
    cases.sort_by_key(|case| std::cmp::Reverse(case.opened_at));
    cases
}
