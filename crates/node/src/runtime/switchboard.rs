//! The switchboard: takes what the transport brings to whom it concerns, keeps the transport's directory or
//! admission in step with the rosters, and carries rosters to mediators and peers.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    sync::Arc,
    time::Duration,
};

use demarche_protocol::{
    hash::ChannelId,
    identity::{member::MemberId, roster::Roster},
    limits::HANDSHAKE_TIME,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    channel::Handle,
    framed::Framed,
    handshake,
    roster_stream::{self, Rosters},
};
use crate::{
    defaults::{ROSTER_AGAIN, ROSTER_EXCHANGES, ROSTER_RETRY, UNNAMED_STREAMS},
    link::{Links, refusal},
    logging::escaped,
    transport::{
        Admission, ChannelName, Directory, Events, Incoming, MediatorPath, NodeId, OpenError, RosterTarget,
        StreamKind, Transport, TransportEvent,
    },
};

/// Refusals logged in a second: enough to see who and why, too few to fill a disk.
const REFUSALS_LOGGED: u32 = 10;

/// What the switchboard serves.
pub(crate) struct Switchboard {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) events: Events,
    pub(crate) links: Arc<Links>,
    pub(crate) rosters: Arc<dyn Rosters>,
    /// The channels at a capital; none at a mediator.
    pub(crate) channels: BTreeMap<ChannelId, Handle>,
    /// Every channel's roster as it is now.
    pub(crate) current: Current,
    pub(crate) roster_changed: Arc<Notify>,
    /// Told when directory or admission have followed.
    pub(crate) followed: Arc<Notify>,
    /// Whose node this is.
    pub(crate) me: MemberId,
    /// A mediator admits; a capital keeps a directory.
    pub(crate) mediates: bool,
}

/// Gives every channel's roster.
pub(crate) type Current = Arc<dyn Fn() -> Vec<(ChannelId, Roster)> + Send + Sync>;

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    /// Both sides know what the other knew.
    Done,
    /// The peer is not at the mediator. It will ask the mediator itself when it comes.
    Absent,
    /// It failed otherwise.
    Failed,
}

/// An exchange that has ended: with whom, and how.
type Exchanged = (RosterTarget, Exchange);

struct Running {
    board: Switchboard,
    /// Known nodes and whose they are: links of others are forgotten.
    known: BTreeMap<NodeId, MemberId>,
    directory: Directory,
    unnamed: Arc<Semaphore>,
    exchanges: Arc<Semaphore>,
    /// One for each exchange under way, hence bounded by [`ROSTER_EXCHANGES`] and the mediators and peers.
    ended: mpsc::UnboundedSender<Exchanged>,
    /// Mediators and peers to whom an exchange is under way.
    under_way: BTreeSet<NodeId>,
    /// Peers who have had our roster since this line was set up.
    told: BTreeSet<NodeId>,
    refusals: Throttle,
}

/// Keeps strangers from filling the log: so many lines a second, then a count.
struct Throttle {
    since: Instant,
    lines: u32,
}

impl Throttle {
    fn new() -> Self {
        Self { since: Instant::now(), lines: 0 }
    }

    /// Whether one more line may be written now.
    fn admits(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            if self.lines > REFUSALS_LOGGED {
                tracing::warn!(count = self.lines - REFUSALS_LOGGED, "more were turned away");
            }
            *self = Self::new();
        }
        self.lines = self.lines.saturating_add(1);
        self.lines <= REFUSALS_LOGGED
    }
}

impl Switchboard {
    /// Serves until the token is cancelled or the transport ends.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (ended, mut exchanges_ended) = mpsc::unbounded_channel();
        let mut running = Running {
            board: self,
            known: BTreeMap::new(),
            directory: Directory::default(),
            unnamed: Arc::new(Semaphore::new(UNNAMED_STREAMS)),
            exchanges: Arc::new(Semaphore::new(ROSTER_EXCHANGES)),
            ended,
            under_way: BTreeSet::new(),
            told: BTreeSet::new(),
            refusals: Throttle::new(),
        };
        running.follow_rosters();
        let changed = Arc::clone(&running.board.roster_changed);
        let mut again = interval(ROSTER_AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = running.board.events.next() => match event {
                    Some(event) => running.event(event).await,
                    None => return,
                },
                () = changed.notified() => {
                    running.follow_rosters();
                    running.told.clear();
                    running.bring_to_all();
                }
                Some((target, outcome)) = exchanges_ended.recv() => running.exchanged(&target, outcome).await,
                _ = again.tick() => running.bring_to_all(),
            }
        }
    }
}

impl Running {
    /// Puts directory or admission in step with the rosters.
    fn follow_rosters(&mut self) {
        let rosters = (self.board.current)();
        let cards = rosters.iter().flat_map(|(_, roster)| roster.cards());
        self.known = cards.map(|card| (node_of(card), card.member.clone())).collect();
        if self.board.mediates {
            self.board.transport.set_admission(admission(&rosters));
        } else {
            let directory = directory(&rosters, &self.board.me);
            if directory != self.directory {
                self.directory = directory.clone();
                self.board.transport.set_directory(directory);
            }
        }
        let known = &self.known;
        self.board.links.keep_only(|node| known.contains_key(&node));
        self.board.followed.notify_one();
    }

    async fn event(&mut self, event: TransportEvent) {
        let usable = self.board.links.enter(&event);
        if !matches!(event, TransportEvent::Refused { .. }) || self.refusals.admits() {
            log(&event, &self.known);
        }
        match event {
            TransportEvent::Incoming(incoming) => self.incoming(incoming),
            TransportEvent::MediatorUp { node, .. } => self.bring(RosterTarget::Mediator(node)),
            TransportEvent::Reserved { .. } => self.bring_to_peers(),
            TransportEvent::WrongNode { address, .. } => self.bring(RosterTarget::Address(address)),
            _ => {}
        }
        if usable {
            for channel in self.board.channels.values() {
                channel.links_changed().await;
            }
        }
    }

    fn incoming(&mut self, incoming: Incoming) {
        match incoming.kind {
            StreamKind::Live => {
                let Some(via) = incoming.via else { return };
                if let Ok(place) = Arc::clone(&self.unnamed).try_acquire_owned() {
                    tokio::spawn(take_live(incoming, via, self.board.channels.clone(), place));
                } else {
                    tracing::warn!(node = ?incoming.peer, "a stream was refused: too many at once");
                }
            }
            StreamKind::Roster => {
                if let Ok(place) = Arc::clone(&self.exchanges).try_acquire_owned() {
                    tokio::spawn(answer_roster(incoming, Arc::clone(&self.board.rosters), place));
                } else {
                    tracing::warn!(node = ?incoming.peer, "a roster stream was refused: too many at once");
                }
            }
        }
    }

    /// Brings the roster to every mediator that is connected, and to peers who have not had it.
    fn bring_to_all(&mut self) {
        let mediators: Vec<NodeId> = self.directory.mediators.iter().map(|path| path.node).collect();
        for node in mediators {
            if self.board.links.direct(node).is_some_and(|link| link.up) {
                self.bring(RosterTarget::Mediator(node));
            }
        }
        self.bring_to_peers();
    }

    /// A peer that does not know our new card yet takes no session from us: so it gets the card first.
    fn bring_to_peers(&mut self) {
        let mediators: Vec<NodeId> = self.directory.mediators.iter().map(|path| path.node).collect();
        let peers: Vec<NodeId> = self.directory.peers.difference(&self.told).copied().collect();
        for peer in peers {
            if let Some(via) = self.board.links.best(peer, &mediators) {
                self.bring(RosterTarget::Peer { peer, via });
            }
        }
    }

    fn bring(&mut self, target: RosterTarget) {
        let to = match &target {
            RosterTarget::Mediator(node) => Some(*node),
            RosterTarget::Peer { peer, .. } => Some(*peer),
            RosterTarget::Address(_) => None,
        };
        if to.is_some_and(|node| !self.under_way.insert(node)) {
            return;
        }
        let (transport, rosters) = (Arc::clone(&self.board.transport), Arc::clone(&self.board.rosters));
        let ended = self.ended.clone();
        tokio::spawn(async move {
            let outcome = exchange(transport.as_ref(), &rosters, target.clone()).await;
            if outcome != Exchange::Done {
                // A short pause, so that a mediator that refuses is not asked in a loop.
                sleep(ROSTER_RETRY).await;
            }
            // The switchboard may have ended.
            let _ = ended.send((target, outcome));
        });
    }

    async fn exchanged(&mut self, target: &RosterTarget, outcome: Exchange) {
        match target {
            RosterTarget::Mediator(node) => {
                self.under_way.remove(node);
                if outcome == Exchange::Done {
                    // The mediator knows our card now: peers can be reached over it.
                    self.bring_to_peers();
                } else if self.board.links.direct(*node).is_some_and(|link| link.up) {
                    self.bring(target.clone());
                }
            }
            RosterTarget::Peer { peer, .. } => {
                self.under_way.remove(peer);
                match outcome {
                    Exchange::Done => {
                        self.told.insert(*peer);
                        for channel in self.board.channels.values() {
                            channel.links_changed().await;
                        }
                    }
                    Exchange::Failed => self.bring_to_peers(),
                    Exchange::Absent => {}
                }
            }
            RosterTarget::Address(_) => {}
        }
    }
}

async fn exchange(transport: &dyn Transport, rosters: &Arc<dyn Rosters>, target: RosterTarget) -> Exchange {
    let begun = Instant::now();
    let opened = match transport.open_roster(target.clone()).await {
        Ok(opened) => opened,
        Err(why) => {
            tracing::debug!(?target, %why, "the roster was not brought");
            return if why == OpenError::PeerAbsent { Exchange::Absent } else { Exchange::Failed };
        }
    };
    match roster_stream::ask(opened.stream, &rosters.for_node(opened.node)).await {
        Ok(theirs) => {
            let count = theirs.len();
            rosters.take_in(theirs).await;
            let took = begun.elapsed();
            tracing::debug!(node = ?opened.node, documents = count, ?took, "rosters were exchanged");
            Exchange::Done
        }
        Err(why) => {
            tracing::info!(node = ?opened.node, %why, "the exchange of rosters failed");
            Exchange::Failed
        }
    }
}

/// Reads which channel a live stream is for and hands it over.
async fn take_live(
    incoming: Incoming,
    via: NodeId,
    channels: BTreeMap<ChannelId, Handle>,
    place: OwnedSemaphorePermit,
) {
    let node = incoming.peer;
    let mut framed = Framed::new(incoming.stream);
    let preamble = timeout(HANDSHAKE_TIME, poll_fn(|cx| framed.poll_preamble(cx))).await;
    match preamble {
        Ok(Ok(preamble)) => {
            if let Some(channel) = channels.get(&preamble.channel) {
                channel.incoming(handshake::Incoming { framed, node, via }).await;
            } else {
                let channel = preamble.channel.short();
                tracing::warn!(?node, channel, "a stream for a channel that is not here");
            }
        }
        Ok(Err(why)) => tracing::info!(?node, %why, "a stream was refused"),
        Err(_) => tracing::info!(?node, "a stream said nothing"),
    }
    drop(place);
}

async fn answer_roster(incoming: Incoming, rosters: Arc<dyn Rosters>, place: OwnedSemaphorePermit) {
    let node = incoming.peer;
    if let Err(why) = roster_stream::answer(incoming.stream, node, &rosters).await {
        tracing::info!(?node, known = incoming.known, %why, "an exchange of rosters failed");
    }
    drop(place);
}

fn node_of(card: &demarche_protocol::identity::card::Card) -> NodeId {
    NodeId::from_bytes(*card.node.as_bytes())
}

/// Whom a capital deals with.
fn directory(rosters: &[(ChannelId, Roster)], me: &MemberId) -> Directory {
    let mut mediators: BTreeMap<NodeId, MediatorPath> = BTreeMap::new();
    let mut peers = BTreeSet::new();
    for card in rosters.iter().flat_map(|(_, roster)| roster.cards()).filter(|card| card.member != *me) {
        let node = node_of(card);
        if card.session_key().is_some() {
            peers.insert(node);
            continue;
        }
        // Both have checked the same text; what one takes, the other takes.
        let addresses =
            card.addresses().iter().filter_map(|address| address.to_string().parse().ok()).collect();
        mediators.insert(node, MediatorPath { name: card.member.to_string(), node, addresses });
    }
    Directory { mediators: mediators.into_values().collect(), peers }
}

/// Whom a mediator serves.
fn admission(rosters: &[(ChannelId, Roster)]) -> Admission {
    let mut admission = Admission::new();
    for (channel, roster) in rosters {
        let nodes =
            roster.cards().filter(|card| card.session_key().is_some()).map(|card| node_of(card)).collect();
        admission.set_channel(ChannelName(*channel.as_bytes()), nodes);
    }
    admission
}

/// Writes an event in words: a node as whose it is, or as its number.
fn log(event: &TransportEvent, known: &BTreeMap<NodeId, MemberId>) {
    let who = |node: &NodeId| known.get(node).map_or_else(|| format!("{node:?}"), MemberId::to_string);
    match event {
        TransportEvent::MediatorUp { node, address, .. } => {
            tracing::info!(mediator = who(node), %address, "connected to the mediator");
        }
        TransportEvent::MediatorDown { node, reason } => {
            tracing::warn!(mediator = who(node), reason = escaped(reason), "the mediator is lost");
        }
        TransportEvent::MediatorUnreachable { node, address, reason } => {
            tracing::warn!(mediator = who(node), %address, reason = escaped(reason), "the mediator is unreachable");
        }
        TransportEvent::WrongNode { address, found, .. } => {
            tracing::warn!(%address, ?found, "another node than the card says answers there");
        }
        TransportEvent::ReservationLost { node, reason } => {
            tracing::warn!(mediator = who(node), reason = escaped(reason), "the reservation is lost");
        }
        TransportEvent::Refused { who: Some(node), why } => {
            tracing::warn!(node = who(node), why = refusal(why), "turned away");
        }
        TransportEvent::Refused { who: None, why } => tracing::debug!(why = refusal(why), "turned away"),
        TransportEvent::PeerConnected { node, from, admitted } => {
            tracing::info!(node = who(node), from = escaped(from), admitted, "connected");
        }
        TransportEvent::PeerDisconnected { node, reason } => {
            tracing::info!(node = who(node), reason = escaped(reason), "disconnected");
        }
        TransportEvent::CircuitOpened { source, destination } => {
            tracing::info!(from = who(source), to = who(destination), "a circuit stands");
        }
        TransportEvent::CircuitClosed { source, destination } => {
            tracing::info!(from = who(source), to = who(destination), "a circuit ended");
        }
        TransportEvent::SeenTwice { node, places } => {
            tracing::warn!(node = who(node), places = ?places, "one key is in use at two places: a copy, or stolen");
        }
        other => tracing::trace!(?other, "transport"),
    }
}
