//! What the tests of several packages share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod frames;
mod random;

pub use random::Rng;
