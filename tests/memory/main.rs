//! What is allocated, and when: a binary of its own, as its allocator counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unused_must_use)]

#[path = "../support/mod.rs"]
mod support;

mod connection;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(feature = "tokio")]
mod large;
#[cfg(feature = "blocking")]
mod on_threads;
#[cfg(feature = "tokio")]
mod on_tokio;
#[cfg(all(feature = "blocking", not(miri)))]
mod over_sockets;
#[cfg(all(feature = "in-place", feature = "tokio"))]
mod over_tls;
mod owned;
#[cfg(all(feature = "in-place", feature = "tokio"))]
mod session;
#[cfg(all(feature = "stamps", feature = "tokio", target_os = "linux"))]
mod stamped;

#[cfg(all(feature = "blocking", not(miri)))]
use support::harness;

#[global_allocator]
static ALLOCATOR: testkit::alloc::Counting = testkit::alloc::Counting;
