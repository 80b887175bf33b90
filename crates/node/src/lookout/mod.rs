//! The lookout for what stands still: what the charter gives time for ([`deadlines`]), and lines that are down ([`lines`]). It looks at
//! every channel whenever something has become durable, a line has come or gone, or a time is up, and settles the book of alarms by
//! what it finds; and it has told again what nobody has taken.

mod deadlines;
mod lines;

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use demarche_control::types::{Cause, Event, EventKind};
use demarche_protocol::{dispatch::Nature, hash::ChannelId, time::Timestamp};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use deadlines::{Due, Ground};
use lines::Down;

use crate::{
    control::Api,
    link::Links,
    runtime::{
        alarms::book::{About, Finding, Found},
        channel::{Handle, Look},
        clock::wall,
        view::{View, serial},
    },
};

/// Between two looks at least.
const APART: Duration = Duration::from_millis(250);
/// Between two looks at least so many times what the last one took: a look reads whole logs, and the line waits for it.
const SHARE: u32 = 20;
/// Between two looks at most: a mediator's link tells nobody that it went, and clocks jump.
const EVERY: Duration = Duration::from_secs(5);
/// Alarms of one cause in one channel that stand each by itself. One more stands for all the rest, so that a peer's flood fills
/// neither memory nor screens (threat E8).
const SINGLY: usize = 32;

/// Looks until the node stops.
pub(crate) async fn run(api: Weak<Api>) {
    let Some((mut durable, mut news, stop)) =
        api.upgrade().map(|api| (api.durable.clone(), api.news.listen(), api.stop.clone()))
    else {
        return;
    };
    loop {
        let began = Instant::now();
        durable.mark_unchanged();
        let Some(now) = api.upgrade() else { return };
        let next = tokio::select! {
            () = stop.cancelled() => return,
            next = round(&now) => next,
        };
        drop(now);
        let again = began + APART.max(began.elapsed() * SHARE);
        let wait = next.map_or(EVERY, |next| next.since(wall()).min(EVERY));
        let something = async {
            sleep_until(again).await;
            tokio::select! {
                () = sleep(wait) => {}
                () = a_line_changed(&mut news) => {}
                // A store that is gone is a node that ends.
                gone = durable.changed() => if gone.is_err() { stop.cancelled().await },
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = something => {}
        }
    }
}

async fn a_line_changed(news: &mut Receiver<Event>) {
    loop {
        match news.recv().await {
            Ok(event) if event.kind != EventKind::Link => {}
            Err(RecvError::Closed) => return std::future::pending().await,
            Ok(_) | Err(RecvError::Lagged(_)) => return,
        }
    }
}

/// One look at everything. Gives the moment of the next alarm that is known of.
async fn round(api: &Api) -> Option<Timestamp> {
    let standing = api.standing();
    let mut next: Option<Timestamp> = None;
    if let Some(line) = &standing.line {
        let channels: Vec<ChannelId> = line.channels.iter().map(Handle::id).collect();
        api.news.keep_alarms_of(&channels);
        for handle in &line.channels {
            let (links, name) = (Arc::clone(&line.links), handle.name().to_owned());
            // One that is ending is looked at again when it is back.
            if let Ok(found) = handle.query(move |look| found(look, &links, &name, wall())).await {
                next = next.into_iter().chain(found.next).min();
                api.news.settle(handle.id(), found);
            }
        }
    }
    drop(standing);
    api.news.call_again();
    let news = Arc::clone(&api.news);
    // A write that panics would have been logged.
    let _ = spawn_blocking(move || news.save_alarms(false)).await;
    next
}

/// What a look at one channel finds.
fn found(look: &Look<'_>, links: &Links, name: &str, now: Timestamp) -> Found {
    let machine = look.machine;
    let (channel, view) = (machine.transcript().channel(), View::new(look, name));
    let ground = Ground {
        transcript: machine.transcript(),
        evidence: machine.evidence(),
        me: machine.me(),
        card: machine.card().serial,
        now,
    };
    let mut found = Found::default();
    let mut calling: BTreeMap<Cause, Vec<Due<'_>>> = BTreeMap::new();
    for due in ground.dues() {
        if due.calls_at() <= now {
            calling.entry(due.cause).or_default().push(due);
        } else {
            found.waits(due.calls_at(), about(channel, &due));
        }
    }
    for (cause, mut all) in calling {
        all.sort_by_key(Due::calls_at);
        let rest = all.split_off(all.len().min(SINGLY));
        found.now.extend(all.iter().map(|due| of_due(channel, &view, due)));
        if let Some(first) = rest.first() {
            found.now.push(of_the_rest(channel, cause, first, rest.len()));
            found.open.extend(rest.iter().map(|due| about(channel, due)));
        }
    }
    for down in lines::down(look, links, now) {
        let about =
            About { cause: down.cause, channel: Some(channel), peer: Some(down.peer.clone()), entry: None };
        if down.calls_at <= now {
            found.now.push(of_line(about, down));
        } else {
            found.waits(down.calls_at, about);
        }
    }
    found
}

impl Found {
    fn waits(&mut self, until: Timestamp, about: About) {
        self.next = Some(self.next.map_or(until, |next| next.min(until)));
        self.open.push(about);
    }
}

fn about(channel: ChannelId, due: &Due<'_>) -> About {
    let (peer, entry) = (Some(due.peer.clone()), Some(due.node.head.hash));
    About { cause: due.cause, channel: Some(channel), peer, entry }
}

fn of_due(channel: ChannelId, view: &View<'_>, due: &Due<'_>) -> Finding {
    Finding {
        about: about(channel, due),
        serial: Some(serial(&due.node.head)),
        detail: sentence(due),
        due: Some(due.by),
        since: due.since,
        times: 1,
        header: view.header(due.node),
    }
}

fn of_the_rest(channel: ChannelId, cause: Cause, first: &Due<'_>, count: usize) -> Finding {
    Finding {
        about: About { cause, channel: Some(channel), peer: None, entry: None },
        serial: None,
        detail: format!("{count} more dispatches are {cause}: see demarche inbox"),
        due: Some(first.by),
        since: first.since,
        times: count as u64,
        header: None,
    }
}

fn of_line(about: About, down: Down) -> Finding {
    let Down { cause, peer, since, why, .. } = down;
    let detail = match cause {
        Cause::LineDown => format!("the line to {peer} is down: {why}"),
        _ => why,
    };
    Finding { about, serial: None, detail, due: None, since, times: 1, header: None }
}

/// What is to be said of it. No word of a peer's is in it: it goes into the log.
fn sentence(due: &Due<'_>) -> String {
    let Due { peer, facts, .. } = due;
    let nature = match facts.nature {
        Nature::Real => String::new(),
        other => format!("{} ", other.as_str().to_uppercase()),
    };
    let precedence = facts.precedence.as_str().to_uppercase();
    let what = format!("{nature}{precedence} {} {}", facts.kind, serial(&due.node.head));
    match due.cause {
        Cause::UrgentArrival => format!("{what} is here, and nobody has opened it"),
        Cause::UnopenedHere => format!("{what} was not opened here in time"),
        Cause::UnacknowledgedHere => format!("{what} was opened here and not acknowledged in time"),
        Cause::Undelivered => format!("{what} was not delivered to {peer} in time"),
        Cause::Unopened => format!("{what} was delivered to {peer} and not opened there in time"),
        _ => format!("{what} was opened at {peer} and not acknowledged in time"),
    }
}
