//! The adapter for tokio.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod batching;
mod cancel;
mod holding;
mod liveness;
mod share;
mod silence;
mod split;
#[cfg(feature = "futures")]
mod streams;
mod whole;

#[global_allocator]
static ALLOCATOR: testkit::alloc::Counting = testkit::alloc::Counting;
