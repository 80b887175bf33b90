//! What a channel's task is made of.

use std::sync::Arc;

use demarche_protocol::{channel::Channel as Machine, session::SessionSecret};
use tokio::sync::Notify;

use crate::{
    keystore::Prekeys,
    link::Links,
    runtime::{clock::Clock, news::News},
    store::{self, Store},
    transport::Transport,
};

/// What a channel's task is made of.
pub(crate) struct Parts {
    pub(crate) name: Arc<str>,
    pub(crate) machine: Machine,
    /// The secret of the session key on our card; without one there is no session.
    pub(crate) secret: Option<SessionSecret>,
    /// The secrets that open envelopes.
    pub(crate) prekeys: Arc<Prekeys>,
    pub(crate) clock: Clock,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) service: store::Service,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) links: Arc<Links>,
    pub(crate) news: Arc<News>,
    /// Told when the roster has changed.
    pub(crate) roster_changed: Arc<Notify>,
}
