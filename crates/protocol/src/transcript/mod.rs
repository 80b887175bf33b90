//! The transcript: every party's hash-chained log, and what can be said of each entry in it.
//!
//! Three judgements, never mixed. *Authentic*: the node's signature and the encoding are good; only such entries are stored and receipted.
//! *Chained*: everything before it is there. *Effective*: accepted or void with a reason, a pure function of the
//! logs, so two nodes that hold the same logs always agree.

pub mod authority;
mod branches;
pub mod effect;
pub mod entry;
pub mod facts;
mod judge;
mod layers;
pub mod log;
pub mod receipt;

use std::{collections::BTreeMap, sync::Arc};

pub use authority::Authority;
pub use effect::{Effect, Void};
pub use entry::{Authentic, Claimed, Entry, EntryError, Head, Item, Pointer, Seq, SignedEntry};
pub use facts::{DispatchFacts, Facts};
pub use log::{Chaining, Log, Node};
pub use receipt::{Receipt, ReceiptError, ReceiptId, ReceiptKind, SignedReceipt};

use crate::{
    charter::Charter,
    document::DocumentType,
    hash::{ChannelId, DocumentId, EntryHash},
    identity::{Verified, card::CardSerial, keys::PublicKey, member::MemberId},
    limits,
};
use judge::{Judge, Settled};

/// All parties' logs of one channel.
#[derive(Clone, Debug)]
pub struct Transcript {
    channel: ChannelId,
    charter: Arc<Verified<Charter>>,
    logs: BTreeMap<MemberId, Log>,
    judges: BTreeMap<MemberId, Judge>,
    /// Whose log each entry is in.
    owners: BTreeMap<EntryHash, MemberId>,
    documents: BTreeMap<DocumentId, Vec<EntryHash>>,
    /// Entries whose effect changed when a later one came in, by that one. As many as changes, and those are few.
    rejudged: BTreeMap<EntryHash, Vec<EntryHash>>,
    /// The entry that changed an entry's effect last, for those that are in `rejudged`.
    judged_by: BTreeMap<EntryHash, EntryHash>,
    restoring: bool,
}

/// What an entry's coming in has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// False when the entry was held already: then nothing changed.
    pub new: bool,
    /// Effects that are now other than before, this entry's among them.
    pub judged: Vec<(Head, Effect)>,
    /// Another entry at the same place: a fork.
    pub fork: Option<Head>,
}

impl Transcript {
    /// Empty logs for every party of the charter.
    pub fn new(charter: Verified<Charter>) -> Self {
        let ids: Vec<MemberId> = charter.parties.iter().map(|party| party.id.clone()).collect();
        Self {
            channel: ChannelId::from(charter.id()),
            logs: ids.iter().map(|id| (id.clone(), Log::default())).collect(),
            judges: ids.iter().filter_map(|id| Some((id.clone(), Judge::new(&charter, id)?))).collect(),
            charter: Arc::new(charter),
            owners: BTreeMap::new(),
            documents: BTreeMap::new(),
            rejudged: BTreeMap::new(),
            judged_by: BTreeMap::new(),
            restoring: false,
        }
    }

    /// Entries are being read back: what rests on all logs together is judged once, by [`Transcript::restored`].
    pub(crate) const fn restore(&mut self) {
        self.restoring = true;
    }

    /// Everything that was stored has been inserted.
    pub(crate) fn restored(&mut self) {
        self.restoring = false;
        for (party, judge) in &mut self.judges {
            judge.others_changed(party, &mut self.logs);
        }
    }

    /// The channel.
    pub const fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The charter.
    pub fn charter(&self) -> &Verified<Charter> {
        &self.charter
    }

    /// Takes an entry in. One of a party that the charter does not name is not held.
    pub fn insert(&mut self, entry: &Authentic) -> Change {
        let head = entry.head();
        let party = head.party.clone();
        let Some(log) = self.logs.get_mut(&party) else { return Change::default() };
        if log.get(&head.hash).is_some() {
            return Change::default();
        }
        let fork = log.at(head.card, head.seq).next().map(|other| other.head.clone());
        let settled = Settled { new: head.hash, entries: log.insert(entry), restoring: self.restoring };
        self.owners.insert(head.hash, party.clone());
        self.documents.entry(entry.entry().document).or_default().push(head.hash);
        let mut judged = match self.judges.get_mut(&party) {
            Some(judge) => judge.settle(&party, &mut self.logs, &self.charter, settled),
            None => Vec::new(),
        };
        for (other, judge) in &mut self.judges {
            if *other != party && judge.depends_on_others() && !self.restoring {
                judged.extend(judge.others_changed(other, &mut self.logs));
            }
        }
        for (other, _) in judged.iter().filter(|(other, _)| other.hash != head.hash) {
            if let Some(earlier) = self.judged_by.insert(other.hash, head.hash)
                && let Some(known) = self.rejudged.get_mut(&earlier)
            {
                known.retain(|hash| *hash != other.hash);
            }
            self.rejudged.entry(head.hash).or_default().push(other.hash);
        }
        Change { new: true, judged, fork }
    }

    /// The entries whose effect is what it is since this one came in: those that it let be judged, or whose judgement
    /// it changed. Does not name the entry itself.
    pub fn judged_by(&self, entry: &EntryHash) -> impl Iterator<Item = &Node> {
        self.rejudged.get(entry).into_iter().flatten().filter_map(|hash| self.get(hash))
    }

    /// Whether an entry's effect was still open, or another, when it came in.
    pub fn is_rejudged(&self, entry: &EntryHash) -> bool {
        self.judged_by.contains_key(entry)
    }

    /// One party's log.
    pub fn log(&self, party: &MemberId) -> Option<&Log> {
        self.logs.get(party)
    }

    /// Every party's log.
    pub fn logs(&self) -> impl Iterator<Item = (&MemberId, &Log)> {
        self.logs.iter()
    }

    /// An entry, in whichever log it stands.
    pub fn get(&self, hash: &EntryHash) -> Option<&Node> {
        self.logs.get(self.owners.get(hash)?)?.get(hash)
    }

    /// Whether an entry is held.
    pub fn holds(&self, hash: &EntryHash) -> bool {
        self.owners.contains_key(hash)
    }

    /// Every entry of a document, in whatever log and to whatever effect.
    pub fn entries_of(&self, document: &DocumentId) -> impl Iterator<Item = &Node> {
        self.documents.get(document).into_iter().flatten().filter_map(|hash| self.get(hash))
    }

    /// The entry by which a document has effect. One that says who may sign has it on each branch of a log by
    /// itself: the branch that speaks now is preferred.
    pub fn effective(&self, document: &DocumentId) -> Option<&Node> {
        let effective = || self.entries_of(document).filter(|node| node.effect == Effect::Accepted);
        effective().find(|node| !self.is_disowned(node)).or_else(|| effective().next())
    }

    /// Whether an entry stands on a branch that its party has left. See [`Log::is_disowned`].
    pub fn is_disowned(&self, node: &Node) -> bool {
        self.logs.get(&node.head.party).is_some_and(|log| log.is_disowned(node))
    }

    /// The entry that a serial names: the one on the branch that speaks, else the one held.
    pub fn by_serial(&self, party: &MemberId, seq: Seq) -> Option<&Node> {
        let log = self.logs.get(party)?;
        let candidates = || log.in_order().filter(|node| node.head.seq == seq);
        if !log.is_branched() {
            return log.volumes_at(seq).next().or_else(|| candidates().last());
        }
        candidates().find(|node| !log.is_disowned(node)).or_else(|| candidates().last())
    }

    /// The ends of all branches of the logs of all other parties, for the entry that `me` writes next. Of a log with more branches
    /// than there is room for, what the entry before named: to name some and not others could show a dispatch without the
    /// revocation that was here before it (threat K2).
    pub fn seen_by(&self, me: &MemberId) -> Vec<Head> {
        let room = limits::SEEN / self.logs.len().saturating_sub(1).max(1);
        let own = self.logs.get(me);
        let last = own.and_then(|own| own.get(&own.tip()?.hash)).map_or(&[][..], |last| &last.seen);
        let others = self.logs.iter().filter(|(party, _)| *party != me);
        let named = |(party, log): (&MemberId, &Log)| {
            let ends = log.ends();
            let follows = ends.len() <= room;
            if follows { ends } else { last.iter().filter(|head| head.party == *party).cloned().collect() }
        };
        others.flat_map(named).collect()
    }

    /// Contiguous ends of every volume of every log.
    pub fn heads(&self) -> Vec<Head> {
        self.logs.values().flat_map(|log| log.tips().cloned()).collect()
    }

    /// What holds at the end of a party's log now: who may sign what is entered next.
    pub fn authority(&self, party: &MemberId) -> Option<&Authority> {
        let log = self.logs.get(party)?;
        self.authority_at(party, log.tip().map(|tip| tip.hash))
    }

    /// What holds after the chained entry `at`; without one, what the charter founds.
    pub fn authority_at(&self, party: &MemberId, at: Option<EntryHash>) -> Option<&Authority> {
        let founding = self.judges.get(party)?.founding();
        let log = self.logs.get(party)?;
        let chaining = at.and_then(|hash| log.get(&hash)).map(|node| node.chaining);
        let Some(Chaining::Chained { authority: Some(pointer) }) = chaining else { return Some(founding) };
        log.get(&pointer.hash)?.after.as_deref()
    }

    /// Whether an officer's key is revoked in a party's log, on whatever branch of it.
    pub fn revokes(&self, party: &MemberId, key: &PublicKey) -> bool {
        let (Some(log), Some(judge)) = (self.logs.get(party), self.judges.get(party)) else { return false };
        judge.revocations(key).filter_map(|hash| log.get(hash)).any(Node::is_chained)
    }

    /// Whether a document would have effect if `party` entered it after its last entry under `card`.
    pub fn would_accept(&self, party: &MemberId, card: CardSerial, facts: &Facts) -> Result<(), Void> {
        let tip = self.logs.get(party).and_then(|log| log.tip_of(card)).map(|tip| tip.hash);
        let authority = self.authority_at(party, tip).ok_or(Void::WrongParty)?;
        match facts {
            Facts::Dispatch(dispatch) => {
                authority.judge(dispatch, &self.charter)?;
                // What another branch revokes can have been seen by nobody before it is written.
                let revoked = dispatch.signers.iter().find(|signer| self.revokes(party, signer));
                revoked.map_or(Ok(()), |signer| Err(Void::RevokedOfficer(*signer)))
            }
            Facts::Authority(DocumentType::Card, _) => Err(Void::OutOfPlace("card")),
            Facts::Junk(why) | Facts::Authority(_, Err(why)) => Err(why.clone()),
            Facts::Authority(kind, Ok(document)) => {
                authority.after(*kind, document, EntryHash::from_bytes([0; 32])).map(|_| ())
            }
        }
    }
}
