//! Handshakes, each in a task of its own, bounded in time. What they need of the channel is given to them at the start; what
//! they find goes back to it as one outcome.

use std::{future::poll_fn, sync::Arc};

use demarche_protocol::{
    charter::Charter,
    hash::ChannelId,
    identity::{Verified, card::Card, keys::PublicKey, member::MemberId, roster::Roster},
    limits::HANDSHAKE_TIME,
    session::{
        Admission, Answered, Established, Expected, HandshakeError, Local, Opener, Responder, SessionSecret,
    },
};
use tokio::{io::AsyncWriteExt as _, time::timeout};

use super::{
    framed::{Ended, Framed},
    random,
};
use crate::transport::{NodeId, OpenError, Transport};

/// What this node brings to every handshake of a channel.
pub(super) struct Ground {
    pub(super) channel: ChannelId,
    pub(super) charter: Verified<Charter>,
    pub(super) card: Verified<Card>,
    pub(super) secret: Option<SessionSecret>,
}

impl Ground {
    fn local(&self) -> Result<Local<'_>, HandshakeError> {
        let secret = self.secret.as_ref().ok_or(HandshakeError::NotOurCard)?;
        Ok(Local { channel: self.channel, charter: &self.charter, card: &self.card, secret })
    }
}

/// A finished handshake.
pub(super) struct Shaken {
    pub(super) established: Established,
    pub(super) framed: Framed,
    pub(super) via: NodeId,
}

/// Why none came of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No stream.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The stream ended or carried no messages.
    #[error("{0}")]
    Ended(Ended),
    /// The handshake itself.
    #[error("{}", with_sources(.0))]
    Handshake(#[from] HandshakeError),
    /// It took too long.
    #[error("the handshake took longer than {} s", HANDSHAKE_TIME.as_secs())]
    Time,
    /// No randomness.
    #[error("the kernel gives no randomness: {0}")]
    Random(std::io::Error),
}

fn with_sources(error: &HandshakeError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        Self::Ended(ended)
    }
}

/// Opens a stream to the node of `peer`'s card over `via` and begins a session.
pub(super) async fn open(
    ground: Arc<Ground>,
    mut roster: Roster,
    transport: Arc<dyn Transport>,
    peer: Verified<Card>,
    via: NodeId,
) -> Result<Shaken, Failure> {
    let work = async {
        let node = NodeId::from_bytes(*peer.node.as_bytes());
        let mut framed = Framed::new(transport.open(node, via).await?);
        let mut rng = random::generator().map_err(Failure::Random)?;
        let (opener, first) = Opener::start(&ground.local()?, &mut rng)?;
        send(&mut framed, &first).await?;
        let message = poll_fn(|cx| framed.poll_message(cx, Opener::LIMIT)).await?;
        let expected = Expected { party: Some(peer.member.clone()), node: Some(peer.node) };
        let mut admission = Admission { roster: &mut roster, expected };
        let (established, last) = opener.read_message2(&message, &mut admission)?;
        send(&mut framed, &last).await?;
        Ok(Shaken { established, framed, via })
    };
    timeout(HANDSHAKE_TIME, work).await.unwrap_or(Err(Failure::Time))
}

/// A stream that another node opened, whose preamble has been read.
pub(super) struct Incoming {
    pub(super) framed: Framed,
    /// The node, as the transport knows it.
    pub(super) node: NodeId,
    /// The mediator that carries it.
    pub(super) via: NodeId,
}

/// Answers a stream; `party` is whose node the roster says it is.
pub(super) async fn answer(
    ground: Arc<Ground>,
    mut roster: Roster,
    incoming: Incoming,
    party: Option<MemberId>,
) -> Result<Shaken, Failure> {
    let Incoming { mut framed, node, via } = incoming;
    let work = async {
        let mut rng = random::generator().map_err(Failure::Random)?;
        let responder = Responder::new(&ground.local()?, &mut rng)?;
        let message = poll_fn(|cx| framed.poll_message(cx, Responder::LIMIT)).await?;
        let (answered, second) = responder.read_message1(&message)?;
        send(&mut framed, &second).await?;
        let message = poll_fn(|cx| framed.poll_message(cx, Answered::LIMIT)).await?;
        let expected = Expected { party, node: PublicKey::from_bytes(*node.as_bytes()).ok() };
        let mut admission = Admission { roster: &mut roster, expected };
        let established = answered.read_message3(&message, &mut admission)?;
        Ok(Shaken { established, framed, via })
    };
    timeout(HANDSHAKE_TIME, work).await.unwrap_or(Err(Failure::Time))
}

async fn send(framed: &mut Framed, bytes: &[u8]) -> Result<(), Ended> {
    let io = |error: std::io::Error| Ended::Io(error.to_string());
    framed.stream.write_all(bytes).await.map_err(io)?;
    framed.stream.flush().await.map_err(io)
}
