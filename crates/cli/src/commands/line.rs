//! `demarche line test`: a signed question over every path, and its signed answer, with the times.

use clap::{Args, Subcommand};
use demarche_control::types::LineTest;
use demarche_protocol::identity::member::MemberId;

use crate::{
    args::Globals,
    error::Result,
    exit::Exit,
    screen::{Line as Printed, Style},
    station::Station,
    world::World,
};

/// Test the line.
#[derive(Debug, Subcommand)]
pub enum Line {
    /// Ask every path to every party, or to one, for a signed answer.
    Test(Test),
}

/// Which peer.
#[derive(Args, Debug)]
pub struct Test {
    /// One party [default: all].
    pub party: Option<MemberId>,
}

pub(super) async fn run(command: Line, globals: &Globals, world: &mut World) -> Result<Exit> {
    let Line::Test(Test { party }) = command;
    let station = Station::of(globals, &world.env)?;
    let channel = station.channel(None).await?;
    let tests = station.client.line_test(&channel.channel.to_string(), party).await?;
    if tests.is_empty() {
        world.screen.say("no path to test");
    }
    for test in &tests {
        world.screen.say(line(test));
    }
    world.screen.json(&tests);
    Ok(verdict(&tests))
}

fn line(test: &LineTest) -> Printed {
    let line = Printed::from(format!("{:<14} via {:<14} ", test.peer, test.via));
    if let Some(error) = &test.error {
        return line.with(Style::Bad, format!("failed: {error}"));
    }
    let ms = |time: Option<f64>| time.map_or("-".to_owned(), |time| format!("{time:.1} ms"));
    if test.stands_by {
        return line.and(format!("stands by, a ping there and back {}", ms(test.rtt_ms)));
    }
    let line = line.and(format!(
        "there and back {} (there {}, back {}, by both clocks)  ",
        ms(test.rtt_ms),
        ms(test.there_ms),
        ms(test.back_ms)
    ));
    if test.verified {
        line.with(Style::Good, "signed, verified")
    } else {
        line.with(Style::Bad, "NOT VERIFIED")
    }
}

fn verdict(tests: &[LineTest]) -> Exit {
    if tests.iter().any(|test| test.error.is_none() && !test.verified && !test.stands_by) {
        Exit::Unverified
    } else if tests.is_empty() || tests.iter().any(|test| test.error.is_some()) {
        Exit::Failed
    } else {
        Exit::Done
    }
}
