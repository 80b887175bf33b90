//! Dispatches, evidence and cases as lines for people. Peer texts go into the lines as they are: the screen escapes.

use std::collections::BTreeMap;

use demarche_control::types::{
    Alarm, Case, Chain, Effect, Evidence, EvidenceKind, Header, Kind, Shown, State,
};
use demarche_protocol::{
    charter::Charter,
    dispatch::{Nature, Precedence},
    hash::DocumentId,
};

use crate::{
    original::Original,
    screen::{Line, Screen, Style},
    when,
};

/// `EXERCISE` in a colour of its own before everything that is not meant (threat E7).
pub fn banner(nature: Option<Nature>) -> Option<Line> {
    let word = match nature {
        None | Some(Nature::Real) => return None,
        Some(Nature::Exercise) => "EXERCISE EXERCISE EXERCISE",
        Some(Nature::Test) => "TEST TEST TEST",
    };
    Some(Line::styled(Style::Warn, word))
}

/// `FLASH`, as it is called.
pub fn precedence(precedence: Option<Precedence>) -> String {
    precedence.map_or("-".to_owned(), |precedence| precedence.as_str().to_uppercase())
}

/// IMMEDIATE and above: what a watch rings for.
pub fn is_urgent(header: &Header) -> bool {
    matches!(header.precedence, Some(Precedence::Flash | Precedence::Immediate))
}

fn style_of(header: &Header) -> Style {
    match (header.state, header.precedence) {
        (State::Void | State::Expired, _) => Style::Dim,
        (_, Some(Precedence::Flash)) => Style::Bad,
        (_, Some(Precedence::Immediate)) => Style::Warn,
        _ => Style::Plain,
    }
}

/// The serial, with its channel where several are shown.
pub fn serial(header: &Header, with_channel: bool) -> String {
    if with_channel { format!("{}:{}", header.channel, header.serial) } else { header.serial.to_string() }
}

/// A header on one line.
pub fn header(header: &Header, with_channel: bool) -> Line {
    let nature = match header.nature {
        None | Some(Nature::Real) => String::new(),
        Some(nature) => format!("[{}] ", nature.as_str().to_uppercase()),
    };
    let about = match (&header.provision, &header.title) {
        (Some(provision), Some(title)) => format!("{provision} {title}"),
        (_, title) => title.clone().unwrap_or_default(),
    };
    let of_case = header.case.as_ref().filter(|case| **case != header.serial);
    let of_case = of_case.map(|case| format!("(case {case}) ")).unwrap_or_default();
    let state = match header.chain {
        Chain::Complete => header.state.to_string(),
        Chain::Pending => format!("{}, chain pending", header.state),
        Chain::Misplaced => format!("{}, misplaced", header.state),
    };
    let line = Line::new()
        .and(format!("{:<18} ", serial(header, with_channel)))
        .with(style_of(header), format!("{:<9} ", precedence(header.precedence)))
        .and(format!("{:<15} {state:<12} {}  ", header.kind, when::shown(header.recorded_at)))
        .with(Style::Warn, nature)
        .and(of_case)
        .and(about);
    match header.effect {
        Effect::Accepted => line,
        Effect::Void => line.with(
            Style::Bad,
            format!("  of no effect: {}", header.void_reason.as_deref().unwrap_or("no reason given")),
        ),
        Effect::AuthorityUnknown => line.with(Style::Warn, "  authority unknown"),
    }
}

/// One thing known of a dispatch's way, in the words that an officer is told.
pub fn evidence(evidence: &Evidence) -> Line {
    let Evidence { by, .. } = evidence;
    let officer = evidence.officer.as_deref().unwrap_or("an officer");
    let detail = evidence.detail.as_deref();
    let (word, style, said) = match evidence.kind {
        EvidenceKind::Recorded => ("RECORDED", Style::Plain, format!("durable at {by}")),
        EvidenceKind::Custody => {
            let detail = detail.map_or_else(String::new, |detail| format!(" {detail}"));
            ("IN CUSTODY", Style::Plain, format!("mediator {by} signed that it keeps it{detail}"))
        }
        EvidenceKind::Collected => {
            ("COLLECTED", Style::Plain, format!("{by}'s node has collected it from custody, signed"))
        }
        EvidenceKind::Unopenable => {
            ("UNOPENABLE", Style::Warn, format!("{by}'s node could not open it, signed; it is sealed anew"))
        }
        EvidenceKind::Delivered => ("DELIVERED", Style::Good, format!("{by}'s node holds it, signed")),
        EvidenceKind::Opened => {
            ("OPENED", Style::Good, format!("{by}'s node states that it was displayed to {officer}, signed"))
        }
        EvidenceKind::Acknowledged => (
            "ACKNOWLEDGED",
            Style::Good,
            format!("{officer} of {by} signed: receipt and understanding; not agreement"),
        ),
        EvidenceKind::Void => {
            ("VOID", Style::Bad, format!("of no effect: {}", detail.unwrap_or("no reason given")))
        }
        EvidenceKind::Disowned => {
            ("DISOWNED", Style::Warn, format!("{by}'s node went on without it; it is kept, with its effect"))
        }
        EvidenceKind::Expired => (
            "EXPIRED",
            Style::Bad,
            format!("mediator {by} signed that its time in custody ran out; it is deposited again"),
        ),
    };
    let line = Line::new().and(format!("{}  ", when::of_day(evidence.at)));
    let line = line.with(style, format!("{word:<13}")).and(said);
    let line = match (evidence.kind, &evidence.serial) {
        (EvidenceKind::Acknowledged, Some(serial)) => line.and(format!(" ({serial})")),
        _ => line,
    };
    if evidence.verified { line } else { line.with(Style::Warn, "  NOT VERIFIED") }
}

/// What else a document says, by the names that officers read: every field that is signed, in the order in which it is read.
/// The case alone stands elsewhere, by its serial.
pub fn fields(signed: &BTreeMap<String, String>) -> Vec<(String, String)> {
    const NAMES: [(&str, &str); 10] = [
        ("position", "Position"),
        ("of", "Of"),
        ("occurred_from", "Occurred"),
        ("occurred_to", "until"),
        ("place", "Place"),
        ("means", "Means"),
        ("confidence", "Confidence"),
        ("request", "Request"),
        ("reply_within", "Reply within"),
        ("reply_by", "Reply by"),
    ];
    let named = NAMES.iter().filter_map(|(key, name)| Some(((*name).to_owned(), signed.get(*key)?.clone())));
    // One that has no name here is shown all the same.
    let others =
        signed.iter().filter(|(key, _)| *key != "case" && NAMES.iter().all(|(known, _)| known != key));
    named.chain(others.map(|(key, value)| (key.clone(), value.clone()))).collect()
}

/// A dispatch whole: first what its officer signed, with what was verified of it here; then what this node alone says.
pub fn whole(screen: &mut Screen, shown: &Shown, charter: Option<&Charter>, original: Option<&Original>) {
    let header = &shown.header;
    if let Some(banner) = banner(header.nature) {
        screen.say(banner);
    }
    if !shown.same_serial.is_empty() {
        let others: Vec<String> = shown.same_serial.iter().map(DocumentId::short).collect();
        let (document, others) = (header.document.short(), others.join(", "));
        let line = Line::styled(Style::Bad, format!("TWO DISPATCHES BEAR THE SERIAL {}", header.serial));
        screen.say(line.and(format!(
            ": the log of {} branched. This is document {document}; the other: {others}",
            header.from
        )));
        for other in &shown.same_serial {
            screen.say(format!("  demarche show {other}"));
        }
    }
    let line = Line::new().with(style_of(header), precedence(header.precedence));
    screen.say(line.with(Style::Bold, format!(" {} {}", header.kind, header.serial)));
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            screen.say(format!("  {name:<11} {value}"));
        }
    };
    field("From", Some(format!("{}: {}", header.from, header.officer)));
    field(
        "Provision",
        header.provision.as_ref().map(|code| {
            let known = charter.and_then(|charter| charter.provision(code));
            known.map_or_else(|| code.clone(), |known| format!("{code} {}", known.title_in("en")))
        }),
    );
    field("Title", header.title.clone());
    for (name, value) in fields(&shown.fields) {
        field(&name, Some(value));
    }
    field("Written", header.written_at.map(when::shown));
    field("Document", Some(header.document.to_string()));
    if let Some(body) = &shown.body {
        screen.say("");
        screen.block("  | ", body);
    }
    if let Some(original) = original {
        screen.say("");
        signed_by(screen, original);
    }
    screen.say("");
    as_the_node_says(screen, shown);
}

/// What rests on the word of the officer's own node: place, times and state.
fn as_the_node_says(screen: &mut Screen, shown: &Shown) {
    let header = &shown.header;
    screen.say("By this node's own record:");
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            screen.say(format!("  {name:<11} {value}"));
        }
    };
    let case = header.case.as_ref().filter(|case| **case != header.serial);
    field("Case", case.map(ToString::to_string));
    field("Recorded", Some(when::shown(header.recorded_at)));
    field("Received", header.received_at.map(when::shown));
    field("State", Some(header.state.to_string()));
    field("No effect", header.void_reason.clone());
    for piece in &shown.evidence {
        screen.say(Line::styled(Style::Plain, "  ").then(evidence(piece)));
    }
}

/// Who signed, as verified here.
pub fn signed_by(screen: &mut Screen, original: &Original) {
    for (name, key) in &original.signers {
        let line = Line::styled(Style::Good, "Verified here: ");
        screen.say(line.and(format!(
            "signed by {name} of {}, {}, vouched for by the roots in the charter",
            original.dispatch.party,
            key.fingerprint()
        )));
    }
}

/// An alarm on one line: by its number it is taken.
pub fn alarm(alarm: &Alarm, channel: Option<&str>) -> Line {
    let style = if !alarm.stands() {
        Style::Dim
    } else if alarm.calls() {
        Style::Bad
    } else {
        Style::Warn
    };
    let channel = channel.map(|name| format!("{name}: ")).unwrap_or_default();
    let line = Line::styled(style, format!("{:>4}  {:<20}  ", alarm.number, alarm.cause));
    let mut line = line.and(format!("{channel}{}", alarm.detail));
    line = line.and(match alarm.due {
        Some(due) => format!("; due {}", when::shown(due)),
        None => format!("; since {}", when::shown(alarm.since)),
    });
    if alarm.times > 1 {
        line = line.and(format!(" ({} times, last {})", alarm.times, when::shown(alarm.last)));
    }
    match (alarm.over, &alarm.taken) {
        (Some(over), _) => line.with(Style::Dim, format!("; over since {}", when::shown(over))),
        (None, Some(taken)) => {
            line.with(Style::Good, format!("; taken by {} {}", taken.by, when::shown(taken.at)))
        }
        (None, None) => line,
    }
}

/// A case on one line.
pub fn case(case: &Case, with_channel: bool) -> Line {
    let name =
        if with_channel { format!("{}:{}", case.channel, case.serial) } else { case.serial.to_string() };
    let style = match case.precedence {
        Precedence::Flash => Style::Bad,
        Precedence::Immediate => Style::Warn,
        _ => Style::Plain,
    };
    let state = match &case.position {
        Some(position) => format!("{}: {position}", case.state),
        None => case.state.to_string(),
    };
    let nature = match case.nature {
        Nature::Real => String::new(),
        other => format!("[{}] ", other.as_str().to_uppercase()),
    };
    Line::new()
        .with(Style::Bold, format!("{name:<18} "))
        .with(style, format!("{:<9} ", precedence(Some(case.precedence))))
        .and(format!("{state:<22} {}  ", when::shown(case.opened_at)))
        .with(Style::Warn, nature)
        .and(format!("{} {}  ({} entries)", case.provision, case.title, case.entries.len()))
}

/// Whether a header is another party's dispatch that nobody here has opened.
pub fn is_unopened(header: &Header, own: &str) -> bool {
    header.from.as_str() != own
        && header.kind != Kind::Unknown
        && matches!(header.state, State::Delivered | State::Recorded | State::Custody)
}
