//! The tests of the core in one binary: what `tests/mutants/run` builds for each mutant, where one
//! file to compile and link instead of thirty decides how many mutants a night is good for. Nothing
//! but tests that are quick and need no socket. Not run by `cargo test`, which runs each by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, unused_imports)]

#[path = "../allocations.rs"]
mod allocations;
#[path = "../backoff.rs"]
mod backoff;
#[path = "../backpressure.rs"]
mod backpressure;
#[path = "../chunks.rs"]
mod chunks;
#[path = "../closing.rs"]
mod closing;
#[path = "../control_frames.rs"]
mod control_frames;
#[path = "../corked_response.rs"]
mod corked_response;
#[path = "../cuts.rs"]
mod cuts;
#[path = "../deflate.rs"]
mod deflate;
#[path = "../feed_first.rs"]
mod feed_first;
#[path = "../fragmentation.rs"]
mod fragmentation;
#[path = "../framing.rs"]
mod framing;
#[path = "../handshake_client.rs"]
mod handshake_client;
#[path = "../handshake_server.rs"]
mod handshake_server;
#[path = "../lending.rs"]
mod lending;
#[path = "../limits.rs"]
mod limits;
#[path = "../messages.rs"]
mod messages;
#[path = "../out_buffer.rs"]
mod out_buffer;
#[path = "../outbox.rs"]
mod outbox;
#[path = "../prepared.rs"]
mod prepared;
#[path = "../rfc_examples.rs"]
mod rfc_examples;
#[path = "../rtt.rs"]
mod rtt;
#[path = "../support/mod.rs"]
mod support; // that of support_carriers
#[path = "../text.rs"]
mod text;
#[path = "../timers.rs"]
mod timers;
#[path = "../url.rs"]
mod url;
#[path = "../zero_copy.rs"]
mod zero_copy;
