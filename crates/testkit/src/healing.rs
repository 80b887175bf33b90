//! Nothing disturbs any more: everything promised must come true, and soon. First among those who are there, while an author may
//! still be absent; then among all.

use std::time::Duration;

use demarche_protocol::{
    channel::Channel,
    hash::{DocumentId, EntryHash},
    identity::member::MemberId,
};

use crate::{
    witness,
    world::{Broken, World},
};

/// What one node owes another is settled by then: an entry is offered again after twenty seconds, a session opened again after half a minute
/// at most. Far below the hour after which a new session would start everything over and hide what is never said again
/// within one.
const DELIVERS_WITHIN: Duration = Duration::from_secs(25 * 60);

/// By then all is settled. What has to be fetched from others than its author is asked for when they say what they hold; a question
/// whose answer was swallowed is asked again when the next session begins, after an hour.
const SETTLES_WITHIN: Duration = Duration::from_secs(75 * 60);

/// Lets a world heal.
///
/// # Errors
/// The promise that does not come true.
pub fn heal(world: &mut World) -> Result<(), Broken> {
    world.heal();
    if !world.absent.is_empty() {
        settle(world)?;
        world.absent.clear();
    }
    settle(world)?;
    check_recorded(world)
}

/// Waits until those who are there agree.
fn settle(world: &mut World) -> Result<(), Broken> {
    for party in world.scene.parties.clone() {
        world.node(&party).disk.fail(None);
        world.start(&party)?;
    }
    let began = world.time();
    let mut owing_since = None;
    while let Some(disagreement) =
        among(world, |world, here, there| owed(here, there).or_else(|| differently_held(world, here, there)))
    {
        match among(world, |_, here, there| owed(here, there)) {
            None => owing_since = None,
            Some(owed) if world.time() >= *owing_since.get_or_insert(world.time()) + DELIVERS_WITHIN => {
                return Err(Broken(format!("not delivered within {DELIVERS_WITHIN:?}: {owed}")));
            }
            Some(_) => {}
        }
        if world.time() >= began + SETTLES_WITHIN {
            return Err(Broken(format!("not settled within {SETTLES_WITHIN:?}: {disagreement}")));
        }
        world.run_until(world.time() + Duration::from_secs(5))?;
    }
    Ok(())
}

/// What `look` finds wrong between any two of those who are there.
fn among(world: &mut World, look: impl Fn(&World, &Channel, &Channel) -> Option<String>) -> Option<String> {
    let all = world.scene.parties.clone();
    let present: Vec<&MemberId> = all.iter().filter(|party| !world.absent.contains(*party)).collect();
    for party in &present {
        if world.node(party).disk.is_writing() {
            return Some(format!("{party} is writing"));
        }
    }
    for party in &present {
        let Some(here) = world.channel(party) else { return Some(format!("{party} is down")) };
        for peer in present.iter().filter(|peer| *peer != party) {
            let Some(there) = world.channel(peer) else { return Some(format!("{peer} is down")) };
            if let Some(what) = look(world, here, there) {
                return Some(what);
            }
        }
    }
    None
}

fn differently_held(world: &World, here: &Channel, there: &Channel) -> Option<String> {
    if world.absent.is_empty() { judged_differently(world, here, there) } else { missing(here, there) }
}

/// With everybody there, all hold the same, with nothing missing before anything, and judge it alike. What stands behind a gap that
/// its author has lost with its disk is left out: the gap can never be filled, and nobody tells of what is behind it.
fn judged_differently(world: &World, here: &Channel, there: &Channel) -> Option<String> {
    let counts = |at: &Channel, hash: &EntryHash| {
        let node = at.transcript().get(hash);
        node.is_some_and(|node| node.is_chained() || !world.witness.has_lost_its_disk(&node.head.party))
    };
    let judged = |at: &Channel| {
        let mut judged = witness::judgements(at.transcript());
        judged.retain(|hash, _| counts(at, hash));
        judged
    };
    let (one, other) = (judged(here), judged(there));
    if let Some((hash, judgement)) = other.iter().find(|(hash, judged)| one.get(hash) != Some(judged)) {
        let head = there.transcript().get(hash).map(|node| node.head.clone());
        let known = one.get(hash);
        return Some(format!("{} says {known:?} of {head:?}, {} {judgement:?}", here.me(), there.me()));
    }
    let unchained = one.iter().find(|(_, (_, chained, _))| !chained);
    unchained.map(|(hash, _)| format!("{} has {hash:?} without what is before it", here.me()))
}

/// While an author is absent, whatever one holds of its log without a gap the other has fetched from it.
fn missing(here: &Channel, there: &Channel) -> Option<String> {
    let nodes = there.transcript().logs().flat_map(|(_, log)| log.nodes());
    let lacks = nodes.filter(|node| node.is_chained()).find(|node| !here.transcript().holds(&node.head.hash));
    lacks.map(|node| format!("{} has not fetched {} from {}", here.me(), node.head, there.me()))
}

fn owed(here: &Channel, there: &Channel) -> Option<String> {
    let owed = here.owed_to(there.me());
    if owed > 0 {
        return Some(format!("{} owes {owed} entries to {}", here.me(), there.me()));
    }
    // Not of an entry that its author has lost: what it does not hold it takes no statements about.
    let stated = |at: &Channel| witness::opened_by(at, here.me(), there);
    let unknown = stated(here).difference(&stated(there)).count();
    let what = || format!("{} does not know of {unknown} that {} opened", there.me(), here.me());
    (unknown > 0).then(what)
}

/// What an officer was told is recorded has reached everybody, and has effect.
fn check_recorded(world: &World) -> Result<(), Broken> {
    let held = |party: &MemberId, document: &DocumentId| {
        world.scene.parties.iter().filter_map(|reader| world.channel(reader)).any(|channel| {
            let mut entries = channel.transcript().entries_of(document);
            entries.any(|node| node.head.party == *party && node.is_chained())
        })
    };
    for (party, document) in world.witness.recorded() {
        if world.witness.has_lost_its_disk(party) && !held(party, document) {
            // Behind a gap that is lost.
            continue;
        }
        for reader in &world.scene.parties {
            let Some(channel) = world.channel(reader) else { continue };
            let entries =
                || channel.transcript().entries_of(document).filter(|node| node.head.party == *party);
            if entries().next().is_none() {
                return Err(Broken(format!("{document:?}, recorded at {party}, never reached {reader}")));
            }
            // A log that was set back may have revoked its signer on the branch that speaks (threat K2).
            if !world.witness.has_lost_its_disk(party) && channel.transcript().effective(document).is_none() {
                let effects: Vec<_> = entries().map(|node| node.effect.clone()).collect();
                return Err(Broken(format!("{document:?}, recorded at {party}, has no effect: {effects:?}")));
            }
        }
    }
    Ok(())
}
