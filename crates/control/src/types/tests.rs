use serde_json::json;

use super::*;

fn header() -> serde_json::Value {
    json!({
        "channel": "memo26", "serial": "washington/7", "case": "washington/7",
        "document": "11".repeat(32), "entry": "22".repeat(32),
        "kind": "breach", "nature": "real", "precedence": "flash", "provision": "3.2", "title": "Boarding",
        "from": "washington", "officer": "Duty officer, first watch",
        "written_at": "2026-11-23T09:40:00.000Z", "recorded_at": "2026-11-23T09:40:01.002Z",
        "received_at": "2026-11-23T09:40:01.030Z",
        "state": "delivered", "effect": "accepted", "chain": "complete",
    })
}

#[test]
fn a_header_has_the_names_of_the_interface_and_no_body() {
    let read: Header = serde_json::from_value(header()).unwrap();
    assert_eq!(read.serial.to_string(), "washington/7");
    assert_eq!(serde_json::to_value(&read).unwrap(), header());
}

#[test]
fn what_is_shown_is_the_header_and_more_in_one_object() {
    let mut shown = header();
    let more = json!({
        "body": "At 09:31 …", "text": "demarche = \"dispatch/1\"\n", "signatures": [], "fields": {"place": "26N 56E"},
        "evidence": [{"kind": "delivered", "by": "tehran", "at": "2026-11-23T09:40:01.100Z", "verified": true}],
        "authority": [],
    });
    shown.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let read: Shown = serde_json::from_value(shown.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), shown);
}

#[test]
fn s3_a_peers_wild_clock_passes_through() {
    let mut wild = header();
    wild["recorded_at"] = json!("@999999999999999999ms");
    let read: Header = serde_json::from_value(wild.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), wild);
}

#[test]
fn states_are_ordered_as_steps() {
    assert!(State::Recorded < State::Custody && State::Custody < State::Delivered);
    assert!(State::Delivered < State::Opened && State::Opened < State::Acknowledged);
    assert_eq!("opened".parse(), Ok(State::Opened));
    assert!("open".parse::<State>().unwrap_err().contains("recorded, custody"));
}

#[test]
fn a_status_has_the_names_of_the_interface() {
    let status = json!({
        "party": "washington", "verdict": "line open to tehran via muscat", "level": "up",
        "channels": [{
            "name": "memo26", "channel": "33".repeat(32), "title": "Memorandum of 2026",
            "verdict": "line open to tehran via muscat", "level": "up",
            "peers": [{"party": "tehran", "state": "up", "since": "2026-11-23T09:00:00.000Z",
                       "paths": [{"via": "muscat", "state": "up", "carries": true, "rtt_ms": 0.5}], "to_deliver": 0}],
            "log": {"seq": 7, "hash": "22".repeat(32)},
        }],
        "alarms": {"standing": 1, "taken": 0, "worst": {
            "number": 3, "cause": "undelivered", "channel": "33".repeat(32), "peer": "tehran", "serial": "washington/7",
            "entry": "22".repeat(32), "detail": "FLASH breach washington/7 is not delivered to tehran",
            "due": "2026-11-23T09:42:00.000Z", "since": "2026-11-23T09:40:00.000Z", "last": "2026-11-23T09:42:00.000Z",
            "times": 1,
        }},
        "version": "0.1.0",
    });
    let read: Status = serde_json::from_value(status.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), status);
}

#[test]
fn an_alarm_calls_until_it_is_taken_or_over() {
    let whole = json!({
        "number": 3, "cause": "line-down", "detail": "the line to tehran is down: it did not answer in time",
        "since": "2026-11-23T09:40:00.000Z", "last": "2026-11-23T09:41:00.000Z", "times": 1,
        "taken": {"by": "A. Watch", "at": "2026-11-23T09:43:00.000Z"}, "over": "2026-11-23T09:44:00.000Z",
    });
    let over: Alarm = serde_json::from_value(whole.clone()).unwrap();
    assert_eq!(serde_json::to_value(&over).unwrap(), whole);
    let taken = Alarm { over: None, ..over.clone() };
    let calling = Alarm { taken: None, ..taken.clone() };
    let untaken_and_over = Alarm { taken: None, ..over.clone() };
    for (alarm, stands, calls) in
        [(over, false, false), (taken, true, false), (calling, true, true), (untaken_and_over, false, false)]
    {
        assert_eq!((alarm.stands(), alarm.calls()), (stands, calls), "{alarm:?}");
    }
    for (name, fits) in [("A. Watch", true), ("نگهبان", true), (" ", false), ("a\nb", false), ("", false)]
    {
        assert_eq!(is_name(name), fits, "{name:?}");
    }
}

/// The protocol's own definition of a list of words serves here: one list, one text, in JSON and on screens.
#[test]
fn words_are_the_same_in_json_and_on_screens() {
    for kind in EventKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), json!(kind.as_str()));
        assert_eq!(serde_json::from_value::<EventKind>(json!(kind.as_str())).unwrap(), *kind);
    }
    let said = serde_json::from_value::<OfficerState>(json!("in force")).unwrap_err().to_string();
    assert_eq!(said, "an officer's state is one of in-force, expired, suspended, revoked");
}
