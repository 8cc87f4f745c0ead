//! A server at an open port: what a flood of peers can take of it has bounds.
//!
//! ```text
//! cargo run --release --example bounded -- 127.0.0.1:9004
//! cargo run --release --example bounded -- 127.0.0.1:9004 blocking
//! ```
//!
//! What one connection may cost, the limits of `Config` say. How many there may be is the loop's
//! that accepts, and nobody else's; here it is, in `door_tokio.rs` and once more in
//! `door_threads.rs`:
//!
//! - **Handshakes under way**: as many tasks, or threads, accept as there may be, and each does the
//!   handshake of whom it has accepted before it accepts another. The next ones wait in the
//!   system's queue. `handshake_timeout` ends those who say nothing, or too little.
//! - **Peers**: whoever finds no place is dropped (package `places`).
//! - **Peers from one address**, and their handshakes: or whoever is first has all the places, and
//!   who says nothing all the doors.
//! - **Peers that say nothing**: a heartbeat ends those that do not answer.
//!
//! What is inside echoes. A proxy in front hides the addresses of its clients: leave that bound to
//! it, which knows them.
mod door_threads;
mod door_tokio;

use arguments::{Arguments, Failure, cannot_listen};
use places::{Limits, Places};
use std::{net::TcpListener, time::Duration};
use tickwire::{Config, Heartbeat};

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
        heartbeat: Some(Heartbeat::BEHIND_PROXIES),
        ..Config::default()
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
