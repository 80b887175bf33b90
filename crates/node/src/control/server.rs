//! Binding the socket and serving on it.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use demarche_control::{Code, Problem, types::Installed};
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    admin, alarms, backup,
    caller::{self, Caller},
    dispatches, events,
    places::Placing,
    problems::stopping,
    reads,
};
use crate::{
    config::Socket,
    defaults::{BODY, DRAIN_WITHIN},
    home::{Broken, Channel, Identity},
    line::Line,
    runtime::{channel::Handle, news::News},
    store::{JournalIndex, Store},
};

/// What is asked of the node itself.
pub(crate) type InstallRequest = oneshot::Sender<Result<Vec<Installed>, Problem>>;

/// What the handlers see of the node.
pub(crate) struct Api {
    pub(crate) identity: Identity,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) news: Arc<News>,
    /// The place of the last durable record, as it moves.
    pub(crate) durable: watch::Receiver<JournalIndex>,
    /// Requests to take in what was installed.
    pub(crate) installs: mpsc::Sender<InstallRequest>,
    /// Cancelled when the node stops.
    pub(crate) stop: CancellationToken,
    /// What stands now; replaced with every new line, and whoever finds the old one ended waits here for the next.
    pub(crate) now: watch::Sender<Arc<Standing>>,
}

/// The channels and the line that stand now.
#[derive(Default)]
pub(crate) struct Standing {
    /// The installed channels.
    pub(crate) channels: Vec<Channel>,
    /// Those that cannot be used.
    pub(crate) broken: Vec<Broken>,
    /// The line, if there is one.
    pub(crate) line: Option<Arc<Line>>,
}

impl Api {
    /// What stands now.
    pub(crate) fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.now.borrow())
    }

    /// Replaces what stands.
    pub(crate) fn stand(&self, standing: Standing) {
        self.now.send_replace(Arc::new(standing));
    }

    /// The channel of a local name or hash.
    pub(super) fn channel(&self, name: &str) -> Result<Channel, Problem> {
        let standing = self.standing();
        let found = standing
            .channels
            .iter()
            .find(|channel| *channel.name == *name || channel.id().to_string() == name);
        found.cloned().ok_or_else(|| {
            if let Some(broken) = standing.broken.iter().find(|broken| broken.name == name) {
                return Problem::new(Code::Other, broken.to_string()).with_help(broken.help());
            }
            let names: Vec<&str> = standing.channels.iter().map(|channel| &*channel.name).collect();
            // By its hash nobody can tell whether it is that one.
            let help = if let Some(broken) = standing.broken.first() {
                format!("{broken}: {}", broken.help())
            } else if names.is_empty() {
                "install a charter first: demarche install charter.toml".to_owned()
            } else {
                format!("the channels here: {}", names.join(", "))
            };
            Problem::new(Code::UnknownChannel, format!("no channel `{}` here", crate::logging::escaped(name)))
                .with_help(help)
        })
    }

    /// The task of the channel of a local name or hash.
    pub(super) fn handle(&self, name: &str) -> Result<Handle, Problem> {
        let channel = self.channel(name)?;
        if self.identity.mediates {
            let message = "a mediator holds no dispatches: it can read none of them";
            return Err(Problem::new(Code::Forbidden, message).with_help("ask a party's node"));
        }
        let standing = self.standing();
        let handle = standing.line.as_ref().and_then(|line| line.channel(channel.id()).cloned());
        handle.ok_or_else(|| {
            if self.stop.is_cancelled() {
                return stopping();
            }
            Problem::new(Code::NeedsNewCard, "no card of this node is installed, or its keys are not here")
                .with_help("demarche install DIR/ID.card --data DIR, once the roots have signed it")
        })
    }
}

/// Why the socket could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The system refuses.
    #[error("the officers' socket {} cannot be made", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else is there.
    #[error("{} is no socket, and is left alone\nhelp: move it away, or set [socket] path", path.display())]
    Occupied {
        /// Where.
        path: PathBuf,
    },
    /// No such group.
    #[error(
        "there is no group {group} for the officers' socket\nhelp: groupadd {group}, or correct [socket] group"
    )]
    Group {
        /// Its name.
        group: String,
    },
}

/// A server that runs.
pub(crate) struct Server {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds the socket and serves. The caller holds the node's lock, so a socket that is there is a dead node's.
    pub(crate) fn start(path: &Path, settings: &Socket, api: Arc<Api>) -> Result<Self, ServeError> {
        let listener = bind(path, settings)?;
        let stop = api.stop.clone();
        let service = router(api).into_make_service_with_connect_info::<Caller>();
        let task = tokio::spawn(async move {
            let serving = axum::serve(Placing::new(listener), service);
            // It never fails by itself: failed accepts are tried again.
            let _ = serving.with_graceful_shutdown(stop.cancelled_owned()).await;
        });
        Ok(Self { path: path.to_owned(), task })
    }

    /// Waits for the last answers, and takes the socket away. The token has been cancelled.
    pub(crate) async fn finish(mut self) {
        if tokio::time::timeout(DRAIN_WITHIN, &mut self.task).await.is_err() {
            self.task.abort();
        }
        // One that is gone already is fine.
        let _ = fs::remove_file(&self.path);
    }
}

fn bind(path: &Path, settings: &Socket) -> Result<UnixListener, ServeError> {
    let io = |source| ServeError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(io)?,
        Ok(_) => return Err(ServeError::Occupied { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    // Nobody may connect between bind and chmod: the mask closes it from the start.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound.map_err(io)?;
    if let Some(group) = &settings.group {
        let gid = group_id(group).ok_or_else(|| ServeError::Group { group: group.clone() })?;
        std::os::unix::fs::chown(path, None, Some(gid)).map_err(io)?;
    }
    let mode = settings.mode.map_or(0o600, |mode| mode.0);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io)?;
    Ok(listener)
}

/// A group's number, from its digits or from `/etc/group`.
fn group_id(group: &str) -> Option<u32> {
    if let Ok(number) = group.parse() {
        return Some(number);
    }
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok())?
    })
}

fn router(api: Arc<Api>) -> Router {
    let channel = |rest: &str| format!("/v1/channels/{{channel}}{rest}");
    Router::new()
        .route("/v1/status", get(reads::status))
        .route("/v1/channels", get(reads::channels))
        .route(&channel("/charter"), get(reads::charter))
        .route(&channel("/officers"), get(reads::officers))
        .route(&channel("/documents"), post(dispatches::post))
        .route(&channel("/inbox"), get(reads::inbox))
        .route(&channel("/cases"), get(reads::cases))
        .route(&channel("/dispatches/{serial}"), get(dispatches::show))
        .route(&channel("/dispatches/{serial}/open"), post(dispatches::open))
        .route(&channel("/line-test"), post(admin::line_test))
        .route("/v1/events", get(events::feed))
        .route("/v1/alarms", get(alarms::list))
        .route("/v1/alarms/take", post(alarms::take))
        .route("/v1/install", post(admin::install))
        .route("/v1/backup", get(backup::about))
        .route("/v1/backup/journal", get(backup::segment))
        .fallback(admin::not_found)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn(caller::check))
        .with_state(api)
}
