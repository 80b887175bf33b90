use std::os::unix::net::UnixListener;

use super::*;
use crate::Code;

/// Answers one request with these bytes, and gives the request back.
fn answer(bytes: &'static [u8]) -> (tempfile::TempDir, Client, std::thread::JoinHandle<String>) {
    use std::io::{Read as _, Write as _};
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let read = stream.read(&mut buffer).unwrap();
            request.extend_from_slice(&buffer[..read]);
        }
        stream.write_all(bytes).unwrap();
        String::from_utf8_lossy(&request).into_owned()
    });
    (directory, Client::new(socket), thread)
}

#[tokio::test]
async fn nobody_listening_is_exit_3_and_surely_without_effect() {
    let client = Client::new("/nonexistent/control.sock");
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NotReachable { .. }));
    assert_eq!((error.exit(), error.outcome_unknown()), (3, false));
}

#[tokio::test]
async fn a_refusal_carries_the_nodes_own_words_and_exit_code() {
    let (_directory, client, request) = answer(
        b"HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n\
          {\"code\":\"unknown-serial\",\"message\":\"no washington/9\",\"help\":\"demarche inbox\",\"exit\":1}",
    );
    let error = client.show("memo 26", "washington/9").await.unwrap_err();
    assert!(
        request
            .join()
            .unwrap()
            .starts_with("GET /v1/channels/memo%2026/dispatches/washington%2F9 HTTP/1.1\r\n")
    );
    let ClientError::Problem(problem) = error else { panic!("{error:?}") };
    assert_eq!((problem.code, problem.exit), (Code::UnknownSerial, 1));
    assert_eq!(problem.help.as_deref(), Some("demarche inbox"));
}

#[tokio::test]
async fn a_connection_cut_before_the_answer_leaves_the_outcome_unknown() {
    let (_directory, client, _request) = answer(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{");
    let error = client.send("c", &SignedFile::default()).await.unwrap_err();
    assert!(error.outcome_unknown(), "{error:?}");
    assert_eq!(error.exit(), 3);
}

#[tokio::test]
async fn an_answer_of_another_shape_is_not_understood() {
    let (_directory, client, _request) = answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]");
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::Answer(_)), "{error:?}");
}

#[tokio::test]
async fn the_feed_ends_with_its_last_index_to_resume_after() {
    let (_directory, client, request) = answer(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
          id: 8-00000000000000ab\ndata: {\"id\":8,\"channel\":\"0000000000000000000000000000000000000000000000000000000000000001\",\
          \"kind\":\"roster\",\"at\":\"2026-11-23T09:40:00.000Z\"}\n\n",
    );
    let mut events = client.events(Some(Bookmark::behind(7))).await.unwrap();
    assert_eq!(events.last(), Some(Bookmark::behind(7)));
    let event = events.next().await.unwrap().unwrap();
    assert_eq!((event.id, event.kind), (Some(8), crate::types::EventKind::Roster));
    assert!(events.next().await.unwrap().is_none());
    assert_eq!(events.last(), Some(Bookmark { index: 8, seal: Some(0xab) }));
    assert!(request.join().unwrap().starts_with("GET /v1/events?after=7 "));
}

/// One record may tell two things: whoever is cut off between them hears the first once more.
#[tokio::test]
async fn the_index_to_resume_after_moves_with_the_last_event_of_a_record() {
    let event = |id: &str, kind: &str| {
        format!(
            "{id}data: {{\"id\":8,\"channel\":\"0000000000000000000000000000000000000000000000000000000000000001\",\
             \"kind\":\"{kind}\",\"at\":\"2026-11-23T09:40:00.000Z\"}}\n\n"
        )
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\nid: 7\n\n";
    let feed = format!("{head}{}{}", event("", "arrived"), event("id: 8\n", "void"));
    let (_directory, client, _request) = answer(feed.leak().as_bytes());
    let mut events = client.events(None).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().kind, crate::types::EventKind::Arrived);
    assert_eq!(events.last(), Some(Bookmark::behind(7)));
    assert_eq!(events.next().await.unwrap().unwrap().kind, crate::types::EventKind::Void);
    assert_eq!(events.last(), Some(Bookmark::behind(8)));
}
