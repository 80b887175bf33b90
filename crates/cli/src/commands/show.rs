//! `demarche show`: a dispatch with all evidence, or a whole case; tells nobody.

use clap::Args;
use demarche_control::types::{Case, Kind, Shown};

use crate::{
    args::Globals,
    error::Result,
    exit::Exit,
    original::{self, Original},
    reference::{Reference, Target},
    screen::{Line, Style},
    station::{Pin, Station},
    view,
    world::World,
};

/// Show a dispatch or a case.
#[derive(Args, Debug)]
pub struct Show {
    /// Which: `tehran/7`, `memo26:tehran/7`, or a document's hash. A notice is shown with its case.
    pub serial: Reference,
    /// Print the signed text alone, byte for byte, as `sha256sum` and `ssh-keygen -Y verify` want it.
    #[arg(long, conflicts_with = "json")]
    pub text: bool,
}

pub(super) async fn run(command: Show, globals: &Globals, world: &mut World) -> Result<Exit> {
    let station = Station::of(globals, &world.env)?;
    let pin = station.pin(command.serial.channel.as_deref()).await?;
    let target = &command.serial.target;
    let shown = station.client.show(&pin.path(), &target.to_string()).await?;
    let (original, exit) = verified(&shown, target, &pin, world);
    if command.text {
        print_text(&shown, world);
        return Ok(exit);
    }
    let told = with_serial(&shown, &station, &pin).await;
    view::whole(&mut world.screen, &told, Some(&pin.charter), original.as_ref());
    if shown.header.kind == Kind::Breach {
        let cases = station.client.cases(&pin.path()).await?;
        if let Some(case) = cases.iter().find(|case| case.serial == shown.header.serial) {
            rest_of(case, world);
        }
    }
    world.screen.json(&shown);
    Ok(exit)
}

/// The same for people, with the serial of what is acknowledged where the node knows it: nobody calls it by its hash.
pub(super) async fn with_serial(shown: &Shown, station: &Station, pin: &Pin) -> Shown {
    let mut told = shown.clone();
    if let Some(of) = told.fields.get_mut("of")
        && let Ok(other) = station.client.show(&pin.path(), of).await
        && other.header.document.to_string() == *of
    {
        *of = format!("{} ({})", other.header.serial, other.header.document.short());
    }
    told
}

/// Verifies what is shown. What fails is shown all the same, under a warning: the officer must see what is there.
pub(super) fn verified(
    shown: &Shown,
    target: &Target,
    pin: &Pin,
    world: &mut World,
) -> (Option<Original>, Exit) {
    match original::verify(shown, target, pin) {
        Ok(original) => (Some(original), Exit::Done),
        Err(failure) => {
            world.screen.note(Line::styled(Style::Bad, "NOT VERIFIED: ").and(failure.what.as_str()));
            (None, failure.exit)
        }
    }
}

/// Into a pipe the bytes go as they are; a terminal gets them escaped.
fn print_text(shown: &Shown, world: &mut World) {
    if world.screen.is_terminal() {
        world.screen.block("", shown.text.trim_end_matches('\n'));
    } else {
        world.screen.verbatim(&shown.text);
    }
}

fn rest_of(case: &Case, world: &mut World) {
    let rest: Vec<_> = case.entries.iter().filter(|header| header.serial != case.serial).collect();
    if rest.is_empty() {
        return;
    }
    world.screen.say("");
    world.screen.say(Line::styled(Style::Bold, "In this case"));
    for header in rest {
        world.screen.say(view::header(header, false));
    }
}
