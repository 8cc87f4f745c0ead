//! Whom to dial, how, through what, and when again. What is `over_sockets` counts the heap.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod attempts;
#[cfg(all(feature = "tokio", not(miri)))]
mod connectors;
#[cfg(all(feature = "tokio", target_os = "linux", not(miri)))]
mod dual_stack;
#[cfg(all(feature = "tokio", target_os = "linux", not(miri)))]
mod forbidden;
#[cfg(all(feature = "tokio", target_os = "linux", not(miri)))]
mod names;
#[cfg(all(feature = "blocking", not(miri)))]
mod prepared_sockets;
#[cfg(all(feature = "tokio", not(miri)))]
mod proxies;
mod urls;

#[cfg(all(feature = "tokio", not(miri)))]
use support::{alone, harness, opening};

#[global_allocator]
static ALLOCATOR: testkit::alloc::Counting = testkit::alloc::Counting;
