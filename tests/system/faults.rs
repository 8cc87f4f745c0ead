//! Whatever goes wrong with the stream or the network: if a connection closes in an orderly way,
//! every message that was reported as written has arrived, once and in order. Any other end of a
//! connection is an error that says what went wrong, in bounded time. The tests cover both adapters
//! and both roles, whole and in halves, plain, compressed and over TLS.
//!
//! - `grid`: a stream in memory does one thing wrong, at its n-th operation, for every n;
//! - `proxy`: many runs through a proxy over loopback, each from a seed.
//!
//! `TESTS=all` tries all faults in all conversations of the grid, and runs the proxy 20,000 times.
//! `tests/system/netns.rs` has the same conversation over a network that loses packets.
mod grid;
mod peer;
mod proxy;
mod stream;
