//! What a connection is once it is open: how it sends, receives, waits, ends and is driven, by
//! subject. What is `over_sockets` crosses a socket of this machine, and counts the heap.
// `feed(&payload)` copies, `feed(payload)` may write it from where it lies: both are meant.
#![allow(clippy::needless_borrows_for_generic_args)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unused_must_use)]

#[cfg(all(
    target_os = "linux",
    feature = "in-place",
    feature = "tokio",
    feature = "futures",
    not(miri)
))]
#[path = "../support/slow_peer.rs"]
mod slow_peer;
#[path = "../support/mod.rs"]
mod support;
#[cfg(all(unix, feature = "tokio", feature = "futures", not(miri)))]
#[path = "../support/ways/mod.rs"]
mod ways;

// The example whose server is attacked.
#[cfg(all(feature = "tokio", not(miri)))]
#[path = "../../examples/rooms/rooms.rs"]
mod rooms;
#[cfg(all(feature = "tokio", not(miri)))]
#[path = "../../examples/rooms/session.rs"]
mod session;

#[cfg(all(feature = "blocking", not(miri)))]
mod adapters;
#[cfg(all(feature = "blocking", not(miri)))]
mod batching;
#[cfg(all(feature = "blocking", not(miri)))]
mod boundary;
#[cfg(all(feature = "tokio", not(miri)))]
mod broadcast;
#[cfg(all(feature = "tokio", not(miri)))]
mod cancel;
mod deadlines;
#[cfg(feature = "blocking")]
mod errors;
mod events;
mod messages;
mod next;
mod receiving;
mod sending;
#[cfg(all(feature = "blocking", not(miri)))]
mod splitting;
#[cfg(all(feature = "tokio", feature = "futures", not(miri)))]
mod streams_and_sinks;

#[cfg(all(feature = "tokio", not(miri)))]
use support::alone;
use support::verdicts::*;
#[cfg(all(unix, feature = "tokio", feature = "futures", not(miri)))]
use support::{blocking::recv_error, wire::bytes};
#[cfg(all(feature = "blocking", not(miri)))]
use support::{harness, opening};
#[cfg(all(unix, feature = "tokio", feature = "futures", not(miri)))]
use ways::{
    MS, Peer, binary, dialog, end, everywhere, line, meet, meet_behind, over, says_one_of_each,
    serve,
};

#[global_allocator]
static ALLOCATOR: testkit::alloc::Counting = testkit::alloc::Counting;
