//! One run: a seeded schedule of what officers, operators, relays, networks, disks and clocks do to a world, then
//! [`healing`], and the promises that must hold in the end.

use std::time::Duration;

use demarche_protocol::{
    channel::{CommitFailure, Frame, Input},
    dispatch::{Content, Dispatch, Precedence},
    document::SignedDocument,
    hash::{DocumentId, EntryHash},
    identity::{member::MemberId, officer::Duty},
};

use crate::{
    fixtures::{self, Scene},
    healing,
    network::Weather,
    world::{Broken, Tally, World},
};

/// How wild a run is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Parties in the charter.
    pub parties: usize,
    /// Mediators in the charter.
    pub mediators: usize,
    /// The parties never meet: whatever they learn of each other comes by custody. The first mediator is honest then.
    pub apart: bool,
    /// Things that are done before healing.
    pub actions: u64,
}

/// A run that broke a promise.
#[derive(Debug)]
pub struct Failure {
    /// Its seed: it replays exactly.
    pub seed: u64,
    /// What was broken.
    pub what: String,
}

struct Run {
    world: World,
    /// Officers whose documents have been handed in, by party and number.
    officers: Vec<(MemberId, u64)>,
    documents: Vec<(MemberId, SignedDocument)>,
    written: u64,
    absence: Option<Absence>,
    apart: bool,
}

/// With three parties: an author and a reader who never meet, and the author is gone half way until nearly the end. What the
/// reader holds of it then it has from the third.
struct Absence {
    author: MemberId,
    reader: MemberId,
    /// Before which action the author leaves.
    from: u64,
}

/// Runs one seed.
///
/// # Errors
/// The promise that was broken.
pub fn run(seed: u64, plan: Plan) -> Result<Tally, Failure> {
    let failure = |Broken(what)| Failure { seed, what };
    let scene = Scene::with_mediators(plan.parties, &["muscat", "berne"][..plan.mediators]);
    let world = World::new(scene, seed).map_err(failure)?;
    let mut run = Run {
        world,
        officers: Vec::new(),
        documents: Vec::new(),
        written: 0,
        absence: None,
        apart: plan.apart,
    };
    run.play(plan.actions).map_err(failure)?;
    healing::heal(&mut run.world).map_err(failure)?;
    Ok(run.world.tally)
}

impl Run {
    fn play(&mut self, actions: u64) -> Result<(), Broken> {
        for party in self.world.scene.parties.clone() {
            self.enrol(&party, 1)?;
        }
        self.world.crash_per_mille = *self.world.chance.pick(&[0, 0, 2, 10]);
        if self.apart {
            self.world.keep_apart();
        }
        self.choose_liars();
        if self.world.scene.parties.len() > 2 && !self.apart && self.world.chance.percent(60) {
            let (author, reader) = self.two();
            let from = actions / 2 + self.world.chance.below(actions / 2);
            self.world.cut(&author, &reader, true);
            self.absence = Some(Absence { author, reader, from });
        }
        for action in 0..actions {
            if let Some(absence) = self.absence.as_ref().filter(|absence| absence.from == action) {
                self.world.leave(&absence.author.clone());
            }
            self.act()?;
            let pause = match self.world.chance.below(20) {
                0 => Duration::from_secs(60 + self.world.chance.below(5_000)),
                1..=5 => Duration::from_millis(self.world.chance.below(5_000)),
                _ => Duration::from_micros(self.world.chance.below(40_000)),
            };
            self.world.run_until(self.world.time() + pause)?;
        }
        Ok(())
    }

    fn party(&mut self) -> MemberId {
        self.world.chance.pick(&self.world.scene.parties.clone()).clone()
    }

    fn two(&mut self) -> (MemberId, MemberId) {
        let one = self.party();
        let others: Vec<MemberId> =
            self.world.scene.parties.iter().filter(|party| **party != one).cloned().collect();
        (one, self.world.chance.pick(&others).clone())
    }

    fn act(&mut self) -> Result<(), Broken> {
        match self.world.chance.below(100) {
            0..=24 => self.write(),
            25..=27 => self.write_many(),
            28..=31 => self.hand_in_again(),
            32..=34 => self.enter_void(),
            35..=36 => self.enter_again(),
            37..=45 => self.open_something(),
            46..=51 => {
                self.crash();
                Ok(())
            }
            52..=56 => {
                let (one, other) = self.two();
                self.world.cut(&one, &other, true);
                Ok(())
            }
            57..=58 => self.shut_an_office(),
            59..=64 => {
                self.let_meet();
                Ok(())
            }
            65..=67 => {
                self.world.cut_a_stream();
                Ok(())
            }
            68..=71 => {
                self.swallow();
                Ok(())
            }
            72..=76 => {
                self.change_weather();
                Ok(())
            }
            77..=81 => {
                self.fail_a_disk();
                Ok(())
            }
            82..=83 => {
                const TEN_YEARS: i64 = 10 * 365 * 86_400_000;
                let party = self.party();
                self.world.node(&party).clock_error =
                    *self.world.chance.pick(&[0, 5_000, -TEN_YEARS, TEN_YEARS]);
                Ok(())
            }
            84..=86 => self.renew(),
            87..=88 => self.revoke_a_card(),
            89..=90 => self.revoke_an_officer(),
            91..=92 => {
                let (party, number) = (self.party(), 2 + self.world.chance.below(3));
                self.enrol(&party, number)
            }
            // What a lost disk held comes back by questions, which no envelope carries.
            93..=94 if self.apart => self.shut_an_office(),
            93 => {
                let party = self.party();
                self.world.lose_disk(&party)
            }
            94 => self.set_back_behind_a_revocation(),
            95..=96 => self.serve_an_old_roster(),
            _ => {
                let (one, peer) = self.two();
                let request = self.world.request();
                self.world.input(&one, Input::LineTest { request, peer })
            }
        }
    }

    fn crash(&mut self) {
        let party = self.party();
        self.world.crash(&party);
        let delay = Duration::from_millis(self.world.chance.below(20_000));
        self.world.restart_after(&party, delay);
    }

    fn let_meet(&mut self) {
        let (one, other) = self.two();
        let apart = |absence: &Absence| {
            [&absence.author, &absence.reader].iter().all(|never| **never == one || **never == other)
        };
        if !self.apart && !self.absence.as_ref().is_some_and(apart) {
            self.world.cut(&one, &other, false);
        }
    }

    /// Some mediators do not keep what they sign for, hand out what they should not, or swallow what they are told (threats M1, M5, M10, M16).
    fn choose_liars(&mut self) {
        let mediators = self.world.scene.mediators.clone();
        for mediator in mediators.iter().skip(usize::from(self.apart)) {
            if self.world.chance.percent(40) {
                let mut some = || if self.world.chance.percent(50) { 0 } else { self.world.chance.below(50) };
                let (loses, swaps, swallows) = (some(), some(), some());
                let office = self.world.office(mediator);
                (office.loses, office.swaps, office.swallows) = (loses, swaps, swallows);
            }
        }
    }

    /// A mediator dies, or a node loses it from sight.
    fn shut_an_office(&mut self) -> Result<(), Broken> {
        let mediator = self.world.chance.pick(&self.world.scene.mediators.clone()).clone();
        if self.world.chance.percent(50) {
            let party = self.party();
            return self.world.hang_up(&party, &mediator);
        }
        let down = Duration::from_millis(self.world.chance.below(60_000));
        self.world.shut_office_for(&mediator, down)
    }

    /// A relay lets sessions begin and swallows what follows in one direction: receipts, for an author who goes on being
    /// heard (threats M2, M14).
    fn swallow(&mut self) {
        let (from, to) = self.two();
        let time = Duration::from_secs(1 + self.world.chance.below(90));
        self.world.mute(&from, &to, time);
    }

    fn fail_a_disk(&mut self) {
        let party = self.party();
        let how = *self.world.chance.pick(&[
            CommitFailure::NoSpace,
            CommitFailure::NoSpace,
            CommitFailure::Unknown,
        ]);
        let time = Duration::from_millis(self.world.chance.below(60_000));
        self.world.disk_fails(&party, how, time);
    }

    fn append(&mut self, party: &MemberId, document: SignedDocument) -> Result<(), Broken> {
        let request = self.world.request();
        self.world.input(party, Input::Append { request, document })
    }

    fn enrol(&mut self, party: &MemberId, number: u64) -> Result<(), Broken> {
        let duties = [Duty::Draft, Duty::Release, Duty::Acknowledge];
        self.append(party, fixtures::officer(party, number, &duties))?;
        self.officers.push((party.clone(), number));
        Ok(())
    }

    fn some_content(&mut self, party: &MemberId) -> Content {
        self.written += 1;
        let text = format!("Number {} of {party}.", self.written);
        let notices: Vec<DocumentId> = self.documents.iter().map(|(_, document)| document.id()).collect();
        match self.world.chance.below(5) {
            0..=1 => fixtures::breach(&text),
            2 if !notices.is_empty() => fixtures::acknowledgement(*self.world.chance.pick(&notices)),
            3 if !notices.is_empty() => fixtures::reply(*self.world.chance.pick(&notices), &text),
            _ => fixtures::statement(&text),
        }
    }

    fn write(&mut self) -> Result<(), Broken> {
        let (party, number) = self.world.chance.pick(&self.officers.clone()).clone();
        self.write_by(party, number)
    }

    /// One desk has much to say at once.
    fn write_many(&mut self) -> Result<(), Broken> {
        let (party, number) = self.world.chance.pick(&self.officers.clone()).clone();
        for _ in 0..2 + self.world.chance.below(10) {
            self.write_by(party.clone(), number)?;
        }
        Ok(())
    }

    fn write_by(&mut self, party: MemberId, number: u64) -> Result<(), Broken> {
        let precedence = *self.world.chance.pick(Precedence::ALL);
        let content = self.some_content(&party);
        let dispatch = self.world.scene.dispatch(&party, precedence, content);
        let document = fixtures::signed(&dispatch, &fixtures::officer_key(&party, number));
        self.hand_in(&party, document)
    }

    /// An officer hands in what he has signed.
    fn hand_in(&mut self, party: &MemberId, document: SignedDocument) -> Result<(), Broken> {
        self.world.hands_in(party, &document);
        self.documents.push((party.clone(), document.clone()));
        self.append(party, document)
    }

    fn hand_in_again(&mut self) -> Result<(), Broken> {
        if self.documents.is_empty() {
            return Ok(());
        }
        let (party, document) = self.world.chance.pick(&self.documents.clone()).clone();
        self.append(&party, document)
    }

    /// A careless node enters what has effect already (threat T7).
    fn enter_again(&mut self) -> Result<(), Broken> {
        if self.documents.is_empty() {
            return Ok(());
        }
        let (party, document) = self.world.chance.pick(&self.documents.clone()).clone();
        self.world.enter_unchecked(&party, &document)
    }

    /// A careless node enters what will have no effect (threat T1).
    fn enter_void(&mut self) -> Result<(), Broken> {
        let party = self.party();
        let stranger = fixtures::key("nobody's");
        let text = format!("Void {}.", self.written);
        self.written += 1;
        let scene = &self.world.scene;
        let statement = scene.dispatch(&party, Precedence::Flash, fixtures::statement(&text));
        let document = match self.world.chance.below(4) {
            0 => SignedDocument::unsigned("demarche = \"dispatch/1\"\nnothing = \"else\"\n"),
            1 => fixtures::signed(&statement, &stranger),
            2 => return self.enter_short(&party, &statement),
            _ => {
                let other =
                    scene.parties.iter().find(|other| **other != party).cloned().unwrap_or(party.clone());
                fixtures::signed(
                    &scene.dispatch(&other, Precedence::Flash, fixtures::statement(&text)),
                    &stranger,
                )
            }
        };
        self.world.enter_unchecked(&party, &document)
    }

    /// It enters what nobody has signed yet. That does not use the document up: signed and handed in, it has effect.
    fn enter_short(&mut self, party: &MemberId, statement: &Dispatch) -> Result<(), Broken> {
        self.world.enter_unchecked(party, &SignedDocument::unsigned(statement.render()))?;
        let document = fixtures::signed(statement, &fixtures::officer_key(party, 1));
        self.world.hands_in(party, &document);
        self.documents.push((party.clone(), document.clone()));
        // While the disk still writes the one, the node would take the other for the same.
        self.world.run_until(self.world.time() + Duration::from_millis(10))?;
        self.append(party, document)
    }

    fn open_something(&mut self) -> Result<(), Broken> {
        let party = self.party();
        let Some(channel) = self.world.channel(&party) else { return Ok(()) };
        let entries: Vec<EntryHash> = channel
            .transcript()
            .logs()
            .filter(|(other, _)| **other != party)
            .flat_map(|(_, log)| log.nodes().map(|node| node.head.hash))
            .collect();
        let officers: Vec<DocumentId> = channel
            .transcript()
            .authority(&party)
            .map(|authority| authority.officers().map(demarche_protocol::identity::Verified::id).collect())
            .unwrap_or_default();
        if entries.is_empty() || officers.is_empty() {
            return Ok(());
        }
        let entry = *self.world.chance.pick(&entries);
        let officer = *self.world.chance.pick(&officers);
        let request = self.world.request();
        self.world.input(&party, Input::Opened { request, entry, officer })
    }

    fn change_weather(&mut self) {
        let chance = &mut self.world.chance;
        let mut some = |most: u64| if chance.percent(50) { 0 } else { chance.below(most) };
        let weather =
            Weather { loss: some(10), repeat: some(5), reorder: some(5), change: some(3), splice: some(5) };
        self.world.network.weather = weather;
    }

    fn renew(&mut self) -> Result<(), Broken> {
        let party = self.party();
        let serial = self.world.node(&party).serial;
        self.world.renew(&party)?;
        if self.world.chance.percent(50) { self.revoke(&party, serial) } else { Ok(()) }
    }

    /// The card under which a node speaks is revoked, and somebody hears of it first. Later the node is given another.
    fn revoke_a_card(&mut self) -> Result<(), Broken> {
        let party = self.party();
        let delay = Duration::from_millis(self.world.chance.below(30_000));
        self.world.renew_after(&party, delay);
        let serial = self.world.node(&party).serial;
        self.revoke(&party, serial)
    }

    fn revoke(&mut self, party: &MemberId, serial: u64) -> Result<(), Broken> {
        let at = self.party();
        let request = self.world.request();
        let card = self.world.scene.card(party, serial).id();
        let document = fixtures::revoke_card(party, card, serial);
        self.world.witness.revokes(document.id(), party, serial);
        self.world.input(&at, Input::Roster { request, document })
    }

    /// Somebody serves a roster from before: a card that was replaced since, and perhaps revoked (threat M16b).
    fn serve_an_old_roster(&mut self) -> Result<(), Broken> {
        let (at, from) = self.two();
        let whose = self.party();
        let newest = self.world.node(&whose).serial;
        let serial = 1 + self.world.chance.below(newest);
        let document = fixtures::card(whose.as_str(), serial);
        if self.world.chance.percent(50) {
            let request = self.world.request();
            return self.world.input(&at, Input::Roster { request, document });
        }
        self.world.input(&at, Input::Frame { peer: from, frame: Frame::Card(document) })
    }

    /// An officer is revoked, the others hear of it, the log is set back to before, and the key is used again (threat K2).
    fn set_back_behind_a_revocation(&mut self) -> Result<(), Broken> {
        let (party, number) = (self.party(), 5);
        self.enrol(&party, number)?;
        self.write_by(party.clone(), number)?;
        self.world.run_until(self.world.time() + Duration::from_secs(10))?;
        let key = fixtures::officer_key(&party, number).public();
        self.append(&party, fixtures::revoke_officer(&party, key))?;
        self.world.run_until(self.world.time() + Duration::from_secs(10))?;
        self.officers.retain(|officer| *officer != (party.clone(), number));
        self.world.lose_disk(&party)?;
        self.write_by(party, number)
    }

    fn revoke_an_officer(&mut self) -> Result<(), Broken> {
        let (party, number) = self.world.chance.pick(&self.officers.clone()).clone();
        // One stays, so that there is somebody to write.
        if number == 1 {
            return Ok(());
        }
        let key = fixtures::officer_key(&party, number).public();
        self.append(&party, fixtures::revoke_officer(&party, key))
    }
}
