//! The line itself: notices from one officer to the other capital's disk, and the receipt back.

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use demarche_control::{SignedFile, client::Client, types::EventKind};
use demarche_protocol::{
    charter::policy::Span,
    dispatch::{Breach, Confidence, Content, Dispatch, Means, Nature, Occurred, Precedence, ReplyBy},
    document::SignedDocument,
    hash::{ChannelId, DocumentId},
    identity::{keys::SecretKey, openssh},
    labels::Namespace,
    time::Timestamp,
};
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};

use crate::programs;

use super::{
    processes::Process,
    support::stage::{Cast, Stage},
    target,
};

/// The channel's local name.
const CHANNEL: &str = "memo26";
/// Entry, signatures and frame around the text; a receipt in its frame. Measured once on the wire format.
const AROUND_TEXT: usize = 430;
const RECEIPT: usize = 240;

type Feed = mpsc::UnboundedReceiver<(EventKind, String, Instant)>;

struct Officer {
    client: Client,
    key: SecretKey,
    channel: ChannelId,
    written: u64,
}

impl Officer {
    fn of(stage: &Stage) -> anyhow::Result<Self> {
        let data = stage.dir.join("washington");
        let charter = fs::read_to_string(data.join("channels").join(CHANNEL).join("charter.json"))?;
        let charter = SignedFile::from_json(&charter)?.document()?;
        let key = fs::read_to_string(stage.dir.join("washington.officer"))?;
        Ok(Self {
            client: Client::new(data.join("control.sock")),
            key: openssh::read(&key, None)?,
            channel: ChannelId::from(charter.id()),
            written: 0,
        })
    }

    /// A notice with a body of 1 KiB and the usual fields.
    fn notice(&mut self) -> anyhow::Result<(DocumentId, SignedFile, usize)> {
        self.written += 1;
        let at = Timestamp::from_millis(1_793_491_200_000 + self.written);
        let body: String = format!("{:06} ", self.written) + &"What was seen, by whom and how. ".repeat(32);
        let dispatch = Dispatch {
            channel: self.channel,
            party: "washington".parse()?,
            nature: Nature::Test,
            precedence: Precedence::Flash,
            written_at: at,
            content: Content::Breach(Breach {
                provision: "3.2".to_owned(),
                title: "Two vessels stopped in the strait".to_owned(),
                body: Some(body[..1024].to_owned()),
                occurred: Some(Occurred { from: at, to: None }),
                place: Some("Strait of Hormuz".to_owned()),
                means: Some(Means::Sensor),
                confidence: Some(Confidence::Probable),
                request: None,
                reply_by: Some(ReplyBy::Within(Span(Duration::from_secs(6 * 60 * 60)))),
            }),
        };
        let document = SignedDocument::unsigned(dispatch.render()).signed_by(Namespace::Dispatch, &self.key);
        Ok((document.id(), SignedFile::of(&document)?, document.text().len()))
    }
}

/// Follows the sender's feed and tells what becomes of each notice.
async fn steps(client: &Client) -> anyhow::Result<Feed> {
    let mut events = client.events(None).await?;
    let (told, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(Some(event)) = events.next().await {
            if let Some(header) = &event.header
                && told.send((event.kind, header.document.to_string(), Instant::now())).is_err()
            {
                break;
            }
        }
    });
    Ok(receiver)
}

/// A line that is open, an officer who writes, and the feed of what was delivered.
pub(crate) struct Line {
    /// Before its directory, so that the nodes end first.
    stage: Stage,
    _directory: TempDir,
    officer: Officer,
    feed: Feed,
}

/// One notice, measured.
pub(crate) struct Notice {
    /// Until the officer is told that it is recorded.
    pub recorded: Duration,
    /// Until the officer is told that the other side's receipt is verified and durable.
    pub delivered: Duration,
}

impl Line {
    /// Opens it.
    pub(crate) async fn open(cast: Cast) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("demarche-bench").tempdir_in(target())?;
        let mut stage = Stage::empty(programs!(), directory.path(), cast, Box::new(|_| {}));
        stage.ceremony();
        stage.start();
        let officer = Officer::of(&stage)?;
        let feed = steps(&officer.client).await?;
        Ok(Self { stage, _directory: directory, officer, feed })
    }

    /// Its nodes.
    pub(crate) const fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    /// The mediator that carries the sender's line.
    pub(crate) async fn carrier(&self) -> anyhow::Result<String> {
        let status = self.officer.client.status().await?;
        let paths = status.channels.iter().flat_map(|channel| &channel.peers).flat_map(|peer| &peer.paths);
        // Of its own ways to mediators the names are addresses.
        let mut carrying = paths.filter(|path| path.carries).map(|path| path.via.clone());
        carrying.find(|via| self.stage.ids().any(|id| id == via)).context("the line is down")
    }

    /// Bytes of a notice's text; of the entry with it and of the receipt, as they travel, about.
    pub(crate) fn sizes(&mut self) -> anyhow::Result<(usize, usize, usize)> {
        let (_, _, text) = self.officer.notice()?;
        Ok((text, text + AROUND_TEXT, RECEIPT))
    }

    /// Resident memory in MiB, by process.
    pub(crate) fn memory(&self) -> anyhow::Result<Vec<(String, f64)>> {
        self.nodes().map(|node| Ok((node.name.clone(), node.memory()?))).collect()
    }

    /// CPU time spent so far, by process.
    pub(crate) fn cpu(&self) -> anyhow::Result<Vec<(String, Duration)>> {
        self.nodes().map(|node| Ok((node.name.clone(), node.cpu()?))).collect()
    }

    /// Sends one notice and waits until it is delivered.
    pub(crate) async fn one(&mut self) -> anyhow::Result<Notice> {
        let (document, file, _) = self.officer.notice()?;
        let begin = Instant::now();
        self.officer.client.send(CHANNEL, &file).await?;
        let recorded = begin.elapsed();
        let (told, at) = next(&mut self.feed, EventKind::Delivered).await?;
        if told != document.to_string() {
            bail!("{told} was delivered where {document} was sent");
        }
        Ok(Notice { recorded, delivered: at.duration_since(begin) })
    }

    /// TCP payload between sender and mediator for one notice and its receipt: the median of single notices, so that what else
    /// crosses the connection meanwhile (a ping, say) does not count.
    pub(crate) async fn wire(&mut self) -> anyhow::Result<u64> {
        let mut bytes = Vec::new();
        for _ in 0..101 {
            let before = self.tcp_bytes()?;
            self.one().await?;
            bytes.push(self.tcp_bytes()? - before);
        }
        bytes.sort_unstable();
        bytes.get(bytes.len() / 2).copied().context("nothing measured")
    }

    fn tcp_bytes(&self) -> anyhow::Result<u64> {
        let sender = self.nodes().find(|node| node.name == "washington").context("no sender")?;
        sender.tcp_bytes(self.stage.port("muscat"))
    }

    fn nodes(&self) -> impl Iterator<Item = Process> {
        self.stage.nodes.iter().filter_map(|node| Some(Process { name: node.id.clone(), id: node.pid()? }))
    }

    /// The other capital's node is gone: so many notices, one by one, until the mediator's word for each is durable at the sender. Then it comes: the time
    /// from its start until its receipt for the last of them is.
    pub(crate) async fn custody(&mut self, count: usize) -> anyhow::Result<(Vec<Duration>, Duration)> {
        self.stage.node_mut("tehran").kill();
        let mut deposited = Vec::with_capacity(count);
        let mut waiting = HashSet::new();
        // The first waits until the line is given up.
        for number in 0..=count {
            let (document, file, _) = self.officer.notice()?;
            let begin = Instant::now();
            self.officer.client.send(CHANNEL, &file).await?;
            let (_, at) = next(&mut self.feed, EventKind::Custody).await?;
            waiting.insert(document.to_string());
            if number > 0 {
                deposited.push(at.duration_since(begin));
            }
        }
        let begin = Instant::now();
        self.stage.node_mut("tehran").start();
        while !waiting.is_empty() {
            let (told, _) = next(&mut self.feed, EventKind::Delivered).await?;
            waiting.remove(&told);
        }
        Ok((deposited, begin.elapsed()))
    }

    /// Sends so many with so many outstanding: deliveries a second.
    pub(crate) async fn pipeline(&mut self, count: usize, outstanding: usize) -> anyhow::Result<f64> {
        let mut files = Vec::with_capacity(count);
        for _ in 0..count {
            let (document, file, _) = self.officer.notice()?;
            files.push((document, file));
        }
        let mut waiting: HashSet<String> = files.iter().map(|(document, _)| document.to_string()).collect();
        let room = Arc::new(Semaphore::new(outstanding));
        let begin = Instant::now();
        let sending = tokio::spawn(send(files, self.officer.client.socket().to_owned(), room.clone()));
        while !waiting.is_empty() {
            let (told, _) = next(&mut self.feed, EventKind::Delivered).await?;
            if waiting.remove(&told) {
                room.add_permits(1);
            }
        }
        let elapsed = begin.elapsed();
        sending.await?;
        #[expect(clippy::cast_precision_loss)]
        Ok(count as f64 / elapsed.as_secs_f64())
    }
}

/// Sends each as soon as there is room, over a connection of its own, as an officer's command does.
async fn send(files: Vec<(DocumentId, SignedFile)>, socket: PathBuf, room: Arc<Semaphore>) {
    for (_, file) in files {
        let Ok(permit) = room.acquire().await else { break };
        permit.forget();
        let socket = socket.clone();
        tokio::spawn(async move {
            if let Err(why) = Client::new(socket).send(CHANNEL, &file).await {
                eprintln!("not sent: {why}");
            }
        });
    }
}

/// The next notice that came so far.
async fn next(feed: &mut Feed, step: EventKind) -> anyhow::Result<(String, Instant)> {
    let search = async {
        loop {
            match feed.recv().await {
                Some((kind, document, at)) if kind == step => return Some((document, at)),
                Some(_) => {}
                None => return None,
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), search).await;
    found.with_context(|| format!("nothing was {step} for 30 s"))?.context("the feed ended")
}
