//! The floor: what a notice cannot be faster than here. Three processes, a bare libp2p circuit, an echo of as many
//! bytes, and three durable commits in the store that the nodes use. No signatures, no session, no judgement.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use demarche_node::store::{Commit, SledStore, Store as _};
use demarche_protocol::{
    channel::{Batch, Record},
    document::SignedDocument,
    hash::ChannelId,
};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder,
    multiaddr::Protocol,
    noise, relay,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, tls, yamux,
};

use super::{processes::Running, target};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/floor/1");

/// One round, measured.
pub(crate) struct Round {
    /// Commit, there, commit, back, commit.
    pub total: Duration,
    /// There and back alone.
    pub echo: Duration,
    /// One raw append and fdatasync.
    pub append: Duration,
}

/// The three processes, ready.
pub(crate) struct Floor {
    stream: libp2p::Stream,
    message: Vec<u8>,
    answer: Vec<u8>,
    store: SledStore,
    committed: u64,
    log: File,
    /// Kept until the end: the relay and the echo, and the directories of store and log.
    _processes: [Running; 2],
    _directories: [tempfile::TempDir; 2],
}

#[derive(NetworkBehaviour)]
struct Server {
    relay: relay::Behaviour,
}

#[derive(NetworkBehaviour)]
struct Client {
    relay: relay::client::Behaviour,
    stream: libp2p_stream::Behaviour,
}

/// The role of the mediator: relays, and announces its address on stdout.
pub(crate) fn relay() -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default().nodelay(true), tls::Config::new, yamux::Config::default)?
            .with_behaviour(|key| {
                let mut config = relay::Config { max_circuit_bytes: 0, ..relay::Config::default() };
                config.max_circuit_duration = Duration::from_secs(u64::from(u32::MAX));
                config.reservation_rate_limiters.clear();
                config.circuit_src_rate_limiters.clear();
                Server { relay: relay::Behaviour::new(key.public().to_peer_id(), config) }
            })?
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
            .build();
        swarm.behaviour_mut().relay.set_status(Some(relay::Status::Enable));
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
        let me = *swarm.local_peer_id();
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                swarm.add_external_address(address.clone());
                println!("{}", address.with(Protocol::P2p(me)));
            }
        }
    })
}

fn client() -> anyhow::Result<Swarm<Client>> {
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), tls::Config::new, yamux::Config::default)?
        .with_relay_client(noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_, relay| Client { relay, stream: libp2p_stream::Behaviour::new() })?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build())
}

fn store() -> anyhow::Result<(tempfile::TempDir, SledStore)> {
    let directory = tempfile::Builder::new().prefix("demarche-floor").tempdir_in(target())?;
    let store = SledStore::open(directory.path())?;
    Ok((directory, store))
}

/// Commits one record of about so many bytes.
fn commit(store: &SledStore, number: u64, bytes: usize) -> anyhow::Result<()> {
    let text = format!("{number:020}{}", "x".repeat(bytes.saturating_sub(60)));
    let batch = Batch { records: vec![Record::Roster(SignedDocument::unsigned(text))] };
    store.commit(&[Commit { channel: ChannelId::of(b"floor"), batch }])?;
    Ok(())
}

/// The role of the receiving capital: `floor-echo RELAY ENTRY RECEIPT`.
pub(crate) fn echo(arguments: &[String]) -> anyhow::Result<()> {
    let [relay, entry, receipt] = arguments else { anyhow::bail!("floor-echo RELAY ENTRY RECEIPT") };
    let (relay, entry, receipt): (Multiaddr, usize, usize) =
        (relay.parse()?, entry.parse()?, receipt.parse()?);
    tokio::runtime::Runtime::new()?.block_on(async {
        let (_directory, store) = store()?;
        let mut swarm = client()?;
        let mut incoming = swarm.behaviour().stream.new_control().accept(PROTOCOL)?;
        swarm.listen_on(relay.with(Protocol::P2pCircuit))?;
        let me = *swarm.local_peer_id();
        tokio::spawn(async move {
            loop {
                if let SwarmEvent::Behaviour(ClientEvent::Relay(
                    relay::client::Event::ReservationReqAccepted { .. },
                )) = swarm.select_next_some().await
                {
                    println!("{me}");
                }
            }
        });
        let (_, mut stream) = incoming.next().await.context("no stream")?;
        let (mut buffer, answer) = (vec![0; entry], vec![1; receipt]);
        let mut number = 0;
        while stream.read_exact(&mut buffer).await.is_ok() {
            number += 1;
            // The first byte says whether the commit is part of this round.
            if buffer.first() == Some(&1) {
                tokio::task::block_in_place(|| commit(&store, number, entry))?;
            }
            stream.write_all(&answer).await?;
            stream.flush().await?;
        }
        Ok(())
    })
}

impl Floor {
    /// Starts them, to carry as many bytes each way as a notice and its receipt take.
    pub(crate) async fn start(entry: usize, receipt: usize) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let (relay, address) = Running::announced(Command::new(&own).arg("floor-relay"))?;
        let mut command = Command::new(&own);
        command.arg("floor-echo").arg(&address).arg(entry.to_string()).arg(receipt.to_string());
        let (echo, peer) = Running::announced(&mut command)?;
        let stream = connect(address.parse()?, peer.parse()?).await?;
        let (directory, store) = store()?;
        let appended = tempfile::Builder::new().prefix("demarche-append").tempdir_in(target())?;
        let log = OpenOptions::new().create(true).append(true).open(appended.path().join("log"))?;
        let (message, answer) = (vec![0; entry], vec![0; receipt]);
        let processes = [relay, echo];
        let directories = [directory, appended];
        Ok(Self {
            stream,
            message,
            answer,
            store,
            committed: 0,
            log,
            _processes: processes,
            _directories: directories,
        })
    }

    /// Plays one round.
    pub(crate) async fn round(&mut self) -> anyhow::Result<Round> {
        let begin = Instant::now();
        self.there_and_back(false).await?;
        let echo = begin.elapsed();
        let begin = Instant::now();
        self.commit(self.message.len())?;
        self.there_and_back(true).await?;
        self.commit(self.answer.len())?;
        let total = begin.elapsed();
        let begin = Instant::now();
        self.log.write_all(&self.message)?;
        self.log.sync_data()?;
        Ok(Round { total, echo, append: begin.elapsed() })
    }

    fn commit(&mut self, bytes: usize) -> anyhow::Result<()> {
        self.committed += 1;
        tokio::task::block_in_place(|| commit(&self.store, self.committed, bytes))
    }

    async fn there_and_back(&mut self, committed_there: bool) -> anyhow::Result<()> {
        if let Some(first) = self.message.first_mut() {
            *first = u8::from(committed_there);
        }
        self.stream.write_all(&self.message).await?;
        self.stream.flush().await?;
        self.stream.read_exact(&mut self.answer).await?;
        Ok(())
    }
}

/// A stream to the echo over the relay's circuit.
async fn connect(relay: Multiaddr, echo: PeerId) -> anyhow::Result<libp2p::Stream> {
    let mut swarm = client()?;
    let mut control = swarm.behaviour().stream.new_control();
    swarm.dial(relay.with(Protocol::P2pCircuit).with(Protocol::P2p(echo)))?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == echo => break,
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
            _ => {}
        }
    }
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    Ok(control.open_stream(echo, PROTOCOL).await?)
}
