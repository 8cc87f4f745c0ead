//! Every line of the list of attacks (ATTACKS.md) under its number: the hostile bytes over a real
//! socket of this machine, against both adapters, and what has to come of it: the outcome, the
//! close code or status, and that the heap stayed under a stated bound.
//!
//! What the core makes of such bytes, however they are cut, the tests of this crate by subject say
//! in more detail; they cite the numbers too. How much memory each kind of attack may take is said
//! in docs/LIMITS.md, whose figures are checked here.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support_alloc/mod.rs"]
mod alloc;
#[allow(unused_imports)]
#[path = "../support/mod.rs"]
mod support;
#[cfg(all(feature = "rustls", feature = "tokio"))]
#[path = "../support_tls/mod.rs"]
mod tls_support;

mod boundary;
mod close;
#[cfg(feature = "deflate")]
mod deflate;
mod fragments;
mod frames;
mod harness;
mod limits;
mod masking;
mod utf8;

use alloc::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
