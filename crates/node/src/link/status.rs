//! How node, channels and links are, in words: the verdict first, and for every silence its cause.

use std::slice;

use demarche_control::types::{AlarmCount, ChannelStatus, LinkState, LogHead, Path, Peer, Status, Verdict};
use demarche_protocol::{
    document::DocumentType,
    hash::ChannelId,
    identity::{
        card::{Card, CardSerial},
        member::MemberId,
        roster::Roster,
    },
    time::Timestamp,
};

use super::{Link, Links};
use crate::{
    home::{Broken, Channel, Identity},
    line::Line,
    logging::escaped,
    runtime::{
        channel::{AskError, PeerState},
        names::node_of,
        volumes,
    },
    store::CommitError,
    transport::NodeId,
};

/// What a channel's task says of itself.
struct Seen {
    roster: Roster,
    peers: Vec<(MemberId, PeerState, usize)>,
    log: Option<LogHead>,
    restored: Vec<String>,
    halted: Option<String>,
}

/// How the node is.
pub(crate) async fn status(
    identity: &Identity,
    channels: &[Channel],
    line: Option<&Line>,
    hindrance: Option<CommitError>,
    alarms: AlarmCount,
) -> Status {
    let hindrance = hindrance.map(|why| why.to_string());
    let mut all = Vec::new();
    for channel in channels {
        let mut status = ChannelStatus {
            name: channel.name.to_string(),
            channel: channel.id(),
            title: channel.charter.title.clone(),
            verdict: String::new(),
            level: Verdict::Down,
            peers: Vec::new(),
            log: None,
            newest_card: None,
            restored: Vec::new(),
            cannot_record: hindrance.clone(),
        };
        match line {
            None => {}
            Some(line) if identity.mediates => {
                status.peers = mediated(line, channel);
                let roster = line.rosters.as_ref().and_then(|rosters| rosters.of(channel.id()));
                status.newest_card = roster.and_then(|roster| newest_card(&roster, &identity.me));
            }
            Some(line) => {
                if let Ok(Some(seen)) = look(line, channel.id()).await {
                    status.peers = peers(line, channel, &seen);
                    status.log = seen.log;
                    status.newest_card = newest_card(&seen.roster, &identity.me);
                    status.restored = seen.restored;
                    let halted = || seen.halted.map(|why| format!("this node needs a new card: {why}"));
                    status.cannot_record = hindrance.clone().or_else(halted);
                }
            }
        }
        let judged = judged(identity, slice::from_ref(channel), line, slice::from_ref(&status));
        (status.level, status.verdict) = judged;
        all.push(status);
    }
    let (level, verdict) = judged(identity, channels, line, &all);
    Status {
        party: identity.me.clone(),
        verdict,
        level,
        channels: all,
        unusable: Vec::new(),
        alarms,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// What is said first of one channel, or of all.
fn judged(
    identity: &Identity,
    channels: &[Channel],
    line: Option<&Line>,
    all: &[ChannelStatus],
) -> (Verdict, String) {
    match line {
        _ if channels.is_empty() => (Verdict::Down, "no charter is installed here".to_owned()),
        None => (Verdict::Down, "no card of this node is installed, or its keys are not here".to_owned()),
        Some(_) => verdict(identity, channels, all),
    }
}

/// The same, with the channels that cannot be used: the worst that can be said of them.
pub(crate) fn with_broken(mut status: Status, broken: &[Broken]) -> Status {
    status.unusable = broken.iter().map(|broken| format!("{broken}; {}", broken.help())).collect();
    if !broken.is_empty() {
        status.level = Verdict::Down;
        let sentences = broken.iter().map(ToString::to_string).chain([status.verdict]);
        status.verdict = sentences.collect::<Vec<_>>().join("; ");
    }
    status
}

async fn look(line: &Line, channel: ChannelId) -> Result<Option<Seen>, AskError> {
    let Some(handle) = line.channel(channel) else { return Ok(None) };
    let seen = handle.query(|look| {
        let machine = look.machine;
        let tip = machine.transcript().log(machine.me()).and_then(|log| log.tip());
        Seen {
            roster: machine.roster().clone(),
            peers: look
                .peers
                .iter()
                .map(|(id, state)| (id.clone(), state.clone(), machine.owed_to(id)))
                .collect(),
            log: tip.map(|head| LogHead { seq: head.seq.0, hash: head.hash }),
            restored: volumes::restored(machine),
            halted: machine.halted().map(escaped),
        }
    });
    seen.await.map(Some)
}

fn peers(line: &Line, channel: &Channel, seen: &Seen) -> Vec<Peer> {
    let way = |member| Way::to(&line.links, &seen.roster, member);
    let mediators: Vec<Way<'_>> = channel.charter.mediators.iter().map(|member| way(&member.id)).collect();
    let parties = seen.peers.iter().map(|(party, state, owed)| {
        let node = seen.roster.current(party).map(|card| node_of(card));
        let down = || why_down(&mediators, &seen.roster, party, state);
        Peer {
            party: party.clone(),
            state: if state.up { LinkState::Up } else { LinkState::Down },
            cause: if state.up { None } else { Some(down()) },
            since: Some(state.since),
            last_heard: state.last_heard,
            paths: mediators.iter().map(|way| path(&line.links, way, node, state)).collect(),
            to_deliver: *owed as u64,
        }
    });
    parties.chain(mediators.iter().map(mediator)).collect()
}

/// The way to a mediator.
struct Way<'a> {
    name: &'a MemberId,
    node: Option<NodeId>,
    link: Option<Link>,
    /// Why there is no card, if there is none.
    absent: Option<String>,
}

impl<'a> Way<'a> {
    fn to(links: &Links, roster: &Roster, name: &'a MemberId) -> Self {
        let node = roster.current(name).map(|card| node_of(card));
        let link = node.and_then(|node| links.direct(node));
        let absent = node.is_none().then(|| format!("mediator {name}: {}", no_card(roster, name)));
        Self { name, node, link, absent }
    }

    /// Why it carries nothing. Nothing when it would.
    fn trouble(&self) -> Option<String> {
        match (&self.absent, &self.link) {
            (Some(why), _) => Some(why.clone()),
            (None, None) => Some(format!("mediator {} is not reached yet", self.name)),
            (None, Some(link)) if !link.up => Some(mediator_down(self.name, link)),
            (None, Some(_)) => None,
        }
    }
}

/// Why no line runs to a peer over a mediator: the nearest cause. Nothing when one could.
pub(crate) fn no_path(
    links: &Links,
    roster: &Roster,
    mediator: &MemberId,
    peer: &MemberId,
) -> Option<String> {
    let trouble = why_unreachable(links, roster, mediator);
    trouble.or_else(|| roster.current(peer).is_none().then(|| format!("{peer}: {}", no_card(roster, peer))))
}

/// Why a mediator carries nothing. Nothing when it would.
pub(crate) fn why_unreachable(links: &Links, roster: &Roster, mediator: &MemberId) -> Option<String> {
    Way::to(links, roster, mediator).trouble()
}

/// Why no session with a party stands, over any of these mediators.
pub(crate) fn why_line_down(
    links: &Links,
    roster: &Roster,
    mediators: &[&MemberId],
    party: &MemberId,
    state: &PeerState,
) -> String {
    let ways: Vec<Way<'_>> = mediators.iter().map(|mediator| Way::to(links, roster, mediator)).collect();
    why_down(&ways, roster, party, state)
}

/// The nearest cause of silence: nobody to carry it, then nobody at the other end.
fn why_down(mediators: &[Way<'_>], roster: &Roster, party: &MemberId, state: &PeerState) -> String {
    let unreachable: Vec<String> = mediators.iter().filter_map(Way::trouble).collect();
    if unreachable.len() == mediators.len() {
        return unreachable.join(", ");
    }
    if roster.current(party).is_none() {
        return no_card(roster, party);
    }
    state.cause.as_deref().map_or_else(|| "no session with it yet".to_owned(), escaped)
}

/// Why no card of a member speaks: who revoked it, when and why; or that two contradict each other.
fn no_card(roster: &Roster, member: &MemberId) -> String {
    let documents = roster.documents();
    let cards = documents.iter().filter(|document| document.document_type() == Some(DocumentType::Card));
    let shown = cards.filter_map(|document| Some((Card::parse(document.text()).ok()?, document)));
    let newest = shown.filter(|(card, _)| card.member == *member).max_by_key(|(card, _)| card.serial);
    // Without a card, a revocation of any says that one is missing which must not come back.
    let serial = newest.as_ref().map_or(CardSerial(0), |(card, _)| card.serial);
    if let Some(revocation) = roster.revocation(member, serial) {
        let which =
            newest.map_or_else(|| "its card".to_owned(), |(card, _)| format!("its card {}", card.serial));
        let (when, why) = (revocation.issued_at, escaped(&revocation.reason));
        return format!("{which} was revoked by the roots of {member} at {when}: {why}; it needs a new card");
    }
    match newest.map(|(_, document)| roster.clone().present(document)) {
        Some(Err(why)) => escaped(&why.to_string()),
        Some(Ok(_)) | None => "no current card of it is installed".to_owned(),
    }
}

/// The highest serial of a member's card that is known, whether it counts or not.
fn newest_card(roster: &Roster, member: &MemberId) -> Option<u64> {
    let cards = roster.documents().into_iter().filter_map(|document| Card::parse(document.text()).ok());
    cards.filter(|card| card.member == *member).map(|card| card.serial.0).max()
}

fn mediator_down(name: &MemberId, link: &Link) -> String {
    let why = link.cause.as_deref().map_or_else(String::new, |why| format!(" ({})", escaped(why)));
    format!("mediator {name} unreachable since {}{why}", clock_time(link.since))
}

/// The time of day of a moment: `09:40:00Z`.
fn clock_time(at: Timestamp) -> String {
    let text = at.to_string();
    match (text.get(11..19), text.ends_with('Z')) {
        (Some(time), true) => format!("{time}Z"),
        _ => text,
    }
}

fn path(links: &Links, way: &Way<'_>, peer: Option<NodeId>, state: &PeerState) -> Path {
    let circuit = way.node.zip(peer).and_then(|(via, peer)| links.circuit(peer, via));
    let carries = state.up && state.via.is_some() && state.via == way.node;
    let failed = way.node.zip(peer).is_some_and(|(via, peer)| links.has_failed(peer, via));
    let state = match (&way.link, &circuit) {
        _ if carries => LinkState::Up,
        (Some(link), Some(circuit)) if link.up && circuit.up && !failed => LinkState::Up,
        (Some(link), _) if link.up => LinkState::Connecting,
        _ => LinkState::Down,
    };
    let rtt = circuit.and_then(|circuit| circuit.rtt);
    Path { via: way.name.to_string(), state, carries, rtt_ms: rtt.map(|rtt| rtt.as_secs_f64() * 1000.0) }
}

fn mediator(way: &Way<'_>) -> Peer {
    let Way { name, link, .. } = way;
    let state = match link {
        Some(link) if link.up && link.reserved => LinkState::Up,
        Some(link) if link.up => LinkState::Connecting,
        Some(_) => LinkState::Down,
        None if way.absent.is_some() => LinkState::Down,
        None => LinkState::Connecting,
    };
    let cause = match link {
        Some(link) if link.up && !link.reserved => Some(
            link.cause.as_deref().map_or_else(|| "peers cannot reach us over it yet".to_owned(), escaped),
        ),
        _ => way.trouble(),
    };
    Peer {
        party: (*name).clone(),
        state,
        cause,
        since: link.as_ref().map(|link| link.since),
        last_heard: link.as_ref().and_then(|link| link.last_heard),
        paths: link.iter().map(direct_path).collect(),
        to_deliver: 0,
    }
}

fn direct_path(link: &Link) -> Path {
    Path {
        via: link.address.clone().unwrap_or_default(),
        state: if link.up { LinkState::Up } else { LinkState::Down },
        carries: link.up,
        rtt_ms: link.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
    }
}

/// A mediator's parties: who is connected.
fn mediated(line: &Line, channel: &Channel) -> Vec<Peer> {
    let roster = line.rosters.as_ref().and_then(|rosters| rosters.of(channel.id()));
    let parties = channel.charter.parties.iter().map(|party| {
        let card = roster.as_ref().and_then(|roster| roster.current(&party.id));
        let way = card.and_then(|card| line.links.direct(node_of(card)));
        let up = way.as_ref().is_some_and(|way| way.up);
        let cause = match (&card, &way) {
            (None, _) => Some(roster.as_ref().map_or_else(String::new, |roster| no_card(roster, &party.id))),
            (_, None) => Some("not connected since this node started".to_owned()),
            (_, Some(way)) if !way.up => {
                Some(way.cause.as_deref().map_or_else(|| "not connected".to_owned(), escaped))
            }
            _ => None,
        };
        Peer {
            party: party.id.clone(),
            state: if up { LinkState::Up } else { LinkState::Down },
            cause,
            since: way.as_ref().map(|way| way.since),
            last_heard: way.as_ref().and_then(|way| way.last_heard),
            paths: way.iter().map(direct_path).collect(),
            to_deliver: 0,
        }
    });
    parties.collect()
}

fn verdict(identity: &Identity, channels: &[Channel], all: &[ChannelStatus]) -> (Verdict, String) {
    let is_party = |channel: &Channel, peer: &Peer| channel.charter.party(&peer.party).is_some();
    let peers: Vec<(&Peer, bool)> = channels
        .iter()
        .zip(all)
        .flat_map(|(channel, status)| status.peers.iter().map(|peer| (peer, is_party(channel, peer))))
        .collect();
    let cannot: Vec<String> = all
        .iter()
        .filter_map(|status| {
            let why = status.cannot_record.as_ref()?;
            Some(format!("nothing can be recorded in {}: {why}", status.name))
        })
        .collect();
    let parties: Vec<&Peer> = peers.iter().filter(|(_, party)| *party).map(|(peer, _)| *peer).collect();
    let up = parties.iter().filter(|peer| peer.state == LinkState::Up).count();
    let mediators_up = peers.iter().filter(|(_, party)| !party).all(|(peer, _)| peer.state == LinkState::Up);
    let level = if parties.is_empty() || up == 0 || !cannot.is_empty() {
        Verdict::Down
    } else if up < parties.len() || !mediators_up {
        Verdict::Degraded
    } else {
        Verdict::Up
    };
    if identity.mediates {
        let connected = format!("{up} of {} capitals connected", parties.len());
        return (level, cannot.into_iter().chain([connected]).collect::<Vec<_>>().join("; "));
    }
    let mut sentences = cannot;
    for (channel, status) in channels.iter().zip(all) {
        let name = (channels.len() > 1).then_some(&*channel.name);
        let parties = status.peers.iter().filter(|peer| is_party(channel, peer));
        sentences.extend(parties.map(|peer| sentence(peer, name)));
    }
    if level == Verdict::Degraded {
        let troubled = peers.iter().filter(|(peer, party)| !party && peer.state != LinkState::Up);
        for (peer, why) in troubled.filter_map(|(peer, _)| Some((peer, peer.cause.as_ref()?))) {
            let said = format!("{}: {why}", peer.party);
            // One mediator of several channels is one way, and troubled once.
            if !sentences.contains(&said) {
                sentences.push(said);
            }
        }
    }
    (level, sentences.join("; "))
}

/// How the line to a peer is; with the channel's name where there are several.
fn sentence(peer: &Peer, channel: Option<&str>) -> String {
    let whom = channel.map_or_else(|| peer.party.to_string(), |name| format!("{} in {name}", peer.party));
    if peer.state == LinkState::Up {
        let via = peer.paths.iter().find(|path| path.carries);
        let via = via.map_or_else(String::new, |path| format!(" via {}", path.via));
        return format!("line open to {whom}{via}");
    }
    let cause = peer.cause.as_deref().unwrap_or("cause unknown");
    format!("line to {whom} down: {cause}")
}

#[cfg(test)]
mod tests {
    use demarche_testkit::fixtures::Scene;

    use super::*;

    fn peer(party: &MemberId, mediator: &MemberId, state: LinkState) -> Peer {
        Peer {
            party: party.clone(),
            state,
            cause: (state != LinkState::Up).then(|| "it did not answer in time".to_owned()),
            since: None,
            last_heard: None,
            paths: vec![Path {
                via: mediator.to_string(),
                state,
                carries: state == LinkState::Up,
                rtt_ms: None,
            }],
            to_deliver: 0,
        }
    }

    /// Two channels with one peer are two lines, and whoever reads of one must know which.
    #[test]
    fn of_several_channels_each_sentence_names_its_own() {
        let scene = Scene::new(2);
        let (me, tehran, muscat) = (&scene.parties[0], &scene.parties[1], &scene.mediator);
        let identity = Identity { me: me.clone(), mediates: false };
        let of = |states: &[(&str, LinkState)]| {
            let channel = |name: &str| Channel { name: name.into(), charter: scene.charter.clone() };
            let channels: Vec<Channel> = states.iter().map(|(name, _)| channel(name)).collect();
            let all: Vec<ChannelStatus> = states
                .iter()
                .map(|(name, state)| ChannelStatus {
                    name: (*name).to_owned(),
                    channel: scene.channel(),
                    title: scene.charter.title.clone(),
                    verdict: String::new(),
                    level: Verdict::Down,
                    peers: vec![peer(tehran, muscat, *state), peer(muscat, muscat, *state)],
                    log: None,
                    newest_card: None,
                    restored: Vec::new(),
                    cannot_record: None,
                })
                .collect();
            verdict(&identity, &channels, &all).1
        };
        assert_eq!(of(&[("memo26", LinkState::Up)]), "line open to tehran via muscat");
        let down =
            of(&[("memo26", LinkState::Down), ("other26", LinkState::Down), ("third26", LinkState::Up)]);
        assert_eq!(down.matches("; muscat: it did not answer in time").count(), 1, "one mediator: {down}");
        assert_eq!(
            of(&[("memo26", LinkState::Up), ("other26", LinkState::Down)]),
            "line open to tehran in memo26 via muscat; line to tehran in other26 down: it did not answer in time; \
             muscat: it did not answer in time"
        );
    }
}
