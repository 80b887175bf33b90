//! Medians and percentiles of measured times.

use std::time::Duration;

/// Measured times, sorted.
pub(crate) struct Spread(Vec<Duration>);

impl Spread {
    /// Of these.
    pub(crate) fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<_> = times.collect();
        times.sort();
        Self(times)
    }

    /// The time that half of them do not exceed.
    pub(crate) fn median(&self) -> Duration {
        self.at(50.0)
    }

    /// The time that so many percent do not exceed.
    fn at(&self, percent: f64) -> Duration {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let index = ((self.0.len() as f64 - 1.0) * percent / 100.0).round() as usize;
        self.0.get(index).copied().unwrap_or_default()
    }
}

/// Prints one line of the table.
pub(crate) fn row(name: &str, spread: &Spread) {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    println!("{name:<52} {:8.0} µs median {:8.0} µs 99%", micros(spread.median()), micros(spread.at(99.0)));
}
