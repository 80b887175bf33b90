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
        "version": "0.1.0",
    });
    let read: Status = serde_json::from_value(status.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), status);
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
