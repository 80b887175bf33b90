//! The one place where the node reads its clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use demarche_protocol::time::{Now, Timestamp};
use tokio::time::Instant;

/// The clocks of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Begins to count.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Both clocks, now.
    pub(crate) fn now(self) -> Now {
        Now { monotonic: self.0.elapsed(), wall: wall() }
    }

    /// When the monotonic clock will show this.
    pub(crate) fn instant(self, monotonic: Duration) -> Instant {
        // A moment too far to be named is as good as never.
        self.0.checked_add(monotonic).unwrap_or_else(|| self.0 + Duration::from_secs(86_400 * 365))
    }
}

/// The wall clock. Before 1970 it is 1970.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
