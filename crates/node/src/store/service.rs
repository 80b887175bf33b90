//! The thread that commits. It takes all batches that wait, of all channels, makes them durable in one step, and answers
//! each channel in order: while the disk works on one group, the next one gathers.
//!
//! A batch that found no room takes all later ones of its channel with it, also those that waited already, since they
//! build on it. The channel learns of it, takes a new [`Commits::forget_failures`] number, and may go on.

use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread,
};

use demarche_protocol::{
    channel::{Batch, CommitFailure, Ticket},
    hash::ChannelId,
};
use tokio::sync::{mpsc as tokio_mpsc, watch};

use super::{Commit, CommitError, JournalIndex, Store};

/// Most batches of one group: more would only make the first of them wait longer.
const GROUP_BATCHES: usize = 256;
/// Most bytes of texts in one group, roughly: bounds what is held twice.
const GROUP_BYTES: usize = 1 << 20;

/// How a batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Durable; its last record has this place.
    Durable(JournalIndex),
    /// Not stored.
    Failed(CommitFailure),
}

/// The answer to one batch.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Which.
    pub ticket: Ticket,
    /// The number that [`Commits::forget_failures`] last gave when it was sent.
    pub era: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Answers in the order of their batches. Not bounded by itself: there are never more than the machine has commits under
/// way (`limits::COMMITS_IN_FLIGHT`).
pub type Answers = tokio_mpsc::UnboundedReceiver<Answer>;

struct Request {
    commit: Commit,
    ticket: Ticket,
    era: u64,
    answers: tokio_mpsc::UnboundedSender<Answer>,
}

/// One channel's door to the committing thread.
pub struct Commits {
    channel: ChannelId,
    era: u64,
    requests: mpsc::Sender<Request>,
    answers: tokio_mpsc::UnboundedSender<Answer>,
}

/// The committing thread, for as long as it or one of its [`Commits`] lives.
#[derive(Clone)]
pub struct Service {
    requests: mpsc::Sender<Request>,
    durable: watch::Receiver<JournalIndex>,
}

/// Starts the thread.
pub fn start(store: Arc<dyn Store>) -> io::Result<Service> {
    // Not bounded by itself either, for the same reason as the answers.
    let (requests, queue) = mpsc::channel();
    let (told, durable) = watch::channel(store.durable());
    thread::Builder::new().name("store".to_owned()).spawn(move || run(store.as_ref(), &queue, &told))?;
    Ok(Service { requests, durable })
}

impl Service {
    /// A channel's door, and where its answers come.
    pub fn channel(&self, channel: ChannelId) -> (Commits, Answers) {
        let (answers, receiver) = tokio_mpsc::unbounded_channel();
        (Commits { channel, era: 0, requests: self.requests.clone(), answers }, receiver)
    }

    /// The place of the last durable record, as it moves. A channel's answer is sent before it moves.
    pub fn durable(&self) -> watch::Receiver<JournalIndex> {
        self.durable.clone()
    }
}

impl Commits {
    /// Hands a batch over; its answer comes when it is durable or failed.
    pub fn commit(&self, ticket: Ticket, batch: Batch) {
        let commit = Commit { channel: self.channel, batch };
        let request = Request { commit, ticket, era: self.era, answers: self.answers.clone() };
        if let Err(mpsc::SendError(request)) = self.requests.send(request) {
            // The thread is gone: nobody knows what it did last.
            let outcome = Outcome::Failed(CommitFailure::Unknown);
            let _ = self.answers.send(Answer { ticket: request.ticket, era: request.era, outcome });
        }
    }

    /// Whether an answer is about a batch sent before the last failure; such ones are to be dropped.
    pub fn is_stale(&self, answer: &Answer) -> bool {
        answer.era < self.era
    }

    /// The machine has taken a failure back: what is sent from now on stands by itself.
    pub fn forget_failures(&mut self) {
        self.era += 1;
    }
}

fn run(store: &dyn Store, queue: &mpsc::Receiver<Request>, told: &watch::Sender<JournalIndex>) {
    // The last era of each channel in which a batch found no room.
    let mut failed: HashMap<ChannelId, u64> = HashMap::new();
    while let Ok(first) = queue.recv() {
        let mut group = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(request) = next {
            if failed.get(&request.commit.channel).is_some_and(|era| *era >= request.era) {
                answer(&request, Outcome::Failed(CommitFailure::NoSpace));
            } else {
                bytes += size(&request.commit.batch);
                group.push(request);
            }
            let full = group.len() >= GROUP_BATCHES || bytes >= GROUP_BYTES;
            next = if full { None } else { queue.try_recv().ok() };
        }
        commit(store, group, &mut failed);
        told.send_if_modified(|durable| std::mem::replace(durable, store.durable()) != *durable);
    }
}

fn commit(store: &dyn Store, group: Vec<Request>, failed: &mut HashMap<ChannelId, u64>) {
    let (commits, requests): (Vec<Commit>, Vec<_>) = group
        .into_iter()
        .map(|request| (request.commit, (request.ticket, request.era, request.answers)))
        .unzip();
    // A backend that panics has done nobody knows what; whoever waits must still be answered.
    let committed = catch_unwind(AssertUnwindSafe(|| store.commit(&commits)));
    let result = committed.unwrap_or_else(|_| Err(CommitError::Unknown("the store panicked".to_owned())));
    if let Err(error) = &result {
        tracing::error!(%error, batches = commits.len(), "a commit failed");
    }
    for (at, (ticket, era, answers)) in requests.into_iter().enumerate() {
        let outcome = match &result {
            Ok(places) => Outcome::Durable(places.get(at).copied().unwrap_or(JournalIndex::START)),
            Err(CommitError::NoSpace { .. }) => {
                if let Some(commit) = commits.get(at) {
                    failed.insert(commit.channel, era);
                }
                Outcome::Failed(CommitFailure::NoSpace)
            }
            Err(CommitError::Unknown(_)) => Outcome::Failed(CommitFailure::Unknown),
        };
        // A channel that has ended does not need to know.
        let _ = answers.send(Answer { ticket, era, outcome });
    }
}

fn answer(request: &Request, outcome: Outcome) {
    let _ = request.answers.send(Answer { ticket: request.ticket, era: request.era, outcome });
}

fn size(batch: &Batch) -> usize {
    use demarche_protocol::channel::Record;
    let of = |record: &Record| match record {
        Record::Entry(item) => item.text.len() + item.entry.bytes().len(),
        Record::Receipt(receipt) => receipt.bytes().len(),
        Record::Roster(document) => document.text().len(),
        Record::Confirmed(_) => 32,
        Record::Deposited(_) | Record::CustodyEnded(_) | Record::Prekey(_) => 2048,
    };
    batch.records.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::{
        super::{
            SledStore, conformance,
            fault::{Fault, FaultStore},
        },
        *,
    };

    fn one(channel: ChannelId, n: u64) -> Batch {
        conformance::commit(channel, &[conformance::entry(channel, n)]).batch
    }

    #[tokio::test]
    async fn many_batches_are_answered_in_order() {
        let directory = tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(SledStore::open(directory.path()).unwrap());
        let service = start(Arc::clone(&store)).unwrap();
        let channel = conformance::channel(1);
        let (commits, mut answers) = service.channel(channel);
        for n in 1..=500 {
            commits.commit(Ticket(n), one(channel, n));
        }
        for n in 1..=500 {
            let answer = answers.recv().await.unwrap();
            assert_eq!((answer.ticket, answer.outcome), (Ticket(n), Outcome::Durable(JournalIndex(n))));
        }
        let mut durable = service.durable();
        durable.wait_for(|place| *place == JournalIndex(500)).await.unwrap();
    }

    /// S4: what waits behind a batch that found no room fails with it, and a new beginning is taken.
    #[tokio::test]
    async fn s4_what_builds_on_a_failed_batch_fails_with_it() {
        let directory = tempdir().unwrap();
        let (store, fault) = FaultStore::new(SledStore::open(directory.path()).unwrap());
        let service = start(Arc::new(store)).unwrap();
        let channel = conformance::channel(1);
        let (mut commits, mut answers) = service.channel(channel);
        *fault.lock().unwrap() = Fault::Full;
        commits.commit(Ticket(1), one(channel, 1));
        assert_eq!(answers.recv().await.unwrap().outcome, Outcome::Failed(CommitFailure::NoSpace));
        *fault.lock().unwrap() = Fault::None;
        commits.commit(Ticket(2), one(channel, 2));
        let late = answers.recv().await.unwrap();
        assert_eq!(
            late.outcome,
            Outcome::Failed(CommitFailure::NoSpace),
            "it was sent before the failure was known"
        );
        commits.forget_failures();
        assert!(commits.is_stale(&late));
        commits.commit(Ticket(2), one(channel, 2));
        assert_eq!(answers.recv().await.unwrap().outcome, Outcome::Durable(JournalIndex(1)));
    }

    #[tokio::test]
    async fn s5_an_unknown_outcome_is_told_as_such() {
        let directory = tempdir().unwrap();
        let (store, fault) = FaultStore::new(SledStore::open(directory.path()).unwrap());
        let service = start(Arc::new(store)).unwrap();
        let channel = conformance::channel(1);
        let (commits, mut answers) = service.channel(channel);
        for (ticket, how) in [(1, Fault::Sync), (2, Fault::Panic)] {
            *fault.lock().unwrap() = how;
            commits.commit(Ticket(ticket), one(channel, ticket));
            let outcome = answers.recv().await.unwrap().outcome;
            assert_eq!(outcome, Outcome::Failed(CommitFailure::Unknown), "{how:?}");
        }
    }
}
