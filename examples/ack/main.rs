//! Orders over a network that breaks: each is done exactly once, though connections are cut at any
//! byte.
//!
//! ```text
//! cargo run --release --all-features --example ack
//! ```
//!
//! WebSocket delivers in order as long as the connection lasts. When the connection breaks, the
//! messages under way may have arrived or not, and no protocol below the application can know. So
//! the messages have numbers, and the receiver acknowledges them. The sender keeps messages that
//! are not acknowledged, and sends them again after a reconnect. `delivery.rs` has all of this.
//! Around it are a client, a server, and `cutter.rs`, the bad network.
mod client;
mod cutter;
mod delivery;
mod server;

use arguments::{Arguments, Failure};
use std::{sync::Arc, time::Duration};
use tickwire::{SystemEntropy, handshake::client::Request};
use tickwire_parts::Backoff;
use tokio::{net::TcpListener, sync::mpsc};

const ORDERS: u64 = 10_000;
const CUTS: u32 = 100;

/// An order. Orders have different lengths, so cuts fall on all parts of a frame.
fn order(n: u64) -> Vec<u8> {
    format!("buy {n} ").repeat(1 + n as usize % 40).into_bytes()
}

const HELP: &str = "\
Orders over a network that breaks, each of which is done exactly once.

Usage: ack

  --help  this text
";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    Arguments::read(HELP);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    let orders = Arc::new(server::Orders::default());
    let account = orders.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let orders = orders.clone();
            tokio::spawn(async move { server::serve(stream, &orders).await });
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/desk-7", listener.local_addr()?);
    tokio::spawn(cutter::run(listener, server, CUTS, 3000));

    println!("{ORDERS} orders over a network that cuts {CUTS} connections ..");
    let (send, receive) = mpsc::channel(16);
    tokio::spawn(async move {
        for n in 1..=ORDERS {
            let _ = send.send(order(n)).await;
        }
    });
    let mut quick = Backoff::new(SystemEntropy::new()?);
    quick.max_delay = Duration::from_millis(5);
    let connections = client::run(&Request::new(&url)?, &mut quick, receive).await?;

    let accounts = account.lock();
    let done = accounts.get("/desk-7").map_or(&[][..], |account| &account.done);
    let right = done.iter().cloned().eq((1..=ORDERS).map(order)) && connections == CUTS + 1;
    println!(
        "{} were done over {connections} connections, {}",
        done.len(),
        match right {
            true => "each once and in order",
            false => "and not each once and in order: a bug",
        }
    );
    if right { Ok(()) } else { Err("lost or done twice".into()) }
}
