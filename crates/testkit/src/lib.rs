//! A world in which channels can be tried by the thousand: virtual clocks, a network that delays, loses, repeats,
//! reorders and cuts, disks that forget what was not committed. One seed makes one run, to the byte.
//!
//! [`fixtures`] makes keys, cards, charters and officers; [`disk`] and [`network`] misbehave as told by the seed; [`world`]
//! drives whole channels with their sessions through them; [`schedule`] says what befalls them, [`healing`] what must come true when
//! nothing does any more; [`witness`] knows what was signed and sent, and holds every step to the promises. For tests of one promise, [`table`] drives channels by hand and [`forger`] writes what no honest node would.

pub mod disk;
pub mod fixtures;
pub mod forger;
pub mod healing;
pub mod network;
pub mod rng;
pub mod schedule;
pub mod table;
pub mod witness;
pub mod world;
