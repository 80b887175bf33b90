//! The one door by which text reaches a terminal. Whatever is printed passes [`escape`], the
//! tool's own words included, so no caller can forget to; only [`Style`] makes colours (threat B4).
//!
//! With `--json` the document goes to stdout and all prose to stderr.

use std::io::{self, Write};

use demarche_control::Code;
use serde::Serialize;

use crate::{error::Failure, escape};

/// How a piece of a line looks on a terminal that takes colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Style {
    /// As the terminal writes.
    #[default]
    Plain,
    /// What to look at first.
    Bold,
    /// What is of less weight.
    Dim,
    /// What went well.
    Good,
    /// What needs care.
    Warn,
    /// What is wrong.
    Bad,
}

impl Style {
    /// ECMA-48 "select graphic rendition".
    const fn sgr(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Bad => "\x1b[1;31m",
        }
    }
}

/// A line in pieces. `"text".into()` is one plain piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(Vec<(Style, String)>);

impl Line {
    /// An empty line.
    pub fn new() -> Self {
        Self::default()
    }

    /// A line of one piece.
    pub fn styled(style: Style, text: impl Into<String>) -> Self {
        Self::new().with(style, text)
    }

    /// With one more piece.
    #[must_use]
    pub fn with(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    /// With one more plain piece.
    #[must_use]
    pub fn and(self, text: impl Into<String>) -> Self {
        self.with(Style::Plain, text)
    }

    /// With all pieces of another line after its own.
    #[must_use]
    pub fn then(mut self, line: Self) -> Self {
        self.0.extend(line.0);
        self
    }

    fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        for (style, text) in &self.0 {
            let sgr = if colour { style.sgr() } else { "" };
            out.push_str(sgr);
            out.push_str(&escape::line(text));
            if !sgr.is_empty() {
                out.push_str("\x1b[0m");
            }
        }
        out
    }
}

impl<T: Into<String>> From<T> for Line {
    fn from(text: T) -> Self {
        Self::styled(Style::Plain, text)
    }
}

/// One of the two streams.
pub struct Sink {
    /// Where it goes.
    pub to: Box<dyn Write + Send>,
    /// Whether that is a terminal.
    pub terminal: bool,
}

/// Stdout and stderr, and how to write on them.
pub struct Screen {
    out: Sink,
    err: Sink,
    json: bool,
    colour: bool,
}

impl Screen {
    /// A screen on these streams. Colour only where a terminal is, and not if `no_colour` (`NO_COLOR`, `TERM=dumb`).
    pub fn new(out: Sink, err: Sink, no_colour: bool) -> Self {
        Self { out, err, json: false, colour: !no_colour }
    }

    /// The process's own streams.
    pub fn of_process() -> Self {
        use io::IsTerminal as _;
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let out = Sink { to: Box::new(io::stdout()), terminal: io::stdout().is_terminal() };
        let err = Sink { to: Box::new(io::stderr()), terminal: io::stderr().is_terminal() };
        Self::new(out, err, set("NO_COLOR") || dumb)
    }

    /// From here on prose goes to stderr, and [`Screen::json`] prints.
    pub fn set_json(&mut self, json: bool) {
        self.json = json;
    }

    /// Whether `--json` was asked for.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether prose is read by a person right now.
    pub const fn is_terminal(&self) -> bool {
        if self.json { self.err.terminal } else { self.out.terminal }
    }

    /// A line of prose: on stdout, or on stderr beside JSON.
    pub fn say(&mut self, line: impl Into<Line>) {
        let colour = self.colour;
        write_line(self.prose(), &line.into(), colour);
    }

    /// A text of several lines as prose, each behind `indent`.
    pub fn block(&mut self, indent: &str, text: &str) {
        for line in escape::lines(text) {
            self.say(format!("{indent}{line}"));
        }
    }

    /// A remark or warning: always on stderr.
    pub fn note(&mut self, line: impl Into<Line>) {
        let colour = self.colour;
        write_line(&mut self.err, &line.into(), colour);
    }

    /// A question, without line end, on the stream that the person reads: stderr.
    pub fn ask(&mut self, line: impl Into<Line>) {
        let text = line.into().render(self.colour && self.err.terminal);
        // A terminal that is gone cannot be told so.
        let _ = write!(self.err.to, "{text}").and_then(|()| self.err.to.flush());
    }

    /// The command's result for programs: one JSON document on stdout, if `--json`.
    pub fn json<T: Serialize>(&mut self, value: &T) {
        if self.json
            && let Ok(json) = serde_json::to_string_pretty(value)
        {
            self.raw(&escape::json(&json));
        }
    }

    /// One of many results: one JSON document on one line of stdout, if `--json`.
    pub fn json_line<T: Serialize>(&mut self, value: &T) {
        if self.json
            && let Ok(json) = serde_json::to_string(value)
        {
            self.raw(&escape::json(&json));
        }
    }

    /// A text made by this program for stdout, byte for byte (shell completions, a document's own text into a pipe).
    pub fn verbatim(&mut self, text: &str) {
        let _ = self.out.to.write_all(text.as_bytes()).and_then(|()| self.out.to.flush());
    }

    /// Rings once, where a terminal is.
    pub fn ring(&mut self) {
        if self.err.terminal {
            let _ = self.err.to.write_all(b"\x07").and_then(|()| self.err.to.flush());
        }
    }

    /// A failure: what failed, its particulars, then `help:`. As JSON too, so that scripts need not read prose.
    pub fn fail(&mut self, failure: &Failure) {
        let mut what = failure.what.split('\n');
        let first = what.next().unwrap_or_default();
        self.note(Line::styled(Style::Bad, "error: ").and(first));
        for line in what.chain(failure.lines.iter().map(String::as_str)) {
            self.note(format!("  {line}"));
        }
        for (at, step) in failure.help.iter().enumerate() {
            let label = if at == 0 { "help: " } else { "      " };
            self.note(Line::styled(Style::Bold, label).and(step.as_str()));
        }
        if self.json {
            #[derive(Serialize)]
            struct Said<'a> {
                error: &'a str,
                #[serde(skip_serializing_if = "Option::is_none")]
                code: Option<&'static str>,
                #[serde(skip_serializing_if = "<[String]>::is_empty")]
                lines: &'a [String],
                help: &'a [String],
                #[serde(skip_serializing_if = "Option::is_none")]
                kept: Option<String>,
                exit: u8,
            }
            let said = Said {
                error: &failure.what,
                code: failure.code.map(Code::as_str),
                lines: &failure.lines,
                help: &failure.help,
                kept: failure.kept.as_ref().map(|kept| kept.display().to_string()),
                exit: failure.exit.code(),
            };
            self.json_line(&said);
        }
    }

    fn prose(&mut self) -> &mut Sink {
        if self.json { &mut self.err } else { &mut self.out }
    }

    fn raw(&mut self, text: &str) {
        // A reader that has gone (`| head`) ends the output, not the command.
        let _ = writeln!(self.out.to, "{text}").and_then(|()| self.out.to.flush());
    }
}

fn write_line(sink: &mut Sink, line: &Line, colour: bool) {
    let text = line.render(colour && sink.terminal);
    let _ = writeln!(sink.to, "{text}").and_then(|()| sink.to.flush());
}

#[cfg(test)]
mod tests;
