//! What ends the tool from outside while it holds something of the officer's: Ctrl-C, a terminal that hangs up, a request
//! to end. Such a command keeps what it holds before it goes, says where, and ends with the status that shells expect.
//!
//! Until [`Interrupts::heed`] the signals do what they always do: a command that holds nothing just ends.

use std::{
    future::{Future, pending},
    io,
    sync::{Arc, Mutex},
};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    error::{Failure, Result},
    exit::Exit,
};

/// Which signal came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// SIGHUP: the terminal is gone.
    HungUp,
    /// SIGINT: Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Ending {
    const ALL: [Self; 3] = [Self::HungUp, Self::Interrupted, Self::Terminated];

    /// The exit code: 128 and the signal's number.
    pub const fn exit(self) -> Exit {
        match self {
            Self::HungUp => Exit::HungUp,
            Self::Interrupted => Exit::Interrupted,
            Self::Terminated => Exit::Terminated,
        }
    }

    const fn number(self) -> u8 {
        self.exit().code() - 128
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::HungUp => "the terminal hung up (SIGHUP)",
            Self::Interrupted => "interrupted (SIGINT)",
            Self::Terminated => "asked to end (SIGTERM)",
        }
    }
}

impl From<Ending> for Failure {
    fn from(ending: Ending) -> Self {
        Self::new(ending.exit(), ending.in_words())
    }
}

type Caught = watch::Sender<Option<Ending>>;

/// The signals of this process, or of a test. The first that came stays: a step begun later ends at once.
#[derive(Clone, Debug)]
pub struct Interrupts {
    caught: watch::Receiver<Option<Ending>>,
    /// There until somebody heeds them.
    unheeded: Arc<Mutex<Option<Caught>>>,
}

impl Interrupts {
    /// The process's own, not heeded yet.
    pub fn of_process() -> Self {
        let (tell, caught) = watch::channel(None);
        Self { caught, unheeded: Arc::new(Mutex::new(Some(tell))) }
    }

    /// Those that somebody else sends.
    pub fn given() -> (watch::Sender<Option<Ending>>, Self) {
        let (tell, caught) = watch::channel(None);
        (tell, Self { caught, unheeded: Arc::default() })
    }

    /// From here on the signals no longer end the process by themselves.
    pub fn heed(&self) {
        let tell = self.unheeded.lock().ok().and_then(|mut unheeded| unheeded.take());
        if let Some(tell) = tell {
            // Where they cannot be heeded they do what they always do.
            let _ = listen(tell);
        }
    }

    /// Returns when one has come.
    pub async fn caught(&self) -> Ending {
        let mut caught = self.caught.clone();
        let found = caught.wait_for(Option::is_some).await.ok().and_then(|found| *found);
        match found {
            Some(ending) => ending,
            // Nobody is left who could send one.
            None => pending().await,
        }
    }

    /// Does a step unless one comes before it is done.
    pub async fn or<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            // A hang-up also ends the input; it is the hang-up that is told.
            biased;
            ending = self.caught() => Err(ending.into()),
            done = step => done,
        }
    }
}

/// Listens in a thread of its own, which ends with the process.
fn listen(tell: Caught) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let ignored = ignored();
    let mut signals = {
        // The handlers are there before this returns.
        let _inside = runtime.enter();
        let heeded = Ending::ALL.into_iter().filter(|ending| ignored & (1 << (ending.number() - 1)) == 0);
        let hear = |ending: Ending| {
            let kind = SignalKind::from_raw(ending.number().into());
            signal(kind).map(|signal| (ending, signal))
        };
        heeded.map(hear).collect::<io::Result<Vec<(Ending, Signal)>>>()?
    };
    let first = async move {
        let each = signals.iter_mut().map(|(ending, signal)| {
            Box::pin(async move {
                signal.recv().await;
                *ending
            })
        });
        let (ending, ..) = futures::future::select_all(each).await;
        tell.send_replace(Some(ending));
    };
    std::thread::Builder::new().spawn(move || runtime.block_on(first)).map(drop)
}

/// The signals that whoever started this wants ignored, a bit each: `nohup` wants SIGHUP so. None where the system does not
/// tell.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::block_on;

    #[test]
    fn the_first_one_ends_every_later_step_and_none_ends_nothing() {
        let (tell, interrupts) = Interrupts::given();
        assert_eq!(block_on(interrupts.or(async { Ok(7) })).unwrap(), 7);
        tell.send_replace(Some(Ending::Terminated));
        let ended = block_on(interrupts.or(async { Ok(7) })).unwrap_err();
        assert_eq!(ended.exit.code(), 128 + 15);
        drop(tell);
        assert_eq!(block_on(async { Ok(interrupts.caught().await) }).unwrap(), Ending::Terminated);
    }
}
