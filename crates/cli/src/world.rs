//! What a command has of the world around it: screen, input, environment, clock, directory. The process's own in
//! [`World::of_process`]; tests bring theirs, so that many commands can run side by side in one process.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::{self, BufRead, BufReader, IsTerminal as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use demarche_protocol::time::Timestamp;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    error::{Result, failed},
    interrupts::Interrupts,
    screen::Screen,
    typing::Typing,
};

/// Everything a command may touch besides files and the node's socket.
pub struct World {
    /// Where it prints.
    pub screen: Screen,
    /// Where it reads.
    pub input: Input,
    /// The environment, as it was at the start.
    pub env: Env,
    /// The wall clock.
    pub now: Box<dyn Fn() -> Timestamp + Send>,
    /// The current directory: kept files go there.
    pub directory: PathBuf,
    /// What ends a command from outside.
    pub interrupts: Interrupts,
}

impl World {
    /// The process's own.
    pub fn of_process() -> Self {
        Self {
            screen: Screen::of_process(),
            input: Input::of_process(),
            env: Env::new(std::env::vars_os()),
            now: Box::new(wall_clock),
            directory: PathBuf::from("."),
            interrupts: Interrupts::of_process(),
        }
    }

    /// Whether a person can be asked: reads from a terminal and sees the questions on one.
    pub const fn is_asked(&self) -> bool {
        self.input.terminal && self.screen.is_terminal()
    }
}

/// What the wall clock says.
pub fn wall_clock() -> Timestamp {
    // A clock before 1970 is shown as what it is nearest to.
    Timestamp::from_millis(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0))
}

/// How long the reader may take to give out an unfinished line. It has it already, or there is none.
const UNFINISHED: Duration = Duration::from_millis(100);

/// Stdin. Whatever waits for it can be interrupted: it is read in a thread of its own, which is left behind then.
pub struct Input {
    from: Arc<Mutex<Box<dyn BufRead + Send>>>,
    terminal: bool,
    /// Whether this is the process's own.
    own: bool,
    typing: Option<Typing>,
    /// The line that is being waited for.
    awaited: Option<oneshot::Receiver<io::Result<Option<String>>>>,
}

impl Input {
    /// Input from this reader; `terminal` says whether a person types.
    pub fn new(from: Box<dyn BufRead + Send>, terminal: bool) -> Self {
        Self { from: Arc::new(Mutex::new(from)), terminal, own: false, typing: None, awaited: None }
    }

    /// The process's own.
    pub fn of_process() -> Self {
        let stdin = Self::new(Box::new(BufReader::new(io::stdin())), io::stdin().is_terminal());
        Self { own: true, ..stdin }
    }

    /// Whether a person types.
    pub const fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// One line without its end; `None` at the end of input. What is not UTF-8 is replaced: a person retypes it.
    pub fn line(&self) -> io::Result<Option<String>> {
        one_line(&self.from)
    }

    /// The same, to be waited for beside other things.
    pub async fn typed_line(&mut self) -> io::Result<Option<String>> {
        let from = Arc::clone(&self.from);
        let awaited = self.awaited.insert(in_a_thread(move || one_line(&from))?);
        let line = awaited.await;
        self.awaited = None;
        line.map_err(|_| reader_ended())?
    }

    /// After a signal: what was typed beyond the last line that [`Input::typed_line`] gave.
    pub async fn unfinished(&mut self) -> String {
        let mut lines = Vec::new();
        if let (Some(mut awaited), Some(typing)) = (self.awaited.take(), &self.typing) {
            typing.hand_over();
            while let Ok(Ok(Ok(Some(line)))) = timeout(UNFINISHED, awaited).await {
                lines.push(line);
                let from = Arc::clone(&self.from);
                let Ok(next) = in_a_thread(move || one_line(&from)) else { break };
                awaited = next;
            }
        }
        lines.join("\n")
    }

    /// Everything to the end, at most `limit` bytes and one more, so that the caller sees when there was more. When it is
    /// cut short, by a signal or a failure, that is given beside what was read so far.
    pub async fn everything(&mut self, limit: u64, interrupts: &Interrupts) -> (Vec<u8>, Result<()>) {
        let so_far = Arc::new(Mutex::new(Vec::new()));
        let (from, to) = (Arc::clone(&self.from), Arc::clone(&so_far));
        let unread = |why: io::Error| failed(format!("stdin cannot be read: {why}"));
        let done = match in_a_thread(move || read_to_end(&from, &to, limit)) {
            Err(why) => Err(unread(why)),
            Ok(mut reading) => tokio::select! {
                // A hang-up also ends the input; it is the hang-up that is told.
                biased;
                ending = interrupts.caught() => {
                    if let Some(typing) = &self.typing {
                        typing.hand_over();
                        // Whether it ends in time or not: what it has read is there.
                        let _ = timeout(UNFINISHED, reading).await;
                    }
                    Err(ending.into())
                }
                read = &mut reading => read.unwrap_or_else(|_| Err(reader_ended())).map_err(unread),
            },
        };
        let read = std::mem::take(&mut *so_far.lock().unwrap_or_else(PoisonError::into_inner));
        (read, done)
    }

    /// From here on nothing that a person types is thrown away, not even before it is read.
    pub fn begin_typing(&mut self) {
        if self.own && self.terminal && self.typing.is_none() {
            self.typing = Typing::on_stdin();
        }
    }
}

fn one_line(from: &Mutex<Box<dyn BufRead + Send>>) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut from = from.lock().unwrap_or_else(PoisonError::into_inner);
    if from.read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

fn read_to_end(from: &Mutex<Box<dyn BufRead + Send>>, to: &Mutex<Vec<u8>>, limit: u64) -> io::Result<()> {
    let mut from = from.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let bytes = from.fill_buf()?;
        let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
        let room = limit.saturating_add(1).saturating_sub(to.len() as u64);
        let taken = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        to.extend(bytes.iter().take(taken));
        drop(to);
        if taken == 0 {
            return Ok(());
        }
        from.consume(taken);
    }
}

type Reading<T> = oneshot::Receiver<io::Result<T>>;

fn in_a_thread<T: Send + 'static>(
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<Reading<T>> {
    let (tell, told) = oneshot::channel();
    // Who waited may have gone.
    thread::Builder::new().spawn(move || drop(tell.send(read())))?;
    Ok(told)
}

fn reader_ended() -> io::Error {
    io::Error::other("its reader ended")
}

/// The environment's variables.
#[derive(Clone, Debug, Default)]
pub struct Env(BTreeMap<OsString, OsString>);

impl Env {
    /// These variables; an empty one is none.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(variables.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(OsString::from(name).as_os_str())
    }

    /// The value as a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// The default data directory: `$XDG_DATA_HOME/demarche`, else `~/.local/share/demarche`
    /// (XDG Base Directory Specification, which has relative paths ignored).
    pub fn default_data(&self) -> Option<PathBuf> {
        self.xdg("XDG_DATA_HOME", ".local/share").map(|base| base.join("demarche"))
    }

    /// The default profile: `$XDG_CONFIG_HOME/demarche/profile.toml`, else below `~/.config`.
    pub fn default_profile(&self) -> Option<PathBuf> {
        self.xdg("XDG_CONFIG_HOME", ".config").map(|base| base.join("demarche/profile.toml"))
    }

    fn xdg(&self, name: &str, below_home: &str) -> Option<PathBuf> {
        let set = self.path(name).filter(|path| path.is_absolute());
        set.or_else(|| self.path("HOME").map(|home| home.join(Path::new(below_home))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[(&str, &str)]) -> Env {
        Env::new(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn default_places_follow_xdg() {
        let home = env(&[("HOME", "/home/o"), ("XDG_DATA_HOME", "relative"), ("XDG_CONFIG_HOME", "")]);
        assert_eq!(home.default_data().unwrap(), Path::new("/home/o/.local/share/demarche"));
        assert_eq!(home.default_profile().unwrap(), Path::new("/home/o/.config/demarche/profile.toml"));
        let set = env(&[("HOME", "/home/o"), ("XDG_DATA_HOME", "/d"), ("XDG_CONFIG_HOME", "/c")]);
        assert_eq!(set.default_data().unwrap(), Path::new("/d/demarche"));
        assert_eq!(set.default_profile().unwrap(), Path::new("/c/demarche/profile.toml"));
        assert_eq!(env(&[]).default_data(), None);
    }
}
