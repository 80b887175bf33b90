//! A mediator that presents another node in a peer's place (M12).

use demarche_control::types::LinkState;

use super::*;

/// M12: streams between two capitals are brought to a third, which is a good member of the channel. Both callers refuse it by
/// name and say so; its own lines to both go on; and as soon as the mediator behaves, the line opens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m12_a_peer_presented_in_anothers_place_is_refused_by_name() {
    let stage = Stage::of(3);
    let [washington, tehran, paris] = [0, 1, 2].map(|at| stage.party(at));
    let nodes = [&washington, &tehran, &paris].map(|party| node_of(party, 1));
    stage.network.mislead(nodes[0], nodes[1], nodes[2]);
    stage.network.mislead(nodes[1], nodes[0], nodes[2]);
    let m = stage.start(&stage.scene.mediator).await;
    let p = stage.start(&paris).await;
    let w = stage.start(&washington).await;
    let t = stage.start(&tehran).await;

    for (node, peer) in [(&w, &tehran), (&t, &washington)] {
        let named = format!("{paris} answered where {peer} was called");
        let begun = std::time::Instant::now();
        loop {
            let status = node.client.status().await.unwrap();
            let peer = status.channels[0].peers.iter().find(|one| one.party == *peer).unwrap();
            assert_ne!(peer.state, LinkState::Up, "{status:?}");
            if peer.cause.as_deref().is_some_and(|why| why.contains(&named)) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{status:?}");
            tokio::task::yield_now().await;
        }
    }
    // Undisturbed, and nothing for the one comes to the other.
    let notice = stage.signed(&paris, Precedence::Flash, fixtures::breach("to both"));
    let notice = p.send(&notice).await;
    for node in [&w, &t] {
        node.until_kind(EventKind::Arrived, &notice.document.to_string()).await;
    }
    stage.network.lead_rightly();
    let said = stage.signed(&washington, Precedence::Flash, fixtures::statement("at last"));
    let said = w.send(&said).await;
    let document = said.document.to_string();
    let by_tehran = |event: &Event| {
        event.kind == EventKind::Delivered
            && event.peer.as_ref() == Some(&tehran)
            && event.header.as_ref().is_some_and(|header| header.document.to_string() == document)
    };
    w.until(by_tehran).await;
    for node in [w, t, p, m] {
        node.end().await;
    }
}
