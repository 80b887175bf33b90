//! The main job, end to end: notice, delivery, opening, acknowledgement; restarts; a renewed card.

use demarche_control::types::{State, Verdict};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_is_delivered_opened_and_acknowledged() {
    let stage = Stage::new();
    let (washington, tehran, muscat) = (stage.party(0), stage.party(1), stage.scene.mediator.clone());
    let m = stage.start(&muscat).await;
    let w = stage.start(&washington).await;
    let t = stage.start(&tehran).await;

    let notice = stage.signed(&washington, Precedence::Flash, fixtures::breach("A ship was boarded"));
    let sent = w.send(&notice).await;
    assert_eq!(sent.state, State::Recorded);
    assert_eq!(sent.case, Some(sent.serial.clone()));
    let document = sent.document.to_string();

    let delivered = w.until_kind(EventKind::Delivered, &document).await;
    assert_eq!(delivered.peer, Some(tehran.clone()));
    let arrived = t.until_kind(EventKind::Arrived, &document).await;
    let header = arrived.header.unwrap();
    assert_eq!(header.title.as_deref(), Some("A ship was boarded"));
    assert_eq!(header.officer, format!("Officer 1 of {washington}"));

    let shown = t.client.open(NAME, &header.serial.to_string(), &officer_of(&tehran)).await.unwrap();
    assert_eq!(shown.body.as_deref(), Some("What happened."));
    let opened = w.until_kind(EventKind::Opened, &document).await;
    assert_eq!(opened.evidence.unwrap().officer, Some(format!("Officer 1 of {tehran}")));

    let ack = stage.signed(&tehran, Precedence::Flash, fixtures::acknowledgement(sent.document));
    t.send(&ack).await;
    let acknowledged = w.until_kind(EventKind::Acknowledged, &document).await;
    assert_eq!(acknowledged.header.unwrap().state, State::Acknowledged);

    let cases = w.client.cases(NAME).await.unwrap();
    assert_eq!(cases.len(), 1);
    assert_eq!(cases[0].entries.len(), 2);
    let status = w.client.status().await.unwrap();
    assert_eq!(status.verdict, "line open to tehran via muscat");
    let tests = w.client.line_test(NAME, None).await.unwrap();
    assert!(tests.len() == 1 && tests[0].verified, "{tests:?}");
    assert_eq!(tests[0].via, "muscat");
    // Without its mediator the path is tested all the same, and what failed is named.
    stage.network.cut(node_of(&washington, 1), node_of(&muscat, 1));
    let begun = std::time::Instant::now();
    while !w.client.status().await.unwrap().verdict.contains("unreachable since") {
        assert!(begun.elapsed() < PATIENCE, "the line is cut");
        tokio::task::yield_now().await;
    }
    let tests = w.client.line_test(NAME, Some(tehran.clone())).await.unwrap();
    assert_eq!((tests.len(), tests[0].via.as_str(), &tests[0].peer), (1, "muscat", &tehran));
    let why = tests[0].error.as_deref().unwrap_or_default();
    assert!(!tests[0].verified && why.starts_with("mediator muscat unreachable since"), "{tests:?}");
    for node in [w, t, m] {
        node.end().await;
    }
}

async fn all_up(stage: &Stage) -> (Running, Running, Running) {
    let m = stage.start(&stage.scene.mediator).await;
    let w = stage.start(&stage.party(0)).await;
    let t = stage.start(&stage.party(1)).await;
    (m, w, t)
}

/// M1, S8: what was recorded while nobody could be reached is delivered after a restart and after healing, and once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_recorded_without_a_line_is_delivered_after_a_restart() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let (m, w, t) = all_up(&stage).await;
    let first = stage.signed(&washington, Precedence::Flash, fixtures::breach("first"));
    let first = w.send(&first).await;
    w.until_kind(EventKind::Delivered, &first.document.to_string()).await;

    stage.network.cut(node_of(&washington, 1), node_of(&stage.scene.mediator, 1));
    let notice = stage.signed(&washington, Precedence::Flash, fixtures::breach("second"));
    let sent = w.send(&notice).await;
    assert_eq!(sent.state, State::Recorded);
    let status = w.client.status().await.unwrap();
    assert!(status.verdict.contains("mediator muscat unreachable since"), "{}", status.verdict);
    let last = w.until_kind(EventKind::Recorded, &sent.document.to_string()).await.id.unwrap();
    w.end().await;

    let w = stage.start(&washington).await;
    let again = w.send(&notice).await;
    assert_eq!(
        (again.serial.clone(), again.state),
        (sent.serial, State::Recorded),
        "posting again is harmless"
    );
    stage.network.mend(node_of(&washington, 1), node_of(&stage.scene.mediator, 1));
    let delivered = w.until_kind(EventKind::Delivered, &sent.document.to_string()).await;
    assert!(delivered.id.unwrap() > last, "the index goes on across the restart");
    assert_eq!(delivered.peer, Some(tehran));

    // Whoever resumes behind the last event it saw gets no earlier one.
    let mut feed = w.client.events(Some(Bookmark::behind(last))).await.unwrap();
    let next = timeout(PATIENCE, feed.next()).await.unwrap().unwrap().unwrap();
    assert!(next.id.unwrap() > last);
    assert_eq!(t.client.inbox(NAME, true).await.unwrap().len(), 2, "each arrived once");
    for node in [w, t, m] {
        node.end().await;
    }
}

/// An event says when it happened, not when it is read: whoever looks again reads the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_tells_the_same_moment_whenever_it_is_read() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let (m, w, t) = all_up(&stage).await;
    let notice = stage.signed(&washington, Precedence::Flash, fixtures::breach("when was it?"));
    let notice = w.send(&notice).await;
    t.until_kind(EventKind::Arrived, &notice.document.to_string()).await;
    t.client.open(NAME, &notice.serial.to_string(), &officer_of(&tehran)).await.unwrap();
    let ack = stage.signed(&tehran, Precedence::Flash, fixtures::acknowledgement(notice.document));
    let ack = t.send(&ack).await.document.to_string();
    w.until_kind(EventKind::Acknowledged, &notice.document.to_string()).await;
    t.until_kind(EventKind::Delivered, &ack).await;
    let mut told = std::collections::BTreeSet::new();
    for (node, last) in [(&w, EventKind::Acknowledged), (&t, EventKind::Delivered)] {
        let mut readings = Vec::new();
        for _ in 0..2 {
            let mut feed = node.client.events(Some(Bookmark::START)).await.unwrap();
            let mut events = Vec::new();
            let mut ended = false;
            while !ended {
                let event = timeout(PATIENCE, feed.next()).await.unwrap().unwrap().expect("the feed goes on");
                ended = event.kind == last;
                events.extend(event.id.is_some().then(|| serde_json::to_value(event).unwrap()));
            }
            readings.push(events);
        }
        assert_eq!(readings[0], readings[1]);
        for event in &readings[0] {
            told.insert(event["kind"].as_str().unwrap().to_owned());
            let when = match event["kind"].as_str().unwrap() {
                "recorded" => &event["header"]["recorded_at"],
                "arrived" => &event["header"]["received_at"],
                "delivered" | "opened" => &event["evidence"]["at"],
                _ => continue,
            };
            assert!(when.is_string() && event["at"] == *when, "{event}");
        }
    }
    for kind in ["recorded", "arrived", "delivered", "opened", "acknowledged", "roster"] {
        assert!(told.contains(kind), "{kind} is not told: {told:?}");
    }
    for node in [w, t, m] {
        node.end().await;
    }
}

/// A mediator to which both are connected and which carries nothing: when another one is there, that one carries the line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mediator_that_carries_nothing_is_left_for_another() {
    for [barren, sound] in [["geneva", "muscat"], ["muscat", "geneva"]] {
        let stage = Stage::with(Scene::with_mediators(2, &["muscat", "geneva"]));
        let (washington, tehran) = (stage.party(0), stage.party(1));
        let [barren, sound] = [barren, sound].map(|name| name.parse::<MemberId>().unwrap());
        let mut nodes = vec![stage.start(&barren).await, stage.start(&sound).await];
        stage.network.make_barren(node_of(&barren, 1));
        for party in [&washington, &tehran] {
            stage.network.cut(node_of(party, 1), node_of(&sound, 1));
        }
        let (w, t) = (stage.start(&washington).await, stage.start(&tehran).await);
        let begun = std::time::Instant::now();
        while !w.client.status().await.unwrap().verdict.contains("is not connected to the mediator") {
            assert!(begun.elapsed() < PATIENCE, "it has been tried in vain");
            tokio::task::yield_now().await;
        }
        for party in [&washington, &tehran] {
            stage.network.mend(node_of(party, 1), node_of(&sound, 1));
        }
        let sent =
            w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach("by the other"))).await;
        w.until_kind(EventKind::Delivered, &sent.document.to_string()).await;
        nodes.extend([w, t]);
        for node in nodes {
            node.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_notices_outstanding_all_arrive() {
    let stage = Stage::new();
    let (m, w, t) = all_up(&stage).await;
    let notices = (0..256).map(|n| {
        let notice =
            stage.signed(&stage.party(0), Precedence::Routine, fixtures::breach(&format!("notice {n}")));
        let client = w.client.clone();
        async move { client.send(NAME, &notice).await.unwrap() }
    });
    let sent: Vec<Sent> =
        futures::StreamExt::collect(futures::StreamExt::buffer_unordered(futures::stream::iter(notices), 64))
            .await;
    let mut serials: Vec<u64> = sent.iter().map(|sent| sent.serial.seq).collect();
    serials.sort_unstable();
    serials.dedup();
    assert_eq!(serials.len(), 256);
    let mut waiting: std::collections::BTreeSet<u64> = serials.into_iter().collect();
    let all_delivered = async {
        let mut feed = w.client.events(Some(Bookmark::START)).await.unwrap();
        while !waiting.is_empty() {
            let event = feed.next().await.unwrap().expect("the feed goes on");
            if event.kind == EventKind::Delivered {
                assert!(waiting.remove(&event.header.unwrap().serial.seq), "delivered twice");
            }
        }
    };
    timeout(PATIENCE, all_delivered).await.expect("all were delivered");
    assert_eq!(t.client.inbox(NAME, false).await.unwrap().len(), 256);
    assert_eq!(w.client.status().await.unwrap().channels[0].peers[0].to_deliver, 0);
    for node in [w, t, m] {
        node.end().await;
    }
}

/// K1b: a renewed card is brought to mediator and peer, who did not know it, without a hand on either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_card_sets_the_line_up_anew() {
    let stage = Stage::new();
    let washington = stage.party(0);
    let (m, w, t) = all_up(&stage).await;
    let first = stage.signed(&washington, Precedence::Flash, fixtures::breach("under card 1"));
    let first = w.send(&first).await;
    w.until_kind(EventKind::Delivered, &first.document.to_string()).await;

    stage.set_up(&washington, 2);
    stage.leave(&washington, &stage.card(&washington, 2));
    let installed = w.client.install().await.unwrap();
    assert_eq!(installed.len(), 1);
    assert_eq!(installed[0].outcome, demarche_control::types::Outcome::Taken, "{installed:?}");
    assert!(stage.data(&washington).channel(NAME).incoming().read_dir().unwrap().next().is_none());

    let notice = stage.signed(&washington, Precedence::Flash, fixtures::breach("under card 2"));
    let sent = w.send(&notice).await;
    w.until_kind(EventKind::Delivered, &sent.document.to_string()).await;
    let answer = stage.signed(&stage.party(1), Precedence::Flash, fixtures::acknowledgement(sent.document));
    t.send(&answer).await;
    w.until_kind(EventKind::Acknowledged, &sent.document.to_string()).await;
    w.end().await;
    let w = stage.start(&washington).await;
    let old = w.client.show(NAME, &first.serial.to_string()).await.unwrap();
    assert_eq!(old.header.state, State::Delivered, "what was said under the old card stays");
    for node in [w, t, m] {
        node.end().await;
    }
}

/// K1b: a card that its roots revoked is closed out at the peer at once, and the peer says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k1b_a_revoked_card_ends_the_session_at_once() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let (m, w, t) = all_up(&stage).await;
    let first = w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach("before"))).await;
    w.until_kind(EventKind::Delivered, &first.document.to_string()).await;
    let revocation = fixtures::revoke_card(&tehran, stage.card(&tehran, 1).id(), 1);
    stage.leave(&washington, &revocation);
    let mut feed = w.client.events(None).await.unwrap();
    w.client.install().await.unwrap();
    let told = async {
        while let Some(event) = feed.next().await.unwrap() {
            let detail = event.detail.unwrap_or_default();
            if event.kind == EventKind::Link && detail.contains("revoked") {
                return;
            }
        }
        panic!("the feed ended");
    };
    timeout(PATIENCE, told).await.expect("the link went down for that reason");
    let status = w.client.status().await.unwrap();
    assert!(status.verdict.starts_with("line to tehran down"), "{}", status.verdict);
    // Who, when and why, not merely that something is missing; and at the mediator, too, once it has heard.
    let named = format!("its card 1 was revoked by the roots of {tehran} at {}: key lost", fixtures::DRAFTED);
    assert!(
        status.channels[0].peers[0].cause.as_deref().is_some_and(|why| why.contains(&named)),
        "{status:?}"
    );
    let begun = std::time::Instant::now();
    loop {
        let status = m.client.status().await.unwrap();
        let peer = status.channels[0].peers.iter().find(|peer| peer.party == tehran).unwrap();
        if peer.cause.as_deref().is_some_and(|why| why.contains(&named)) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{status:?}");
        tokio::task::yield_now().await;
    }
    for node in [w, t, m] {
        node.end().await;
    }
}

/// S5: the officer is told that the outcome is unknown, and the node stops by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s5_after_an_fsync_error_the_node_says_so_and_stops() {
    let stage = Stage::new();
    let washington = stage.party(0);
    let (w, fault) = stage.start_on_a_bad_disk(&washington).await;
    w.until(|event| event.kind == EventKind::Roster).await;
    let notice = stage.signed(&washington, Precedence::Flash, fixtures::breach("lost?"));
    *fault.lock().unwrap() = Fault::Sync;
    let refused = w.client.send(NAME, &notice).await.unwrap_err();
    let demarche_control::ClientError::Problem(problem) = refused else { panic!("{refused:?}") };
    assert_eq!(problem.code, demarche_control::Code::OutcomeUnknown);
    let ended = timeout(PATIENCE, w.task).await.unwrap().unwrap();
    assert!(matches!(ended, Err(NodeError::OutcomeUnknown)), "{ended:?}");
}

/// S5 at a mediator, which keeps rosters alone: it stops as well, and the installer is told that nothing is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s5_a_mediator_stops_after_an_fsync_error_too() {
    let stage = Stage::new();
    let (tehran, muscat) = (stage.party(1), stage.scene.mediator.clone());
    let (m, fault) = stage.start_on_a_bad_disk(&muscat).await;
    stage.leave(&muscat, &stage.card(&tehran, 2));
    *fault.lock().unwrap() = Fault::Sync;
    let told = m.client.install().await;
    assert!(
        !matches!(&told, Ok(all) if all.iter().any(|one| one.outcome == demarche_control::types::Outcome::Taken)),
        "{told:?}"
    );
    let ended = timeout(PATIENCE, m.task).await.unwrap().unwrap();
    assert!(matches!(ended, Err(NodeError::OutcomeUnknown)), "{ended:?}");
}

/// S4: a full disk refuses before anything is recorded, and the node goes on when there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s4_a_full_disk_refuses_and_is_forgotten_when_there_is_room() {
    let stage = Stage::new();
    let washington = stage.party(0);
    let (w, fault) = stage.start_on_a_bad_disk(&washington).await;
    let notice = stage.signed(&washington, Precedence::Flash, fixtures::breach("later"));
    *fault.lock().unwrap() = Fault::Full;
    for _ in 0..3 {
        let refused = w.client.send(NAME, &notice).await.unwrap_err();
        let demarche_control::ClientError::Problem(problem) = refused else { panic!("{refused:?}") };
        assert_eq!(problem.code, demarche_control::Code::DiskFull, "{problem}");
    }
    let status = w.client.status().await.unwrap();
    assert!(status.verdict.starts_with("nothing can be recorded in "), "{}", status.verdict);
    assert_eq!(status.level, Verdict::Down);
    *fault.lock().unwrap() = Fault::None;
    assert!(!w.client.status().await.unwrap().verdict.contains("nothing can be recorded"));
    assert_eq!(w.send(&notice).await.state, State::Recorded);
    w.end().await;
}

/// Two memoranda between the same capitals: one node, one store, one socket, and never a word from one in the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_channels_on_one_node_are_apart() {
    let stage = Stage::new();
    let policy = demarche_protocol::charter::Policy {
        custody: demarche_protocol::charter::policy::Size(1 << 20),
        ..demarche_protocol::charter::Policy::default()
    };
    let other = Scene::with_policy(2, policy);
    assert_ne!(other.channel(), stage.scene.channel());
    stage.install("memo27", &other);
    let (m, w, t) = all_up(&stage).await;
    assert_eq!(w.client.channels().await.unwrap().len(), 2);
    let washington = stage.party(0);
    let sign = |scene: &Scene, title: &str| {
        let dispatch = scene.dispatch(&washington, Precedence::Flash, fixtures::breach(title));
        SignedFile::of(&fixtures::signed(&dispatch, &fixtures::officer_key(&washington, 1))).unwrap()
    };
    let here = w.client.send(NAME, &sign(&stage.scene, "here")).await.unwrap();
    let there = w.client.send("memo27", &sign(&other, "there")).await.unwrap();
    let crossed = w.client.send("memo27", &sign(&stage.scene, "crossed")).await.unwrap_err();
    assert_eq!(crossed.exit(), demarche_control::Code::WrongChannel.exit(), "{crossed}");
    for (sent, scene) in [(here, &stage.scene), (there, &other)] {
        let delivered = w.until_kind(EventKind::Delivered, &sent.document.to_string()).await;
        assert_eq!(delivered.channel, Some(scene.channel()));
    }
    for name in [NAME, "memo27"] {
        let inbox = t.client.inbox(name, true).await.unwrap();
        assert_eq!(inbox.len(), 1, "{inbox:?}");
        assert_eq!(inbox[0].channel, name);
    }
    for node in [w, t, m] {
        node.end().await;
    }
}

/// Not a test of time: prints how long notices take with everything in one process and the network in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure_notices_one_by_one_and_pipelined() {
    let stage = Stage::new();
    let (m, w, t) = all_up(&stage).await;
    let sign = |n: usize| {
        stage.signed(&stage.party(0), Precedence::Routine, fixtures::breach(&format!("notice {n}")))
    };
    let mut feed = w.client.events(None).await.unwrap();
    let mut times = Vec::new();
    for n in 0..300 {
        let notice = sign(n);
        let begun = std::time::Instant::now();
        let sent = w.send(&notice).await;
        loop {
            let event = feed.next().await.unwrap().unwrap();
            if event.kind == EventKind::Delivered && event.header.unwrap().document == sent.document {
                break;
            }
        }
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!("delivered one by one: median {:?}, 99th {:?}", times[150], times[297]);
    let notices: Vec<SignedFile> = (1000..5000).map(sign).collect();
    let begun = std::time::Instant::now();
    let sending = notices.iter().map(|notice| w.client.send(NAME, notice));
    let sent = futures::StreamExt::collect::<Vec<_>>(futures::StreamExt::buffer_unordered(
        futures::stream::iter(sending),
        64,
    ));
    let delivered = async {
        let mut count = 0;
        while count < notices.len() {
            count += usize::from(feed.next().await.unwrap().unwrap().kind == EventKind::Delivered);
        }
    };
    tokio::join!(sent, delivered);
    let rate = 4000.0 / begun.elapsed().as_secs_f64();
    println!("pipelined: {rate:.0} notices a second, delivered");
    for node in [w, t, m] {
        node.end().await;
    }
}
