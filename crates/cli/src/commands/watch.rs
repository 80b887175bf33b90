//! `demarche watch`: the node's feed as it comes. Rings for urgent arrivals until somebody here has opened them, also while the
//! node cannot be asked whether somebody has, and for every alarm that the node tells, which is once a minute until somebody takes
//! it; resumes by itself where it was, and says in red when it has lost the node.

use std::time::Duration;

use clap::Args;
use demarche_control::{
    Bookmark, EventStream,
    types::{Alarm, ChannelInfo, Event, EventKind, Header, Kind},
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    args::Globals,
    error::Result,
    exit::Exit,
    interrupts::Ending,
    screen::{Line, Style},
    station::Station,
    view, when,
    world::World,
};

/// How often it rings while something urgent lies unopened.
const RING_EVERY: Duration = Duration::from_secs(5);
/// How long until the node is tried again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Show what happens.
#[derive(Args, Debug)]
pub struct Watch {
    /// Begin after this event instead of with the next one; 0 is the beginning.
    #[arg(long, value_name = "ID")]
    pub after: Option<Bookmark>,
    /// End after so many events, at least one.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub count: Option<u64>,
}

fn at_least_one(text: &str) -> Result<u64, &'static str> {
    text.parse().ok().filter(|count| *count > 0).ok_or("not a number from 1 on")
}

pub(super) async fn run(command: Watch, globals: &Globals, world: &mut World) -> Result<Exit> {
    let station = Station::of(globals, &world.env)?;
    // A node that is not there at the start is a mistake to report; later it is something to wait for.
    let channels = station.channels(None).await?;
    let events = station.client.events(command.after).await?;
    let names: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
    world.screen.note(format!("watching {}; Ctrl-C ends it", names.join(", ")));
    let only = station.wanted_channel(None).is_some();
    let mut watch = Watching {
        station: &station,
        channels: &channels,
        only,
        left: command.count,
        bell: None,
        urgent: false,
        unanswered: false,
    };
    world.interrupts.heed();
    let interrupts = world.interrupts.clone();
    tokio::select! {
        biased;
        ending = interrupts.caught() => Ok(match ending {
            // That is how one ends it.
            Ending::Interrupted => Exit::Done,
            Ending::HungUp | Ending::Terminated => ending.exit(),
        }),
        () = watch.run(events, world) => Ok(Exit::Done),
    }
}

struct Watching<'a> {
    station: &'a Station,
    channels: &'a [ChannelInfo],
    /// Whether one channel was named: others' events are left out.
    only: bool,
    left: Option<u64>,
    /// When it looks again whether to ring.
    bell: Option<Instant>,
    /// Whether something urgent lies unopened, as far as is known.
    urgent: bool,
    /// Whether the node did not answer when it was asked last.
    unanswered: bool,
}

impl Watching<'_> {
    /// Shows events until the last one that was asked for.
    async fn run(&mut self, mut events: EventStream, world: &mut World) {
        self.ring_if_needed(world).await;
        loop {
            tokio::select! {
                biased;
                next = events.next() => if let Ok(Some(event)) = next {
                    if self.tell(&event, world) {
                        return;
                    }
                } else {
                    events = self.regain(events.last(), world).await;
                    // What came while nobody listened may be told late, or have been told to nobody.
                    self.ring_if_needed(world).await;
                },
                () = sleep_until(self.bell.unwrap_or_else(Instant::now)), if self.bell.is_some() => {
                    self.ring_if_needed(world).await;
                }
            }
        }
    }

    /// Shows an event. True when it was the last one asked for.
    fn tell(&mut self, event: &Event, world: &mut World) -> bool {
        // What is the node's own, such as its hook, concerns whoever watches.
        let of_another = |channel| !self.channels.iter().any(|known: &ChannelInfo| known.channel == channel);
        if self.only && event.channel.is_some_and(of_another) {
            return false;
        }
        world.screen.json_line(event);
        world.screen.say(line(event, self.channels.len() > 1));
        let calls = |header: &Header| {
            let channel = self.channels.iter().find(|channel| Some(channel.channel) == event.channel);
            // What is told again, from the beginning say, was perhaps opened long ago.
            rings(header) && channel.is_none_or(|channel| view::is_unopened(header, channel.party.as_str()))
        };
        if event.alarm.as_ref().is_some_and(Alarm::calls) {
            world.screen.ring();
        }
        if event.kind == EventKind::Arrived && event.header.as_ref().is_some_and(calls) {
            world.screen.ring();
            self.urgent = true;
            self.bell = Some(Instant::now() + RING_EVERY);
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.left == Some(0)
    }

    /// Rings while an urgent arrival lies unopened: the node knows, whoever opened it. What was unopened before is so until
    /// the node has said otherwise.
    async fn ring_if_needed(&mut self, world: &mut World) {
        let mut urgent = false;
        let mut unanswered = None;
        for channel in self.channels {
            match self.station.client.urgent(&channel.channel.to_string()).await {
                Ok(headers) => {
                    urgent |= headers
                        .iter()
                        .any(|header| rings(header) && view::is_unopened(header, channel.party.as_str()));
                }
                Err(why) => unanswered = Some(why),
            }
        }
        if let Some(why) = &unanswered {
            urgent |= self.urgent;
            if !self.unanswered {
                let on = if urgent { "; the bell goes on" } else { "" };
                let line = Line::styled(Style::Bad, "NOT KNOWN what lies unopened");
                world.screen.note(line.and(format!(": {why}{on}; asking again")));
            }
        }
        self.urgent = urgent;
        self.unanswered = unanswered.is_some();
        self.bell = (urgent || self.unanswered).then(|| Instant::now() + RING_EVERY);
        if urgent {
            world.screen.ring();
        }
    }

    /// Tries until the node is back, and goes on after the last event seen.
    async fn regain(&mut self, after: Option<Bookmark>, world: &mut World) -> EventStream {
        let since = when::of_day((world.now)());
        world.screen.note(
            Line::styled(Style::Bad, format!("NODE LOST at {since}"))
                .and(": nothing is shown until it is back; trying again"),
        );
        let mut pause = AGAIN.0;
        loop {
            match self.station.client.events(after).await {
                Ok(events) => {
                    world.screen.note(Line::styled(Style::Good, "the node is back"));
                    return events;
                }
                Err(_) => sleep(pause).await,
            }
            pause = (pause * 2).min(AGAIN.1);
            // The node cannot say that somebody has opened it.
            if self.urgent && self.bell.is_some_and(|bell| bell <= Instant::now()) {
                world.screen.ring();
                self.bell = Some(Instant::now() + RING_EVERY);
            }
        }
    }
}

/// Whether somebody must come and look. An acknowledgement says that somebody did, on the other side.
fn rings(header: &Header) -> bool {
    view::is_urgent(header) && header.kind != Kind::Acknowledgement
}

fn line(event: &Event, with_channel: bool) -> Line {
    let style = match event.kind {
        EventKind::Arrived => Style::Bold,
        EventKind::Alarm if event.alarm.as_ref().is_some_and(|alarm| !alarm.stands()) => Style::Good,
        EventKind::Alarm if event.alarm.as_ref().is_some_and(|alarm| !alarm.calls()) => Style::Warn,
        EventKind::Alarm | EventKind::Anew | EventKind::Void => Style::Bad,
        EventKind::Disowned | EventKind::Volume => Style::Warn,
        EventKind::Delivered | EventKind::Opened | EventKind::Acknowledged | EventKind::Accepted => {
            Style::Good
        }
        EventKind::Recorded | EventKind::Custody | EventKind::Link | EventKind::Roster => Style::Plain,
    };
    let mut line = Line::from(format!("{:<13}  ", event.at.map_or_else(String::new, when::of_day)))
        .with(style, format!("{:<13}", event.kind.as_str().to_uppercase()));
    if let Some(peer) = &event.peer {
        line = line.and(format!("{peer}  "));
    }
    if with_channel
        && (event.header.is_none() || event.alarm.is_some())
        && let Some(channel) = event.channel
    {
        line = line.and(format!("{}  ", channel.short()));
    }
    if let Some(alarm) = &event.alarm {
        return line.then(view::alarm(alarm, None));
    }
    match (&event.header, &event.evidence) {
        (Some(header), Some(evidence)) => {
            line =
                line.and(format!("{}  ", view::serial(header, with_channel))).then(view::evidence(evidence));
        }
        (Some(header), None) => line = line.then(view::header(header, with_channel)),
        (None, Some(evidence)) => line = line.then(view::evidence(evidence)),
        (None, None) => {}
    }
    match &event.detail {
        Some(detail) => line.and(format!("  {detail}")),
        None => line,
    }
}
