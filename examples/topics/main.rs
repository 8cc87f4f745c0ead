//! A server of quotes: each client gets the instruments it has subscribed to, and of each the newest quote if it is slow.
//!
//! ```text
//! cargo run --release --example topics
//! cargo run --release --example client -- ws://127.0.0.1:9006
//! subscribe EURUSD
//! subscribe USDJPY
//! unsubscribe EURUSD
//! ```
//!
//! `topics.rs` is what a program needs. Nothing bounds how many peers come: for the loopback. See the
//! example `bounded`. Over several processes: the package `fan_out_bus`.
mod topics;

use arguments::{Arguments, Failure, cannot_listen};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpSocket, time};
use topics::Topics;

const HELP: &str = "\
A server of quotes: subscribe NAME, unsubscribe NAME; a slow client gets the newest of each.

Usage: topics [ADDR]

  ADDR    where to listen [127.0.0.1:9006]
  --help  this text
";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let address = Arguments::read(HELP).address("ADDR");
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // What the system has taken for a subscriber cannot be replaced by something newer: keep it small.
    socket.set_send_buffer_size(64 << 10)?;
    socket.bind(address).map_err(cannot_listen(address))?;
    let listener = socket.listen(1024).map_err(cannot_listen(address))?;
    println!("listening on ws://{}", listener.local_addr()?);
    let names = ["EURUSD", "USDJPY", "GBPUSD", "AUDUSD"];
    let topics = Arc::new(Topics::new(&names));
    tokio::spawn(quote(topics.clone(), names));
    for id in 0.. {
        let (stream, peer) = listener.accept().await?;
        let topics = topics.clone();
        tokio::spawn(async move {
            if let Err(error) = topics::session(stream, &topics, id).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
    Ok(())
}

/// A random walk of each.
async fn quote(topics: Arc<Topics>, names: [&str; 4]) {
    let mut clock = time::interval(Duration::from_millis(100));
    let (mut random, mut prices) = (1_u64, [10_000_i64; 4]);
    loop {
        clock.tick().await;
        for (name, price) in names.iter().zip(&mut prices) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *price += (random >> 33) as i64 % 3 - 1;
            topics.publish(name, &price.to_string());
        }
    }
}
