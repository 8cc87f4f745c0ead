//! What the tests of several packages share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod alloc;
pub mod frames;
pub mod names;
#[cfg(target_os = "linux")]
pub mod namespaces;
mod random;
#[cfg(target_os = "linux")]
pub mod sigpipe;
pub mod slow_reader;
#[cfg(feature = "table")]
pub mod table;
#[cfg(feature = "tokio")]
pub mod tasks;
pub mod threads;
#[cfg(feature = "tls")]
pub mod tls;

pub use random::Rng;

/// How much, how often, or how far apart: `some`; with `TESTS=all`, which takes minutes, `all`.
pub fn sampled<T>(all: T, some: T) -> T {
    if std::env::var_os("TESTS").is_some_and(|tests| tests == "all") { all } else { some }
}

/// Nothing but a hang takes as long, on however busy a machine.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(600);
