//! Tasks that end or lag by themselves: the node notices, says so, and does not go on as half a node.

use super::*;

/// Keeps every transport that was started, so that a test can let it die.
struct Mortal(InMemory, Arc<Mutex<Vec<Arc<dyn Transport>>>>);

impl Wires for Mortal {
    fn start(&self, seed: Zeroizing<[u8; 32]>, place: Place) -> BoxFuture<'static, Started> {
        let (starting, kept) = (self.0.start(seed, place), Arc::clone(&self.1));
        async move {
            let (transport, events) = starting.await?;
            kept.lock().unwrap().push(Arc::clone(&transport));
            Ok((transport, events))
        }
        .boxed()
    }
}

/// A node whose network task is dead would hold the officers' socket, say that all is well, and hear nothing for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_network_task_dies_ends_and_says_so() {
    let stage = Stage::new();
    for member in [stage.party(0), stage.scene.mediator.clone()] {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let wires = Arc::new(Mortal(InMemory(stage.network.clone()), Arc::clone(&kept)));
        let node = Node::start(stage.data(&member), Config::default(), wires).await.unwrap();
        let running = stage.run(&member, node);
        running.client.status().await.unwrap();
        let transport = kept.lock().unwrap().pop().unwrap();
        transport.shutdown().await;
        let ended = timeout(PATIENCE, running.task).await.expect("it ends by itself").unwrap();
        assert!(matches!(ended, Err(NodeError::Bug)), "{member}: {ended:?}");
    }
}

/// Lets a transport start once, and then never again: its port has gone to somebody else.
struct Once(InMemory, Mutex<bool>);

impl Wires for Once {
    fn start(&self, seed: Zeroizing<[u8; 32]>, place: Place) -> BoxFuture<'static, Started> {
        if std::mem::replace(&mut *self.1.lock().unwrap(), true) {
            return async { Err("address already in use".to_owned()) }.boxed();
        }
        self.0.start(seed, place)
    }
}

/// A new channel needs a new line. If that cannot be set up, the node ends and says why, so that whoever watches over it starts
/// it again; it does not sit there with an officers' socket and no line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_set_its_line_up_anew_ends_and_says_why() {
    let stage = Stage::new();
    let muscat = stage.scene.mediator.clone();
    let wires = Arc::new(Once(InMemory(stage.network.clone()), Mutex::new(false)));
    let node = Node::start(stage.data(&muscat), Config::default(), wires).await.unwrap();
    let running = stage.run(&muscat, node);
    let policy = demarche_protocol::charter::Policy {
        custody: demarche_protocol::charter::policy::Size(1 << 20),
        ..demarche_protocol::charter::Policy::default()
    };
    stage.install("memo27", &Scene::with_policy(2, policy));
    let refused = running.client.install().await.unwrap_err();
    assert!(refused.to_string().contains("address already in use"), "{refused}");
    let ended = timeout(PATIENCE, running.task).await.expect("it ends by itself").unwrap();
    assert!(matches!(ended, Err(NodeError::Line(_))), "{ended:?}");
}
