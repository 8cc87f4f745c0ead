//! `Follower`, in virtual time: by hand, and at exchanges that fail in all ways.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod badday;
mod calls;
mod ends;
mod outages;
mod refusal;

#[path = "../support/mod.rs"]
mod support;
