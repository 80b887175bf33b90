//! The channel's way to custody: what the machine wants deposited is sealed here and given to the courier; what mediators say is brought to the
//! machine, envelopes opened.

use std::collections::BTreeMap;

use demarche_protocol::{
    channel::{Addressee, Frame, FrameError, Input, Outgoing, ParcelId},
    custody::{NotKept, Stated, ToCapital, ToMediator},
    envelope::{Envelope, Recipient, Salt},
    hash::EnvelopeHash,
    identity::member::MemberId,
};

use super::task::Task;
use crate::runtime::{
    courier::{Mail, Outbox},
    news::Cause,
    random,
};

/// What a channel keeps of its custody while it runs.
#[derive(Default)]
pub(super) struct Post {
    outboxes: BTreeMap<MemberId, Outbox>,
    /// Envelopes that mediators have not answered for.
    parcels: BTreeMap<(MemberId, EnvelopeHash), (ParcelId, Salt)>,
}

impl Task {
    /// The courier has something.
    pub(super) fn mail(&mut self, mail: Mail) {
        match mail {
            Mail::Up(mediator, outbox) => {
                self.mediator_gone(&mediator);
                self.post.outboxes.insert(mediator.clone(), outbox);
                self.input(Input::MediatorUp { mediator });
            }
            // One that was replaced has ended for this channel already.
            Mail::Down(mediator, number) => {
                let known = self.post.outboxes.get(&mediator);
                if known.is_some_and(|outbox| outbox.number == number) {
                    self.mediator_gone(&mediator);
                    self.input(Input::MediatorDown { mediator });
                }
            }
            Mail::Heard(mediator, message) => self.mediator_said(&mediator, *message),
        }
    }

    fn mediator_gone(&mut self, mediator: &MemberId) {
        self.post.outboxes.remove(mediator);
        self.post.parcels.retain(|(with, _), _| with != mediator);
    }

    fn mediator_said(&mut self, mediator: &MemberId, message: ToCapital) {
        let input = match message {
            ToCapital::Kept(keeps) => {
                let envelope = keeps.statement.claims(self.id()).map(|statement| statement.envelope);
                let parcel =
                    envelope.ok().and_then(|name| self.post.parcels.remove(&(mediator.clone(), name)));
                let Some((parcel, salt)) = parcel else { return };
                Input::ParcelKept { parcel, salt, keeps }
            }
            ToCapital::Refused(refused) => {
                let key = (mediator.clone(), refused.named.envelope);
                let Some((parcel, _)) = self.post.parcels.remove(&key) else { return };
                Input::ParcelRefused { parcel, why: refused.why }
            }
            ToCapital::Envelope(envelope) => {
                let opened = self.open_envelope(&envelope);
                Input::Envelope { from: Some(mediator.clone()), envelope: envelope.hash(), opened }
            }
            ToCapital::Ended(statement) => Input::CustodyEnded { mediator: mediator.clone(), statement },
            ToCapital::Prekey(published) => Input::Prekey { prekey: published.prekey },
        };
        self.input(input);
    }

    /// What is in an envelope for us; none when it does not open.
    fn open_envelope(&mut self, envelope: &Envelope) -> Option<Vec<Result<Frame, FrameError>>> {
        let is_ours = envelope.channel() == self.id() && envelope.to() == self.machine.me();
        let (card, number) = envelope.prekey();
        let secret = self.prekeys.secret(card, number).filter(|_| is_ours);
        let opened = secret.ok_or_else(|| "it is sealed to a prekey that is not here".to_owned());
        let opened = opened.and_then(|secret| envelope.open(&secret).map_err(|why| why.to_string()));
        opened
            .map_err(|why| {
                if self.throttle.admits("custody", &why) {
                    tracing::warn!(envelope = envelope.hash().short(), why, "an envelope was not opened");
                }
            })
            .ok()
    }

    /// Seals what is owed and gives it to a mediator.
    pub(super) fn deposit(
        &mut self,
        parcel: ParcelId,
        mediator: &MemberId,
        to: &Addressee,
        contents: Vec<Outgoing>,
    ) {
        let frames: Vec<Frame> = contents.into_iter().filter_map(|outgoing| self.frame(outgoing)).collect();
        let recipient = Recipient {
            channel: self.id(),
            member: &to.member,
            card: to.card,
            number: to.number,
            prekey: &to.prekey,
        };
        let sealed = random::generator()
            .map_err(|why| why.to_string())
            .and_then(|mut rng| Envelope::seal(&recipient, &frames, &mut rng).map_err(|why| why.to_string()));
        match sealed {
            Ok((envelope, salt)) => {
                self.post.parcels.insert((mediator.clone(), envelope.hash()), (parcel, salt));
                self.say(mediator, ToMediator::Deposit(envelope));
            }
            Err(why) => {
                tracing::error!(peer = to.member.as_str(), why, "nothing could be sealed");
                self.input(Input::ParcelRefused { parcel, why: NotKept::NoSpace });
            }
        }
    }

    /// Says something to a mediator.
    pub(super) fn say(&self, mediator: &MemberId, message: ToMediator) {
        if let Some(outbox) = self.post.outboxes.get(mediator) {
            outbox.say(message);
        }
    }

    /// A mediator keeps something no more.
    pub(super) fn custody_ended(&self, peer: &MemberId, mediator: &MemberId, says: &Stated, entries: usize) {
        if let Stated::Expired { since, .. } = says
            && entries > 0
        {
            let detail = format!(
                "{mediator} kept {entries} of our entries for {peer} since {since} and nobody collected them: they are deposited again"
            );
            self.news.alarm(self.id(), Some(peer), Cause::CustodyExpired, detail);
        }
    }

    /// A mediator does not keep something.
    pub(super) fn custody_refused(&self, peer: &MemberId, mediator: &MemberId, why: NotKept) {
        let detail = format!("{mediator} does not keep what is for {peer}: {why}");
        self.news.alarm(self.id(), Some(peer), Cause::CustodyRefused, detail);
    }
}
