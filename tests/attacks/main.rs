//! TLS connections that are cut off, or whose records are empty (A98, A101).
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(all(feature = "rustls", feature = "tokio"))]
mod tls;

#[cfg(feature = "tokio")]
use support::alone;
use support::harness;

#[global_allocator]
static ALLOCATOR: testkit::alloc::Counting = testkit::alloc::Counting;
