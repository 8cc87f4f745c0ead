//! The load client, the same for every server: pre-encoded masked frames on plain sockets, opened
//! once and used in every round.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tickwire::tls::rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::net::request;
use crate::proc::Server;
use crate::tls::{self, sides::PLAIN};
use crate::wire::frame;

/// The key of every frame the load sends.
pub const KEY: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// Connects and shakes hands.
pub fn open(server: &Server) -> TcpStream {
    shake(server.connect())
}

/// A stream of any kind.
pub trait Duplex: Read + Write {}
impl<S: Read + Write> Duplex for S {}

/// The same over TLS, unless the server of this name is the one without.
pub fn open_tls(name: &str, server: &Server, config: &Arc<ClientConfig>) -> Box<dyn Duplex> {
    if name == PLAIN {
        return Box::new(open(server));
    }
    let client = ClientConnection::new(config.clone(), tls::name()).expect("a client");
    Box::new(shake(StreamOwned::new(client, server.connect())))
}

fn shake<S: Read + Write>(mut io: S) -> S {
    io.write_all(&request("/")).expect("the server reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0]; // One at a time: what follows is not ours to read.
        io.read_exact(&mut byte).expect("the server answers");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    io
}

/// What to send and what must come back.
pub struct Exchange {
    send: Vec<u8>,
    want: Vec<u8>,
    got: Vec<u8>,
}

impl Exchange {
    /// `depth` messages of `size`; `raw` servers send back what they got.
    pub fn new(size: usize, depth: usize, raw: bool) -> Self {
        let (mut send, mut want) = (Vec::new(), Vec::new());
        for i in 0..depth {
            let payload: Vec<u8> = (0..size).map(|j| (i + j) as u8).collect();
            frame(&mut send, 0x82, &payload, Some(KEY));
            frame(&mut want, 0x82, &payload, None);
        }
        if raw {
            want.clone_from(&send);
        }
        Exchange { send, got: vec![0; want.len()], want }
    }

    pub fn send(&self, io: &mut impl Write) {
        io.write_all(&self.send).expect("the server reads");
    }

    pub fn receive(&mut self, io: &mut impl Read) {
        io.read_exact(&mut self.got).expect("the server answers");
        assert!(self.got == self.want, "not what was sent");
    }

    /// As [`receive`](Self::receive), from a stream that does not block, spinning.
    fn receive_now(&mut self, io: &mut TcpStream) {
        let mut at = 0;
        while at < self.got.len() {
            match io.read(&mut self.got[at..]) {
                Ok(0) => panic!("closed"),
                Ok(n) => at += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(e) => panic!("{e}"),
            }
        }
        assert!(self.got == self.want, "not what was sent");
    }
}

/// One message there and back at a time, spinning rather than sleeping for the answer.
pub struct PingPong {
    io: TcpStream,
    exchange: Exchange,
}

/// How long each round trip took, in ns; the server's processor time for one.
pub struct Trips {
    pub times: Histogram<u64>,
    pub cpu: f64,
}

impl PingPong {
    pub fn new(server: &Server, size: usize, raw: bool) -> Self {
        let io = open(server);
        io.set_nonblocking(true).expect("it is TCP");
        Self { io, exchange: Exchange::new(size, 1, raw) }
    }

    pub fn run(&mut self, server: &Server, count: usize) -> Trips {
        for _ in 0..count / 10 {
            self.trip();
        }
        let mut times = Histogram::new(3).expect("three digits");
        let cpu = server.cpu();
        for _ in 0..count {
            times.record(self.trip().as_nanos() as u64).expect("it grows");
        }
        Trips { times, cpu: (server.cpu() - cpu) as f64 / count as f64 }
    }

    pub fn trip(&mut self) -> Duration {
        let begin = Instant::now();
        self.exchange.send(&mut self.io);
        self.exchange.receive_now(&mut self.io);
        begin.elapsed()
    }
}

/// Connections with so many messages each under way.
pub struct Pipeline<S> {
    ios: Vec<S>,
    exchange: Exchange,
    depth: usize,
}

/// Messages there and back in a second; the server's processor time for one, in ns.
pub struct Load {
    pub rate: f64,
    pub cpu: f64,
}

impl<S: Read + Write> Pipeline<S> {
    pub fn new(ios: Vec<S>, size: usize, depth: usize, raw: bool) -> Self {
        Self { ios, exchange: Exchange::new(size, depth, raw), depth }
    }

    /// Laps over all connections, for about `time`; nothing is under way before and after.
    pub fn run(&mut self, server: &Server, time: Duration) -> Load {
        self.laps(Duration::ZERO, 2);
        let (cpu, begin) = (server.cpu(), Instant::now());
        let laps = self.laps(time, 2);
        let messages = (laps * self.depth * self.ios.len()) as f64;
        let rate = messages / begin.elapsed().as_secs_f64();
        Load { rate, cpu: (server.cpu() - cpu) as f64 / messages }
    }

    fn laps(&mut self, time: Duration, least: usize) -> usize {
        let Self { ios, exchange, .. } = self;
        ios.iter_mut().for_each(|io| exchange.send(io));
        let (begin, mut laps) = (Instant::now(), 1);
        while laps < least || begin.elapsed() < time {
            for io in &mut *ios {
                exchange.receive(io);
                exchange.send(io);
            }
            laps += 1;
        }
        ios.iter_mut().for_each(|io| exchange.receive(io));
        laps
    }
}
