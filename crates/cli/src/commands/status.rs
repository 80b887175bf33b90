//! `demarche status`: how the line is. The verdict comes first; `--check` makes it an exit code. Where a channel is named, both
//! are of that channel alone.

use std::time::Duration;

use clap::Args;
use demarche_control::{
    Client, ClientError,
    types::{AlarmCount, ChannelStatus, LinkState, Peer, Status as Told, Verdict},
};
use demarche_protocol::charter::policy::Span;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    args::Globals,
    error::{Failure, Result},
    exit::Exit,
    screen::{Line, Screen, Style},
    station::{Station, unknown_channel},
    when,
    world::World,
};

/// How often a node that is starting is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long a node may take to say how it is. It answers from memory: one that takes longer hangs, and that is the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long until a person is told what is being waited for.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Say how the line is.
#[derive(Args, Debug)]
pub struct Status {
    /// Exit 1 unless every peer is reached: of the channel that is named or that the profile pins, else of all.
    #[arg(long)]
    pub check: bool,
    /// Wait so long for a node that is starting; with --check also for the line.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub wait_ready: Option<Span>,
}

fn span(text: &str) -> Result<Span, &'static str> {
    text.parse()
}

pub(super) async fn run(command: Status, globals: &Globals, world: &mut World) -> Result<Exit> {
    let station = Station::of(globals, &world.env)?;
    let wanted = station.wanted_channel(None);
    let wanted = wanted.as_deref();
    let asking = ask(&station.client, &command, wanted);
    tokio::pin!(asking);
    let status = if let Ok(status) = timeout(TELL_AFTER, &mut asking).await {
        status
    } else {
        if world.screen.is_terminal() {
            let socket = station.client.socket().display();
            world.screen.note(format!("waiting for the node at {socket}"));
        }
        asking.await
    };
    let status = status.map_err(unanswered)?;
    let chosen = chosen(&status, wanted);
    let (level, sentence) = verdict(&status, wanted, &chosen);
    print(&mut world.screen, &status, level, sentence, &chosen);
    if let Some(wanted) = wanted.filter(|_| chosen.is_empty()) {
        let names: Vec<String> = status.channels.iter().map(|channel| channel.name.clone()).collect();
        return Err(unknown_channel(wanted, &names));
    }
    world.screen.json(&status);
    Ok(if command.check && level != Verdict::Up { Exit::Failed } else { Exit::Done })
}

/// A node that hangs is not looked for by asking it again how it is.
fn unanswered(error: ClientError) -> Failure {
    let help = match error {
        ClientError::Late(_) => "it runs and does not answer: look at its log, and start it anew",
        ClientError::Broken(_) => "ask again; if it breaks off again, look at the node's log",
        other => return other.into(),
    };
    Failure { help: vec![help.to_owned()], ..error.into() }
}

/// The channels that are asked about.
fn chosen<'a>(status: &'a Told, wanted: Option<&str>) -> Vec<&'a ChannelStatus> {
    let fits = |channel: &&ChannelStatus| {
        wanted.is_none_or(|wanted| channel.name == wanted || channel.channel.to_string() == wanted)
    };
    status.channels.iter().filter(fits).collect()
}

/// The verdict on the channel that was named; on the whole node where none was, or it is not there.
fn verdict<'a>(status: &'a Told, wanted: Option<&str>, chosen: &[&'a ChannelStatus]) -> (Verdict, &'a str) {
    match chosen {
        [channel] if wanted.is_some() => (channel.level, &channel.verdict),
        _ => (status.level, &status.verdict),
    }
}

async fn ask(client: &Client, command: &Status, wanted: Option<&str>) -> Result<Told, ClientError> {
    let until = command.wait_ready.map(|span| Instant::now() + span.0);
    loop {
        let answer =
            timeout(ANSWER_WITHIN, client.status()).await.unwrap_or(Err(ClientError::Late(ANSWER_WITHIN)));
        let enough = match &answer {
            Ok(status) => {
                let chosen = chosen(status, wanted);
                // A channel that is not there does not come by waiting.
                let absent = wanted.is_some() && chosen.is_empty();
                !command.check || absent || verdict(status, wanted, &chosen).0 == Verdict::Up
            }
            Err(error) => error.exit() != Exit::NodeAway.code(),
        };
        match until {
            Some(until) if !enough && Instant::now() < until => sleep(ASK_EVERY).await,
            _ => return answer,
        }
    }
}

fn print(screen: &mut Screen, status: &Told, level: Verdict, sentence: &str, chosen: &[&ChannelStatus]) {
    let style = match level {
        Verdict::Up => Style::Good,
        Verdict::Degraded => Style::Warn,
        Verdict::Down => Style::Bad,
    };
    screen.say(Line::styled(style, sentence));
    if sentence != status.verdict {
        screen.say(Line::styled(Style::Dim, format!("  the whole node: {}", status.verdict)));
    }
    if let Some(alarms) = alarms(&status.alarms) {
        screen.say(alarms);
    }
    for channel in chosen {
        screen.say(
            Line::styled(Style::Bold, channel.name.as_str())
                .and(format!("  {}  ", channel.title))
                .with(Style::Dim, channel.channel.short()),
        );
        for restored in &channel.restored {
            screen.say(Line::styled(Style::Warn, format!("  {restored}")));
        }
        for each in &channel.peers {
            screen.say(peer(each));
        }
        if let Some(log) = &channel.log {
            screen.say(format!("  own log: {} entries, {}", log.seq, log.hash.short()));
        }
    }
}

/// How many alarms stand, and the gravest of them.
fn alarms(AlarmCount { standing, taken, worst }: &AlarmCount) -> Option<Line> {
    let worst = worst.as_ref()?;
    let calling = standing.saturating_sub(*taken);
    let style = if calling > 0 { Style::Bad } else { Style::Warn };
    let plural = if *standing == 1 { "alarm stands" } else { "alarms stand" };
    let line = Line::styled(style, format!("{standing} {plural}, {calling} not taken"));
    Some(line.and(format!("; the gravest: {}: {} (demarche alarms)", worst.cause, worst.detail)))
}

fn peer(peer: &Peer) -> Line {
    let style = match peer.state {
        LinkState::Up => Style::Good,
        LinkState::Connecting => Style::Warn,
        LinkState::Down => Style::Bad,
    };
    let mut line = Line::from(format!("  {:<14} ", peer.party)).with(style, peer.state.to_string());
    if let Some(since) = peer.since {
        line = line.and(format!(" since {}", when::shown(since)));
    }
    if let Some(cause) = &peer.cause {
        line = line.and(format!(": {cause}"));
    }
    for path in &peer.paths {
        let rtt = path.rtt_ms.map(|rtt| format!(" {rtt:.1} ms")).unwrap_or_default();
        // Of one there is nothing to tell apart.
        let use_of = if path.carries && peer.paths.len() > 1 { ", in use" } else { "" };
        line = line.and(format!("; via {} {}{rtt}{use_of}", path.via, path.state));
    }
    if peer.to_deliver > 0 {
        line = line.with(Style::Warn, format!("; {} to deliver", peer.to_deliver));
    }
    match peer.last_heard.filter(|_| peer.state != LinkState::Up) {
        Some(heard) => line.and(format!("; last heard {}", when::shown(heard))),
        None => line,
    }
}
