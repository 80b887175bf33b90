//! Pauses between attempts: doubling, bounded, and jittered so that nodes cut off together do not return together.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

use crate::transport::defaults::{BACKOFF_LIMIT, BACKOFF_START};

#[derive(Debug)]
pub(super) struct Backoff {
    current: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { current: BACKOFF_START }
    }

    /// The pause before the next attempt: between half and all of a span that doubles at each call.
    pub(super) fn next(&mut self) -> Duration {
        let span = self.current;
        self.current = (span * 2).min(BACKOFF_LIMIT);
        span / 2 + (span / 2).mul_f64(fraction())
    }

    /// Starts again from the shortest pause.
    pub(super) fn reset(&mut self) {
        self.current = BACKOFF_START;
    }
}

/// A number from 0 to 1 that differs from node to node and call to call. Nothing secret rests on it: the standard
/// library's hash keys, which the system seeds, are random enough.
fn fraction() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_stay_within_their_span() {
        let mut backoff = Backoff::new();
        let mut span = BACKOFF_START;
        for _ in 0..12 {
            let pause = backoff.next();
            assert!(pause >= span / 2 && pause <= span, "{pause:?} of {span:?}");
            span = (span * 2).min(BACKOFF_LIMIT);
        }
        assert_eq!(span, BACKOFF_LIMIT);
        backoff.reset();
        assert!(backoff.next() <= BACKOFF_START);
    }
}
