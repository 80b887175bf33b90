//! Keeps others from filling the log: of each culprit and cause one line a minute, then how often it happened again.
//!
//! A culprit is whoever a peer or stranger is known as, and keys cost a stranger nothing; so both the culprits told
//! apart and the causes of each are bounded, and beyond that there is one culprit "others" and one cause "other causes".
//! With the bounds below, strangers who do their worst write some 40 MB a day.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long one line of a culprit and cause stands for all that follow.
const WINDOW: Duration = Duration::from_secs(60);
/// Culprits told apart in one window: more than the members of a charter, and more than strangers can be connected at once.
const CULPRITS: usize = 64;
/// Causes told apart for one culprit in one window: the text of a cause may be of its making.
const CAUSES: usize = 4;

/// One log's patience. Shared by the tasks that write to it.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    begun: Option<Instant>,
    /// How often more than once, by culprit and cause.
    again: BTreeMap<String, BTreeMap<String, u64>>,
}

/// What was not logged in a window that is over.
#[derive(Debug, PartialEq, Eq)]
struct Again {
    culprit: String,
    cause: String,
    count: u64,
}

impl Throttle {
    /// Whether a line about this may be written now. Tells of earlier minutes what was left out in them.
    pub(crate) fn admits(&self, culprit: &str, cause: &str) -> bool {
        let now = Instant::now();
        let (admitted, over) = {
            let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let over = window.roll(now);
            (window.admits(culprit, cause), over)
        };
        tell(over);
        admitted
    }

    /// Tells what was left out in a minute that is over, should nothing more come that would bring it up.
    pub(crate) fn sweep(&self) {
        let over = self.0.lock().unwrap_or_else(PoisonError::into_inner).roll(Instant::now());
        tell(over);
    }
}

fn tell(over: Vec<Again>) {
    for Again { culprit, cause, count } in over {
        tracing::warn!(culprit, cause, count, "happened so many times more within a minute");
    }
}

impl Window {
    /// Begins a new window when this one is over, and gives what was left out in it.
    fn roll(&mut self, now: Instant) -> Vec<Again> {
        match self.begun {
            Some(begun) if now.saturating_duration_since(begun) < WINDOW => return Vec::new(),
            _ => self.begun = Some(now),
        }
        let causes = std::mem::take(&mut self.again).into_iter().flat_map(|(culprit, causes)| {
            causes.into_iter().map(move |(cause, count)| Again { culprit: culprit.clone(), cause, count })
        });
        causes.filter(|again| again.count > 0).collect()
    }

    fn admits(&mut self, culprit: &str, cause: &str) -> bool {
        let known = self.again.contains_key(culprit) || self.again.len() < CULPRITS;
        let causes = self.again.entry(if known { culprit } else { "others" }.to_owned()).or_default();
        let known = causes.contains_key(cause) || causes.len() < CAUSES;
        let cause = if known { cause } else { "other causes" };
        if let Some(again) = causes.get_mut(cause) {
            *again = again.saturating_add(1);
            return false;
        }
        causes.insert(cause.to_owned(), 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_for_each_culprit_and_cause_and_then_a_count() {
        let mut window = Window::default();
        let start = Instant::now();
        assert_eq!(window.roll(start), []);
        assert!(window.admits("tehran", "garbage"));
        assert!((0..1000).all(|_| !window.admits("tehran", "garbage")));
        assert!(window.admits("tehran", "a receipt"), "another cause is told");
        assert!(window.admits("paris", "garbage"), "another culprit as well");
        assert_eq!(window.roll(start + WINDOW / 2), []);
        let again = Again { culprit: "tehran".to_owned(), cause: "garbage".to_owned(), count: 1000 };
        assert_eq!(window.roll(start + WINDOW), [again]);
        assert!(window.admits("tehran", "garbage"), "a new minute");
    }

    /// Neither fresh keys nor texts of a peer's making get more lines or memory than the bounds say.
    #[test]
    fn fresh_keys_and_made_up_causes_write_no_more_than_the_bounds() {
        let mut window = Window::default();
        window.roll(Instant::now());
        let mut lines = 0;
        for culprit in 0..1000 {
            for cause in 0..100 {
                let (culprit, cause) = (format!("stranger {culprit}"), format!("cause {cause}"));
                lines += usize::from(window.admits(&culprit, &cause));
            }
        }
        let bound = (CULPRITS + 1) * (CAUSES + 1);
        assert_eq!(lines, bound);
        assert_eq!(window.again.len(), CULPRITS + 1);
        let over = window.roll(Instant::now() + WINDOW);
        let counted: u64 = over.iter().map(|again| again.count).sum();
        assert_eq!(usize::try_from(counted).unwrap() + lines, 100_000, "nothing goes uncounted");
        assert!(over.len() <= bound);
    }
}
