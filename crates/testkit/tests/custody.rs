//! Custody, step by step: what goes to a mediator and when, what its word covers, and what a mediator keeps.

use std::time::Duration;

use demarche_protocol::{
    channel::{Event, Frame, Input},
    codec,
    custody::{
        Keeper, Kept, NotKept, SignedStatement, Stated, Statement, ToCapital, ToMediator, Turned,
        message::{Keeps, Refused},
    },
    dispatch::Precedence,
    envelope::{Envelope, Recipient, Salt},
    hash::{EntryHash, EnvelopeHash},
    identity::{
        card::{Card, CardSerial},
        keys::SecretKey,
        member::MemberId,
        signed_prekey::{PrekeyNumber, SignedPrekey},
    },
    time::{Now, Timestamp},
    transcript::Head,
};
use demarche_testkit::{
    fixtures::{self, DRAFTED, NodeKeys, Scene},
    forger,
    table::{Deposit, Table},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

const SALT: Salt = Salt([5; 32]);
const SECOND: Duration = Duration::from_secs(1);

/// Two capitals that know each other and the mediators' cards, whose first is connected to every mediator and to nobody else.
struct Desk {
    table: Table,
    me: MemberId,
    peer: MemberId,
    mediators: Vec<MemberId>,
    envelopes: u64,
}

impl Desk {
    fn new(mediators: &[&str]) -> Self {
        let mut table = Table::with(Scene::with_mediators(2, mediators));
        let (me, peer) = (table.party(0), table.party(1));
        table.join_all();
        table.enrol(&me, 1);
        let mediators = table.scene.mediators.clone();
        for mediator in &mediators {
            for party in [&me, &peer] {
                let request = table.request();
                let document = fixtures::mediator_card(mediator.as_str(), 1);
                table.input(party, Input::Roster { request, document });
            }
            table.settle();
            table.input(&me, Input::MediatorUp { mediator: mediator.clone() });
        }
        Self { table, me, peer, mediators, envelopes: 0 }
    }

    fn apart(mediators: &[&str]) -> Self {
        let mut desk = Self::new(mediators);
        desk.table.part(&desk.me.clone());
        desk
    }

    fn write(&mut self, precedence: Precedence, text: &str) -> Head {
        let statement = self.table.scene.statement(&self.me, precedence, text);
        self.table.append(&self.me.clone(), &statement)
    }

    fn deposits(&self) -> &[Deposit] {
        &self.table.at(&self.me).deposits
    }

    fn held(&self, at: usize) -> Vec<EntryHash> {
        entries(&self.deposits()[at].frames)
    }

    fn sign(&self, by: &MemberId, envelope: EnvelopeHash, says: Stated) -> SignedStatement {
        let statement = Statement::new(
            self.table.scene.channel(),
            envelope,
            (by.clone(), CardSerial(1)),
            self.table.now(by).wall,
            says,
        );
        statement.sign(&NodeKeys::of(by.as_str(), 1).node)
    }

    /// The mediator of a deposit says that it keeps it, under a new name.
    fn keep(&mut self, at: usize) -> EnvelopeHash {
        self.envelopes += 1;
        let envelope = EnvelopeHash::of(&self.envelopes.to_be_bytes());
        let content = SALT.content(self.held(at).into_iter());
        let (from, to) = (self.me.clone(), self.peer.clone());
        let says = Stated::Kept { from, to, content, until: DRAFTED };
        let Deposit { parcel, mediator, .. } = &self.deposits()[at];
        let statement = self.sign(mediator, envelope, says);
        let keeps = Keeps { statement, used: 1 };
        let input = Input::ParcelKept { parcel: *parcel, salt: SALT, keeps };
        self.table.input(&self.me.clone(), input);
        self.table.settle();
        envelope
    }

    fn end(&mut self, by: &MemberId, envelope: EnvelopeHash, says: Stated) {
        let statement = self.sign(by, envelope, says);
        let mediator = self.mediators[0].clone();
        self.table.input(&self.me.clone(), Input::CustodyEnded { mediator, statement });
        self.table.settle();
    }
}

fn entries(frames: &[Frame]) -> Vec<EntryHash> {
    let hash = |frame: &Frame| match frame {
        Frame::Entry(item) => Some(forger::head(item).hash),
        _ => None,
    };
    frames.iter().filter_map(hash).collect()
}

#[test]
fn what_is_confirmed_in_time_is_never_deposited() {
    let mut desk = Desk::new(&["muscat"]);
    for number in 0..20 {
        desk.write(Precedence::Routine, &format!("number {number}"));
        desk.table.pass(SECOND);
    }
    desk.table.pass(600 * SECOND);
    assert!(desk.deposits().is_empty());
}

/// The peer cannot be reached: after two seconds what is owed goes to every mediator, once, and what is under way or kept is not repeated.
#[test]
fn what_cannot_be_delivered_goes_to_every_mediator_once() {
    let mut desk = Desk::apart(&["muscat", "berne"]);
    let entry = desk.write(Precedence::Flash, "first");
    desk.table.pass(SECOND);
    assert!(desk.deposits().is_empty(), "it has its time");
    desk.table.pass(2 * SECOND);
    let with: Vec<&MemberId> = desk.deposits().iter().map(|deposit| &deposit.mediator).collect();
    let mut all = desk.mediators.clone();
    all.sort();
    assert_eq!(with, all.iter().collect::<Vec<_>>());
    assert_eq!((desk.held(0), desk.held(1)), (vec![entry.hash], vec![entry.hash]));
    desk.table.pass(20 * SECOND);
    assert_eq!(desk.deposits().len(), 2, "it waits for the answers");
    desk.keep(0);
    desk.keep(1);
    let seat = desk.table.at(&desk.me);
    let told = seat.events.iter().filter(|event| matches!(event, Event::InCustody { .. })).count();
    assert_eq!((told, seat.channel.evidence().custody_of(&entry.hash).count()), (2, 2));
    desk.table.restart(&desk.me.clone());
    for mediator in desk.mediators.clone() {
        desk.table.input(&desk.me.clone(), Input::MediatorUp { mediator });
    }
    desk.table.pass(3600 * SECOND);
    assert!(desk.deposits().is_empty(), "what is kept is known after a restart");
    let second = desk.write(Precedence::Flash, "second");
    assert_eq!(desk.held(0), [second.hash], "late with what is owed before it, and only what is new");
}

/// M14: a line that takes and never answers is found out by its silence, and one that comes and goes does not put it off for ever.
#[test]
fn m14_a_line_that_confirms_nothing_is_late() {
    let mut desk = Desk::apart(&["muscat"]);
    let (me, peer) = (desk.me.clone(), desk.peer.clone());
    desk.table.join_by_hand(&me, &peer);
    desk.write(Precedence::Flash, "into silence");
    desk.table.pass(SECOND);
    assert!(desk.deposits().is_empty());
    desk.table.pass(10 * SECOND);
    assert_eq!(desk.deposits().len(), 1);

    let mut desk = Desk::apart(&["muscat"]);
    desk.write(Precedence::Flash, "over a line that comes and goes");
    for _ in 0..20 {
        desk.table.join_by_hand(&me, &peer);
        desk.table.pass(SECOND);
        desk.table.input(&me, Input::PathDown { peer: peer.clone() });
        desk.table.pass(SECOND / 2);
    }
    assert_eq!(desk.deposits().len(), 1);
}

/// M16: a mediator signs and loses. What it signed for is never called delivered, and is sent when the peer is there.
#[test]
fn m16_what_a_mediator_signed_for_and_lost_is_still_owed() {
    let mut desk = Desk::apart(&["muscat"]);
    let entry = desk.write(Precedence::Flash, "trusted to muscat");
    desk.table.pass(3 * SECOND);
    desk.keep(0);
    let (me, peer) = (desk.me.clone(), desk.peer.clone());
    assert_eq!(desk.table.at(&me).channel.owed_to(&peer), 1);
    assert_eq!(desk.table.at(&me).channel.evidence().of(&entry.hash).count(), 0);
    desk.table.join(&me, &peer);
    assert_eq!(desk.table.at(&me).channel.owed_to(&peer), 0);
    assert_eq!(desk.table.times_sent(&me, &peer, &entry), 1);
}

/// T9: the recipient has collected and its disk is lost: without a receipt the entry is deposited again, and again.
#[test]
fn t9_what_was_collected_and_not_receipted_is_deposited_again() {
    let mut desk = Desk::apart(&["muscat"]);
    let entry = desk.write(Precedence::Flash, "collected");
    desk.table.pass(3 * SECOND);
    let peer = desk.peer.clone();
    for (round, wait) in [60, 120, 240, 480, 600, 600].into_iter().enumerate() {
        assert_eq!(desk.deposits().len(), round + 1);
        let envelope = desk.keep(round);
        desk.end(&peer, envelope, Stated::Collected { all: true });
        desk.table.pass((wait - 1) * SECOND);
        assert_eq!(desk.deposits().len(), round + 1, "round {round}: a receipt may be on its way");
        desk.table.pass(2 * SECOND);
        assert_eq!(desk.held(round + 1), [entry.hash]);
    }
    let noted = desk.table.at(&desk.me).told.iter().filter(|(_, told)| matches!(told, ToMediator::Noted(_)));
    assert_eq!(noted.count(), 6);
}

/// What has expired, or could not be opened, is deposited again; to the newest prekey.
#[test]
fn what_did_not_arrive_is_sealed_again() {
    let mut desk = Desk::apart(&["muscat"]);
    let entry = desk.write(Precedence::Flash, "again");
    desk.table.pass(3 * SECOND);
    let (me, peer, muscat) = (desk.me.clone(), desk.peer.clone(), desk.mediators[0].clone());
    let envelope = desk.keep(0);
    let says = Stated::Expired { from: me.clone(), to: peer.clone(), since: DRAFTED };
    desk.end(&peer, envelope, says.clone());
    assert_eq!(desk.deposits().len(), 1, "the recipient cannot say that its time is over");
    desk.end(&muscat, envelope, says);
    assert_eq!(desk.held(1), [entry.hash]);
    assert_eq!(desk.deposits()[1].to.number, PrekeyNumber::OF_CARD);

    let envelope = desk.keep(1);
    let card = desk.table.scene.card(&peer, 1);
    let node = NodeKeys::of(peer.as_str(), 1).node;
    let prekey = fixtures::prekey().public();
    let newest = SignedPrekey::publish(&card, PrekeyNumber(3), &prekey, &node);
    desk.table.input(&me, Input::Prekey { prekey: newest.clone() });
    desk.end(&peer, envelope, Stated::Unopenable { newest: Some(newest) });
    desk.table.pass(31 * SECOND);
    assert_eq!((desk.held(2), desk.deposits()[2].to.number), (vec![entry.hash], PrekeyNumber(3)));
}

/// What came in an envelope is receipted in one, and *collected* is said when it is durable and no sooner.
#[test]
fn what_is_collected_is_durable_and_receipted_by_custody() {
    let mut desk = Desk::apart(&["muscat"]);
    desk.write(Precedence::Flash, "to be collected");
    desk.table.pass(3 * SECOND);
    let (peer, muscat) = (desk.peer.clone(), desk.mediators[0].clone());
    let frames = desk.deposits()[0].frames.clone();
    desk.table.input(&peer, Input::MediatorUp { mediator: muscat.clone() });
    desk.table.at_mut(&peer).holds_commits = true;
    let opened = Some(frames.into_iter().map(Ok).collect());
    let envelope = EnvelopeHash::of(b"envelope");
    desk.table.input(&peer, Input::Envelope { from: Some(muscat), envelope, opened });
    let ended = |desk: &Desk| {
        let told = desk.table.at(&desk.peer).told.iter();
        told.filter(|(_, told)| matches!(told, ToMediator::Ended(_))).count()
    };
    assert_eq!(ended(&desk), 0);
    desk.table.at_mut(&peer).holds_commits = false;
    desk.table.settle();
    assert_eq!(ended(&desk), 1);
    let receipts = &desk.table.at(&peer).deposits[0].frames;
    assert!(matches!(receipts[..], [Frame::Receipt(_)]), "{receipts:?}");
}

/// The last quarter of a mediator's custody is left to what is urgent.
#[test]
fn a_nearly_full_custody_is_left_to_what_is_urgent() {
    let mut desk = Desk::apart(&["muscat"]);
    desk.write(Precedence::Routine, "before it was full");
    desk.table.pass(3 * SECOND);
    let (me, used) = (desk.me.clone(), 250 << 20);
    let parcel = desk.deposits()[0].parcel;
    desk.table.input(&me, Input::ParcelRefused { parcel, why: NotKept::Full { used, quota: 256 << 20 } });
    desk.write(Precedence::Routine, "waits");
    let flash = desk.write(Precedence::Flash, "goes");
    desk.table.pass(60 * SECOND);
    assert_eq!((desk.deposits().len(), desk.held(1)), (2, vec![flash.hash]));
}

/// A mediator's keeper, with what it is told.
struct Office {
    scene: Scene,
    keeper: Keeper,
    disk: Vec<(EnvelopeHash, Kept)>,
    rng: ChaCha20Rng,
    now: u64,
}

impl Office {
    fn new(quota: u64) -> Self {
        let policy = demarche_protocol::charter::Policy {
            custody: demarche_protocol::charter::policy::Size(quota),
            ..demarche_protocol::charter::Policy::default()
        };
        let scene = Scene::with_policy(2, policy);
        let keeper = Self::keeper(&scene);
        Self { scene, keeper, disk: Vec::new(), rng: ChaCha20Rng::seed_from_u64(1), now: 0 }
    }

    fn keeper(scene: &Scene) -> Keeper {
        let key = NodeKeys::of("muscat", 1).node;
        Keeper::new(&scene.charter, &scene.mediator_card(&scene.mediator), key)
    }

    fn now(&self) -> Now {
        let monotonic = Duration::from_millis(self.now);
        Now { monotonic, wall: Timestamp::from_millis(DRAFTED.as_millis() + self.now) }
    }

    fn envelope(&mut self) -> Envelope {
        let prekey = fixtures::prekey().public();
        let to = Recipient {
            channel: self.scene.channel(),
            member: &self.scene.parties[1],
            card: CardSerial(1),
            number: PrekeyNumber::OF_CARD,
            prekey: &prekey,
        };
        Envelope::seal(&to, &[], &mut self.rng).unwrap().0
    }

    fn turn(&mut self, turned: Turned) -> Option<(MemberId, ToCapital)> {
        match turned {
            Turned::Nothing => None,
            Turned::Answer(answer) => Some((self.scene.parties[0].clone(), answer)),
            Turned::Change(change) => {
                let name = change.name();
                self.disk.retain(|(kept, _)| *kept != name);
                if let Some(kept) = change.kept() {
                    self.disk.push((name, codec::decode(&codec::encode(kept)).unwrap()));
                }
                self.keeper.apply(change)
            }
        }
    }

    fn deposit(&mut self, envelope: Envelope) -> ToCapital {
        self.now += 1;
        let turned = self.keeper.deposit(self.now(), &self.scene.parties[0], envelope);
        self.turn(turned).unwrap().1
    }

    fn restart(&mut self) {
        self.keeper = Self::keeper(&self.scene);
        for (name, kept) in &self.disk {
            assert!(kept.is_of(*name));
            self.keeper.restore(*name, kept);
        }
    }

    fn card(&self, at: usize) -> Card {
        Card::clone(&self.scene.card(&self.scene.parties[at], 1))
    }

    fn ended(&self, by: usize, name: EnvelopeHash, says: Stated, key: &SecretKey) -> SignedStatement {
        let by = (self.scene.parties[by].clone(), CardSerial(1));
        Statement::new(self.scene.channel(), name, by, self.now().wall, says).sign(key)
    }
}

#[test]
fn a_mediator_keeps_to_its_quota_and_says_how_much_is_used() {
    let mut office = Office::new(12 << 10);
    let mut names = Vec::new();
    let refused = loop {
        let envelope = office.envelope();
        names.push(envelope.hash());
        match office.deposit(envelope) {
            ToCapital::Kept(_) => {}
            ToCapital::Refused(Refused { why, .. }) => break why,
            other => panic!("{other:?}"),
        }
    };
    let kept = names.len() - 1;
    assert!(
        kept > 1 && matches!(refused, NotKept::Full { used, quota } if used < quota && quota == 12 << 10)
    );
    let tehran = office.scene.parties[1].clone();
    assert_eq!(office.keeper.next(&tehran), Some(names[kept - 1]), "the newest first");
    office.restart();
    assert_eq!((office.keeper.next(&tehran), office.keeper.waiting(&tehran)), (Some(names[kept - 1]), kept));

    // Deposited again it is answered as before, whatever the time is now.
    let again = office.envelope();
    assert!(matches!(office.deposit(again), ToCapital::Refused(_)), "still full");
    let turned = office.keeper.deposit(office.now(), &tehran, office.scene_envelope_back());
    assert!(matches!(turned, Turned::Answer(ToCapital::Refused(Refused { why: NotKept::NotServed, .. }))));
}

impl Office {
    /// The newest envelope, as its recipient might give it back.
    fn scene_envelope_back(&self) -> Envelope {
        match &self.disk.last().unwrap().1 {
            Kept::Waits { envelope, .. } => envelope.clone(),
            Kept::Ended { .. } => panic!("it waits"),
        }
    }
}

#[test]
fn an_envelope_ends_once_by_its_recipients_word_and_is_forgotten_when_that_is_noted() {
    let mut office = Office::new(1 << 20);
    let envelope = office.envelope();
    let name = envelope.hash();
    let ToCapital::Kept(first) = office.deposit(envelope.clone()) else { panic!("it is kept") };
    let ToCapital::Kept(again) = office.deposit(envelope.clone()) else { panic!("it is kept") };
    assert_eq!(first, again, "the same bytes");
    let (washington, tehran) = (office.scene.parties[0].clone(), office.scene.parties[1].clone());
    let keys = [&washington, &tehran].map(|party| NodeKeys::of(party.as_str(), 1).node);
    let collected = Stated::Collected { all: true };

    let by_depositor = office.ended(0, name, collected.clone(), &keys[0]);
    assert!(matches!(office.keeper.ended(&office.card(0), &by_depositor), Ok(Turned::Nothing)));
    let forged = office.ended(1, name, collected.clone(), &keys[0]);
    assert!(office.keeper.ended(&office.card(1), &forged).is_err());
    let expired = Stated::Expired { from: washington.clone(), to: tehran.clone(), since: DRAFTED };
    let not_his = office.ended(1, name, expired, &keys[1]);
    assert!(matches!(office.keeper.ended(&office.card(1), &not_his), Ok(Turned::Nothing)));

    let good = office.ended(1, name, collected, &keys[1]);
    let turned = office.keeper.ended(&office.card(1), &good).unwrap();
    assert_eq!(office.turn(turned), Some((washington.clone(), ToCapital::Ended(good.clone()))));
    assert_eq!(office.keeper.next(&tehran), None);
    office.restart();
    assert_eq!(office.keeper.to_note(&washington).collect::<Vec<_>>(), [ToCapital::Ended(good.clone())]);
    assert_eq!(office.deposit(envelope), ToCapital::Ended(good), "deposited again, it is told how it ended");
    assert!(matches!(office.keeper.noted(&tehran, name), Turned::Nothing), "its depositor notes it");
    let turned = office.keeper.noted(&washington, name);
    assert!(office.turn(turned).is_none() && office.disk.is_empty());
}

/// S3: what is kept is kept for its time by the mediator's clock; then its end is signed, and nothing is dropped in silence.
#[test]
fn what_nobody_collects_expires_and_that_is_signed() {
    let mut office = Office::new(1 << 20);
    let envelope = office.envelope();
    let name = envelope.hash();
    office.deposit(envelope);
    assert!(office.keeper.expires(office.now()).is_none());
    office.now += 31 * 86_400_000;
    let change = office.keeper.expires(office.now()).expect("its time is over");
    let (to, told) = office.turn(Turned::Change(change)).unwrap();
    let ToCapital::Ended(signed) = told else { panic!("{told:?}") };
    let node = office.scene.mediator_card(&office.scene.mediator).node;
    let statement = signed.verify(office.scene.channel(), &node).unwrap();
    assert_eq!((to, statement.envelope), (office.scene.parties[0].clone(), name));
    assert!(matches!(statement.says, Stated::Expired { .. }));
    assert!(office.keeper.expires(office.now()).is_none());
}
