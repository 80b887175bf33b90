//! `cargo bench`: how fast a notice travels, beside the floor that the same machine sets in the same run.
//!
//! Three real nodes on loopback; then three processes that do the least that could possibly be done: a bare libp2p circuit
//! that carries as many bytes, and the three durable commits on the way (entry here, entry there, receipt here) in the
//! same store on the same disk. Then the line over two mediators, one of which fails ([`failover`]). Never a test: it prints, and judges nothing.

mod failover;
mod floor;
mod line;
mod processes;
mod statistics;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::PathBuf;

use floor::Floor;
use line::Line;
use statistics::{Spread, row};
use support::stage::CAST;

/// Notices measured one by one.
const SINGLE: usize = 1_000;
/// Notices sent with [`OUTSTANDING`] under way.
const PIPELINED: usize = 15_000;
/// Notices given into custody.
const KEPT: usize = 200;
/// Notices under way at once.
const OUTSTANDING: usize = 64;

/// A directory on the disk that the project is on: `/tmp` is memory on some machines.
fn target() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("floor-relay") => return floor::relay(),
        Some("floor-echo") => return floor::echo(&arguments[1..]),
        _ => {}
    }
    tokio::runtime::Runtime::new()?.block_on(async {
        // By itself for whoever works at it.
        if arguments.first().map(String::as_str) != Some("failover") {
            measure().await?;
        }
        failover::measure().await
    })
}

async fn measure() -> anyhow::Result<()> {
    let mut line = Line::open(CAST).await?;
    let (text, entry, receipt) = line.sizes()?;
    let mut floor = Floor::start(entry, receipt).await?;
    let idle = line.memory()?;
    // The first rounds warm connections and stores.
    for _ in 0..50 {
        line.one().await?;
        floor.round().await?;
    }
    println!("\n{SINGLE} notices one by one, 1 KiB body and usual fields ({text} bytes of text)");
    one_by_one(&mut line, &mut floor).await?;
    drop(floor);
    println!("\nTCP payload between sender and mediator, both ways, one notice and its receipt");
    println!("  {} bytes at the median (to reach: 2,200)", line.wire().await?);
    println!("\n{PIPELINED} notices with {OUTSTANDING} outstanding, delivered");
    let rate = line.pipeline(PIPELINED, OUTSTANDING).await?;
    println!("  {rate:8.0} notices a second (to reach: 1,500)");
    println!("\n{KEPT} notices one by one for a node that is gone");
    let (deposited, collected) = line.custody(KEPT).await?;
    row(
        "in custody: the mediator's signed word verified and durable at the sender",
        &Spread::of(deposited.into_iter()),
    );
    println!(
        "  {:.2} s from the start of that node until the last of them is receipted",
        collected.as_secs_f64()
    );
    println!("\nResident memory, MiB (to reach: 40 idle)");
    for ((name, idle), (_, loaded)) in idle.iter().zip(line.memory()?) {
        println!("  {name:<12} {idle:6.1} idle   {loaded:6.1} after the load");
    }
    Ok(())
}

/// A notice and a round of the floor in turn, so that whatever else the machine does falls on both alike.
async fn one_by_one(line: &mut Line, floor: &mut Floor) -> anyhow::Result<()> {
    let before = line.cpu()?;
    let (mut notices, mut rounds) = (Vec::with_capacity(SINGLE), Vec::with_capacity(SINGLE));
    for _ in 0..SINGLE {
        notices.push(line.one().await?);
        rounds.push(floor.round().await?);
    }
    let after = line.cpu()?;
    let delivered = Spread::of(notices.iter().map(|notice| notice.delivered));
    let total = Spread::of(rounds.iter().map(|round| round.total));
    row("recorded", &Spread::of(notices.iter().map(|notice| notice.recorded)));
    row("delivered", &delivered);
    row("floor: bare circuit echo and three durable commits", &total);
    row("  of it: the echo alone", &Spread::of(rounds.iter().map(|round| round.echo)));
    row("  raw append and fdatasync of one entry", &Spread::of(rounds.iter().map(|round| round.append)));
    let ratio = delivered.median().as_secs_f64() / total.median().as_secs_f64();
    println!("delivered / floor                                    {ratio:8.2} median   (to reach: 1.50)");
    println!("\nCPU time added per notice, one by one");
    for ((name, before), (_, after)) in before.iter().zip(after) {
        let added = after.saturating_sub(*before) / u32::try_from(SINGLE)?;
        println!("  {name:<12} {:8} µs", added.as_micros());
    }
    Ok(())
}
