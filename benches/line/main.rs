//! `cargo bench`: how fast a notice travels, beside the floor that the same machine sets in the same run.
//!
//! Three real nodes on loopback; then three processes that do the least that could possibly be done: a bare libp2p circuit
//! that carries as many bytes, and the three durable commits on the way (entry here, entry there, receipt here) in the
//! same store on the same disk. Never a test: it prints, and judges nothing.

mod floor;
mod line;
mod processes;
mod scene;
mod statistics;

use std::time::Duration;

use statistics::{Spread, row};

/// Notices measured one by one.
const SINGLE: usize = 1_000;
/// Notices sent with [`OUTSTANDING`] under way.
const PIPELINED: usize = 15_000;
/// Notices under way at once.
const OUTSTANDING: usize = 64;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("floor-relay") => return floor::relay(),
        Some("floor-echo") => return floor::echo(&arguments[1..]),
        _ => {}
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let line = runtime.block_on(line::measure(SINGLE, PIPELINED, OUTSTANDING))?;
    let floor = runtime.block_on(floor::measure(SINGLE, line.entry_bytes, line.receipt_bytes))?;
    println!(
        "\n{SINGLE} notices one by one, 1 KiB body and usual fields ({} bytes of text)",
        line.text_bytes
    );
    row("recorded", &line.recorded);
    row("delivered", &line.delivered);
    row("floor: bare circuit echo and three durable commits", &floor.total);
    row("  of it: the echo alone", &floor.echo);
    row("  raw append and fdatasync of one entry", &floor.append);
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!(
        "delivered / floor                                    {:8.2} median   (to reach: 1.50)",
        ratio(line.delivered.median(), floor.total.median())
    );
    println!("\nTCP payload between sender and mediator, both ways, one notice and its receipt");
    println!("  {} bytes at the median (to reach: 2,200)", line.wire_bytes);
    println!("\nCPU time added per notice, one by one");
    for (name, cpu) in &line.cpu_per_notice {
        println!("  {name:<12} {:8.0} µs", cpu.as_secs_f64() * 1e6);
    }
    println!("\n{PIPELINED} notices with {OUTSTANDING} outstanding, delivered");
    println!("  {:8.0} notices a second (to reach: 1,500)", line.pipelined_rate);
    println!("\nResident memory, MiB (to reach: 40 idle)");
    for (name, idle, loaded) in &line.memory {
        println!("  {name:<12} {idle:6.1} idle   {loaded:6.1} after the load");
    }
    Ok(())
}

impl Spread {
    fn median(&self) -> Duration {
        self.at(50.0)
    }
}
