//! The line itself: notices from one officer to the other capital's disk, and the receipt back.

use std::{
    collections::HashSet,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use demarche_control::{
    SignedFile,
    client::Client,
    types::{Event, EventKind},
};
use demarche_protocol::{
    charter::policy::Span,
    dispatch::{Breach, Confidence, Content, Dispatch, Means, Nature, Occurred, Precedence, ReplyBy},
    document::SignedDocument,
    hash::{ChannelId, DocumentId},
    identity::{keys::SecretKey, openssh},
    labels::Namespace,
    time::Timestamp,
};

use super::{scene::Scene, statistics::Spread};

/// What was measured.
pub(crate) struct Measured {
    /// Until the officer is told that it is recorded.
    pub recorded: Spread,
    /// Until the officer is told that the other side's receipt is verified and durable.
    pub delivered: Spread,
    /// Bytes of the dispatch's text.
    pub text_bytes: usize,
    /// Bytes of the entry with its text as it travels, about.
    pub entry_bytes: usize,
    /// Bytes of the receipt as it travels, about.
    pub receipt_bytes: usize,
    /// TCP payload between sender and mediator for one notice and its receipt.
    pub wire_bytes: u64,
    /// CPU time added per notice, by process.
    pub cpu_per_notice: Vec<(String, Duration)>,
    /// Notices delivered a second, pipelined.
    pub pipelined_rate: f64,
    /// Resident memory idle and after the load, MiB, by process.
    pub memory: Vec<(String, f64, f64)>,
}

/// Entry, signatures and frame around the text; a receipt in its frame. Measured once on the wire format.
const AROUND_TEXT: usize = 430;
const RECEIPT: usize = 240;

struct Officer {
    client: Client,
    key: SecretKey,
    channel: ChannelId,
    written: u64,
}

impl Officer {
    fn of(scene: &Scene) -> anyhow::Result<Self> {
        let data = scene.data("washington");
        let charter = fs::read_to_string(data.join("channels/memo/charter.json"))?;
        let charter = SignedFile::from_json(&charter)?.document()?;
        let key = fs::read_to_string(scene.directory.path().join("washington.officer"))?;
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

/// Follows the sender's feed and tells of every delivery.
async fn deliveries(
    client: &Client,
) -> anyhow::Result<tokio::sync::mpsc::UnboundedReceiver<(String, Instant)>> {
    let mut events = client.events(None).await?;
    let (told, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(Some(event)) = events.next().await {
            if let Some(document) = delivered(&event)
                && told.send((document, Instant::now())).is_err()
            {
                break;
            }
        }
    });
    Ok(receiver)
}

fn delivered(event: &Event) -> Option<String> {
    (event.kind == EventKind::Delivered)
        .then(|| event.header.as_ref().map(|header| header.document.to_string()))
        .flatten()
}

/// Measures the line.
pub(crate) async fn measure(single: usize, pipelined: usize, outstanding: usize) -> anyhow::Result<Measured> {
    let scene = Scene::new()?;
    let mut officer = Officer::of(&scene)?;
    let mut feed = deliveries(&officer.client).await?;
    let idle: Vec<f64> =
        scene.nodes.iter().map(super::processes::Process::memory).collect::<Result<_, _>>()?;
    let mut text_bytes = 0;
    for _ in 0..50 {
        text_bytes = one(&mut officer, &mut feed).await?.2;
    }
    let wire_bytes = wire(&scene, &mut officer, &mut feed).await?;
    let cpu_before: Vec<Duration> =
        scene.nodes.iter().map(super::processes::Process::cpu).collect::<Result<_, _>>()?;
    let (mut recorded, mut delivered) = (Vec::new(), Vec::new());
    for _ in 0..single {
        let (here, there, _) = one(&mut officer, &mut feed).await?;
        recorded.push(here);
        delivered.push(there);
    }
    let mut cpu_per_notice = Vec::new();
    for (node, before) in scene.nodes.iter().zip(cpu_before) {
        let added = node.cpu()?.saturating_sub(before);
        cpu_per_notice.push((node.name.clone(), added / u32::try_from(single)?));
    }
    let pipelined_rate = pipeline(&mut officer, &mut feed, pipelined, outstanding).await?;
    let mut memory = Vec::new();
    for (node, idle) in scene.nodes.iter().zip(idle) {
        memory.push((node.name.clone(), idle, node.memory()?));
    }
    Ok(Measured {
        recorded: Spread::of(recorded),
        delivered: Spread::of(delivered),
        text_bytes,
        entry_bytes: text_bytes + AROUND_TEXT,
        receipt_bytes: RECEIPT,
        wire_bytes,
        cpu_per_notice,
        pipelined_rate,
        memory,
    })
}

type Feed = tokio::sync::mpsc::UnboundedReceiver<(String, Instant)>;

async fn one(officer: &mut Officer, feed: &mut Feed) -> anyhow::Result<(Duration, Duration, usize)> {
    let (document, file, text_bytes) = officer.notice()?;
    let begin = Instant::now();
    officer.client.send("memo", &file).await?;
    let recorded = begin.elapsed();
    let (told, at) = next(feed).await?;
    if told != document.to_string() {
        bail!("{told} was delivered where {document} was sent");
    }
    Ok((recorded, at.duration_since(begin), text_bytes))
}

async fn next(feed: &mut Feed) -> anyhow::Result<(String, Instant)> {
    tokio::time::timeout(Duration::from_secs(30), feed.recv())
        .await
        .context("nothing was delivered for 30 s")?
        .context("the feed ended")
}

/// The median of single notices: what else crosses the connection meanwhile (a ping, say) does not count.
async fn wire(scene: &Scene, officer: &mut Officer, feed: &mut Feed) -> anyhow::Result<u64> {
    let sender = scene.node("washington")?;
    let mut bytes = Vec::new();
    for _ in 0..101 {
        let before = sender.tcp_bytes(scene.port)?;
        one(officer, feed).await?;
        bytes.push(sender.tcp_bytes(scene.port)? - before);
    }
    bytes.sort_unstable();
    bytes.get(bytes.len() / 2).copied().context("nothing measured")
}

/// Sends with so many outstanding, and counts deliveries a second.
async fn pipeline(
    officer: &mut Officer,
    feed: &mut Feed,
    count: usize,
    outstanding: usize,
) -> anyhow::Result<f64> {
    let mut files = Vec::with_capacity(count);
    for _ in 0..count {
        let (document, file, _) = officer.notice()?;
        files.push((document, file));
    }
    let mut waiting: HashSet<String> = files.iter().map(|(document, _)| document.to_string()).collect();
    let room = std::sync::Arc::new(tokio::sync::Semaphore::new(outstanding));
    let socket = officer.client.socket().to_owned();
    let begin = Instant::now();
    let sending = {
        let room = room.clone();
        tokio::spawn(async move {
            for (_, file) in files {
                let Ok(permit) = room.acquire().await else { break };
                permit.forget();
                let socket = socket.clone();
                tokio::spawn(async move {
                    if let Err(why) = Client::new(socket).send("memo", &file).await {
                        eprintln!("not sent: {why}");
                    }
                });
            }
        })
    };
    while !waiting.is_empty() {
        let (told, _) = next(feed).await?;
        if waiting.remove(&told) {
            room.add_permits(1);
        }
    }
    let elapsed = begin.elapsed();
    sending.await?;
    #[expect(clippy::cast_precision_loss)]
    Ok(count as f64 / elapsed.as_secs_f64())
}
