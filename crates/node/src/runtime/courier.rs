//! The courier: at a capital, keeps a stream to the custody of every mediator that is connected, and carries what channels and mediators say to
//! each other on it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use demarche_protocol::{
    custody::{MessageError, ToCapital, ToMediator},
    hash::ChannelId,
    identity::member::MemberId,
};
use tokio::{
    io::split,
    sync::mpsc,
    task::AbortHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{channel::Handle, mail, names::node_of};
use crate::{
    defaults::{COURIER_AGAIN, COURIER_QUEUE, COURIER_SILENCE},
    throttle::Throttle,
    transport::{ByteStream, NodeId, Transport},
};

/// What a channel hears of a mediator's custody.
pub(crate) enum Mail {
    /// A stream to it is ready. What is said goes here.
    Up(MemberId, Outbox),
    /// The stream of this number has ended.
    Down(MemberId, u64),
    /// It says something.
    Heard(MemberId, Box<ToCapital>),
}

/// Where a channel puts what a mediator is to hear.
#[derive(Clone)]
pub(crate) struct Outbox {
    /// Tells the stream from others.
    pub(crate) number: u64,
    queue: mpsc::Sender<ToMediator>,
    overfull: CancellationToken,
}

impl Outbox {
    /// Says something. A stream that does not carry it as fast as it is said is given up, and a new one opened.
    pub(crate) fn say(&self, message: ToMediator) {
        if self.queue.try_send(message).is_err() {
            self.overfull.cancel();
        }
    }
}

/// Numbers streams.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The streams to mediators, each in a task of its own.
pub(super) struct Courier {
    transport: Arc<dyn Transport>,
    channels: BTreeMap<ChannelId, Handle>,
    throttle: Arc<Throttle>,
    rounds: BTreeMap<NodeId, AbortHandle>,
}

impl Courier {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        channels: BTreeMap<ChannelId, Handle>,
        throttle: Arc<Throttle>,
    ) -> Self {
        Self { transport, channels, throttle, rounds: BTreeMap::new() }
    }

    /// A mediator is connected: a stream to its custody is kept until it is not.
    pub(super) fn connected(&mut self, mediator: NodeId) {
        if self.rounds.get(&mediator).is_some_and(|round| !round.is_finished()) {
            return;
        }
        let round = Round {
            mediator,
            transport: Arc::clone(&self.transport),
            channels: self.channels.clone(),
            throttle: Arc::clone(&self.throttle),
        };
        self.rounds.insert(mediator, tokio::spawn(round.run()).abort_handle());
    }

    /// These are the mediators: the streams to all others end.
    pub(super) fn keep_only(&mut self, mediators: &[NodeId]) {
        self.rounds.retain(|mediator, round| {
            let stays = mediators.contains(mediator);
            if !stays {
                round.abort();
            }
            stays
        });
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.keep_only(&[]);
    }
}

struct Round {
    mediator: NodeId,
    transport: Arc<dyn Transport>,
    channels: BTreeMap<ChannelId, Handle>,
    throttle: Arc<Throttle>,
}

/// The channels that a mediator serves, each told of its end when the stream has ended, however that was.
struct Attended(u64, Vec<(Handle, MemberId)>);

impl Drop for Attended {
    fn drop(&mut self) {
        let number = self.0;
        for (channel, mediator) in std::mem::take(&mut self.1) {
            tokio::spawn(async move { channel.mail(Mail::Down(mediator, number)).await });
        }
    }
}

impl Round {
    /// One stream after the other, as long as the mediator is there.
    async fn run(self) {
        let mut wait = COURIER_AGAIN;
        loop {
            match self.transport.open_custody(self.mediator).await {
                Ok(stream) => {
                    if let Err(why) = self.carry(stream).await
                        && self.throttle.admits(&format!("{:?}", self.mediator), &why.to_string())
                    {
                        tracing::info!(mediator = ?self.mediator, %why, "the stream to its custody ended");
                    }
                    wait = COURIER_AGAIN;
                }
                Err(why) => {
                    tracing::debug!(mediator = ?self.mediator, %why, "no stream to its custody");
                    wait = (wait * 2).min(32 * COURIER_AGAIN);
                }
            }
            sleep(wait).await;
        }
    }

    /// The channels that this mediator serves now, and its name in each.
    fn served(&self) -> Vec<(Handle, MemberId)> {
        let name = |channel: &Handle| {
            let roster = channel.roster();
            let roster = roster.borrow();
            let card = roster.cards().find(|card| card.is_mediator() && node_of(card) == self.mediator)?;
            Some((channel.clone(), card.member.clone()))
        };
        self.channels.values().filter_map(name).collect()
    }

    async fn carry(&self, stream: ByteStream) -> std::io::Result<()> {
        let (mut reading, mut writing) = split(stream);
        let (queue, mut outgoing) = mpsc::channel::<ToMediator>(COURIER_QUEUE);
        let overfull = CancellationToken::new();
        let outbox =
            Outbox { number: NUMBER.fetch_add(1, Ordering::Relaxed), queue, overfull: overfull.clone() };
        let attended = Attended(outbox.number, self.served());
        for (channel, name) in &attended.1 {
            channel.mail(Mail::Up(name.clone(), outbox.clone())).await;
        }
        drop(outbox);
        let writes = async {
            while let Some(message) = outgoing.recv().await {
                timeout(COURIER_SILENCE, mail::write(&mut writing, &message.encode()))
                    .await
                    .map_err(|_| std::io::ErrorKind::TimedOut)??;
            }
            Ok(())
        };
        let reads = async {
            while let Some(bytes) = mail::read(&mut reading).await? {
                match ToCapital::decode(&bytes) {
                    Ok(message) => self.deliver(&attended, message).await,
                    Err(MessageError::UnknownKind(kind)) => {
                        tracing::debug!(kind, "a message of a mediator's custody is not known here");
                    }
                    Err(why) => return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why)),
                }
            }
            Ok(())
        };
        tokio::select! {
            ended = writes => ended,
            ended = reads => ended,
            () = overfull.cancelled() => Err(std::io::ErrorKind::TimedOut.into()),
        }
    }

    async fn deliver(&self, attended: &Attended, message: ToCapital) {
        let Ok(channel) = message.channel() else { return };
        // One channel's mail is no other's.
        if let Some((channel, name)) = attended.1.iter().find(|(handle, _)| handle.id() == channel) {
            channel.mail(Mail::Heard(name.clone(), Box::new(message))).await;
        }
    }
}
