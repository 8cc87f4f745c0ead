//! tickwire beside what others wrote: the vectors and cases of `conformance`, and readings of the
//! RFCs that are plain and slow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod conformance;
#[cfg(feature = "deflate")]
mod inflated;
#[allow(dead_code, unreachable_pub)] // it is a module of fuzz/ too
mod inflating;
mod judge;
mod protocol;
mod vectors;
