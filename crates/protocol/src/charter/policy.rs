//! The charter's rules (docs/protocol.md §4.1): signatures and times by precedence, and the line's limits. Where a charter is
//! silent, the defaults here hold.

use std::{fmt, str::FromStr, time::Duration};

use crate::{
    dispatch::Precedence,
    document::{DocumentError, Fields, Writer},
    limits,
};

/// A duration in the charter's form: a whole number and `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A size in the charter's form: a whole number and `KiB`, `MiB` or `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const DAY: u64 = 24 * 60 * 60;

/// Decimal digits alone, without leading zero: `+5` and `05` would be second ways to write the same.
fn whole_number(digits: &str) -> Option<u64> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    if plain { digits.parse().ok() } else { None }
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHY: &str = "not a duration, like 90s, 15m, 6h or 5d";
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text.strip_prefix(digits) {
            Some("s") => 1,
            Some("m") => 60,
            Some("h") => 60 * 60,
            Some("d") => DAY,
            _ => return Err(WHY),
        };
        let count = whole_number(digits).ok_or(WHY)?;
        // A hundred years: more is a mistake, and sums of such spans stay far from overflowing.
        let seconds =
            count.checked_mul(unit).filter(|seconds| (1..=36_525 * DAY).contains(seconds)).ok_or(WHY)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        // 24h stays 24h: that is how a charter says it.
        if seconds.is_multiple_of(DAY) && seconds > 2 * DAY {
            write!(f, "{}d", seconds / DAY)
        } else if seconds.is_multiple_of(3600) {
            write!(f, "{}h", seconds / 3600)
        } else if seconds.is_multiple_of(60) {
            write!(f, "{}m", seconds / 60)
        } else {
            write!(f, "{seconds}s")
        }
    }
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHY: &str = "not a size, like 512KiB, 64MiB or 2GiB";
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit: u64 = match text.strip_prefix(digits) {
            Some("KiB") => 1 << 10,
            Some("MiB") => 1 << 20,
            Some("GiB") => 1 << 30,
            _ => return Err(WHY),
        };
        let count = whole_number(digits).ok_or(WHY)?;
        count.checked_mul(unit).filter(|bytes| *bytes > 0).map(Self).ok_or(WHY)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes.is_multiple_of(1 << 30) => write!(f, "{}GiB", bytes >> 30),
            bytes if bytes.is_multiple_of(1 << 20) => write!(f, "{}MiB", bytes >> 20),
            bytes => write!(f, "{}KiB", bytes >> 10),
        }
    }
}

/// How sizes are hidden from the mediator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Padding {
    /// Frames travel at their own length.
    #[default]
    None,
}

impl FromStr for Padding {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" { Ok(Self::None) } else { Err("the only padding known is `none`") }
    }
}

/// The rules for one precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrecedencePolicy {
    /// Officers' signatures needed on a notice.
    pub signatures: u64,
    /// By when the other node should hold it.
    pub deliver_within: Span,
    /// By when an officer there should acknowledge it.
    pub acknowledge_within: Span,
    /// By when the party should reply.
    pub reply_within: Span,
}

/// All rules of a charter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// By precedence, FLASH first.
    pub precedences: [PrecedencePolicy; 4],
    /// How often the line is tested.
    pub test_every: Span,
    /// How sizes are hidden.
    pub padding: Padding,
    /// Largest evidence file, in bytes.
    pub evidence_file: Size,
    /// What a mediator keeps for one channel and direction, in bytes.
    pub custody: Size,
    /// How long it keeps it.
    pub custody_for: Span,
}

impl Default for Policy {
    fn default() -> Self {
        let minutes = |minutes: u64| Span(Duration::from_secs(minutes * 60));
        let rules = |deliver, acknowledge, reply| PrecedencePolicy {
            signatures: 1,
            deliver_within: minutes(deliver),
            acknowledge_within: minutes(acknowledge),
            reply_within: minutes(reply),
        };
        Self {
            precedences: [
                rules(2, 10, 6 * 60),
                rules(15, 60, 24 * 60),
                rules(60, 6 * 60, 48 * 60),
                rules(6 * 60, 24 * 60, 5 * 24 * 60),
            ],
            test_every: minutes(60),
            padding: Padding::None,
            evidence_file: Size(64 << 20),
            custody: Size(256 << 20),
            custody_for: minutes(30 * 24 * 60),
        }
    }
}

impl Policy {
    /// The rules for one precedence.
    pub const fn of(&self, precedence: Precedence) -> &PrecedencePolicy {
        let [flash, immediate, priority, routine] = &self.precedences;
        match precedence {
            Precedence::Flash => flash,
            Precedence::Immediate => immediate,
            Precedence::Priority => priority,
            Precedence::Routine => routine,
        }
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, DocumentError> {
        let mut policy = Self::default();
        let Some(mut fields) = fields.optional_table("policy")? else { return Ok(policy) };
        for (precedence, rules) in Precedence::ALL.iter().copied().zip(&mut policy.precedences) {
            let Some(mut fields) = fields.optional_table(precedence.as_str())? else { continue };
            set(
                &mut rules.signatures,
                fields.optional_number("signatures", limits::ENTRY_SIGNATURES as u64)?,
            );
            set(&mut rules.deliver_within, fields.optional("deliver_within", str::parse)?);
            set(&mut rules.acknowledge_within, fields.optional("acknowledge_within", str::parse)?);
            set(&mut rules.reply_within, fields.optional("reply_within", str::parse)?);
            fields.finish()?;
        }
        if let Some(mut line) = fields.optional_table("line")? {
            set(&mut policy.test_every, line.optional("test_every", str::parse)?);
            set(&mut policy.padding, line.optional("padding", str::parse)?);
            line.finish()?;
        }
        if let Some(mut bounds) = fields.optional_table("limits")? {
            set(&mut policy.evidence_file, bounds.optional("evidence_file", str::parse)?);
            set(&mut policy.custody, bounds.optional("custody", str::parse)?);
            set(&mut policy.custody_for, bounds.optional("custody_for", str::parse)?);
            bounds.finish()?;
        }
        fields.finish()?;
        Ok(policy)
    }

    pub(super) fn write(&self, writer: Writer) -> Writer {
        let writer = Precedence::ALL.iter().copied().zip(&self.precedences).fold(
            writer,
            |writer, (precedence, rules)| {
                writer
                    .table(&format!("policy.{precedence}"))
                    .number("signatures", rules.signatures)
                    .string("deliver_within", &rules.deliver_within.to_string())
                    .string("acknowledge_within", &rules.acknowledge_within.to_string())
                    .string("reply_within", &rules.reply_within.to_string())
            },
        );
        writer
            .table("policy.line")
            .string("test_every", &self.test_every.to_string())
            .string("padding", "none")
            .table("policy.limits")
            .string("evidence_file", &self.evidence_file.to_string())
            .string("custody", &self.custody.to_string())
            .string("custody_for", &self.custody_for.to_string())
    }

    /// Every rule that differs from the default, as `policy.flash.signatures = 2 (default 1)`.
    pub fn departures(&self) -> Vec<String> {
        let lines = |policy: &Self| {
            let text = policy.write(Writer::new(crate::document::DocumentType::Charter)).finish();
            let mut table = String::new();
            let mut lines = Vec::new();
            for line in text.lines().skip(1).filter(|line| !line.is_empty()) {
                match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                    Some(name) => name.clone_into(&mut table),
                    None => lines.push((format!("{table}.{line}"), line.to_owned())),
                }
            }
            lines
        };
        lines(self)
            .into_iter()
            .zip(lines(&Self::default()))
            .filter(|(ours, default)| ours != default)
            .map(|((ours, _), (_, default))| {
                format!("{ours} (default {})", default.split_once(" = ").map_or("", |(_, value)| value))
            })
            .collect()
    }
}

fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}
