//! `Arbiter`: lines that are made one feed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod by_hand;
mod lines;
mod promises;

#[path = "../support/mod.rs"]
mod support;
