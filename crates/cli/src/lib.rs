//! The officers' commands.
