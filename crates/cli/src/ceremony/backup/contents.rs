//! What a backup holds, looked at as it is read: the charter with all its signatures, the documents that were installed, and each record
//! of the journal with its node's signature. Of the records themselves nothing is kept but where each log ends.

use std::collections::BTreeMap;

use demarche_control::{
    SignedFile,
    backup::{ABOUT, About, Placed, VERSION, in_data, is_journal_file, segment},
};
use demarche_protocol::{
    channel::{Deposited, Record},
    charter::Charter,
    document::{DocumentType, SignedDocument},
    hash::ChannelId,
    identity::{
        Verified,
        card::{Card, CardSerial},
        keys::PublicKey,
        member::MemberId,
        roster::Roster,
    },
    transcript::{Claimed, Head},
};

/// Records whose card is not known when they come: it stands further on, as when an entry overtook the first of its volume. A node
/// holds no more of them than a gap may hold.
const WAITING: usize = 100_000;

/// One channel of the backup.
pub(in crate::ceremony) struct Channel {
    pub(in crate::ceremony) name: String,
    pub(in crate::ceremony) charter: Verified<Charter>,
    roster: Roster,
    /// The node keys of every card for which roots vouch.
    cards: BTreeMap<(MemberId, CardSerial), Vec<PublicKey>>,
    /// The last entry of each volume of each log.
    ends: BTreeMap<(MemberId, CardSerial), Head>,
    waiting: Vec<(u64, Record)>,
}

/// What was found so far.
#[derive(Default)]
pub(in crate::ceremony) struct Contents {
    about: Option<About>,
    channels: BTreeMap<ChannelId, Channel>,
    /// The node's own card with the highest serial, wherever it stands.
    newest: Option<Card>,
    /// The last record of the journal so far.
    next: u64,
}

/// What is wrong with a file of it, in words.
pub(in crate::ceremony) type Checked<T = ()> = Result<T, String>;

impl Contents {
    /// Looks at one file. The words of a refusal name it.
    pub(in crate::ceremony) fn take(&mut self, name: &str, bytes: &[u8]) -> Checked {
        self.look(name, bytes).map_err(|why| format!("`{name}`: {why}"))
    }

    fn look(&mut self, name: &str, bytes: &[u8]) -> Checked {
        if name == ABOUT {
            let about: About = serde_json::from_slice(bytes).map_err(|why| why.to_string())?;
            if about.version != VERSION {
                return Err(format!("version {}; this program reads version {VERSION}", about.version));
            }
            self.about = Some(about);
            return Ok(());
        }
        if is_journal_file(name) {
            return segment(bytes).map_err(|why| why.to_string())?.into_iter().try_for_each(|one| {
                let index = one.index;
                self.record(one).map_err(|why| format!("record {index}: {why}"))
            });
        }
        match in_data(name).unwrap_or_default().split('/').collect::<Vec<_>>()[..] {
            ["channels", channel, "charter.json"] => self.charter(channel, &signed(bytes)?),
            ["channels", channel, "installed", file] => self.installed(channel, file, &signed(bytes)?),
            [file] if file.strip_suffix(".card").is_some() => {
                let card = Card::parse(&String::from_utf8_lossy(bytes)).map_err(|why| why.to_string())?;
                self.own(card);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What was found, once the archive has been read to its end.
    pub(in crate::ceremony) fn finish(mut self) -> Checked<Found> {
        let about = self.about.take().ok_or("it does not say what it is")?;
        if self.next != about.journal {
            return Err(format!("its journal ends with record {}, not {}", self.next, about.journal));
        }
        for channel in self.channels.values_mut() {
            for (index, record) in std::mem::take(&mut channel.waiting) {
                channel.check(&record).map_err(|why| format!("record {index}: {why}"))?;
            }
            if let Some((index, _)) = channel.waiting.first() {
                return Err(format!("record {index}: no card here names the node that signed it"));
            }
        }
        Ok(Found { about, channels: self.channels.into_values().collect(), newest: self.newest })
    }

    fn own(&mut self, card: Card) {
        let is_own = self.about.as_ref().is_some_and(|about| about.party == card.member);
        if is_own && self.newest.as_ref().is_none_or(|newest| newest.serial < card.serial) {
            self.newest = Some(card);
        }
    }

    fn charter(&mut self, name: &str, document: &SignedDocument) -> Checked {
        let charter = Charter::verify(document).map_err(|why| why.to_string())?;
        let channel = Channel {
            name: name.to_owned(),
            roster: Roster::new(&charter),
            charter,
            cards: BTreeMap::new(),
            ends: BTreeMap::new(),
            waiting: Vec::new(),
        };
        self.channels.insert(ChannelId::from(channel.charter.id()), channel);
        Ok(())
    }

    /// The roots' signatures on it are judged by the node that takes it in, after all that came before it.
    fn installed(&mut self, name: &str, file: &str, document: &SignedDocument) -> Checked {
        if file.strip_suffix(".json") != Some(document.id().to_string().as_str()) {
            return Err(format!("it holds the document {}", document.id()));
        }
        if let Ok(card) = Card::parse(document.text()) {
            self.own(card);
        }
        let channel = self.channels.values_mut().find(|channel| channel.name == name);
        channel.ok_or("its charter is missing")?.learn(document);
        Ok(())
    }

    fn record(&mut self, placed: Placed) -> Checked {
        let Placed { index, channel, record } = placed;
        if index != self.next + 1 {
            return Err(format!("it follows record {}", self.next));
        }
        self.next = index;
        let text = match &record {
            Record::Entry(item) => &item.text,
            Record::Roster(document) => document.text(),
            _ => "",
        };
        if let Ok(card) = Card::parse(text) {
            self.own(card);
        }
        let known = self.channels.get_mut(&channel);
        let known = known.ok_or_else(|| format!("the charter of its channel {channel} is missing"))?;
        if !known.check(&record)? {
            if known.waiting.len() >= WAITING {
                return Err("no card here names the node that signed it".to_owned());
            }
            known.waiting.push((index, record));
        }
        Ok(())
    }
}

impl Channel {
    /// Checks a record's signature. False when the card of its node is not known yet.
    fn check(&mut self, record: &Record) -> Checked<bool> {
        let id = self.roster.channel();
        match record {
            Record::Confirmed(_) => Ok(true),
            Record::Roster(document) => {
                let offered = self.roster.offer(document).map(|_| true).map_err(|why| why.to_string());
                self.learn(document);
                offered
            }
            Record::Receipt(signed) => {
                let receipt = signed.claims(id).map_err(|why| why.to_string())?;
                let Some(nodes) = self.cards.get(&(receipt.by, receipt.by_card)) else { return Ok(false) };
                let good = nodes.iter().any(|node| signed.verify(id, node).is_ok());
                good.then_some(true).ok_or_else(|| "a receipt that its node did not sign".to_owned())
            }
            Record::Deposited(Deposited { statement, .. }) | Record::CustodyEnded(statement) => {
                let said = statement.claims(id).map_err(|why| why.to_string())?;
                let Some(nodes) = self.cards.get(&(said.by, said.by_card)) else { return Ok(false) };
                let good = nodes.iter().any(|node| statement.verify(id, node).is_ok());
                good.then_some(true)
                    .ok_or_else(|| "a statement of custody that its node did not sign".to_owned())
            }
            Record::Prekey(prekey) => {
                let (party, card, ..) = prekey.claims().map_err(|why| why.to_string())?;
                let Some(nodes) = self.cards.get(&(party, card)) else { return Ok(false) };
                let good = nodes.iter().any(|node| prekey.signed_by(node).is_ok());
                good.then_some(true).ok_or_else(|| "a prekey that its node did not sign".to_owned())
            }
            Record::Entry(item) => {
                let claimed = item.clone().claims(id).map_err(|why| why.to_string())?;
                let document = claimed.document();
                if document.document_type() == Some(DocumentType::Card) {
                    self.learn(&document);
                }
                self.entry(claimed)
            }
        }
    }

    fn entry(&mut self, claimed: Claimed) -> Checked<bool> {
        let volume = (claimed.entry().party.clone(), claimed.entry().card);
        let Some(nodes) = self.cards.get(&volume) else { return Ok(false) };
        let head = claimed.authenticate(nodes).map_err(|why| why.to_string())?.head();
        let end = self.ends.entry(volume).or_insert_with(|| head.clone());
        if head.seq > end.seq {
            *end = head;
        }
        Ok(true)
    }

    /// A document of the roster, or a card in its party's log: what it says of who signs.
    fn learn(&mut self, document: &SignedDocument) {
        // What says nothing new, or is no document of the roster, changes nothing.
        let _ = self.roster.offer(document);
        let Ok(card) = Card::parse(document.text()) else { return };
        if let Some(card) = self.roster.vouches(&card.member, document) {
            self.cards.entry((card.member.clone(), card.serial)).or_default().push(card.node);
        }
    }

    /// Where each log ends: the last entry of its newest volume.
    pub(in crate::ceremony) fn heads(&self) -> Vec<&Head> {
        let newest: BTreeMap<&MemberId, &Head> =
            self.ends.iter().map(|((party, _), head)| (party, head)).collect();
        newest.into_values().collect()
    }
}

/// A whole backup that holds what it says.
pub(in crate::ceremony) struct Found {
    pub(in crate::ceremony) about: About,
    pub(in crate::ceremony) channels: Vec<Channel>,
    /// The card of this node with the highest serial that stands anywhere in it, whether or not it was ever in force.
    pub(in crate::ceremony) newest: Option<Card>,
}

impl Found {
    /// The highest serial of a card of this node.
    pub(in crate::ceremony) fn highest(&self) -> CardSerial {
        self.newest.as_ref().map_or(CardSerial(0), |card| card.serial)
    }

    /// The highest card under which the node has written, as far as the backup knows.
    pub(in crate::ceremony) fn last_written(&self) -> CardSerial {
        let volumes = self.channels.iter().flat_map(|channel| channel.ends.keys());
        let own = volumes.filter(|(party, _)| *party == self.about.party).map(|(_, card)| *card);
        own.max().unwrap_or(CardSerial(0))
    }
}

fn signed(bytes: &[u8]) -> Checked<SignedDocument> {
    let text = str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    SignedFile::from_json(text).and_then(|file| file.document()).map_err(|why| why.to_string())
}
