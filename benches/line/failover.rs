//! The failover gap: a mediator that carries the line fails, a notice is handed in at that moment, and it is delivered over the other.

use std::time::Duration;

use super::{
    line::Line,
    statistics::{Spread, row},
    support::stage::OVER_TWO,
};

/// How often each kind of failure is played.
const TIMES: usize = 20;

/// Measures it for a mediator that dies, and for one that hangs.
pub(crate) async fn measure() -> anyhow::Result<()> {
    println!(
        "\nA notice handed in as the mediator that carries the line fails, delivered over the other ({TIMES} each)"
    );
    let mut line = Line::open(OVER_TWO).await?;
    let killed = gaps(
        &mut line,
        |line, id| line.stage().node_mut(id).kill(),
        |line, id| {
            line.stage().node_mut(id).start_ready();
        },
    );
    row("killed (its connections close)", &Spread::of(killed.await?.into_iter()));
    let stopped = gaps(
        &mut line,
        |line, id| line.stage().node(id).pause(),
        |line, id| {
            line.stage().node(id).resume();
        },
    );
    row("stopped (nothing closes)", &Spread::of(stopped.await?.into_iter()));
    Ok(())
}

async fn gaps(
    line: &mut Line,
    fail: impl Fn(&mut Line, &str),
    mend: impl Fn(&mut Line, &str),
) -> anyhow::Result<Vec<Duration>> {
    let mut gaps = Vec::new();
    for _ in 0..TIMES {
        // The line is used, so that its speed is known.
        for _ in 0..10 {
            line.one().await?;
        }
        let carrier = line.carrier().await?;
        fail(line, &carrier);
        gaps.push(line.one().await?.delivered);
        mend(line, &carrier);
        line.stage().line_open();
    }
    Ok(gaps)
}
