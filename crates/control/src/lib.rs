//! The local API between the officers' tool and the node: all that either knows of the other.
//!
//! The node serves HTTP/1.1 with JSON on the Unix socket `DIR/control.sock`. [`types`] says what travels,
//! [`problem`] how a refusal looks, [`client`] and [`events`] ask and listen, [`layout`] names every file of a
//! data directory once for both, [`secret_file`] is the form of the secret ones, and [`backup`] that of what a backup holds. Times are RFC 3339 in UTC with
//! milliseconds, hashes lower-case hexadecimal. Texts that came from a peer are passed on as they are: whoever prints
//! them escapes them first.

pub mod backup;
pub mod bookmark;
pub mod client;
pub mod events;
pub mod layout;
pub mod problem;
pub mod secret_file;
mod serde_text;
pub mod serial;
pub mod signed_file;
pub mod types;

pub use bookmark::{Bookmark, BookmarkError};
pub use client::{Client, ClientError};
pub use events::EventStream;
pub use problem::{Code, Problem};
pub use serial::Serial;
pub use signed_file::{SignedFile, SignedFileError};
