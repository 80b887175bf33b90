//! `demarche open`: displays a dispatch, and has the node sign for the other side that it was displayed; says so first.

use clap::Args;
use demarche_control::types::OpenRequest;

use super::show::{verified, with_serial};
use crate::{
    args::Globals, error::Result, exit::Exit, reference::Reference, station::Station, view, world::World,
};

/// Display a dispatch.
#[derive(Args, Debug)]
pub struct Open {
    /// Which: `tehran/7`, `memo26:tehran/7`, or its document's hash.
    pub serial: Reference,
}

pub(super) async fn run(command: Open, globals: &Globals, world: &mut World) -> Result<Exit> {
    let station = Station::of(globals, &world.env)?;
    let pin = station.pin(command.serial.channel.as_deref()).await?;
    let officer_key = station.public_key()?.to_openssh();
    let target = command.serial.target.to_string();
    // Said before it happens, and only where it will: an own dispatch tells nobody anything.
    let header = station.client.show(&pin.path(), &target).await?.header;
    if header.from != pin.party {
        world.screen.note(format!(
            "opening {}: {} will be told, signed by your node, that it was displayed to you",
            header.serial, header.from
        ));
    }
    let shown = station.client.open(&pin.path(), &target, &OpenRequest { officer_key }).await?;
    let (original, exit) = verified(&shown, &command.serial.target, &pin, world);
    let told = with_serial(&shown, &station, &pin).await;
    view::whole(&mut world.screen, &told, Some(&pin.charter), original.as_ref());
    world.screen.json(&shown);
    Ok(exit)
}
