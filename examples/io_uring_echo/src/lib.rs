//! An echo server on io_uring. `main.rs` says how to run it.
//!
//! `ring` is io_uring, and that of the example `feed_handler` too; `server` the loop, `peer` what a connection does with what
//! came, `layer` TLS below it. What it costs beside tokio is in `benches/README.md`.
#![cfg(target_os = "linux")]
pub mod layer;
pub mod peer;
pub mod ring;
pub mod server;

#[cfg(test)]
mod start;
#[cfg(test)]
#[path = "../../event_loop/src/tests.rs"]
mod tests;
#[cfg(test)]
#[path = "../../event_loop/src/wss_tests.rs"]
mod wss_tests;
