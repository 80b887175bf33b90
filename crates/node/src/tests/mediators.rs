//! Two mediators: the line stands over one, a way is kept over the other, and either may fail without a word.

use std::{collections::BTreeSet, time::Instant};

use demarche_control::types::{LinkState, Status, Verdict};

use super::*;

struct Two {
    stage: Stage,
    /// Washington, then Tehran.
    parties: [MemberId; 2],
    mediators: [MemberId; 2],
    capitals: [Running; 2],
    relays: Vec<Running>,
}

impl Two {
    async fn open() -> Self {
        let stage = Stage::with(Scene::with_mediators(2, &["muscat", "geneva"]));
        let mediators = ["muscat", "geneva"].map(|name| name.parse::<MemberId>().unwrap());
        let relays = vec![stage.start(&mediators[0]).await, stage.start(&mediators[1]).await];
        let parties = [stage.party(0), stage.party(1)];
        let capitals = [stage.start(&parties[0]).await, stage.start(&parties[1]).await];
        let two = Self { stage, parties, mediators, capitals, relays };
        two.both_stand().await;
        two
    }

    /// The mediator that carries a capital's line.
    async fn carrier(&self, side: usize) -> Option<MemberId> {
        let status = self.capitals[side].client.status().await.unwrap();
        carrier(&status, &self.parties[1 - side])
    }

    /// Waits until both capitals are connected to both mediators and use the same.
    async fn both_stand(&self) {
        let begun = Instant::now();
        loop {
            let mut all = Vec::new();
            for capital in &self.capitals {
                all.push(capital.client.status().await.unwrap());
            }
            let used: BTreeSet<_> = (0..2).map(|side| carrier(&all[side], &self.parties[1 - side])).collect();
            if all.iter().all(|status| status.level == Verdict::Up) && used.len() == 1 {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{all:#?}");
            tokio::task::yield_now().await;
        }
    }

    /// Hands one notice in at each capital, and waits until both are delivered.
    async fn notices(&self, text: &str) {
        let mut sent = Vec::new();
        for (party, capital) in self.parties.iter().zip(&self.capitals) {
            let notice = self.stage.signed(party, Precedence::Flash, fixtures::breach(text));
            sent.push((capital, capital.send(&notice).await.document.to_string()));
        }
        for (capital, document) in sent {
            capital.until_kind(EventKind::Delivered, &document).await;
        }
    }

    async fn end(self) {
        for node in self.capitals.into_iter().chain(self.relays) {
            node.end().await;
        }
    }
}

fn carrier(status: &Status, peer: &MemberId) -> Option<MemberId> {
    let peer = status.channels[0].peers.iter().find(|one| one.party == *peer).unwrap();
    peer.paths.iter().find(|path| path.carries).map(|path| path.via.parse().unwrap())
}

/// Each in turn hangs, so that nothing ends and nothing passes; then each in turn loses its wires.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_mediator_fails_the_other_carries_the_line_and_each_notice_arrives_once() {
    let two = Two::open().await;
    let mut said = 0;
    for round in 0..4 {
        let failing = two.carrier(0).await.unwrap();
        let node = node_of(&failing, 1);
        two.notices(&format!("before round {round}")).await;
        let began = Instant::now();
        if round < 2 {
            two.stage.network.hang(node);
        } else {
            two.parties.iter().for_each(|party| two.stage.network.cut(node_of(party, 1), node));
        }
        two.notices(&format!("in round {round}")).await;
        println!("{failing} failed ({round}): delivered over the other {:?} later", began.elapsed());
        // Two by each capital; an inbox has all of them.
        said += 4;
        for side in 0..2 {
            assert_ne!(two.carrier(side).await, Some(failing.clone()), "round {round}");
        }
        if round < 2 {
            two.stage.network.go_on(node);
        } else {
            let status = two.capitals[0].client.status().await.unwrap();
            assert_eq!(status.level, Verdict::Degraded, "{status:#?}");
            let other = two.mediators.iter().find(|other| **other != failing).unwrap();
            assert!(
                status.verdict.starts_with(&format!("line open to tehran via {other}; ")),
                "{}",
                status.verdict
            );
            assert!(
                status.verdict.contains(&format!("mediator {failing} unreachable since")),
                "{}",
                status.verdict
            );
            two.parties.iter().for_each(|party| two.stage.network.mend(node_of(party, 1), node));
        }
        two.both_stand().await;
    }
    for capital in &two.capitals {
        let inbox = capital.client.inbox(NAME, true).await.unwrap();
        let documents: BTreeSet<_> = inbox.iter().map(|header| header.document).collect();
        assert_eq!((inbox.len(), documents.len()), (said, said), "each once");
    }
    two.end().await;
}

/// M16b: of two mediators one is behind: it knows neither a capital's new card nor that its roots revoked the old. Who is told so by it
/// goes by the newest from anybody, and it learns as soon as it is reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_mediators_that_disagree_the_newest_roster_counts() {
    let two = Two::open().await;
    let [washington, tehran] = &two.parties;
    let [muscat, geneva] = &two.mediators;
    // Geneva is cut off while it happens, and is then seen by Tehran alone.
    for party in &two.parties {
        two.stage.network.cut(node_of(party, 1), node_of(geneva, 1));
    }
    two.stage.network.cut(node_of(washington, 2), node_of(geneva, 1));
    two.stage.set_up(washington, 2);
    two.stage.leave(washington, &two.stage.card(washington, 2));
    two.stage.leave(washington, &fixtures::revoke_card(washington, two.stage.card(washington, 1).id(), 1));
    two.capitals[0].client.install().await.unwrap();
    two.notices("under the new card").await;
    two.stage.network.mend(node_of(tehran, 1), node_of(geneva, 1));
    let begun = Instant::now();
    loop {
        let status = two.capitals[1].client.status().await.unwrap();
        assert_eq!(carrier(&status, washington), Some(muscat.clone()), "{status:#?}");
        let peers = &status.channels[0].peers;
        if peers.iter().any(|peer| peer.party == *geneva && peer.state == LinkState::Up) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{status:#?}");
        tokio::task::yield_now().await;
    }
    two.notices("though the other says otherwise").await;

    two.stage.network.mend(node_of(washington, 2), node_of(geneva, 1));
    two.both_stand().await;
    two.parties.iter().zip([2, 1]).for_each(|(party, serial)| {
        two.stage.network.cut(node_of(party, serial), node_of(muscat, 1));
    });
    two.notices("over the one that was behind").await;
    assert_eq!(two.carrier(0).await, Some(geneva.clone()));
    two.end().await;
}
