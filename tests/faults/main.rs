//! Faults of the stream and of the network.
#![cfg(all(feature = "tokio", feature = "deflate", feature = "rustls"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]
mod grid;
mod peer;
mod stream;
#[path = "../support_tls/mod.rs"]
mod support_tls;
#[path = "../support_talk/mod.rs"]
mod talk;
