//! The custodian: at a mediator, serves the custody streams of the capitals. The [`Keeper`] of each channel says what is to be done; this makes it
//! durable in the vault, and only then tells.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use demarche_protocol::{
    charter::Charter,
    codec,
    custody::{
        Change, Keeper, Kept, MessageError, NotKept, ToCapital, ToMediator, Turned,
        message::{Named, Refused},
    },
    hash::{ChannelId, EnvelopeHash, hex},
    identity::{Verified, card::Card, keys::SecretKey, member::MemberId},
};
use tokio::{
    io::split,
    sync::{Mutex as AsyncMutex, mpsc},
    task::spawn_blocking,
    time::{interval, timeout},
};

use super::{clock::Clock, mail, names::node_of, rosters::MediatorRosters};
use crate::{
    defaults::{COURIER_QUEUE, COURIER_SILENCE, EXPIRY_EVERY},
    store::{Vault, VaultError},
    throttle::Throttle,
    transport::{ByteStream, NodeId},
};

/// Why the custody of a channel cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// The directory.
    #[error("the custody in {path} cannot be read: {source}")]
    Io {
        /// Where.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file there is not what was written.
    #[error(
        "{path} is damaged: {why}\nhelp: move it away; whoever deposited it deposits it again when its peer does not confirm it"
    )]
    Damaged {
        /// Which.
        path: String,
        /// What is wrong.
        why: String,
    },
}

/// All channels' custody. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Custodian(Arc<Inner>);

struct Inner {
    clock: Clock,
    rosters: MediatorRosters,
    throttle: Throttle,
    offices: BTreeMap<ChannelId, Office>,
}

/// One channel's custody.
struct Office {
    /// Held while something is made durable, so that changes follow one another.
    keeper: Arc<AsyncMutex<Keeper>>,
    vault: Vault,
    attendants: Mutex<BTreeMap<MemberId, Attendant>>,
}

/// A party whose node has a stream here.
struct Attendant {
    /// Tells its stream from an older one.
    stream: u64,
    outbox: mpsc::Sender<ToCapital>,
    /// It waits for an envelope.
    wants: bool,
}

impl Office {
    fn attendants(&self) -> MutexGuard<'_, BTreeMap<MemberId, Attendant>> {
        self.attendants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a party something, if it is here. One that does not read as fast as it is told is sent away: it hears all of it when it
    /// comes again.
    fn tell(&self, party: &MemberId, message: ToCapital) {
        let mut attendants = self.attendants();
        let told = attendants.get(party).is_none_or(|attendant| attendant.outbox.try_send(message).is_ok());
        if !told {
            attendants.remove(party);
        }
    }
}

impl Custodian {
    /// Opens the custody of these channels under `directory`.
    pub(crate) fn open<'a>(
        directory: &Path,
        channels: impl Iterator<Item = &'a Verified<Charter>>,
        (card, key): (&Verified<Card>, &SecretKey),
        rosters: MediatorRosters,
        clock: Clock,
    ) -> Result<Self, CustodyError> {
        let mut offices = BTreeMap::new();
        for charter in channels {
            let id = ChannelId::from(charter.id());
            let path = directory.join(hex(id.as_bytes()));
            let failed = |source| CustodyError::Io { path: path.display().to_string(), source };
            let vault = Vault::open(&path).map_err(failed)?;
            let mut keeper = Keeper::new(charter, card, key.clone());
            for name in vault.names().map_err(failed)? {
                let file = path.join(hex(name.as_bytes())).display().to_string();
                let damaged = |why: String| CustodyError::Damaged { path: file.clone(), why };
                let bytes = vault.get(name).map_err(|why| damaged(why.to_string()))?.unwrap_or_default();
                let kept: Kept = codec::decode(&bytes).map_err(|why| damaged(why.to_string()))?;
                if !kept.is_of(name) {
                    return Err(damaged("it is not the envelope of its name".to_owned()));
                }
                keeper.restore(name, &kept);
            }
            let attendants = Mutex::new(BTreeMap::new());
            offices.insert(id, Office { keeper: Arc::new(AsyncMutex::new(keeper)), vault, attendants });
        }
        Ok(Self(Arc::new(Inner { clock, rosters, throttle: Throttle::default(), offices })))
    }

    /// Ends what has been kept for its time, now and then, for ever.
    pub(crate) async fn expire(self) {
        let mut again = interval(EXPIRY_EVERY);
        loop {
            again.tick().await;
            for office in self.0.offices.values() {
                let mut keeper = Arc::clone(&office.keeper).lock_owned().await;
                while let Some(change) = keeper.expires(self.0.clock.now()) {
                    match self.make(office, &mut keeper, change).await {
                        Ok(Some((party, message))) => office.tell(&party, message),
                        Ok(None) => {}
                        // It is tried again the next time.
                        Err(why) => {
                            tracing::error!(%why, "what has expired in custody could not be ended");
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Serves a node's stream until it ends. `number` tells it from others of the same node.
    pub(crate) async fn serve(self, node: NodeId, stream: ByteStream, number: u64) -> io::Result<()> {
        let (mut reading, mut writing) = split(stream);
        let (outbox, mut outgoing) = mpsc::channel::<ToCapital>(COURIER_QUEUE);
        self.begin(node, number, &outbox).await;
        drop(outbox);
        let writes = async {
            while let Some(message) = outgoing.recv().await {
                timeout(COURIER_SILENCE, mail::write(&mut writing, &message.encode()))
                    .await
                    .map_err(|_| io::ErrorKind::TimedOut)??;
            }
            // Another stream of the same node has taken over.
            Ok(())
        };
        let reads = async {
            while let Some(bytes) = mail::read(&mut reading).await? {
                match ToMediator::decode(&bytes) {
                    Ok(message) => self.hear(node, message).await,
                    Err(MessageError::UnknownKind(kind)) => {
                        tracing::debug!(kind, "a message for our custody is not known here");
                    }
                    Err(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
                }
            }
            Ok(())
        };
        let ended = tokio::select! {
            ended = writes => ended,
            ended = reads => ended,
        };
        self.end(number);
        ended
    }

    /// The card of the party whose node this is in a channel, as the roster has it now.
    fn party(&self, channel: ChannelId, node: NodeId) -> Option<Verified<Card>> {
        let roster = self.0.rosters.of(channel)?;
        roster.cards().find(|card| !card.is_mediator() && node_of(card) == node).cloned()
    }

    async fn begin(&self, node: NodeId, stream: u64, outbox: &mpsc::Sender<ToCapital>) {
        for (channel, office) in &self.0.offices {
            let Some(card) = self.party(*channel, node) else { continue };
            let keeper = office.keeper.lock().await;
            let attendant = Attendant { stream, outbox: outbox.clone(), wants: false };
            office.attendants().insert(card.member.clone(), attendant);
            for prekey in keeper.prekeys(&card.member) {
                office.tell(&card.member, prekey);
            }
        }
    }

    fn end(&self, stream: u64) {
        for office in self.0.offices.values() {
            office.attendants().retain(|_, attendant| attendant.stream != stream);
        }
    }

    async fn hear(&self, node: NodeId, message: ToMediator) {
        let Ok(channel) = message.channel() else { return };
        let (Some(office), Some(card)) = (self.0.offices.get(&channel), self.party(channel, node)) else {
            return self.refused(node, "it speaks of a channel in which it is no party");
        };
        let mut keeper = Arc::clone(&office.keeper).lock_owned().await;
        let party = card.member.clone();
        let turned = match message {
            ToMediator::Deposit(envelope) => keeper.deposit(self.0.clock.now(), &party, envelope),
            ToMediator::Ended(statement) => match keeper.ended(&card, &statement) {
                Ok(turned) => turned,
                Err(why) => return self.refused(node, &why.to_string()),
            },
            ToMediator::Noted(named) => keeper.noted(&party, named.envelope),
            ToMediator::Next(_) => {
                if let Some(attendant) = office.attendants().get_mut(&party) {
                    attendant.wants = true;
                }
                Turned::Nothing
            }
            ToMediator::Ends(_) => {
                for told in keeper.to_note(&party).take(COURIER_QUEUE / 2) {
                    office.tell(&party, told);
                }
                Turned::Nothing
            }
            ToMediator::Prekey(published) => {
                if keeper.publish(&card, &published.prekey) {
                    for other in keeper.parties().filter(|other| **other != party) {
                        office.tell(other, ToCapital::Prekey(published.clone()));
                    }
                }
                Turned::Nothing
            }
        };
        match turned {
            Turned::Nothing => {}
            Turned::Answer(answer) => office.tell(&party, answer),
            Turned::Change(change) => self.change(office, &mut keeper, change, &party, channel).await,
        }
        hand_out(office, &mut keeper).await;
    }

    /// Makes a change durable and tells whom it concerns; a deposit that cannot be kept is refused by name.
    async fn change(
        &self,
        office: &Office,
        keeper: &mut Keeper,
        change: Change,
        party: &MemberId,
        channel: ChannelId,
    ) {
        let named = Named { channel, envelope: change.name() };
        let is_deposit = matches!(change.kept(), Some(Kept::Waits { .. }));
        match self.make(office, keeper, change).await {
            Ok(Some((told, message))) => office.tell(&told, message),
            Ok(None) => {}
            Err(why) => {
                if self.0.throttle.admits("custody", &why.to_string()) {
                    tracing::error!(%why, "something was not kept in custody");
                }
                if is_deposit {
                    let refused = Refused { named, why: NotKept::NoSpace };
                    office.tell(party, ToCapital::Refused(refused));
                }
            }
        }
    }

    /// Makes a change durable, then takes it in.
    async fn make(
        &self,
        office: &Office,
        keeper: &mut Keeper,
        change: Change,
    ) -> Result<Option<(MemberId, ToCapital)>, VaultError> {
        let (vault, name) = (office.vault.clone(), change.name());
        let bytes = change.kept().map(codec::encode);
        let made = spawn_blocking(move || match bytes {
            Some(bytes) => vault.put(name, &bytes),
            None => vault.remove(name),
        });
        // It ends by itself only with the node.
        made.await.unwrap_or(Err(VaultError::NoSpace))?;
        Ok(keeper.apply(change))
    }

    fn refused(&self, node: NodeId, why: &str) {
        let who = format!("{node:?}");
        if self.0.throttle.admits(&who, why) {
            tracing::warn!(node = who, why, "something said to our custody was refused");
        }
    }
}

/// Hands the newest envelope to each party that waits for one.
async fn hand_out(office: &Office, keeper: &mut Keeper) {
    while hand_out_next(office, keeper).await {}
}

/// True when one could not be read and whoever waited for it may have another.
async fn hand_out_next(office: &Office, keeper: &mut Keeper) -> bool {
    let mut again = false;
    let wanting: Vec<(MemberId, EnvelopeHash)> = {
        let mut attendants = office.attendants();
        let next = |(party, attendant): (&MemberId, &mut Attendant)| {
            let name = keeper.next(party).filter(|_| attendant.wants)?;
            attendant.wants = false;
            Some((party.clone(), name))
        };
        attendants.iter_mut().filter_map(next).collect()
    };
    for (party, name) in wanting {
        let vault = office.vault.clone();
        let read = spawn_blocking(move || vault.get(name)).await;
        let kept = read.ok().and_then(Result::ok).flatten();
        if let Some(Kept::Waits { envelope, .. }) = kept.and_then(|bytes| codec::decode::<Kept>(&bytes).ok())
        {
            office.tell(&party, ToCapital::Envelope(envelope));
        } else {
            tracing::error!(envelope = name.short(), "an envelope in custody cannot be read any more");
            keeper.lose(name);
            if let Some(attendant) = office.attendants().get_mut(&party) {
                attendant.wants = true;
            }
            again = true;
        }
    }
    again
}
