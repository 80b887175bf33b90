//! `demarche status`: how the line is. The verdict comes first; `--check` makes it an exit code.

use std::time::Duration;

use clap::Args;
use demarche_control::{
    Client, ClientError,
    types::{ChannelStatus, LinkState, Peer, Status as Told, Verdict},
};
use demarche_protocol::charter::policy::Span;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    args::Globals,
    error::Result,
    exit::Exit,
    screen::{Line, Screen, Style},
    station::Station,
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
    /// Exit 1 unless every peer is reached.
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
    let asking = ask(&station.client, &command);
    tokio::pin!(asking);
    let status = if let Ok(status) = timeout(TELL_AFTER, &mut asking).await {
        status?
    } else {
        if world.screen.is_terminal() {
            let socket = station.client.socket().display();
            world.screen.note(format!("waiting for the node at {socket}"));
        }
        asking.await?
    };
    let wanted = station.wanted_channel(None);
    print(&mut world.screen, &status, wanted.as_deref());
    world.screen.json(&status);
    let good = status.level == Verdict::Up;
    Ok(if command.check && !good { Exit::Failed } else { Exit::Done })
}

async fn ask(client: &Client, command: &Status) -> Result<Told, ClientError> {
    let until = command.wait_ready.map(|span| Instant::now() + span.0);
    loop {
        let answer =
            timeout(ANSWER_WITHIN, client.status()).await.unwrap_or(Err(ClientError::Late(ANSWER_WITHIN)));
        let enough = match &answer {
            Ok(status) => !command.check || status.level == Verdict::Up,
            Err(error) => error.exit() != Exit::NodeAway.code(),
        };
        match until {
            Some(until) if !enough && Instant::now() < until => sleep(ASK_EVERY).await,
            _ => return answer,
        }
    }
}

fn print(screen: &mut Screen, status: &Told, wanted: Option<&str>) {
    let style = match status.level {
        Verdict::Up => Style::Good,
        Verdict::Degraded => Style::Warn,
        Verdict::Down => Style::Bad,
    };
    screen.say(Line::styled(style, status.verdict.as_str()));
    for alarm in &status.alarms {
        screen.say(Line::styled(Style::Bad, "ALARM ").and(alarm.as_str()));
    }
    let fits = |channel: &&ChannelStatus| {
        wanted.is_none_or(|wanted| channel.name == wanted || channel.channel.to_string() == wanted)
    };
    for channel in status.channels.iter().filter(fits) {
        screen.say(
            Line::styled(Style::Bold, channel.name.as_str())
                .and(format!("  {}  ", channel.title))
                .with(Style::Dim, channel.channel.short()),
        );
        for each in &channel.peers {
            screen.say(peer(each));
        }
        if let Some(log) = &channel.log {
            screen.say(format!("  own log: {} entries, {}", log.seq, log.hash.short()));
        }
    }
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
        line = line.and(format!("; via {} {}{rtt}", path.via, path.state));
    }
    if peer.to_deliver > 0 {
        line = line.with(Style::Warn, format!("; {} to deliver", peer.to_deliver));
    }
    match peer.last_heard.filter(|_| peer.state != LinkState::Up) {
        Some(heard) => line.and(format!("; last heard {}", when::shown(heard))),
        None => line,
    }
}
