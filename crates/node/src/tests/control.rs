//! The officers' socket.
use super::*;
