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
    defaults::{MAX_ADDRESSES, QUIC_DELAY, STABLE_AFTER},
};

pub(super) struct Link {
    candidates: Vec<Candidate>,
    up: Option<Up>,
    reservation: Reservation,
    reservation_backoff: Backoff,
    /// Told last, so that one cause is told once.
    last_trouble: Option<String>,
}

struct Candidate {
    address: Address,
    carrier: Carrier,
    dialling: Option<ConnectionId>,
    next: Instant,
    backoff: Backoff,
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
            last_trouble: None,
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
        let address = candidate.address.clone();
        (self.up.is_none() && self.is_news(trouble)).then_some(address)
    }

    /// A connection to the mediator stands. `None` means that it is one too many and should be closed; else the
    /// address and carrier, if it was one of ours.
    pub(super) fn connected(
        &mut self,
        connection: ConnectionId,
        address: &Multiaddr,
        now: Instant,
    ) -> Option<Option<(Address, Carrier)>> {
        let dialled = self.candidates.iter_mut().find(|c| c.dialling == Some(connection)).map(|candidate| {
            candidate.dialling = None;
            (candidate.address.clone(), candidate.carrier)
        });
        if self.up.is_some() {
            return None;
        }
        self.up = Some(Up { connection, address: address.clone(), since: now });
        self.reservation = Reservation::Wanted(now);
        self.last_trouble = None;
        Some(dialled)
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
        self.last_trouble = None;
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
        Some(self.is_news(trouble) || held)
    }

    pub(super) fn up(&self) -> Option<&Up> {
        self.up.as_ref()
    }

    fn is_news(&mut self, trouble: &str) -> bool {
        if self.last_trouble.as_deref() == Some(trouble) {
            return false;
        }
        self.last_trouble = Some(trouble.to_owned());
        true
    }
}
