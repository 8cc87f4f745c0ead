//! A loop over real sockets. `common` has the loop in a thread and the peers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod messages;
