//! The data directory.
use super::*;
