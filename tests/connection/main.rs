//! What a connection is once it is open: how it sends, receives, waits, ends and is driven, by
//! subject.
// `feed(&payload)` copies, `feed(payload)` may write it from where it lies: both are meant.
#![allow(clippy::needless_borrows_for_generic_args)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unused_must_use)]

#[path = "../support/mod.rs"]
mod support;

mod deadlines;
#[cfg(feature = "std")]
mod errors;
mod messages;
mod next;
mod receiving;
mod sending;

use support::verdicts::*;
