//! The switchboard: takes what the transport brings to whom it concerns, keeps the transport's directory or
//! admission in step with the rosters, and carries rosters to mediators and peers.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    sync::Arc,
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
    courier::Courier,
    custodian::Custodian,
    framed::Framed,
    handshake,
    names::{Names, node_of},
    places::{Place, Places},
    roster_stream::{self, Rosters},
};
use crate::{
    defaults::{ROSTER_AGAIN, ROSTER_EXCHANGES, ROSTER_RETRY, UNNAMED_STREAMS, UNNAMED_STREAMS_OF_ONE},
    link::{Links, refusal},
    logging::escaped,
    throttle::Throttle,
    transport::{
        Admission, ChannelName, Directory, Events, Incoming, MediatorPath, NodeId, OpenError, RosterTarget,
        StreamKind, Transport, TransportEvent,
    },
};

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
    /// Keeps custody, at a mediator, which admits; a capital keeps a directory instead.
    pub(crate) custodian: Option<Custodian>,
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
    /// Whose node is whose: links of those whose card does not speak are forgotten.
    names: Names,
    directory: Directory,
    unnamed: Arc<Places>,
    exchanges: Arc<Semaphore>,
    /// One for each exchange under way, hence bounded by [`ROSTER_EXCHANGES`] and the mediators and peers.
    ended: mpsc::UnboundedSender<Exchanged>,
    /// Mediators to whom an exchange is under way, and peers with the mediator over which it is.
    under_way: BTreeSet<(NodeId, Option<NodeId>)>,
    /// Peers who have had our roster since this line was set up, and over which mediator: that keeps a circuit to each over each.
    told: BTreeSet<(NodeId, NodeId)>,
    throttle: Arc<Throttle>,
    /// Streams to the custody of mediators, at a capital.
    courier: Courier,
    /// Custody streams that were taken so far, at a mediator.
    custody_streams: u64,
}

impl Switchboard {
    /// Serves until the token is cancelled or the transport ends.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (ended, mut exchanges_ended) = mpsc::unbounded_channel();
        let throttle = Arc::new(Throttle::default());
        let courier = Courier::new(Arc::clone(&self.transport), self.channels.clone(), Arc::clone(&throttle));
        let mut running = Running {
            board: self,
            names: Names::default(),
            directory: Directory::default(),
            unnamed: Arc::new(Places::new(UNNAMED_STREAMS, UNNAMED_STREAMS_OF_ONE)),
            exchanges: Arc::new(Semaphore::new(ROSTER_EXCHANGES)),
            ended,
            under_way: BTreeSet::new(),
            told: BTreeSet::new(),
            throttle,
            courier,
            custody_streams: 0,
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
                _ = again.tick() => {
                    running.throttle.sweep();
                    running.bring_to_all();
                }
            }
        }
    }
}

impl Running {
    /// Puts directory or admission in step with the rosters.
    fn follow_rosters(&mut self) {
        let rosters = (self.board.current)();
        self.names.follow(&rosters);
        if self.board.custodian.is_some() {
            self.board.transport.set_admission(admission(&rosters));
        } else {
            let directory = directory(&rosters, &self.board.me);
            if directory != self.directory {
                self.directory = directory.clone();
                self.courier.keep_only(&self.mediators());
                self.board.transport.set_directory(directory);
            }
        }
        let names = &self.names;
        self.board.links.keep_only(|node| names.knows(&node));
        self.board.followed.notify_one();
    }

    async fn event(&mut self, event: TransportEvent) {
        let usable = self.board.links.enter(&event);
        log(&event, &self.names, &self.throttle);
        match event {
            TransportEvent::Incoming(incoming) => self.incoming(incoming),
            TransportEvent::MediatorUp { node, .. } => self.bring(RosterTarget::Mediator(node)),
            TransportEvent::MediatorDown { node, .. } => self.told.retain(|(_, via)| *via != node),
            TransportEvent::Reserved { .. } => self.bring_to_peers(),
            TransportEvent::CircuitDown { peer, via, .. } => self.circuit_lost(peer, via),
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
                let who = self.names.of(&incoming.peer);
                if let Some(place) = Places::take(&self.unnamed, incoming.peer) {
                    let throttle = Arc::clone(&self.throttle);
                    let channels = self.board.channels.clone();
                    tokio::spawn(take_live(incoming, via, channels, place, Teller { who, throttle }));
                } else if self.throttle.admits(&who, "too many streams") {
                    tracing::warn!(node = who, "a stream was refused: too many at once");
                }
            }
            StreamKind::Custody => self.take_custody(incoming),
            StreamKind::Roster => {
                let who = self.names.of(&incoming.peer);
                if let Ok(place) = Arc::clone(&self.exchanges).try_acquire_owned() {
                    let teller = Teller { who, throttle: Arc::clone(&self.throttle) };
                    tokio::spawn(answer_roster(incoming, Arc::clone(&self.board.rosters), place, teller));
                } else if self.throttle.admits(&who, "too many roster streams") {
                    tracing::warn!(node = who, "a roster stream was refused: too many at once");
                }
            }
        }
    }

    /// A capital's stream to our custody. Its transport admits known nodes alone, and few streams of each.
    fn take_custody(&mut self, incoming: Incoming) {
        let Some(custodian) = self.board.custodian.clone() else { return };
        self.custody_streams += 1;
        let number = self.custody_streams;
        let teller = Teller { who: self.names.of(&incoming.peer), throttle: Arc::clone(&self.throttle) };
        tokio::spawn(async move {
            let ended = custodian.serve(incoming.peer, incoming.stream, number).await;
            if let Err(why) = ended
                && teller.throttle.admits(&teller.who, &why.to_string())
            {
                tracing::info!(node = teller.who, %why, "a custody stream ended");
            }
        });
    }

    fn mediators(&self) -> Vec<NodeId> {
        self.directory.mediators.iter().map(|path| path.node).collect()
    }

    /// Brings the roster to every mediator that is connected, and to peers who have not had it.
    fn bring_to_all(&mut self) {
        for node in self.mediators() {
            if self.board.links.direct(node).is_some_and(|link| link.up) {
                self.bring(RosterTarget::Mediator(node));
            }
        }
        self.bring_to_peers();
    }

    /// A peer that does not know our new card yet takes no session from us: so it gets the card first. It gets it over every mediator that is
    /// connected, and the circuit that was made for it stays: the way is there when another fails.
    fn bring_to_peers(&mut self) {
        for via in self.mediators() {
            let up = self.board.links.direct(via).is_some_and(|link| link.up);
            let untold = |peer: &NodeId| up && !self.told.contains(&(*peer, via));
            let peers: Vec<NodeId> = self.directory.peers.iter().copied().filter(untold).collect();
            for peer in peers {
                self.bring(RosterTarget::Peer { peer, via });
            }
        }
    }

    /// A circuit ended, and its mediator may be there: then it is made anew.
    fn circuit_lost(&mut self, peer: NodeId, via: NodeId) {
        self.told.remove(&(peer, via));
        self.bring_again(RosterTarget::Peer { peer, via }, via);
    }

    /// Brings it once more, if the mediator is connected.
    fn bring_again(&mut self, target: RosterTarget, mediator: NodeId) {
        if self.board.links.direct(mediator).is_some_and(|link| link.up) {
            self.bring(target);
        }
    }

    fn bring(&mut self, target: RosterTarget) {
        let to = match &target {
            RosterTarget::Mediator(node) => Some((*node, None)),
            RosterTarget::Peer { peer, via } => Some((*peer, Some(*via))),
            RosterTarget::Address(_) => None,
        };
        if to.is_some_and(|to| !self.under_way.insert(to)) {
            return;
        }
        let (transport, rosters) = (Arc::clone(&self.board.transport), Arc::clone(&self.board.rosters));
        let ended = self.ended.clone();
        let (throttle, links) = (Arc::clone(&self.throttle), Arc::clone(&self.board.links));
        tokio::spawn(async move {
            let outcome = exchange(transport.as_ref(), &rosters, target.clone(), &throttle).await;
            if outcome != Exchange::Done {
                // Now, not after the pause: by then the peer may have come.
                if let RosterTarget::Peer { peer, via } = target {
                    links.failed(peer, via);
                }
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
                self.under_way.remove(&(*node, None));
                if outcome == Exchange::Done {
                    // The mediator knows our card now, and we know those of whoever has deposited something with it.
                    self.courier.connected(*node);
                    self.bring_to_peers();
                } else {
                    self.bring_again(target.clone(), *node);
                }
            }
            RosterTarget::Peer { peer, via } => {
                self.under_way.remove(&(*peer, Some(*via)));
                match outcome {
                    Exchange::Done => {
                        self.told.insert((*peer, *via));
                        for channel in self.board.channels.values() {
                            channel.links_changed().await;
                        }
                    }
                    Exchange::Failed => self.bring_again(target.clone(), *via),
                    // When it comes to this mediator it tells us.
                    Exchange::Absent => {}
                }
            }
            RosterTarget::Address(_) => {}
        }
    }
}

async fn exchange(
    transport: &dyn Transport,
    rosters: &Arc<dyn Rosters>,
    target: RosterTarget,
    throttle: &Throttle,
) -> Exchange {
    let begun = Instant::now();
    let opened = match transport.open_roster(target.clone()).await {
        Ok(opened) => opened,
        Err(why) => {
            tracing::debug!(?target, %why, "the roster was not brought");
            return if why == OpenError::PeerAbsent { Exchange::Absent } else { Exchange::Failed };
        }
    };
    match roster_stream::ask(opened.stream, &rosters.for_node(opened.node, &[])).await {
        Ok(theirs) => {
            let count = theirs.len();
            rosters.take_in(theirs).await;
            let took = begun.elapsed();
            tracing::debug!(node = ?opened.node, documents = count, ?took, "rosters were exchanged");
            Exchange::Done
        }
        Err(why) => {
            if throttle.admits(&format!("{:?}", opened.node), &why.to_string()) {
                tracing::info!(node = ?opened.node, %why, "the exchange of rosters failed");
            }
            Exchange::Failed
        }
    }
}

/// Writes to the log about one node.
struct Teller {
    who: String,
    throttle: Arc<Throttle>,
}

impl Teller {
    fn refused(&self, why: &str) {
        if self.throttle.admits(&self.who, why) {
            tracing::warn!(node = self.who, why, "a stream was refused");
        }
    }
}

/// Reads which channel a live stream is for and hands it over.
async fn take_live(
    incoming: Incoming,
    via: NodeId,
    channels: BTreeMap<ChannelId, Handle>,
    place: Place,
    teller: Teller,
) {
    let node = incoming.peer;
    let mut framed = Framed::new(incoming.stream);
    let preamble = timeout(HANDSHAKE_TIME, poll_fn(|cx| framed.poll_preamble(cx))).await;
    match preamble {
        Ok(Ok(preamble)) => {
            if let Some(channel) = channels.get(&preamble.channel) {
                channel.incoming(handshake::Incoming { framed, node, via }).await;
            } else {
                teller.refused("it is for a channel that is not here");
            }
        }
        Ok(Err(why)) => teller.refused(&why.to_string()),
        Err(_) => teller.refused("it said nothing"),
    }
    drop(place);
}

async fn answer_roster(
    incoming: Incoming,
    rosters: Arc<dyn Rosters>,
    place: OwnedSemaphorePermit,
    teller: Teller,
) {
    let (node, known) = (incoming.peer, incoming.known);
    if let Err(why) = roster_stream::answer(incoming.stream, node, &rosters).await
        && teller.throttle.admits(&teller.who, &why.to_string())
    {
        tracing::info!(node = teller.who, known, %why, "an exchange of rosters failed");
    }
    drop(place);
}

/// Whom a capital deals with.
fn directory(rosters: &[(ChannelId, Roster)], me: &MemberId) -> Directory {
    let mut mediators: BTreeMap<NodeId, MediatorPath> = BTreeMap::new();
    let mut peers = BTreeSet::new();
    for card in rosters.iter().flat_map(|(_, roster)| roster.cards()).filter(|card| card.member != *me) {
        let node = node_of(card);
        if !card.is_mediator() {
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
        let nodes = roster.cards().filter(|card| !card.is_mediator()).map(|card| node_of(card)).collect();
        admission.set_channel(ChannelName(*channel.as_bytes()), nodes);
    }
    admission
}

/// Writes an event in words. What a stranger makes happen as often as it likes is not written as often.
fn log(event: &TransportEvent, names: &Names, throttle: &Throttle) {
    let who = |node: &NodeId| names.of(node);
    let admitted = match event {
        TransportEvent::Refused { who: Some(node), why } => throttle.admits(&who(node), &refusal(why)),
        TransportEvent::PeerConnected { node, .. } if !names.knows(node) => {
            throttle.admits(&who(node), "connected")
        }
        TransportEvent::PeerDisconnected { node, .. } if !names.knows(node) => {
            throttle.admits(&who(node), "disconnected")
        }
        _ => true,
    };
    if !admitted {
        return;
    }
    match event {
        TransportEvent::MediatorUp { node, address, carrier } => {
            tracing::info!(mediator = who(node), %address, ?carrier, "connected to the mediator");
        }
        TransportEvent::MediatorDown { node, reason } => {
            tracing::warn!(mediator = who(node), reason = escaped(reason), "the mediator is lost");
        }
        TransportEvent::MediatorUnreachable { node, address, reason } => {
            tracing::warn!(mediator = who(node), %address, reason = escaped(reason), "the mediator is unreachable");
        }
        TransportEvent::WrongNode { address, expected, found } => {
            tracing::warn!(mediator = who(expected), %address, ?found, "another node than the card says answers there");
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
