//! The witness knows what was signed and handed in, and holds every step of a run to the promises:
//!
//! - *accepted ⊆ signed and sent*: no node gives effect to a dispatch that no officer handed in;
//! - *revoked*: what a key signed after all other parties held its revocation has no effect at them, though its own log be set back;
//! - *nothing twice*: no document has effect twice, no arrival is told twice, no place in a log is used twice, nothing is stated in two
//!   different receipts under one card;
//! - *durable before spoken*: whatever a node has said it holds is on its disk, then and for ever, unless the disk itself is lost;
//! - *alike*: two nodes that hold the same entries judge them alike;
//! - *the door stays shut*: a card that was replaced or revoked never speaks again, however old the roster that is served;
//! - *healed*: once nothing disturbs, all transcripts are equal, nothing is owed, and what an officer was told is recorded has
//!   effect.

use std::collections::{BTreeMap, BTreeSet};

use demarche_protocol::{
    channel::{Channel, Event, Frame, Outgoing, Record},
    codec::decode,
    document::{DocumentType, SignedDocument},
    hash::{DocumentId, EntryHash},
    identity::{
        card::CardSerial,
        keys::PublicKey,
        member::MemberId,
        revocation::{Revocation, Revoked},
        roster::Roster,
    },
    transcript::{Effect, Facts, Log, Node, Receipt, ReceiptId, ReceiptKind, Seq, Transcript},
};

/// What has been promised and by whom.
#[derive(Default)]
pub struct Witness {
    /// Dispatches that an officer signed and handed in, by party.
    handed_in: BTreeSet<(MemberId, DocumentId)>,
    /// Those of them that a key signed which all other parties held to be revoked.
    late: BTreeSet<(MemberId, DocumentId)>,
    /// Entries that a node has called recorded, receipted or sent.
    spoken: BTreeMap<MemberId, BTreeSet<EntryHash>>,
    /// Receipts that a node has sent or told of.
    stated: BTreeMap<MemberId, BTreeSet<ReceiptId>>,
    /// Documents that a node has called recorded, and as which entries.
    recorded: BTreeMap<(MemberId, DocumentId), BTreeSet<EntryHash>>,
    /// Arrivals told.
    arrived: BTreeSet<(MemberId, EntryHash)>,
    /// What was found on each disk so far.
    disks: BTreeMap<MemberId, Found>,
    /// Every place in a log that was ever used, and by what.
    places: BTreeMap<(MemberId, CardSerial, Seq), EntryHash>,
    /// The roots' revocations of cards.
    revocations: BTreeMap<DocumentId, (MemberId, CardSerial)>,
    /// What each node knows of each member's cards.
    doors: BTreeMap<(MemberId, MemberId), Door>,
}

/// What a node knows of another's cards.
#[derive(Default)]
struct Door {
    newest: Option<CardSerial>,
    revoked: BTreeSet<CardSerial>,
}

impl Door {
    fn is_shut_to(&self, serial: CardSerial) -> bool {
        self.revoked.contains(&serial) || self.newest.is_some_and(|newest| serial < newest)
    }
}

/// What a statement says, by whom, under which card. It is signed once.
type Statement = (EntryHash, MemberId, CardSerial, ReceiptKind);

/// A disk only grows: what was found on it stays found.
#[derive(Default)]
struct Found {
    looked_at: usize,
    entries: BTreeSet<EntryHash>,
    receipts: BTreeSet<ReceiptId>,
    statements: BTreeMap<Statement, ReceiptId>,
    /// Whether roster documents have come since the doors were last looked at.
    roster_changed: bool,
    /// What was on it before it was lost: said to be held, and no longer promised.
    lost: BTreeSet<EntryHash>,
    lost_receipts: BTreeSet<ReceiptId>,
    /// How often it was lost.
    losses: u64,
}

impl Witness {
    /// An officer of `party` hands a document in. `others` are the nodes of all other parties that run.
    pub fn hands_in<'a>(
        &mut self,
        party: &MemberId,
        document: &SignedDocument,
        others: impl Iterator<Item = Option<&'a Channel>>,
    ) {
        let named = (party.clone(), document.id());
        let keys = || document.signatures().iter().map(|signature| &signature.key);
        let knows = |other: &Channel| keys().any(|key| holds_revocation(other.transcript(), party, key));
        if self.handed_in.insert(named.clone()) && { others }.all(|other| other.is_some_and(knows)) {
            self.late.insert(named);
        }
    }

    /// What was called recorded, by party, and has not been lost with every disk that held it.
    pub fn recorded(&self) -> impl Iterator<Item = &(MemberId, DocumentId)> {
        self.recorded.keys()
    }

    /// Whether a node has ever lost its disk.
    pub fn has_lost_its_disk(&self, node: &MemberId) -> bool {
        self.disks.get(node).is_some_and(|disk| disk.losses > 0)
    }

    /// The roots of `member` have revoked its card `serial` by this document.
    pub fn revokes(&mut self, document: DocumentId, member: &MemberId, serial: u64) {
        self.revocations.insert(document, (member.clone(), CardSerial(serial)));
    }

    /// The disk of `node` was lost; this is left. Whatever was on no other disk is promised no longer.
    ///
    /// # Errors
    /// The promise that is broken by what is left.
    pub fn loses(&mut self, node: &MemberId, left: &[Record]) -> Result<(), String> {
        let before = self.disks.insert(node.clone(), Found::default()).unwrap_or_default();
        // What it knew of others' revocations went with it.
        self.late.retain(|(party, _)| party == node);
        self.doors.retain(|(knows, _), _| knows != node);
        self.look(node, left)?;
        let disk = self.disks.entry(node.clone()).or_default();
        disk.losses = before.losses + 1;
        disk.lost = before.entries.union(&before.lost).copied().collect();
        disk.lost_receipts = before.receipts.union(&before.lost_receipts).copied().collect();
        self.arrived.retain(|(reader, entry)| reader != node || disk.entries.contains(entry));
        let disks = &self.disks;
        let held = |entry: &EntryHash| disks.values().any(|disk| disk.entries.contains(entry));
        self.recorded.retain(|_, entries| entries.iter().any(held));
        Ok(())
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
                self.recorded.entry((node.clone(), document)).or_default().insert(entry.hash);
            }
            Event::Arrived { entry } => {
                self.spoken.entry(node.clone()).or_default().insert(entry.hash);
                if !self.arrived.insert((node.clone(), entry.hash)) {
                    return Err(format!("{node} told twice that {entry} arrived"));
                }
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
        let grown = self.look(node, records)?;
        let disk = self.disks.entry(node.clone()).or_default();
        let missing = |hash: &&EntryHash| !disk.entries.contains(*hash) && !disk.lost.contains(*hash);
        if let Some(missing) = self.spoken.get(node).into_iter().flatten().find(missing) {
            return Err(format!("{node} has spoken of {missing:?}, which is not on its disk"));
        }
        let missing = |id: &&ReceiptId| !disk.receipts.contains(*id) && !disk.lost_receipts.contains(*id);
        if let Some(missing) = self.stated.get(node).into_iter().flatten().find(missing) {
            return Err(format!("{node} has sent receipt {missing:?}, which is not on its disk"));
        }
        Ok(grown)
    }

    /// Looks at what has come to a disk since the last look. True when it was anything.
    fn look(&mut self, node: &MemberId, records: &[Record]) -> Result<bool, String> {
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
                    let statement = (said.of.hash, said.by.clone(), said.by_card, said.kind);
                    if *disk.statements.entry(statement).or_insert(receipt.id()) != receipt.id() {
                        let Receipt { by, kind, of, .. } = said;
                        return Err(format!("{by} has stated {kind:?} of {of} twice, in different bytes"));
                    }
                    if said.by == *node && !disk.entries.contains(&said.of.hash) {
                        return Err(format!("{node} receipted {} before it was on its disk", said.of));
                    }
                }
                Record::Roster(document) => {
                    disk.roster_changed = true;
                    if let Some((member, serial)) = self.revocations.get(&document.id()) {
                        let door = self.doors.entry((node.clone(), member.clone())).or_default();
                        door.revoked.insert(*serial);
                    }
                }
                Record::Confirmed(_) | Record::Deposited(_) | Record::CustodyEnded(_) | Record::Prekey(_) => {
                }
            }
        }
        disk.looked_at = records.len();
        Ok(grown)
    }

    /// No card that `node` knows to be replaced or revoked speaks in its roster.
    ///
    /// # Errors
    /// The promise that is broken.
    pub fn check_doors(&mut self, node: &MemberId, roster: &Roster) -> Result<(), String> {
        // To ask who speaks means verifying signatures, which is dear.
        let changed = self.disks.get_mut(node).map(|disk| std::mem::take(&mut disk.roster_changed));
        for card in changed.filter(|changed| *changed).into_iter().flat_map(|_| roster.cards()) {
            let door = self.doors.entry((node.clone(), card.member.clone())).or_default();
            door.newest = door.newest.max(Some(card.serial));
            if door.is_shut_to(card.serial) {
                return Err(format!("{node} lets card {} of {} in again", card.serial, card.member));
            }
        }
        Ok(())
    }

    /// Whether `node` knows that this card no longer speaks.
    pub fn is_shut(&self, node: &MemberId, member: &MemberId, serial: CardSerial) -> bool {
        self.doors.get(&(node.clone(), member.clone())).is_some_and(|door| door.is_shut_to(serial))
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
                if party != node && self.late.contains(&(party.clone(), entry.document)) {
                    return Err(format!("{node} accepted {}, whose key was revoked before", entry.head));
                }
                if !effective.insert(entry.document) {
                    return Err(format!("{node} gives effect to {:?} twice", entry.document));
                }
            }
        }
        Ok(())
    }
}

/// Whether a revocation of an officer's key stands in a party's log, with all that is before it.
fn holds_revocation(transcript: &Transcript, party: &MemberId, key: &PublicKey) -> bool {
    let revokes = |node: &Node| match &node.facts {
        Facts::Authority(DocumentType::Revocation, Ok(document)) => Revocation::parse(document.text())
            .is_ok_and(|revocation| revocation.revoked == Revoked::Officer(*key)),
        _ => false,
    };
    let mut log = transcript.log(party).into_iter().flat_map(Log::nodes);
    log.any(|node| node.is_chained() && node.effect == Effect::Accepted && revokes(node))
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

/// The receipts of kind *opened* that `by` made for those entries of `author` that its own node holds, as far as `at` knows of them.
pub fn opened_by(at: &Channel, by: &MemberId, author: &Channel) -> BTreeSet<ReceiptId> {
    let entries = author.transcript().log(author.me()).into_iter().flat_map(Log::nodes);
    entries
        .flat_map(|node| at.evidence().of(&node.head.hash))
        .filter(|(receipt, _)| receipt.by == *by && matches!(receipt.kind, ReceiptKind::Opened(_)))
        .map(|(_, signed)| signed.id())
        .collect()
}
