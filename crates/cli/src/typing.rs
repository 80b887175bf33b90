//! The line that is being typed. A terminal holds it back until Enter and throws it away at Ctrl-C; here it does not, and
//! gives it out when a signal ends the asking.

use std::io;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// Standard input as a terminal, while a person types. Dropped, the terminal is as it was.
pub(crate) struct Typing {
    before: Termios,
}

impl Typing {
    /// From here on Ctrl-C leaves the line. `None` where stdin is no terminal.
    pub(crate) fn on_stdin() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut kept = before.clone();
        kept.local_modes.insert(LocalModes::NOFLSH);
        tcsetattr(io::stdin(), OptionalActions::Now, &kept).ok()?;
        Some(Self { before })
    }

    /// Gives whoever reads what there is of the line, and after it the end of input.
    pub(crate) fn hand_over(&self) {
        let mut at_once = self.before.clone();
        at_once.local_modes.remove(LocalModes::ICANON);
        at_once.special_codes[SpecialCodeIndex::VMIN] = 0;
        at_once.special_codes[SpecialCodeIndex::VTIME] = 0;
        // A terminal that is gone has no line.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &at_once);
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
