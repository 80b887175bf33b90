use demarche_protocol::dispatch::Content;
use demarche_testkit::{fixtures, table::Table};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Two parties at a table with a clock of its own, and what the first says to the second.
struct Play {
    table: Table,
    washington: MemberId,
    tehran: MemberId,
}

impl Play {
    fn new() -> Self {
        let (table, all) = Table::line(2);
        Self { table, washington: all[0].clone(), tehran: all[1].clone() }
    }

    fn apart() -> Self {
        let mut play = Self::new();
        play.table.part(&play.tehran.clone());
        play
    }

    fn say(&mut self, precedence: Precedence, content: Content) -> Head {
        self.say_as(&self.washington.clone(), precedence, content)
    }

    fn say_as(&mut self, party: &MemberId, precedence: Precedence, content: Content) -> Head {
        let dispatch = self.table.scene.dispatch(party, precedence, content);
        let document = fixtures::signed(&dispatch, &fixtures::officer_key(party, 1));
        self.table.append(party, &document)
    }

    fn document(&self, head: &Head) -> DocumentId {
        self.table.at(&self.washington).channel.transcript().get(&head.hash).unwrap().document
    }

    fn open(&mut self, head: &Head) {
        self.table.open(&self.tehran.clone(), head);
        self.table.settle();
    }

    /// What is due at a party's node for dispatches, and whether somebody must look now.
    fn at(&self, party: &MemberId) -> Vec<(Cause, bool)> {
        let (channel, now) = (&self.table.at(party).channel, self.table.now(party).wall);
        let dues = ground(channel, now).dues();
        dues.iter().map(|due| (due.cause, due.calls_at() <= now)).collect()
    }

    fn here(&self) -> Vec<(Cause, bool)> {
        self.at(&self.washington)
    }

    fn there(&self) -> Vec<(Cause, bool)> {
        self.at(&self.tehran)
    }
}

fn ground(channel: &demarche_protocol::channel::Channel, now: Timestamp) -> Ground<'_> {
    Ground {
        transcript: channel.transcript(),
        evidence: channel.evidence(),
        me: channel.me(),
        card: channel.card().serial,
        now,
    }
}

/// FLASH: 2 minutes to be delivered, 10 to be acknowledged. At every step it is the nearest silence alone.
#[test]
fn a_notice_is_due_to_be_delivered_opened_and_acknowledged_in_the_charters_time() {
    let mut play = Play::apart();
    let notice = play.say(Precedence::Flash, fixtures::breach("boarded"));
    assert_eq!(play.here(), [(Cause::Undelivered, false)]);
    play.table.pass(Duration::from_millis(119_999));
    assert_eq!(play.here(), [(Cause::Undelivered, false)]);
    play.table.pass(Duration::from_millis(1));
    assert_eq!(play.here(), [(Cause::Undelivered, true)]);
    assert_eq!(play.there(), []);

    play.table.join_all();
    play.table.settle();
    assert_eq!(play.here(), [(Cause::Unopened, false)]);
    assert_eq!(play.there(), [(Cause::UrgentArrival, true)], "at once");
    play.table.pass(11 * MINUTE);
    assert_eq!(play.here(), [(Cause::Unopened, true)]);
    assert_eq!(play.there(), [(Cause::UnopenedHere, true)]);

    play.open(&notice);
    assert_eq!(play.here(), [(Cause::Unacknowledged, true)]);
    assert_eq!(play.there(), [(Cause::UnacknowledgedHere, true)]);

    let of = play.document(&notice);
    play.say_as(&play.tehran.clone(), Precedence::Flash, fixtures::acknowledgement(of));
    play.table.settle();
    assert_eq!((play.here(), play.there()), (vec![], vec![]));
}

#[test]
fn what_is_opened_in_time_waits_for_its_acknowledgement_until_the_same_moment() {
    let mut play = Play::new();
    let notice = play.say(Precedence::Flash, fixtures::breach("boarded"));
    play.table.settle();
    play.open(&notice);
    assert_eq!(play.here(), [(Cause::Unacknowledged, false)]);
    assert_eq!(play.there(), [(Cause::UnacknowledgedHere, false)], "it calls nobody who has opened it");
    play.table.pass(11 * MINUTE);
    assert_eq!(
        (play.here(), play.there()),
        (vec![(Cause::Unacknowledged, true)], vec![(Cause::UnacknowledgedHere, true)])
    );
    // Whoever takes a position has understood it.
    let case = play.document(&notice);
    play.say_as(&play.tehran.clone(), Precedence::Routine, fixtures::reply(case, "We look into it."));
    play.table.settle();
    assert_eq!(play.here(), [(Cause::UnopenedHere, false)], "the reply, which is theirs to be read");
    assert_eq!(play.there(), [(Cause::Unopened, false)]);
}

#[test]
fn each_precedence_has_its_time_and_only_the_urgent_call_at_once() {
    for (precedence, minutes, at_once) in [
        (Precedence::Flash, 10, true),
        (Precedence::Immediate, 60, true),
        (Precedence::Priority, 6 * 60, false),
        (Precedence::Routine, 24 * 60, false),
    ] {
        let mut play = Play::new();
        play.say(precedence, fixtures::statement("hear"));
        play.table.settle();
        let before = if at_once { Cause::UrgentArrival } else { Cause::UnopenedHere };
        assert_eq!((play.here(), play.there()), (vec![(Cause::Unopened, false)], vec![(before, at_once)]));
        play.table.pass((2 * minutes - 1) * MINUTE / 2);
        assert_eq!((play.here(), play.there()), (vec![(Cause::Unopened, false)], vec![(before, at_once)]));
        play.table.pass(MINUTE);
        assert_eq!(
            (play.here(), play.there()),
            (vec![(Cause::Unopened, true)], vec![(Cause::UnopenedHere, true)]),
            "{precedence}"
        );
    }
}

/// A statement asks for no acknowledgement; an acknowledgement not even to be opened.
#[test]
fn only_a_notice_asks_for_an_acknowledgement() {
    let mut play = Play::new();
    let said = play.say(Precedence::Flash, fixtures::statement("hear"));
    play.table.settle();
    play.open(&said);
    play.table.pass(60 * MINUTE);
    assert_eq!((play.here(), play.there()), (vec![], vec![]));
    let of = play.document(&said);
    play.table.part(&play.tehran.clone());
    play.say_as(&play.tehran.clone(), Precedence::Flash, fixtures::acknowledgement(of));
    play.table.pass(2 * MINUTE);
    assert_eq!(play.there(), [(Cause::Undelivered, true)]);
    play.table.join_all();
    play.table.settle();
    play.table.pass(60 * MINUTE);
    assert_eq!((play.here(), play.there()), (vec![], vec![]));
}

/// S3: a peer's clock decides nothing here: no receipt from the future puts a deadline off, and none from the past brings it on.
#[test]
fn s3_a_peers_wrong_clock_neither_hurries_nor_excuses_it() {
    for error in [365 * 86_400_000, -365 * 86_400_000] {
        let mut play = Play::new();
        play.table.at_mut(&play.tehran.clone()).clock_error = error;
        play.say(Precedence::Flash, fixtures::breach("boarded"));
        play.table.settle();
        play.table.pass(9 * MINUTE);
        assert_eq!(play.here(), [(Cause::Unopened, false)], "{error}");
        play.table.pass(2 * MINUTE);
        assert_eq!(play.here(), [(Cause::Unopened, true)], "{error}");
    }
}

/// What comes late has the whole of its time from then on.
#[test]
fn the_time_to_acknowledge_begins_with_delivery() {
    let mut play = Play::apart();
    play.say(Precedence::Flash, fixtures::breach("boarded"));
    play.table.pass(180 * MINUTE);
    play.table.join_all();
    play.table.settle();
    play.table.pass(9 * MINUTE);
    assert_eq!(play.here(), [(Cause::Unopened, false)]);
    play.table.pass(2 * MINUTE);
    assert_eq!(play.here(), [(Cause::Unopened, true)]);
}

/// Every party by itself: one that has acknowledged does not speak for another that has not even got it.
#[test]
fn each_of_several_parties_owes_its_own() {
    let (mut table, all) = Table::line(3);
    table.part(&all[2]);
    let dispatch = table.scene.dispatch(&all[0], Precedence::Flash, fixtures::breach("boarded"));
    let head = table.append(&all[0], &fixtures::signed(&dispatch, &fixtures::officer_key(&all[0], 1)));
    table.settle();
    table.open(&all[1], &head);
    table.settle();
    let channel = &table.at(&all[0]).channel;
    let dues = ground(channel, table.now(&all[0]).wall).dues();
    let dues: Vec<_> = dues.iter().map(|due| (due.cause, due.peer.clone())).collect();
    assert_eq!(dues, [(Cause::Unacknowledged, all[1].clone()), (Cause::Undelivered, all[2].clone())]);
}

#[test]
fn what_is_void_is_due_for_nothing() {
    let mut play = Play::new();
    let dispatch =
        play.table.scene.dispatch(&play.washington, Precedence::Flash, fixtures::breach("by nobody"));
    let document = fixtures::signed(&dispatch, &fixtures::officer_key(&play.washington, 9));
    let mut pen = demarche_testkit::forger::Forger::new(&play.table.scene, &play.washington, 1);
    let own = play.table.at(&play.washington).records.clone();
    for record in own {
        if let demarche_protocol::channel::Record::Entry(item) = record
            && item.entry.claims().unwrap().party == play.washington
        {
            pen.goes_on_from(&item);
        }
    }
    let frame = demarche_protocol::channel::Frame::Entry(pen.write(&document));
    play.table.read(&play.tehran.clone(), &play.washington.clone(), frame);
    play.table.settle();
    assert_eq!(play.there(), []);
}

/// A renewed card changes nothing; a lost disk, whose log comes back and not what was opened, calls nobody a second time.
#[test]
fn what_was_here_before_a_loss_calls_nobody_again_and_a_new_card_takes_no_call_back() {
    let mut play = Play::new();
    let (washington, tehran) = (play.washington.clone(), play.tehran.clone());
    play.say(Precedence::Flash, fixtures::statement("come and look"));
    play.table.settle();
    // Its own log names what it has seen.
    play.say_as(&tehran, Precedence::Routine, fixtures::statement("ours"));
    play.table.settle();
    assert_eq!(play.there(), [(Cause::Unopened, false), (Cause::UrgentArrival, true)]);
    let whole = play.table.at(&tehran).records.clone();
    play.table.seat(&tehran, whole, 2);
    play.table.join_all();
    play.table.settle();
    assert_eq!(play.there(), [(Cause::Unopened, false), (Cause::UrgentArrival, true)], "only renewed");

    let mut play = Play::new();
    play.say(Precedence::Flash, fixtures::statement("come and look"));
    play.table.settle();
    play.say_as(&tehran, Precedence::Routine, fixtures::statement("ours"));
    play.table.settle();
    play.table.seat(&tehran, Vec::new(), 2);
    play.table.join(&washington, &tehran);
    play.table.pass(MINUTE);
    let own = play.table.at(&tehran).channel.transcript().log(&tehran).unwrap().in_order().count();
    assert!(own > 2, "its log is back: {own}");
    let theirs = play.table.at(&tehran).channel.transcript().log(&washington).unwrap().in_order().count();
    assert!(theirs > 2, "and so is what it had seen: {theirs}");
    assert_eq!(play.there(), [], "what it had said itself is disowned");
}
