//! A server at an open port, with bounds on everything that a flood of peers can take.
//!
//! ```text
//! cargo run --release --all-features --example bounded -- 127.0.0.1:9004
//! cargo run --release --all-features --example bounded -- 127.0.0.1:9004 blocking
//! ```
//!
//! The limits of `Config` bound the cost of one connection. Only the loop that accepts can bound
//! the number of connections. This loop is in `door_tokio.rs`, and once more in `door_threads.rs`:
//!
//! - **Handshakes under way**: a fixed number of tasks or threads accept. Each of them does the
//!   handshake of the peer that it has accepted, and only then accepts another. The next peers wait
//!   in the system's queue. `handshake_timeout` ends a peer that says nothing, or too little.
//! - **Peers**: a peer that finds no place is dropped (package `places`).
//! - **Peers from one address**, and their handshakes: without this bound, one address could take
//!   all places, and one silent address all doors.
//! - **Peers that say nothing**: a heartbeat ends peers that do not answer.
//!
//! A peer that is inside gets an echo. A proxy in front of the server hides the addresses of its
//! clients, so leave the bound on one address to the proxy.
mod door_threads;
mod door_tokio;

use arguments::{Arguments, Failure, cannot_listen};
use places::{Limits, Places};
use std::{net::TcpListener, time::Duration};
use tickwire::Config;

const LIMITS: Limits = Limits { handshakes: 64, each_handshakes: 8, peers: 10_000, each: 100 };

const HELP: &str = "\
An echo server at an open port: what a flood of peers can take of it has bounds.

Usage: bounded [ADDR [ADAPTER]]

  ADDR     where to listen [127.0.0.1:9004]
  ADAPTER  tokio or blocking [tokio]
  --help   this text
";

fn main() -> Result<(), Failure> {
    let args = Arguments::read(HELP);
    let address = args.address("ADDR");
    let blocking = args.one_of("ADAPTER", &[("tokio", false), ("blocking", true)]);
    let listener = TcpListener::bind(address).map_err(cannot_listen(address))?;
    println!("listening on ws://{}", listener.local_addr()?);
    let config = Config {
        handshake_timeout: Duration::from_secs(3),
        max_head: 8 << 10,
        max_message: 64 << 10,
        high_water: 256 << 10,
        ..Config::server()
    };
    let places = Places::new(LIMITS);
    if blocking {
        door_threads::serve(&listener, LIMITS.handshakes, &places, &config);
        return Ok(());
    }
    listener.set_nonblocking(true)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        door_tokio::serve(listener, LIMITS.handshakes, &places, &config).await;
        Ok(())
    })
}
