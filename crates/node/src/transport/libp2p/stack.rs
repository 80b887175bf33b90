//! The protocols under the network task, from sockets up: TCP with TLS 1.3 and yamux, QUIC, circuits with Noise
//! and yamux over both; and on top ping, relay (client or server), the door and our streams.
//!
//! There is no identify and no DCUtR: both tell a peer our addresses. TLS and QUIC negotiate X25519MLKEM768; the
//! Noise of a circuit is classical, but only the mediator could read there, and what it finds is sealed by the session.

use std::{io, time::Duration};

use libp2p::{
    PeerId, Swarm, Transport as _,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, dummy::DummyTransport},
        upgrade::Version,
    },
    dns, identity, noise, ping, quic, relay,
    swarm::{self, NetworkBehaviour, behaviour::toggle::Toggle},
    tcp, tls, yamux,
};

use super::{close::BoundedClose, door, gate::Gate, gather::Gathered, known::Known, streams};
use crate::transport::defaults::{
    HANDSHAKE_TIMEOUT, MAX_NEGOTIATING_STREAMS, MAX_STRANGER_STREAMS, MAX_STREAMS, PING_INTERVAL,
    QUIC_CONNECTION_WINDOW, QUIC_STREAM_WINDOW, SILENCE_LIMIT,
};

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    /// First, so that it refuses before others spend anything on a connection.
    pub(super) door: door::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) streams: streams::Behaviour,
    pub(super) client: Toggle<relay::client::Behaviour>,
    pub(super) relay: Toggle<Gate>,
}

/// Why the stack could not be built.
#[derive(Debug, thiserror::Error)]
pub(super) enum StackError {
    #[error("the node's key makes no certificate")]
    Certificate,
    #[error("the name resolver does not start")]
    Resolver(#[source] io::Error),
}

/// Builds the swarm of a mediator or a capital. It neither listens nor dials yet.
pub(super) fn build(
    keypair: &identity::Keypair,
    mediator: bool,
    known: &Known,
) -> Result<Swarm<Behaviour>, StackError> {
    let local = keypair.public().to_peer_id();
    let (circuits, client) = relay::client::new(local);
    let transport = transport(keypair, circuits, known)?;
    let behaviour = Behaviour {
        door: door::Behaviour::new(known.clone()),
        ping: ping::Behaviour::new(
            // Silence is judged by the network task; a ping's own timeout must only not come before.
            ping::Config::new().with_interval(PING_INTERVAL).with_timeout(SILENCE_LIMIT + PING_INTERVAL),
        ),
        streams: streams::Behaviour::default(),
        client: (!mediator).then_some(client).into(),
        relay: mediator.then(|| Gate::new(local, known.clone())).into(),
    };
    let config = swarm::Config::with_tokio_executor()
        .with_max_negotiating_inbound_streams(MAX_NEGOTIATING_STREAMS)
        // Never reached: our streams keep every connection until the network task closes it.
        .with_idle_connection_timeout(Duration::from_secs(600));
    Ok(Swarm::new(transport, behaviour, local, config))
}

fn transport(
    keypair: &identity::Keypair,
    circuits: relay::client::Transport,
    known: &Known,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, StackError> {
    let tls = tls::Config::new(keypair).map_err(|_| StackError::Certificate)?;
    let noise = noise::Config::new(keypair).map_err(|_| StackError::Certificate)?;

    let muxer = yamux_by_standing(known);
    let tcp = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(tls)
        .multiplex_ext(move |peer, _| Gathered(muxer(peer)))
        .timeout(HANDSHAKE_TIMEOUT)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));

    let mut config = quic::Config::new(keypair);
    config.handshake_timeout = HANDSHAKE_TIMEOUT;
    config.max_idle_timeout = 10_000;
    config.keep_alive_interval = Duration::from_secs(5);
    config.max_concurrent_stream_limit = u32::try_from(MAX_STREAMS).unwrap_or(u32::MAX);
    config.max_connection_data = QUIC_CONNECTION_WINDOW;
    config.max_stream_data = QUIC_STREAM_WINDOW;
    let quic = quic::tokio::Transport::new(config).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));

    let direct = tcp.or_transport(quic).map(|either, _| either.into_inner());
    // A node whose mediators have literal addresses needs no resolver, so a missing resolv.conf must not stop it.
    let direct = if dns::tokio::Transport::system(DummyTransport::<()>::new()).is_ok() {
        dns::tokio::Transport::system(direct).map_err(StackError::Resolver)?.boxed()
    } else {
        tracing::warn!("no name resolver: mediators are reached by literal addresses only");
        direct.boxed()
    };

    let muxer = yamux_by_standing(known);
    let circuits = circuits
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex_ext(move |peer, _| muxer(peer))
        .timeout(HANDSHAKE_TIMEOUT)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));

    Ok(circuits
        .or_transport(direct)
        .map(|either, _| {
            let (peer, muxer) = either.into_inner();
            (peer, StreamMuxerBox::new(BoundedClose::new(muxer)))
        })
        .boxed())
}

/// Chooses the multiplexer's bounds by what its node may do. A stranger that becomes known has to connect anew.
fn yamux_by_standing(known: &Known) -> impl Fn(&PeerId) -> yamux::Config + Clone + use<> {
    let known = known.clone();
    move |peer| {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(if known.contains_peer(peer) {
            MAX_STREAMS
        } else {
            MAX_STRANGER_STREAMS
        });
        config
    }
}
