//! Ping-pong over the loopback with both ends spinning: `blocking::Spin` against bare TCP that
//! spins the same way, and the blocking adapter that sleeps beside them.
//!
//! Client and server are two threads, each on a core of its own (by `taskset`; without it they are
//! where the system puts them, and the figures say little). All kinds stand open at once and take
//! turns of a few milliseconds, in changing order; shown are the medians over all turns, and the
//! median of the ratios within a round with its 95 % interval (of order statistics, no
//! distribution assumed).
//!
//! `cargo bench -p benches --bench spin [-- SIZE [ROUNDS]]`
mod floor;

use floor::{Body, messages};
use std::{
    error::Error,
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use testkit::threads::tcp_pair;
use tickwire::{
    Config,
    blocking::{Spin, Stream, WebSocket, accept, client},
    handshake::client::Request,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// So many echoes make a turn.
const TURN: usize = 250;

/// One end of a connection that carries messages of one length.
trait End {
    fn send(&mut self, message: &[u8]) -> Result<()>;
    fn recv(&mut self) -> Result<()>;
    /// Waits for a message and sends it back.
    fn echo(&mut self) -> Result<()>;
}

/// Bare TCP, spinning.
struct Bare {
    io: TcpStream,
    buf: Vec<u8>,
}

impl Bare {
    fn new(io: TcpStream, len: usize) -> Result<Self> {
        io.set_nonblocking(true)?;
        Ok(Self { io, buf: vec![0; len] })
    }
}

/// Writes all, spinning while there is no room.
fn write_spinning(io: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match io.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

impl End for Bare {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        Ok(write_spinning(&mut self.io, message)?)
    }

    fn recv(&mut self) -> Result<()> {
        let mut got = 0;
        while got < self.buf.len() {
            match self.io.read(&mut self.buf[got..]) {
                Ok(0) => return Err("the peer went away".into()),
                Ok(n) => got += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn echo(&mut self) -> Result<()> {
        self.recv()?;
        Ok(write_spinning(&mut self.io, &self.buf)?)
    }
}

impl<S: Stream + Send> End for WebSocket<S> {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        Ok(WebSocket::send(self, message)?)
    }

    fn recv(&mut self) -> Result<()> {
        WebSocket::recv(self)?.map(drop).ok_or_else(|| "the peer closed".into())
    }

    fn echo(&mut self) -> Result<()> {
        let received = self.recv_to_reply()?.ok_or("the peer closed")?;
        received.sender.feed(received.message)?;
        Ok(self.flush()?)
    }
}

/// Both ends of each kind.
type Ends = Vec<Box<dyn End + Send>>;

const KINDS: [&str; 3] = ["bare TCP, spinning", "tickwire, spinning", "tickwire, sleeping"];

/// Opened by a handshake, as users do it.
fn open<S: Stream + Send + 'static>(near: S, far: S) -> Result<[Box<dyn End + Send>; 2]> {
    let config = Config::default();
    let server = thread::spawn(|| accept(far, &Config::default()));
    let near = client(near, &Request::new("ws://localhost/")?, &config)?;
    let far = server.join().map_err(|_| "the server panicked")??;
    Ok([Box::new(near), Box::new(far)])
}

fn ends(len: usize) -> Result<(Ends, Ends)> {
    let (near, far) = tcp_pair();
    let bare: [Box<dyn End + Send>; 2] =
        [Box::new(Bare::new(near, len)?), Box::new(Bare::new(far, len)?)];
    let (near, far) = tcp_pair();
    let spinning = open(Spin::new(near)?, Spin::new(far)?)?;
    let (near, far) = tcp_pair();
    Ok([bare, spinning, open(near, far)?].into_iter().map(|[near, far]| (near, far)).unzip())
}

/// Keeps this thread on a core.
fn pin(core: usize) -> bool {
    let Ok(me) = std::fs::read_link("/proc/thread-self") else { return false };
    let Some(id) = me.file_name().and_then(|id| id.to_str()) else { return false };
    let told = Command::new("taskset").args(["-cp", &core.to_string(), id]).output();
    told.is_ok_and(|told| told.status.success())
}

fn median(all: &[f64]) -> f64 {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// The median, and between which two of the sorted values it lies with 95 %.
fn interval(all: &[f64]) -> [f64; 3] {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    let n = all.len() as f64;
    let away = (1.96 * n.sqrt() / 2.0).ceil();
    let at = |i: f64| all[(i.max(0.0) as usize).min(all.len() - 1)];
    [at(n / 2.0), at(n / 2.0 - away), at(n / 2.0 + away)]
}

fn measure(len: usize, rounds: usize) -> Result<()> {
    let (mut clients, mut servers) = ends(len)?;
    let (turns, told) = mpsc::channel();
    let serving = thread::spawn(move || {
        let pinned = pin(1);
        while let Ok(kind) = told.recv() {
            let server: &mut Box<dyn End + Send> = &mut servers[kind];
            for _ in 0..TURN {
                if let Err(error) = server.echo() {
                    eprintln!("{}: {error}", KINDS[kind]);
                    return pinned;
                }
            }
        }
        pinned
    });
    let pinned = pin(0);
    let message = messages(len, Body::Binary).swap_remove(0);
    let mut times = [vec![], vec![], vec![]];
    for round in 0..rounds + rounds / 10 {
        for turn in 0..KINDS.len() {
            // Each kind as often before as behind each other one.
            let kind = if round % 2 == 0 { turn } else { KINDS.len() - 1 - turn };
            let kind = (kind + round / 2) % KINDS.len();
            turns.send(kind)?;
            thread::sleep(Duration::from_micros(200)); // the server is there
            let client = &mut clients[kind];
            let begin = Instant::now();
            for _ in 0..TURN {
                client.send(&message)?;
                client.recv()?;
            }
            let took = begin.elapsed().as_nanos() as f64 / TURN as f64;
            if round >= rounds / 10 {
                times[kind].push(took);
            }
        }
    }
    drop(turns);
    let pinned = serving.join().map_err(|_| "the server panicked")? && pinned;
    let cores = if pinned { "a core each" } else { "not pinned" };
    println!("{len} B, {rounds} rounds of {TURN} echoes, {cores}");
    for (kind, name) in KINDS.iter().enumerate() {
        let ratios: Vec<f64> =
            times[kind].iter().zip(&times[0]).map(|(ours, bare)| ours / bare).collect();
        let [middle, low, high] = interval(&ratios);
        let echo = median(&times[kind]);
        println!("  {name:<20} {echo:>8.0} ns   {middle:.4} ({low:.4} .. {high:.4})");
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|n| n.parse().ok());
    let size = numbers.next();
    let rounds = numbers.next().unwrap_or(1_000);
    let sizes = size.map_or(vec![32, 125, 1400], |size| vec![size]);
    sizes.into_iter().try_for_each(|len| measure(len, rounds))
}
