//! Each attack of the list (ATTACKS.md) has a test with its number, or a reason why it has no test.
//! Most tests send the hostile bytes over a real socket of this machine, against both adapters, and
//! check the outcome, the close code or status, and that the heap stayed under a stated bound.
//!
//! What the core makes of such bytes, however they are cut, the tests of this crate by subject say
//! in more detail; they cite the numbers too. How much memory each kind of attack may take is said
//! in docs/LIMITS.md, whose figures are checked here.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

// The examples whose servers and loops are attacked.
#[cfg(feature = "tokio")]
#[path = "../../examples/rooms/rooms.rs"]
mod rooms;
#[cfg(feature = "tokio")]
#[path = "../../examples/rooms/session.rs"]
mod session;

#[cfg(feature = "tokio")]
mod crowd;
mod fragments;
mod state;
#[cfg(all(feature = "rustls", feature = "tokio"))]
mod tls;

#[cfg(feature = "tokio")]
use support::alone;
use support::{harness, opening};

#[global_allocator]
static ALLOCATOR: testkit::alloc::Counting = testkit::alloc::Counting;
