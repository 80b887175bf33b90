//! Whole nodes within one process: real store, real officers' sockets, and the network in memory.

mod alarms;
mod bell;
mod control;
mod custody;
mod endings;
mod heartbeat;
mod home;
mod judgement;
mod line;
mod lost;
mod mediators;
mod misled;
mod set_back;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use demarche_control::{
    Bookmark, Client, SignedFile,
    layout::{self, ChannelDir, DataDir, PRIVATE},
    secret_file,
    types::{Event, EventKind, OpenRequest, Sent},
};
use demarche_protocol::{
    dispatch::{Content, Precedence},
    document::SignedDocument,
    identity::{member::MemberId, officer::Duty, openssh},
};
use demarche_testkit::fixtures::{self, NodeKeys, Scene};
use futures::{FutureExt as _, future::BoxFuture};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{
    config::Config,
    line::{Place, Started, Wires},
    node::{Node, NodeError},
    store::{
        Store,
        fault::{Fault, FaultStore},
    },
    transport::{NodeId, Transport, memory::Network},
};

/// Longer than anything here takes; a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const NAME: &str = "memo26";

struct InMemory(Network);

impl Wires for InMemory {
    fn start(&self, seed: Zeroizing<[u8; 32]>, place: Place) -> BoxFuture<'static, Started> {
        let node = demarche_protocol::identity::keys::SecretKey::from_seed(&seed).public();
        let node = NodeId::from_bytes(*node.as_bytes());
        let network = self.0.clone();
        async move {
            let (transport, events) = match place {
                Place::Capital => network.capital(node),
                Place::Mediator { listen, .. } => network.mediator(node, listen[0].clone()),
            };
            let transport: Arc<dyn Transport> = Arc::new(transport);
            Ok((transport, events))
        }
        .boxed()
    }
}

/// Two capitals and a mediator, as installed.
struct Stage {
    scene: Scene,
    network: Network,
    homes: BTreeMap<MemberId, TempDir>,
}

/// A running node.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), NodeError>>,
    client: Client,
}

impl Stage {
    fn new() -> Self {
        Self::of(2)
    }

    /// So many capitals.
    fn of(parties: usize) -> Self {
        Self::with(Scene::new(parties))
    }

    /// Those of a scene.
    fn with(scene: Scene) -> Self {
        let stage = Self { scene, network: Network::new(), homes: BTreeMap::new() };
        let members: Vec<MemberId> = stage.members();
        let homes = members.iter().map(|member| (member.clone(), tempfile::tempdir().unwrap())).collect();
        let stage = Self { homes, ..stage };
        for member in &members {
            stage.set_up(member, 1);
        }
        stage.install(NAME, &stage.scene);
        stage
    }

    /// Installs a charter with cards and officers everywhere, under a local name.
    fn install(&self, name: &str, scene: &Scene) {
        for member in self.members() {
            let channel = self.data(&member).channel(name);
            for folder in [channel.incoming(), channel.installed()] {
                layout::make_directory(&folder, 0o700).unwrap();
            }
            write_json(&channel.charter(), scene.charter.document());
            let mut left: Vec<SignedDocument> =
                self.members().iter().map(|other| self.card(other, 1)).collect();
            if !self.mediates(&member) {
                let duties = [Duty::Draft, Duty::Release, Duty::Acknowledge];
                left.push(fixtures::officer(&member, 1, &duties));
            }
            for document in left {
                leave(&channel, &document);
            }
        }
    }

    fn members(&self) -> Vec<MemberId> {
        let mediators = self.scene.charter.mediators.iter().map(|mediator| &mediator.id);
        self.scene.parties.iter().chain(mediators).cloned().collect()
    }

    fn mediates(&self, member: &MemberId) -> bool {
        self.scene.charter.mediators.iter().any(|mediator| mediator.id == *member)
    }

    fn data(&self, member: &MemberId) -> DataDir {
        DataDir::new(self.homes[member].path())
    }

    fn card(&self, member: &MemberId, serial: u64) -> SignedDocument {
        if self.mediates(member) {
            fixtures::mediator_card(member.as_str(), serial)
        } else {
            fixtures::card(member.as_str(), serial)
        }
    }

    /// What `setup` or `card renew` leaves: the drafted card and its keys.
    fn set_up(&self, member: &MemberId, serial: u64) {
        let data = self.data(member);
        let card = self.card(member, serial);
        layout::write(&data.card(member), card.text().as_bytes(), PRIVATE).unwrap();
        let keys = NodeKeys::of(member.as_str(), serial);
        let serial = demarche_protocol::identity::card::CardSerial(serial);
        layout::make_directory(&data.keys(serial), 0o700).unwrap();
        let pem = openssh::write(&keys.node, "node", None).unwrap();
        layout::write(&data.node_key(serial), pem.as_bytes(), PRIVATE).unwrap();
        let session = secret_file::session(&keys.session);
        layout::write(&data.session_key(serial), session.as_bytes(), PRIVATE).unwrap();
        let prekey = secret_file::prekey(&fixtures::prekey());
        layout::write(&data.prekey(serial), prekey.as_bytes(), PRIVATE).unwrap();
    }

    /// What `install` leaves.
    fn leave(&self, member: &MemberId, document: &SignedDocument) {
        leave(&self.data(member).channel(NAME), document);
    }

    async fn start(&self, member: &MemberId) -> Running {
        self.start_with(member, Config::default()).await
    }

    async fn start_with(&self, member: &MemberId, config: Config) -> Running {
        let node = self.try_start(member, config).await.unwrap();
        self.run(member, node)
    }

    async fn try_start(&self, member: &MemberId, config: Config) -> Result<Node, NodeError> {
        Node::start(self.data(member), config, self.wires()).await
    }

    /// A node whose store fails on demand.
    async fn start_on_a_bad_disk(&self, member: &MemberId) -> (Running, Arc<Mutex<Fault>>) {
        self.start_on_a_bad_disk_with(member, Config::default()).await
    }

    async fn start_on_a_bad_disk_with(
        &self,
        member: &MemberId,
        config: Config,
    ) -> (Running, Arc<Mutex<Fault>>) {
        let mut fault = None;
        let layer = |store| -> Arc<dyn Store> {
            let (store, switch) = FaultStore::new(store);
            fault = Some(switch);
            Arc::new(store)
        };
        let node = Node::start_with(self.data(member), config, self.wires(), layer).await.unwrap();
        (self.run(member, node), fault.unwrap())
    }

    fn wires(&self) -> Arc<dyn Wires> {
        Arc::new(InMemory(self.network.clone()))
    }

    fn run(&self, member: &MemberId, node: Node) -> Running {
        let client = Client::new(self.data(member).socket());
        let stop = CancellationToken::new();
        let task = tokio::spawn(node.run(stop.clone()));
        Running { stop, task, client }
    }

    fn party(&self, at: usize) -> MemberId {
        self.scene.parties[at].clone()
    }

    /// A dispatch of a party, signed by its officer.
    fn signed(&self, party: &MemberId, precedence: Precedence, content: Content) -> SignedFile {
        let dispatch = self.scene.dispatch(party, precedence, content);
        SignedFile::of(&fixtures::signed(&dispatch, &fixtures::officer_key(party, 1))).unwrap()
    }
}

fn node_of(member: &MemberId, serial: u64) -> NodeId {
    NodeId::from_bytes(*NodeKeys::of(member.as_str(), serial).node.public().as_bytes())
}

fn officer_of(party: &MemberId) -> OpenRequest {
    OpenRequest { officer_key: fixtures::officer_key(party, 1).public().to_openssh() }
}

fn leave(channel: &ChannelDir, document: &SignedDocument) {
    write_json(&channel.incoming_file(document.id()), document);
    write_json(&channel.installed_file(document.id()), document);
}

fn write_json(path: &std::path::Path, document: &SignedDocument) {
    layout::write(path, SignedFile::of(document).unwrap().to_json().as_bytes(), PRIVATE).unwrap();
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.expect("it ends in time").unwrap().unwrap();
    }

    async fn send(&self, file: &SignedFile) -> Sent {
        self.client.send(NAME, file).await.unwrap()
    }

    /// Waits for an event, reading the feed from its beginning.
    async fn until(&self, what: impl Fn(&Event) -> bool) -> Event {
        let mut seen = Vec::new();
        let search = async {
            let mut feed = self.client.events(Some(Bookmark::START)).await.unwrap();
            while let Some(event) = feed.next().await.unwrap() {
                if what(&event) {
                    return event;
                }
                seen.push((event.kind, event.header.map(|header| header.serial.to_string()), event.detail));
            }
            panic!("the feed ended");
        };
        match timeout(PATIENCE, search).await {
            Ok(event) => event,
            Err(late) => panic!("it did not happen ({late}); what did: {seen:?}"),
        }
    }

    async fn until_kind(&self, kind: EventKind, document: &str) -> Event {
        self.until(|event| {
            event.kind == kind
                && event.header.as_ref().is_some_and(|header| header.document.to_string() == document)
        })
        .await
    }
}
