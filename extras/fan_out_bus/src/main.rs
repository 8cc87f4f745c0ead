//! WebSocket fan-out over several processes. A broker connects publishers and subscribers.
//!
//! ```text
//! publisher --> broker --one connection a process--> fan_out_bus --> its subscribers
//!                     \----------------------------> fan_out_bus --> its subscribers
//!
//! redis-server &                            # or, with a log: nats-server -js -sd DIR
//! cargo run --release -p fan_out_bus -- --listen 127.0.0.1:9004
//! cargo run --release -p fan_out_bus -- --listen 127.0.0.1:9005
//! cargo run --release -p fan_out_bus -- client ws://127.0.0.1:9005,ws://127.0.0.1:9004 EURUSD
//! redis-cli publish feed:EURUSD 1.0842      # anybody can; at NATS: nats pub feed.EURUSD 1.0842
//! ```
//!
//! | `--bus` of all of them | delivery | after an outage |
//! |---|---|---|
//! | `redis://127.0.0.1:6379` | at most once | `gap` |
//! | `jetstream://127.0.0.1:4222` | once, in the order of the log | what was missed, as long as it is kept |
//!
//! `PROTOCOL.md` has the words of clients, `clients` has three of them, and `SCALING.md` compares
//! the brokers. There is no list of origins and no login. Before browsers can reach the server, add
//! the checks of your application to `session` in `server.rs`.
mod bus;
mod channel;
#[path = "../clients/hub.rs"]
mod client;
mod follow;
mod hub;
mod memory;
mod nats;
mod options;
mod over_jetstream;
mod over_redis;
mod protocol;
mod replay;
mod server;
mod tail;

use arguments::Failure;
use options::{Broker, Mode};
use std::{
    error::Error,
    io::{self, Write},
};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    match options::read() {
        (Broker::Redis(redis), Mode::Serve(serve)) => server::serve(redis, serve).await?,
        (Broker::JetStream(log), Mode::Serve(serve)) => server::serve(log, serve).await?,
        (_, Mode::Client(hub)) => print(hub).await?,
    }
    Ok(())
}

/// Prints each message.
async fn print(mut hub: client::Hub) -> Result<(), Box<dyn Error>> {
    loop {
        let ended = connection(&mut hub).await;
        let Some(delay) = hub.delay(&ended) else { return Err("closed for good".into()) };
        sleep(delay).await;
    }
}

/// Runs one connection to its end, and returns the close code.
async fn connection(hub: &mut client::Hub) -> Result<u16, tickwire::Error> {
    let mut ws = hub.open().await?;
    while let Some(message) = ws.recv().await? {
        let Some(told) = hub.heed(message.as_bytes()) else { continue };
        let (channel, payload) = (told.channel, String::from_utf8_lossy(told.payload));
        match told.word {
            "message" | "entry" => writeln!(io::stdout(), "{channel} {payload}")?,
            word => writeln!(io::stdout(), "# {word} {channel} {payload}")?,
        }
    }
    Ok(ws.closed().map_or(1006, |end| end.code))
}
