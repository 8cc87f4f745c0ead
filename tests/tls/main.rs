//! TLS, in both adapters.
#![cfg(all(feature = "in-place", feature = "tokio"))]
// `feed(&payload)` copies, `feed(payload)` may write it from where it lies: both are meant.
#![allow(clippy::needless_borrows_for_generic_args)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod buffered;
mod by_rustls;
mod closing;
mod connections;
mod connectors;
mod cut_off;
mod empty_records;
mod ends;
mod hello;
mod leaving;
mod panics;
mod pipe;
mod proxies;
mod records;
mod renewal;
mod session;
mod slow;

use support::{alone, harness};

#[global_allocator]
static ALLOCATOR: testkit::alloc::Counting = testkit::alloc::Counting;
