//! A hostile program: libp2p by itself, with a key of its own or one that it has stolen, and no manners. It speaks the
//! protocols of the wire (docs/protocol.md §9) as far as it needs to misuse them.

use std::{path::Path, time::Duration};

use demarche_control::layout::DataDir;
use demarche_protocol::identity::{card::CardSerial, openssh};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _, future::Either, pin_mut};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identity,
    multiaddr::Protocol,
    noise, ping, relay,
    swarm::{
        NetworkBehaviour, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
    tcp, tls, yamux,
};
use tokio::time::timeout;

/// Sessions between capitals.
pub(crate) const LIVE: StreamProtocol = StreamProtocol::new("/demarche/live/1");
/// Documents of the roster.
pub(crate) const ROSTER: StreamProtocol = StreamProtocol::new("/demarche/roster/1");

/// Longer than any refusal takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::client::Behaviour,
    streams: libp2p_stream::Behaviour,
    /// Whoever does not answer is dropped as dead, and proves nothing.
    ping: ping::Behaviour,
}

/// The program.
pub(crate) struct Hostile {
    swarm: Swarm<Behaviour>,
    streams: libp2p_stream::Control,
    mediator: Multiaddr,
}

impl Hostile {
    /// With this key, or with a fresh one, before it has dialled anybody.
    pub(crate) fn new(key: Option<identity::Keypair>, port: u16) -> Self {
        let key = key.unwrap_or_else(identity::Keypair::generate_ed25519);
        let swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), tls::Config::new, yamux::Config::default)
            .expect("tcp")
            .with_relay_client(noise::Config::new, yamux::Config::default)
            .expect("circuits")
            .with_behaviour(|_, relay| Behaviour {
                relay,
                streams: libp2p_stream::Behaviour::new(),
                ping: ping::Behaviour::default(),
            })
            .expect("behaviour")
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
            .build();
        let streams = swarm.behaviour().streams.new_control();
        let mediator = format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("an address");
        Self { swarm, streams, mediator }
    }

    /// Dials the mediator, and gives who answers there.
    pub(crate) async fn connect(&mut self) -> PeerId {
        self.swarm.dial(DialOpts::unknown_peer_id().address(self.mediator.clone()).build()).expect("dials");
        self.until("a connection", |event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => Some(peer_id),
            SwarmEvent::OutgoingConnectionError { error, .. } => panic!("not even a connection: {error}"),
            _ => None,
        })
        .await
    }

    /// Asks for a reservation.
    pub(crate) async fn reserve(&mut self, mediator: PeerId) -> Result<(), String> {
        self.swarm.listen_on(self.over(mediator)).expect("asks");
        self.until("an answer to the reservation", |event| match event {
            SwarmEvent::Behaviour(BehaviourEvent::Relay(relay::client::Event::ReservationReqAccepted {
                ..
            })) => Some(Ok(())),
            SwarmEvent::ListenerClosed { reason, .. } => Some(Err(format!("{reason:?}"))),
            _ => None,
        })
        .await
    }

    /// Asks for a circuit to a node.
    pub(crate) async fn circuit(&mut self, mediator: PeerId, to: PeerId) -> Result<(), String> {
        let dial = DialOpts::peer_id(to)
            .condition(PeerCondition::Always)
            .addresses(vec![self.over(mediator)])
            .build();
        self.swarm.dial(dial).map_err(|error| error.to_string())?;
        self.until("an answer to the circuit", |event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == to => Some(Ok(())),
            SwarmEvent::OutgoingConnectionError { error, .. } => Some(Err(error.to_string())),
            _ => None,
        })
        .await
    }

    /// Opens a stream and says this on it. Gives the stream; nobody has answered yet.
    pub(crate) async fn say(
        &mut self,
        to: PeerId,
        on: StreamProtocol,
        bytes: &[u8],
    ) -> Result<Stream, String> {
        let mut streams = self.streams.clone();
        self.meanwhile(async move {
            let mut stream = streams.open_stream(to, on).await.map_err(|error| error.to_string())?;
            stream.write_all(bytes).await.map_err(|error| error.to_string())?;
            stream.flush().await.map_err(|error| error.to_string())?;
            Ok(stream)
        })
        .await
    }

    /// Reads a stream until the other side ends it, and gives what came.
    pub(crate) async fn until_end(&mut self, mut stream: Stream) -> Vec<u8> {
        self.meanwhile(async move {
            let mut all = Vec::new();
            let mut some = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut some).await {
                all.extend_from_slice(&some[..read]);
            }
            all
        })
        .await
    }

    /// Asks for a few circuits to a node, and waits for an answer as long as it is let. `Err` when it gets one.
    pub(crate) async fn insist(mut self, mediator: PeerId, to: PeerId) -> Result<(), &'static str> {
        for _ in 0..3 {
            let dial = DialOpts::peer_id(to)
                .condition(PeerCondition::Always)
                .addresses(vec![self.over(mediator)])
                .build();
            self.swarm.dial(dial).expect("asks");
        }
        self.until("an answer", |event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == to => Some(Err("a circuit")),
            SwarmEvent::ConnectionClosed { num_established: 0, peer_id, .. } if peer_id == mediator => {
                Some(Ok(()))
            }
            _ => None,
        })
        .await
    }

    fn over(&self, mediator: PeerId) -> Multiaddr {
        self.mediator.clone().with(Protocol::P2p(mediator)).with(Protocol::P2pCircuit)
    }

    async fn until<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(SwarmEvent<BehaviourEvent>) -> Option<T>,
    ) -> T {
        let search = async {
            loop {
                if let Some(found) = pick(self.swarm.select_next_some().await) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    /// Keeps the connections alive while something is awaited.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        pin_mut!(work);
        let both = async {
            loop {
                let event = self.swarm.select_next_some();
                pin_mut!(event);
                if let Either::Right((done, _)) = futures::future::select(event, &mut work).await {
                    return done;
                }
            }
        };
        timeout(PATIENCE, both).await.expect("in time")
    }
}

/// A node's key, stolen from its data directory.
pub(crate) fn stolen(data: &Path, serial: u64) -> identity::Keypair {
    let file = DataDir::new(data).node_key(CardSerial(serial));
    let text = std::fs::read_to_string(file).expect("a key");
    let key = openssh::read(&text, None).expect("a key without a passphrase");
    identity::Keypair::ed25519_from_bytes(key.seed().to_vec()).expect("a key")
}

/// How a node's log calls a key that it knows nothing of.
pub(crate) fn number(key: &identity::Keypair) -> String {
    let public = key.public().try_into_ed25519().expect("an ed25519 key");
    let bytes = public.to_bytes();
    let begins: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("NodeId({}…)", begins.concat())
}

/// The node of a key.
pub(crate) fn node(key: &identity::Keypair) -> PeerId {
    key.public().to_peer_id()
}
