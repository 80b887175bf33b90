//! What a document says, in plain words: shown before anybody signs it, so that what was read is what was signed.

use demarche_protocol::{
    charter::{Charter, Member, Provision},
    dispatch::{Dispatch, Occurred, ReplyBy},
    document::{DocumentError, DocumentType, Fields},
    hash::ChannelId,
    identity::{
        card::{Address, Card, Role},
        keys::PublicKey,
        officer::{Duty, Officer},
        revocation::{Revocation, Revoked},
        roots::{RootList, Roots},
        suspension::Suspension,
    },
    time::Timestamp,
};

/// A document in plain words. Its texts are not escaped: they are when they are printed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plain {
    /// What it does, as one sentence.
    pub(super) headline: String,
    /// Its particulars, one a line.
    pub(super) lines: Vec<String>,
}

impl Plain {
    fn new(headline: impl Into<String>) -> Self {
        Self { headline: headline.into(), lines: Vec::new() }
    }

    fn line(mut self, label: &str, value: impl AsRef<str>) -> Self {
        self.lines.push(format!("{label:<14}{}", value.as_ref()));
        self
    }

    fn lines(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.lines.extend(lines);
        self
    }

    fn optional(self, label: &str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.line(label, value),
            None => self,
        }
    }
}

/// The type of a document, and what it says. The refusal names line and column.
pub(super) fn explain(text: &str) -> Result<(DocumentType, Plain), DocumentError> {
    let (kind, _) = Fields::of_any(text)?;
    let plain = match kind {
        DocumentType::Charter => charter(&Charter::parse(text)?),
        DocumentType::Roots => roots(&Roots::parse(text)?),
        DocumentType::Card => card(&Card::parse(text)?),
        DocumentType::Officer => officer(&Officer::parse(text)?),
        DocumentType::Suspension => suspension(&Suspension::parse(text)?),
        DocumentType::Revocation => revocation(&Revocation::parse(text)?),
        DocumentType::Dispatch => dispatch(&Dispatch::parse(text)?),
    };
    Ok((kind, plain))
}

/// A charter: who, by which roots, under which provisions, and what is not as usual.
pub(super) fn charter(charter: &Charter) -> Plain {
    let plain = Plain::new(format!("This charter founds a channel under \"{}\".", charter.title))
        .line("drafted", day(charter.drafted_at));
    let plain = charter.parties.iter().fold(plain, |plain, party| plain.lines(member("party", party)));
    let plain = charter.mediators.iter().fold(plain, |plain, party| plain.lines(member("mediator", party)));
    plain.lines(provisions(&charter.provisions)).lines(departures(charter))
}

fn member(what: &str, member: &Member) -> Vec<String> {
    let mut lines = vec![format!("{what:<14}{}, {}", member.id, member.name)];
    lines.extend(root_lines(&member.roots));
    lines.extend(member.fallback.iter().map(|say| format!("  if nothing gets through: {say}")));
    lines
}

/// How many roots must sign, and each with what ssh-keygen prints and what people read to each other.
fn root_lines(roots: &RootList) -> Vec<String> {
    let mut lines = vec![format!("  {} must sign:", root_count(roots))];
    for key in roots.keys() {
        lines.push(format!("    {}", key.fingerprint()));
        lines.push(format!("    aloud: {}", key.spoken()));
    }
    lines
}

fn root_count(roots: &RootList) -> String {
    match (roots.needed(), roots.keys().len()) {
        (1, 1) => "its root".into(),
        (needed, all) => format!("{needed} of its {all} roots"),
    }
}

fn provisions(provisions: &[Provision]) -> Vec<String> {
    let head = format!("{:<14}{}", "provisions", provisions.len());
    let each = provisions.iter().map(|provision| {
        let titles: Vec<&str> = provision.title.values().map(String::as_str).collect();
        let precedence = provision.precedence.map(|precedence| format!(" [{precedence}]"));
        format!("  {:<6} {}{}", provision.code, titles.join(" / "), precedence.unwrap_or_default())
    });
    std::iter::once(head).chain(each).collect()
}

fn departures(charter: &Charter) -> Vec<String> {
    let departures = charter.policy.departures();
    if departures.is_empty() {
        return vec![format!("{:<14}all as usual", "rules")];
    }
    let head = format!("{:<14}{} not as usual:", "rules", departures.len());
    std::iter::once(head).chain(departures.into_iter().map(|line| format!("  {line}"))).collect()
}

fn roots(roots: &Roots) -> Plain {
    Plain::new(format!("From now on these are the roots of {}.", roots.member))
        .lines(root_lines(&roots.list))
        .line("replaces", format!("the list set by document {}", roots.replaces))
        .line("drafted", day(roots.issued_at))
}

fn card(card: &Card) -> Plain {
    let role = match card.role {
        Role::Party { .. } => "party",
        Role::Mediator { .. } => "mediator",
    };
    let plain = Plain::new(format!("This card lets one node speak for {}.", card.member))
        .line("name", &card.name)
        .line("role", role)
        .line("card number", card.serial.to_string())
        .line("node's key", card.node.fingerprint());
    let plain = match &card.role {
        Role::Party { session, .. } => plain.line("session key", session.to_string()),
        Role::Mediator { addresses } => {
            let addresses: Vec<String> = addresses.iter().map(Address::to_string).collect();
            plain.line("reached at", addresses.join(", "))
        }
    };
    plain
        .line("valid", format!("{} to {}", day(card.issued_at), day(card.expires_at)))
        .lines(root_lines(&card.roots))
}

fn officer(officer: &Officer) -> Plain {
    let duties: Vec<&str> = officer.duties.iter().map(|duty| duty.as_str()).collect();
    let plain = Plain::new(format!("This lets an officer act for {}.", officer.party))
        .line("officer", &officer.name)
        .line("key", key_line(&officer.key))
        .line("duties", duties.join(", "));
    let plain = if officer.duties.contains(&Duty::Administer) {
        plain.line("", "administer: may suspend other officers at once")
    } else {
        plain
    };
    plain
        .line("channels", channels(&officer.channels))
        .line("valid", format!("{} to {}", day(officer.issued_at), day(officer.expires_at)))
}

fn suspension(suspension: &Suspension) -> Plain {
    Plain::new(format!("An officer of {} may not act until the roots decide.", suspension.party))
        .line("officer's key", key_line(&suspension.key))
        .line("because", &suspension.reason)
        .line("drafted", day(suspension.issued_at))
}

fn revocation(revocation: &Revocation) -> Plain {
    let plain = match revocation.revoked {
        Revoked::Card { card, serial } => Plain::new(format!(
            "Card {serial} of {} and every older one no longer speak; their nodes are shut out everywhere, for good.",
            revocation.member
        ))
        .line("card", card.to_string()),
        Revoked::Officer(key) => Plain::new(format!(
            "An officer's key of {} no longer speaks, in whatever document it stands, for good.",
            revocation.member
        ))
        .line("officer's key", key_line(&key)),
    };
    plain
        .line("because", &revocation.reason)
        .line("channels", channels(&revocation.channels))
        .line("drafted", day(revocation.issued_at))
}

fn dispatch(dispatch: &Dispatch) -> Plain {
    let headline = format!(
        "{} speaks: {}, {}.",
        dispatch.party,
        dispatch.kind(),
        dispatch.nature.as_str().to_uppercase()
    );
    let plain = Plain::new(headline)
        .line("channel", dispatch.channel.to_string())
        .line("precedence", dispatch.precedence.as_str().to_uppercase())
        .line("written", dispatch.written_at.to_string());
    let plain = match &dispatch.content {
        demarche_protocol::dispatch::Content::Breach(breach) => plain
            .line("provision", &breach.provision)
            .optional("occurred", breach.occurred.map(occurred))
            .optional("place", breach.place.as_deref())
            .optional("means", breach.means.map(|means| means.to_string()))
            .optional("confidence", breach.confidence.map(|confidence| confidence.to_string()))
            .optional("request", breach.request.as_deref())
            .optional("reply by", breach.reply_by.map(reply_by)),
        demarche_protocol::dispatch::Content::Reply(reply) => {
            plain.line("position", reply.position.to_string())
        }
        _ => plain,
    };
    plain
        .optional("answers", dispatch.refers_to().map(|of| format!("document {of}")))
        .optional("title", dispatch.title())
        .lines(dispatch.body().unwrap_or_default().lines().map(|line| format!("  {line}")))
}

fn occurred(occurred: Occurred) -> String {
    match occurred.to {
        Some(to) => format!("{} to {to}", occurred.from),
        None => occurred.from.to_string(),
    }
}

fn reply_by(by: ReplyBy) -> String {
    match by {
        ReplyBy::Within(span) => format!("within {span} of delivery"),
        ReplyBy::At(at) => at.to_string(),
    }
}

fn key_line(key: &PublicKey) -> String {
    key.fingerprint()
}

fn channels(channels: &[ChannelId]) -> String {
    if channels.is_empty() {
        return "all of them".into();
    }
    channels.iter().map(ChannelId::to_string).collect::<Vec<_>>().join(", ")
}

fn day(at: Timestamp) -> String {
    let text = at.to_string();
    text.split_once('T').map_or_else(|| text.clone(), |(day, _)| day.to_owned())
}
