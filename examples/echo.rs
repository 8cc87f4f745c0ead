//! Sends everything back. `cargo run --release --all-features --example echo`
//! Nothing limits the number of peers: use it only for the loopback. See the example `bounded`.
//!
//! Browser:  const ws = new WebSocket("ws://127.0.0.1:9001")
//!           ws.onmessage = ({ data }) => console.log(data)
//!           ws.onopen = () => ws.send("hello")
//! Python:   from websockets.sync.client import connect  # pip install websockets
//!           with connect("ws://127.0.0.1:9001") as ws: ws.send("hello"); print(ws.recv())
//! Node:     const ws = new WebSocket("ws://127.0.0.1:9001")  // 22 or later; else npm install ws
//!           ws.onmessage = ({ data }) => { console.log(data); ws.close() }
//!           ws.onopen = () => ws.send("hello")
use arguments::{Arguments, Failure, cannot_listen, serve::stop_asked};
use std::{pin::pin, time::Duration};
use tickwire::{CloseCode, Config, tokio::accept};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::JoinSet,
    time::timeout,
};

const HELP: &str = "\
Sends every message back.

Usage: echo [ADDR]

  ADDR    where to listen [127.0.0.1:9001]
  --help  this text
";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let address = Arguments::read(HELP).address("ADDR");
    let mut stop = pin!(stop_asked()?);
    let listener = TcpListener::bind(address).await.map_err(cannot_listen(address))?;
    println!("listening on ws://{}", listener.local_addr()?);
    let (running, stopped) = watch::channel(());
    let mut peers = JoinSet::new();
    loop {
        let (stream, peer) = select! {
            accepted = listener.accept() => accepted?,
            _ = &mut stop => break,
        };
        let stopped = stopped.clone();
        peers.spawn(async move {
            if let Err(error) = echo(stream, stopped).await {
                eprintln!("{peer}: {error}");
            }
        });
        while peers.try_join_next().is_some() {} // forgets those that are gone
    }
    drop(running); // each connection sends its Close
    let _ = timeout(Duration::from_secs(3), peers.join_all()).await;
    Ok(())
}

async fn echo(stream: TcpStream, mut stopped: watch::Receiver<()>) -> Result<(), tickwire::Error> {
    stream.set_nodelay(true)?;
    let mut ws = accept(stream, &Config::server()).await?;
    loop {
        let received = select! {
            received = ws.recv_to_reply() => received?,
            _ = stopped.changed() => return ws.close(CloseCode::GOING_AWAY).await,
        };
        let Some(received) = received else { return Ok(()) };
        // The replies to a batch leave in one write, or in several if they exceed `cork_limit`.
        received.sender.feed(received.message)?;
    }
}
