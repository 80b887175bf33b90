use super::*;

const BEGIN: Timestamp = Timestamp::from_millis(1_793_491_200_000);

fn at(seconds: u64) -> Now {
    let monotonic = Duration::from_secs(seconds);
    Now { monotonic, wall: BEGIN.plus(monotonic) }
}

fn book() -> Book {
    Book::new(at(0), Saved::default())
}

fn channel(number: u8) -> ChannelId {
    ChannelId::from_bytes([number; 32])
}

fn of(cause: Cause) -> About {
    About { cause, channel: Some(channel(1)), peer: None, entry: None }
}

fn about(cause: Cause, entry: u8) -> About {
    let peer = Some("tehran".parse().unwrap());
    About { peer, entry: Some(EntryHash::from_bytes([entry; 32])), ..of(cause) }
}

fn finding(about: About, times: u64) -> Finding {
    let detail = format!("{times} of them");
    Finding { about, serial: None, detail, due: None, since: BEGIN, times, header: None }
}

fn found(all: &[(About, u64)]) -> Found {
    let now = all.iter().map(|(about, times)| finding(about.clone(), *times)).collect();
    Found { now, ..Found::default() }
}

/// What is told: number, and whether it calls, is taken, or is over.
fn told(book: &mut Book) -> Vec<(u64, &'static str)> {
    let word = |alarm: &Alarm| match (alarm.over, &alarm.taken) {
        (Some(_), _) => "over",
        (None, Some(_)) => "taken",
        (None, None) => "calls",
    };
    book.drain().iter().map(|told| (told.alarm.number, word(&told.alarm))).collect()
}

/// T5: whatever a peer makes happen again and again, each cause stands once, with its count, and is told once a minute.
#[test]
fn t5_a_flood_of_one_alarm_hides_no_other() {
    let mut book = book();
    book.raise(at(0), of(Cause::NeedsNewCard), "this node stops writing".to_owned());
    for number in 0..1000 {
        book.raise(at(1), of(Cause::Fork), format!("fork {number}"));
        book.raise(at(1), of(Cause::DiskFull), "the disk is full".to_owned());
    }
    let alarms = book.list();
    let counts: Vec<_> = alarms.iter().map(|alarm| (alarm.number, alarm.cause, alarm.times)).collect();
    assert_eq!(
        counts,
        [(1, Cause::NeedsNewCard, 1), (3, Cause::DiskFull, 1000), (2, Cause::Fork, 1000)],
        "the gravest first"
    );
    assert_eq!(
        (alarms[2].detail.as_str(), alarms[2].since, alarms[2].last),
        ("fork 999", at(1).wall, at(1).wall)
    );
    assert_eq!(told(&mut book), [(1, "calls"), (2, "calls"), (3, "calls")]);
}

#[test]
fn an_alarm_is_told_every_minute_until_somebody_takes_it() {
    let mut book = book();
    book.raise(at(0), of(Cause::Fork), "fork".to_owned());
    assert_eq!(told(&mut book), [(1, "calls")]);
    book.call(at(59));
    assert_eq!(told(&mut book), []);
    for minute in 1..5 {
        book.call(at(minute * 60));
        assert_eq!(told(&mut book), [(1, "calls")], "minute {minute}");
    }
    let taken = book.take(at(250), &[1], "A. Watch").unwrap();
    assert_eq!(taken[0].taken, Some(Taken { by: "A. Watch".to_owned(), at: at(250).wall }));
    assert_eq!(told(&mut book), [(1, "taken")]);
    book.raise(at(400), of(Cause::Fork), "and again".to_owned());
    book.call(at(500));
    assert_eq!(told(&mut book), [], "it is somebody's");
    assert_eq!((book.list()[0].times, book.count().standing, book.count().taken), (2, 1, 1));
}

#[test]
fn what_is_over_calls_nobody_and_what_comes_again_is_counted_and_nobodys() {
    let mut book = book();
    let full = |book: &mut Book, when| book.raise(at(when), of(Cause::DiskFull), "full".to_owned());
    full(&mut book, 0);
    book.over(at(1), &of(Cause::Fork));
    book.take(at(2), &[1], "A").unwrap();
    book.over(at(3), &of(Cause::DiskFull));
    assert_eq!(told(&mut book), [(1, "calls"), (1, "taken"), (1, "over")]);
    assert_eq!(book.list()[0].over, Some(at(3).wall));
    assert_eq!(book.count(), AlarmCount::default());
    assert_eq!(book.take(at(4), &[1], "A"), Err(NotThere::Over { number: 1, since: at(3).wall }));
    // No more than once a minute, however often it comes and goes.
    full(&mut book, 30);
    assert_eq!(told(&mut book), []);
    book.call(at(60));
    assert_eq!(told(&mut book), [(1, "calls")]);
    let alarm = book.list().remove(0);
    assert_eq!((alarm.times, alarm.since, alarm.over, alarm.taken), (2, at(0).wall, None, None));
}

#[test]
fn what_a_look_no_longer_finds_is_over_and_only_that() {
    let mut book = book();
    let (one, two) = (about(Cause::UrgentArrival, 1), about(Cause::Undelivered, 2));
    book.raise(at(0), of(Cause::Fork), "fork".to_owned());
    book.settle(at(1), channel(1), found(&[(one.clone(), 1), (two.clone(), 1)]));
    assert_eq!(told(&mut book), [(1, "calls"), (2, "calls"), (3, "calls")]);
    // Another channel's look says nothing of this one.
    book.settle(at(2), channel(2), Found::default());
    assert_eq!(told(&mut book), []);
    // Its time is not up any more: a clock was set back.
    book.settle(at(3), channel(1), Found { open: vec![one.clone()], ..found(&[(two.clone(), 1)]) });
    assert_eq!(told(&mut book), []);
    book.settle(at(4), channel(1), found(&[(two, 1)]));
    assert_eq!(told(&mut book), [(2, "over")]);
    book.keep_only(at(5), &[channel(2)]);
    assert_eq!(told(&mut book), [(3, "over")], "its channel is gone; a fork is one for ever");
    book.settle(at(6), channel(1), found(&[(one, 1)]));
    assert_eq!(told(&mut book), [(4, "calls")], "another silence is another alarm");
}

/// One that stands for many, and then for more than whoever took it knew of.
#[test]
fn an_alarm_for_more_than_was_taken_calls_again() {
    let mut book = book();
    let many = of(Cause::UrgentArrival);
    book.settle(at(0), channel(1), found(&[(many.clone(), 500)]));
    book.take(at(1), &[1], "A").unwrap();
    told(&mut book);
    book.settle(at(100), channel(1), found(&[(many.clone(), 300)]));
    assert_eq!(told(&mut book), []);
    book.settle(at(101), channel(1), found(&[(many, 301)]));
    assert_eq!(told(&mut book), [(1, "calls")]);
}

#[test]
fn all_are_taken_or_none_and_another_may_take_over() {
    let mut book = book();
    book.raise(at(0), of(Cause::Fork), "fork".to_owned());
    book.raise(at(0), of(Cause::Clock), "clock".to_owned());
    told(&mut book);
    assert_eq!(book.take(at(1), &[1, 7], "A"), Err(NotThere::Unknown(7)));
    assert_eq!(told(&mut book), []);
    assert_eq!(book.take(at(1), &[2, 1], "A").unwrap().len(), 2);
    assert_eq!(book.take(at(2), &[1], "A").unwrap()[0].taken.as_ref().unwrap().at, at(1).wall, "he has it");
    assert_eq!(book.take(at(3), &[1], "B").unwrap()[0].taken.as_ref().unwrap().by, "B");
    assert_eq!(told(&mut book), [(1, "taken"), (2, "taken"), (1, "taken")]);
}

/// A restart neither forgets nor repeats what was taken, and no number is given twice.
#[test]
fn what_was_taken_stays_so_after_a_restart() {
    let mut book = book();
    let (one, two) = (about(Cause::Unopened, 1), about(Cause::Unopened, 2));
    book.raise(at(0), of(Cause::DiskFull), "full".to_owned());
    book.settle(at(1), channel(1), found(&[(one.clone(), 1), (two.clone(), 1)]));
    book.take(at(2), &[2], "A").unwrap();
    let saved = serde_json::from_str(&serde_json::to_string(&book.saved()).unwrap()).unwrap();
    assert_eq!(saved, book.saved());

    let mut book = Book::new(at(1000), saved);
    book.settle(at(1001), channel(1), found(&[(one.clone(), 1), (two.clone(), 1)]));
    assert_eq!(told(&mut book), [], "whoever was told is told again in a minute");
    let numbers: Vec<_> = book.list().iter().map(|alarm| (alarm.number, alarm.taken.is_some())).collect();
    assert_eq!(numbers, [(3, false), (2, true)], "a full disk is found again when it is met");
    book.call(at(1060));
    assert_eq!(told(&mut book), [(3, "calls")]);
    book.settle(at(1061), channel(1), found(&[(one, 1)]));
    book.raise(at(1062), of(Cause::DiskFull), "full".to_owned());
    assert_eq!(told(&mut book), [(3, "over"), (4, "calls")]);
}

#[test]
fn changes_count_what_must_outlive_the_process_and_nothing_else() {
    let mut book = book();
    book.raise(at(0), of(Cause::DiskFull), "full".to_owned());
    book.take(at(0), &[1], "A").unwrap();
    book.over(at(0), &of(Cause::DiskFull));
    assert_eq!(book.changes(), 1, "its number is never given again; of the rest nothing is to be kept");
    let one = about(Cause::Unopened, 1);
    let mut last = book.changes();
    let mut changed = |book: &Book| {
        let before = std::mem::replace(&mut last, book.changes());
        last > before
    };
    book.settle(at(1), channel(1), found(&[(one.clone(), 1)]));
    assert!(changed(&book));
    book.settle(at(2), channel(1), found(&[(one.clone(), 1)]));
    book.call(at(100));
    assert!(!changed(&book));
    book.take(at(101), &[2], "A").unwrap();
    assert!(changed(&book));
    book.settle(at(102), channel(1), found(&[(one, 2)]));
    assert!(changed(&book), "it is taken no more");
    book.settle(at(103), channel(1), Found::default());
    assert!(changed(&book));
}

#[test]
fn of_what_is_over_the_last_are_listed() {
    let mut book = book();
    for number in 0..100 {
        let about = about(Cause::Fork, number);
        book.raise(at(0), about.clone(), format!("fork {number}"));
        book.over(at(0), &about);
    }
    let alarms = book.list();
    assert_eq!((alarms.len(), alarms[0].detail.as_str()), (PAST, "fork 99"));
}
