//! Prekeys: to which of a peer's something is sealed, and how peers come to know ours.

use std::collections::BTreeMap;

use super::{
    Channel, Event, Frame,
    commit::{Prepared, Then},
};
use crate::{
    custody::{ToMediator, message::Published},
    frame::PrekeyHeld,
    identity::{
        card::{CardSerial, Prekey},
        member::MemberId,
        signed_prekey::{PrekeyNumber, SignedPrekey},
    },
};

/// To whom a parcel is sealed: a party, its node's card, and the newest prekey known under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressee {
    /// The party.
    pub member: MemberId,
    /// The card of its node.
    pub card: CardSerial,
    /// The number of the prekey under that card.
    pub number: PrekeyNumber,
    /// The prekey.
    pub prekey: Prekey,
}

/// Those that are known.
#[derive(Default)]
pub(super) struct Prekeys {
    /// Our newest; none while that is the one on our card.
    own: Option<SignedPrekey>,
    /// Others' newest under each card.
    known: BTreeMap<(MemberId, CardSerial), (PrekeyNumber, Prekey)>,
}

impl Prekeys {
    pub(super) const fn own(&self) -> Option<&SignedPrekey> {
        self.own.as_ref()
    }
}

impl Channel {
    /// To which key something for a peer is sealed; none while no card of it is known.
    pub(super) fn addressee(&self, peer: &MemberId) -> Option<Addressee> {
        let card = self.roster.current(peer)?;
        let of_card = || card.prekey().map(|prekey| (PrekeyNumber::OF_CARD, prekey.clone()));
        let known = self.prekeys.known.get(&(peer.clone(), card.serial)).cloned();
        let (number, prekey) = known.or_else(of_card)?;
        Some(Addressee { member: peer.clone(), card: card.serial, number, prekey })
    }

    /// Our prekey is to be sealed to from now on.
    pub(super) fn publish_prekey(&mut self, number: PrekeyNumber, prekey: &Prekey) {
        self.prekeys.own = Some(SignedPrekey::publish(&self.config.card, number, prekey, &self.config.key));
        for mediator in self.custody.answering().cloned().collect::<Vec<_>>() {
            self.tell_prekey(&mediator);
        }
        for peer in self.peers.keys().cloned().collect::<Vec<_>>() {
            self.show_prekey(&peer);
        }
    }

    pub(super) fn tell_prekey(&mut self, mediator: &MemberId) {
        let channel = self.transcript.channel();
        if let Some(prekey) = self.prekeys.own.clone() {
            self.tell(mediator, ToMediator::Prekey(Published { channel, prekey }));
        }
    }

    pub(super) fn show_prekey(&mut self, peer: &MemberId) {
        if let Some(prekey) = self.prekeys.own.clone() {
            self.answer(peer, Frame::Prekey(prekey));
        }
    }

    /// A prekey of a peer, from whatever source. When it is durable the peer is told, so that it may erase those before it.
    pub(super) fn prekey_received(&mut self, signed: &SignedPrekey) {
        let peer = match signed.claims() {
            Ok((peer, ..)) => peer,
            Err(why) => return self.sealed_refused(&why.to_string()),
        };
        let Some(card) = self.roster.current(&peer) else { return };
        let number = match signed.verify(card) {
            Ok((number, _)) => number,
            Err(why) => return self.peer_refused(&peer, format!("a prekey that is refused: {why}")),
        };
        let held = PrekeyHeld { card: card.serial, number };
        let known = self.prekeys.known.get(&(peer.clone(), card.serial)).map(|(known, _)| *known);
        if known.is_some_and(|known| known >= number) {
            self.answer(&peer, Frame::PrekeyHeld(held));
        } else if !self.commits.is_full() {
            self.commit(vec![Prepared::Prekey(signed.clone())], vec![Then::PrekeyHeld { to: peer, held }]);
        }
    }

    /// A peer holds a prekey of ours, durably.
    pub(super) fn prekey_held(&mut self, peer: &MemberId, held: PrekeyHeld) {
        if held.card == self.config.card.serial {
            self.emit(Event::PrekeyHeld { peer: peer.clone(), number: held.number });
        }
    }

    /// Takes a durable prekey into the state.
    pub(super) fn apply_prekey(&mut self, signed: &SignedPrekey) {
        // It was checked before the commit.
        if let Ok((member, card, number, prekey)) = signed.claims() {
            let known = self.prekeys.known.entry((member, card)).or_insert_with(|| (number, prekey.clone()));
            if known.0 < number {
                *known = (number, prekey);
            }
        }
    }
}
