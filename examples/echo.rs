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
use arguments::{Arguments, Failure, cannot_listen};
use tickwire::{Config, tokio::accept};
use tokio::net::{TcpListener, TcpStream};

const HELP: &str = "\
Sends every message back.

Usage: echo [ADDR]

  ADDR    where to listen [127.0.0.1:9001]
  --help  this text
";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let address = Arguments::read(HELP).address("ADDR");
    let listener = TcpListener::bind(address).await.map_err(cannot_listen(address))?;
    println!("listening on ws://{}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = echo(stream).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn echo(stream: TcpStream) -> Result<(), tickwire::Error> {
    stream.set_nodelay(true)?;
    let mut ws = accept(stream, &Config::server()).await?;
    while let Some(received) = ws.recv_to_reply().await? {
        // The replies to a batch leave in one write, or in several if they exceed `cork_limit`.
        received.sender.feed(received.message)?;
    }
    Ok(())
}
