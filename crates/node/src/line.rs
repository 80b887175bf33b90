//! The line under one own card: transport, channels and switchboard, set up together and ended together. A new card or a
//! new channel is a new line; the store, the officers' socket and whoever listens there stay.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use demarche_control::layout::DataDir;
use demarche_protocol::{
    channel::{Channel as Machine, Config as MachineConfig, RestoreError},
    hash::ChannelId,
    identity::{
        Verified,
        card::{Card, CardSerial},
    },
};
use futures::future::BoxFuture;
use tokio::{
    sync::Notify,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{
    config::Config,
    defaults::PREKEYS_TENDED,
    home::{self, Channel, HomeError, Identity},
    keystore::{NodeKeys, Prekeys},
    link::Links,
    recall::{self, Recalled},
    runtime::{
        channel::{self, End, Handle},
        clock::Clock,
        custodian::{Custodian, CustodyError},
        news::{Cause, News},
        roster_stream::Rosters,
        rosters::{CapitalRosters, MediatorRosters},
        switchboard::{Current, Switchboard},
    },
    standby,
    store::{self, Lost, SledStore, Store, StoreError},
    transport::{Address, Events, Transport},
};

/// What outlives every line.
pub(crate) struct Shared {
    pub(crate) data: DataDir,
    pub(crate) config: Config,
    pub(crate) identity: Identity,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) service: store::Service,
    pub(crate) clock: Clock,
    pub(crate) news: Arc<News>,
    pub(crate) wires: Arc<dyn Wires>,
    /// What was missing in the store, until a line has heeded it.
    pub(crate) lost: Mutex<Option<Lost>>,
    /// Told when a roster has changed.
    pub(crate) rosters_changed: Arc<Notify>,
}

/// What a node is on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A capital listens nowhere.
    Capital,
    /// A mediator listens.
    Mediator {
        /// Where.
        listen: Vec<Address>,
        /// How others reach it.
        public: Vec<Address>,
    },
}

/// A transport that has started.
pub(crate) type Started = Result<(Arc<dyn Transport>, Events), String>;

/// Starts transports: on the network, or in a test within one process.
pub(crate) trait Wires: Send + Sync {
    /// Starts one with the node's key.
    fn start(&self, seed: Zeroizing<[u8; 32]>, place: Place) -> BoxFuture<'static, Started>;
}

/// Why no line was set up.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The data directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A channel's records.
    #[error("the channel {name} cannot be made from its records: {source}")]
    Restore {
        /// The channel's local name.
        name: String,
        /// Why.
        source: RestoreError,
    },
    /// The custody, at a mediator.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// The transport.
    #[error("{0}")]
    Transport(String),
}

/// A standing line.
pub(crate) struct Line {
    /// The own card.
    pub(crate) card: Verified<Card>,
    /// Every link.
    pub(crate) links: Arc<Links>,
    /// The channels, at a capital.
    pub(crate) channels: Vec<Handle>,
    /// The rosters, at a mediator.
    pub(crate) rosters: Option<MediatorRosters>,
    transport: Arc<dyn Transport>,
    stop: CancellationToken,
}

/// The line's tasks, for whoever ends it.
pub(crate) struct Tasks {
    channels: JoinSet<End>,
    /// One task.
    switchboard: JoinSet<()>,
}

impl Tasks {
    /// Resolves when a task has ended by itself: because the store failed, the network task died, or by our own bug.
    pub(crate) async fn ended(&mut self) -> Result<End, JoinError> {
        tokio::select! {
            Some(end) = self.channels.join_next() => end,
            // Without it nothing goes out or comes in, and nobody would be told.
            Some(gone) = self.switchboard.join_next() => gone.map(|()| End::Failed),
            else => std::future::pending().await,
        }
    }
}

impl Line {
    /// Sets the line up for these channels, or none while no own card is installed.
    pub(crate) async fn start(
        shared: &Shared,
        channels: &[Channel],
    ) -> Result<Option<(Self, Tasks)>, LineError> {
        let Shared { data, identity, store, .. } = shared;
        let (recalled, card, keys) = loop {
            let recalled = recall::recall(data, identity, channels, store.as_ref())?;
            let Some((card, keys)) = home::own_card(data, identity, channels, &recalled)? else {
                return Ok(None);
            };
            match heed_loss(shared, card.serial, &recalled) {
                Ok(()) => break (recalled, card, keys),
                Err(lost @ LineError::Home(HomeError::Lost { .. })) => {
                    // It is higher than this one: the next time round there is nothing to heed.
                    let next = standby::take(data, identity, channels, &recalled)?.ok_or(lost)?;
                    let detail = format!(
                        "this node's disk was lost or set back: it goes on under card {next}, which lay ready; what was lost comes back from the peers. Make the next one ready: demarche card renew, sign it, install it with --standby"
                    );
                    shared.news.alarm(None, None, Cause::Restored, detail);
                }
                Err(other) => return Err(other),
            }
        };
        let place = place(&shared.config, identity, &card);
        let started = shared.wires.start(keys.node.seed(), place).await;
        let (transport, events) = started.map_err(LineError::Transport)?;
        let links = Arc::new(Links::new());
        let changed = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        let mut handles = Vec::new();
        let mut mediated = None;
        let mut custodian = None;
        let rosters: Arc<dyn Rosters>;
        let current: Current;
        if identity.mediates {
            let kept = mediator_rosters(shared, channels, &recalled, &card, &changed);
            let seen = kept.clone();
            current = Arc::new(move || seen.current());
            rosters = Arc::new(kept.clone());
            let opened = Custodian::open(
                &data.custody(),
                channels.iter().map(|channel| &channel.charter),
                (&card, &keys.node),
                kept.clone(),
                shared.clock,
            )?;
            tasks.spawn({
                let expiring = opened.clone();
                async move {
                    expiring.expire().await;
                    End::Failed
                }
            });
            custodian = Some(opened);
            let failing = kept.clone();
            tasks.spawn(async move {
                failing.outcome_unknown().await;
                End::OutcomeUnknown
            });
            mediated = Some(kept);
        } else {
            let prekeys = Arc::new(prekeys(data, identity, channels, &card)?);
            for installed in channels {
                let machine = restore(shared, installed, &card, &keys)?;
                let (handle, task) = channel::spawn(parts(
                    shared,
                    installed,
                    machine,
                    (&keys, &prekeys),
                    (&transport, &links, &changed),
                ));
                tasks.spawn(async move { task.await.unwrap_or(End::Failed) });
                handles.push(handle);
            }
            tasks.spawn(tend(prekeys, handles.clone(), shared.clock));
            let seen = handles.clone();
            current = Arc::new(move || {
                seen.iter().map(|handle| (handle.id(), handle.roster().borrow().clone())).collect()
            });
            rosters = Arc::new(CapitalRosters { own: card.document().clone(), channels: handles.clone() });
        }
        let switchboard = Switchboard {
            transport: Arc::clone(&transport),
            events,
            links: Arc::clone(&links),
            rosters,
            channels: handles.iter().map(|handle| (handle.id(), handle.clone())).collect(),
            current,
            roster_changed: changed,
            followed: Arc::clone(&shared.rosters_changed),
            me: identity.me.clone(),
            custodian,
        };
        let stop = CancellationToken::new();
        let running = switchboard.run(stop.clone());
        let mut switchboard = JoinSet::new();
        switchboard.spawn(running);
        let line = Self { card, links, channels: handles, rosters: mediated, transport, stop };
        Ok(Some((line, Tasks { channels: tasks, switchboard })))
    }

    /// The channel's handle.
    pub(crate) fn channel(&self, id: ChannelId) -> Option<&Handle> {
        self.channels.iter().find(|handle| handle.id() == id)
    }

    /// A card of ours that replaces this line's, if one is known and its keys are here; or the mere knowledge of one.
    pub(crate) fn successor(&self, identity: &Identity) -> Option<Verified<Card>> {
        let capital = self.channels.iter().map(|handle| handle.roster().borrow().clone());
        let mediator =
            self.rosters.iter().flat_map(|rosters| rosters.current().into_iter().map(|(_, roster)| roster));
        let cards = capital.chain(mediator).filter_map(|roster| roster.current(&identity.me).cloned());
        cards.filter(|card| card.serial > self.card.serial).max_by_key(|card| card.serial)
    }

    /// Ends it: officers' requests are answered, sessions are told, connections closed.
    pub(crate) async fn stop(&self, mut tasks: Tasks) {
        for handle in &self.channels {
            handle.stop().await;
        }
        // What else runs beside the channels never ends by itself.
        for _ in &self.channels {
            tasks.channels.join_next().await;
        }
        tasks.channels.shutdown().await;
        self.stop.cancel();
        // Its own bug would have been logged by the panic.
        let _ = tasks.switchboard.join_next().await;
        self.transport.shutdown().await;
    }
}

/// What the store has lost comes back: from what was installed here and from the peers, if nothing else is written in its place.
fn heed_loss(shared: &Shared, card: CardSerial, recalled: &[Recalled]) -> Result<(), LineError> {
    let Shared { data, identity, .. } = shared;
    let mut lost = shared.lost.lock().unwrap_or_else(PoisonError::into_inner);
    // A mediator keeps rosters alone, and signs nothing in anybody's log.
    if !identity.mediates {
        if lost.is_none() && home::is_set_back(data, card) {
            *lost = Some(Lost::Another);
        }
        if lost.is_none() && home::last_card(data)?.is_some_and(|noted| noted >= card) {
            *lost = set_back(shared, card, recalled)?;
        }
        home::may_write_under(data, card, *lost)?;
    }
    if let Some(lost) = lost.take() {
        tracing::warn!(%lost, "something was lost: it comes back from the peers");
    }
    // Before the card is noted: what is left where the node looks was not lost under it.
    for channel in recalled {
        channel.leave_again()?;
    }
    Ok(home::write_under(data, card)?)
}

/// A store that was set back whole brought its own mark along. What was installed since shows it.
fn set_back(shared: &Shared, card: CardSerial, recalled: &[Recalled]) -> Result<Option<Lost>, HomeError> {
    let mut lost = None;
    for document in recalled.iter().flat_map(|channel| channel.lost_from_the_log(&shared.identity, card)) {
        tracing::error!(?document, "it was taken in from installed/ and is not in the store");
        lost = Some(Lost::Another);
    }
    if lost.is_some() {
        let path = shared.data.store();
        // Or whoever installs it by hand would hide it.
        SledStore::note_set_back(&path).map_err(|source| HomeError::Unwritten { path, source })?;
    }
    Ok(lost)
}

fn place(config: &Config, identity: &Identity, card: &Card) -> Place {
    if !identity.mediates {
        return Place::Capital;
    }
    let named = |addresses: &[crate::config::ConfigAddress]| -> Vec<Address> {
        addresses.iter().map(|address| address.0.clone()).collect()
    };
    let on_card = || card.addresses().iter().filter_map(|address| address.to_string().parse().ok()).collect();
    let (listen, public) = (named(&config.network.listen), named(&config.network.public));
    Place::Mediator {
        listen: if listen.is_empty() { on_card() } else { listen },
        public: if public.is_empty() { on_card() } else { public },
    }
}

fn parts(
    shared: &Shared,
    installed: &Channel,
    machine: Machine,
    (keys, prekeys): (&NodeKeys, &Arc<Prekeys>),
    (transport, links, changed): (&Arc<dyn Transport>, &Arc<Links>, &Arc<Notify>),
) -> channel::Parts {
    channel::Parts {
        name: Arc::clone(&installed.name),
        machine,
        secret: keys.session.clone(),
        prekeys: Arc::clone(prekeys),
        clock: shared.clock,
        store: Arc::clone(&shared.store),
        service: shared.service.clone(),
        transport: Arc::clone(transport),
        links: Arc::clone(links),
        news: Arc::clone(&shared.news),
        roster_changed: Arc::clone(changed),
    }
}

/// The prekeys of our card, for whoever may hold them.
fn prekeys(
    data: &DataDir,
    identity: &Identity,
    channels: &[Channel],
    card: &Verified<Card>,
) -> Result<Prekeys, HomeError> {
    let peers = channels.iter().flat_map(|channel| {
        let others = channel.charter.parties.iter().filter(|party| party.id != identity.me);
        others.map(|party| (channel.id(), party.id.clone()))
    });
    let kept = channels.iter().map(|channel| channel.charter.policy.custody_for.0).max();
    Ok(Prekeys::read(data, card, peers.collect(), kept.unwrap_or_default())?)
}

/// Makes new prekeys and erases old ones in their time, for ever.
async fn tend(prekeys: Arc<Prekeys>, channels: Vec<Handle>, clock: Clock) -> End {
    let mut again = tokio::time::interval(PREKEYS_TENDED);
    loop {
        again.tick().await;
        if let Some((number, prekey)) = prekeys.tend(clock.now().wall) {
            for channel in &channels {
                channel.new_prekey(number, prekey.clone()).await;
            }
        }
    }
}

fn restore(
    shared: &Shared,
    installed: &Channel,
    card: &Verified<Card>,
    keys: &NodeKeys,
) -> Result<Machine, LineError> {
    let config = MachineConfig {
        charter: installed.charter.clone(),
        me: shared.identity.me.clone(),
        key: keys.node.clone(),
        card: card.clone(),
    };
    let mut broken = None;
    let records = shared.store.load(installed.id()).map_while(|found| match found {
        Ok((_, record)) => Some(record),
        Err(error) => {
            broken = Some(error);
            None
        }
    });
    let machine = Machine::restore(config, records, shared.clock.now())
        .map_err(|source| LineError::Restore { name: installed.name.to_string(), source })?;
    match broken {
        Some(error) => Err(error.into()),
        None => Ok(machine),
    }
}

fn mediator_rosters(
    shared: &Shared,
    channels: &[Channel],
    recalled: &[Recalled],
    card: &Verified<Card>,
    changed: &Arc<Notify>,
) -> MediatorRosters {
    let mut rosters = BTreeMap::new();
    let mut doors = Vec::new();
    for (installed, recalled) in channels.iter().zip(recalled) {
        let id = installed.id();
        rosters.insert(id, home::roster(&installed.charter, &recalled.stored));
        doors.push((id, shared.service.channel(id)));
    }
    MediatorRosters::new(card.document().clone(), rosters, doors, Arc::clone(changed))
}
