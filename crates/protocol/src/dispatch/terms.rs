//! The words that dispatches choose from, and how any list of words is defined.

/// Defines an enumeration of words: the enum, all its cases in order, and each case's word by `as_str`, `Display` and
/// `FromStr`, whose error, a text, names the words that there are. The literal says what one of them is, with its article.
#[macro_export]
macro_rules! terms {
    ($(#[$doc:meta])* $name:ident ($what:literal) { $($(#[$case_doc:meta])* $case:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$case_doc])* $case),+ }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$case),+];

            /// As it stands in the document, on the command line and in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$case => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|term| term.as_str() == text).ok_or_else(|| {
                    let known: Vec<&str> = Self::ALL.iter().map(|term| term.as_str()).collect();
                    format!(concat!($what, " is one of {}"), known.join(", "))
                })
            }
        }
    };
}
pub(crate) use terms;

terms! {
    /// Order of service. The first is the most urgent.
    Precedence ("a precedence") {
        /// Breaks into everything else.
        Flash = "flash",
        /// Needs attention at once.
        Immediate = "immediate",
        /// Needs attention today.
        Priority = "priority",
        /// Everything else.
        Routine = "routine",
    }
}

terms! {
    /// Whether it is meant: signed, shown, and never confused.
    Nature ("a nature") {
        /// Meant.
        Real = "real",
        /// Part of an exercise.
        Exercise = "exercise",
        /// A test of the system.
        Test = "test",
    }
}

terms! {
    /// How a breach became known.
    Means ("a means") {
        /// Seen by people.
        Seen = "seen",
        /// Heard by people.
        Heard = "heard",
        /// Recorded by an instrument.
        Sensor = "sensor",
        /// Told by others.
        Reported = "reported",
    }
}

terms! {
    /// How sure the reporting party is.
    Confidence ("a confidence") {
        /// Verified.
        Confirmed = "confirmed",
        /// More likely than not.
        Probable = "probable",
        /// Not excluded.
        Possible = "possible",
    }
}
