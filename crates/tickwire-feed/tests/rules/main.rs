//! What an exchange allows: attempts, messages, and the life of a connection.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod attempts;
mod exchange;
mod pace;

#[path = "../support/mod.rs"]
mod support;
