//! A chat: the first message is a name, the others go to everybody.
//! `cargo run --release --example chat`
//! Browsers get a page: http://127.0.0.1:9001
//! Nothing bounds how many peers come: for the loopback. See the example `bounded`.
//!
//! Browser:  const ws = new WebSocket("ws://127.0.0.1:9001")
//!           ws.onmessage = ({ data }) => console.log(data)
//!           ws.onopen = () => { ws.send("Ada"); ws.send("hello") }
//! Python:   from websockets.sync.client import connect  # pip install websockets
//!           ws = connect("ws://127.0.0.1:9001"); ws.send("Ada"); ws.send("hello")
//!           for text in ws: print(text)
//! Node:     const ws = new WebSocket("ws://127.0.0.1:9001")  // 22 or later; else npm install ws
//!           ws.onmessage = ({ data }) => console.log(data)
//!           ws.onopen = () => { ws.send("Ada"); ws.send("hello") }
use arguments::{Arguments, Failure, cannot_listen};
use market_feed::{BoxError, page};
use tickwire::{CloseCode, Config, Message, Prepared, handshake::server::Accept, tokio::Incoming};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::Sender;

const HELP: &str = "\
A chat: the first message is a name, the others go to everybody.

Usage: chat [ADDR]

  ADDR    where to listen [127.0.0.1:9001]
  --help  this text
";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let address = Arguments::read(HELP).address("ADDR");
    let listener = TcpListener::bind(address).await.map_err(cannot_listen(address))?;
    println!("listening on ws://{}", listener.local_addr()?);
    let room = Sender::new(256);
    loop {
        let (stream, peer) = listener.accept().await?;
        let room = room.clone();
        tokio::spawn(async move {
            if let Err(error) = member(stream, room).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn member(stream: TcpStream, room: Sender<Prepared>) -> Result<(), BoxError> {
    stream.set_nodelay(true)?;
    let config = Config { max_message: 4 << 10, ..Config::default() };
    let (incoming, checked) = Incoming::read_any(stream, &config).await?;
    if let Err(error) = checked {
        let answer = page::answer(include_str!("chat.html"), &incoming.request(), error)?;
        return Ok(incoming.reject(answer).await?);
    }
    let mut ws = incoming.accept(Accept::default()).await?;
    let name = match ws.recv().await? {
        Some(Message::Text(name)) if !name.trim().is_empty() => name.trim().to_string(),
        _ => return Ok(ws.close(CloseCode::UNSUPPORTED_DATA).await?),
    };
    let say = |text: &str| drop(room.send(Prepared::new(text)));
    let mut said = room.subscribe();
    say(&format!("{name} is here"));
    let ended = loop {
        tokio::select! {
            message = ws.recv() => match message {
                Ok(Some(message)) => say(&format!("{name}: {}", message.as_text().unwrap_or("?"))),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            },
            said = said.recv() => match said.map(|said| ws.feed(&said)) {
                Ok(Ok(_)) => {} // the next `recv` writes it
                _ => break ws.close(CloseCode::TRY_AGAIN_LATER).await, // reads too slowly
            },
        }
    };
    say(&format!("{name} has left"));
    Ok(ended?)
}
