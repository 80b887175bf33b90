//! What the transcript says, in the types of the local API. Everything here is read from the machine between two of
//! its steps and needs no text; only [`shown`] takes one, which is read from the store outside the channel's task.

use std::collections::{BTreeSet, HashMap};

use demarche_control::{
    Serial, SignedFile,
    types::{
        Case, CaseState, Chain, Effect as ShownEffect, Evidence, EvidenceKind, Header, Kind, OfficerInfo,
        OfficerState, Shown, State,
    },
};
use demarche_protocol::{
    channel::Channel as Machine,
    custody::{Stated, Statement},
    dispatch::{Dispatch, Kind as DispatchKind, Precedence},
    hash::{DocumentId, EntryHash},
    identity::{keys::PublicKey, member::MemberId},
    time::Timestamp,
    transcript::{Chaining, DispatchFacts, Effect, Facts, Head, Item, Node, ReceiptKind, Seq, Void},
};

use crate::runtime::channel::Look;

/// Most steps from an answer to its notice: an acknowledgement of a reply to a notice has two.
const CASE_STEPS: usize = 8;

/// Which entries acknowledge what: kept by the channel's task beside the machine, so that no look has to search the logs.
#[derive(Debug, Default)]
pub(crate) struct Acknowledgements(HashMap<DocumentId, Vec<EntryHash>>);

impl Acknowledgements {
    /// Those that are in the machine already.
    pub(crate) fn of(machine: &Machine) -> Self {
        let mut all = Self::default();
        for (_, log) in machine.transcript().logs() {
            log.in_order().for_each(|node| all.enter(node));
        }
        all
    }

    /// An entry that has become durable.
    pub(crate) fn enter(&mut self, node: &Node) {
        if let Some(facts) = dispatch(node)
            && facts.kind == DispatchKind::Acknowledgement
            && let Some(of) = facts.refers_to
        {
            let known = self.0.entry(of).or_default();
            if !known.contains(&node.head.hash) {
                known.push(node.head.hash);
            }
        }
    }
}

/// A look at a channel.
pub(crate) struct View<'a> {
    machine: &'a Machine,
    acknowledgements: &'a Acknowledgements,
    name: &'a str,
}

/// The serial of an entry.
pub(crate) fn serial(head: &Head) -> Serial {
    Serial { party: head.party.clone(), seq: head.seq.0 }
}

fn dispatch(node: &Node) -> Option<&DispatchFacts> {
    match &node.facts {
        Facts::Dispatch(facts) => Some(facts),
        Facts::Authority(..) | Facts::Junk(_) => None,
    }
}

impl<'a> View<'a> {
    /// A look at the channel with this local name.
    pub(crate) fn new(look: &Look<'a>, name: &'a str) -> Self {
        Self { machine: look.machine, acknowledgements: look.acknowledgements, name }
    }

    /// The accepted acknowledgements of a document.
    fn acknowledgements_of(&self, document: &DocumentId) -> impl Iterator<Item = &'a Node> {
        let known = self.acknowledgements.0.get(document).into_iter().flatten();
        let transcript = self.machine.transcript();
        known.filter_map(|hash| transcript.get(hash)).filter(|node| node.effect == Effect::Accepted)
    }

    /// The entry that a serial (or a document's name) stands for.
    pub(crate) fn find(&self, wanted: &Wanted) -> Option<&'a Node> {
        let transcript = self.machine.transcript();
        match wanted {
            Wanted::Serial(serial) => transcript.by_serial(&serial.party, Seq(serial.seq)),
            Wanted::Document(document) => {
                transcript.effective(document).or_else(|| transcript.entries_of(document).next())
            }
        }
    }

    /// Every dispatch of every log, in the order in which they became durable here; with `all` also those of no effect.
    pub(crate) fn inbox(&self, all: bool) -> Vec<Header> {
        let nodes = self.machine.transcript().logs().flat_map(|(_, log)| log.in_order());
        let wanted = nodes.filter(|node| all || !matches!(node.effect, Effect::Void(_)));
        let mut headers: Vec<Header> = wanted.filter_map(|node| self.header(node)).collect();
        headers.sort_by_key(durable_at);
        headers
    }

    /// What calls somebody here: others' dispatches of IMMEDIATE and above that nobody here has opened. An acknowledgement
    /// says that somebody did, on the other side.
    pub(crate) fn urgent(&self) -> Vec<Header> {
        let logs = self.machine.transcript().logs().filter(|(party, _)| *party != self.machine.me());
        let calls = |node: &&Node| {
            dispatch(node).is_some_and(|facts| {
                facts.precedence <= Precedence::Immediate && facts.kind != DispatchKind::Acknowledgement
            })
        };
        let nodes = logs.flat_map(|(_, log)| log.in_order()).filter(calls);
        let mut headers: Vec<Header> = nodes
            .filter(|node| self.state(node) == State::Delivered)
            .filter_map(|node| self.header(node))
            .collect();
        headers.sort_by_key(durable_at);
        headers
    }

    /// The documents of other dispatches that bear an entry's serial, where its party's log branched.
    pub(crate) fn same_serial(&self, node: &Node) -> Vec<DocumentId> {
        let log = self.machine.transcript().log(&node.head.party);
        let here = log.into_iter().flat_map(|log| log.volumes_at(node.head.seq));
        let others = here.filter(|other| other.document != node.document && dispatch(other).is_some());
        others.map(|other| other.document).collect()
    }

    /// The header of an entry; none for one that says who may sign.
    pub(crate) fn header(&self, node: &Node) -> Option<Header> {
        let facts = dispatch(node);
        if facts.is_none() && node.facts.is_authority() {
            return None;
        }
        let (effect, void_reason) = match &node.effect {
            Effect::Accepted => (ShownEffect::Accepted, None),
            Effect::Void(why) => (ShownEffect::Void, Some(why.to_string())),
            Effect::AuthorityUnknown => (ShownEffect::AuthorityUnknown, None),
        };
        Some(Header {
            channel: self.name.to_owned(),
            serial: serial(&node.head),
            case: self.case_of(node).map(|notice| serial(&notice.head)),
            document: node.document,
            entry: node.head.hash,
            kind: facts.map_or(Kind::Unknown, |facts| facts.kind.into()),
            nature: facts.map(|facts| facts.nature),
            precedence: facts.map(|facts| facts.precedence),
            provision: facts.and_then(|facts| facts.provision.clone()),
            title: facts.and_then(|facts| facts.title.clone()),
            from: node.head.party.clone(),
            officer: self.officers_of(node),
            written_at: facts.map(|facts| facts.written_at),
            recorded_at: node.recorded_at,
            received_at: self.received_at(node),
            state: self.state(node),
            effect,
            void_reason,
            chain: match node.chaining {
                Chaining::Chained { .. } => Chain::Complete,
                Chaining::Pending => Chain::Pending,
                Chaining::Misplaced => Chain::Misplaced,
            },
        })
    }

    /// When another's entry became durable here: when we signed that we hold it.
    pub(crate) fn received_at(&self, node: &Node) -> Option<Timestamp> {
        let me = self.machine.me();
        if node.head.party == *me {
            return None;
        }
        let held = self.machine.evidence().of(&node.head.hash);
        held.filter(|(receipt, _)| receipt.by == *me && receipt.kind == ReceiptKind::Held)
            .map(|(r, _)| r.at)
            .min()
    }

    /// The notice of an entry's case; of a notice itself.
    fn case_of(&self, node: &'a Node) -> Option<&'a Node> {
        let transcript = self.machine.transcript();
        let mut node = node;
        for _ in 0..CASE_STEPS {
            let facts = dispatch(node)?;
            if facts.kind == DispatchKind::Breach {
                return Some(node);
            }
            let document = facts.refers_to?;
            node = transcript.effective(&document).or_else(|| transcript.entries_of(&document).next())?;
        }
        None
    }

    fn officers_of(&self, node: &Node) -> String {
        let Some(facts) = dispatch(node) else { return String::new() };
        let keys = facts.signers.iter().chain(&facts.bad_signer);
        keys.map(|key| self.officer_name(&node.head.party, key, Some(node.head.hash)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn officer_name(&self, party: &MemberId, key: &PublicKey, at: Option<EntryHash>) -> String {
        let transcript = self.machine.transcript();
        let then = transcript.authority_at(party, at).and_then(|authority| authority.officer(key));
        let now = || transcript.authority(party).and_then(|authority| authority.officer(key));
        then.or_else(now).map_or_else(|| key.fingerprint(), |officer| officer.name.clone())
    }

    fn officer_of_document(&self, party: &MemberId, document: &DocumentId) -> String {
        let transcript = self.machine.transcript();
        let found = transcript.entries_of(document).find_map(|node| match &node.facts {
            Facts::Authority(_, Ok(document)) if node.head.party == *party => {
                demarche_protocol::identity::officer::Officer::parse(document.text()).ok()
            }
            _ => None,
        });
        found.map_or_else(|| document.short(), |officer| officer.name)
    }

    fn state(&self, node: &Node) -> State {
        if matches!(node.effect, Effect::Void(_)) {
            return State::Void;
        }
        let transcript = self.machine.transcript();
        if transcript.log(&node.head.party).is_some_and(|log| log.is_disowned(node)) {
            return State::Disowned;
        }
        let me = self.machine.me();
        if node.head.party != *me {
            return self.step(node, me).max(State::Delivered);
        }
        let parties = transcript.charter().parties.iter().map(|party| &party.id);
        parties
            .filter(|party| *party != me)
            .map(|party| self.step(node, party))
            .min()
            .unwrap_or(State::Recorded)
    }

    /// How far an entry has come with one party.
    fn step(&self, node: &Node, party: &MemberId) -> State {
        if self.acknowledgements_of(&node.document).any(|answer| answer.head.party == *party) {
            return State::Acknowledged;
        }
        let receipts =
            self.machine.evidence().of(&node.head.hash).filter(|(receipt, _)| receipt.by == *party);
        let of = |kind: &ReceiptKind| match kind {
            ReceiptKind::Held => State::Delivered,
            ReceiptKind::Opened(_) => State::Opened,
        };
        let stated = receipts.map(|(receipt, _)| of(&receipt.kind)).max();
        let kept = || if self.is_in_custody(node, party) { State::Custody } else { State::Recorded };
        stated.unwrap_or_else(kept)
    }

    /// Whether a mediator keeps an entry for a party, or has handed it out and no receipt has come.
    fn is_in_custody(&self, node: &Node, party: &MemberId) -> bool {
        let mut kept = BTreeSet::new();
        for statement in self.machine.evidence().custody_of(&node.head.hash) {
            match &statement.says {
                Stated::Kept { to, .. } if to == party => drop(kept.insert(statement.envelope)),
                Stated::Kept { .. } | Stated::Collected { .. } => {}
                Stated::Unopenable { .. } | Stated::Expired { .. } => drop(kept.remove(&statement.envelope)),
            }
        }
        !kept.is_empty()
    }

    /// What is known of an entry's way, in order of time.
    pub(crate) fn evidence(&self, node: &Node) -> Vec<Evidence> {
        let plain = |kind, by: &MemberId, at| Evidence {
            kind,
            by: by.clone(),
            at,
            verified: true,
            officer: None,
            serial: None,
            detail: None,
        };
        let mut all = vec![plain(EvidenceKind::Recorded, &node.head.party, node.recorded_at)];
        for (receipt, _) in self.machine.evidence().of(&node.head.hash) {
            all.push(self.of_receipt(&receipt.by, receipt.kind, receipt.at));
        }
        all.extend(self.machine.evidence().custody_of(&node.head.hash).map(Self::of_custody));
        for answer in self.acknowledgements_of(&node.document) {
            all.push(self.of_acknowledgement(answer));
        }
        // Stable: what happened first here stays first within one millisecond.
        all.sort_by_key(|evidence| evidence.at);
        let last = all.last().map_or(node.recorded_at, |evidence| evidence.at);
        if let Effect::Void(why) = &node.effect {
            all.push(self.of_void(why, last));
        }
        if self.machine.transcript().log(&node.head.party).is_some_and(|log| log.is_disowned(node)) {
            all.push(plain(EvidenceKind::Disowned, &node.head.party, last));
        }
        all
    }

    /// A receipt as evidence.
    pub(crate) fn of_receipt(&self, by: &MemberId, kind: ReceiptKind, at: Timestamp) -> Evidence {
        let (kind, officer) = match kind {
            ReceiptKind::Held => (EvidenceKind::Delivered, None),
            ReceiptKind::Opened(document) => {
                (EvidenceKind::Opened, Some(self.officer_of_document(by, &document)))
            }
        };
        Evidence { kind, by: by.clone(), at, verified: true, officer, serial: None, detail: None }
    }

    /// A statement of custody as evidence.
    pub(crate) fn of_custody(statement: &Statement) -> Evidence {
        let (kind, detail) = match &statement.says {
            Stated::Kept { to, until, .. } => {
                (EvidenceKind::Custody, Some(format!("for {to}, until {until}")))
            }
            Stated::Collected { .. } => (EvidenceKind::Collected, None),
            Stated::Unopenable { .. } => (EvidenceKind::Unopenable, None),
            Stated::Expired { to, .. } => (EvidenceKind::Expired, Some(format!("for {to}"))),
        };
        let (by, at) = (statement.by.clone(), statement.at);
        Evidence { kind, by, at, verified: true, officer: None, serial: None, detail }
    }

    /// An acknowledgement as evidence for what it acknowledges.
    pub(crate) fn of_acknowledgement(&self, answer: &Node) -> Evidence {
        Evidence {
            kind: EvidenceKind::Acknowledged,
            by: answer.head.party.clone(),
            at: answer.recorded_at,
            verified: true,
            officer: Some(self.officers_of(answer)),
            serial: Some(serial(&answer.head)),
            detail: None,
        }
    }

    /// Our own judgement as evidence that an entry has no effect.
    pub(crate) fn of_void(&self, why: &Void, at: Timestamp) -> Evidence {
        let by = self.machine.me().clone();
        let detail = Some(why.to_string());
        Evidence { kind: EvidenceKind::Void, by, at, verified: true, officer: None, serial: None, detail }
    }

    /// What an acknowledgement is about.
    pub(crate) fn acknowledged_by(&self, node: &Node) -> Option<&'a Node> {
        let facts = dispatch(node).filter(|facts| facts.kind == DispatchKind::Acknowledgement)?;
        let transcript = self.machine.transcript();
        let of = facts.refers_to?;
        transcript.effective(&of).or_else(|| transcript.entries_of(&of).next())
    }

    /// The documents of its party's log that say who may sign, up to an entry, on its branch, in the log's order. Of no effect ones,
    /// of which a peer's node may enter as many as it likes, none.
    pub(crate) fn authority(&self, node: &Node) -> Vec<SignedFile> {
        let Some(log) = self.machine.transcript().log(&node.head.party) else { return Vec::new() };
        let is_before = |other: &Node| {
            let last = node.authority.map(|last| last.hash);
            other.head.hash == node.head.hash || last.is_some_and(|last| log.leads_to(other, &last))
        };
        log.in_order()
            .filter(|other| is_before(other))
            .filter(|other| other.effect == Effect::Accepted)
            .filter_map(|other| match &other.facts {
                Facts::Authority(_, Ok(document)) => SignedFile::of(document).ok(),
                _ => None,
            })
            .collect()
    }

    /// Every case, newest first: the notice, and all that answers it.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let mut cases: HashMap<EntryHash, Vec<&Node>> = HashMap::new();
        let mut notices = Vec::new();
        for (_, log) in self.machine.transcript().logs() {
            for node in log.in_order().filter(|node| dispatch(node).is_some()) {
                if let Some(notice) = self.case_of(node) {
                    cases.entry(notice.head.hash).or_default().push(node);
                    if notice.head.hash == node.head.hash {
                        notices.push(notice);
                    }
                }
            }
        }
        let of = |notice: &Node| self.case(notice, &cases.remove(&notice.head.hash).unwrap_or_default());
        let mut all: Vec<(Timestamp, Case)> = notices.into_iter().filter_map(of).collect();
        all.sort_by_key(|(durable_at, case)| std::cmp::Reverse((*durable_at, case.serial.seq)));
        all.into_iter().map(|(_, case)| case).collect()
    }

    /// A case from its notice and all its entries, and when the notice became durable here.
    fn case(&self, notice: &Node, nodes: &[&Node]) -> Option<(Timestamp, Case)> {
        let answers = || {
            let others = nodes.iter().filter(|node| node.head.party != notice.head.party);
            others
                .filter(|node| node.effect == Effect::Accepted)
                .filter_map(|node| Some((*node, dispatch(node)?)))
        };
        let counts = |kind: DispatchKind| answers().any(|(_, facts)| facts.kind == kind);
        let state = if counts(DispatchKind::Reply) {
            CaseState::Answered
        } else if counts(DispatchKind::Acknowledgement) {
            CaseState::Acknowledged
        } else {
            CaseState::Open
        };
        let positions = answers().filter_map(|(node, facts)| Some((self.durable_at(node), facts.position?)));
        let position = positions.max_by_key(|(at, _)| *at).map(|(_, position)| position.to_string());
        let mut entries: Vec<Header> = nodes.iter().filter_map(|node| self.header(node)).collect();
        entries.sort_by_key(durable_at);
        let header = self.header(notice)?;
        let at = durable_at(&header).0;
        let case = Case {
            channel: header.channel,
            serial: header.serial,
            document: header.document,
            title: header.title.unwrap_or_default(),
            provision: header.provision.unwrap_or_default(),
            precedence: header.precedence?,
            nature: header.nature?,
            from: header.from,
            state,
            position,
            opened_at: header.recorded_at,
            entries,
        };
        Some((at, case))
    }

    /// When an entry became durable here, and its number: the order in which things came to be known.
    fn durable_at(&self, node: &Node) -> (Timestamp, u64) {
        (self.received_at(node).unwrap_or(node.recorded_at), node.head.seq.0)
    }

    /// Every officer of every party whose document is here.
    pub(crate) fn officers(&self, now: Timestamp) -> Vec<OfficerInfo> {
        let transcript = self.machine.transcript();
        let mut all = Vec::new();
        for (party, log) in transcript.logs() {
            let Some(authority) = transcript.authority(party) else { continue };
            let mut seen: Vec<PublicKey> = Vec::new();
            for node in log.in_order() {
                let Facts::Authority(_, Ok(document)) = &node.facts else { continue };
                let Ok(officer) = demarche_protocol::identity::officer::Officer::parse(document.text())
                else {
                    continue;
                };
                let Some(in_force) = authority.officer(&officer.key) else { continue };
                if seen.contains(&officer.key) {
                    continue;
                }
                seen.push(officer.key);
                let state = if transcript.revokes(party, &officer.key) {
                    OfficerState::Revoked
                } else if authority.is_suspended(&officer.key) {
                    OfficerState::Suspended
                } else if in_force.expires_at < now {
                    OfficerState::Expired
                } else {
                    OfficerState::InForce
                };
                all.push(OfficerInfo {
                    party: party.clone(),
                    name: in_force.name.clone(),
                    key: in_force.key.to_openssh(),
                    duties: in_force.duties.clone(),
                    document: in_force.id(),
                    state,
                    expires_at: in_force.expires_at,
                });
            }
        }
        all
    }
}

/// What a caller asks for: `washington/7`, or a document's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A place in a log.
    Serial(Serial),
    /// A document, wherever it was entered.
    Document(DocumentId),
}

impl Wanted {
    /// Reads a path segment, already decoded.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let document = text.parse().ok().map(Self::Document);
        document.or_else(|| text.parse().ok().map(Self::Serial))
    }
}

fn durable_at(header: &Header) -> (Timestamp, u64) {
    (header.received_at.unwrap_or(header.recorded_at), header.serial.seq)
}

/// A dispatch whole: its header, what is known of it, and its text as the store holds it.
pub(crate) fn shown(
    header: Header,
    item: &Item,
    evidence: Vec<Evidence>,
    authority: Vec<SignedFile>,
    same_serial: Vec<DocumentId>,
) -> Shown {
    let dispatch = Dispatch::parse(&item.text).ok();
    let document = item.entry.claims().ok().map(|entry| item.document(&entry));
    let signatures = document.and_then(|document| SignedFile::of(&document).ok()).map(|file| file.signatures);
    Shown {
        header,
        body: dispatch.as_ref().and_then(|dispatch| dispatch.body().map(str::to_owned)),
        text: item.text.to_string(),
        signatures: signatures.unwrap_or_default(),
        fields: dispatch.as_ref().map(Shown::fields_of).unwrap_or_default(),
        evidence,
        authority,
        same_serial,
    }
}
