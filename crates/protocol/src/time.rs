//! Time is an argument everywhere (its forms: docs/protocol.md §1.1 and §2.4): nothing in this crate reads a clock.
//!
//! Two clocks are told apart. The monotonic one decides when to try again; the wall clock is only ever
//! written down or shown, because it may be wrong (threat S3).

use std::{fmt, str::FromStr, time::Duration};

use bincode::{Decode, Encode};

/// A wall-clock moment: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment moved forward by `by`; stops at the end of time rather than wrapping.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this moment is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// RFC 3339, UTC, always with milliseconds: `2026-11-23T09:40:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        match moment {
            Some(moment) => write!(f, "{moment:.3}"),
            // Beyond the year 9999 no RFC 3339 form exists; a peer's wild clock must still print.
            None => write!(f, "@{}ms", self.0),
        }
    }
}

/// Why a text is not a moment in time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a UTC time in RFC 3339 form, like 2026-11-23T09:40:00Z")]
pub struct TimestampError;

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        // One form only, seconds and Z written out, with three digits of a second or none: what else RFC 3339, TOML and
        // jiff take (offsets, a space, lower case, 23:59:60) is read differently by others.
        let form = match text.len() {
            20 => "0000-00-00T00:00:00Z",
            24 => "0000-00-00T00:00:00.000Z",
            _ => return Err(TimestampError),
        };
        let fits = |(byte, form): (u8, u8)| if form == b'0' { byte.is_ascii_digit() } else { byte == form };
        if !text.bytes().zip(form.bytes()).all(fits) {
            return Err(TimestampError);
        }
        let moment: jiff::Timestamp = text.parse().map_err(|_| TimestampError)?;
        // A leap second would come out as another moment than was written.
        if !format!("{moment:.3}").starts_with(text.trim_end_matches('Z')) {
            return Err(TimestampError);
        }
        u64::try_from(moment.as_millisecond()).map(Self).map_err(|_| TimestampError)
    }
}

/// The two clocks at one moment, as the driver read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Time since some fixed moment of this process; never goes back.
    pub monotonic: Duration,
    /// What the wall clock says; may jump.
    pub wall: Timestamp,
}
