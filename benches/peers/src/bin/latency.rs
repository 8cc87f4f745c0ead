//! Latency under load: how long a Ping waits for its Pong while the same connection is busy, and
//! how long the first reply of a long batch waits, by `cork_limit`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use tickwire::{Chunk, Config, DataKind, Error, Message, tokio::WebSocket};
use tickwire_peers::load::{KEY, open};
use tickwire_peers::net::listen;
use tickwire_peers::peers::{self, Conn, Peer, Visit};
use tickwire_peers::probe::Probe;
use tickwire_peers::proc::{self, Server};
use tickwire_peers::table::{TOKIO, Table};
use tickwire_peers::wire::{frame, frame_len};
use tickwire_peers::{option, wanted};

/// The large message.
const LARGE: usize = 16 << 20;
/// What it is cut into, where it is.
const PIECE: usize = 64 << 10;

/// What a server does besides answering Pings.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    /// Receives.
    Receive,
    /// Answers each message with a large one.
    Send,
    /// Sends without end, faster than the client reads.
    Flood,
}

impl Work {
    fn named(name: &str) -> Self {
        match name {
            "receive" => Work::Receive,
            "send" => Work::Send,
            "flood" => Work::Flood,
            _ => panic!("no work is named {name}"),
        }
    }
}

impl Visit for Work {
    type Out = ();
    fn visit<P: Peer>(&mut self) {
        let work = *self;
        listen(async |listener| {
            let (io, _) = listener.accept().await.expect("the load connects");
            io.set_nodelay(true).expect("it is TCP");
            if work == Work::Flood {
                set_socket_send_buffer_size(&io, 64 << 10).expect("it is TCP");
            }
            let Some(mut conn) = P::accept(io).await else {
                return;
            };
            if work == Work::Flood {
                return P::flood(conn, vec![7; 1024]).await;
            }
            let large = <P::Conn<tokio::net::TcpStream> as Conn>::share(&vec![7; LARGE]);
            while conn.recv(|_| {}).await {
                if work == Work::Send && !(conn.feed_shared(&large).await && conn.flush().await) {
                    return;
                }
            }
        });
    }
}

fn main() {
    if let Some(args) = proc::serving() {
        proc::pin(proc::SERVER_CORE);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        match args[..] {
            ["ping", name, work] => peers::with(name, &mut Work::named(work)),
            ["whole"] => serve_large(Cut::Whole),
            ["pieces"] => serve_large(Cut::Pieces),
            ["batch", cork, work] => serve_batches(number(cork), number(work) as u64),
            _ => panic!("nothing serves {args:?}"),
        }
        return;
    }
    proc::pin(proc::CLIENT_CORE);
    let rounds = option("rounds", 101);
    if wanted("ping") {
        pings(rounds);
    }
    if wanted("batch") {
        batches(rounds);
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

/// Whether the large message goes out in one frame.
#[derive(Clone, Copy, PartialEq)]
enum Cut {
    Whole,
    Pieces,
}

/// tickwire as it is meant to be used: what is fed is written by the call that receives.
fn serve_large(cut: Cut) {
    listen(async |listener| {
        let (io, _) = listener.accept().await.expect("the load connects");
        io.set_nodelay(true).expect("it is TCP");
        let ws = tickwire::tokio::accept(io, &Config::default()).await.expect("a handshake");
        let _ = match cut {
            Cut::Whole => send_whole(ws).await,
            Cut::Pieces => send_pieces(ws).await,
        }; // until the load goes away
    });
}

async fn send_whole(mut ws: WebSocket<tokio::net::TcpStream>) -> Result<(), Error> {
    let large = bytes::Bytes::from(vec![7; LARGE]);
    while ws.recv().await?.is_some() {
        let _ = ws.feed(large.clone())?;
    }
    Ok(())
}

async fn send_pieces(ws: WebSocket<tokio::net::TcpStream>) -> Result<(), Error> {
    let (mut reader, mut writer) = ws.into_split();
    let asked = tokio::sync::Notify::new();
    let receive = async {
        while reader.recv().await?.is_some() {
            asked.notify_one();
        }
        Ok(())
    };
    let send = async {
        let data = &vec![7; PIECE][..];
        loop {
            asked.notified().await;
            for i in 1..=LARGE / PIECE {
                writer.ready().await?;
                let last = i == LARGE / PIECE;
                let chunk = Chunk { kind: DataKind::Binary, first: i == 1, data, last };
                let _ = writer.with_sender(|tx| tx.feed_chunk(chunk))?;
            }
            writer.flush().await?;
        }
    };
    tokio::select! { done = receive => done, done = send => done }
}

/// Round-trip times of Pings, by what else goes on.
fn pings(rounds: usize) {
    let mut table = Table::new("A Ping's Pong while the connection is busy: µs");
    let mut bytes = Table::new("KiB that came before the Pong, p50");
    let names = peers::names(|c| c.sockets);
    let mut note = |name: &str, what: &str, probe: Option<Probe>| {
        let Some(probe) = probe else {
            return eprintln!("{name} does not answer: {what}");
        };
        for (label, q) in [("p50", 0.5), ("p99", 0.99)] {
            let us = probe.delays.value_at_quantile(q) as f64 / 1e3;
            table.add(name, &format!("{what}, {label}"), us);
        }
        bytes.add(name, what, probe.ahead.value_at_quantile(0.5) as f64 / 1024.0);
    };
    for name in names.into_iter().filter(|n| !["raw", "floor"].contains(n)) {
        note(name, "nothing else", ping_idle(name, rounds));
        note(name, "receives 16 MiB", ping_receiving(name, rounds));
        if name == TOKIO {
            note(name, "sends 16 MiB", ping_sending(&["whole"], rounds));
            let pieces = format!("{name}, in pieces of 64 KiB");
            note(&pieces, "sends 16 MiB", ping_sending(&["pieces"], rounds));
        } else {
            note(name, "sends 16 MiB", ping_sending(&["ping", name, "send"], rounds));
        }
        if peers::can(name).flood {
            note(name, "output full", ping_flooded(name, rounds));
        }
        eprintln!("pings: {name}");
    }
    table.print("");
    bytes.print("");
}

fn ping_idle(name: &str, rounds: usize) -> Option<Probe> {
    let server = Server::start(&["ping", name, "receive"]);
    let mut probe = Probe::new(open(&server));
    for _ in 0..rounds * 10 {
        probe.ping();
        probe.settle().then_some(())?;
    }
    Some(probe)
}

/// (a) The server receives the large message in fragments of 16 KiB, a Ping behind every 16th.
fn ping_receiving(name: &str, rounds: usize) -> Option<Probe> {
    const FRAGMENT: usize = 16 << 10;
    let server = Server::start(&["ping", name, "receive"]);
    let mut probe = Probe::new(open(&server));
    let fragment = vec![7; FRAGMENT];
    let count = LARGE / FRAGMENT;
    for _ in 0..rounds.div_ceil(5) {
        for i in 1..=count {
            let opcode = if i == 1 { 2 } else { 0 };
            let fin = if i == count { 0x80 } else { 0 };
            probe.send(fin | opcode, &fragment);
            while !probe.idle() {
                probe.turn(PIECE).then_some(())?;
            }
            if i % 16 == 0 {
                probe.ping();
            }
        }
        probe.settle().then_some(())?;
    }
    Some(probe)
}

/// (b) The server sends the large message; a Ping every 200 µs.
fn ping_sending(serve: &[&str], rounds: usize) -> Option<Probe> {
    let server = Server::start(serve);
    let mut probe = Probe::new(open(&server));
    for _ in 0..rounds.div_ceil(5) {
        probe.send(0x82, b"the large one");
        let whole = probe.received + frame_len(LARGE, false) as u64;
        let mut next = Instant::now();
        while probe.received < whole {
            if Instant::now() >= next {
                probe.ping();
                next += Duration::from_micros(200);
            }
            probe.turn(usize::MAX).then_some(())?;
        }
        probe.settle().then_some(())?;
    }
    Some(probe)
}

/// (c) The server's output is full all the time: the client reads 32 KiB a millisecond. Socket
/// buffers are small, so that what waits, waits in the server.
fn ping_flooded(name: &str, rounds: usize) -> Option<Probe> {
    let server = Server::start(&["ping", name, "flood"]);
    let io = open(&server);
    set_socket_recv_buffer_size(&io, 64 << 10).expect("it is TCP");
    let mut probe = Probe::new(io);
    let begin = Instant::now();
    // A second to fill, then a Ping every 10 ms.
    for ms in 0..1000 + 10 * rounds as u64 {
        while begin.elapsed() < Duration::from_millis(ms) {
            std::hint::spin_loop();
        }
        if ms > 1000 && ms % 10 == 0 {
            probe.ping();
        }
        probe.turn(32 << 10).then_some(())?;
    }
    probe.settle().then_some(())?;
    Some(probe)
}

/// Requests in a batch, their length, and that of a reply.
const BATCH: usize = 1000;
const REQUEST: usize = 16;
const REPLY: usize = 1024;

/// Answers each request, after some work.
fn serve_batches(cork: usize, work_ns: u64) {
    listen(async |listener| {
        let (io, _) = listener.accept().await.expect("the load connects");
        io.set_nodelay(true).expect("it is TCP");
        let config = Config { cork_limit: cork, ..Config::default() };
        let mut ws = tickwire::tokio::accept(io, &config).await.expect("a handshake");
        let reply = vec![7; REPLY];
        while let Ok(Some(received)) = ws.recv_to_reply().await {
            let begin = Instant::now();
            while work_ns > 0 && begin.elapsed() < Duration::from_nanos(work_ns) {}
            if received.sender.feed(Message::Binary(&reply)).is_err() {
                return;
            }
        }
    });
}

/// What batches came to, for one `cork_limit`.
struct Batches {
    cork: usize,
    label: String,
    server: Server,
    io: TcpStream,
    /// From sending the batch to the first reply, to each, and to the last, in ns.
    first: Histogram<u64>,
    each: Histogram<u64>,
    last: Histogram<u64>,
    /// The server's processor time for a message, in ns.
    cpu: Vec<f64>,
}

impl Batches {
    fn new(cork: usize, work_ns: u64) -> Self {
        let server = Server::start(&["batch", &cork.to_string(), &work_ns.to_string()]);
        let io = open(&server);
        let new = || Histogram::new(3).expect("three digits");
        let label = format!("{} KiB", cork >> 10);
        Self { cork, label, server, io, first: new(), each: new(), last: new(), cpu: Vec::new() }
    }

    /// One batch.
    fn run(&mut self, requests: &[u8], buf: &mut [u8], note: bool) {
        let cpu = self.server.cpu();
        let begin = Instant::now();
        self.io.write_all(requests).expect("the server reads");
        let (mut got, reply) = (0, frame_len(REPLY, false));
        while got < BATCH * reply {
            let before = got / reply;
            got += self.io.read(buf).expect("the server answers");
            let took = begin.elapsed().as_nanos() as u64;
            if note {
                if before == 0 && got >= reply {
                    self.first.record(took).expect("it grows");
                }
                let new = got / reply - before;
                self.each.record_n(took, new as u64).expect("it grows");
            }
        }
        if note {
            self.last.record(begin.elapsed().as_nanos() as u64).expect("it grows");
            self.cpu.push((self.server.cpu() - cpu) as f64 / BATCH as f64);
        }
    }
}

/// A thousand requests at once, each answered with 1 KiB, by `cork_limit`.
fn batches(rounds: usize) {
    let mut requests = Vec::new();
    (0..BATCH).for_each(|i| frame(&mut requests, 0x82, &[i as u8; REQUEST], Some(KEY)));
    let mut buf = vec![0; 256 << 10];
    for work_ns in [0, 1000] {
        let title =
            format!("{BATCH} requests at once, {work_ns} ns of work and 1 KiB of reply each");
        let mut table = Table::new(&format!("{title}: µs; server CPU in ns a message"));
        let corks = [4, 8, 16, 32, 64, 128, 256, 1024].map(|kib| kib << 10);
        let mut all: Vec<_> = corks.into_iter().map(|cork| Batches::new(cork, work_ns)).collect();
        for round in 0..rounds + rounds / 10 {
            let note = round >= rounds / 10;
            for batches in &mut all {
                batches.run(&requests, &mut buf, note);
            }
            all.rotate_left(1);
        }
        all.sort_by_key(|batches| batches.cork);
        for Batches { label, first, each, last, cpu, .. } in &all {
            cpu.iter().for_each(|cpu| table.add(label, "CPU", *cpu));
            for (what, times) in [("first reply", first), ("any reply", each), ("last reply", last)]
            {
                for (which, q) in [("p50", 0.5), ("p99", 0.99)] {
                    let us = times.value_at_quantile(q) as f64 / 1e3;
                    table.add(label, &format!("{what}, {which}"), us);
                }
            }
        }
        table.print("64 KiB");
    }
}
