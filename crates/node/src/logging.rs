//! The log on stderr: lines for people, or one JSON object a line. Texts of peers only ever go in as fields, which both forms
//! escape (threat B5); no message text and no key is logged at any level (threat L3).

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _},
};

use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt::format::FmtSpan, util::TryInitError};

use crate::config::{Level, Log, LogFormat};

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Libraries log what is their business; only what concerns the line is worth an operator's time.
fn filter(log: &Log) -> EnvFilter {
    let level = log.level.as_str();
    let libraries = if log.level == Level::Trace { "debug" } else { "error" };
    EnvFilter::new(format!("{libraries},demarche_node={level},demarched={level}"))
}

/// Starts logging. Once per process.
pub(crate) fn start(log: &Log) -> Result<(), TryInitError> {
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(filter(log))
        .with_span_events(FmtSpan::NONE)
        .with_target(false);
    match log.format {
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
        LogFormat::Human => {
            let colour =
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
            builder.with_ansi(colour).finish().try_init()
        }
    }
}

/// Text of somebody else made fit for one line of a log: control characters and what changes direction are escaped
/// as the officers' tool does it, `<U+001B>`.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}');
        if character.is_control() || turns {
            // With a backslash the log's own escaping would double it.
            let _ = write!(out, "<U+{:04X}>", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B5: line breaks and terminal escapes of a peer do not make a second line or a colour.
    #[test]
    fn b5_peer_text_stays_on_its_line() {
        let hostile = "a\nready: tehran\r\u{1b}[31mred\u{9b}31m\u{202e}back\u{2028}z";
        let safe = escaped(hostile);
        assert!(safe.chars().all(|character| !character.is_control()), "{safe}");
        assert!(!safe.contains('\u{202e}') && !safe.contains('\u{2028}'));
        assert!(safe.contains("<U+000A>ready") && safe.contains("<U+001B>[31m"));
        assert_eq!(format!("{safe:?}"), format!("\"{safe}\""), "a field of the log shows it as it is");
        assert_eq!(escaped("سلام\u{200c}ها"), "سلام\u{200c}ها", "Persian needs its ZWNJ");
    }
}
