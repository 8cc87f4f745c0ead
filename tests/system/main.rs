//! What the system has a part in: faults of streams and of the network, signals, the kernel's time
//! of arrival, threads that spin, and what a program is told in logs and counters.
#![cfg(feature = "blocking")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(all(feature = "counters", feature = "tokio"))]
mod counters;
#[cfg(all(feature = "tokio", feature = "deflate", feature = "in-place"))]
#[allow(unreachable_pub)]
mod faults;
#[cfg(all(feature = "tokio", target_os = "linux"))]
mod netns;
mod signals;
#[cfg(all(feature = "futures", feature = "tokio", target_os = "linux"))]
mod sigpipe;
mod spin;
#[cfg(all(feature = "stamps", target_os = "linux"))]
mod stamps;
#[cfg(all(feature = "tracing", feature = "tokio"))]
mod tracing;
