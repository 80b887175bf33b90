//! The heartbeat: given while the node is well, and only then.

use std::path::PathBuf;

use demarche_control::types::{Cause, Status, Verdict};

use super::*;
use crate::config::{Every, Heartbeat};

fn beating(stage: &Stage, member: &MemberId) -> (Config, PathBuf) {
    let file = stage.data(member).path().join("beats");
    let command = vec!["sh".to_owned(), "-c".to_owned(), format!("cat >> {}", file.display())];
    // Faster than a configuration may say.
    let heartbeat = Heartbeat { command, every: Every(Duration::from_millis(20)) };
    (Config { heartbeat, ..Config::default() }, file)
}

fn beats(file: &PathBuf) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

async fn until(what: impl AsyncFn() -> bool) {
    let waiting = async {
        while !what().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it happens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_well_says_so_again_and_again() {
    let stage = Stage::new();
    for member in [stage.party(0), stage.scene.mediator.clone()] {
        let (config, file) = beating(&stage, &member);
        let node = stage.start_with(&member, config).await;
        until(async || beats(&file) >= 3).await;
        let text = std::fs::read_to_string(&file).unwrap();
        let status: Status = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(
            (status.party, status.level),
            (member.clone(), Verdict::Down),
            "the line is not its matter"
        );
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_takes_nothing_gives_no_heartbeat_and_says_so() {
    let stage = Stage::new();
    let washington = stage.party(0);
    let (config, file) = beating(&stage, &washington);
    let (node, fault) = stage.start_on_a_bad_disk_with(&washington, config).await;
    until(async || beats(&file) >= 1).await;
    *fault.lock().unwrap() = Fault::Full;
    let withheld = async || {
        let alarms = node.client.alarms().await.unwrap();
        let alarm = alarms.into_iter().find(|alarm| alarm.cause == Cause::HeartbeatFailed && alarm.stands());
        alarm.is_some_and(|alarm| alarm.detail.contains("no heartbeat is given: the disk is nearly full"))
    };
    until(withheld).await;
    let before = beats(&file);
    until(async || node.client.alarms().await.unwrap()[0].times > 5).await;
    assert_eq!(beats(&file), before);
    *fault.lock().unwrap() = Fault::None;
    until(async || beats(&file) > before).await;
    until(async || node.client.alarms().await.unwrap().iter().all(|alarm| !alarm.stands())).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_that_fails_is_an_alarm() {
    let stage = Stage::new();
    let washington = stage.party(0);
    let command = vec!["/nonexistent/monitor".to_owned()];
    let heartbeat = Heartbeat { command, ..Heartbeat::default() };
    let node = stage.start_with(&washington, Config { heartbeat, ..Config::default() }).await;
    let failed = async || {
        let alarms = node.client.alarms().await.unwrap();
        alarms.iter().any(|alarm| alarm.detail.starts_with("the heartbeat /nonexistent/monitor failed: "))
    };
    until(failed).await;
    node.end().await;
}
