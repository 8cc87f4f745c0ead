//! A message of 1 GiB each way, in constant memory, for programs that move snapshots. Both ends
//! send and receive the message in chunks, so neither end ever holds more of it than its buffers.
//! `cargo run --release --all-features --example big_message`
use arguments::{Arguments, Failure};
use std::{fs, io, time::Instant};
use tickwire::tokio::{accept, client};
use tickwire::{Chunk, CloseCode, Config, DataKind, Error, handshake::client::Request};
use tokio::net::{TcpListener, TcpStream};

type WebSocket = tickwire::tokio::WebSocket<TcpStream>;

const HELP: &str = "\
A message of 1 GiB to a server and back, in constant memory, and the most memory that it took.

Usage: big_message [OPTION]

  --mib N  the length of the message in MiB [1024]
  --help   this text
";

/// In place of a file: the bytes of each chunk that is sent.
static CHUNK: [u8; 64 << 10] = [0x5a; 64 << 10];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mib: u64 = Arguments::read(HELP).number("--mib", 1..=1 << 20);
    let (bytes, before, began) = (mib << 20, peak(), Instant::now());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move {
        let mut ws = accept(listener.accept().await?.0, &Config::default()).await?;
        let bytes = receive(&mut ws).await?;
        send(&mut ws, bytes).await?;
        ws.recv().await.map(drop) // the client's Close
    });
    let request = Request::new(&format!("ws://{address}"))?;
    let mut ws = client(TcpStream::connect(address).await?, &request, &Config::default()).await?;
    send(&mut ws, bytes).await?;
    let back = receive(&mut ws).await?;
    ws.close(CloseCode::NORMAL).await?;
    server.await??;
    println!("{mib} MiB to the server, {} MiB back, in {:.1?}", back >> 20, began.elapsed());
    if let (Some(before), Some(peak)) = (before, peak()) {
        println!("peak: {peak} KiB resident, {} KiB above the start", peak - before);
    }
    if back == bytes { Ok(()) } else { Err("another length came back".into()) }
}

async fn send(ws: &mut WebSocket, mut bytes: u64) -> Result<(), Error> {
    let mut first = true;
    while first || bytes > 0 {
        let data = &CHUNK[..bytes.min(CHUNK.len() as u64) as usize];
        bytes -= data.len() as u64;
        ws.ready().await?; // waits for the peer; else `high_water` would refuse the next chunk
        let chunk = Chunk { kind: DataKind::Binary, first, data, last: bytes == 0 };
        ws.sender_mut().feed_chunk(chunk)?;
        first = false;
    }
    ws.flush().await
}

async fn receive(ws: &mut WebSocket) -> Result<u64, Error> {
    let mut bytes = 0;
    while let Some(Chunk { data, last, .. }) = ws.recv_chunk().await? {
        bytes += data.len() as u64; // write `data` to a file here
        if last {
            return Ok(bytes);
        }
    }
    Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) // closed in the middle
}

/// The most memory that was resident so far, in KiB. `None` on systems other than Linux.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
}
