//! The transport within one process, for tests of what stands on top: no sockets, no time, links that can be cut.
//!
//! A [`Network`] holds capitals and mediators and keeps the same promises as the real one: links follow
//! directories, reservations follow admissions, streams end with whatever they need, and each change is told in the
//! same events. All effects of a call have happened when it returns, so tests need no waiting.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    sync::mpsc,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    Address, Admission, ByteStream, Carrier, Directory, Events, Incoming, NodeId, OpenError, Refusal,
    RosterStream, RosterTarget, StreamKind, Transport, TransportEvent,
    defaults::{EVENT_BACKLOG, MAX_STREAMS},
};

/// What a stream holds between its two ends, in bytes: a multiplexer's window.
const STREAM_WINDOW: usize = 256 << 10;
/// What every ping measures here.
const ROUND_TRIP: Duration = Duration::from_millis(1);

/// Capitals and mediators, and the wires between them. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    members: BTreeMap<NodeId, Member>,
    /// Wires that are cut, lower id first.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Who is presented in whose place.
    misled: BTreeMap<(NodeId, NodeId), NodeId>,
    /// Mediators that know of nobody.
    barren: BTreeSet<NodeId>,
    /// Mediators that hang: nothing ends, and nothing passes.
    hanging: BTreeSet<NodeId>,
    /// Capital and mediator that are connected.
    links: BTreeSet<(NodeId, NodeId)>,
    /// Those of them with a reservation.
    reserved: BTreeSet<(NodeId, NodeId)>,
    streams: Vec<Pipe>,
}

struct Member {
    /// Where a mediator listens; a capital has none.
    listening: Option<Address>,
    directory: Directory,
    admission: Admission,
    events: mpsc::Sender<TransportEvent>,
}

struct Pipe {
    from: NodeId,
    to: NodeId,
    via: Option<NodeId>,
    kind: StreamKind,
    gone: CancellationToken,
    /// Cancelled when its mediator has hung: what it held never comes.
    hangs: CancellationToken,
    /// Dead once both ends were dropped.
    ends: Weak<()>,
}

impl Pipe {
    fn in_use(&self) -> bool {
        self.ends.strong_count() > 0
    }

    fn over(&self, mediator: NodeId) -> bool {
        self.via == Some(mediator) || self.to == mediator
    }
}

impl Network {
    /// A network with nobody on it.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Starts a capital. One that was shut down may be started again.
    pub(crate) fn capital(&self, node: NodeId) -> (MemoryTransport, Events) {
        self.join(node, None)
    }

    /// Starts a mediator that listens at `address`. One that was shut down may be started again.
    pub(crate) fn mediator(&self, node: NodeId, address: Address) -> (MemoryTransport, Events) {
        self.join(node, Some(address))
    }

    /// Cuts the wire between a capital and a mediator: their link and all that runs over it ends.
    pub(crate) fn cut(&self, a: NodeId, b: NodeId) {
        let mut state = self.lock();
        state.cut.insert(wire(a, b));
        state.settle("the wire is cut");
    }

    /// Mends the wire between a capital and a mediator; they are connected again when this returns.
    pub(crate) fn mend(&self, a: NodeId, b: NodeId) {
        let mut state = self.lock();
        state.cut.remove(&wire(a, b));
        state.settle("the wire is mended");
    }

    /// From now on, a mediator says of everybody that they are not there.
    pub(crate) fn make_barren(&self, mediator: NodeId) {
        self.lock().barren.insert(mediator);
    }

    /// From now on a mediator hangs: its links stand, and what is sent over it vanishes.
    pub(crate) fn hang(&self, mediator: NodeId) {
        let mut state = self.lock();
        state.hanging.insert(mediator);
        state.streams.iter().filter(|pipe| pipe.over(mediator)).for_each(|pipe| pipe.hangs.cancel());
    }

    /// A mediator goes on. What it held is lost, with all that ran over it.
    pub(crate) fn go_on(&self, mediator: NodeId) {
        let mut state = self.lock();
        state.hanging.remove(&mediator);
        state.streams.iter().filter(|pipe| pipe.over(mediator)).for_each(|pipe| pipe.gone.cancel());
    }

    /// From now on, mediators bring what `from` opens to `to` to `instead`. (On a real network the transport finds that out
    /// before the session does; here the session has to.)
    pub(crate) fn mislead(&self, from: NodeId, to: NodeId, instead: NodeId) {
        self.lock().misled.insert((from, to), instead);
    }

    /// Mediators bring everything to whom it is for again.
    pub(crate) fn lead_rightly(&self) {
        self.lock().misled.clear();
    }

    fn join(&self, node: NodeId, listening: Option<Address>) -> (MemoryTransport, Events) {
        let (events, receiver) = mpsc::channel(EVENT_BACKLOG);
        let member =
            Member { listening, directory: Directory::default(), admission: Admission::new(), events };
        let mut state = self.lock();
        state.members.insert(node, member);
        state.settle("the node started again");
        (MemoryTransport { network: self.clone(), node }, Events(receiver))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wire(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl State {
    /// Brings links, reservations and streams in line with directories, admissions and wires.
    fn settle(&mut self, reason: &str) {
        let links = self.links_now();
        for (capital, mediator) in self.links.difference(&links).copied().collect::<Vec<_>>() {
            let reason = reason.to_owned();
            self.tell(capital, TransportEvent::MediatorDown { node: mediator, reason: reason.clone() });
            self.tell(mediator, TransportEvent::PeerDisconnected { node: capital, reason });
        }
        let new: Vec<_> = links.difference(&self.links).copied().collect();
        self.links = links;
        for (capital, mediator) in new {
            self.tell_link(capital, mediator);
        }
        let reserved: BTreeSet<_> = self
            .links
            .iter()
            .filter(|(capital, mediator)| {
                self.members.get(mediator).is_some_and(|m| m.admission.admits(*capital))
            })
            .copied()
            .collect();
        for (capital, mediator) in self.reserved.difference(&reserved).copied().collect::<Vec<_>>() {
            if self.links.contains(&(capital, mediator)) {
                let reason = "the mediator no longer admits us".to_owned();
                self.tell(capital, TransportEvent::ReservationLost { node: mediator, reason });
                let refused = TransportEvent::Refused { who: Some(capital), why: Refusal::Removed };
                self.tell(mediator, refused);
            }
        }
        let new: Vec<_> = reserved.difference(&self.reserved).copied().collect();
        self.reserved = reserved;
        for (capital, mediator) in new {
            self.tell(capital, TransportEvent::Reserved { node: mediator });
            self.tell(mediator, TransportEvent::PeerReserved { node: capital });
        }
        let streams = std::mem::take(&mut self.streams);
        let (stay, end): (Vec<_>, Vec<_>) = streams
            .into_iter()
            .partition(|pipe| pipe.in_use() && self.may_run(pipe.from, pipe.to, pipe.via, pipe.kind));
        self.streams = stay;
        for pipe in end {
            pipe.gone.cancel();
        }
    }

    fn links_now(&self) -> BTreeSet<(NodeId, NodeId)> {
        let mut links = BTreeSet::new();
        for (capital, member) in &self.members {
            for path in &member.directory.mediators {
                let answers = self
                    .members
                    .get(&path.node)
                    .and_then(|mediator| mediator.listening.as_ref())
                    .is_some_and(|address| path.addresses.contains(address));
                if answers && !self.cut.contains(&wire(*capital, path.node)) {
                    links.insert((*capital, path.node));
                }
            }
        }
        links
    }

    fn tell_link(&self, capital: NodeId, mediator: NodeId) {
        let Some(address) = self.members.get(&mediator).and_then(|m| m.listening.clone()) else {
            return;
        };
        let admitted = self.members.get(&mediator).is_some_and(|m| m.admission.admits(capital));
        let from = format!("memory:{capital:?}");
        self.tell(mediator, TransportEvent::PeerConnected { node: capital, from, admitted });
        let carrier = Carrier::Tcp;
        self.tell(capital, TransportEvent::MediatorUp { node: mediator, address, carrier });
        self.tell(capital, TransportEvent::Rtt { peer: mediator, via: None, rtt: ROUND_TRIP });
    }

    /// Whether a stream of this kind may exist between the two.
    fn may_run(&self, from: NodeId, to: NodeId, via: Option<NodeId>, kind: StreamKind) -> bool {
        match (via, kind) {
            (Some(via), StreamKind::Live) => {
                self.joined(from, to, via) && self.knows(from, to) && self.knows(to, from)
            }
            (Some(via), _) => self.joined(from, to, via),
            (None, StreamKind::Custody) => {
                self.links.contains(&(from, to))
                    && self.members.get(&to).is_some_and(|m| m.admission.admits(from))
            }
            (None, _) => self.members.contains_key(&to) && !self.cut.contains(&wire(from, to)),
        }
    }

    /// Whether the mediator would make a circuit between the two.
    fn joined(&self, from: NodeId, to: NodeId, via: NodeId) -> bool {
        self.reserved.contains(&(from, via))
            && self.reserved.contains(&(to, via))
            && self.members.get(&via).is_some_and(|m| m.admission.share_a_channel(from, to))
    }

    fn knows(&self, node: NodeId, peer: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| member.directory.peers.contains(&peer))
    }

    fn open_over(
        &mut self,
        from: NodeId,
        to: NodeId,
        via: NodeId,
        kind: StreamKind,
    ) -> Result<ByteStream, OpenError> {
        let member = self.members.get(&from).ok_or(OpenError::Shutdown)?;
        let listed = member.directory.mediators.iter().any(|path| path.node == via);
        if !listed || !member.directory.peers.contains(&to) {
            return Err(OpenError::NotInDirectory);
        }
        if !self.links.contains(&(from, via)) {
            return Err(OpenError::MediatorDown);
        }
        if !self.reserved.contains(&(from, via)) {
            return Err(OpenError::Refused);
        }
        if self.barren.contains(&via) || !self.reserved.contains(&(to, via)) {
            return Err(OpenError::PeerAbsent);
        }
        if !self.joined(from, to, via) {
            let why = Refusal::Circuit { destination: to };
            self.tell(via, TransportEvent::Refused { who: Some(from), why });
            return Err(OpenError::Failed("the mediator dropped the request".to_owned()));
        }
        let to = self.misled.get(&(from, to)).copied().unwrap_or(to);
        Ok(self.pipe(from, to, Some(via), kind))
    }

    /// Makes a stream and delivers its far end. Like the real ones, one that is refused opens and then ends.
    fn pipe(&mut self, from: NodeId, to: NodeId, via: Option<NodeId>, kind: StreamKind) -> ByteStream {
        let gone = CancellationToken::new();
        let (near, far) = duplex(STREAM_WINDOW);
        let ends = Arc::new(());
        let hangs = CancellationToken::new();
        if self.hanging.contains(&via.unwrap_or(to)) {
            hangs.cancel();
        }
        let near = End::new(near, gone.clone(), hangs.clone(), ends.clone());
        let known = match via {
            Some(_) => self.knows(to, from),
            None => self.members.get(&to).is_some_and(|m| m.admission.admits(from)),
        };
        self.streams.retain(Pipe::in_use);
        let room = self.streams.len() < MAX_STREAMS * self.members.len();
        if room && self.may_run(from, to, via, kind) && (known || kind == StreamKind::Roster) {
            let ends_of = Arc::downgrade(&ends);
            let pipe = Pipe { from, to, via, kind, gone: gone.clone(), hangs: hangs.clone(), ends: ends_of };
            self.streams.push(pipe);
            let stream = Box::new(End::new(far, gone, hangs, ends));
            self.tell(to, TransportEvent::Incoming(Incoming { peer: from, via, kind, known, stream }));
        } else {
            let why = if known { Refusal::Busy } else { Refusal::UnknownNode(kind) };
            self.tell(to, TransportEvent::Refused { who: Some(from), why });
            gone.cancel();
        }
        Box::new(near)
    }

    fn tell(&self, node: NodeId, event: TransportEvent) {
        if let Some(member) = self.members.get(&node)
            && let Err(error) = member.events.try_send(event)
        {
            tracing::debug!(?node, %error, "an event is not read");
        }
    }
}

/// A node's handle on a [`Network`].
#[derive(Clone)]
pub(crate) struct MemoryTransport {
    network: Network,
    node: NodeId,
}

impl MemoryTransport {
    fn open_with(
        &self,
        open: impl FnOnce(&mut State, NodeId) -> Result<ByteStream, OpenError> + Send + 'static,
    ) -> BoxFuture<'static, Result<ByteStream, OpenError>> {
        let (network, node) = (self.network.clone(), self.node);
        async move { open(&mut network.lock(), node) }.boxed()
    }
}

impl Transport for MemoryTransport {
    fn set_directory(&self, directory: Directory) {
        let mut state = self.network.lock();
        if let Some(member) = state.members.get_mut(&self.node) {
            member.directory = directory;
        }
        state.settle("the directory changed");
    }

    fn set_admission(&self, admission: Admission) {
        let mut state = self.network.lock();
        if let Some(member) = state.members.get_mut(&self.node)
            && member.listening.is_some()
        {
            member.admission = admission;
        }
        state.settle("the admission changed");
    }

    fn open(&self, peer: NodeId, via: NodeId) -> BoxFuture<'static, Result<ByteStream, OpenError>> {
        self.open_with(move |state, node| state.open_over(node, peer, via, StreamKind::Live))
    }

    fn open_custody(&self, mediator: NodeId) -> BoxFuture<'static, Result<ByteStream, OpenError>> {
        self.open_with(move |state, node| {
            state.linked(node, mediator)?;
            Ok(state.pipe(node, mediator, None, StreamKind::Custody))
        })
    }

    fn open_roster(&self, target: RosterTarget) -> BoxFuture<'static, Result<RosterStream, OpenError>> {
        let (network, node) = (self.network.clone(), self.node);
        async move {
            let mut state = network.lock();
            let kind = StreamKind::Roster;
            let (node, stream) = match target {
                RosterTarget::Mediator(mediator) => {
                    state.linked(node, mediator)?;
                    (mediator, state.pipe(node, mediator, None, kind))
                }
                RosterTarget::Peer { peer, via } => (peer, state.open_over(node, peer, via, kind)?),
                RosterTarget::Address(address) => {
                    let mediator = state.at(node, &address)?;
                    (mediator, state.pipe(node, mediator, None, kind))
                }
            };
            Ok(RosterStream { node, stream })
        }
        .boxed()
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        let (network, node) = (self.network.clone(), self.node);
        async move {
            let mut state = network.lock();
            state.members.remove(&node);
            state.settle("the node shut down");
        }
        .boxed()
    }
}

impl State {
    fn linked(&self, node: NodeId, mediator: NodeId) -> Result<(), OpenError> {
        let member = self.members.get(&node).ok_or(OpenError::Shutdown)?;
        if !member.directory.mediators.iter().any(|path| path.node == mediator) {
            return Err(OpenError::NotInDirectory);
        }
        if !self.links.contains(&(node, mediator)) {
            return Err(OpenError::MediatorDown);
        }
        Ok(())
    }

    /// Who answers `node` at `address`.
    fn at(&self, node: NodeId, address: &Address) -> Result<NodeId, OpenError> {
        if !self.members.contains_key(&node) {
            return Err(OpenError::Shutdown);
        }
        self.members
            .iter()
            .find(|(other, member)| {
                member.listening.as_ref() == Some(address) && !self.cut.contains(&wire(node, **other))
            })
            .map(|(other, _)| *other)
            .ok_or_else(|| OpenError::Failed("nobody answers".to_owned()))
    }
}

/// One end of a stream that ends when the network says so.
struct End {
    inner: DuplexStream,
    gone: CancellationToken,
    hangs: CancellationToken,
    reading: Pin<Box<WaitForCancellationFutureOwned>>,
    writing: Pin<Box<WaitForCancellationFutureOwned>>,
    _in_use: Arc<()>,
}

impl End {
    fn new(inner: DuplexStream, gone: CancellationToken, hangs: CancellationToken, in_use: Arc<()>) -> Self {
        Self {
            inner,
            reading: Box::pin(gone.clone().cancelled_owned()),
            writing: Box::pin(gone.clone().cancelled_owned()),
            gone,
            hangs,
            _in_use: in_use,
        }
    }
}

fn unless_gone<T>(
    outcome: Poll<io::Result<T>>,
    gone: &mut Pin<Box<WaitForCancellationFutureOwned>>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    match gone.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        Poll::Pending => outcome,
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.gone.is_cancelled() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let hangs = self.hangs.is_cancelled();
        let outcome = if hangs { Poll::Pending } else { Pin::new(&mut self.inner).poll_read(cx, buffer) };
        if outcome.is_ready() {
            return outcome;
        }
        unless_gone(outcome, &mut self.reading, cx)
    }
}

impl AsyncWrite for End {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.gone.is_cancelled() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.hangs.is_cancelled() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if outcome.is_ready() {
            return outcome;
        }
        unless_gone(outcome, &mut self.writing, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
