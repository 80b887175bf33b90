//! What the tests with real processes share, and the demo with them: the two [`programs`], a founded channel with its
//! nodes ([`stage`]), and one [`node`] process.
//!
//! Nothing here sleeps: readiness is what `demarche status --wait-ready` says, and progress what `--wait` says.
#![allow(dead_code, unreachable_pub, reason = "each test crate and the demo use a part of it")]

pub mod node;
pub mod ports;
pub mod programs;
pub mod random;
pub mod stage;
#[cfg(test)]
pub mod terminal;

/// The two programs as cargo built them for this test.
#[macro_export]
macro_rules! programs {
    () => {
        $crate::support::programs::Programs {
            demarche: env!("CARGO_BIN_EXE_demarche").into(),
            demarched: env!("CARGO_BIN_EXE_demarched").into(),
        }
    };
}
