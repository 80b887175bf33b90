//! The officers' socket: what it refuses and how, who may open it, where a feed resumes.

use std::os::unix::fs::PermissionsExt as _;

use demarche_control::{ClientError, Code, Problem};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn problem<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Problem {
    match result {
        Err(ClientError::Problem(problem)) => problem,
        other => panic!("not a problem: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_has_its_code_and_its_next_step() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let w = stage.start(&washington).await;
    let good = stage.signed(&washington, Precedence::Flash, fixtures::breach("good"));
    let code = |file: SignedFile| {
        let client = w.client.clone();
        async move {
            let problem = problem(client.send(NAME, &file).await);
            assert!(problem.help.is_some(), "{problem:?}");
            problem.code
        }
    };
    assert_eq!(problem(w.client.send("other", &good).await).code, Code::UnknownChannel);
    for (wanted, why) in [
        ("washington/77", "there is no washington/77 here"),
        ("washinton/3", "washinton is no party of this channel: washington, tehran"),
        (&"ab".repeat(32), &format!("there is no {} here", "ab".repeat(32))),
        ("nonsense", "`nonsense` is no serial: a serial is PARTY/NUMBER, like washington/7"),
    ] {
        for refused in
            [w.client.show(NAME, wanted).await, w.client.open(NAME, wanted, &officer_of(&washington)).await]
        {
            let refused = problem(refused);
            assert_eq!((refused.code, refused.message.as_str()), (Code::UnknownSerial, why));
            assert!(refused.help.is_some(), "{refused:?}");
        }
    }

    let mut content = fixtures::breach("no such provision");
    if let Content::Breach(breach) = &mut content {
        breach.provision = "9.9".to_owned();
    }
    assert_eq!(code(stage.signed(&washington, Precedence::Flash, content)).await, Code::UnknownProvision);
    assert_eq!(code(stage.signed(&tehran, Precedence::Flash, fixtures::breach("x"))).await, Code::WrongParty);

    let stranger = stage.scene.dispatch(&washington, Precedence::Flash, fixtures::breach("by nobody"));
    let stranger = fixtures::signed(&stranger, &fixtures::officer_key(&washington, 9));
    assert_eq!(code(SignedFile::of(&stranger).unwrap()).await, Code::UnknownOfficer);

    let changed = SignedFile { text: good.text.replace("good", "evil"), ..good.clone() };
    assert_eq!(code(changed).await, Code::BadSignature);
    let junk = SignedFile { text: good.text.replace("precedence", "precedents"), ..good.clone() };
    assert_eq!(code(junk).await, Code::Malformed);
    let officer = SignedFile::of(&fixtures::officer(&washington, 2, &[Duty::Draft])).unwrap();
    assert_eq!(code(officer).await, Code::Malformed);
    let long = SignedFile { text: format!("{}\n# {}", good.text, "x".repeat(60_000)), ..good.clone() };
    assert_eq!(problem(w.client.send(NAME, &long).await).code, Code::TooLong);

    let asks = OpenRequest { officer_key: fixtures::officer_key(&tehran, 1).public().to_openssh() };
    let sent = w.send(&good).await;
    let refused = w.client.open(NAME, &sent.serial.to_string(), &asks).await;
    assert_eq!(problem(refused).code, Code::NotAuthorised);
    w.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_the_socket_is_its_owners_alone_and_goes_with_the_node() {
    let stage = Stage::new();
    let washington = stage.party(0);
    let socket = stage.data(&washington).socket();
    // What a killed node left behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let w = stage.start(&washington).await;
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    w.client.status().await.unwrap();
    w.end().await;
    assert!(!socket.exists());

    let config = Config::parse("[socket]\npath = \"officers.sock\"\nmode = \"0660\"\n").unwrap();
    let w = stage.start_with(&washington, config).await;
    let other = stage.data(&washington).path().join("officers.sock");
    assert_eq!(std::fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o660);
    w.end().await;

    std::fs::write(&socket, "not a socket").unwrap();
    let refused = stage.try_start(&washington, Config::default()).await.err().unwrap();
    assert!(refused.to_string().contains("is no socket"), "{refused}");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "not a socket");
}

/// A browser's way of resuming: the header instead of the query.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_resumes_after_the_last_event_id() {
    let stage = Stage::new();
    let washington = stage.party(0);
    let w = stage.start(&washington).await;
    let first = w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach("first"))).await;
    let last = w.until_kind(EventKind::Recorded, &first.document.to_string()).await.id.unwrap();
    w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach("second"))).await;
    let mut stream = tokio::net::UnixStream::connect(stage.data(&washington).socket()).await.unwrap();
    let request = format!("GET /v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {last}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let read = async {
        let mut bytes = [0; 4096];
        while !text.contains("second") {
            let count = stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    };
    timeout(PATIENCE, read).await.unwrap();
    assert!(!text.contains("\"first\""), "{text}");
    assert!(text.contains(&format!("id: {}", last + 1)), "{text}");
    w.end().await;
}

async fn next(feed: &mut demarche_control::EventStream) -> Event {
    timeout(PATIENCE, feed.next()).await.expect("it is told").unwrap().expect("the feed goes on")
}

/// Indexes begin anew in a new store: whoever resumes by those of an old one is told so, and misses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_resumed_at_another_store_says_so_and_begins_anew() {
    let stage = Stage::new();
    let washington = stage.party(0);
    let w = stage.start(&washington).await;
    let mut feed = w.client.events(None).await.unwrap();
    let old =
        w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach("in the old store"))).await;
    while next(&mut feed).await.header.is_none_or(|header| header.document != old.document) {}
    let place = feed.last().unwrap();
    w.end().await;
    let w = stage.start(&washington).await;
    let mut feed = w.client.events(Some(place)).await.unwrap();
    let more = w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach("and more"))).await;
    assert_eq!(next(&mut feed).await.header.unwrap().document, more.document, "a restart changes nothing");
    w.end().await;

    // A node that has lost its store goes on under a new card.
    std::fs::remove_dir_all(stage.data(&washington).store()).unwrap();
    stage.set_up(&washington, 2);
    stage.leave(&washington, &stage.card(&washington, 2));
    let w = stage.start(&washington).await;
    // While it is shorter, and once it has come as far.
    for (asked, notices) in [(Bookmark::behind(500), 1), (place, place.index)] {
        for n in 0..notices {
            let text = fixtures::breach(&format!("in the new store, {notices}, {n}"));
            w.send(&stage.signed(&washington, Precedence::Flash, text)).await;
        }
        let mut feed = w.client.events(Some(asked)).await.unwrap();
        let anew = next(&mut feed).await;
        assert_eq!((anew.kind, anew.id, anew.channel), (EventKind::Anew, None, None), "{anew:?}");
        assert!(anew.detail.unwrap().contains("from its beginning"));
        assert_eq!(feed.last(), Some(Bookmark::START), "who is cut off now is not told again");
        assert_eq!(next(&mut feed).await.id, Some(1));
    }
    w.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hook_rings_for_an_urgent_arrival() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let file = stage.data(&tehran).path().join("rung");
    let command = format!("[\"sh\", \"-c\", \"cat > {0}.tmp && mv {0}.tmp {0}\"]", file.display());
    let config = Config::parse(&format!("[hook]\ncommand = {command}\n")).unwrap();
    let m = stage.start(&stage.scene.mediator).await;
    let w = stage.start(&washington).await;
    let t = stage.start_with(&tehran, config).await;
    let routine = w.send(&stage.signed(&washington, Precedence::Routine, fixtures::breach("calm"))).await;
    w.until_kind(EventKind::Delivered, &routine.document.to_string()).await;
    let flash = w.send(&stage.signed(&washington, Precedence::Flash, fixtures::breach("urgent"))).await;
    w.until_kind(EventKind::Delivered, &flash.document.to_string()).await;
    let rung = async {
        while !file.exists() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, rung).await.expect("the hook ran");
    let event: Event = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(event.header.unwrap().title.as_deref(), Some("urgent"));
    for node in [w, t, m] {
        node.end().await;
    }
}

/// Whoever asks wrongly is told so in the API's own form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_is_not_understood_is_a_problem_like_any_other() {
    let stage = Stage::new();
    let washington = stage.party(0);
    let w = stage.start(&washington).await;
    let inbox = format!("/v1/channels/{NAME}/inbox");
    for (asked, header) in [
        ("/v1/events?after=yesterday".to_owned(), ""),
        ("/v1/events?after=-1".to_owned(), ""),
        ("/v1/events".to_owned(), "Last-Event-ID: yesterday\r\n"),
        (format!("{inbox}?all=perhaps"), ""),
        (format!("{inbox}?urgent=1"), ""),
    ] {
        let mut stream = tokio::net::UnixStream::connect(stage.data(&washington).socket()).await.unwrap();
        let request = format!("GET {asked} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("it is refused").unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{asked}: {answer}");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let refused: Problem =
            serde_json::from_str(body).unwrap_or_else(|why| panic!("{asked}: {why}: {body}"));
        assert_eq!(refused.code, Code::Malformed, "{asked}");
        assert!(refused.help.is_some(), "{refused:?}");
    }
    w.end().await;
}

/// What a watch asks for every few seconds: not the whole inbox, and nothing once it was opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_calls_somebody_is_asked_for_by_itself_and_only_until_it_is_opened() {
    let stage = Stage::new();
    let (washington, tehran) = (stage.party(0), stage.party(1));
    let m = stage.start(&stage.scene.mediator).await;
    let w = stage.start(&washington).await;
    let t = stage.start(&tehran).await;
    let own = stage.signed(&washington, Precedence::Flash, fixtures::statement("our own"));
    let own = w.send(&own).await;
    t.until_kind(EventKind::Arrived, &own.document.to_string()).await;
    let urgent = stage.signed(&tehran, Precedence::Immediate, fixtures::statement("come and look"));
    let urgent = t.send(&urgent).await;
    let answer = stage.signed(&tehran, Precedence::Flash, fixtures::acknowledgement(own.document));
    let answer = t.send(&answer).await;
    let last = t.send(&stage.signed(&tehran, Precedence::Routine, fixtures::statement("in time"))).await;
    for document in [urgent.document, answer.document, last.document] {
        w.until_kind(EventKind::Arrived, &document.to_string()).await;
    }
    let calling = w.client.urgent(NAME).await.unwrap();
    let documents: Vec<_> = calling.iter().map(|header| header.document).collect();
    assert_eq!(documents, [urgent.document], "{calling:?}");
    w.client.open(NAME, &urgent.serial.to_string(), &officer_of(&washington)).await.unwrap();
    assert!(w.client.urgent(NAME).await.unwrap().is_empty());
    for node in [w, t, m] {
        node.end().await;
    }
}

/// A record is durable a moment before its channel knows of it. Whoever reads the feed just then is told of it all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_durable_and_not_yet_answered_is_told_when_it_is() {
    let stage = Stage::new();
    let washington = stage.party(0);
    let (w, fault) = stage.start_on_a_bad_disk(&washington).await;
    w.until(|event| event.kind == EventKind::Roster).await;
    let text = stage.signed(&washington, Precedence::Flash, fixtures::statement("durable, and not answered"));
    *fault.lock().unwrap() = Fault::Late;
    let socket = w.client.socket().to_owned();
    let sending = tokio::spawn(async move { Client::new(socket).send(NAME, &text).await.unwrap() });
    let held = async {
        while *fault.lock().unwrap() != Fault::Held {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, held).await.expect("it is committed");
    let mut feed = w.client.events(Some(Bookmark::START)).await.unwrap();
    // What is in the journal before it; whoever tells of that has looked at all of it.
    assert_eq!(feed.next().await.unwrap().map(|event| event.kind), Some(EventKind::Roster));
    *fault.lock().unwrap() = Fault::None;
    let sent = sending.await.unwrap();
    let told = async {
        while let Some(event) = feed.next().await.unwrap() {
            if event.header.as_ref().is_some_and(|header| header.document == sent.document) {
                return event.kind;
            }
        }
        panic!("the feed ended");
    };
    assert_eq!(timeout(PATIENCE, told).await.expect("it is told"), EventKind::Recorded);
    w.end().await;
}

/// The feed says whose document was taken in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_of_the_roster_is_told_with_its_owner() {
    let stage = Stage::new();
    let tehran = stage.party(1);
    let t = stage.start(&tehran).await;
    let told = |what: &'static str| {
        t.until(move |event| event.detail.as_deref() == Some(format!("{what} was taken in").as_str()))
    };
    for what in ["card 1 of tehran", "card 1 of muscat", "an officer's document of tehran"] {
        assert_eq!(told(what).await.kind, EventKind::Roster);
    }
    t.end().await;
}
