//! Making a channel from its durable records, in the order in which they were committed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    Channel, Config, Evidence, Record,
    commit::{Commits, Prepared},
    custody::Custody,
    line_test::LineTests,
    peer::Peer,
    prekeys::Prekeys,
    writer::Writer,
};
use crate::{
    custody::StatementError,
    hash::ChannelId,
    identity::roster::Roster,
    time::Now,
    transcript::{EntryError, ReceiptError, Transcript},
};

/// Why a channel cannot be made from what is stored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The charter does not name the party.
    #[error("the charter does not name this party")]
    NotAParty,
    /// The card is not of this party, or not of this key.
    #[error("the card is not of this party's node")]
    NotOurCard,
    /// A stored entry is damaged or of another channel.
    #[error("a stored entry is damaged")]
    Entry(#[from] EntryError),
    /// A stored receipt is damaged or of another channel.
    #[error("a stored receipt is damaged")]
    Receipt(#[from] ReceiptError),
    /// A stored statement of custody is damaged or of another channel.
    #[error("a stored statement of custody is damaged")]
    Custody(#[from] StatementError),
}

impl Channel {
    /// The channel as its records leave it. Opens a new volume when the card is newer than the log's.
    pub fn restore(
        config: Config,
        records: impl IntoIterator<Item = Record>,
        now: Now,
    ) -> Result<Self, RestoreError> {
        if config.charter.party(&config.me).is_none() {
            return Err(RestoreError::NotAParty);
        }
        if config.card.member != config.me || config.card.node != config.key.public() {
            return Err(RestoreError::NotOurCard);
        }
        let peers: BTreeMap<_, _> = config
            .charter
            .parties
            .iter()
            .filter(|party| party.id != config.me)
            .map(|party| (party.id.clone(), Peer::default()))
            .collect();
        let mut channel = Self {
            roster: Roster::new(&config.charter),
            cards: BTreeMap::new(),
            transcript: Transcript::new(config.charter.clone()),
            volumes: BTreeSet::new(),
            evidence: Evidence::default(),
            writer: Writer::default(),
            commits: Commits::default(),
            peers,
            line_tests: LineTests::default(),
            custody: Custody::default(),
            prekeys: Prekeys::default(),
            outputs: VecDeque::new(),
            wake: None,
            refusals: 0,
            stopped: false,
            config,
        };
        let id = channel.transcript.channel();
        channel.transcript.restore();
        for record in records {
            let prepared = prepare(record, id)?;
            channel.apply(now, prepared);
        }
        channel.transcript.restored();
        channel.learn_cards();
        channel.keep_card(channel.config.card.clone());
        // Our own card is part of the roster that we give to others, whether or not it was ever offered to us.
        let card = channel.config.card.document().clone();
        if let Err(why) = channel.roster.present(&card) {
            // Revoked or replaced: what is held stays readable, nothing new is written under it.
            channel.writer.halt(why.to_string());
        }
        channel.rewind_writer();
        channel.ensure_volume(now);
        Ok(channel)
    }
}

fn prepare(record: Record, channel: ChannelId) -> Result<Prepared, RestoreError> {
    Ok(match record {
        Record::Entry(item) => Prepared::Entry(Box::new(item.from_own_store(channel)?)),
        Record::Receipt(signed) => Prepared::Receipt(Box::new(signed.claims(channel)?), signed),
        Record::Roster(document) => Prepared::Roster(document),
        Record::Confirmed(receipt) => Prepared::Confirmed(receipt),
        Record::Deposited(deposited) => {
            Prepared::Deposited(Box::new(deposited.statement.claims(channel)?), Box::new(deposited))
        }
        Record::CustodyEnded(signed) => Prepared::CustodyEnded(Box::new(signed.claims(channel)?), signed),
        Record::Prekey(signed) => Prepared::Prekey(signed),
    })
}
