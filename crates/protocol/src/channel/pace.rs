//! How fast a peer confirms what it is sent, as measured: what is late is judged by it, so that a slow line is not taken for a dead one.

use std::time::Duration;

/// Nothing is late before this.
const AT_LEAST: Duration = Duration::from_secs(2);
/// Bytes a second while nothing is known: the slowest line that this is made for (9,600 bit/s).
const SLOWEST: u64 = 1_200;

/// What the last confirmations have shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// From sending to confirmation, smoothed as in RFC 6298, section 2.
    round: Option<Duration>,
    /// Bytes confirmed in a second.
    rate: Option<u64>,
}

impl Pace {
    /// Something was confirmed `after` it was sent, when so many bytes were on their way with it.
    pub(super) fn measured(&mut self, after: Duration, bytes: usize) {
        self.round = Some(self.round.map_or(after, |round| (round * 7 + after) / 8));
        let millis = after.as_millis().max(1);
        let rate = u64::try_from(bytes as u128 * 1000 / millis).unwrap_or(u64::MAX).max(SLOWEST);
        // A short one says little of what the line could carry.
        self.rate = Some(self.rate.map_or(rate, |known| rate.max(known - known / 8)));
    }

    /// How long the next confirmation may take when so many bytes are on their way.
    pub(super) fn patience(&self, bytes: usize) -> Duration {
        let rate = self.rate.unwrap_or(SLOWEST).max(1);
        let carried = Duration::from_millis((bytes as u64).saturating_mul(1000) / rate);
        AT_LEAST.max(self.round.unwrap_or_default() * 4 + carried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_line_is_given_the_time_that_it_takes() {
        let mut pace = Pace::default();
        assert_eq!(pace.patience(1_200), AT_LEAST);
        assert_eq!(pace.patience(48_000), Duration::from_secs(40), "nothing is known of it");
        pace.measured(Duration::from_millis(100), 120_000);
        assert_eq!(pace.patience(480_000), AT_LEAST, "it carries a megabyte in a second");
        assert!(pace.patience(4_800_000) > Duration::from_secs(4));
        for _ in 0..40 {
            pace.measured(Duration::from_secs(1), 2_400);
        }
        assert!(
            pace.patience(2_400) > Duration::from_secs(4),
            "it has become slow: {:?}",
            pace.patience(2_400)
        );
    }
}
