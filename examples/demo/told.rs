//! The voice of the demo, and what it measured.

use std::{
    io::IsTerminal,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Whether commands are shown as they run: only in the first act, where they are the story.
pub(crate) static SHOW_COMMANDS: AtomicBool = AtomicBool::new(false);

/// A heading.
pub(crate) fn act(title: &str) {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        println!("\n\u{1b}[1m{title}\u{1b}[0m");
    } else {
        println!("\n{title}");
    }
}

/// A sentence.
pub(crate) fn say(text: &str) {
    println!("  {text}");
}

/// A command that runs.
pub(crate) fn command(typed: &str) {
    if SHOW_COMMANDS.load(Ordering::Relaxed) {
        println!("    $ {typed}");
    }
}

/// What a program printed, set off.
pub(crate) fn quote(printed: &str) {
    for line in printed.lines() {
        println!("    | {line}");
    }
}

/// The measured times.
#[derive(Default)]
pub(crate) struct Times(Vec<(&'static str, String)>);

impl Times {
    /// Takes the time of something.
    pub(crate) fn of<T>(&mut self, what: &'static str, act: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = act();
        self.note(what, began.elapsed());
        result
    }

    /// Notes a duration.
    pub(crate) fn note(&mut self, what: &'static str, took: Duration) {
        let millis = took.as_secs_f64() * 1e3;
        self.0.push((
            what,
            if millis < 1000.0 { format!("{millis:.1} ms") } else { format!("{:.2} s", millis / 1e3) },
        ));
    }

    /// Prints them.
    pub(crate) fn print(&self) {
        act("Measured");
        let width = self.0.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        for (what, took) in &self.0 {
            println!("  {what:<width$}  {took:>10}");
        }
        say("(Each time of a command includes starting its process.)");
    }
}
