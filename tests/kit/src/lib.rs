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

/// A command that runs a test of this binary again, alone in a process of its own. It is for the
/// test to tell itself there from here.
pub fn again(test: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    command
}

/// Nothing but a hang takes as long, on however busy a machine.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(600);
