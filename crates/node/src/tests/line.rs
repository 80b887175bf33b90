//! The main job, end to end: notice, delivery, opening, acknowledgement; restarts; a renewed card.

use demarche_control::types::State;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_is_delivered_opened_and_acknowledged() {
    let stage = Stage::new();
    let (washington, tehran, muscat) = (stage.party(0), stage.party(1), stage.scene.mediator.clone());
    let m = stage.start(&muscat).await;
    let w = stage.start(&washington).await;
    let t = stage.start(&tehran).await;

    let notice = stage.signed(&washington, Precedence::Flash, fixtures::breach("A ship was boarded"));
    let sent = w.send(&notice).await;
    assert_eq!(sent.state, State::Recorded);
    assert_eq!(sent.case, Some(sent.serial.clone()));
    let document = sent.document.to_string();

    let delivered = w.until_kind(EventKind::Delivered, &document).await;
    assert_eq!(delivered.peer, Some(tehran.clone()));
    let arrived = t.until_kind(EventKind::Arrived, &document).await;
    let header = arrived.header.unwrap();
    assert_eq!(header.title.as_deref(), Some("A ship was boarded"));
    assert_eq!(header.officer, format!("Officer 1 of {washington}"));

    let shown = t.client.open(NAME, &header.serial.to_string(), &stage.officer(&tehran)).await.unwrap();
    assert_eq!(shown.body.as_deref(), Some("What happened."));
    let opened = w.until_kind(EventKind::Opened, &document).await;
    assert_eq!(opened.evidence.unwrap().officer, Some(format!("Officer 1 of {tehran}")));

    let ack = stage.signed(&tehran, Precedence::Flash, fixtures::acknowledgement(sent.document));
    t.send(&ack).await;
    let acknowledged = w.until_kind(EventKind::Acknowledged, &document).await;
    assert_eq!(acknowledged.header.unwrap().state, State::Acknowledged);

    let cases = w.client.cases(NAME).await.unwrap();
    assert_eq!(cases.len(), 1);
    assert_eq!(cases[0].entries.len(), 2);
    let status = w.client.status().await.unwrap();
    assert_eq!(status.verdict, "line open to tehran via muscat");
    let tests = w.client.line_test(NAME, None).await.unwrap();
    assert!(tests.len() == 1 && tests[0].verified, "{tests:?}");
    assert_eq!(tests[0].via, "muscat");
    for node in [w, t, m] {
        node.end().await;
    }
}
