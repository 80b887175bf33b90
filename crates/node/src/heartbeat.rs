//! The heartbeat: a program of the operator's that is started again and again while the node is well, so that a monitor elsewhere
//! notices when it no longer is. A node that is not well gives none: the disk takes nothing, or a channel does not answer.

use std::{sync::Arc, sync::Weak, time::Duration};

use demarche_control::types::{Cause, Status};
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{config, control::Api, link, program};

/// How long a node that is well takes to say so: a few writes to the disk, and a look at each channel.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Starts the task, until the node stops. An empty command is no heartbeat.
pub(crate) fn start(config: &config::Heartbeat, api: &Arc<Api>) {
    if config.command.is_empty() {
        return;
    }
    let beating = beat(config.clone(), Arc::downgrade(api));
    tokio::spawn(api.stop.clone().run_until_cancelled_owned(beating));
}

async fn beat(config: config::Heartbeat, api: Weak<Api>) {
    let mut times = interval(config.every.0);
    times.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        times.tick().await;
        let Some(api) = api.upgrade() else { return };
        let well = timeout(ANSWER_WITHIN, well(&api)).await;
        let well = well.unwrap_or_else(|_| {
            Err(format!("disk and channels did not answer within {} s", ANSWER_WITHIN.as_secs()))
        });
        let news = Arc::clone(&api.news);
        // The program may take its time; who ends the node must not wait for it.
        drop(api);
        let given = match well.map_err(|why| format!("no heartbeat is given: {why}")) {
            Ok(status) => {
                let status = serde_json::to_string(&status).unwrap_or_default();
                let program = config.command.first().map_or("", String::as_str);
                let run = program::run(&config.command, &status).await;
                run.map_err(|why| format!("the heartbeat {program} failed: {why}"))
            }
            Err(why) => Err(why),
        };
        match given {
            Ok(()) => news.over(None, None, Cause::HeartbeatFailed),
            Err(why) => news.alarm(None, None, Cause::HeartbeatFailed, why),
        }
    }
}

/// How the node is, if it is well: the store would take a record, the disk takes a write, every channel answers.
async fn well(api: &Api) -> Result<Status, String> {
    if let Some(hindrance) = api.store.hindrance() {
        return Err(hindrance.to_string());
    }
    let news = Arc::clone(&api.news);
    spawn_blocking(move || news.save_alarms(true)).await.map_err(|error| error.to_string())??;
    let standing = api.standing();
    let line = standing.line.as_deref();
    for handle in line.into_iter().flat_map(|line| &line.channels) {
        handle.query(|_| ()).await.map_err(|why| format!("{}: {why}", handle.name()))?;
    }
    let alarms = api.news.count_alarms();
    let status = link::status::status(&api.identity, &standing.channels, line, None, alarms).await;
    Ok(link::status::with_broken(status, &standing.broken))
}
