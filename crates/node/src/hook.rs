//! The hook: a program of the operator's that is started for every alarm that is told, at first and again, until somebody takes it
//! or it is over, with the event as JSON on its standard input. What it fails at is raised as an alarm, for which it is not started.

use std::sync::Arc;

use demarche_control::types::{Cause, Event, EventKind};
use tokio::sync::{Semaphore, broadcast::error::RecvError, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    defaults::{HOOK_QUEUE, HOOKS},
    program,
    runtime::news::News,
};

/// Starts the task that starts `command` (program and arguments) until the node stops. An empty command is no hook.
pub(crate) fn start(command: &[String], news: &Arc<News>, stop: &CancellationToken) {
    if command.is_empty() {
        return;
    }
    let (queue, calls) = mpsc::channel(HOOK_QUEUE);
    tokio::spawn(stop.clone().run_until_cancelled_owned(listen(Arc::clone(news), queue)));
    tokio::spawn(stop.clone().run_until_cancelled_owned(ring(command.to_vec(), calls, Arc::clone(news))));
}

/// Picks out what the program is to be told.
async fn listen(news: Arc<News>, queue: mpsc::Sender<String>) {
    let mut events = news.listen();
    loop {
        let kept = match events.recv().await {
            Ok(event) => call(event).is_none_or(|call| queue.try_send(call).is_ok()),
            Err(RecvError::Lagged(_)) => false,
            Err(RecvError::Closed) => return,
        };
        if !kept {
            let detail = "the hook is behind: it was not told of every alarm".to_owned();
            news.alarm(None, None, Cause::HookBehind, detail);
        } else if queue.capacity() == HOOK_QUEUE {
            news.over(None, None, Cause::HookBehind);
        }
    }
}

/// What the program is told of an event, if it is an alarm that calls somebody. Of its own troubles it is told nothing: it would fail
/// at that again.
fn call(mut event: Event) -> Option<String> {
    let alarm = event.alarm.as_ref().filter(|alarm| alarm.calls())?;
    if matches!(alarm.cause, Cause::HookFailed | Cause::HookBehind) {
        return None;
    }
    if alarm.cause == Cause::UrgentArrival {
        event.kind = EventKind::Arrived;
    }
    serde_json::to_string(&event).ok()
}

async fn ring(command: Vec<String>, mut calls: mpsc::Receiver<String>, news: Arc<News>) {
    let places = Arc::new(Semaphore::new(HOOKS));
    let command: Arc<[String]> = command.into();
    while let Some(call) = calls.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (command, news) = (Arc::clone(&command), Arc::clone(&news));
        tokio::spawn(async move {
            match program::run(&command, &call).await {
                Ok(()) => news.over(None, None, Cause::HookFailed),
                Err(why) => {
                    let program = command.first().map_or("", String::as_str);
                    let detail = format!("the hook {program} failed: {why}");
                    news.alarm(None, None, Cause::HookFailed, detail);
                }
            }
            drop(place);
        });
    }
}
