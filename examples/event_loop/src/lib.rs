//! An echo server without a runtime: the core under a `mio` loop, on one thread. `main.rs` says how to run it.
//!
//! `server` is the loop, `peer` what each connection does in its turn, `socket` its stream, plain or under TLS: the last is
//! that of the example `feed_handler` too. Connections share one buffer to receive into and one to send from, so one that waits
//! holds neither; what TLS needs is the thread's, as well. What it costs beside tokio is in `benches/README.md`.
pub mod peer;
pub mod server;
pub mod socket;

#[cfg(test)]
mod held_tests;
#[cfg(test)]
mod start;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wss_tests;
