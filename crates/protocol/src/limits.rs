//! Every bound, with its reason. What exceeds one is refused by name, never cut or dropped in silence.

use std::time::Duration;

/// Longest document text, in bytes. A page of prose is 3 KiB; with an entry it still fits one Noise message.
pub const DOCUMENT_TEXT: usize = 48 * 1024;
/// Longest body of a dispatch, in bytes: leaves room in [`DOCUMENT_TEXT`] for every other field.
pub const BODY: usize = 32 * 1024;
/// Longest title, name or other one-line text, in bytes.
pub const LINE: usize = 512;
/// Longest id of a party or mediator, in bytes: it stands in every serial and file name.
pub const MEMBER_ID: usize = 32;
/// Longest provision code, in bytes.
pub const PROVISION_CODE: usize = 32;
/// Most parties, and most mediators, of one charter: each costs a log, a session and a `seen` head.
pub const MEMBERS: usize = 16;
/// Most provisions of one charter.
pub const PROVISIONS: usize = 512;
/// Most fallback contacts of one member: they are printed whole, at the worst moment.
pub const FALLBACKS: usize = 16;
/// Most languages in which one provision has a title: far above the six of the United Nations.
pub const LANGUAGES: usize = 16;
/// Most addresses of one mediator: a node dials the first few of them at once and for ever, so more would only be more dialling in vain.
pub const ADDRESSES: usize = 16;
/// Most channels that one officer's document or revocation names.
pub const CHANNELS: usize = 16;
/// Most root keys of one member.
pub const ROOTS: usize = 16;
/// How often one member's roots are replaced under one charter. Once a year it would last two generations; a party could sign
/// lists without end, and everybody keeps all of them, because each vouches for what was signed under it.
pub const ROOTS_REPLACED: usize = 64;
/// Longest text of a card, list of roots or card's revocation that a roster keeps, in bytes: four times a usual card. With
/// every signature that may stand on it, it still fits one frame.
pub const ROSTER_TEXT: usize = 12 * 1024;
/// Most signatures on a document that is offered to a roster: of every root of the newest list that vouches for it and of the list in
/// force, and the node's own. Anybody may add others, and each costs whoever looks at it.
pub const ROSTER_SIGNATURES: usize = 2 * ROOTS + 1;
/// Most documents of one roster: of each member the lists of roots, two cards and one revocation.
pub const ROSTER_DOCUMENTS: usize = 2 * MEMBERS * (ROOTS_REPLACED + 3);
/// Most signatures on one document: every root of every member of the largest charter.
pub const SIGNATURES: usize = 2 * MEMBERS * ROOTS;
/// Most signatures an entry carries. Four eyes need two; roots at most [`ROOTS`], and the node's own.
pub const ENTRY_SIGNATURES: usize = ROOTS + 1;
/// Most heads of other logs that an entry names as seen: of each the ends of all its branches. Between two parties a node may be
/// restored, or fork, that often; between sixteen each may four times, and is then not followed further.
pub const SEEN: usize = 64;
/// Longest encoded entry, in bytes: [`SEEN`] heads and [`ENTRY_SIGNATURES`] signatures fit.
pub const ENTRY: usize = 8 * 1024;
/// Longest encoded receipt, in bytes.
pub const RECEIPT: usize = 1024;
/// Most receipts kept of one entry by one node under one card: that it is held, and was displayed to each officer of a large desk.
pub const RECEIPTS_OF_ENTRY: usize = 128;
/// Longest Noise message, in bytes (Noise specification, section 3).
pub const NOISE_MESSAGE: usize = 65_535;
/// Longest frame, in bytes: a Noise message less its 16-byte tag.
pub const FRAME: usize = NOISE_MESSAGE - 16;
/// Longest contents of an envelope with their padding, in bytes: ten of the longest entries. More goes into several.
pub const ENVELOPE_CONTENTS: usize = 512 * 1024;
/// Most frames in one envelope: half of what a channel commits at once, so that one can always be taken in whole when the disk has caught up.
pub const ENVELOPE_FRAMES: usize = COMMITS_IN_FLIGHT / 2;
/// Bytes of frames that a node puts into one envelope: with salt and lengths they fill one of 256 KiB.
pub const PARCEL: usize = 240 * 1024;
/// Most entries, and most receipts, that a node puts into one envelope.
pub const PARCEL_FRAMES: usize = 128;
const _: () = assert!(2 * PARCEL_FRAMES <= ENVELOPE_FRAMES, "an envelope holds both");
/// What decoding may claim in memory for one value: far above any honest frame, far below harm.
pub const DECODED: usize = 4 * 1024 * 1024;
/// Most heads in one Hello: every party's log in every volume that a node still tells apart.
pub const HELLO_HEADS: usize = 256;
/// Most entries one Want may ask for; the asker asks again for the rest.
pub const WANT_SPAN: u64 = 256;
/// Bytes of texts that say who may sign which are held of one log's entries before which something is missing. They are judged
/// again when that comes, so their texts stay in memory, and a dishonest node can leave a gap open for ever. A log of
/// a thousand officers and their renewals has less; beyond it such an entry is taken when what stands before it is here.
pub const PENDING_AUTHORITY: usize = 8 * 1024 * 1024;
/// Most commits under way at once. Each holds its entry's bytes until the disk has answered.
pub const COMMITS_IN_FLIGHT: usize = 1024;
/// Most entries sent to one peer and not yet receipted: bounds what the peer must judge at once.
pub const UNRECEIPTED_IN_FLIGHT: usize = 256;
/// Most answers (receipts, wanted entries, roster documents) waiting for room to be sent to one peer.
pub const ANSWERS_WAITING: usize = 4096;
const _: () = assert!(ROSTER_DOCUMENTS < ANSWERS_WAITING, "an answered Hello alone would read as busy");
/// An entry sent and not receipted for this long is offered again. The stream is reliable, so this
/// is only reached when the peer could not take it (its disk was full, say).
pub const OFFER_AGAIN: Duration = Duration::from_secs(20);
/// A live session is rehandshaken by its opener this often, so that a stolen memory image ages.
pub const REHANDSHAKE_EVERY: Duration = Duration::from_secs(60 * 60);
/// … or after this many frames in one direction.
pub const REHANDSHAKE_FRAMES: u64 = 1 << 20;
/// No session lives longer than this, rehandshaken or not.
pub const SESSION_LIFE: Duration = Duration::from_secs(2 * 60 * 60);
/// A handshake that has not completed by then is dropped.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// After a failed attempt at a session the next one waits this long, doubled with each failure …
pub const REOPEN_AFTER: Duration = Duration::from_secs(1);
/// … up to this. A session that held for as long counts as none failed.
pub const REOPEN_AT_MOST: Duration = Duration::from_secs(30);
/// The party with the higher id leaves the other this long to open first, so that they rarely cross.
pub const REOPEN_PATIENCE: Duration = Duration::from_secs(1);
/// A question in a live session after which nothing at all is heard for this long is a reason to try another way …
pub const PATIENCE_LEAST: Duration = Duration::from_secs(2);
/// … or for this many times as long as such an answer has been seen to take: a slow line is not a dead one.
pub const PATIENCE_FACTOR: u32 = 4;
/// Most questions of one session whose answers are waited for: all entries that may be under way, and some.
pub const QUESTIONS: usize = 4 * UNRECEIPTED_IN_FLIGHT;
/// Largest difference between two wall clocks that is not worth a warning.
pub const CLOCK_SKEW: Duration = Duration::from_secs(120);
