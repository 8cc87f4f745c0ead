//! How long the slowest of many messages take at a fixed rate, beside bare TCP. Server and load are
//! two processes on a core each.
//!
//! The load is an open loop: when each message is due is fixed before the first is sent, and its
//! latency counts from then. So whoever stalls pays for every message that came due meanwhile, and
//! not for one alone (coordinated omission).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tickwire_peers::load::{KEY, open};
use tickwire_peers::net::{Echo, Way};
use tickwire_peers::option;
use tickwire_peers::peers;
use tickwire_peers::proc::{self, Server};
use tickwire_peers::table::Table;
use tickwire_peers::wire::frame;

const CONNS: u64 = 4;
const SIZE: usize = 64;
/// Messages until the first is sent again.
const CYCLE: usize = 256;
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("worst", 1.0)];

fn main() {
    if let Some(args) = proc::serving() {
        proc::pin(proc::SERVER_CORE);
        return peers::with(&args[0], &mut Echo(Way::Batch));
    }
    proc::pin(proc::CLIENT_CORE);
    let rate: u64 = option("rate", 50_000);
    let slice: u64 = option("slice", 1_000_000);
    let rounds: u64 = option("rounds", 10);
    let period = Duration::from_secs(1) / rate as u32;

    let names = peers::names(|can| can.sockets).into_iter();
    let names = names.filter(|name| *name == "raw" || peers::can(name).batch && *name != "floor");
    let mut sides: Vec<_> = names.map(Side::new).collect();
    let load = format!("{CONNS} connections, {SIZE} B, {rate} messages/s");
    let mut slices = Table::new(&format!("{load}, slices of {slice}: latency in µs"));
    for round in 0..rounds {
        for side in &mut sides {
            side.run(slice / 100, period, &mut Times::new());
            let mut times = Times::new();
            let cpu = side.server.cpu();
            side.run(slice, period, &mut times);
            let cpu = (side.server.cpu() - cpu) as f64 / slice as f64;
            times.tell(side.name, &mut slices);
            slices.add(side.name, "server CPU, ns", cpu);
            side.times.add(&times);
        }
        sides.rotate_left(1);
        eprintln!("{load}: round {} of {rounds}", round + 1);
    }
    let messages = rounds * slice;
    let mut all = Table::new(&format!("{load}, all {messages}: latency in µs"));
    sides.sort_by_key(|side| peers::NAMES.iter().position(|name| *name == side.name));
    for side in &sides {
        side.times.tell(side.name, &mut all);
    }
    all.print("raw");
    slices.print("raw");
    slices.print_ratios("raw");
}

/// In ns.
struct Times {
    latency: Histogram<u64>,
    /// How long after the time due a message was sent: that is the load's own share.
    late: Histogram<u64>,
}

impl Times {
    fn new() -> Self {
        let new = || Histogram::new(3).expect("three digits");
        Self { latency: new(), late: new() }
    }

    fn add(&mut self, more: &Times) {
        self.latency.add(&more.latency).expect("the same digits");
        self.late.add(&more.late).expect("the same digits");
    }

    fn tell(&self, name: &str, table: &mut Table) {
        let micros = |times: &Histogram<u64>, q| times.value_at_quantile(q) as f64 / 1e3;
        for (label, q) in QUANTILES {
            table.add(name, label, micros(&self.latency, q));
        }
        table.add(name, "sent late, p99.9", micros(&self.late, 0.999));
        table.add(name, "sent late, worst", micros(&self.late, 1.0));
    }
}

struct Side {
    name: &'static str,
    server: Server,
    flows: Vec<Flow>,
    times: Times,
}

impl Side {
    fn new(name: &'static str) -> Self {
        let server = Server::start(&[name]);
        let flows = (0..CONNS).map(|_| Flow::new(&server, name == "raw")).collect();
        Self { name, server, flows, times: Times::new() }
    }

    /// Sends so many messages, one each `period`, in turn on all connections; ends when all are
    /// back.
    fn run(&mut self, messages: u64, period: Duration, times: &mut Times) {
        let period = period.as_nanos() as u64;
        let begin = Instant::now();
        let now = || begin.elapsed().as_nanos() as u64;
        let mut back = 0;
        self.flows.iter_mut().for_each(Flow::restart);
        while back < messages {
            for (first, flow) in (0..).zip(&mut self.flows) {
                let due = |nth: u64| (nth * CONNS + first) * period;
                let moment = now();
                let all = (moment / period + 1).min(messages);
                // Those among `all` that are this connection's.
                if let Some(nth) = flow.send((all + CONNS - 1 - first) / CONNS) {
                    times.late.record(moment - due(nth)).expect("it grows");
                }
                let answered = flow.answered;
                if flow.receive() {
                    let moment = now();
                    for nth in answered..flow.answered {
                        times.latency.record(moment - due(nth)).expect("it grows");
                    }
                    back += flow.answered - answered;
                }
            }
        }
    }
}

/// A connection, whose messages repeat after [`CYCLE`].
struct Flow {
    io: TcpStream,
    send: Vec<u8>,
    want: Vec<u8>,
    buf: Vec<u8>,
    /// Bytes.
    sent: usize,
    got: usize,
    /// Messages.
    answered: u64,
}

impl Flow {
    fn new(server: &Server, raw: bool) -> Self {
        let io = open(server);
        io.set_nonblocking(true).expect("it is TCP");
        let mut send = Vec::new();
        let mut want = Vec::new();
        for first in 0..CYCLE {
            let payload: Vec<u8> = (0..SIZE).map(|at| (first + at) as u8).collect();
            frame(&mut send, 0x82, &payload, Some(KEY));
            frame(&mut want, 0x82, &payload, None);
        }
        if raw {
            want.clone_from(&send);
        }
        Flow { io, send, want, buf: vec![0; 64 * 1024], sent: 0, got: 0, answered: 0 }
    }

    fn restart(&mut self) {
        self.sent = 0;
        self.got = 0;
        self.answered = 0;
    }

    /// Writes the rest of its first so many messages, as far as the socket takes it. Returns the
    /// message that it began with.
    fn send(&mut self, messages: u64) -> Option<u64> {
        let len = self.send.len() / CYCLE;
        let nth = self.sent.div_ceil(len) as u64;
        let end = messages as usize * len;
        while self.sent < end {
            let from = self.sent % self.send.len();
            let to = self.send.len().min(from + end - self.sent);
            match self.io.write(&self.send[from..to]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        (self.sent > nth as usize * len).then_some(nth)
    }

    /// Reads once; whether something came.
    fn receive(&mut self) -> bool {
        let n = match self.io.read(&mut self.buf) {
            Ok(0) => panic!("closed"),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{error}"),
        };
        let mut came = &self.buf[..n];
        while !came.is_empty() {
            let from = self.got % self.want.len();
            let len = came.len().min(self.want.len() - from);
            assert!(came[..len] == self.want[from..from + len], "not what was sent");
            self.got += len;
            came = &came[len..];
        }
        self.answered = (self.got / (self.want.len() / CYCLE)) as u64;
        true
    }
}
