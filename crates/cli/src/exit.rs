//! The exit codes, which scripts may rely on, and the one rule for files: [`Exit::FILES`].

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// The node is not running or not reachable.
    NodeAway = 3,
    /// Refused here by rule: duty, provision, limit, key.
    Refused = 4,
    /// `--wait` ran out of time. It is recorded and will go on.
    OutOfTime = 5,
    /// A verification failed.
    Unverified = 6,
    /// Refused or expired on the way.
    RefusedOnTheWay = 7,
    /// SIGHUP came while something was in hand, and it was kept.
    HungUp = 128 + 1,
    /// SIGINT, likewise.
    Interrupted = 128 + 2,
    /// SIGTERM, likewise.
    Terminated = 128 + 15,
}

impl Exit {
    /// All of them, in order, with what they mean.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::Done, "done"),
        (Self::Failed, "failed"),
        (Self::Usage, "wrong usage"),
        (Self::NodeAway, "node not running or not reachable"),
        (Self::Refused, "refused by rule here (duty, provision, limit, key)"),
        (Self::OutOfTime, "`--wait` ran out of time (recorded; will go on)"),
        (Self::Unverified, "a verification failed"),
        (Self::RefusedOnTheWay, "refused or expired on the way"),
    ];

    /// The rule for files, as the documentation of the commands prints it.
    pub const FILES: &str = "Whatever file is named, a key, profile, text, document or signature: one that cannot be read (not there, \
        not allowed, no regular file) is 1; one that can be read and is not of the form it should have (too long, not UTF-8, \
        mistyped, another type of document) is 4; a signature that does not fit is 6. A wrong word or value on the command \
        line itself is 2.";

    /// How it ended when a signal came while it held something typed or signed, which was kept: as shells count, 128 and the
    /// signal's number. No node's refusal names these.
    pub const SIGNALS: [(Self, &'static str); 3] = [
        (Self::HungUp, "SIGHUP; what was in hand is kept"),
        (Self::Interrupted, "SIGINT, likewise"),
        (Self::Terminated, "SIGTERM, likewise"),
    ];

    /// The exceptions, as the documentation of the commands prints them.
    pub const CTRL_C: &str = "Ctrl-C is how one ends `watch`: 0. Whoever presses it while a dispatch that is recorded is waited for \
        leaves it going: 0, or 5 if `--wait` named the step.";

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The code that a node's refusal names; one that does not exist is a failure.
    pub fn from_code(code: u8) -> Self {
        let found = Self::ALL.iter().map(|(exit, _)| *exit).find(|exit| exit.code() == code);
        found.filter(|exit| *exit != Self::Done).unwrap_or(Self::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn codes_count_up_and_a_refusal_is_never_done() {
        for (at, (exit, _)) in Exit::ALL.iter().enumerate() {
            assert_eq!(usize::from(exit.code()), at);
        }
        assert_eq!(Exit::from_code(6), Exit::Unverified);
        assert_eq!(Exit::from_code(0), Exit::Failed);
        assert_eq!(Exit::from_code(200), Exit::Failed);
        assert_eq!(Exit::from_code(130), Exit::Failed);
    }
}
