//! What a mediator keeps for one channel, as a pure machine: asked what to do about a message, it names the change; when that is durable,
//! it takes it in and says who hears of it. So nothing is signed for before it is on the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bincode::{Decode, Encode};

use super::{
    message::{Keeps, Named, NotKept, Published, Refused, ToCapital},
    statement::{SignedStatement, Stated, Statement, StatementError},
};
use crate::{
    charter::Charter,
    codec::{self, Wire},
    envelope::Envelope,
    hash::{ChannelId, ContentHash, EnvelopeHash},
    identity::{
        Verified,
        card::{Card, CardSerial},
        keys::SecretKey,
        member::MemberId,
        signed_prekey::{PrekeyNumber, SignedPrekey},
    },
    time::{Now, Timestamp},
};

/// What counts against the quota for an envelope that has ended, until its depositor has noted that.
const ENDED: u64 = SignedStatement::LIMIT as u64;

/// What is durable of one envelope, under its name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Kept {
    /// It waits to be collected.
    Waits {
        /// Who deposited it.
        from: MemberId,
        /// Since when it is kept.
        at: Timestamp,
        /// The envelope.
        envelope: Envelope,
    },
    /// It has gone; whoever deposited it has not yet noted how.
    Ended {
        /// Who deposited it.
        from: MemberId,
        /// For whom it was.
        to: MemberId,
        /// How it ended.
        statement: SignedStatement,
    },
}

impl Kept {
    /// Whether it stands under this name rightly.
    pub fn is_of(&self, name: EnvelopeHash) -> bool {
        match self {
            Self::Waits { envelope, .. } => envelope.hash() == name,
            Self::Ended { statement, .. } => statement.is_about(name),
        }
    }
}

impl Wire for Kept {
    const LIMIT: usize = Envelope::LIMIT + 64;
    const NAME: &'static str = "envelope in custody";
}

/// What the keeper wants to be made durable. Only then it is [`applied`](Keeper::apply).
#[derive(Debug)]
#[must_use]
pub struct Change {
    name: EnvelopeHash,
    kept: Option<Kept>,
}

impl Change {
    /// The envelope's name.
    pub const fn name(&self) -> EnvelopeHash {
        self.name
    }

    /// What is to stand under it from now on; nothing if it is forgotten.
    pub const fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }
}

/// What is to be done about a message.
#[derive(Debug)]
pub enum Turned {
    /// Nothing changes: answer this.
    Answer(ToCapital),
    /// Make this durable first.
    Change(Change),
    /// Nothing.
    Nothing,
}

/// One envelope without its bytes.
struct Known {
    from: MemberId,
    to: MemberId,
    size: u64,
    state: State,
}

enum State {
    Waits { at: Timestamp, content: ContentHash },
    Ended(SignedStatement),
}

/// A channel's custody.
pub struct Keeper {
    channel: ChannelId,
    /// Who keeps it, and under which card it signs.
    me: (MemberId, CardSerial),
    key: SecretKey,
    parties: BTreeSet<MemberId>,
    quota: u64,
    keep_for: Duration,
    known: BTreeMap<EnvelopeHash, Known>,
    /// What waits for each party, oldest first.
    waiting: BTreeMap<MemberId, BTreeSet<(Timestamp, EnvelopeHash)>>,
    used: BTreeMap<(MemberId, MemberId), u64>,
    prekeys: BTreeMap<MemberId, (CardSerial, PrekeyNumber, SignedPrekey)>,
}

impl Keeper {
    /// A keeper of nothing yet. `card` is the mediator's own, `key` its node's.
    pub fn new(charter: &Verified<Charter>, card: &Card, key: SecretKey) -> Self {
        let policy = &charter.policy;
        Self {
            channel: ChannelId::from(charter.id()),
            me: (card.member.clone(), card.serial),
            key,
            parties: charter.parties.iter().map(|party| party.id.clone()).collect(),
            quota: policy.custody.0,
            keep_for: policy.custody_for.0,
            known: BTreeMap::new(),
            waiting: BTreeMap::new(),
            used: BTreeMap::new(),
            prekeys: BTreeMap::new(),
        }
    }

    /// Takes in what is durable, at the start.
    pub fn restore(&mut self, name: EnvelopeHash, kept: &Kept) {
        let (from, to, size, state) = match kept {
            Kept::Waits { from, at, envelope } => {
                let size = codec::encode(envelope).len() as u64;
                let state = State::Waits { at: *at, content: envelope.content() };
                (from, envelope.to(), size, state)
            }
            Kept::Ended { from, to, statement } => (from, to, ENDED, State::Ended(statement.clone())),
        };
        if let State::Waits { at, .. } = state {
            self.waiting.entry(to.clone()).or_default().insert((at, name));
        }
        *self.used.entry((from.clone(), to.clone())).or_default() += size;
        self.known.insert(name, Known { from: from.clone(), to: to.clone(), size, state });
    }

    /// A party, whose node the connection has proven, deposits an envelope.
    pub fn deposit(&self, now: Now, from: &MemberId, envelope: Envelope) -> Turned {
        let name = envelope.hash();
        let refuse = |why| {
            let named = Named { channel: self.channel, envelope: name };
            Turned::Answer(ToCapital::Refused(Refused { named, why }))
        };
        if envelope.channel() != self.channel
            || !self.parties.contains(from)
            || !self.parties.contains(envelope.to())
            || envelope.to() == from
        {
            return refuse(NotKept::NotServed);
        }
        if !envelope.is_known() {
            return refuse(NotKept::Version);
        }
        match self.known.get(&name) {
            Some(known) if known.from == *from => match &known.state {
                State::Waits { at, content } => {
                    return Turned::Answer(self.keeps(name, known, *at, *content));
                }
                State::Ended(statement) => return Turned::Answer(ToCapital::Ended(statement.clone())),
            },
            // Nobody but whoever sealed it has it to deposit, unless the recipient gives it back.
            Some(_) => return refuse(NotKept::NotServed),
            None => {}
        }
        let used = self.used(from, envelope.to());
        if used + codec::encode(&envelope).len() as u64 > self.quota {
            return refuse(NotKept::Full { used, quota: self.quota });
        }
        Turned::Change(Change {
            name,
            kept: Some(Kept::Waits { from: from.clone(), at: now.wall, envelope }),
        })
    }

    /// A party says how an envelope that it was handed has ended. `card` is that of its node.
    pub fn ended(&self, card: &Card, signed: &SignedStatement) -> Result<Turned, StatementError> {
        let statement = signed.verify(self.channel, &card.node)?;
        let by_recipient = matches!(statement.says, Stated::Collected { .. } | Stated::Unopenable { .. })
            && statement.by == card.member
            && statement.by_card == card.serial;
        let known = self.known.get(&statement.envelope).filter(|known| known.to == card.member);
        Ok(match known {
            Some(Known { state: State::Waits { .. }, from, to, .. }) if by_recipient => {
                let (from, to) = (from.clone(), to.clone());
                let kept = Kept::Ended { from, to, statement: signed.clone() };
                Turned::Change(Change { name: statement.envelope, kept: Some(kept) })
            }
            _ => Turned::Nothing,
        })
    }

    /// A depositor has noted how an envelope ended.
    pub fn noted(&self, from: &MemberId, name: EnvelopeHash) -> Turned {
        match self.known.get(&name) {
            Some(Known { from: by, state: State::Ended(_), .. }) if by == from => {
                Turned::Change(Change { name, kept: None })
            }
            _ => Turned::Nothing,
        }
    }

    /// Something whose time has run out, if there is.
    pub fn expires(&self, now: Now) -> Option<Change> {
        let oldest = self.waiting.values().filter_map(BTreeSet::first).min()?;
        let (at, name) = *oldest;
        if at.plus(self.keep_for) > now.wall {
            return None;
        }
        let Known { from, to, .. } = self.known.get(&name)?;
        let (from, to) = (from.clone(), to.clone());
        let says = Stated::Expired { from: from.clone(), to: to.clone(), since: at };
        let statement = Statement::new(self.channel, name, self.me.clone(), now.wall, says).sign(&self.key);
        Some(Change { name, kept: Some(Kept::Ended { from, to, statement }) })
    }

    /// What was asked for is durable: who hears of it. An envelope that came to wait is for whoever asks [`Keeper::next`].
    pub fn apply(&mut self, change: Change) -> Option<(MemberId, ToCapital)> {
        let Change { name, kept } = change;
        self.take_out(name);
        let kept = kept?;
        self.restore(name, &kept);
        let known = self.known.get(&name)?;
        let told = match &known.state {
            State::Waits { at, content } => self.keeps(name, known, *at, *content),
            State::Ended(statement) => ToCapital::Ended(statement.clone()),
        };
        Some((known.from.clone(), told))
    }

    /// What is under this name on the disk cannot be read any more: others are handed out instead. Its depositor still owes what it held.
    pub fn lose(&mut self, name: EnvelopeHash) {
        self.take_out(name);
    }

    /// The newest envelope that waits for a party.
    pub fn next(&self, to: &MemberId) -> Option<EnvelopeHash> {
        self.waiting.get(to)?.last().map(|(_, name)| *name)
    }

    /// What a depositor is told when it asks: how its envelopes have ended that it has not noted.
    pub fn to_note<'a>(&'a self, from: &'a MemberId) -> impl Iterator<Item = ToCapital> + 'a {
        self.known.values().filter(move |known| known.from == *from).filter_map(|known| match &known.state {
            State::Ended(statement) => Some(ToCapital::Ended(statement.clone())),
            State::Waits { .. } => None,
        })
    }

    /// A party publishes a prekey under its card. True when it is news for the others.
    pub fn publish(&mut self, card: &Card, prekey: &SignedPrekey) -> bool {
        let Ok((number, _)) = prekey.verify(card) else { return false };
        let newer = (card.serial, number);
        let known = self.prekeys.get(&card.member).map(|(serial, number, _)| (*serial, *number));
        let news = known.is_none_or(|known| known < newer);
        if news {
            self.prekeys.insert(card.member.clone(), (card.serial, number, prekey.clone()));
        }
        news
    }

    /// The others' newest prekeys, as a party is told them.
    pub fn prekeys<'a>(&'a self, of_others: &'a MemberId) -> impl Iterator<Item = ToCapital> + 'a {
        let others = self.prekeys.iter().filter(move |(member, _)| *member != of_others);
        others.map(|(_, (_, _, prekey))| {
            ToCapital::Prekey(Published { channel: self.channel, prekey: prekey.clone() })
        })
    }

    /// The parties.
    pub fn parties(&self) -> impl Iterator<Item = &MemberId> {
        self.parties.iter()
    }

    /// How many envelopes wait for a party.
    pub fn waiting(&self, to: &MemberId) -> usize {
        self.waiting.get(to).map_or(0, BTreeSet::len)
    }

    /// When the next one expires, by this mediator's clock.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let (at, _) = self.waiting.values().filter_map(BTreeSet::first).min()?;
        Some(at.plus(self.keep_for))
    }

    fn take_out(&mut self, name: EnvelopeHash) {
        let Some(old) = self.known.remove(&name) else { return };
        if let State::Waits { at, .. } = old.state
            && let Some(waiting) = self.waiting.get_mut(&old.to)
        {
            waiting.remove(&(at, name));
        }
        if let Some(used) = self.used.get_mut(&(old.from, old.to)) {
            *used = used.saturating_sub(old.size);
        }
    }

    fn used(&self, from: &MemberId, to: &MemberId) -> u64 {
        self.used.get(&(from.clone(), to.clone())).copied().unwrap_or(0)
    }

    fn keeps(&self, name: EnvelopeHash, known: &Known, at: Timestamp, content: ContentHash) -> ToCapital {
        let (from, to) = (known.from.clone(), known.to.clone());
        let used = self.used(&from, &to);
        let says = Stated::Kept { from, to, content, until: at.plus(self.keep_for) };
        let statement = Statement::new(self.channel, name, self.me.clone(), at, says).sign(&self.key);
        ToCapital::Kept(Keeps { statement, used })
    }
}
