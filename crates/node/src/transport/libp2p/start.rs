//! Starting the network task: the node's key, its role, and for a mediator the sockets it listens on.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use futures::StreamExt;
use libp2p::{Swarm, core::transport::ListenerId, identity, swarm::SwarmEvent};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use zeroize::Zeroizing;

use super::{
    Libp2pTransport,
    backlog::Backlog,
    driver::Driver,
    errors::chain,
    identity::node_id,
    known::Known,
    multiaddr::{ip, multiaddr, port},
    stack::{self, Behaviour},
    twice::Displacements,
};
use crate::transport::{
    Address, Admission, Carrier, Directory, Events,
    address::Host,
    defaults::{COMMAND_QUEUE, HANDSHAKE_TIMEOUT, RELEASE_TIME},
};

/// What a network task needs to begin.
pub(crate) struct Config {
    /// The 32-byte seed of the node's Ed25519 key; wiped when the task has taken it over.
    pub seed: Zeroizing<[u8; 32]>,
    /// What the node is.
    pub role: Role,
}

/// What a node does on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Connects to mediators; listens nowhere but there.
    Capital,
    /// Listens and relays.
    Mediator {
        /// Where to listen: literal addresses, `0.0.0.0` and `[::]` included. Port 0 takes any free one.
        listen: Vec<Address>,
        /// How others reach it, if that differs from `listen`; reservations are announced with these.
        public: Vec<Address>,
    },
}

/// Why a network task did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StartError {
    /// The seed gives no usable key or certificate.
    #[error("the node's key cannot be used")]
    Key,
    /// The system's name resolver is misconfigured.
    #[error("the name resolver cannot be started")]
    Resolver(#[source] io::Error),
    /// A mediator has to listen somewhere, on a literal address.
    #[error(
        "cannot listen on {0}: a mediator listens on literal addresses\nhelp: set [network] listen in demarched.toml, like 0.0.0.0:7701"
    )]
    NotLiteral(Address),
    /// A mediator with no address to listen on.
    #[error(
        "a mediator needs an address to listen on\nhelp: set [network] listen in demarched.toml, like 0.0.0.0:7701"
    )]
    NowhereToListen,
    /// The system refuses the socket: in use already, or not ours.
    #[error(
        "cannot listen on {address}: {reason}\nhelp: end what listens there, or set another [network] listen in demarched.toml"
    )]
    Listen {
        /// The address that was asked for.
        address: Address,
        /// The system's answer.
        reason: String,
    },
}

/// Starts the network task on the current tokio runtime.
///
/// When it returns, a mediator's sockets are bound. The returned [`Events`] must be read, or link states queue up
/// and streams of others are turned away.
pub(crate) async fn start(config: Config) -> Result<(Libp2pTransport, Events), StartError> {
    let Config { mut seed, role } = config;
    let keypair = identity::Keypair::ed25519_from_bytes(&mut seed[..]).map_err(|_| StartError::Key)?;
    let local = node_id(&keypair.public().to_peer_id()).ok_or(StartError::Key)?;
    let known = Known::default();
    let is_mediator = matches!(role, Role::Mediator { .. });
    let mut swarm = stack::build(&keypair, is_mediator, &known).map_err(|error| match error {
        stack::StackError::Certificate => StartError::Key,
        stack::StackError::Resolver(error) => StartError::Resolver(error),
    })?;
    let listening = match &role {
        Role::Capital => Vec::new(),
        Role::Mediator { listen, public } => listen_all(&mut swarm, listen, public).await?,
    };

    let (commands, command_queue) = mpsc::channel(COMMAND_QUEUE);
    let (directory, directory_seen) = watch::channel(Directory::default());
    let (admission, admission_seen) = watch::channel(Admission::default());
    let (backlog, events) = Backlog::new();
    let driver = Driver {
        swarm,
        is_mediator,
        commands: command_queue,
        directory: directory_seen,
        admission: admission_seen,
        backlog,
        known,
        connections: HashMap::new(),
        links: BTreeMap::new(),
        dials: HashMap::new(),
        waiting: BTreeMap::new(),
        errands: HashMap::new(),
        next_errand: 0,
        circuits: Vec::new(),
        displacements: Displacements::default(),
    };
    tokio::spawn(driver.run());
    tracing::debug!(node = ?local, ?listening, "the network task stands");
    let transport = Libp2pTransport {
        #[cfg(test)]
        local,
        #[cfg(test)]
        listening,
        commands,
        directory,
        admission,
    };
    Ok((transport, Events(events)))
}

/// Binds every address for both carriers and gives them with the ports that were bound.
async fn listen_all(
    swarm: &mut Swarm<Behaviour>,
    listen: &[Address],
    public: &[Address],
) -> Result<Vec<Address>, StartError> {
    if listen.is_empty() {
        return Err(StartError::NowhereToListen);
    }
    let mut bound = Vec::new();
    for address in listen {
        let Host::Ip(host) = address.host() else {
            return Err(StartError::NotLiteral(address.clone()));
        };
        // TCP first: if any port will do, QUIC takes the one that TCP was given.
        let port = listen_on(swarm, address, Carrier::Tcp).await?;
        let address = Address::from_ip(*host, port);
        listen_on(swarm, &address, Carrier::Quic).await?;
        bound.push(address);
    }
    // Without an external address the relay grants reservations that its clients take for invalid.
    for address in if public.is_empty() { &bound } else { public } {
        for carrier in [Carrier::Tcp, Carrier::Quic] {
            swarm.add_external_address(multiaddr(address, carrier));
        }
    }
    Ok(bound)
}

/// Binds one socket and gives its port. A socket that is in use may be that of our own last transport, which is shut down and
/// whose QUIC endpoint lets go of it in a task of its own: so that is waited for.
async fn listen_on(
    swarm: &mut Swarm<Behaviour>,
    address: &Address,
    carrier: Carrier,
) -> Result<u16, StartError> {
    let refused = |reason: String| StartError::Listen { address: address.clone(), reason };
    let begun = Instant::now();
    let listener = loop {
        match swarm.listen_on(multiaddr(address, carrier)) {
            Ok(listener) => break listener,
            Err(error) => {
                let reason = chain(&error);
                if !reason.contains("in use") || begun.elapsed() > RELEASE_TIME {
                    return Err(refused(reason));
                }
                sleep(RELEASE_TIME / 100).await;
            }
        }
    };
    timeout(HANDSHAKE_TIMEOUT, bound_port(swarm, listener))
        .await
        .unwrap_or_else(|_| Err("the socket reports no address".to_owned()))
        .map_err(refused)
}

async fn bound_port(swarm: &mut Swarm<Behaviour>, listener: ListenerId) -> Result<u16, String> {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { listener_id, address }
                if listener_id == listener && ip(&address).is_some() =>
            {
                return port(&address).ok_or_else(|| "the socket has no port".to_owned());
            }
            SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. } if listener_id == listener => {
                return Err(chain(&error));
            }
            _ => {}
        }
    }
}
