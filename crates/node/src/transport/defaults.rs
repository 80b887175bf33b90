//! Every bound and interval of the transports, with its reason.

use std::time::Duration;

/// Longest wait for a stream to open, circuit and handshakes included. A satellite path with two seconds of
/// round trip still gets through its five round trips.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(12);

/// How long a stranger's connection lasts: enough for one card at 16 kbit/s, too short to hoard.
pub const STRANGER_TIME: Duration = Duration::from_secs(10);

/// Events that wait for the runtime. Link states change seldom and streams are few; past this, pings and
/// refusals are left out and streams are refused as [`Busy`](super::Refusal::Busy).
pub const EVENT_QUEUE: usize = 64;
