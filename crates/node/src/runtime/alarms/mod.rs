//! Alarms: what somebody must look at, told until its cause is over or until somebody takes it by name.
//!
//! [`book`] keeps them, one for each thing that an alarm can be about; [`file`] keeps what of it must outlive the process. What raises
//! them tells the news: where something happens, or the [lookout](crate::lookout) for what stands still.

pub(crate) mod book;
pub(crate) mod file;
