//! What an adapter has to do once there is a connection, over each adapter, whole and split: see
//! `support/ways`.
#![cfg(all(unix, feature = "tokio", feature = "futures"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/ways/mod.rs"]
mod ways;

mod deadlines;
mod endings;
mod events;
mod futures_io_alone;
mod leaving;
mod messages;
mod streams;

use support::{blocking::recv_error, wire::bytes};
use ways::{
    MS, Peer, binary, dialog, end, everywhere, line, meet, meet_behind, over, says_one_of_each,
    serve,
};
