//! The composition root: builds the parts of a node, owns their tasks, and ends them.

use std::{
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use demarche_control::{Code, Problem, backup::About, layout::DataDir, types::Installed};
use demarche_protocol::{
    hash::{ChannelId, DocumentId},
    identity::card::CardSerial,
};
use futures::{FutureExt as _, future::BoxFuture};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{
    config::{Config, ConfigError},
    control::{Api, ServeError, Server, Standing},
    defaults::{STOP_WITHIN, WORKERS},
    heartbeat,
    home::{self, HomeError},
    hook, install,
    keystore::{self, KeystoreError},
    line::{Line, LineError, Place, Shared, Started, Tasks, Wires},
    lock::{Lock, LockError},
    logging, lookout,
    notify::notify,
    recall,
    restore::{self, RestoreError},
    runtime::{
        channel::End,
        clock::Clock,
        news::{Cause, News},
    },
    standby,
    store::{self, Closed, Lost, OpenError, SledStore, Store},
    transport::libp2p,
};

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory.
    pub data: PathBuf,
    /// The configuration file, if another than `DIR/demarched.toml`.
    pub config: Option<PathBuf>,
    /// The form of the log, if another than configured.
    pub log_format: Option<crate::config::LogFormat>,
}

/// Why a node did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// `SSLKEYLOGFILE` is set (threat L4).
    #[error(
        "SSLKEYLOGFILE is set: the keys of every connection would be written to a file\nhelp: unset SSLKEYLOGFILE"
    )]
    KeyLog,
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another node is there.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A key file.
    #[error(transparent)]
    Keys(#[from] KeystoreError),
    /// The data directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The officers' socket.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The line.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The system gives no thread, signal or timer.
    #[error("the system refuses: {0}")]
    System(#[from] std::io::Error),
    /// It is not known whether the last records are on disk (threat S5).
    #[error(
        "the node stopped: it is not known whether the last records are on disk\nhelp: look after the disk, then start demarched again; sending the same file again is safe"
    )]
    OutcomeUnknown,
    /// A backup that `restore` left.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// Our own bug.
    #[error(
        "a task of the node ended by itself, which is a bug of demarched\nhelp: start it again; what was recorded is safe"
    )]
    Bug,
}

/// Reads all that a start reads before it opens or makes anything, and says what is wrong with it: also a channel that the node
/// would do without.
pub fn check_config(options: &Options) -> Result<(), NodeError> {
    no_key_log()?;
    let data = DataDir::new(&options.data);
    Config::read(&data, options.config.as_deref())?;
    let identity = home::identity(&data)?;
    keystore::check(&data)?;
    home::check_keys(&data, &identity)?;
    match home::channels_at_start(&data, &identity)?.broken.pop() {
        Some(broken) => Err(HomeError::Charter(broken).into()),
        None => Ok(()),
    }
}

fn no_key_log() -> Result<(), NodeError> {
    if std::env::var_os("SSLKEYLOGFILE").is_some() { Err(NodeError::KeyLog) } else { Ok(()) }
}

/// Runs a node until it is told to stop.
pub fn run(options: &Options) -> Result<(), NodeError> {
    no_key_log()?;
    let data = DataDir::new(&options.data);
    let mut config = Config::read(&data, options.config.as_deref())?;
    if let Some(format) = options.log_format {
        config.log.format = format;
    }
    // A test may have set one up already.
    let _ = logging::start(&config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let ended = runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let told = async move {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        };
        let stop = CancellationToken::new();
        let cancel = stop.clone();
        tokio::spawn(async move {
            told.await;
            tracing::info!("stopping");
            cancel.cancel();
        });
        Node::start(data, config, Arc::new(OnTheNetwork)).await?.run(stop).await
    });
    // A store under way ends with its commit; anything else has had its time.
    runtime.shutdown_timeout(Duration::from_millis(500));
    ended
}

/// Transports on the network.
struct OnTheNetwork;

impl Wires for OnTheNetwork {
    fn start(&self, seed: Zeroizing<[u8; 32]>, place: Place) -> BoxFuture<'static, Started> {
        let role = match place {
            Place::Capital => libp2p::Role::Capital,
            Place::Mediator { listen, public } => libp2p::Role::Mediator { listen, public },
        };
        async move {
            let (transport, events) =
                libp2p::start(libp2p::Config { seed, role }).await.map_err(|why| why.to_string())?;
            let transport: Arc<dyn crate::transport::Transport> = Arc::new(transport);
            Ok((transport, events))
        }
        .boxed()
    }
}

/// A node whose parts stand.
pub(crate) struct Node {
    shared: Arc<Shared>,
    api: Arc<Api>,
    server: Server,
    installs: mpsc::Receiver<crate::control::InstallRequest>,
    /// The line and its tasks; none while no card of ours is installed.
    line: Option<(Arc<Line>, Tasks)>,
    /// The own card that is known and whose keys are not here, once it was told.
    told_of: Option<CardSerial>,
    /// Why a line that was to be set up anew does not stand: the node ends rather than be there without one.
    fallen: Option<NodeError>,
    /// Told when the store is closed.
    closed: Closed,
    lock: Lock,
}

/// A node whose store is open and whose parts are still to be set up.
struct Opened {
    data: DataDir,
    config: Config,
    identity: home::Identity,
    channels: home::Channels,
    lost: Mutex<Option<Lost>>,
    /// The backup that was taken in just now.
    restored: Option<About>,
    store: Arc<dyn Store>,
    closed: Closed,
    lock: Lock,
}

impl Opened {
    async fn build(self, wires: Arc<dyn Wires>) -> Result<Node, NodeError> {
        let Self { data, config, identity, channels, lost, restored, store, closed, lock } = self;
        let service = store::start(Arc::clone(&store))?;
        let news = Arc::new(News::open(data.alarms()));
        if let Some(about) = restored {
            let detail = format!(
                "this node was restored from a backup of {}, up to record {}: what was written since comes back from the peers, or is nowhere",
                about.made_at, about.journal
            );
            news.alarm(None, None, Cause::Restored, detail);
        }
        let (installs_to, installs) = mpsc::channel(1);
        let api = Arc::new(Api {
            identity: identity.clone(),
            store: Arc::clone(&store),
            news: Arc::clone(&news),
            durable: service.durable(),
            installs: installs_to,
            stop: CancellationToken::new(),
            now: watch::Sender::new(Arc::new(Standing::default())),
        });
        hook::start(&config.hook.command, &api.news, &api.stop);
        let shared = Arc::new(Shared {
            data,
            config,
            identity,
            store,
            service,
            clock: Clock::start(),
            news,
            wires,
            lost,
            rosters_changed: Arc::new(Notify::new()),
        });
        let line = Line::start(&shared, &channels.sound).await?.map(|(line, tasks)| (Arc::new(line), tasks));
        api.stand(standing(channels, line.as_ref()));
        // Before anybody can hand something in: whoever was revoked speaks no more.
        take_in(&shared, &api, line.as_ref()).await;
        let socket = shared.config.socket_path(&shared.data);
        tokio::spawn(lookout::run(Arc::downgrade(&api)));
        heartbeat::start(&shared.config.heartbeat, &api);
        let server = Server::start(&socket, &shared.config.socket, Arc::clone(&api))?;
        Ok(Node { shared, api, server, installs, line, told_of: None, fallen: None, closed, lock })
    }
}

impl Node {
    /// Builds a node: lock, keys, store, socket, line, in this order.
    pub(crate) async fn start(
        data: DataDir,
        config: Config,
        wires: Arc<dyn Wires>,
    ) -> Result<Self, NodeError> {
        Self::start_with(data, config, wires, |store| Arc::new(store)).await
    }

    /// The same, with a layer between the node and its store: a test's faults.
    pub(crate) async fn start_with(
        data: DataDir,
        config: Config,
        wires: Arc<dyn Wires>,
        layer: impl FnOnce(SledStore) -> Arc<dyn Store>,
    ) -> Result<Self, NodeError> {
        let identity = home::identity(&data)?;
        let lock = Lock::take(&data.lock())?;
        keystore::check(&data)?;
        let channels = home::channels_at_start(&data, &identity)?;
        let has_written = data.last_card().exists();
        let open = if has_written { SledStore::open_again } else { SledStore::open };
        let mut store = open(&data.store())?;
        let (closed, given_up) = (store.closed(), store.closed());
        let restored = restore::take_in(&data, &store)?;
        let lost = Mutex::new(restored.as_ref().map_or(store.lost(), |_| Some(Lost::Another)));
        let store = layer(store);
        let opened = Opened { data, config, identity, channels, lost, restored, store, closed, lock };
        let built = opened.build(wires).await;
        if built.is_err() {
            // Whoever hears of it may start again at once.
            given_up.wait().await;
        }
        built
    }

    /// Serves until `stop`, or until the store can no longer be trusted.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), NodeError> {
        self.say_ready();
        let changed = Arc::clone(&self.shared.rosters_changed);
        let ended = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                end = ended(&mut self.line) => break Err(end),
                () = changed.notified() => if let Err(why) = self.look_for_a_new_card().await {
                    break Err(why);
                },
                Some(reply) = self.installs.recv() => {
                    // Whoever asked may have gone; what lay there was taken in all the same.
                    let _ = reply.send(self.install().await);
                    if let Some(why) = self.fallen.take() {
                        break Err(why);
                    }
                }
            }
        };
        notify("STOPPING=1");
        if timeout(STOP_WITHIN, self.stop()).await.is_err() {
            tracing::warn!("not everything ended in time");
        }
        ended
    }

    fn say_ready(&self) {
        let standing = self.api.standing().channels.len();
        let plural = if standing == 1 { "" } else { "s" };
        // Scripts wait for this very line. A stderr that is gone is no reason to end.
        let _ = writeln!(std::io::stderr(), "ready: {}, {standing} channel{plural}", self.shared.identity.me);
        notify("READY=1");
    }

    /// Ends everything, and then waits until nobody holds the store any more: not its thread, nor an answer under way. Only
    /// then may another node take this one's place.
    async fn stop(self) {
        let Self { shared, api, server, line, closed, lock, .. } = self;
        api.stop.cancel();
        if let Some((line, tasks)) = line {
            line.stop(tasks).await;
        }
        server.finish().await;
        api.stand(Standing::default());
        drop((api, shared));
        closed.wait().await;
        drop(lock);
    }

    /// Takes in what `install` left, and sets the line up anew when that brought a channel or a card.
    async fn install(&mut self) -> Result<Vec<Installed>, Problem> {
        let failed = |why: &dyn std::fmt::Display| Problem::new(Code::Other, why.to_string());
        let channels =
            home::channels(&self.shared.data, &self.shared.identity).map_err(|why| failed(&why))?;
        let standing = self.line.as_ref().map(|_| self.standing_channels());
        let found: Vec<ChannelId> = channels.sound.iter().map(home::Channel::id).collect();
        let is_news = standing.is_none_or(|standing| standing != found)
            || self.api.standing().broken != channels.broken;
        if is_news && let Err(why) = self.renew_line().await {
            let told = failed(&why);
            self.fallen = Some(why);
            return Err(told);
        }
        let installed = self.take_in().await;
        // Whoever is told that a card was taken in may hand something in at once.
        if let Err(why) = self.look_for_a_new_card().await {
            let told = failed(&why);
            self.fallen = Some(why);
            return Err(told);
        }
        Ok(installed)
    }

    fn standing_channels(&self) -> Vec<ChannelId> {
        self.api.standing().channels.iter().map(home::Channel::id).collect()
    }

    async fn take_in(&self) -> Vec<Installed> {
        take_in(&self.shared, &self.api, self.line.as_ref()).await
    }

    /// Some roster has changed: perhaps it names a card of ours that replaces this one.
    async fn look_for_a_new_card(&mut self) -> Result<(), NodeError> {
        self.heed_set_back().await?;
        let Some((line, _)) = &self.line else { return Ok(()) };
        let Some(card) = line.successor(&self.shared.identity) else { return Ok(()) };
        let here = self.installed_here(card.id());
        if here && keystore::has_keys(&self.shared.data, card.serial) {
            tracing::info!(
                serial = card.serial.0,
                "a new card of this node is in force: the line is set up anew"
            );
            self.renew_line().await?;
            self.take_in().await;
        } else if self.told_of != Some(card.serial) {
            self.told_of = Some(card.serial);
            for channel in self.standing_channels() {
                let what = if here { "its keys are not here" } else { "it was not installed here" };
                let detail = format!(
                    "card {} of this party is in force and {what}: this node is replaced",
                    card.serial
                );
                self.shared.news.alarm(channel, None, Cause::NodeReplaced, detail);
            }
        }
        Ok(())
    }

    /// A peer holds what this node has signed and lost: it writes no more under this card, after the next start neither, and goes on under
    /// one that lies ready.
    async fn heed_set_back(&mut self) -> Result<(), NodeError> {
        let Some((line, _)) = &self.line else { return Ok(()) };
        let mut set_back = false;
        for handle in &line.channels {
            // A channel that stops is asked no more.
            set_back |= handle.query(|look| look.machine.is_set_back()).await.unwrap_or(false);
        }
        if !set_back {
            return Ok(());
        }
        home::note_set_back(&self.shared.data, line.card.serial)?;
        if self.shared.data.standby().exists() && self.is_ready()? {
            self.renew_line().await?;
            self.take_in().await;
        }
        Ok(())
    }

    /// Whether a card lies ready that would be taken.
    fn is_ready(&self) -> Result<bool, HomeError> {
        let Shared { data, identity, store, .. } = &*self.shared;
        let channels = &self.api.standing().channels;
        let recalled = recall::recall(data, identity, channels, store.as_ref())?;
        Ok(standby::ready(data, identity, channels, &recalled)?.is_some())
    }

    fn installed_here(&self, card: DocumentId) -> bool {
        let standing = self.api.standing();
        let mut directories = standing.channels.iter().map(|channel| self.shared.data.channel(&channel.name));
        directories.any(|directory| {
            directory.installed_file(card).exists() || directory.incoming_file(card).exists()
        })
    }

    /// Ends the line and sets it up again, with whatever card and channels are there now.
    async fn renew_line(&mut self) -> Result<(), NodeError> {
        if let Some((line, tasks)) = self.line.take() {
            line.stop(tasks).await;
        }
        let channels = home::channels(&self.shared.data, &self.shared.identity)?;
        let line = Line::start(&self.shared, &channels.sound).await?;
        self.line = line.map(|(line, tasks)| (Arc::new(line), tasks));
        self.api.stand(standing(channels, self.line.as_ref()));
        Ok(())
    }
}

/// Takes in what `install` left.
async fn take_in(shared: &Shared, api: &Api, line: Option<&(Arc<Line>, Tasks)>) -> Vec<Installed> {
    let Some((line, _)) = line else { return Vec::new() };
    let standing = api.standing();
    let Shared { data, identity, service, .. } = shared;
    match install::take_in(data, identity, &standing.channels, line, &service.durable()).await {
        Ok(installed) => installed,
        Err(error) => {
            tracing::error!(%error, "what was installed could not be read");
            Vec::new()
        }
    }
}

fn standing(channels: home::Channels, line: Option<&(Arc<Line>, Tasks)>) -> Standing {
    let home::Channels { sound, broken } = channels;
    Standing { channels: sound, broken, line: line.map(|(line, _)| Arc::clone(line)) }
}

/// Resolves when the line has ended by itself.
async fn ended(line: &mut Option<(Arc<Line>, Tasks)>) -> NodeError {
    let Some((_, tasks)) = line else { return std::future::pending().await };
    match tasks.ended().await {
        Ok(End::OutcomeUnknown) => NodeError::OutcomeUnknown,
        Ok(End::Stopped | End::Failed) | Err(_) => NodeError::Bug,
    }
}

#[cfg(test)]
impl Node {
    /// Its news.
    pub(crate) fn news(&self) -> Arc<News> {
        Arc::clone(&self.shared.news)
    }
}
