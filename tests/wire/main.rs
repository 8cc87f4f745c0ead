//! What a connection makes of the bytes that come, and what it sends: by subject, in memory through
//! the core and the adapters. What is `over_sockets` crosses a socket of this machine, and counts
//! the heap.
// `feed(&payload)` copies, `feed(payload)` may write it from where it lies: both are meant.
#![allow(clippy::needless_borrows_for_generic_args)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod closing;
mod control_frames;
#[cfg(feature = "deflate")]
mod deflate;
mod fragments;
mod framing;
mod leaving;
mod limits;
mod masking;
mod text;

use support::{carriers::run, verdicts::*};
#[cfg(all(feature = "blocking", not(miri)))]
use support::{harness, opening};

#[global_allocator]
static ALLOCATOR: testkit::alloc::Counting = testkit::alloc::Counting;
