//! `tests/tls` once more, with configurations that keep their keys: rustls opens and seals all
//! records.
#![cfg(all(feature = "rustls", feature = "tokio"))]
// `feed(&payload)` copies, `feed(payload)` may write it from where it lies: both are meant.
#![allow(clippy::needless_borrows_for_generic_args)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

#[path = "tls/buffered.rs"]
mod buffered;
#[path = "tls/closing.rs"]
mod closing;
#[path = "tls/connections.rs"]
mod connections;
#[path = "tls/hello.rs"]
mod hello;
#[path = "tls/proxies.rs"]
mod proxies;
#[path = "tls/session.rs"]
mod session;
#[path = "tls/slow.rs"]
mod slow;
