//! The raw end, which is not measured: it writes encoded frames without a pause, or reads what
//! comes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use tickwire::tls::rustls::{ClientConnection, Connection, ServerConnection};

use super::{COST, EVENT, Role, Task, URING, Way, payload};
use crate::bridge::AsAsync;
use crate::load::KEY;
use crate::mem::now;
use crate::net::{accept_http, request};
use crate::peers::{Peer, raw::Raw};
use crate::proc::Server;
use crate::tls;
use crate::wire::{decode, frame, frame_len};

/// The most bytes of one write.
const WRITE: usize = 256 << 10;

/// A row of a table: its process, and a connection.
pub struct Row {
    pub name: &'static str,
    task: Task,
    server: Server,
    link: Link,
    /// Frames, for one write after another.
    frames: Vec<u8>,
}

/// What a message has cost.
pub struct Lap {
    /// Processor time, in ns.
    pub cpu: f64,
    /// Reads, or writes.
    pub calls: f64,
    /// Bytes of a read, or of a write.
    pub bytes: f64,
    /// Bytes copied in memory, and bytes filled.
    pub copied: f64,
    pub filled: f64,
}

impl Row {
    pub fn start(name: &'static str, task: Task) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port().to_string();
        let mut args = vec![name];
        let task_args = task.args();
        args.extend(task_args.iter().map(String::as_str));
        args.push(&port);
        let server = Server::start(&args);
        let link = connect(name, &task, &server, &listener);
        let mut frames = Vec::new();
        let count = (WRITE / task.size).clamp(1, task.lap);
        for _ in 0..count {
            frame(&mut frames, 0x82, &payload(task.size), task.key());
        }
        Self { name, task, server, link, frames }
    }

    /// A lap.
    pub fn run(&mut self) -> Lap {
        let Self { name, task, server, link, frames } = self;
        let before = server.cpu();
        match task.way {
            Way::Receive => {
                let all = frame_len(task.size, task.key().is_some()) * task.lap;
                link.flood(frames, all).expect("the measured end reads");
            }
            _ => {
                let mut go = Vec::new();
                frame(&mut go, 0x82, b"go", task.key());
                link.flood(&go, go.len()).expect("the measured end reads");
                let masked = task.role == Role::Client && *name != Raw::NAME;
                link.skip(frame_len(task.size, masked) * task.lap).expect("it sends");
            }
        }
        let masked = task.role == Role::Client && *name != Raw::NAME;
        let cost = link.exactly(frame_len(COST, masked)).expect("it says what it cost");
        let cost = decode(&cost).expect("a frame").remove(0).payload;
        let [calls, bytes, copied, filled] =
            [0, 8, 16, 24].map(|at| u64::from_le_bytes(cost[at..at + 8].try_into().expect("8")));
        let of_one = |n: u64| n as f64 / task.lap as f64;
        Lap {
            cpu: of_one(server.cpu() - before),
            calls: of_one(calls),
            bytes: bytes as f64 / calls.max(1) as f64,
            copied: of_one(copied),
            filled: of_one(filled),
        }
    }
}

impl Task {
    /// What the load masks with.
    fn key(&self) -> Option<[u8; 4]> {
        (self.role == Role::Server).then_some(KEY)
    }
}

/// Connects to the measured end, or lets it connect; shakes hands if it is a loop.
fn connect(name: &str, task: &Task, server: &Server, listener: &TcpListener) -> Link {
    let loops = [EVENT, URING].contains(&name);
    let dials = loops && task.role == Role::Client;
    let io = if dials {
        let (io, _) = listener.accept().expect("it dials");
        io.set_nodelay(true).expect("it is TCP");
        io
    } else {
        server.connect()
    };
    let tls = task.tls.then(|| -> Connection {
        if dials {
            ServerConnection::new(tls::server(false)).expect("a server").into()
        } else {
            ClientConnection::new(tls::client(false), tls::name()).expect("a client").into()
        }
    });
    let mut link = Link { io, tls };
    if let Some(tls) = &mut link.tls {
        tls.set_buffer_limit(None);
        tls.complete_io(&mut link.io).expect("a handshake");
    }
    if dials {
        now(accept_http(&mut AsAsync(&mut link))).expect("a request");
    } else if loops {
        link.write_all(&request("/")).expect("it reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(link.exactly(1).expect("it answers"));
        }
    }
    link
}

/// A stream, with or without TLS.
struct Link {
    io: TcpStream,
    tls: Option<Connection>,
}

impl Link {
    /// Writes `all` bytes: `frames` again and again. Over TLS they are sealed before the first
    /// write, so that the measured end waits for nobody.
    fn flood(&mut self, frames: &[u8], mut all: usize) -> io::Result<()> {
        let mut sealed = Vec::new();
        while all > 0 {
            let part = &frames[..frames.len().min(all)];
            match &mut self.tls {
                None => self.io.write_all(part)?,
                Some(tls) => {
                    tls.writer().write_all(part)?;
                    while tls.wants_write() {
                        tls.write_tls(&mut sealed)?;
                    }
                }
            }
            all -= part.len();
        }
        self.io.write_all(&sealed)
    }

    fn exactly(&mut self, n: usize) -> io::Result<Vec<u8>> {
        let mut out = vec![0; n];
        self.read_exact(&mut out)?;
        Ok(out)
    }

    fn skip(&mut self, mut n: usize) -> io::Result<()> {
        let mut to = vec![0; WRITE];
        while n > 0 {
            let most = n.min(to.len());
            n -= match self.read(&mut to[..most])? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                got => got,
            };
        }
        Ok(())
    }
}

impl Read for Link {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.io.read(to) };
        loop {
            match tls.reader().read(to) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            tls.read_tls(&mut self.io)?;
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flood(bytes, bytes.len())?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.io.flush()
    }
}

/// Two connections to one thread: one that gets long messages as fast as it takes them, and one on
/// which short messages go there and back.
pub struct Behind {
    pub name: &'static str,
    flood: TcpStream,
    trips: TcpStream,
    frames: Vec<u8>,
    /// Bytes of `frames` that are written.
    at: usize,
    short: Vec<u8>,
    _server: Server,
}

impl Behind {
    pub fn start(name: &'static str, task: Task) -> Self {
        let Row { server, link, frames, .. } = Row::start(name, task);
        let none = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let trips = connect(name, &task, &server, &none).io;
        let flood = link.io;
        flood.set_nonblocking(true).expect("it is TCP");
        trips.set_nonblocking(true).expect("it is TCP");
        let mut short = Vec::new();
        frame(&mut short, 0x82, &payload(64), task.key());
        Self { name, flood, trips, frames, at: 0, short, _server: server }
    }

    /// Writes what the first connection takes at once. Not until it refuses: it may never do so.
    fn pour(&mut self) {
        match self.flood.write(&self.frames[self.at..]) {
            Ok(n) => self.at = (self.at + n) % self.frames.len(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// How long a short message takes there and back.
    pub fn trip(&mut self) -> Duration {
        self.pour();
        let begin = Instant::now();
        self.trips.write_all(&self.short).expect("there is room");
        let mut back = vec![0; frame_len(64, false)];
        let mut got = 0;
        while got < back.len() {
            match self.trips.read(&mut back[got..]) {
                Ok(n @ 1..) => got += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.pour(),
                other => panic!("{other:?}"),
            }
        }
        begin.elapsed()
    }

    /// Lets the measured end take what is under way, and so rest.
    pub fn rest(&mut self) {
        while self.at > 0 {
            match self.flood.write(&self.frames[self.at..]) {
                Ok(n) => self.at = (self.at + n) % self.frames.len(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        self._server.rest();
    }
}
