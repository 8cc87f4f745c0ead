//! The example on io_uring, as it is there.
#![allow(unsafe_code, unreachable_pub)] // it is a program
#[path = "../../../examples/io_uring_echo/src/layer.rs"]
mod layer;
#[path = "../../../examples/io_uring_echo/src/peer.rs"]
mod peer;
#[path = "../../../examples/io_uring_echo/src/server.rs"]
pub mod server;

use io_uring_echo::ring;
