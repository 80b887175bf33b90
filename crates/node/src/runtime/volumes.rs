//! What a new volume tells. A renewed card goes on where the one before ended. A restored node begins at an earlier place: then its log
//! shows entries that it left behind, or it has not seen what it had receipted, and people on both sides want to know.

use std::fmt;

use demarche_protocol::{
    channel::Channel as Machine,
    document::DocumentType,
    identity::{card::CardSerial, member::MemberId},
    transcript::{Facts, Head, Log, Node, ReceiptKind, Seq},
};

/// A volume that another came before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Volume {
    /// Whether it is this node's own.
    pub(crate) own: bool,
    /// Its first entry.
    pub(crate) first: Head,
    /// How many entries of the same log it left behind: they are disowned.
    pub(crate) disowned: usize,
    /// How many of our entries its node had receipted and does not name as seen any more.
    pub(crate) forgotten: usize,
}

impl Volume {
    /// The volume that an entry opens, if it opens one that another came before.
    pub(crate) fn opened_by(machine: &Machine, node: &Node) -> Option<Self> {
        let card = match &node.facts {
            Facts::Authority(DocumentType::Card, Ok(_)) => node.head.card,
            _ => return None,
        };
        let log = machine.transcript().log(&node.head.party)?;
        let before = log.get(&node.prev);
        if node.head.seq == Seq::FIRST && before_card(log, card).next().is_none()
            || before.is_some_and(|before| before.head.card == card)
        {
            return None;
        }
        let own = node.head.party == *machine.me();
        Some(Self {
            own,
            first: node.head.clone(),
            disowned: left_behind(log, node).count(),
            forgotten: if own { 0 } else { forgotten(machine, node) },
        })
    }

    /// Whether its node had lost something.
    pub(crate) const fn is_restored(&self) -> bool {
        self.disowned > 0 || self.forgotten > 0
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { own, first, disowned, forgotten } = self;
        let whose = if *own { "this node".to_owned() } else { format!("{}'s node", first.party) };
        if !self.is_restored() {
            return write!(f, "{whose} goes on under card {}: volume begins at {first}", first.card);
        }
        write!(f, "{whose} was restored or replaced: volume under card {} begins at {first}", first.card)?;
        if *disowned > 0 {
            let entries = if *disowned == 1 { "entry" } else { "entries" };
            write!(f, "; {disowned} {entries} of the one before disowned (kept, with their effect)")?;
        }
        if *forgotten > 0 {
            let entries = if *forgotten == 1 { "entry" } else { "entries" };
            write!(f, "; it had lost {forgotten} {entries} of ours, which it gets again")?;
        }
        Ok(())
    }
}

/// What is to be said of each log whose newest volume shows that its node was restored.
pub(crate) fn restored(machine: &Machine) -> Vec<String> {
    let logs = machine.transcript().logs();
    let newest = logs.filter_map(|(_, log)| {
        let tip = log.tip()?;
        // The first entry of a volume has the lowest number in it.
        let first = log.range(tip.card, Seq::FIRST, tip.seq).next()?;
        Volume::opened_by(machine, first).filter(Volume::is_restored)
    });
    newest.map(|volume| volume.to_string()).collect()
}

/// The entries of earlier volumes that a new one left behind, when it begins with this entry.
pub(crate) fn left_behind<'a>(log: &'a Log, first: &Node) -> impl Iterator<Item = &'a Node> {
    let seq = first.head.seq;
    before_card(log, first.head.card).filter(move |one| one.head.seq >= seq && one.is_chained())
}

fn before_card(log: &Log, card: CardSerial) -> impl Iterator<Item = &Node> {
    log.in_order().take_while(move |one| one.head.card < card)
}

/// Entries of ours that a party's node had receipted under an earlier card, beyond what its new volume says to have seen.
fn forgotten(machine: &Machine, first: &Node) -> usize {
    let me: &MemberId = machine.me();
    let Some(log) = machine.transcript().log(me) else { return 0 };
    let seen: Vec<&Head> = first.seen.iter().filter(|head| head.party == *me).collect();
    let receipted = |one: &&Node| {
        machine.evidence().of(&one.head.hash).any(|(receipt, _)| {
            receipt.kind == ReceiptKind::Held
                && receipt.by == first.head.party
                && receipt.by_card < first.head.card
        })
    };
    let unseen = |one: &&Node| !seen.iter().any(|head| log.leads_to(one, &head.hash));
    // What has a lower number than the last that was seen is on its way to it, but for branches: too rare to walk through a log for.
    let last = seen.iter().map(|head| head.seq).max().unwrap_or(Seq(0));
    log.in_order().filter(|one| one.head.seq > last).filter(receipted).filter(unseen).count()
}
