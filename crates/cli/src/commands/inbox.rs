//! `demarche inbox`: headers only, because reading must not betray that one has read.

use clap::Args;

use crate::{
    args::Globals,
    error::{Result, failed},
    exit::Exit,
    screen::{Line, Style},
    station::Station,
    view,
    world::World,
};

/// List dispatches.
#[derive(Args, Debug)]
pub struct Inbox {
    /// Also those of no effect.
    #[arg(long)]
    pub all: bool,
    /// Only what the other side sent and nobody here has opened.
    #[arg(long)]
    pub unopened: bool,
}

pub(super) async fn run(command: Inbox, globals: &Globals, world: &mut World) -> Result<Exit> {
    let station = Station::of(globals, &world.env)?;
    let channels = station.channels(None).await?;
    let several = channels.len() > 1;
    let mut headers = Vec::new();
    let mut lines = Vec::new();
    for channel in &channels {
        for header in station.client.inbox(&channel.channel.to_string(), command.all).await? {
            let unopened = view::is_unopened(&header, channel.party.as_str());
            if command.unopened && !unopened {
                continue;
            }
            let mark = if unopened { Line::styled(Style::Bold, "* ") } else { Line::from("  ") };
            lines.push(mark.then(view::header(&header, several)));
            headers.push(header);
        }
    }
    // A list that says nothing of what cannot be read would be taken for the whole.
    let unusable = match station.wanted_channel(None) {
        Some(_) => None,
        None => station.client.status().await?.unusable.pop(),
    };
    if lines.is_empty() && unusable.is_none() {
        world.screen.say("no dispatches");
    }
    for line in lines {
        world.screen.say(line);
    }
    world.screen.json(&headers);
    match unusable {
        Some(why) => Err(failed(why)),
        None => Ok(Exit::Done),
    }
}
