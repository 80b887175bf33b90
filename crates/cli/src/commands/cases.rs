//! `demarche cases`: every notice, and how far its case has come.

use clap::Args;

use crate::{args::Globals, error::Result, exit::Exit, station::Station, view, world::World};

/// List the cases.
#[derive(Args, Debug)]
pub struct Cases {
    /// Only those without a position taken.
    #[arg(long)]
    pub open: bool,
}

pub(super) async fn run(command: Cases, globals: &Globals, world: &mut World) -> Result<Exit> {
    let station = Station::of(globals, &world.env)?;
    let channels = station.channels(None).await?;
    let mut cases = Vec::new();
    for channel in &channels {
        cases.extend(station.client.cases(&channel.channel.to_string()).await?);
    }
    if command.open {
        cases.retain(|case| case.position.is_none());
    }
    if cases.is_empty() {
        world.screen.say("no cases");
    }
    for case in &cases {
        world.screen.say(view::case(case, channels.len() > 1));
    }
    world.screen.json(&cases);
    Ok(Exit::Done)
}
