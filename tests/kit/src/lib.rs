//! What the tests of several packages share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod alloc;
pub mod frames;
mod random;
#[cfg(target_os = "linux")]
pub mod sigpipe;
pub mod slow_reader;
#[cfg(feature = "tokio")]
pub mod tasks;
pub mod threads;
#[cfg(feature = "tls")]
pub mod tls;

pub use random::Rng;

/// Nothing but a hang takes as long, on however busy a machine.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(600);
