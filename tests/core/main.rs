//! The core, without a socket: bytes, time and entropy handed in, events and bytes out.
// `feed(&payload)` copies, `feed(payload)` may write it from where it lies: both are meant.
#![allow(clippy::needless_borrows_for_generic_args)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unused_must_use)]

#[path = "../support/mod.rs"]
mod support;

mod backpressure;
mod built;
mod chunks;
#[cfg(feature = "std")]
mod error_texts;
mod feed_first;
mod fragmentation;
mod framing;
mod lending;
mod limits;
mod liveness;
mod max_frame_sent;
mod messages;
mod next;
mod outbox;
mod prepared;
mod read_sizes;
mod reads;
mod rtt;
mod silence;
mod timers;
mod zero_copy;
