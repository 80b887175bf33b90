//! What others ask of a channel's task.

use std::sync::Arc;

use demarche_protocol::{
    channel::{Channel as Machine, LineTestResult, Refusal},
    document::SignedDocument,
    hash::{ChannelId, DocumentId, EntryHash},
    identity::{card::Prekey, member::MemberId, roster::Roster, signed_prekey::PrekeyNumber},
    transcript::{Head, Receipt},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::sessions::PeerState;
use crate::runtime::{courier::Mail, handshake::Incoming, view::Acknowledgements};

/// What a query sees.
pub(crate) struct Look<'a> {
    /// The channel itself.
    pub(crate) machine: &'a Machine,
    /// Which entries acknowledge what.
    pub(crate) acknowledgements: &'a Acknowledgements,
    /// How the session with each peer is.
    pub(crate) peers: &'a [(MemberId, PeerState)],
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The channel refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The channel's task is ending.
    #[error("the node is stopping")]
    Stopping,
}

/// An appended document.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// Its entry.
    pub(crate) entry: Head,
    /// False when it had been entered before.
    pub(crate) new: bool,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;
type Query = Box<dyn FnOnce(&Look<'_>) + Send>;

pub(super) enum Message {
    Append(SignedDocument, Reply<Recorded>),
    Opened(EntryHash, DocumentId, Reply<Receipt>),
    Roster(SignedDocument, Reply<()>),
    LineTest(MemberId, MemberId, Reply<LineTestResult>),
    Query(Query),
    Incoming(Incoming),
    Mail(Mail),
    NewPrekey(PrekeyNumber, Prekey),
    LinksChanged,
    Stop,
}

/// A channel's task, as others see it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(super) id: ChannelId,
    pub(super) name: Arc<str>,
    pub(super) messages: mpsc::Sender<Message>,
    pub(super) roster: watch::Receiver<Roster>,
}

impl Handle {
    /// The channel.
    pub(crate) const fn id(&self) -> ChannelId {
        self.id
    }

    /// Its local name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its roster as it is now, and as it changes.
    pub(crate) fn roster(&self) -> watch::Receiver<Roster> {
        self.roster.clone()
    }

    /// Enters a document in our own log; answers when it is durable.
    pub(crate) async fn append(&self, document: SignedDocument) -> Result<Recorded, AskError> {
        self.ask(|reply| Message::Append(document, reply)).await
    }

    /// States that an officer was shown an entry; answers when the statement is durable.
    pub(crate) async fn opened(&self, entry: EntryHash, officer: DocumentId) -> Result<Receipt, AskError> {
        self.ask(|reply| Message::Opened(entry, officer, reply)).await
    }

    /// Takes a document of the roster in; answers when it is durable, or was known.
    pub(crate) async fn roster_document(&self, document: SignedDocument) -> Result<(), AskError> {
        self.ask(|reply| Message::Roster(document, reply)).await
    }

    /// Tests the path to a peer over one mediator; answers when the peer has.
    pub(crate) async fn line_test(&self, peer: MemberId, via: MemberId) -> Result<LineTestResult, AskError> {
        self.ask(|reply| Message::LineTest(peer, via, reply)).await
    }

    /// Looks at the channel between two of its steps. What `look` does must be short: the line waits.
    pub(crate) async fn query<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Look<'_>) -> T + Send + 'static,
    ) -> Result<T, AskError> {
        let (reply, answer) = oneshot::channel();
        // Whoever asked may have gone.
        let query = move |seen: &Look<'_>| drop(reply.send(look(seen)));
        self.messages.send(Message::Query(Box::new(query))).await.map_err(|_| AskError::Stopping)?;
        answer.await.map_err(|_| AskError::Stopping)
    }

    /// Hands over a stream that another node opened for this channel.
    pub(in crate::runtime) async fn incoming(&self, incoming: Incoming) {
        // A channel that has ended drops the stream, which tells the other side.
        let _ = self.messages.send(Message::Incoming(incoming)).await;
    }

    /// Hands over what the courier has for this channel.
    pub(in crate::runtime) async fn mail(&self, mail: Mail) {
        let _ = self.messages.send(Message::Mail(mail)).await;
    }

    /// A new prekey is to be sealed to.
    pub(crate) async fn new_prekey(&self, number: PrekeyNumber, prekey: Prekey) {
        let _ = self.messages.send(Message::NewPrekey(number, prekey)).await;
    }

    /// A way became usable.
    pub(crate) async fn links_changed(&self) {
        let _ = self.messages.send(Message::LinksChanged).await;
    }

    /// Ends the task, once waiting requests are answered.
    pub(crate) async fn stop(&self) {
        let _ = self.messages.send(Message::Stop).await;
    }

    async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T, AskError> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(message(reply)).await.map_err(|_| AskError::Stopping)?;
        Ok(answer.await.map_err(|_| AskError::Stopping)??)
    }
}
