//! The live session: what two capitals' nodes say to each other, so that whoever carries it sees sizes and
//! times alone (`docs/protocol.md` §7).
//!
//! A stream begins with a [`Preamble`] in clear, then carries Noise messages, each with its length before it
//! ([`Deframer`]). Three of them are the handshake: [`Opener`] and [`Responder`] are states that consume themselves, and what
//! comes out at the end, an [`Established`], cannot be had without the peer's card having been found current in the
//! roster ([`admission`]). Then a [`Session`] seals and opens frames. Which session lives when there are several is
//! decided by [`Sessions`], one per peer, in the simulator and in the node alike.
//!
//! No IO, no clock and no randomness of its own: each handshake draws all it needs from the generator it is
//! given, at its start, so a simulation replays a run to the byte.

pub mod admission;
pub mod choose;
pub mod handshake;
pub mod introduction;
mod pulse;
mod secret;
pub mod stream;
pub mod transport;

pub use admission::{Admission, Expected, Peer, Refusal};
pub use choose::{Decision, Ending, OpenedBy, SessionId, Sessions};
pub use handshake::{Answered, Established, HandshakeError, Local, MessageNumber, Opener, Responder};
pub use introduction::Introduction;
pub use secret::SessionSecret;
pub use stream::{Deframer, PREAMBLE_LENGTH, Preamble, StreamError, VERSION};
pub use transport::{Session, SessionError};
