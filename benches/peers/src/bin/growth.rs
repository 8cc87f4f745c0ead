//! Growth: from 1 to 10,000 connections, server and load in two processes; one message from 1 KiB
//! to 1 GiB in chunks. What should stay flat: CPU a message, memory a connection, the peak.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tickwire::tokio::WebSocket;
use tickwire::{Chunk, Config, DataKind, Error};
use tickwire_peers::load::{KEY, Pipeline, open};
use tickwire_peers::net::{Echo, Way, listen};
use tickwire_peers::peers;
use tickwire_peers::proc::{self, Server};
use tickwire_peers::table::{TOKIO, Table};
use tickwire_peers::wire::{Size, frame, frame_len, header};
use tickwire_peers::{option, rotated, wanted};

/// Messages of 64 B under way on each connection.
const DEPTH: usize = 16;
/// Connections besides, idle: with them comes what a server needs once, tickwire's pool of buffers
/// (4 MiB for each thread) included.
const FIRST: usize = 500;

fn main() {
    if let Some(args) = proc::serving() {
        proc::pin(proc::SERVER_CORE);
        return match args[0].as_str() {
            "chunks" => serve_chunks(),
            name => peers::with(name, &mut Echo(Way::Batch)),
        };
    }
    let most = proc::raise_descriptors() as usize - 100;
    proc::pin(proc::CLIENT_CORE);
    if wanted("connections") {
        connections(option("rounds", 5), most);
    }
    if wanted("chunks") {
        chunks(option("largest", 1 << 30));
    }
}

fn connections(rounds: usize, most: usize) {
    let counts = [1, 100, 1_000, 10_000].map(|count: usize| count.min(most - FIRST));
    let few = ["raw", "floor", TOKIO, "tokio-tungstenite-4k", "tokio-websockets", "sockudo-ws"];
    let mut names = peers::names(|c| c.sockets);
    if option("peers", String::new()).is_empty() {
        names.retain(|name| few.contains(name));
    }
    let title = format!("{DEPTH} messages of 64 B under way on each of so many connections");
    let mut cpu = Table::new(&format!("{title}: server CPU, ns per message"));
    let mut memory = Table::new(&format!("{title}: server bytes per connection, after that"));
    for count in counts {
        let column = format!("{count}");
        for round in 0..rounds {
            for name in rotated(&names, round) {
                let server = Server::start(&[name]);
                let _first: Vec<_> = (0..FIRST).map(|_| open(&server)).collect();
                let before = server.settled_rss();
                let ios = (0..count).map(|_| open(&server)).collect();
                let mut load = Pipeline::new(ios, 64, DEPTH, *name == "raw");
                let time = Duration::from_millis(option("ms", 30));
                cpu.add(name, &column, load.run(&server, time).cpu);
                let grown = server.settled_rss().saturating_sub(before);
                if count > 1 {
                    memory.add(name, &column, grown as f64 / count as f64); // by pages
                }
            }
        }
        eprintln!("{column} connections");
    }
    cpu.print("raw");
    memory.print("raw");
}

/// What a piece of a message is.
const PIECE: usize = 64 * 1024;

/// Receives messages in chunks and says how long each was; one of eight bytes asks for a message of
/// that length, which is sent in chunks.
fn serve_chunks() {
    let config = Config { max_frame: Some(usize::MAX), ..Config::default() };
    listen(async |listener| {
        let (io, _) = listener.accept().await.expect("the load connects");
        io.set_nodelay(true).expect("it is TCP");
        let mut ws = tickwire::tokio::accept(io, &config).await.expect("a handshake");
        let _ = answer(&mut ws).await; // until the load goes away
    });
}

async fn answer(ws: &mut WebSocket<tokio::net::TcpStream>) -> Result<(), Error> {
    let mut length = 0;
    while let Some(chunk) = ws.recv_chunk().await? {
        length += chunk.data.len() as u64;
        if !chunk.last {
            continue;
        }
        match <[u8; 8]>::try_from(chunk.data) {
            Ok(asked) if length == 8 => send_chunks(ws, u64::from_be_bytes(asked)).await?,
            _ => ws.send(&length.to_be_bytes()).await?,
        }
        length = 0;
    }
    Ok(())
}

async fn send_chunks(
    ws: &mut WebSocket<tokio::net::TcpStream>,
    mut left: u64,
) -> Result<(), Error> {
    let piece = vec![7; PIECE];
    let mut first = true;
    while left > 0 {
        ws.ready().await?;
        let data = &piece[..left.min(PIECE as u64) as usize];
        left -= data.len() as u64;
        let _ = ws.sender_mut().feed_chunk(Chunk {
            kind: DataKind::Binary,
            first,
            data,
            last: left == 0,
        })?;
        first = false;
    }
    ws.flush().await
}

fn chunks(largest: usize) {
    let mut table =
        Table::new("One message in chunks: the server's peak of memory above idle, KiB");
    let server = Server::start(&["chunks"]);
    let mut io = open(&server);
    upload(&mut io, PIECE); // what a connection needs once
    download(&mut io, PIECE);
    let sizes = (10..=30).step_by(4).map(|bits| 1_usize << bits);
    for size in sizes.filter(|size| *size <= largest) {
        let label = Size::Fixed(size).label();
        for (row, work) in [("received", upload as fn(&mut _, _)), ("sent", download)] {
            let before = server.settled_rss();
            server.forget_peak();
            let begin = Instant::now();
            work(&mut io, size);
            let took = begin.elapsed().as_secs_f64();
            let peak = server.peak().saturating_sub(before) as f64 / 1024.0;
            table.add(row, &label, peak);
            table.add(&format!("{row}, MB/s"), &label, size as f64 / took / 1e6);
        }
        eprintln!("{label} in chunks");
    }
    table.print("");
}

/// Sends one message in one frame, and waits for its length.
fn upload(io: &mut TcpStream, size: usize) {
    let mut head = Vec::new();
    header(&mut head, 0x82, size, Some(KEY));
    io.write_all(&head).expect("the server reads");
    let piece = vec![7; PIECE.min(size)]; // masked or not: nobody looks
    for _ in 0..size / piece.len() {
        io.write_all(&piece).expect("the server reads");
    }
    let mut said = [0; 10];
    io.read_exact(&mut said).expect("the server answers");
    assert!(said[2..] == (size as u64).to_be_bytes());
}

/// Asks for one message, and reads its frames.
fn download(io: &mut TcpStream, size: usize) {
    let mut ask = Vec::new();
    frame(&mut ask, 0x82, &(size as u64).to_be_bytes(), Some(KEY));
    io.write_all(&ask).expect("the server reads");
    let piece = PIECE.min(size);
    let mut buf = vec![0; frame_len(piece, false)];
    for _ in 0..size / piece {
        io.read_exact(&mut buf).expect("the server sends");
    }
}
