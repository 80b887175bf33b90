//! The witness knows what was signed and handed in, and holds every step of a run to the promises:
//!
//! - *accepted ⊆ signed and sent*: no node gives effect to a dispatch that no officer handed in;
//! - *nothing twice*: no document has effect twice, no arrival is told twice, no place in a log is used twice;
//! - *durable before spoken*: whatever a node has said it holds is on its disk, then and for ever;
//! - *alike*: two nodes that hold the same entries judge them alike;
//! - *healed*: once nothing disturbs, all transcripts are equal and nothing is owed.

use std::collections::{BTreeMap, BTreeSet};

use demarche_protocol::{
    channel::{Channel, Event, Frame, Outgoing, Record},
    codec::decode,
    hash::{DocumentId, EntryHash},
    identity::{card::CardSerial, member::MemberId},
    transcript::{Effect, Facts, Receipt, ReceiptId, ReceiptKind, Seq, Transcript},
};

/// What has been promised and by whom.
#[derive(Default)]
pub struct Witness {
    /// Dispatches that an officer signed and handed in, by party.
    handed_in: BTreeSet<(MemberId, DocumentId)>,
    /// Entries that a node has called recorded, receipted or sent.
    spoken: BTreeMap<MemberId, BTreeSet<EntryHash>>,
    /// Receipts that a node has sent or told of.
    stated: BTreeMap<MemberId, BTreeSet<ReceiptId>>,
    /// Documents that a node has called recorded.
    recorded: BTreeSet<(MemberId, DocumentId)>,
    /// Arrivals told.
    arrived: BTreeSet<(MemberId, EntryHash)>,
    /// What was found on each disk so far.
    disks: BTreeMap<MemberId, Found>,
    /// Every place in a log that was ever used, and by what.
    places: BTreeMap<(MemberId, CardSerial, Seq), EntryHash>,
}

/// A disk only grows: what was found on it stays found.
#[derive(Default)]
struct Found {
    looked_at: usize,
    entries: BTreeSet<EntryHash>,
    receipts: BTreeSet<ReceiptId>,
}

impl Witness {
    /// An officer of `party` hands a document in.
    pub fn hands_in(&mut self, party: &MemberId, document: DocumentId) {
        self.handed_in.insert((party.clone(), document));
    }

    /// What was called recorded, by party.
    pub fn recorded(&self) -> impl Iterator<Item = &(MemberId, DocumentId)> {
        self.recorded.iter()
    }

    /// A node tells something.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn told(&mut self, node: &MemberId, event: &Event, channel: &Channel) -> Result<(), String> {
        match event {
            Event::Recorded { entry, .. } => {
                self.spoken.entry(node.clone()).or_default().insert(entry.hash);
                let document = channel.transcript().get(&entry.hash).map(|node| node.document);
                let document =
                    document.ok_or(format!("{node} called {entry} recorded and does not hold it"))?;
                self.recorded.insert((node.clone(), document));
            }
            Event::Arrived { entry } if !self.arrived.insert((node.clone(), entry.hash)) => {
                return Err(format!("{node} told twice that {entry} arrived"));
            }
            Event::Receipted { receipt } => {
                // The peer has said that it holds the entry.
                self.spoken.entry(receipt.by.clone()).or_default().insert(receipt.of.hash);
            }
            Event::Fork { one, other } => return Err(format!("{node} saw a fork: {one:?} and {other:?}")),
            Event::OwnSignatureUnknown { entry } => {
                return Err(format!("{node} was shown its own unknown entry {entry:?}"));
            }
            _ => {}
        }
        Ok(())
    }

    /// A node sends a frame.
    pub fn sent(&mut self, node: &MemberId, frame: &Outgoing) {
        match frame {
            Outgoing::Stored(hash) => {
                self.spoken.entry(node.clone()).or_default().insert(*hash);
            }
            Outgoing::Frame(Frame::Receipt(receipt)) => {
                self.stated.entry(node.clone()).or_default().insert(receipt.id());
            }
            Outgoing::Frame(Frame::Hello(hello)) => {
                let held = hello.heads.iter().map(|head| head.hash);
                self.spoken.entry(node.clone()).or_default().extend(held);
            }
            Outgoing::Frame(_) => {}
        }
    }

    /// Everything that `node` has said is on its disk. True when the disk has grown since the last look.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn check_disk(&mut self, node: &MemberId, records: &[Record]) -> Result<bool, String> {
        let disk = self.disks.entry(node.clone()).or_default();
        let grown = records.len() > disk.looked_at;
        for record in &records[disk.looked_at..] {
            match record {
                Record::Entry(item) => {
                    let hash = item.entry.hash();
                    disk.entries.insert(hash);
                    let entry =
                        item.entry.claims().map_err(|why| format!("{node} stored no entry: {why}"))?;
                    let place = (entry.party, entry.card, entry.seq);
                    if *self.places.entry(place.clone()).or_insert(hash) != hash {
                        return Err(format!("the place {place:?} was used twice"));
                    }
                }
                Record::Receipt(receipt) => {
                    disk.receipts.insert(receipt.id());
                    let said = decode::<Receipt>(receipt.bytes()).map_err(|why| format!("{node}: {why}"))?;
                    if said.by == *node && !disk.entries.contains(&said.of.hash) {
                        return Err(format!("{node} receipted {} before it was on its disk", said.of));
                    }
                }
                Record::Roster(_) | Record::Confirmed(_) => {}
            }
        }
        disk.looked_at = records.len();
        if let Some(missing) =
            self.spoken.get(node).and_then(|spoken| spoken.difference(&disk.entries).next())
        {
            return Err(format!("{node} has spoken of {missing:?}, which is not on its disk"));
        }
        if let Some(missing) =
            self.stated.get(node).and_then(|stated| stated.difference(&disk.receipts).next())
        {
            return Err(format!("{node} has sent receipt {missing:?}, which is not on its disk"));
        }
        Ok(grown)
    }

    /// What has effect in a transcript was signed and handed in, and has effect once.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn check_effects(&self, node: &MemberId, transcript: &Transcript) -> Result<(), String> {
        for (party, log) in transcript.logs() {
            let mut effective = BTreeSet::new();
            for entry in log.nodes() {
                if entry.effect != Effect::Accepted || !matches!(entry.facts, Facts::Dispatch(_)) {
                    continue;
                }
                if !self.handed_in.contains(&(party.clone(), entry.document)) {
                    return Err(format!("{node} accepted {}, which nobody handed in", entry.head));
                }
                if !effective.insert(entry.document) {
                    return Err(format!("{node} gives effect to {:?} twice", entry.document));
                }
            }
        }
        Ok(())
    }
}

/// Everything judged in a transcript: for comparison.
pub fn judgements(transcript: &Transcript) -> BTreeMap<EntryHash, (Effect, bool, bool)> {
    transcript
        .logs()
        .flat_map(|(_, log)| {
            log.nodes()
                .map(|node| (node.head.hash, (node.effect.clone(), node.is_chained(), log.is_disowned(node))))
        })
        .collect()
}

/// Two nodes that hold the same entries judge them alike.
///
/// # Errors
/// The promise that is broken.
pub fn check_alike(
    one: (&MemberId, &BTreeMap<EntryHash, (Effect, bool, bool)>),
    other: (&MemberId, &BTreeMap<EntryHash, (Effect, bool, bool)>),
) -> Result<(), String> {
    if one.1.len() != other.1.len() || !one.1.keys().eq(other.1.keys()) {
        return Ok(());
    }
    match one.1.iter().zip(other.1).find(|(a, b)| a != b) {
        None => Ok(()),
        Some(((hash, a), (_, b))) => {
            Err(format!("{hash:?}: {} judges {a:?}, {} judges {b:?}", one.0, other.0))
        }
    }
}

/// The receipts of kind *opened* that `by` made.
pub fn opened_by(channel: &Channel, by: &MemberId) -> BTreeSet<ReceiptId> {
    let entries: Vec<EntryHash> =
        channel.transcript().logs().flat_map(|(_, log)| log.nodes().map(|node| node.head.hash)).collect();
    entries
        .iter()
        .flat_map(|hash| channel.evidence().of(hash))
        .filter(|(receipt, _)| receipt.by == *by && matches!(receipt.kind, ReceiptKind::Opened(_)))
        .map(|(_, signed)| signed.id())
        .collect()
}
