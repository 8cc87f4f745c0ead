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

use std::{error::Error, sync::Arc, time::Duration};
use tokio::{net::TcpSocket, time};
use topics::Topics;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9006".into()).parse()?;
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    // What the system has taken for a subscriber cannot be replaced by something newer: keep it small.
    socket.set_send_buffer_size(64 << 10)?;
    socket.bind(address)?;
    let listener = socket.listen(1024)?;
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
