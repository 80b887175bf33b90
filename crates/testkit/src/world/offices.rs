//! Mediators in virtual time: each keeps custody with the real [`Keeper`] on a disk of its own, exchanges rosters, may die at any moment,
//! and some lie. What is said between it and a node goes on a stream, in order, until either dies or they are cut apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use demarche_protocol::{
    channel::{Addressee, Input, Outgoing, ParcelId},
    codec,
    custody::{
        Change, Keeper, Kept, NotKept, Stated, Statement, ToCapital, ToMediator, Turned, message::Refused,
    },
    envelope::{Envelope, Recipient, Salt},
    hash::{EntryHash, EnvelopeHash},
    identity::{member::MemberId, roster::Roster, signed_prekey::PrekeyNumber},
};

use super::{Broken, Happening, World};
use crate::fixtures::{self, NodeKeys};

/// A mediator: its disk always, its memory while it runs.
pub struct Office {
    /// In a hundred deposits, how many it signs for and loses (threat M16).
    pub loses: u64,
    /// In a hundred envelopes that it hands out, how many are another, an older or a changed one (threats M5, M10).
    pub swaps: u64,
    /// In a hundred messages, how many it swallows (threat M1).
    pub swallows: u64,
    disk: BTreeMap<EnvelopeHash, Kept>,
    roster: Roster,
    keeper: Option<Keeper>,
    life: u64,
    /// The stream of each node that is connected.
    streams: BTreeMap<MemberId, u64>,
    /// Nodes that wait for an envelope.
    wanting: BTreeSet<MemberId>,
    /// What it has handed out, to be handed out again.
    seen: Vec<Envelope>,
}

/// What a node has sealed and not heard of.
pub(super) type Parcels = BTreeMap<(MemberId, EnvelopeHash), (ParcelId, Salt)>;

#[derive(Debug)]
pub(super) enum Mail {
    To(ToMediator),
    From(ToCapital),
}

impl World {
    pub(super) fn open_offices(&mut self) {
        for mediator in self.scene.mediators.clone() {
            let office = Office {
                loses: 0,
                swaps: 0,
                swallows: 0,
                disk: BTreeMap::new(),
                roster: Roster::new(&self.scene.charter),
                keeper: None,
                life: 0,
                streams: BTreeMap::new(),
                wanting: BTreeSet::new(),
                seen: Vec::new(),
            };
            self.offices.insert(mediator.clone(), office);
            self.open_office(&mediator);
        }
    }

    /// A mediator.
    ///
    /// # Panics
    /// When the scene has no such mediator.
    pub fn office(&mut self, mediator: &MemberId) -> &mut Office {
        self.offices.get_mut(mediator).expect("a mediator of the scene")
    }

    /// A mediator starts, from what is on its disk.
    pub fn open_office(&mut self, mediator: &MemberId) {
        let charter = self.scene.charter.clone();
        let card = self.scene.mediator_card(mediator);
        let key = NodeKeys::of(mediator.as_str(), 1).node;
        let office = self.office(mediator);
        if office.keeper.is_some() {
            return;
        }
        let mut keeper = Keeper::new(&charter, &card, key);
        for (name, kept) in &office.disk {
            keeper.restore(*name, kept);
        }
        office.keeper = Some(keeper);
        office.life += 1;
        // Its own card is in its roster.
        let _ = office.roster.offer(card.document());
        for party in self.scene.parties.clone() {
            self.attend_soon(&party, mediator);
        }
    }

    /// A mediator dies at once.
    fn shut_office(&mut self, mediator: &MemberId) -> Result<(), Broken> {
        let office = self.office(mediator);
        office.keeper = None;
        office.life += 1;
        office.wanting.clear();
        for party in std::mem::take(&mut office.streams).into_keys() {
            self.input(&party, Input::MediatorDown { mediator: mediator.clone() })?;
        }
        Ok(())
    }

    /// The stream between a node and a mediator is lost.
    ///
    /// # Errors
    /// A broken promise.
    pub fn hang_up(&mut self, party: &MemberId, mediator: &MemberId) -> Result<(), Broken> {
        let office = self.office(mediator);
        office.wanting.remove(party);
        if office.streams.remove(party).is_some() {
            self.input(party, Input::MediatorDown { mediator: mediator.clone() })?;
            self.attend_soon(party, mediator);
        }
        Ok(())
    }

    /// A node has died: nobody is at its end of the streams any more.
    pub(super) fn leave_offices(&mut self, party: &MemberId) {
        for office in self.offices.values_mut() {
            office.streams.remove(party);
            office.wanting.remove(party);
        }
    }

    pub(super) fn attend_soon(&mut self, party: &MemberId, mediator: &MemberId) {
        let at = self.now + Duration::from_millis(20 + self.chance.below(2_000));
        self.plan(at, Happening::Attends { party: party.clone(), mediator: mediator.clone() });
    }

    /// Rosters are exchanged now and then while the stream stands.
    fn plan_exchange(&mut self, party: &MemberId, mediator: &MemberId, stream: u64) {
        let at = self.now + Duration::from_secs(60 + self.chance.below(60));
        let (party, mediator) = (party.clone(), mediator.clone());
        self.plan(at, Happening::Exchanges { party, mediator, stream });
    }

    pub(super) fn exchanges(
        &mut self,
        party: &MemberId,
        mediator: &MemberId,
        stream: u64,
    ) -> Result<(), Broken> {
        if self.office(mediator).streams.get(party) != Some(&stream) {
            return Ok(());
        }
        self.plan_exchange(party, mediator, stream);
        self.exchange_rosters(party, mediator)
    }

    pub(super) fn attends(&mut self, party: &MemberId, mediator: &MemberId) -> Result<(), Broken> {
        let running = self.node(party).running.is_some();
        let office = self.office(mediator);
        if !running || office.keeper.is_none() {
            return Ok(());
        }
        if office.streams.contains_key(party) {
            return Ok(());
        }
        if !self.network.reachable(party, mediator) {
            self.attend_soon(party, mediator);
            return Ok(());
        }
        self.streams += 1;
        let stream = self.streams;
        self.office(mediator).streams.insert(party.clone(), stream);
        self.exchange_rosters(party, mediator)?;
        self.plan_exchange(party, mediator, stream);
        self.input(party, Input::MediatorUp { mediator: mediator.clone() })?;
        let Some(keeper) = &self.office(mediator).keeper else { return Ok(()) };
        let told: Vec<ToCapital> = keeper.prekeys(party).collect();
        for message in told {
            self.post(mediator, party, Mail::From(message));
        }
        Ok(())
    }

    /// As the roster stream does: each learns what the other knows, and everybody else who is connected hears of what is new.
    fn exchange_rosters(&mut self, party: &MemberId, mediator: &MemberId) -> Result<(), Broken> {
        let Some(channel) = self.channel(party) else { return Ok(()) };
        let (theirs, digest) = (channel.roster().documents(), channel.roster().digest());
        let office = self.office(mediator);
        if office.roster.digest() == digest {
            return Ok(());
        }
        // Only what the other does not show costs a look.
        let held = office.roster.documents();
        let mut news = false;
        for document in theirs.iter().filter(|document| !held.contains(document)) {
            news |= matches!(office.roster.offer(document), Ok(true));
        }
        let told = office.roster.documents();
        let hear: Vec<MemberId> =
            if news { office.streams.keys().cloned().collect() } else { vec![party.clone()] };
        for hearer in hear {
            let known = self.channel(&hearer).map(|channel| channel.roster().documents()).unwrap_or_default();
            for document in told.iter().filter(|document| !known.contains(document)) {
                let request = self.request();
                self.input(&hearer, Input::Roster { request, document: document.clone() })?;
            }
        }
        Ok(())
    }

    /// Says something on the stream between a mediator and a node, if it stands.
    fn post(&mut self, mediator: &MemberId, party: &MemberId, mail: Mail) {
        let swallows = self.office(mediator).swallows;
        let Some(stream) = self.office(mediator).streams.get(party).copied() else { return };
        if self.chance.percent(swallows) {
            return;
        }
        let from_office = matches!(mail, Mail::From(..));
        let at = self.now + Duration::from_micros(300 + self.chance.below(20_000));
        let last = self.posted.entry((stream, from_office)).or_default();
        *last = at.max(*last);
        let (at, mediator, party) = (*last, mediator.clone(), party.clone());
        self.plan(at, Happening::Posted { mediator, party, stream, mail: Box::new(mail) });
    }

    pub(super) fn posted(
        &mut self,
        mediator: &MemberId,
        party: &MemberId,
        stream: u64,
        mail: Mail,
    ) -> Result<(), Broken> {
        if self.office(mediator).streams.get(party) != Some(&stream) {
            return Ok(());
        }
        match mail {
            Mail::To(message) => {
                let message = ToMediator::decode(&message.encode()).map_err(|why| Broken(why.to_string()))?;
                self.office_hears(mediator, party, message)
            }
            Mail::From(message) => {
                let message = ToCapital::decode(&message.encode()).map_err(|why| Broken(why.to_string()))?;
                self.node_hears(party, mediator, message)
            }
        }
    }

    /// A node's channel says something to a mediator.
    pub(super) fn tell_office(
        &mut self,
        party: &MemberId,
        mediator: &MemberId,
        message: ToMediator,
    ) -> Result<(), Broken> {
        if let ToMediator::Ended(signed) = &message {
            let statement = signed.claims(self.scene.channel()).map_err(|why| Broken(why.to_string()))?;
            self.check_collected(party, &statement)?;
        }
        self.post(mediator, party, Mail::To(message));
        Ok(())
    }

    /// Where a node says that it has collected all of an envelope, all of it is on its disk.
    fn check_collected(&mut self, party: &MemberId, statement: &Statement) -> Result<(), Broken> {
        if statement.says != (Stated::Collected { all: true }) {
            return Ok(());
        }
        let entries = self.sealed.get(&statement.envelope).cloned().unwrap_or_default();
        for entry in entries {
            let lost = self.witness.has_lost_its_disk(party);
            if !lost && self.node(party).disk.item(&entry).is_none() {
                return Err(Broken(format!("{party} has collected {entry:?}, which is not on its disk")));
            }
        }
        Ok(())
    }

    /// A node seals a parcel and deposits it.
    pub(super) fn seal(
        &mut self,
        party: &MemberId,
        parcel: ParcelId,
        mediator: &MemberId,
        to: &Addressee,
        contents: &[Outgoing],
    ) -> Result<(), Broken> {
        let mut frames = Vec::new();
        let mut entries: Vec<EntryHash> = Vec::new();
        for outgoing in contents {
            self.witness.sent(party, outgoing);
            if let Outgoing::Stored(entry) = outgoing {
                entries.push(*entry);
            }
            frames.push(self.frame_of(party, outgoing)?);
        }
        let channel = self.scene.channel();
        let recipient =
            Recipient { channel, member: &to.member, card: to.card, number: to.number, prekey: &to.prekey };
        let (envelope, salt) = Envelope::seal(&recipient, &frames, self.chance.generator())
            .map_err(|why| Broken(format!("{party} cannot seal: {why}")))?;
        self.tally.envelopes += 1;
        self.sealed.insert(envelope.hash(), entries);
        if let Some(running) = self.node(party).running.as_mut() {
            running.parcels.insert((mediator.clone(), envelope.hash()), (parcel, salt));
        }
        self.post(mediator, party, Mail::To(ToMediator::Deposit(envelope)));
        Ok(())
    }

    fn node_hears(
        &mut self,
        party: &MemberId,
        mediator: &MemberId,
        message: ToCapital,
    ) -> Result<(), Broken> {
        let channel = self.scene.channel();
        let mut parcel = |envelope: EnvelopeHash| {
            self.node(party).running.as_mut()?.parcels.remove(&(mediator.clone(), envelope))
        };
        let input = match message {
            ToCapital::Kept(keeps) => {
                let claims = keeps.statement.claims(channel);
                let claims = claims.map_err(|why| Broken(why.to_string()))?;
                let Some((parcel, salt)) = parcel(claims.envelope) else { return Ok(()) };
                Input::ParcelKept { parcel, salt, keeps }
            }
            ToCapital::Refused(Refused { named, why }) => {
                let Some((parcel, _)) = parcel(named.envelope) else { return Ok(()) };
                Input::ParcelRefused { parcel, why }
            }
            ToCapital::Envelope(envelope) => {
                let (card, number) = envelope.prekey();
                // All cards of the fixtures bear one prekey; a node has the secret of its own card's.
                let is_ours = card.0 == self.node(party).serial && number == PrekeyNumber::OF_CARD;
                let opened = if is_ours { envelope.open(&fixtures::prekey()).ok() } else { None };
                self.tally.unopenable += u64::from(opened.is_none());
                Input::Envelope { from: Some(mediator.clone()), envelope: envelope.hash(), opened }
            }
            ToCapital::Ended(statement) => Input::CustodyEnded { mediator: mediator.clone(), statement },
            ToCapital::Prekey(published) => Input::Prekey { prekey: published.prekey },
        };
        self.input(party, input)
    }

    fn office_hears(
        &mut self,
        mediator: &MemberId,
        party: &MemberId,
        message: ToMediator,
    ) -> Result<(), Broken> {
        let now = self.now_at(mediator);
        let (_, card) = self.card(party);
        let Some(keeper) = self.office(mediator).keeper.as_mut() else { return Ok(()) };
        let turned = match message {
            ToMediator::Deposit(envelope) => keeper.deposit(now, party, envelope),
            ToMediator::Ended(statement) => {
                keeper.ended(&card, &statement).map_err(|why| Broken(format!("{party}: {why}")))?
            }
            ToMediator::Noted(named) => keeper.noted(party, named.envelope),
            ToMediator::Next(_) => {
                self.office(mediator).wanting.insert(party.clone());
                Turned::Nothing
            }
            ToMediator::Ends(_) => {
                for told in keeper.to_note(party).collect::<Vec<_>>() {
                    self.post(mediator, party, Mail::From(told));
                }
                Turned::Nothing
            }
            ToMediator::Prekey(published) => {
                keeper.publish(&card, &published.prekey);
                Turned::Nothing
            }
        };
        match turned {
            Turned::Nothing => {}
            Turned::Answer(answer) => self.post(mediator, party, Mail::From(answer)),
            Turned::Change(change) => self.office_changes(mediator, change),
        }
        self.hand_out(mediator);
        Ok(())
    }

    fn office_changes(&mut self, mediator: &MemberId, change: Change) {
        let loses = self.office(mediator).loses;
        let name = change.name();
        let is_deposit = matches!(change.kept(), Some(Kept::Waits { .. }));
        let loses = is_deposit && self.chance.percent(loses);
        let dies = self.crash_per_mille > 0 && self.chance.below(1000) < self.crash_per_mille;
        let office = self.office(mediator);
        match change.kept().filter(|_| !loses) {
            Some(kept) => {
                let bytes = codec::encode(kept);
                office.disk.insert(name, codec::decode(&bytes).expect("what is kept is read again"));
            }
            None => drop(office.disk.remove(&name)),
        }
        if dies {
            // Durable, and nobody has been told.
            let life = office.life;
            self.plan(self.now, Happening::OfficeDies { mediator: mediator.clone(), life });
            return;
        }
        let told = office.keeper.as_mut().and_then(|keeper| keeper.apply(change));
        if loses {
            self.tally.lost_envelopes += 1;
            self.forget_like_the_disk(mediator);
        }
        if let Some((party, message)) = told {
            self.post(mediator, &party, Mail::From(message));
        }
    }

    /// A keeper that remembers what its disk does not would hand it out.
    fn forget_like_the_disk(&mut self, mediator: &MemberId) {
        let mut keeper = Keeper::new(
            &self.scene.charter.clone(),
            &self.scene.mediator_card(mediator),
            NodeKeys::of(mediator.as_str(), 1).node,
        );
        let office = self.office(mediator);
        for (name, kept) in &office.disk {
            keeper.restore(*name, kept);
        }
        office.keeper = Some(keeper);
    }

    /// Hands the newest envelope to each who waits for one.
    fn hand_out(&mut self, mediator: &MemberId) {
        let wanting: Vec<MemberId> = self.office(mediator).wanting.iter().cloned().collect();
        for party in wanting {
            let office = self.office(mediator);
            let Some(name) = office.keeper.as_ref().and_then(|keeper| keeper.next(&party)) else { continue };
            let Some(Kept::Waits { envelope, .. }) = office.disk.get(&name) else { continue };
            let envelope = envelope.clone();
            office.wanting.remove(&party);
            office.seen.push(envelope.clone());
            let swaps = office.swaps;
            let handed = if self.chance.percent(swaps) { self.swapped(mediator, envelope) } else { envelope };
            let message = ToCapital::Envelope(handed);
            self.post(mediator, &party, Mail::From(message));
        }
    }

    /// Another envelope than the one that waits, or that with a changed bit.
    fn swapped(&mut self, mediator: &MemberId, envelope: Envelope) -> Envelope {
        if self.chance.percent(50) {
            let seen = self.office(mediator).seen.clone();
            return self.chance.pick(&seen).clone();
        }
        let mut bytes = codec::encode(&envelope);
        let at = usize::try_from(self.chance.below(bytes.len() as u64)).expect("an index");
        bytes[at] ^= 1;
        codec::decode(&bytes).unwrap_or(envelope)
    }

    /// A mediator dies and is back after some time.
    ///
    /// # Errors
    /// A broken promise.
    pub fn shut_office_for(&mut self, mediator: &MemberId, down: Duration) -> Result<(), Broken> {
        self.tally.office_deaths += 1;
        self.shut_office(mediator)?;
        self.plan(self.now + down, Happening::OfficeOpens { mediator: mediator.clone() });
        Ok(())
    }

    pub(super) fn office_dies(&mut self, mediator: &MemberId, life: u64) -> Result<(), Broken> {
        if self.office(mediator).life == life && self.office(mediator).keeper.is_some() {
            let down = Duration::from_millis(self.chance.below(20_000));
            return self.shut_office_for(mediator, down);
        }
        Ok(())
    }

    /// Nobody lies any more, and all are open.
    pub(super) fn heal_offices(&mut self) {
        for mediator in self.scene.mediators.clone() {
            let office = self.office(&mediator);
            (office.loses, office.swaps, office.swallows) = (0, 0, 0);
            self.open_office(&mediator);
            for party in self.scene.parties.clone() {
                self.attend_soon(&party, &mediator);
            }
        }
    }

    /// What a mediator refuses is asked for again; so it is enough to say it.
    pub(super) fn count_refusal(&mut self, why: NotKept) {
        self.tally.refusals += u64::from(matches!(why, NotKept::Full { .. }));
    }
}
