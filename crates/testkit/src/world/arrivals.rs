//! What comes out of a stream: messages of a handshake, frames of a session, or the end.

use demarche_protocol::{
    channel::{Frame, FrameError, Input},
    identity::member::MemberId,
    limits,
    session::{Admission, Answered, Established, Expected, Opener, Responder, SessionId},
};

use super::{
    Broken, World,
    links::{Path, Stage},
};
use crate::network::StreamId;

impl World {
    pub(super) fn stream_ended(&mut self, party: &MemberId, stream: StreamId) -> Result<(), Broken> {
        let Some(running) = self.node(party).running.as_mut() else { return Ok(()) };
        running.incoming.remove(&stream);
        let found = running.links.iter().find_map(|(peer, link)| {
            link.paths.iter().find(|(_, path)| path.stream == stream).map(|(id, _)| (peer.clone(), *id))
        });
        if let Some((peer, id)) = found {
            self.forget(party, &peer, id);
            self.sessions(party, &peer, |sessions, now| sessions.closed(id, now))?;
        }
        Ok(())
    }

    pub(super) fn arrives(&mut self, stream: StreamId, to: &MemberId, message: &[u8]) -> Result<(), Broken> {
        let Some(ends) = self.network.stream(stream).cloned() else { return Ok(()) };
        let inbound = ends.acceptor == *to;
        let peer = if inbound { ends.opener } else { ends.acceptor };
        let Some(running) = self.node(to).running.as_mut() else { return Ok(()) };
        let known = running
            .links
            .get(&peer)
            .and_then(|link| link.paths.iter().find(|(_, path)| path.stream == stream).map(|(id, _)| *id));
        let deframer = running.incoming.entry(stream).or_default();
        if !deframer.push(message).is_empty() {
            return self.broken_stream(to, stream);
        }
        match known {
            Some(id) => self.read_messages(to, &peer, id, stream),
            None if inbound => {
                match deframer.preamble() {
                    Ok(Some(preamble)) if preamble.channel == self.scene.channel() => {}
                    Ok(None) => return Ok(()),
                    Ok(Some(_)) | Err(_) => return self.broken_stream(to, stream),
                }
                let first = self.node(to).running.as_mut().and_then(|running| {
                    running.incoming.get_mut(&stream)?.message(Responder::LIMIT).ok().flatten()
                });
                let Some(first) = first else { return self.broken_stream(to, stream) };
                let mut began = None;
                let now = self.now_at(to);
                if let Some(link) = self.link(to, &peer) {
                    let (id, decisions) = link.sessions.incoming(now);
                    link.paths.insert(id, Path { stream, stage: Stage::Incoming(first) });
                    began = Some(decisions);
                }
                self.sessions(to, &peer, |_, _| began.unwrap_or_default())
            }
            None => Ok(()),
        }
    }

    pub(super) fn broken_stream(&mut self, party: &MemberId, stream: StreamId) -> Result<(), Broken> {
        self.end_stream(stream, Some(party), true);
        self.stream_ended(party, stream)
    }

    pub(super) fn read_messages(
        &mut self,
        party: &MemberId,
        peer: &MemberId,
        id: SessionId,
        stream: StreamId,
    ) -> Result<(), Broken> {
        loop {
            let Some(running) = self.node(party).running.as_mut() else { return Ok(()) };
            let Some(path) = running.links.get_mut(peer).and_then(|link| link.paths.get_mut(&id)) else {
                return Ok(());
            };
            let limit = match &path.stage {
                Stage::Opened(_) => Opener::LIMIT,
                Stage::Answered(_) => Answered::LIMIT,
                Stage::Live(..) => limits::NOISE_MESSAGE,
                Stage::Incoming(_) => return Ok(()),
            };
            let Some(deframer) = running.incoming.get_mut(&stream) else { return Ok(()) };
            let message = match deframer.message(limit) {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                Err(_) => return self.broken_stream(party, stream),
            };
            self.read_message(party, peer, id, &message)?;
        }
    }

    fn read_message(
        &mut self,
        party: &MemberId,
        peer: &MemberId,
        id: SessionId,
        message: &[u8],
    ) -> Result<(), Broken> {
        let Some(path) = self.path(party, peer, id) else { return Ok(()) };
        let stream = path.stream;
        if let Stage::Live(session, _) = &mut path.stage {
            return match session.open(message).map(|bytes| Frame::decode(&bytes)) {
                Ok(Ok(frame)) => self.frame(party, peer, id, frame),
                Ok(Err(FrameError::UnknownKind(_))) => Ok(()),
                Ok(Err(_)) | Err(_) => self.broken_stream(party, stream),
            };
        }
        let Some(path) = self.forget_stage(party, peer, id) else { return Ok(()) };
        let mut roster = match self.channel(party) {
            Some(channel) => channel.roster().clone(),
            None => return Ok(()),
        };
        let expected = Expected { party: Some(peer.clone()), node: None };
        let mut admission = Admission { roster: &mut roster, expected };
        let (established, reply) = match path {
            Stage::Opened(opener) => match opener.read_message2(message, &mut admission) {
                Ok((established, reply)) => (established, Some(reply)),
                Err(_) => return self.broken_stream(party, stream),
            },
            Stage::Answered(answered) => match answered.read_message3(message, &mut admission) {
                Ok(established) => (established, None),
                Err(_) => return self.broken_stream(party, stream),
            },
            Stage::Incoming(_) | Stage::Live(..) => return Ok(()),
        };
        self.established(party, peer, id, established, reply)
    }

    fn forget_stage(&mut self, party: &MemberId, peer: &MemberId, id: SessionId) -> Option<Stage> {
        let path = self.path(party, peer, id)?;
        Some(std::mem::replace(&mut path.stage, Stage::Incoming(Vec::new())))
    }

    fn established(
        &mut self,
        party: &MemberId,
        peer: &MemberId,
        id: SessionId,
        established: Established,
        reply: Option<Vec<u8>>,
    ) -> Result<(), Broken> {
        let Established { session, peer: who } = established;
        self.tally.sessions += 1;
        if let Some(path) = self.path(party, peer, id) {
            path.stage = Stage::Live(Box::new(session), Box::new(who.card.clone()));
            let stream = path.stream;
            if let Some(reply) = reply {
                self.send(stream, peer, reply);
            }
        }
        if who.roster_changed {
            let request = self.request();
            let document = who.card.document().clone();
            self.input(party, Input::Roster { request, document })?;
        }
        self.sessions(party, peer, |sessions, now| sessions.completed(id, now))
    }

    fn frame(
        &mut self,
        party: &MemberId,
        peer: &MemberId,
        id: SessionId,
        frame: Frame,
    ) -> Result<(), Broken> {
        self.note(party, peer, |sessions, now| sessions.heard(id, frame.answers(), now));
        if matches!(frame, Frame::Hello(_)) {
            self.sessions(party, peer, |sessions, now| sessions.greeted(id, now))?;
        }
        self.input(party, Input::Frame { peer: peer.clone(), frame })
    }
}
