//! TLS, in both adapters.
#![cfg(all(feature = "rustls", feature = "tokio"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod buffered;
mod connections;
#[cfg(feature = "proxy")]
mod proxies;
mod slow;
