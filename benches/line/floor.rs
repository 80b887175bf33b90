//! The floor: what a notice cannot be faster than here. Three processes, a bare libp2p circuit, an echo of as many
//! bytes, and three durable commits in the store that the nodes use. No signatures, no session, no judgement.

use std::{
    fs::OpenOptions,
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

use super::{processes::Process, scene::target, statistics::Spread};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/floor/1");

/// What was measured.
pub(crate) struct Measured {
    /// Commit, there, commit, back, commit.
    pub total: Spread,
    /// There and back alone.
    pub echo: Spread,
    /// One raw append and fdatasync.
    pub append: Spread,
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

/// Measures the floor with as many bytes each way as a notice and its receipt take.
pub(crate) async fn measure(rounds: usize, entry: usize, receipt: usize) -> anyhow::Result<Measured> {
    let own = std::env::current_exe()?;
    let (_relay, address) = Process::announced("floor relay", Command::new(&own).arg("floor-relay"))?;
    let mut command = Command::new(&own);
    command.arg("floor-echo").arg(&address).arg(entry.to_string()).arg(receipt.to_string());
    let (_echo, peer) = Process::announced("floor echo", &mut command)?;
    let peer: PeerId = peer.parse()?;
    let (_directory, store) = store()?;
    let mut swarm = client()?;
    let mut control = swarm.behaviour().stream.new_control();
    swarm.dial(address.parse::<Multiaddr>()?.with(Protocol::P2pCircuit).with(Protocol::P2p(peer)))?;
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == peer => break,
            SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
            _ => {}
        }
    }
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let mut stream = control.open_stream(peer, PROTOCOL).await?;
    let (mut message, mut answer) = (vec![0; entry], vec![0; receipt]);
    let mut round = async |flag: u8| -> anyhow::Result<()> {
        if let Some(first) = message.first_mut() {
            *first = flag;
        }
        stream.write_all(&message).await?;
        stream.flush().await?;
        stream.read_exact(&mut answer).await?;
        Ok(())
    };
    let (mut echoes, mut totals) = (Vec::new(), Vec::new());
    for number in 0..rounds + 50 {
        let begin = Instant::now();
        round(0).await?;
        let echo = begin.elapsed();
        let begin = Instant::now();
        tokio::task::block_in_place(|| commit(&store, 2 * number as u64, entry))?;
        round(1).await?;
        tokio::task::block_in_place(|| commit(&store, 2 * number as u64 + 1, receipt))?;
        // The first rounds warm connections and store.
        if number >= 50 {
            echoes.push(echo);
            totals.push(begin.elapsed());
        }
    }
    Ok(Measured { total: Spread::of(totals), echo: Spread::of(echoes), append: append(rounds, entry)? })
}

fn append(rounds: usize, bytes: usize) -> anyhow::Result<Spread> {
    let directory = tempfile::Builder::new().prefix("demarche-append").tempdir_in(target())?;
    let mut file = OpenOptions::new().create(true).append(true).open(directory.path().join("log"))?;
    let record = vec![7; bytes];
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let begin = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    Ok(Spread::of(times))
}
