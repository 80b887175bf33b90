//! `--wait`: what was recorded is followed until it has come as far as asked, each step shown as the node learns of it.
//! Going away, running out of time or losing the node changes nothing on the way: it goes on.

use std::{collections::BTreeSet, time::Duration};

use clap::Args;
use demarche_control::{
    Client, EventStream, Serial,
    types::{Event, EventKind, Kind, LinkState, Sent, Shown, State},
};
use demarche_protocol::{
    charter::{Charter, policy::Span},
    hash::ChannelId,
    identity::member::MemberId,
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    error::Result,
    exit::Exit,
    interrupts::{Ending, Interrupts},
    screen::{Line, Screen, Style},
    view,
};

/// Without a terminal nobody presses Ctrl-C: then `--wait` ends by itself.
const UNATTENDED: Duration = Duration::from_secs(30);
/// What an event might not tell is looked up this often.
const LOOK: Duration = Duration::from_secs(5);
/// How long until the node is tried again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Far beyond any wait.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How long to stay with what was sent.
#[derive(Args, Clone, Debug, Default)]
pub struct Waiting {
    /// Wait until it has come so far; on a terminal `delivered` unless another step is named.
    #[arg(long, value_name = "STEP", value_parser = crate::args::term::<State>(&GOALS))]
    pub wait: Option<State>,
    /// How long to wait at most, like 30s or 10m; then exit 5 [default: 30s, on a terminal no end].
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub timeout: Option<Span>,
}

const GOALS: [&str; 5] = ["recorded", "custody", "delivered", "opened", "acknowledged"];

fn span(text: &str) -> Result<Span, &'static str> {
    text.parse()
}

impl Waiting {
    /// How far, and how long.
    fn goal(&self, terminal: bool) -> (State, Option<Duration>) {
        let goal = self.wait.unwrap_or(if terminal { State::Delivered } else { State::Recorded });
        let limit = self.timeout.map(|span| span.0);
        (goal, limit.or(if terminal { None } else { Some(UNATTENDED) }))
    }
}

/// What was sent, and where.
pub struct Followed<'a> {
    /// The node.
    pub client: &'a Client,
    /// The channel.
    pub channel: ChannelId,
    /// The node's answer.
    pub sent: &'a Sent,
    /// The charter, for its times and fallbacks.
    pub charter: Option<&'a Charter>,
    /// How far and how long.
    pub waiting: &'a Waiting,
    /// What ends the waiting from outside.
    pub interrupts: &'a Interrupts,
}

/// Shows each step until the goal, the end of time, or a signal. Gives the state it had come to.
pub async fn follow(followed: &Followed<'_>, screen: &mut Screen) -> Result<(State, Exit)> {
    let Followed { sent, waiting, .. } = followed;
    let (goal, limit) = waiting.goal(screen.is_terminal());
    if sent.state == State::Recorded {
        screen.say(
            Line::styled(Style::Bold, "RECORDED HERE, NOT YET DELIVERED").and(format!("  {}", sent.serial)),
        );
    } else {
        screen.say(
            Line::styled(Style::Bold, "RECORDED HERE").and(format!("  {}, {}", sent.serial, sent.state)),
        );
    }
    if goal == State::Recorded {
        return Ok((sent.state, Exit::Done));
    }
    let mut course = Course { state: sent.state, told: BTreeSet::new(), late: false, began: Instant::now() };
    tokio::select! {
        biased;
        reached = course.run(followed, goal, screen) => reached.map(|exit| (course.state, exit)),
        () = sleep(limit.unwrap_or(NEVER)) => {
            screen.note(Line::styled(Style::Warn, format!("not {goal} yet")).and(format!(
                ": it is recorded and will go on; see demarche show {}", sent.serial
            )));
            Ok((course.state, Exit::OutOfTime))
        }
        ending = followed.interrupts.caught() => {
            screen.note(format!("left going: it is recorded and will be delivered; see demarche show {}", sent.serial));
            Ok((course.state, match ending {
                // A person who goes away from it has done what was to be done.
                Ending::Interrupted if waiting.wait.is_none() => Exit::Done,
                Ending::Interrupted => Exit::OutOfTime,
                Ending::HungUp | Ending::Terminated => ending.exit(),
            }))
        }
    }
}

/// How far it has come, and what was told of it.
struct Course {
    state: State,
    told: BTreeSet<(u8, MemberId, Option<Serial>)>,
    late: bool,
    began: Instant,
}

impl Course {
    async fn run(&mut self, followed: &Followed<'_>, goal: State, screen: &mut Screen) -> Result<Exit> {
        let mut pause = AGAIN.0;
        let mut lost = false;
        loop {
            match self.listen(followed, goal, screen, &mut lost, &mut pause).await? {
                Some(exit) => return Ok(exit),
                None if !lost => {
                    lost = true;
                    screen.note(Line::styled(Style::Bad, "the node is lost").and(
                        ": what is recorded stays recorded, and goes on when the node runs; trying again",
                    ));
                }
                None => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(AGAIN.1);
        }
    }

    /// Listens on one connection. `None` when it ended.
    async fn listen(
        &mut self,
        followed: &Followed<'_>,
        goal: State,
        screen: &mut Screen,
        lost: &mut bool,
        pause: &mut Duration,
    ) -> Result<Option<Exit>> {
        // First listen, then look: what happens in between is in the feed.
        let Ok(mut events) = followed.client.events(None).await else { return Ok(None) };
        if std::mem::take(lost) {
            screen.note("the node is back");
        }
        *pause = AGAIN.0;
        loop {
            let path = followed.channel.to_string();
            let Ok(shown) = followed.client.show(&path, &followed.sent.serial.to_string()).await else {
                return Ok(None);
            };
            if let Some(exit) = self.take(&shown, goal, screen) {
                return Ok(Some(exit));
            }
            tokio::select! {
                about = about_this(&mut events, followed) => if !about { return Ok(None) },
                () = sleep(LOOK) => {}
                () = sleep_until(self.due(followed, &shown)), if !self.late => self.tell_late(followed, &shown, screen).await,
            }
        }
    }

    /// Tells what is new, and whether that is the end.
    fn take(&mut self, shown: &Shown, goal: State, screen: &mut Screen) -> Option<Exit> {
        for piece in &shown.evidence {
            let key = (piece.kind as u8, piece.by.clone(), piece.serial.clone());
            let recorded = piece.kind == demarche_control::types::EvidenceKind::Recorded;
            if self.told.insert(key) && !recorded {
                screen.say(view::evidence(piece));
            }
        }
        self.state = shown.header.state;
        match self.state {
            State::Void | State::Expired | State::Disowned => Some(Exit::RefusedOnTheWay),
            state => (state >= goal).then_some(Exit::Done),
        }
    }

    /// When the charter calls it late.
    fn due(&self, followed: &Followed<'_>, shown: &Shown) -> Instant {
        let rules = followed.charter.zip(shown.header.precedence).map(|(charter, p)| charter.policy.of(p));
        self.began + rules.map_or(NEVER, |rules| rules.deliver_within.0)
    }

    /// Says once why nothing got through, and whom to call.
    async fn tell_late(&mut self, followed: &Followed<'_>, shown: &Shown, screen: &mut Screen) {
        self.late = true;
        if self.state >= State::Delivered {
            return;
        }
        screen.note(
            Line::styled(Style::Bad, "LATE").and(format!(": {} is not delivered yet", shown.header.serial)),
        );
        if let Ok(status) = followed.client.status().await {
            let channel = status.channels.iter().find(|channel| channel.channel == followed.channel);
            for peer in channel.into_iter().flat_map(|channel| &channel.peers) {
                if peer.state != LinkState::Up {
                    let cause = peer.cause.as_deref().unwrap_or("no cause known");
                    screen.note(format!("  {}: {cause}", peer.party));
                }
            }
        }
        let others = followed.charter.into_iter().flat_map(|charter| &charter.parties);
        for party in others.filter(|party| party.id != shown.header.from) {
            for say in &party.fallback {
                screen.note(format!("  to reach {}: {say}", party.id));
            }
        }
    }
}

/// Waits for an event that may change what is known of it. False when the feed ended.
async fn about_this(events: &mut EventStream, followed: &Followed<'_>) -> bool {
    loop {
        match events.next().await {
            Ok(Some(event)) if concerns(&event, followed) => return true,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return false,
        }
    }
}

fn concerns(event: &Event, followed: &Followed<'_>) -> bool {
    let Some(header) = &event.header else { return false };
    let acknowledges = event.kind == EventKind::Arrived && header.kind == Kind::Acknowledgement;
    event.channel == Some(followed.channel) && (header.serial == followed.sent.serial || acknowledges)
}
