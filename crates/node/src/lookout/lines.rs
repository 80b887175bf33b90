//! Lines that are down: to a party with whom one once stood, and to the mediators.

use std::time::Duration;

use demarche_control::types::Cause;
use demarche_protocol::{dispatch::Precedence, identity::member::MemberId, time::Timestamp};

use crate::{
    link::{Links, status},
    runtime::{channel::Look, names::node_of},
};

/// How long a line may be down until somebody must look: longer than it takes to come back by itself after a mediator's restart. A
/// charter that gives a FLASH less time to be delivered says that this is too long.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// Something that is not reached.
pub(super) struct Down {
    pub(super) cause: Cause,
    pub(super) peer: MemberId,
    pub(super) since: Timestamp,
    /// From when on somebody must look.
    pub(super) calls_at: Timestamp,
    /// Why, in words.
    pub(super) why: String,
}

/// What is not reached at the moment.
pub(super) fn down(look: &Look<'_>, links: &Links, now: Timestamp) -> Vec<Down> {
    let (machine, roster) = (look.machine, look.machine.roster());
    let charter = machine.transcript().charter();
    let patience = LOST_AFTER.min(charter.policy.of(Precedence::Flash).deliver_within.0);
    let down = |cause, peer: &MemberId, since: Timestamp, why| {
        let (peer, calls_at) = (peer.clone(), since.plus(patience));
        Down { cause, peer, since, calls_at, why }
    };
    let mediators: Vec<&MemberId> = charter.mediators.iter().map(|mediator| &mediator.id).collect();
    let mut all = Vec::new();
    for (peer, state) in look.peers.iter().filter(|(_, state)| !state.up) {
        // Where nothing ever came from them, nothing was lost: they are still being set up.
        let stood = state.last_heard.is_some()
            || machine.transcript().log(peer).is_some_and(|log| log.tip().is_some());
        if stood {
            let why = status::why_line_down(links, roster, &mediators, peer, state);
            all.push(down(Cause::LineDown, peer, state.since, why));
        }
    }
    for mediator in mediators {
        // One without a card cannot be reached, and that is said of the card.
        let Some(card) = roster.current(mediator) else { continue };
        match links.direct(node_of(card)) {
            Some(link) if link.up => {}
            link => {
                // One that is being tried for the first time has no time yet.
                let since = link.map_or(now, |link| link.since);
                let why = status::why_unreachable(links, roster, mediator).unwrap_or_default();
                all.push(down(Cause::MediatorUnreachable, mediator, since, why));
            }
        }
    }
    all
}
