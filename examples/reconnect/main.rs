//! A client that stays connected: it dials, logs in and subscribes again after each end, notices a
//! silent server, and says which messages were lost.
//!
//! ```text
//! cargo run --release --all-features --example reconnect
//! cargo run --release --all-features --example reconnect -- ws://127.0.0.1:9000/feed --topic EUR
//! ```
//!
//! `Follower` of `tickwire-feed` makes these decisions. `client.rs` has the application's part.
//! `on_tokio.rs`, `on_threads.rs` and `on_loop.rs` each have the sockets. Only subscriptions are
//! sent again automatically, because an order that is sent again could be executed twice. The
//! example `ack` shows how to send orders again. Without a URL, the client follows a server that
//! ends connections in each way of `End`.
mod client;
mod on_loop;
mod on_threads;
mod on_tokio;
mod unreliable;

use arguments::{Arguments, Failure, refuse};
use client::Client;
use std::time::Duration;
use tickwire::{CloseCode, Error, SystemEntropy, handshake::client::Request};
use tickwire_parts::Backoff;
use unreliable::{End, Server};

const HELP: &str = "\
Follows a feed over as many connections as it takes.

Usage: reconnect [URL]... [OPTION]...

Without URL it follows a server of its own, which ends its connections in every way there is.

  URL               whom to follow; with several, the next one after each failure
  --token TOKEN     who we are, said after each connect [secret]
  --topic NAME      what to subscribe to, after each connect; again for more [ticks]
  --adapter NAME    tokio, blocking or loop [tokio]
  --help            this text
";

#[derive(Clone, Copy)]
enum Adapter {
    Tokio,
    Blocking,
    Loop,
}

/// Lets the server end connections in each way of `End`, be down for some time, and refuse.
async fn act(mut server: Server, said: usize) -> Result<(), Error> {
    server.serve(said, End::InHandshake).await?;
    server.serve(said, End::Eof).await?;
    server.serve(said, End::Closed(CloseCode::SERVICE_RESTART)).await?;
    server.serve(said, End::Reset).await?;
    server.serve(said, End::Refused(503, Some(1))).await?;
    server.serve(said, End::Dead).await?;
    server.serve(said, End::Closed(CloseCode::TRY_AGAIN_LATER)).await?;
    server.down();
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.up().await?;
    server.serve(said, End::Refused(401, None)).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Arguments::read(HELP);
    let (mut urls, topics) = (args.all("URL"), args.all("--topic"));
    let adapters =
        [("tokio", Adapter::Tokio), ("blocking", Adapter::Blocking), ("loop", Adapter::Loop)];
    let adapter = args.one_of("--adapter", &adapters);
    let mut backoff = Backoff::new(SystemEntropy::new()?);
    let mut acting = None;
    if urls.is_empty() {
        let server = Server::bind(([127, 0, 0, 1], 0).into()).await?;
        urls.push(server.url());
        acting = Some(tokio::spawn(act(server, 1 + topics.len())));
        // Short delays, because a person watches this.
        backoff.first_delay = Duration::from_millis(50);
        backoff.max_delay = Duration::from_millis(200);
    }
    let request = |url: &String| Request::new(url).unwrap_or_else(|error| refuse(error));
    let requests = urls.iter().map(request).collect();
    let show = |line: &str| println!("{line}");
    let mut client = Client::new(requests, args.text("--token"), topics, backoff, show);
    match adapter {
        Adapter::Tokio => on_tokio::run(client).await,
        Adapter::Blocking => {
            tokio::task::spawn_blocking(move || on_threads::run(&mut client)).await?;
        }
        Adapter::Loop => tokio::task::spawn_blocking(move || on_loop::run(&mut client)).await??,
    }
    match acting {
        // Our own server refuses us at last.
        Some(acting) => Ok(acting.await??),
        None => Err(Failure::from("the client has stopped: see the last line")),
    }
}
