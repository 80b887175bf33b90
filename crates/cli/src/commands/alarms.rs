//! `demarche alarms`: what somebody must look at, and taking it by name. Where a channel is named, its own alarms and the node's.

use clap::{Args, Subcommand};
use demarche_control::types::{Alarm, ChannelInfo, TakeRequest, is_name};

use crate::{
    args::Globals,
    error::{Result, usage},
    exit::Exit,
    screen::{Line, Style},
    station::Station,
    view,
    world::World,
};

/// List the alarms.
#[derive(Args, Debug)]
pub struct Alarms {
    /// What to do with them; without it they are listed.
    #[command(subcommand)]
    pub act: Option<Act>,
}

/// What is done with alarms.
#[derive(Debug, Subcommand)]
pub enum Act {
    /// Take alarms by name: somebody sees to them, and they call nobody any more until their cause is over.
    Take(Take),
}

/// Which, and who.
#[derive(Args, Debug)]
pub struct Take {
    /// Their numbers.
    #[arg(value_name = "NUMBER", required_unless_present = "all", conflicts_with = "all")]
    pub numbers: Vec<u64>,
    /// All that nobody has taken.
    #[arg(long)]
    pub all: bool,
    /// Who takes them.
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub by: String,
}

fn name(text: &str) -> Result<String, &'static str> {
    if is_name(text) { Ok(text.to_owned()) } else { Err("not a name: one line of at most 128 bytes") }
}

pub(super) async fn run(command: Alarms, globals: &Globals, world: &mut World) -> Result<Exit> {
    let station = Station::of(globals, &world.env)?;
    let channels = station.channels(None).await?;
    let only = station.wanted_channel(None).is_some();
    let concerns = |alarm: &Alarm| {
        !only || alarm.channel.is_none_or(|channel| channels.iter().any(|known| known.channel == channel))
    };
    let (alarms, others): (Vec<Alarm>, Vec<Alarm>) =
        station.client.alarms().await?.into_iter().partition(concerns);
    let Some(Act::Take(take)) = command.act else {
        list(&alarms, &channels, world);
        return Ok(Exit::Done);
    };
    if let Some(other) = others.iter().find(|other| take.numbers.contains(&other.number)) {
        let failure = usage(format!("alarm {} is another channel's", other.number)).wrong("numbers");
        return Err(failure.help("name that channel: --channel NAME"));
    }
    let calling = alarms.iter().filter(|alarm| alarm.calls()).map(|alarm| alarm.number);
    let numbers = if take.all { calling.collect() } else { take.numbers };
    let taken = if numbers.is_empty() {
        world.screen.say("no alarm stands that nobody has taken");
        Vec::new()
    } else {
        station.client.take_alarms(&TakeRequest { numbers, by: take.by }).await?
    };
    for alarm in &taken {
        world.screen.say(line(alarm, &channels));
    }
    world.screen.json(&taken);
    Ok(Exit::Done)
}

fn list(alarms: &[Alarm], channels: &[ChannelInfo], world: &mut World) {
    if !alarms.iter().any(Alarm::stands) {
        world.screen.say("no alarm stands");
    }
    for alarm in alarms {
        world.screen.say(line(alarm, channels));
    }
    if alarms.iter().any(Alarm::calls) {
        world.screen.say(Line::styled(Style::Dim, "take one: demarche alarms take NUMBER --by NAME"));
    }
    world.screen.json(&alarms);
}

/// One alarm, with its channel's name where there are several.
fn line(alarm: &Alarm, channels: &[ChannelInfo]) -> Line {
    let known = channels.iter().find(|channel| Some(channel.channel) == alarm.channel);
    let channel = known.filter(|_| channels.len() > 1).map(|channel| channel.name.as_str());
    view::alarm(alarm, channel)
}
