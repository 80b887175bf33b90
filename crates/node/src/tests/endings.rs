//! Tasks that end or lag by themselves: the node notices, says so, and does not go on as half a node.

use futures::{StreamExt as _, stream};

use super::*;
use crate::config::Hook;

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

/// E8: far more urgent arrivals than the hook can take are told of in a line or two, not in one each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e8_a_flood_of_urgent_arrivals_is_one_alarm() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let m = stage.start(&stage.scene.mediator).await;
    let w = stage.start(&washington).await;
    let command = vec!["sleep".to_owned(), "60".to_owned()];
    let t = stage.start_with(&tehran, Config { hook: Hook { command }, ..Config::default() }).await;
    let flood = (0..600).map(|n| {
        let notice = stage.signed(&washington, Precedence::Flash, fixtures::breach(&format!("notice {n}")));
        let client = w.client.clone();
        async move { client.send(NAME, &notice).await.unwrap() }
    });
    let sent: Vec<Sent> = stream::iter(flood).buffer_unordered(32).collect().await;
    let last = sent.iter().max_by_key(|sent| sent.serial.seq).unwrap();
    t.until_kind(EventKind::Arrived, &last.document.to_string()).await;
    let behind = |status: &demarche_control::types::Status| {
        status.alarms.iter().filter(|alarm| alarm.contains("the hook is behind")).count()
    };
    let begun = std::time::Instant::now();
    let mut status = t.client.status().await.unwrap();
    while behind(&status) == 0 {
        assert!(begun.elapsed() < PATIENCE, "{status:?}");
        status = t.client.status().await.unwrap();
    }
    assert_eq!(behind(&status), 1, "{:?}", status.alarms);
    for node in [w, t, m] {
        node.end().await;
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
