//! Every bound and interval of the node outside the transports, with its reason.

use std::time::Duration;

/// Worker threads. The line is bound by the disk, and each thread costs stack and arena.
pub(crate) const WORKERS: usize = 2;

/// How long a node takes to end after SIGTERM, at most. A service manager kills after ninety seconds; an
/// operator at a terminal waits less.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(5);

/// How long officers' requests may still be answered while the node stops.
pub(crate) const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// Requests that wait for one channel's task. 64 outstanding notices and as many readers fit; more wait in their
/// own connections.
pub(crate) const REQUESTS: usize = 256;

/// Bytes of sealed frames that wait for a stream. A frame has at most 64 KiB, so one always fits; and on a line of 1
/// Mbit/s what was chosen before a FLASH came delays it by half a second at most for each 64 KiB.
pub(crate) const SENDING: usize = 64 << 10;

/// Bytes read from a stream at once: four frames of the usual size.
pub(crate) const READING: usize = 16 << 10;

/// Bytes of entries kept in memory, so that what was just recorded is not read back from the disk to be sent.
pub(crate) const ITEMS: usize = 1 << 20;

/// Streams of other nodes whose first bytes have not told the channel yet, or whose handshake is under way with a node
/// that only its card will name.
pub(crate) const UNNAMED_STREAMS: usize = 32;

/// Of those, streams of one node: its session in each of several channels, and one that takes over; never all of them.
pub(crate) const UNNAMED_STREAMS_OF_ONE: usize = 8;

/// How long a session that is ended on purpose may take to say so.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

/// Transient events (links, alarms) that a slow listener may fall behind; then it is told that it missed some.
pub(crate) const NEWS: usize = 256;

/// Records read from the journal at once for a listener.
pub(crate) const JOURNAL_PAGE: usize = 64;

/// Disowned dispatches told one by one with the volume that left them behind; it says how many there are.
pub(crate) const DISOWNED_TOLD: usize = 64;

/// Connections to the officers' socket at one time, those of the node's own account not counted. Each costs some 20 KiB and
/// a file descriptor.
pub(crate) const CONNECTIONS: usize = 384;

/// Of those, connections of one account: a desk's watches and commands, many times over.
pub(crate) const CONNECTIONS_OF_ONE: usize = 128;

/// Longest body of a request, in bytes: a document of 48 KiB as JSON (six bytes for each at worst) with every
/// signature it may carry.
pub(crate) const BODY: usize = 512 << 10;

/// How long a program of the operator's may run: the hook, the heartbeat.
pub(crate) const PROGRAM_TIME: Duration = Duration::from_secs(10);

/// Hooks that run at one time; alarms beyond wait.
pub(crate) const HOOKS: usize = 4;

/// Alarms that wait for a hook; beyond that it is not told of them, and that is an alarm.
pub(crate) const HOOK_QUEUE: usize = 256;

/// How long it is waited for the line to stand again while the node takes a new card.
pub(crate) const NEW_LINE: Duration = Duration::from_secs(5);

/// How long a mediator over which a peer was not reached stands behind the others. A session's own tries are seconds apart: in
/// this time each of the others has its turn, and then the nearest is the nearest again.
pub(crate) const FAILED_WAY: Duration = Duration::from_secs(60);

/// A mediator whose pings have gone unanswered for this long stands behind one that answers: two were due, and one of them may be late.
pub(crate) const QUIET_WAY: Duration = Duration::from_secs(4);

/// How long a line test may take over all paths.
pub(crate) const LINE_TEST: Duration = Duration::from_secs(10);

/// Documents in one roster exchange: cards, roots and revocations of a channel of 32 members, several times over.
pub(crate) const EXCHANGE_DOCUMENTS: usize = 256;

/// Bytes of one roster exchange in each direction.
pub(crate) const ROSTER_BYTES: usize = 512 << 10;

/// How long one roster exchange may take.
pub(crate) const ROSTER_TIME: Duration = Duration::from_secs(5);

/// Roster exchanges that others opened, at one time: each may hold [`ROSTER_BYTES`].
pub(crate) const ROSTER_EXCHANGES: usize = 16;

/// Messages that wait for a custody stream, in either direction: receipts of deposits, names of envelopes, and of envelopes themselves no more
/// than one for each channel and peer.
pub(crate) const COURIER_QUEUE: usize = 256;

/// How long one message may take to be written to a custody stream: the longest envelope on a line of 9,600 bit/s takes 440 s.
pub(crate) const COURIER_SILENCE: Duration = Duration::from_secs(600);

/// How long after a custody stream has ended it is opened again; doubled with each failure, up to 32 times as long.
pub(crate) const COURIER_AGAIN: Duration = Duration::from_millis(500);

/// How old the newest prekey becomes before a new one is made. What was sealed to it stays readable for a thief of the node's keys for so long, and the
/// charter's custody time.
pub(crate) const PREKEY_EVERY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How often it is looked whether a prekey is to be made or erased. Their times are counted in days.
pub(crate) const PREKEYS_TENDED: Duration = Duration::from_secs(60 * 60);

/// How often a mediator looks for envelopes whose time has run out. Their time is counted in days.
pub(crate) const EXPIRY_EVERY: Duration = Duration::from_secs(60);

/// How often a roster is brought to a mediator that is already connected, should an earlier attempt have failed.
pub(crate) const ROSTER_AGAIN: Duration = Duration::from_secs(60);

/// How long after a failed roster exchange it is tried again.
pub(crate) const ROSTER_RETRY: Duration = Duration::from_secs(1);
