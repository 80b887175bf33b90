//! One run: a seeded schedule of what officers, operators, networks, disks and clocks do to a world, then
//! healing, and the promises that must hold in the end.

use std::time::Duration;

use demarche_protocol::{
    channel::{CommitFailure, Input},
    dispatch::{Content, Precedence},
    document::SignedDocument,
    hash::{DocumentId, EntryHash},
    identity::{member::MemberId, officer::Duty},
};

use crate::{
    fixtures::{self, Scene},
    network::Weather,
    witness,
    world::{Broken, Tally, World},
};

/// How wild a run is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Parties in the charter.
    pub parties: usize,
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
}

/// Runs one seed.
///
/// # Errors
/// The promise that was broken.
pub fn run(seed: u64, plan: Plan) -> Result<Tally, Failure> {
    let failure = |Broken(what)| Failure { seed, what };
    let world = World::new(Scene::new(plan.parties), seed).map_err(failure)?;
    let mut run = Run { world, officers: Vec::new(), documents: Vec::new(), written: 0 };
    run.play(plan.actions).map_err(failure)?;
    run.heal().map_err(failure)?;
    Ok(run.world.tally)
}

impl Run {
    fn play(&mut self, actions: u64) -> Result<(), Broken> {
        for party in self.world.scene.parties.clone() {
            self.enrol(&party, 1)?;
        }
        self.world.crash_per_mille = *self.world.chance.pick(&[0, 0, 2, 10]);
        for _ in 0..actions {
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
            0..=34 => self.write(),
            35..=39 => self.hand_in_again(),
            40..=44 => self.enter_void(),
            45..=54 => self.open_something(),
            55..=61 => {
                let party = self.party();
                self.world.crash(&party);
                let delay = Duration::from_millis(self.world.chance.below(20_000));
                self.world.restart_after(&party, delay);
                Ok(())
            }
            62..=67 => {
                let (one, other) = self.two();
                self.world.cut(&one, &other, true);
                Ok(())
            }
            68..=75 => {
                let (one, other) = self.two();
                self.world.cut(&one, &other, false);
                Ok(())
            }
            76..=79 => {
                self.world.cut_a_stream();
                Ok(())
            }
            80..=84 => {
                self.change_weather();
                Ok(())
            }
            85..=88 => {
                let party = self.party();
                let how = *self.world.chance.pick(&[
                    None,
                    None,
                    Some(CommitFailure::NoSpace),
                    Some(CommitFailure::Unknown),
                ]);
                self.world.node(&party).disk.fail(how);
                Ok(())
            }
            89..=90 => {
                const TEN_YEARS: i64 = 10 * 365 * 86_400_000;
                let party = self.party();
                self.world.node(&party).clock_error =
                    *self.world.chance.pick(&[0, 5_000, -TEN_YEARS, TEN_YEARS]);
                Ok(())
            }
            91..=93 => self.renew(),
            94..=95 => self.revoke_an_officer(),
            96..=97 => {
                let (party, number) = (self.party(), 2 + self.world.chance.below(3));
                self.enrol(&party, number)
            }
            _ => {
                let (one, peer) = self.two();
                let request = self.world.request();
                self.world.input(&one, Input::LineTest { request, peer })
            }
        }
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
        let precedence = *self.world.chance.pick(Precedence::ALL);
        let content = self.some_content(&party);
        let dispatch = self.world.scene.dispatch(&party, precedence, content);
        let document = fixtures::signed(&dispatch, &fixtures::officer_key(&party, number));
        self.world.witness.hands_in(&party, document.id());
        self.documents.push((party.clone(), document.clone()));
        self.append(&party, document)
    }

    fn hand_in_again(&mut self) -> Result<(), Broken> {
        if self.documents.is_empty() {
            return Ok(());
        }
        let (party, document) = self.world.chance.pick(&self.documents.clone()).clone();
        self.append(&party, document)
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
            2 => SignedDocument::unsigned(statement.render()),
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
        let old = self.world.scene.card(&party, serial).id();
        self.world.renew(&party)?;
        if self.world.chance.percent(50) {
            let at = self.party();
            let request = self.world.request();
            let document = fixtures::revoke_card(&party, old, serial);
            self.world.input(&at, Input::Roster { request, document })?;
        }
        Ok(())
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

    /// Nothing disturbs any more: everything promised must come true.
    fn heal(&mut self) -> Result<(), Broken> {
        self.world.crash_per_mille = 0;
        self.world.network.heal();
        for party in self.world.scene.parties.clone() {
            self.world.node(&party).disk.fail(None);
            self.world.start(&party)?;
        }
        // Sessions that nobody told the other side are gone end with the next word or their time.
        let end = self.world.time() + Duration::from_secs(3 * 60 * 60);
        while self.world.time() < end && !self.is_settled() {
            self.world.run_until(self.world.time() + Duration::from_secs(5))?;
        }
        self.check_healed()
    }

    fn is_settled(&mut self) -> bool {
        let parties = self.world.scene.parties.clone();
        let writing = parties.iter().any(|party| self.world.node(party).disk.is_writing());
        !writing && self.disagreement().is_none()
    }

    /// What two nodes still see differently, or owe each other.
    fn disagreement(&self) -> Option<String> {
        let parties = &self.world.scene.parties;
        let first = self.world.channel(parties.first()?)?;
        let judged = witness::judgements(first.transcript());
        for party in parties {
            let Some(channel) = self.world.channel(party) else { return Some(format!("{party} is down")) };
            let here = witness::judgements(channel.transcript());
            if here != judged {
                let missing: Vec<&EntryHash> =
                    judged.keys().filter(|hash| !here.contains_key(hash)).collect();
                let more: Vec<&EntryHash> = here.keys().filter(|hash| !judged.contains_key(hash)).collect();
                return Some(format!("{party} lacks {missing:?}, has {more:?} more"));
            }
            if let Some(unchained) = here.values().find(|(_, chained, _)| !chained) {
                return Some(format!("{party} has an entry without what is before it: {unchained:?}"));
            }
            for peer in parties.iter().filter(|peer| *peer != party) {
                if channel.owed_to(peer) > 0 {
                    return Some(format!("{party} owes {} entries to {peer}", channel.owed_to(peer)));
                }
                let stated = witness::opened_by(channel, party);
                let Some(other) = self.world.channel(peer) else { continue };
                let lost = stated.difference(&witness::opened_by(other, party)).count();
                if lost > 0 && parties.len() == 2 {
                    return Some(format!("{lost} entries that {party} opened are not known so to {peer}"));
                }
            }
        }
        None
    }

    fn check_healed(&self) -> Result<(), Broken> {
        if let Some(disagreement) = self.disagreement() {
            return Err(Broken(format!("not healed: {disagreement}")));
        }
        for (party, document) in self.world.witness.recorded() {
            for reader in &self.world.scene.parties {
                let held = self.world.channel(reader).is_some_and(|channel| {
                    channel.transcript().entries_of(document).any(|node| node.head.party == *party)
                });
                if !held {
                    return Err(Broken(format!("{document:?}, recorded at {party}, never reached {reader}")));
                }
            }
        }
        Ok(())
    }
}
