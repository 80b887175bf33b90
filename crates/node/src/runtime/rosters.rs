//! Where rosters are kept: at a capital in its channels, at a mediator in the store directly, since it holds no logs.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use demarche_protocol::{
    channel::{Batch, CommitFailure, Record, Ticket},
    document::SignedDocument,
    hash::ChannelId,
    identity::{card::Card, roster::Roster},
};
use futures::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

use super::{
    channel::{AskError, Handle},
    names::node_of,
    roster_stream::Rosters,
};
use crate::{
    home::turn,
    store::{Answers, Commits, Outcome},
    transport::NodeId,
};

fn in_order(mut documents: Vec<SignedDocument>) -> Arc<[SignedDocument]> {
    documents.sort_by_key(turn);
    documents.into()
}

fn knows(roster: &Roster, node: NodeId) -> bool {
    roster.cards().any(|card| node_of(card) == node)
}

/// What a roster tells to a node: all, when its card speaks. A node that brings a card for which its roots vouch and which speaks no more is
/// told why, and nothing of others: its disk may have been set back to before that card was replaced.
fn told(roster: &Roster, node: NodeId, brought: &[SignedDocument]) -> Vec<SignedDocument> {
    if knows(roster, node) {
        return roster.documents();
    }
    let cards = brought.iter().filter_map(|document| Some((Card::parse(document.text()).ok()?, document)));
    // One: each costs checking its signatures.
    let own = cards.into_iter().find(|(card, _)| node_of(card) == node);
    let vouched = own.filter(|(card, document)| roster.vouches(&card.member, document).is_some());
    vouched.map_or_else(Vec::new, |(_, document)| roster.about(document).documents())
}

/// What of the documents is news for a roster. Anybody may bring documents with signatures that take a while to check, so that is
/// done where it holds up no other task.
async fn unknown_to(mut roster: Roster, documents: Arc<[SignedDocument]>) -> Vec<SignedDocument> {
    let check = move || {
        documents.iter().filter(|document| matches!(roster.offer(document), Ok(true))).cloned().collect()
    };
    // It is only given up when the node stops.
    spawn_blocking(check).await.unwrap_or_default()
}

/// Our own card first, whatever of the rest does not fit. As a roster holds it, that is with all signatures, if one does.
fn with_own(own: &SignedDocument, mut documents: Vec<SignedDocument>) -> Vec<SignedDocument> {
    let held = documents.iter().position(|document| document.id() == own.id());
    let own = held.map_or_else(|| own.clone(), |at| documents.remove(at));
    documents.insert(0, own);
    documents
}

/// A capital's rosters.
pub(crate) struct CapitalRosters {
    /// Our own card.
    pub(crate) own: SignedDocument,
    /// Its channels.
    pub(crate) channels: Vec<Handle>,
}

impl Rosters for CapitalRosters {
    fn for_node(&self, node: NodeId, brought: &[SignedDocument]) -> Vec<SignedDocument> {
        let told = |channel: &Handle| told(&channel.roster().borrow(), node, brought);
        with_own(&self.own, self.channels.iter().flat_map(told).collect())
    }

    fn take_in(&self, documents: Vec<SignedDocument>) -> BoxFuture<'static, ()> {
        let channels = self.channels.clone();
        async move {
            let documents = in_order(documents);
            for channel in channels {
                // Only what is news costs the channel a step; the rest is for other channels, or known, or wrong.
                let roster = channel.roster().borrow().clone();
                for document in unknown_to(roster, Arc::clone(&documents)).await {
                    match channel.roster_document(document.clone()).await {
                        Ok(()) => tracing::info!(channel = channel.name(), ?document, "a roster document was taken in"),
                        Err(AskError::Stopping) => return,
                        Err(why) => tracing::warn!(channel = channel.name(), ?document, %why, "a roster document was refused"),
                    }
                }
            }
        }
        .boxed()
    }
}

/// A mediator's rosters.
#[derive(Clone)]
pub(crate) struct MediatorRosters(Arc<Inner>);

struct Inner {
    own: SignedDocument,
    /// As far as they are durable.
    rosters: Mutex<BTreeMap<ChannelId, Roster>>,
    /// Held while a change is made, so that changes follow one another.
    doors: Arc<AsyncMutex<Doors>>,
    changed: Arc<Notify>,
    /// Cancelled once it is not known whether the last change is on disk (threat S5).
    outcome_unknown: CancellationToken,
}

type Doors = BTreeMap<ChannelId, Door>;

struct Door {
    commits: Commits,
    answers: Answers,
    next: u64,
}

/// What became of a document that was offered to a mediator's roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// Durable now.
    Taken,
    /// Known before, or older than what is known.
    Already,
    /// Refused.
    Refused(String),
    /// Nothing is wrong with it, but it cannot be stored now.
    Later(String),
}

impl MediatorRosters {
    /// Rosters as they were loaded, with the doors by which changes become durable.
    pub(crate) fn new(
        own: SignedDocument,
        rosters: BTreeMap<ChannelId, Roster>,
        doors: impl IntoIterator<Item = (ChannelId, (Commits, Answers))>,
        changed: Arc<Notify>,
    ) -> Self {
        let door = |(channel, (commits, answers))| (channel, Door { commits, answers, next: 0 });
        let doors = Arc::new(AsyncMutex::new(doors.into_iter().map(door).collect()));
        let outcome_unknown = CancellationToken::new();
        Self(Arc::new(Inner { own, rosters: Mutex::new(rosters), doors, changed, outcome_unknown }))
    }

    /// Resolves once it is not known whether the last change is on disk: the node must stop.
    pub(crate) async fn outcome_unknown(&self) {
        self.0.outcome_unknown.cancelled().await;
    }

    /// Every channel's roster.
    pub(crate) fn current(&self) -> Vec<(ChannelId, Roster)> {
        self.rosters().iter().map(|(channel, roster)| (*channel, roster.clone())).collect()
    }

    /// One channel's roster.
    pub(crate) fn of(&self, channel: ChannelId) -> Option<Roster> {
        self.rosters().get(&channel).cloned()
    }

    fn rosters(&self) -> MutexGuard<'_, BTreeMap<ChannelId, Roster>> {
        self.0.rosters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers a document to one channel's roster. Goes on to its end even if whoever asks gives up: an exchange of rosters
    /// has its time, and a commit that is under way then must not be durable and unknown here, nor be taken for the next. What
    /// only waits for its turn is given up with whoever asks: while the disk hangs, one task hangs with it and no more.
    pub(crate) async fn offer(&self, channel: ChannelId, document: &SignedDocument) -> Offered {
        let doors = Arc::clone(&self.0.doors).lock_owned().await;
        let (rosters, document) = (self.clone(), document.clone());
        let work = tokio::spawn(async move { rosters.offer_to_the_end(doors, channel, &document).await });
        work.await.unwrap_or_else(|_| Offered::Later("the node is stopping".to_owned()))
    }

    async fn offer_to_the_end(
        &self,
        mut doors: OwnedMutexGuard<Doors>,
        channel: ChannelId,
        document: &SignedDocument,
    ) -> Offered {
        let about = self.rosters().get(&channel).map(|roster| roster.about(document));
        let (Some(door), Some(mut about)) = (doors.get_mut(&channel), about) else {
            return Offered::Refused("no such channel".to_owned());
        };
        match about.offer(document) {
            Ok(false) => return Offered::Already,
            Err(why) => return Offered::Refused(why.to_string()),
            Ok(true) => {}
        }
        door.next += 1;
        door.commits.commit(Ticket(door.next), Batch { records: vec![Record::Roster(document.clone())] });
        match door.answers.recv().await.map(|answer| answer.outcome) {
            Some(Outcome::Durable(_)) => {}
            Some(Outcome::Failed(CommitFailure::Unknown)) => {
                self.0.outcome_unknown.cancel();
                return Offered::Later("it is not known whether it was stored: the node stops".to_owned());
            }
            Some(Outcome::Failed(CommitFailure::NoSpace)) => {
                door.commits.forget_failures();
                return Offered::Later("the disk is full".to_owned());
            }
            None => return Offered::Later("the node is stopping".to_owned()),
        }
        // As it was above: changes follow one another.
        if let Some(roster) = self.rosters().get_mut(&channel) {
            let _ = roster.offer(document);
        }
        self.0.changed.notify_one();
        Offered::Taken
    }
}

impl Rosters for MediatorRosters {
    fn for_node(&self, node: NodeId, brought: &[SignedDocument]) -> Vec<SignedDocument> {
        // A copy: signatures are checked where nobody waits for the lock.
        let rosters = self.current();
        with_own(&self.0.own, rosters.iter().flat_map(|(_, roster)| told(roster, node, brought)).collect())
    }

    fn take_in(&self, documents: Vec<SignedDocument>) -> BoxFuture<'static, ()> {
        let rosters = self.clone();
        async move {
            let documents = in_order(documents);
            for (channel, roster) in rosters.current() {
                for document in unknown_to(roster, Arc::clone(&documents)).await {
                    if rosters.offer(channel, &document).await == Offered::Taken {
                        tracing::info!(
                            channel = channel.short(),
                            ?document,
                            "a roster document was taken in"
                        );
                    }
                }
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use demarche_testkit::fixtures::{self, Scene};
    use tokio::time::timeout;

    use super::*;
    use crate::store::{self, JournalIndex, SledStore, Store, fault::FaultStore};

    #[test]
    fn our_own_card_is_told_before_what_might_not_fit() {
        let [own, other] = ["washington", "tehran"].map(|party| fixtures::card(party, 1));
        let held = own.clone().with_signature(other.signatures()[0]);
        assert_eq!(with_own(&own, vec![other.clone()]), [own.clone(), other.clone()]);
        assert_eq!(with_own(&own, vec![other.clone(), held.clone()]), [held, other]);
    }

    /// S1, K1b: whose card speaks no more hears why, if its roots have signed it and the key is its own; and nothing of others.
    #[test]
    fn s1_k1b_a_node_whose_card_was_replaced_is_told_the_card_that_replaced_it() {
        let scene = Scene::new(2);
        let [old, new] = [1, 2].map(|serial| fixtures::card("washington", serial));
        let other = fixtures::card("tehran", 1);
        let mut roster = Roster::new(&scene.charter);
        for document in [&old, &new, &other] {
            roster.offer(document).unwrap();
        }
        let node = |document: &SignedDocument| node_of(&Card::parse(document.text()).unwrap());
        let brought = [old.clone()];
        assert_eq!(told(&roster, node(&old), &brought), std::slice::from_ref(&new));
        assert_eq!(told(&roster, node(&new), &[]).len(), 2, "whose card speaks is told all");
        let unsigned = SignedDocument::unsigned(old.shared_text());
        let strangers = fixtures::card("washington", 3);
        for (node, brought) in [
            (node(&old), vec![]),
            (node(&old), vec![unsigned]),
            (node(&strangers), vec![old.clone()]),
            (node(&old), vec![other.clone()]),
        ] {
            assert_eq!(told(&roster, node, &brought), [], "{brought:?}");
        }
    }

    fn of_a_mediator(scene: &Scene, store: &Arc<dyn Store>) -> MediatorRosters {
        let service = store::start(Arc::clone(store)).unwrap();
        let channel = scene.channel();
        MediatorRosters::new(
            fixtures::mediator_card("muscat", 1),
            BTreeMap::from([(channel, Roster::new(&scene.charter))]),
            [(channel, service.channel(channel))],
            Arc::default(),
        )
    }

    /// M23: what a stranger brings is checked where it holds up nobody: of all that no other task is kept from its turn.
    #[tokio::test]
    async fn m23_what_a_stranger_brings_is_checked_beside_the_tasks() {
        let scene = Scene::new(2);
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SledStore::open(directory.path()).unwrap());
        let rosters = of_a_mediator(&scene, &store);
        // Each is read and refused: their roots have not signed.
        let junk: Vec<SignedDocument> = (1..200)
            .map(|serial| SignedDocument::unsigned(fixtures::card("tehran", serial).shared_text()))
            .collect();
        let mut work = rosters.take_in(junk.clone());
        assert!(futures::poll!(&mut work).is_pending(), "others have their turn meanwhile");
        work.await;
        let real = fixtures::card("tehran", 1);
        rosters.take_in(junk.into_iter().chain([real.clone()]).collect()).await;
        assert_eq!(rosters.of(scene.channel()).unwrap().documents(), [real]);
    }

    /// Whoever brought a card is gone before the disk has answered: the card is taken in all the same, and the answer is not
    /// taken for that of the next document.
    #[tokio::test]
    async fn an_exchange_that_is_given_up_leaves_disk_and_roster_alike() {
        let scene = Scene::new(2);
        let directory = tempfile::tempdir().unwrap();
        let (store, let_go) = FaultStore::gated(SledStore::open(directory.path()).unwrap());
        let store: Arc<dyn Store> = Arc::new(store);
        let channel = scene.channel();
        let rosters = of_a_mediator(&scene, &store);
        let cards = [fixtures::card("washington", 1), fixtures::card("tehran", 1)];
        {
            let mut offer = Box::pin(rosters.offer(channel, &cards[0]));
            assert!(futures::poll!(&mut offer).is_pending());
            // The task has begun, and waits for the disk.
            while rosters.0.doors.try_lock().is_ok() {
                tokio::task::yield_now().await;
            }
        }
        {
            let mut waits = Box::pin(rosters.offer(channel, &cards[1]));
            assert!(futures::poll!(&mut waits).is_pending());
        }
        let_go.send(()).unwrap();
        while rosters.current()[0].1.cards().count() < 1 {
            tokio::task::yield_now().await;
        }
        let free = timeout(std::time::Duration::from_secs(20), rosters.0.doors.lock()).await;
        drop(free.expect("whoever waited for a turn and gave up has left no task that takes it"));
        let second = rosters.offer(channel, &cards[1]);
        let waiting = timeout(std::time::Duration::from_millis(200), second).await;
        assert!(waiting.is_err(), "the second is not durable yet, whatever was said of the first");
        let_go.send(()).unwrap();
        while rosters.current()[0].1.cards().count() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(store.durable(), JournalIndex(2));
        assert_eq!(rosters.offer(channel, &cards[0]).await, Offered::Already);
    }
}
