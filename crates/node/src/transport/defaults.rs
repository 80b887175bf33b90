//! Every bound and interval of the transports, with its reason.

use std::time::Duration;

// ---- Liveness -------------------------------------------------------------------------------------

/// How often each connection and circuit is pinged. With all overhead some 70 bytes a second each way.
pub(crate) const PING_INTERVAL: Duration = Duration::from_millis(1500);

/// A TCP connection or circuit on which no ping was answered for this long is closed and dialled anew. Far above the
/// 2.1 s that a ping took beside bulk data at 1 Mbit/s, so that a busy line is not mistaken for a dead one; low enough
/// that TCP's own back-off (retransmissions after 0.2, 0.6, 1.4, 3, 6.2, 12.6 s) never makes a healed link wait 5 s.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(8);

/// The same for QUIC. When a program dies its system closes its TCP connections, but for UDP nobody speaks, and the
/// restarted program does not know the old connections: this alone bounds how long its return goes unnoticed.
pub(crate) const QUIC_SILENCE_LIMIT: Duration = Duration::from_secs(4);

/// How long closing a connection may take before its socket is dropped. On a half-open link the closing words can
/// never be written, and TCP would try for a quarter of an hour.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

// ---- Connecting -----------------------------------------------------------------------------------

/// First pause before an address is dialled again. Short, since a restarted mediator is back within a second.
pub(crate) const BACKOFF_START: Duration = Duration::from_millis(200);

/// Longest pause between dials of one address. Delivery must resume within 5 s of a mediator's return without a
/// hand on it: 2 s of pause leave 3 s for handshakes and reservation. One SYN in 2 s is no burden to anybody.
pub(crate) const BACKOFF_LIMIT: Duration = Duration::from_secs(2);

/// A connection that lasted this long starts its next back-off from [`BACKOFF_START`]; a shorter one does not, so
/// that two places fighting over one key, or a mediator that throws us out, are not hammered.
pub(crate) const STABLE_AFTER: Duration = Duration::from_secs(10);

/// How much later QUIC is dialled than TCP: where both work TCP wins, where TCP is blocked little is lost (RFC 8305
/// recommends 250 ms between such attempts).
pub(crate) const QUIC_DELAY: Duration = Duration::from_millis(300);

/// A mediator's address that goes on failing for the same cause is reported again after this long.
pub(crate) const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// How long a socket that is in use is waited for before the start fails. Our own last transport lets go of it within
/// milliseconds; somebody else's would not.
pub(crate) const RELEASE_TIME: Duration = Duration::from_secs(2);

/// Longest time for one connection's handshakes: three round trips of a two-second satellite path, and slack.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for a stream to open, circuit and handshakes included.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(12);

/// Most addresses of one mediator that are dialled; a card that lists more has its first ones used.
pub(crate) const MAX_ADDRESSES: usize = 8;

/// Most streams that may wait for one circuit to be made. A channel needs one.
pub(crate) const MAX_WAITING_OPENS: usize = 64;

// ---- Streams --------------------------------------------------------------------------------------

/// Streams that one connection of a known node may have open. Each circuit, ping and session is one; a capital with
/// 16 channels stays well below. Bounds the multiplexer's buffers (256 KiB a stream) at 64 MiB for a node that turns
/// hostile although the roots vouched for it.
pub(crate) const MAX_STREAMS: usize = 256;

/// Streams that a stranger's connection may have open: two pings, a reservation that is refused, its roster stream.
/// Bounds what one can make us buffer at 1 MiB.
pub(crate) const MAX_STRANGER_STREAMS: usize = 4;

/// Streams of one connection whose protocol is still being negotiated.
pub(crate) const MAX_NEGOTIATING_STREAMS: usize = 8;

/// What a QUIC peer may send ahead on one connection, in bytes: a stranger's 1 MiB again. Limits a circuit to 5 MiB/s
/// at 200 ms of round trip, far above what documents need.
pub(crate) const QUIC_CONNECTION_WINDOW: u32 = 1 << 20;

/// What a QUIC peer may send ahead on one stream, in bytes: yamux's own value.
pub(crate) const QUIC_STREAM_WINDOW: u32 = 256 << 10;

// ---- Strangers ------------------------------------------------------------------------------------

/// How long a stranger's connection lasts: enough for one card at 16 kbit/s, too short to hoard.
pub(crate) const STRANGER_TIME: Duration = Duration::from_secs(10);

/// How long a stranger's connection lasts once its node has become known: time for the answer on its roster stream to
/// be written. It then comes back with a known node's rights.
pub(crate) const WELCOME_TIME: Duration = Duration::from_secs(1);

/// Strangers connected at one time. With 1 MiB each, all of them together cannot make us buffer more than 32 MiB.
pub(crate) const MAX_STRANGERS: usize = 32;

/// Strangers connected from one address (an IPv6 /64 counts as one), so that one cannot keep out all others.
pub(crate) const MAX_STRANGERS_PER_HOST: usize = 8;

/// Handshakes under way at one time. At some 40 KiB each (TLS buffers and certificates) 20 MiB at most.
pub(crate) const MAX_HANDSHAKES: usize = 512;

/// Handshakes under way from one address.
pub(crate) const MAX_HANDSHAKES_PER_HOST: usize = 64;

/// Handshakes beyond both limits that are kept for addresses from which a known node has connected, so that a flood
/// from elsewhere does not keep a capital out that merely lost its line.
pub(crate) const RESERVED_HANDSHAKES: usize = 64;

/// Addresses remembered for [`RESERVED_HANDSHAKES`].
pub(crate) const MAX_FAMILIAR_HOSTS: usize = 256;

/// Connections of one known node. It uses one for each carrier, and a few half-open ones may linger.
pub(crate) const MAX_CONNECTIONS_PER_NODE: usize = 8;

// ---- Relay ----------------------------------------------------------------------------------------

/// How long a reservation lasts. Its end is an absolute time by two wall clocks, and a client whose clock is past it
/// cannot reserve at all; 50 years leave room for clocks that are wrong by decades. The connection's own liveness and
/// the admission end reservations, not this.
pub(crate) const RESERVATION_TIME: Duration = Duration::from_secs(50 * 365 * 24 * 60 * 60);

/// How long a circuit lasts. The relay's wire format cannot say more, and 0 does not mean unlimited.
pub(crate) const CIRCUIT_TIME: Duration = Duration::from_secs(u32::MAX as u64);

/// Reservations a mediator holds at one time: connections of admitted nodes, whose number the rosters bound.
pub(crate) const MAX_RESERVATIONS: usize = 1024;

/// Circuits a mediator carries at one time. Each costs it two streams and two 8 KiB buffers.
pub(crate) const MAX_CIRCUITS: usize = 1024;

/// Circuits from or to one node: two for each of 32 peers.
pub(crate) const MAX_CIRCUITS_PER_NODE: usize = 64;

/// Circuits that one connection may ask for in vain before it is closed. The relay counts each against
/// [`MAX_CIRCUITS_PER_NODE`] until then.
pub(crate) const MAX_REFUSED_CIRCUITS: usize = 16;

/// One key counts as in use at two places when a new connection displaced a live one this often within
/// [`DISPLACED_WITHIN`]. A lone node cannot do that: it dials only after its own connection ended.
pub(crate) const DISPLACED_TIMES: usize = 3;

/// See [`DISPLACED_TIMES`]. Two places that keep displacing each other do so every 2 s ([`BACKOFF_LIMIT`]).
pub(crate) const DISPLACED_WITHIN: Duration = Duration::from_secs(30);

// ---- Queues ---------------------------------------------------------------------------------------

/// Commands that wait for the network task. It never waits for anything itself, so more means a caller in a loop.
pub(crate) const COMMAND_QUEUE: usize = 64;

/// Events that wait for the runtime before streams are refused as [`Busy`](super::Refusal::Busy); half of it before
/// pings and refusals are left out. Link states change seldom and streams are few.
pub(crate) const EVENT_QUEUE: usize = 128;

/// Events of any kind that wait for the runtime at most. A runtime this far behind has stopped.
pub(crate) const EVENT_BACKLOG: usize = 4096;
