//! Opening and accepting streams on a connection of our choice.
//!
//! libp2p's own stream behaviour picks a connection to the peer at random and does not tell on which one a stream
//! came in; but which mediator carries a stream is what the runtime decides and reports. This behaviour addresses
//! connections. It takes every inbound stream and leaves judging it to the network task, which refuses by name.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{
        Endpoint,
        transport::PortUse,
        upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo},
    },
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use tokio::sync::oneshot;

use crate::transport::{OpenError, StreamKind, defaults::OPEN_TIMEOUT};

const KINDS: [StreamKind; 3] = [StreamKind::Live, StreamKind::Custody, StreamKind::Roster];

fn protocol(kind: StreamKind) -> StreamProtocol {
    StreamProtocol::new(match kind {
        StreamKind::Live => "/demarche/live/1",
        StreamKind::Custody => "/demarche/custody/1",
        StreamKind::Roster => "/demarche/roster/1",
    })
}

/// Where the outcome of an open goes.
pub(super) type Reply = oneshot::Sender<Result<Stream, OpenError>>;

/// A stream that the other side opened.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) connection: ConnectionId,
    pub(super) kind: StreamKind,
    pub(super) stream: Stream,
}

#[derive(Default)]
pub(super) struct Behaviour {
    actions: VecDeque<ToSwarm<Inbound, Open>>,
}

impl Behaviour {
    /// Opens a stream on one connection. If that has gone, the reply's sender is dropped.
    pub(super) fn open(&mut self, peer_id: PeerId, connection: ConnectionId, kind: StreamKind, reply: Reply) {
        self.actions.push_back(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(connection),
            event: Open { kind, reply },
        });
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Inbound;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        connection: ConnectionId,
        (kind, stream): THandlerOutEvent<Self>,
    ) {
        self.actions.push_back(ToSwarm::GenerateEvent(Inbound { connection, kind, stream }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Inbound, THandlerInEvent<Self>>> {
        // No waker is kept: `open` is called by the task that polls the swarm, just before it polls again.
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Tells a connection's handler to open a stream.
pub(super) struct Open {
    kind: StreamKind,
    reply: Reply,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Open").field(&self.kind).finish()
    }
}

#[derive(Default)]
pub(super) struct Handler {
    actions: VecDeque<ConnectionHandlerEvent<Offer, Reply, (StreamKind, Stream)>>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = (StreamKind, Stream);
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(Offer(KINDS.into()), ())
    }

    /// Always: which connections stay is the network task's decision, not a matter of idleness.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Offer, Reply, (StreamKind, Stream)>> {
        // The connection polls again after each event that it hands to the handler.
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn on_behaviour_event(&mut self, Open { kind, reply }: Open) {
        self.actions.push_back(ConnectionHandlerEvent::OutboundSubstreamRequest {
            protocol: SubstreamProtocol::new(Offer(vec![kind]), reply).with_timeout(OPEN_TIMEOUT),
        });
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer, (), Reply>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.actions.push_back(ConnectionHandlerEvent::NotifyBehaviour(protocol));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (_, stream),
                info: reply,
            }) => {
                // Whoever asked may have given up; the stream is then reset by being dropped.
                let _ = reply.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: reply, error }) => {
                let error = match error {
                    StreamUpgradeError::Timeout => OpenError::Timeout,
                    StreamUpgradeError::NegotiationFailed => OpenError::Unsupported,
                    StreamUpgradeError::Io(error) => OpenError::Failed(error.to_string()),
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = reply.send(Err(error));
            }
            _ => {}
        }
    }
}

/// Stream kinds to choose from. The negotiated stream is passed on as it is.
pub(super) struct Offer(Vec<StreamKind>);

/// A kind in the form that negotiation wants.
#[derive(Clone)]
pub(super) struct Named(StreamKind, StreamProtocol);

impl AsRef<str> for Named {
    fn as_ref(&self) -> &str {
        self.1.as_ref()
    }
}

impl UpgradeInfo for Offer {
    type Info = Named;
    type InfoIter = Vec<Named>;

    fn protocol_info(&self) -> Vec<Named> {
        self.0.iter().map(|kind| Named(*kind, protocol(*kind))).collect()
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (StreamKind, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, Named(kind, _): Named) -> Self::Future {
        ready(Ok((kind, stream)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (StreamKind, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, Named(kind, _): Named) -> Self::Future {
        ready(Ok((kind, stream)))
    }
}
