//! What is not one adapter's: both of them, with each other and with other programs, over sockets.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod boundary;
#[cfg(feature = "tokio")]
mod buffered_streams;
#[cfg(feature = "tokio")]
mod outbox_sockets;
mod own_loop;
#[cfg(feature = "tokio")]
mod stress_split;
