//! The opening handshake, of clients and of servers: by subject, in memory through the core and the
//! adapters. What is `over_sockets` crosses a socket of this machine, and counts the heap.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unused_must_use)]

#[path = "../support/mod.rs"]
mod support;
#[cfg(all(unix, feature = "tokio", feature = "futures", not(miri)))]
#[path = "../support/ways/mod.rs"]
mod ways;

// The examples whose servers a crowd calls.
#[cfg(all(feature = "tokio", not(miri)))]
#[path = "../../examples/bounded/door_threads.rs"]
mod bounded_threads;
#[cfg(all(feature = "tokio", not(miri)))]
#[path = "../../examples/bounded/door_tokio.rs"]
mod bounded_tokio;

mod client;
mod corked_response;
#[cfg(feature = "tokio")]
mod crowd;
#[cfg(all(unix, feature = "tokio", feature = "futures", not(miri)))]
mod everywhere;
mod lists;
mod server;

#[cfg(all(feature = "tokio", not(miri)))]
use support::alone;
#[cfg(all(feature = "blocking", not(miri)))]
use support::{harness, opening};
#[cfg(all(unix, feature = "tokio", feature = "futures", not(miri)))]
use ways::{MS, Peer, binary, dialog, end, everywhere, line};

#[global_allocator]
static ALLOCATOR: testkit::alloc::Counting = testkit::alloc::Counting;
