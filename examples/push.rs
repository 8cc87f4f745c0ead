//! Tells everybody the time, every second. `cargo run --release --example push`
//! Nothing bounds how many peers come: for the loopback. See the example `bounded`.
//!
//! Browser:  const ws = new WebSocket("ws://127.0.0.1:9001")
//!           ws.onmessage = ({ data }) => (document.title = data)
//! Python:   from websockets.sync.client import connect  # pip install websockets
//!           with connect("ws://127.0.0.1:9001") as ws: [print(text) for text in ws]
//! Node:     const ws = new WebSocket("ws://127.0.0.1:9001")  // 22 or later; else npm install ws
//!           ws.onmessage = ({ data }) => console.log(data)
use arguments::{Arguments, Failure, cannot_listen};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tickwire::{Config, Heartbeat, Prepared, tokio::accept};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};

const HELP: &str = "\
Tells everybody the time, every second.

Usage: push [ADDR]

  ADDR    where to listen [127.0.0.1:9001]
  --help  this text
";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let address = Arguments::read(HELP).address("ADDR");
    let listener = TcpListener::bind(address).await.map_err(cannot_listen(address))?;
    println!("listening on ws://{}", listener.local_addr()?);
    let ticks = Sender::new(16);
    let publisher = ticks.clone();
    tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_secs(1));
        loop {
            every.tick().await;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let text = format!("{} s since 1970", now.as_secs());
            let _ = publisher.send(Prepared::new(&*text)); // encoded once, however many listen
        }
    });
    loop {
        let (stream, peer) = listener.accept().await?;
        let ticks = ticks.subscribe();
        tokio::spawn(async move {
            if let Err(error) = subscriber(stream, ticks).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn subscriber(
    stream: TcpStream,
    mut ticks: Receiver<Prepared>,
) -> Result<(), tickwire::Error> {
    stream.set_nodelay(true)?;
    let config = Config { heartbeat: Some(Heartbeat::BEHIND_PROXIES), ..Config::default() };
    let mut ws = accept(stream, &config).await?;
    loop {
        tokio::select! {
            message = ws.recv() => if message?.is_none() { return Ok(()) },
            tick = ticks.recv() => match tick {
                Ok(tick) => drop(ws.feed(&tick)?), // the next `recv` writes it
                Err(RecvError::Lagged(_)) => {} // too slow: what it missed is old by now
                Err(RecvError::Closed) => return Ok(()),
            },
        }
    }
}
