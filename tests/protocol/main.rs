//! Every requirement of the protocol checklist (PROTOCOL.md) under its number, in each role it
//! applies to, through the core and, in memory, through both adapters. Over sockets and in time the
//! adapters are tested in `tests/adapters` and `tests/handshake`.
//!
//! The checklist has more to say on each number; the tests of this crate by subject, which these
//! do not repeat, cite the numbers too. `tests/source` checks that none is left out.
// `feed(&payload)` copies, `feed(payload)` may write it from where it lies: both are meant.
#![allow(clippy::needless_borrows_for_generic_args)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod browser;
mod fragmentation;
mod framing;
mod limits;

use support::verdicts::*;
