//! The way to one mediator: which address to dial when, and when to ask for a reservation. Pure; the network task
//! asks it what to do and tells it what happened.
//!
//! Each address is dialled over TCP and, a little later, over QUIC, each with its own back-off, so that a dead
//! address costs the others nothing. The first connection that stands wins. This goes on for ever: nobody has to
//! lend a hand when a mediator comes back or moves.

use std::time::Duration;

use libp2p::{Multiaddr, core::transport::ListenerId, swarm::ConnectionId};
use tokio::time::Instant;

use super::{backoff::Backoff, multiaddr::multiaddr};
use crate::transport::{
    Address, Carrier, MediatorPath,
    defaults::{MAX_ADDRESSES, QUIC_DELAY, STABLE_AFTER, TOLD_AGAIN_AFTER},
};

pub(super) struct Link {
    candidates: Vec<Candidate>,
    up: Option<Up>,
    reservation: Reservation,
    reservation_backoff: Backoff,
    reservation_trouble: Trouble,
}

struct Candidate {
    address: Address,
    carrier: Carrier,
    dialling: Option<ConnectionId>,
    next: Instant,
    backoff: Backoff,
    trouble: Trouble,
}

/// What went wrong last, so that one cause is told once in a while and not at each attempt.
#[derive(Default)]
struct Trouble(Option<(String, Instant)>);

impl Trouble {
    fn is_news(&mut self, text: &str, now: Instant) -> bool {
        let told = self
            .0
            .as_ref()
            .is_some_and(|(told, at)| told == text && now.duration_since(*at) < TOLD_AGAIN_AFTER);
        if !told {
            self.0 = Some((text.to_owned(), now));
        }
        !told
    }
}

/// The standing connection.
#[derive(Clone)]
pub(super) struct Up {
    pub(super) connection: ConnectionId,
    /// As it was dialled; inbound circuits carry it.
    pub(super) address: Multiaddr,
    since: Instant,
}

enum Reservation {
    /// Ask again at this time.
    Wanted(Instant),
    Asked(ListenerId),
    Held(ListenerId),
}

/// What the network task should do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Dial, and tell [`Link::dialling`] how the attempt is called.
    Dial { candidate: usize, address: Multiaddr },
    /// Ask for a reservation, and tell [`Link::asked`] how the listener is called.
    Reserve { base: Multiaddr },
}

impl Link {
    pub(super) fn new(path: &MediatorPath, now: Instant) -> Self {
        let mut link = Self {
            candidates: Vec::new(),
            up: None,
            reservation: Reservation::Wanted(now),
            reservation_backoff: Backoff::new(),
            reservation_trouble: Trouble::default(),
        };
        link.set_addresses(&path.addresses, now);
        link
    }

    /// Takes over a new list of addresses; attempts and back-offs of those that stay go on. The standing connection
    /// stays even if its address is no longer listed: it works.
    pub(super) fn set_addresses(&mut self, addresses: &[Address], now: Instant) {
        let mut old = std::mem::take(&mut self.candidates);
        for address in addresses.iter().take(MAX_ADDRESSES) {
            for (carrier, delay) in [(Carrier::Tcp, Duration::ZERO), (Carrier::Quic, QUIC_DELAY)] {
                let kept = old.iter().position(|c| c.address == *address && c.carrier == carrier);
                self.candidates.push(match kept {
                    Some(index) => old.swap_remove(index),
                    None => Candidate {
                        address: address.clone(),
                        carrier,
                        dialling: None,
                        next: now + delay,
                        backoff: Backoff::new(),
                        trouble: Trouble::default(),
                    },
                });
            }
        }
    }

    /// What is due, one step at a time until `None`.
    pub(super) fn step(&self, now: Instant) -> Option<Step> {
        if let Some(up) = &self.up {
            return match self.reservation {
                Reservation::Wanted(at) if at <= now => Some(Step::Reserve { base: up.address.clone() }),
                _ => None,
            };
        }
        let (candidate, due) =
            self.candidates.iter().enumerate().find(|(_, c)| c.dialling.is_none() && c.next <= now)?;
        Some(Step::Dial { candidate, address: multiaddr(&due.address, due.carrier) })
    }

    /// When [`Link::step`] is worth asking again, if nothing happens before.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        if self.up.is_some() {
            return match self.reservation {
                Reservation::Wanted(at) => Some(at),
                _ => None,
            };
        }
        self.candidates.iter().filter(|c| c.dialling.is_none()).map(|c| c.next).min()
    }

    /// The attempt that a step asked for is under way.
    pub(super) fn dialling(&mut self, candidate: usize, connection: ConnectionId) {
        if let Some(candidate) = self.candidates.get_mut(candidate) {
            candidate.dialling = Some(connection);
        }
    }

    /// An attempt ended without a usable connection. Gives its address if `trouble` is news.
    pub(super) fn dial_failed(
        &mut self,
        connection: ConnectionId,
        trouble: &str,
        now: Instant,
    ) -> Option<Address> {
        let candidate = self.candidates.iter_mut().find(|c| c.dialling == Some(connection))?;
        candidate.dialling = None;
        candidate.next = now + candidate.backoff.next();
        let news = candidate.trouble.is_news(trouble, now) && self.up.is_none();
        news.then(|| candidate.address.clone())
    }

    /// The address and carrier of an attempt that succeeded, if it was one of ours.
    pub(super) fn dialled(&mut self, connection: ConnectionId) -> Option<(Address, Carrier)> {
        let candidate =
            self.candidates.iter_mut().find(|candidate| candidate.dialling == Some(connection))?;
        candidate.dialling = None;
        candidate.trouble = Trouble::default();
        Some((candidate.address.clone(), candidate.carrier))
    }

    /// A connection to the mediator stands. `false` means that it is one too many and should be closed.
    pub(super) fn connected(&mut self, connection: ConnectionId, address: &Multiaddr, now: Instant) -> bool {
        if self.up.is_some() {
            return false;
        }
        self.up = Some(Up { connection, address: address.clone(), since: now });
        self.reservation = Reservation::Wanted(now);
        true
    }

    /// A connection ended. `true` if it was the standing one.
    pub(super) fn disconnected(&mut self, connection: ConnectionId, now: Instant) -> bool {
        let Some(up) = self.up.take_if(|up| up.connection == connection) else {
            return false;
        };
        let stable = now.duration_since(up.since) >= STABLE_AFTER;
        if stable {
            self.reservation_backoff.reset();
        }
        for candidate in &mut self.candidates {
            if stable {
                candidate.backoff.reset();
            }
            let delay = match candidate.carrier {
                Carrier::Tcp => Duration::ZERO,
                Carrier::Quic => QUIC_DELAY,
            };
            candidate.next = now + candidate.backoff.next() + delay;
        }
        true
    }

    /// The reservation that a step asked for is under way.
    pub(super) fn asked(&mut self, listener: ListenerId) {
        self.reservation = Reservation::Asked(listener);
    }

    /// The relay could not even be asked.
    pub(super) fn not_asked(&mut self, now: Instant) {
        self.reservation = Reservation::Wanted(now + self.reservation_backoff.next());
    }

    /// The relay granted a reservation. `true` if that is news.
    pub(super) fn reserved(&mut self) -> bool {
        let Reservation::Asked(listener) = self.reservation else {
            return false;
        };
        self.reservation = Reservation::Held(listener);
        self.reservation_trouble = Trouble::default();
        true
    }

    /// A listener closed. `None` if it was not this link's; else whether the loss is news.
    pub(super) fn listener_closed(
        &mut self,
        listener: ListenerId,
        trouble: &str,
        now: Instant,
    ) -> Option<bool> {
        let held = match self.reservation {
            Reservation::Held(held) if held == listener => true,
            Reservation::Asked(asked) if asked == listener => false,
            _ => return None,
        };
        self.reservation = Reservation::Wanted(now + self.reservation_backoff.next());
        Some(self.reservation_trouble.is_news(trouble, now) || held)
    }

    pub(super) fn up(&self) -> Option<&Up> {
        self.up.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{NodeId, defaults::BACKOFF_LIMIT};

    fn link(addresses: &[&str], now: Instant) -> Link {
        let path = MediatorPath {
            name: "Muscat".to_owned(),
            node: NodeId::from_bytes([1; 32]),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        };
        Link::new(&path, now)
    }

    /// Lets every dial that is due fail at once and gives how many there were.
    fn fail_all(link: &mut Link, ids: &mut impl Iterator<Item = usize>, now: Instant) -> usize {
        let mut failed = 0;
        while let Some(Step::Dial { candidate, .. }) = link.step(now) {
            let id = ConnectionId::new_unchecked(ids.next().unwrap());
            link.dialling(candidate, id);
            link.dial_failed(id, "refused", now);
            failed += 1;
        }
        failed
    }

    #[test]
    fn every_address_is_dialled_again_within_the_limit_for_ever() {
        let mut now = Instant::now();
        let mut link = link(&["192.0.2.1:7701", "192.0.2.2:7701"], now);
        let mut ids = 0..;
        for _ in 0..1000 {
            let next = link.wake_at().expect("never gives up");
            assert!(next <= now + BACKOFF_LIMIT);
            now = next.max(now);
            assert!(fail_all(&mut link, &mut ids, now) > 0);
        }
        let in_a_row = (0..4).map(|_| {
            now += BACKOFF_LIMIT;
            fail_all(&mut link, &mut ids, now)
        });
        assert_eq!(in_a_row.collect::<Vec<_>>(), [4; 4], "no candidate is left out");
    }

    #[test]
    fn a_hanging_attempt_does_not_hold_up_the_others() {
        let now = Instant::now();
        let mut link = link(&["192.0.2.1:7701", "192.0.2.2:7701"], now);
        let Some(Step::Dial { candidate, .. }) = link.step(now) else {
            panic!("nothing is dialled");
        };
        link.dialling(candidate, ConnectionId::new_unchecked(0));
        assert_eq!(fail_all(&mut link, &mut (1..), now + BACKOFF_LIMIT), 3);
    }

    #[test]
    fn one_cause_is_told_once_in_a_while() {
        let now = Instant::now();
        let mut link = link(&["192.0.2.1:7701"], now);
        let mut tell = |id, text| {
            let later = now + BACKOFF_LIMIT * u32::try_from(id).unwrap();
            let Some(Step::Dial { candidate, .. }) = link.step(later) else {
                panic!("nothing is dialled");
            };
            link.dialling(candidate, ConnectionId::new_unchecked(id));
            link.dial_failed(ConnectionId::new_unchecked(id), text, later).is_some()
        };
        assert!(tell(0, "refused"));
        assert!(!tell(2, "refused"));
        assert!(tell(4, "no route"));
        assert!(!tell(6, "no route"));
        assert!(tell(60, "no route"), "two minutes later it still is the cause");
    }

    #[test]
    fn a_lost_reservation_is_asked_for_again_and_a_stale_listener_is_ignored() {
        let now = Instant::now();
        let mut link = link(&["192.0.2.1:7701"], now);
        let base: Multiaddr = "/ip4/192.0.2.1/tcp/7701".parse().unwrap();
        assert!(link.connected(ConnectionId::new_unchecked(1), &base, now));
        assert!(!link.connected(ConnectionId::new_unchecked(2), &base, now), "one is enough");
        assert!(matches!(link.step(now), Some(Step::Reserve { .. })));
        let listener = ListenerId::next();
        link.asked(listener);
        assert_eq!(link.step(now), None, "not asked twice");
        assert!(link.reserved());
        assert_eq!(link.listener_closed(ListenerId::next(), "x", now), None);
        assert_eq!(link.listener_closed(listener, "x", now), Some(true));
        let at = link.wake_at().expect("asks again");
        assert!(matches!(link.step(at), Some(Step::Reserve { .. })));
        assert!(!link.disconnected(ConnectionId::new_unchecked(2), now));
        assert!(link.disconnected(ConnectionId::new_unchecked(1), now));
    }
}
