//! Moments and spans as officers type them.

use demarche_protocol::{
    charter::policy::Span,
    dispatch::{Occurred, ReplyBy},
    time::Timestamp,
};

const WHY: &str = "not a UTC time: write 2026-11-23T09:31Z, 09:31Z for today, or 10m for ten minutes ago";

/// A moment: RFC 3339 in UTC (seconds may be left out), `09:31Z` of today, or a span ago.
pub fn moment(typed: &str, now: Timestamp) -> Result<Timestamp, String> {
    let typed = typed.trim();
    if let Ok(span) = typed.strip_suffix(" ago").unwrap_or(typed).parse::<Span>() {
        let ago = u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX);
        return Ok(Timestamp::from_millis(now.as_millis().saturating_sub(ago)));
    }
    // Other zones are refused, not converted: two officers must read the same clock.
    let Some(typed) = typed.strip_suffix('Z') else { return Err(WHY.to_owned()) };
    let whole = if typed.contains(['T', ' ']) {
        typed.replace(' ', "T")
    } else {
        let today = now.to_string();
        format!("{}T{typed}", today.split('T').next().unwrap_or_default())
    };
    let moment: jiff::Timestamp = format!("{whole}Z").parse().map_err(|_| WHY.to_owned())?;
    u64::try_from(moment.as_millisecond()).map(Timestamp::from_millis).map_err(|_| WHY.to_owned())
}

/// A moment, or `FROM/TO`.
pub fn occurred(typed: &str, now: Timestamp) -> Result<Occurred, String> {
    let (from, to) = match typed.split_once('/') {
        None => (moment(typed, now)?, None),
        Some((from, to)) => (moment(from, now)?, Some(moment(to, now)?)),
    };
    if to.is_some_and(|to| to < from) {
        return Err("the end is before the beginning".to_owned());
    }
    if from > now {
        return Err(format!("{} is in the future", minute(from)));
    }
    Ok(Occurred { from, to })
}

/// A span after delivery (`6h`), or a moment to come.
pub fn reply_by(typed: &str, now: Timestamp) -> Result<ReplyBy, String> {
    if let Ok(span) = typed.trim().parse::<Span>() {
        return Ok(ReplyBy::Within(span));
    }
    let at =
        moment(typed, now).map_err(|_| "neither a span like 6h nor a UTC time like 2026-11-24T12:00Z")?;
    if at <= now {
        return Err(format!("{} is in the past", minute(at)));
    }
    Ok(ReplyBy::At(at))
}

/// A moment for people: `2026-11-23 09:31:05Z`.
pub fn shown(moment: Timestamp) -> String {
    let text = moment.to_string();
    match (text.split_once('T'), text.split_once('.')) {
        (Some((day, _)), Some((whole, _))) => {
            format!("{day} {}Z", whole.split('T').nth(1).unwrap_or_default())
        }
        // Beyond the year 9999: a peer's wild clock.
        _ => text,
    }
}

/// The time of day, with milliseconds: `09:31:05.120Z`.
pub fn of_day(moment: Timestamp) -> String {
    let text = moment.to_string();
    text.split_once('T').map_or(text.clone(), |(_, time)| time.to_owned())
}

fn minute(moment: Timestamp) -> String {
    shown(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T09:40:00Z".parse().unwrap()
    }

    #[test]
    fn moments_are_taken_in_the_forms_people_type() {
        for (typed, meant) in [
            ("2026-11-22T23:59:59.5Z", "2026-11-22T23:59:59.500Z"),
            ("2026-11-22T09:31Z", "2026-11-22T09:31:00.000Z"),
            ("2026-11-22 09:31Z", "2026-11-22T09:31:00.000Z"),
            ("09:31Z", "2026-11-23T09:31:00.000Z"),
            (" 10m ", "2026-11-23T09:30:00.000Z"),
            ("2h ago", "2026-11-23T07:40:00.000Z"),
        ] {
            assert_eq!(moment(typed, now()).map(|m| m.to_string()).as_deref(), Ok(meant), "{typed}");
        }
        for wrong in ["", "now", "09:31", "2026-11-23T09:31:00+03:30", "25:00Z", "2026-02-30T00:00Z", "10"] {
            assert!(moment(wrong, now()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_interval_runs_forward_and_not_into_the_future() {
        let from_to = occurred("09:10Z/09:31Z", now()).unwrap();
        assert_eq!(shown(from_to.to.unwrap()), "2026-11-23 09:31:00Z");
        assert!(occurred("09:31Z/09:10Z", now()).unwrap_err().contains("before the beginning"));
        assert!(occurred("09:50Z", now()).unwrap_err().contains("future"));
    }

    #[test]
    fn a_reply_is_asked_within_a_span_or_by_a_moment_to_come() {
        assert!(matches!(reply_by("6h", now()), Ok(ReplyBy::Within(_))));
        assert!(matches!(reply_by("2026-11-24T12:00Z", now()), Ok(ReplyBy::At(_))));
        assert!(reply_by("09:00Z", now()).unwrap_err().contains("past"));
        assert!(reply_by("soon", now()).is_err());
    }

    #[test]
    fn s3_a_wild_clock_prints() {
        assert_eq!(shown(Timestamp::from_millis(u64::MAX)), format!("@{}ms", u64::MAX));
    }
}
