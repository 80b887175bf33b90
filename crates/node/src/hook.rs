//! The hook: a program of the operator's that is started for every urgent arrival, with the event as JSON on its standard
//! input. It has ten seconds; what it fails at is logged and raised as an alarm, never retried.

use std::{process::Stdio, sync::Arc};

use tokio::{
    io::AsyncWriteExt as _,
    process::Command,
    sync::{Semaphore, mpsc},
    time::timeout,
};

use crate::defaults::{HOOK_QUEUE, HOOK_TIME, HOOKS};

/// Where urgent events go.
#[derive(Clone)]
pub(crate) struct Hook {
    queue: Option<mpsc::Sender<String>>,
}

/// Told when a hook failed, in one sentence.
pub(crate) type Alarm = Arc<dyn Fn(String) + Send + Sync>;

impl Hook {
    /// No hook.
    pub(crate) const fn none() -> Self {
        Self { queue: None }
    }

    /// Starts the task that starts `command` (program and arguments). An empty command is no hook.
    pub(crate) fn start(command: &[String], alarm: Alarm) -> Self {
        let Some((program, arguments)) = command.split_first() else { return Self::none() };
        let (queue, events) = mpsc::channel(HOOK_QUEUE);
        tokio::spawn(run(program.clone(), arguments.to_vec(), events, alarm));
        Self { queue: Some(queue) }
    }

    /// Whether there is one.
    pub(crate) const fn is_some(&self) -> bool {
        self.queue.is_some()
    }

    /// Hands an event over. False when there is a hook and too many events wait for it.
    pub(crate) fn ring(&self, event: String) -> bool {
        self.queue.as_ref().is_none_or(|queue| queue.try_send(event).is_ok())
    }
}

async fn run(program: String, arguments: Vec<String>, mut events: mpsc::Receiver<String>, alarm: Alarm) {
    let places = Arc::new(Semaphore::new(HOOKS));
    while let Some(event) = events.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (program, arguments, alarm) = (program.clone(), arguments.clone(), Arc::clone(&alarm));
        tokio::spawn(async move {
            let outcome = timeout(HOOK_TIME, once(&program, &arguments, &event)).await;
            let outcome =
                outcome.unwrap_or_else(|_| Err(format!("it ran longer than {} s", HOOK_TIME.as_secs())));
            if let Err(why) = outcome {
                tracing::warn!(hook = program, why, "the hook failed");
                alarm(format!("the hook {program} failed: {why}"));
            }
            drop(place);
        });
    }
}

async fn once(program: &str, arguments: &[String], event: &str) -> Result<(), String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not care to read is not at fault.
        let _ = stdin.write_all(event.as_bytes()).await;
        let _ = stdin.write_all(b"\n").await;
    }
    let status = child.wait().await.map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[tokio::test]
    async fn a_hook_gets_the_event_and_its_failure_is_told() {
        let directory = tempdir().unwrap();
        let file = directory.path().join("got");
        let script = format!("cat > {}; exit 3", file.display());
        let (told, mut alarms) = unbounded_channel();
        let alarm: Alarm = Arc::new(move |why| told.send(why).unwrap());
        let hook = Hook::start(&["sh".to_owned(), "-c".to_owned(), script], alarm);
        assert!(hook.ring("{\"kind\":\"arrived\"}".to_owned()));
        let why = alarms.recv().await.unwrap();
        assert!(why.contains("exit status: 3"), "{why}");
        assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"kind\":\"arrived\"}\n");
    }

    #[tokio::test]
    async fn a_hook_that_is_not_there_is_an_alarm() {
        let (told, mut alarms) = unbounded_channel();
        let alarm: Alarm = Arc::new(move |why| told.send(why).unwrap());
        assert!(Hook::start(&["/nonexistent/hook".to_owned()], alarm).ring(String::new()));
        assert!(alarms.recv().await.unwrap().contains("/nonexistent/hook"));
    }
}
