//! Alarms of whole nodes: raised by what is durable and by the charter's times, told to whoever watches and to the hook, taken by name.

use demarche_control::{
    ClientError, Code,
    types::{Alarm, Cause, TakeRequest},
};
use demarche_protocol::charter::{Policy, policy::Span};
use futures::{StreamExt as _, stream};

use super::{bell::hook, *};

/// A charter that gives every dispatch a second.
fn hurried() -> Stage {
    let mut policy = Policy::default();
    let second = Span(Duration::from_secs(1));
    for rules in &mut policy.precedences {
        (rules.deliver_within, rules.acknowledge_within) = (second, second);
    }
    Stage::with(Scene::with_policy(2, policy))
}

/// Waits until the node's alarms are so.
async fn until(node: &Running, what: impl Fn(&[Alarm]) -> bool) -> Vec<Alarm> {
    let begun = std::time::Instant::now();
    loop {
        let alarms = node.client.alarms().await.unwrap();
        if what(&alarms) {
            return alarms;
        }
        assert!(begun.elapsed() < PATIENCE, "{alarms:#?}");
        tokio::task::yield_now().await;
    }
}

/// Waits until the one alarm that stands is of this cause.
async fn until_only(node: &Running, cause: Cause) -> Alarm {
    let fits = |alarms: &[Alarm]| {
        let standing: Vec<&Alarm> = alarms.iter().filter(|alarm| alarm.stands()).collect();
        matches!(standing.as_slice(), [alarm] if alarm.cause == cause)
    };
    until(node, fits).await.remove(0)
}

async fn until_none(node: &Running) {
    until(node, |alarms| !alarms.iter().any(Alarm::stands)).await;
}

fn by(name: &str, numbers: &[u64]) -> TakeRequest {
    TakeRequest { numbers: numbers.to_vec(), by: name.to_owned() }
}

/// Each side is told of the nearest silence, and of its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_alarms_both_sides_by_the_charters_times_until_it_is_acknowledged() {
    let stage = hurried();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let m = stage.start(&stage.scene.mediator).await;
    let w = stage.start(&washington).await;
    let notice = w.send(&stage.signed(&washington, Precedence::Priority, fixtures::breach("boarded"))).await;
    let alarm = until_only(&w, Cause::Undelivered).await;
    assert_eq!((alarm.serial.as_ref(), alarm.entry), (Some(&notice.serial), Some(notice.entry)));
    assert_eq!((alarm.peer.as_ref(), alarm.channel), (Some(&tehran), Some(stage.scene.channel())));
    assert_eq!(alarm.due, Some(alarm.since.plus(Duration::from_secs(1))));
    assert!(alarm.last >= alarm.due.unwrap(), "{alarm:?}");
    assert!(alarm.detail.starts_with("TEST PRIORITY breach washington/"), "{alarm:?}");
    let status = w.client.status().await.unwrap().alarms;
    assert_eq!((status.standing, status.taken, status.worst.unwrap().number), (1, 0, alarm.number));

    let t = stage.start(&tehran).await;
    until_only(&w, Cause::Unopened).await;
    let here = until_only(&t, Cause::UnopenedHere).await;
    assert_eq!((here.serial.as_ref(), here.peer.as_ref()), (Some(&notice.serial), Some(&washington)));
    t.client.open(NAME, &notice.serial.to_string(), &officer_of(&tehran)).await.unwrap();
    until_only(&t, Cause::UnacknowledgedHere).await;
    until_only(&w, Cause::Unacknowledged).await;
    let of = fixtures::acknowledgement(notice.document);
    t.send(&stage.signed(&tehran, Precedence::Priority, of)).await;
    until_none(&t).await;
    until_none(&w).await;
    assert!(w.client.alarms().await.unwrap().iter().all(|alarm| alarm.over.is_some()), "and they are listed");
    for node in [w, t, m] {
        node.end().await;
    }
}

/// The whole life of one: at once, again after a minute, taken, and so after a restart too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_urgent_arrival_rings_every_minute_until_it_is_taken_and_a_restart_does_not_forget_by_whom() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let m = stage.start(&stage.scene.mediator).await;
    let w = stage.start(&washington).await;
    let (config, file) = hook(&stage, &tehran);
    let node = stage.try_start(&tehran, config.clone()).await.unwrap();
    let news = node.news();
    let t = stage.run(&tehran, node);
    let mut feed = t.client.events(None).await.unwrap();
    let flash = w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach("urgent"))).await;

    let alarm = until_only(&t, Cause::UrgentArrival).await;
    let rung = async |count: usize| {
        let reading = async {
            loop {
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                let events: Vec<Event> =
                    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
                if events.len() >= count {
                    return events;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reading).await.expect("the hook rings")
    };
    let first = rung(1).await.remove(0);
    assert_eq!((first.kind, first.header.unwrap().document), (EventKind::Arrived, flash.document));
    assert_eq!(first.alarm, Some(alarm.clone()));
    news.call_again_after(Duration::from_secs(59));
    news.call_again_after(Duration::from_secs(60));
    assert_eq!(rung(2).await[1].alarm.as_ref().unwrap().number, alarm.number);

    let taken = t.client.take_alarms(&by("A. Watch ", &[alarm.number])).await.unwrap();
    assert_eq!(taken[0].taken.as_ref().unwrap().by, "A. Watch");
    news.call_again_after(Duration::from_secs(600));
    let mut told = Vec::new();
    while told.last() != Some(&true) {
        let event = timeout(PATIENCE, feed.next()).await.expect("it is told").unwrap().unwrap();
        told.extend(event.alarm.map(|alarm| alarm.taken.is_some()));
    }
    assert_eq!(told, [false, false, true]);
    drop((news, feed));
    t.end().await;

    let node = stage.try_start(&tehran, config).await.unwrap();
    let news = node.news();
    let t = stage.run(&tehran, node);
    // Something that is told later than it would have been.
    let other = w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach("another"))).await;
    let alarms = until(&t, |alarms| alarms.len() == 2).await;
    assert_eq!((alarms[0].serial.as_ref(), alarms[0].number), (Some(&other.serial), alarm.number + 1));
    assert_eq!(alarms[1], taken[0]);
    assert_eq!(rung(3).await[2].alarm.as_ref().unwrap().number, alarm.number + 1);
    news.call_again_after(Duration::from_secs(600));
    let numbers: Vec<u64> = rung(4).await.iter().map(|event| event.alarm.as_ref().unwrap().number).collect();
    assert_eq!(numbers, [1, 1, 2, 2], "what was taken does not ring");

    // Opening ends them, taken or not.
    for sent in [&flash, &other] {
        t.client.open(NAME, &sent.serial.to_string(), &officer_of(&tehran)).await.unwrap();
    }
    until_none(&t).await;
    drop(news);
    for node in [w, t, m] {
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_taken_says_why_and_takes_nothing() {
    let stage = Stage::new();
    let muscat = stage.scene.mediator.clone();
    let node = stage.try_start(&muscat, Config::default()).await.unwrap();
    let news = node.news();
    let m = stage.run(&muscat, node);
    for (peer, cause) in [(0, Cause::Fork), (1, Cause::Fork), (1, Cause::Clock)] {
        news.alarm(None, Some(&stage.party(peer)), cause, "look".to_owned());
    }
    news.over(None, Some(&stage.party(1)), Cause::Clock);
    for (name, numbers, code, says) in [
        ("A", &[1, 9][..], Code::UnknownAlarm, "there is no alarm 9"),
        ("A", &[1, 3], Code::UnknownAlarm, "alarm 3 is over since "),
        (" ", &[1], Code::Malformed, "no name"),
        ("A\nB", &[1], Code::Malformed, "no name"),
        (&"x".repeat(200), &[1], Code::Malformed, "no name"),
    ] {
        match m.client.take_alarms(&by(name, numbers)).await {
            Err(ClientError::Problem(problem)) => {
                assert_eq!(problem.code, code);
                assert!(problem.message.contains(says) && problem.help.is_some(), "{problem:?}");
            }
            other => panic!("{name:?} {numbers:?}: {other:?}"),
        }
    }
    // What cannot be written down is not taken.
    let file = stage.data(&muscat).alarms();
    std::fs::remove_file(&file).unwrap_or_default();
    std::fs::create_dir(&file).unwrap();
    std::fs::write(file.join("x"), "").unwrap();
    let refused = m.client.take_alarms(&by("A", &[1])).await.unwrap_err();
    assert!(refused.to_string().contains("cannot be written down"), "{refused}");
    assert!(news.save_alarms(true).is_err());
    let store = |alarms: &[Alarm]| alarms.iter().any(|alarm| alarm.cause == Cause::Store && alarm.stands());
    until(&m, store).await;
    let calling = news.alarms().into_iter().filter(|alarm| alarm.calls() && alarm.cause == Cause::Fork);
    assert_eq!(calling.count(), 2);
    std::fs::remove_dir_all(&file).unwrap();
    assert_eq!(m.client.take_alarms(&by("A", &[2, 1])).await.unwrap().len(), 2);
    news.save_alarms(true).unwrap();
    until(&m, |alarms| !store(alarms)).await;
    drop(news);
    m.end().await;
}

/// E8: far more urgent arrivals than anybody could take one by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e8_a_flood_of_urgent_arrivals_is_a_few_alarms_and_one_for_all_the_rest() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let m = stage.start(&stage.scene.mediator).await;
    let w = stage.start(&washington).await;
    let t = stage.start(&tehran).await;
    let flood = (0..300).map(|n| {
        let notice = stage.signed(&washington, Precedence::Flash, fixtures::breach(&format!("notice {n}")));
        let client = w.client.clone();
        async move { client.send(NAME, &notice).await.unwrap() }
    });
    let sent: Vec<Sent> = stream::iter(flood).buffer_unordered(32).collect().await;
    let whole =
        |alarms: &[Alarm]| alarms.iter().any(|alarm| alarm.entry.is_none() && alarm.times == 300 - 32);
    let alarms = until(&t, whole).await;
    assert_eq!(alarms.len(), 33, "{alarms:#?}");
    assert!(alarms.iter().all(|alarm| alarm.cause == Cause::UrgentArrival), "{alarms:#?}");
    let numbers: Vec<u64> = alarms.iter().map(|alarm| alarm.number).collect();
    t.client.take_alarms(&by("A", &numbers)).await.unwrap();
    // One more, which nobody has taken.
    let last = w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach("one more"))).await;
    t.until_kind(EventKind::Arrived, &last.document.to_string()).await;
    until(&t, |alarms| alarms[0].calls() && alarms[0].times == 301 - 32).await;
    assert_eq!(sent.len(), 300);
    for node in [w, t, m] {
        node.end().await;
    }
}

/// A line is lost when one stood and is down for as long as a FLASH may take; then the mediator is named as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_lost_and_a_mediator_that_is_gone_are_alarms_until_they_are_back() {
    let stage = hurried();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let m = stage.start(&stage.scene.mediator).await;
    let w = stage.start(&washington).await;
    let t = stage.start(&tehran).await;
    let heard = w.send(&stage.signed(&washington, Precedence::Routine, fixtures::statement("hear"))).await;
    t.until_kind(EventKind::Arrived, &heard.document.to_string()).await;
    t.client.open(NAME, &heard.serial.to_string(), &officer_of(&tehran)).await.unwrap();
    until_none(&w).await;
    t.end().await;
    let lost = until_only(&w, Cause::LineDown).await;
    assert_eq!((lost.peer.as_ref(), lost.serial.as_ref()), (Some(&tehran), None));
    assert!(lost.detail.starts_with("the line to tehran is down: "), "{lost:?}");
    let t = stage.start(&tehran).await;
    until_none(&w).await;
    m.end().await;
    let both = until(&w, |alarms| alarms.iter().filter(|alarm| alarm.stands()).count() == 2).await;
    let causes: Vec<Cause> = both.iter().filter(|alarm| alarm.stands()).map(|alarm| alarm.cause).collect();
    assert_eq!(causes, [Cause::LineDown, Cause::MediatorUnreachable]);
    assert!(both[1].detail.starts_with("mediator muscat unreachable since "), "{both:?}");
    let m = stage.start(&stage.scene.mediator).await;
    until_none(&w).await;
    for node in [w, t, m] {
        node.end().await;
    }
}

/// A hook that fails is the node's trouble and no channel's: so every watch is told, whichever channel it looks at. The hook is not
/// called for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_fails_is_an_alarm_of_the_node_itself_for_which_it_is_not_called() {
    let stage = Stage::new();
    let washington = stage.party(0);
    let (calls, well) =
        (stage.data(&washington).path().join("calls"), stage.data(&washington).path().join("well"));
    let script = format!("cat >> {}; test -e {}", calls.display(), well.display());
    let command = vec!["sh".to_owned(), "-c".to_owned(), script];
    let config = Config { hook: crate::config::Hook { command }, ..Config::default() };
    let node = stage.try_start(&washington, config).await.unwrap();
    let news = node.news();
    let w = stage.run(&washington, node);
    let mut feed = w.client.events(None).await.unwrap();
    news.alarm(stage.scene.channel(), None, Cause::Fork, "two entries".to_owned());
    let failed = until(&w, |alarms| alarms.iter().any(|alarm| alarm.cause == Cause::HookFailed)).await;
    assert!(failed[1].detail.starts_with("the hook sh failed: exit status: 1"), "{failed:?}");
    let told = async {
        loop {
            let event = feed.next().await.unwrap().expect("the feed goes on");
            if event.alarm.as_ref().is_some_and(|alarm| alarm.cause == Cause::HookFailed) {
                return event;
            }
        }
    };
    let told = timeout(PATIENCE, told).await.expect("it is told");
    assert_eq!((told.kind, told.channel), (EventKind::Alarm, None));
    // A minute later both are told again, and the fork alone rings: counted once more.
    news.call_again_after(Duration::from_secs(60));
    until(&w, |alarms| alarms[1].times == 2).await;
    std::fs::write(&well, "").unwrap();
    news.call_again_after(Duration::from_secs(120));
    until(&w, |alarms| alarms.iter().any(|alarm| alarm.cause == Cause::HookFailed && !alarm.stands())).await;
    let rung = std::fs::read_to_string(&calls).unwrap();
    let causes: Vec<Cause> =
        rung.lines().map(|line| serde_json::from_str::<Event>(line).unwrap().alarm.unwrap().cause).collect();
    assert_eq!(causes, [Cause::Fork; 3]);
    drop(news);
    w.end().await;
}

/// More than the hook can take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_is_behind_is_an_alarm() {
    let stage = Stage::new();
    let muscat = stage.scene.mediator.clone();
    let command = vec!["sleep".to_owned(), "60".to_owned()];
    let config = Config { hook: crate::config::Hook { command }, ..Config::default() };
    let node = stage.try_start(&muscat, config).await.unwrap();
    let news = node.news();
    let m = stage.run(&muscat, node);
    for number in 0..=u8::MAX {
        let channel = demarche_protocol::hash::ChannelId::from_bytes([number; 32]);
        for cause in [Cause::Fork, Cause::Clock] {
            news.alarm(channel, None, cause, "look".to_owned());
        }
        tokio::task::yield_now().await;
    }
    let behind = |alarms: &[Alarm]| alarms.iter().filter(|alarm| alarm.cause == Cause::HookBehind).count();
    until(&m, |alarms| behind(alarms) == 1).await;
    drop(news);
    m.end().await;
}
