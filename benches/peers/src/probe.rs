//! A client that sends Pings and times their Pongs while the connection is busy. It never sleeps:
//! it writes and reads whatever its socket takes and gives.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::load::KEY;
use crate::wire::frame;

/// How much is read at once.
const READ: usize = 256 * 1024;
/// After that without a byte the server is given up.
const PATIENCE: Duration = Duration::from_secs(3);

pub struct Probe {
    io: TcpStream,
    out: Vec<u8>,
    written: usize,
    buf: Vec<u8>,
    parser: Parser,
    /// When each Ping was queued that is not answered, and how much had been read by then.
    asked: VecDeque<(Instant, u64)>,
    /// Of the first of those.
    number: u64,
    /// Bytes read.
    pub received: u64,
    /// Data frames that ended.
    pub frames: u64,
    /// From queueing a Ping to its Pong, in ns.
    pub delays: Histogram<u64>,
    /// Bytes that came between.
    pub ahead: Histogram<u64>,
    last: Instant,
    closed: bool,
}

impl Probe {
    pub fn new(io: TcpStream) -> Self {
        io.set_nonblocking(true).expect("it is TCP");
        let new = || Histogram::new(3).expect("three digits");
        Self {
            io,
            out: Vec::new(),
            written: 0,
            buf: vec![0; READ],
            parser: Parser::default(),
            asked: VecDeque::new(),
            number: 0,
            received: 0,
            frames: 0,
            delays: new(),
            ahead: new(),
            last: Instant::now(),
            closed: false,
        }
    }

    pub fn ping(&mut self) {
        let number = self.number + self.asked.len() as u64;
        self.asked.push_back((Instant::now(), self.received));
        frame(&mut self.out, 0x89, &number.to_be_bytes(), Some(KEY));
    }

    pub fn send(&mut self, first: u8, payload: &[u8]) {
        frame(&mut self.out, first, payload, Some(KEY));
    }

    /// Whether all that was sent is with the system.
    pub fn idle(&self) -> bool {
        self.out.is_empty()
    }

    /// Pings without an answer.
    pub fn waiting(&self) -> usize {
        self.asked.len()
    }

    /// Writes and reads once each, at most `most` bytes. `false` once the server says nothing.
    pub fn turn(&mut self, most: usize) -> bool {
        if let Ok(n) = self.io.write(&self.out[self.written..]) {
            self.written += n;
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        match self.io.read(&mut self.buf[..most.min(READ)]) {
            Ok(0) => false,
            Ok(n) => {
                self.last = Instant::now();
                self.received += n as u64;
                self.take(n);
                !self.closed
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => self.last.elapsed() < PATIENCE,
            Err(_) => false,
        }
    }

    fn take(&mut self, n: usize) {
        let Self { parser, buf, asked, number, frames, delays, ahead, last, closed, .. } = self;
        let received = self.received;
        parser.push(&buf[..n], |first, payload| match first & 0xf {
            // §5.5.3: a Pong may answer all Pings up to the one it repeats.
            0xa => {
                let answered = payload.try_into().map_or(*number, u64::from_be_bytes);
                while *number <= answered {
                    let (when, read) = asked.pop_front().expect("a Pong answers a Ping");
                    delays.record((*last - when).as_nanos() as u64).expect("it grows");
                    ahead.record(received - read).expect("it grows");
                    *number += 1;
                }
            }
            0..=2 => *frames += 1,
            _ => *closed = true,
        });
    }

    /// Goes on until every Ping is answered; `false` if the server answers no more.
    pub fn settle(&mut self) -> bool {
        while self.waiting() > 0 || !self.idle() {
            if !self.turn(READ) {
                return false;
            }
        }
        true
    }
}

/// Finds where frames end, and what short ones carry.
#[derive(Default)]
struct Parser {
    /// What is here of a header.
    head: Vec<u8>,
    /// Of the payload under way, if the header is whole.
    left: Option<u64>,
    /// What is here of a payload that a control frame could have.
    short: Vec<u8>,
}

impl Parser {
    /// Calls `ended` with the first byte and the short payload of each frame that ends in `bytes`.
    fn push(&mut self, mut bytes: &[u8], mut ended: impl FnMut(u8, &[u8])) {
        loop {
            if let Some(left) = self.left {
                let (here, rest) = bytes.split_at(left.min(bytes.len() as u64) as usize);
                if self.head[1] < 126 {
                    self.short.extend_from_slice(here);
                }
                bytes = rest;
                self.left = Some(left - here.len() as u64);
                if self.left != Some(0) {
                    return;
                }
                ended(self.head[0], &self.short);
                self.left = None;
                self.head.clear();
                self.short.clear();
            }
            let Some((&byte, rest)) = bytes.split_first() else {
                return;
            };
            bytes = rest;
            self.head.push(byte);
            self.left = match self.head[..] {
                [_, 126, a, b] => Some(u16::from_be_bytes([a, b]).into()),
                [_, 127, ref len @ ..] => len.try_into().ok().map(u64::from_be_bytes),
                [_, n] if n < 126 => Some(n.into()),
                _ => None,
            };
        }
    }
}
