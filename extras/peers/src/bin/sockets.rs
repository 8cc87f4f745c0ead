//! Over the loopback: rows 12 to 15 of the table of all rows, and with `--only=wss` row 18. Server
//! and load are two processes on a core each; what counts is the server's processor time.
//!
//! All servers stay up, with their connections, and each round goes over all of them in turn.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use hdrhistogram::Histogram;
use tickwire_peers::load::{Load, PingPong, Pipeline, open, open_tls};
use tickwire_peers::net::{Echo, FanOut, Way, listen_blocking};
use tickwire_peers::peers::{self, Peer, blocking};
use tickwire_peers::proc::{self, Server};
use tickwire_peers::table::{BLOCKING, Goal, TOKIO, Table};
use tickwire_peers::tls;
use tickwire_peers::wire::frame_len;
use tickwire_peers::{asked, chosen, loops, option, wanted};

const CLIENTS: usize = 200;
const TICK: usize = 128;
/// Connections, and messages under way on each.
const CONNS: usize = 64;
const DEPTH: usize = 16;
const SIZES: [(&str, usize); 2] = [("64 B", 64), ("1000 B", 1000)];

fn serve(args: &[String]) {
    proc::pin(proc::SERVER_CORE);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["echo", name, way] => peers::with(name, &mut Echo(Way::named(way))),
        ["wss", name] => tls::serve(name, Way::Batch),
        ["loop", name] => loops::serve(name, None),
        ["fan-out", name, burst] => {
            let burst = burst.parse().expect("a number");
            peers::with(name, &mut FanOut { clients: CLIENTS, size: TICK, burst });
        }
        ["blocking", name] => {
            let known = blocking::SERVERS.iter().find(|(n, _)| *n == name);
            listen_blocking(known.expect("its name was listed").1);
        }
        _ => panic!("nothing serves {args:?}"),
    }
}

fn main() {
    if let Some(args) = proc::serving() {
        return serve(&args);
    }
    proc::raise_descriptors();
    proc::pin(proc::CLIENT_CORE);
    let rounds = option("rounds", 101);
    if wanted("echo") {
        echo(rounds);
    }
    if wanted("each") {
        echo_each(rounds.div_ceil(10));
    }
    if asked("wss") {
        wss(rounds);
    }
    if wanted("fan-out") {
        fan_out(rounds);
    }
    if wanted("ping-pong") {
        let names = peers::names(|c| c.sockets).into_iter();
        let servers: Vec<_> = names.map(|n| (n, Server::start(&["echo", n, "each"]))).collect();
        ping_pong("14", "Ping-pong, tokio", TOKIO, &servers, rounds);
    }
    if wanted("calls") {
        calls();
    }
    if wanted("blocking") {
        let names = chosen(blocking::SERVERS.map(|(name, _)| name)).into_iter();
        let servers: Vec<_> = names.map(|n| (n, Server::start(&["blocking", n]))).collect();
        ping_pong("15", "Ping-pong, blocking", BLOCKING, &servers, rounds);
        let tables = pipelines("blocking", &servers, |_, server| open(server), rounds);
        tables.print_ratios();
        for (label, goal, base) in [("64 B", 1.01, "raw"), ("1000 B", 1.02, "floor")] {
            let name = format!("15 echo {CONNS} × {DEPTH}, {label}: CPU");
            tables.cpu.summarize(&name, label, base, BLOCKING, Goal::ByInterval(goal));
        }
    }
}

struct Loads {
    rate: Table,
    cpu: Table,
}

impl Loads {
    fn print_ratios(&self) {
        self.cpu.print_ratios("raw");
        self.cpu.print_ratios("floor");
    }
}

/// Each connection with messages under way, answered as fast as the server can.
fn pipelines<S: Read + Write>(
    how: &str,
    servers: &[(&str, Server)],
    open: impl Fn(&str, &Server) -> S,
    rounds: usize,
) -> Loads {
    let time = Duration::from_millis(option("ms", 10));
    let title = format!("{CONNS} connections × {DEPTH} messages under way, {how}");
    let mut tables = Loads {
        rate: Table::new(&format!("{title}: thousand messages/s")),
        cpu: Table::new(&format!("{title}: server CPU, ns per message")),
    };
    for (label, size) in SIZES {
        let mut loads: Vec<_> = servers
            .iter()
            .map(|(name, server)| {
                let ios = (0..CONNS).map(|_| open(name, server)).collect();
                (name, server, Pipeline::new(ios, size, DEPTH, *name == "raw"))
            })
            .collect();
        for _ in 0..rounds {
            for (name, server, pipeline) in &mut loads {
                let Load { rate, cpu } = pipeline.run(server, time);
                tables.rate.add(name, label, rate / 1e3);
                tables.cpu.add(name, label, cpu);
            }
            loads.rotate_left(1);
        }
        eprintln!("{title}: {label}");
    }
    tables.cpu.print("raw");
    tables.rate.print("raw");
    tables
}

/// Row 12: all replies at hand in one write.
fn echo(rounds: usize) {
    let can = |name: &&str| *name == "raw" || peers::can(name).batch;
    let names = peers::names(|c| c.sockets).into_iter().filter(can);
    let mut servers: Vec<_> = names.map(|n| (n, Server::start(&["echo", n, "batch"]))).collect();
    servers.extend(chosen(loops::NAMES).into_iter().map(|n| (n, Server::start(&["loop", n]))));
    let tables = pipelines("batches", &servers, |_, server| open(server), rounds);
    tables.print_ratios();
    for (label, goal, base) in
        [("64 B", 1.05, "raw"), ("64 B", 1.02, "floor"), ("1000 B", 1.02, "floor")]
    {
        let name = format!("12 echo {CONNS} × {DEPTH}, {label}: CPU");
        tables.cpu.summarize(&name, label, base, TOKIO, Goal::ByInterval(goal));
    }
}

/// The same with the obvious loop of each crate: receive, send.
fn echo_each(rounds: usize) {
    let names = peers::names(|c| c.sockets).into_iter();
    let servers: Vec<_> = names.map(|n| (n, Server::start(&["echo", n, "each"]))).collect();
    pipelines("receive and send", &servers, |_, server| open(server), rounds);
}

/// Row 18: row 12 over TLS. `raw` is rustls alone.
fn wss(rounds: usize) {
    let unbatched = peers::fastwebsockets::FastWebsockets::NAME;
    let names = tls::names().into_iter().filter(|name| *name != unbatched);
    let names = names.chain(chosen(loops::NAMES));
    let servers: Vec<_> = names.map(|n| (n, Server::start(&["wss", n]))).collect();
    let config = tls::client(false);
    let open = |name: &str, server: &Server| open_tls(name, server, &config);
    let tables = pipelines("batches over TLS 1.3", &servers, open, rounds);
    tables.cpu.print_ratios("raw");
    for (label, _) in SIZES {
        if let Some(best) = tables.cpu.best_peer("raw", label) {
            let name = format!("18 wss, echo {CONNS} × {DEPTH}, {label}: CPU");
            tables.cpu.summarize(&name, label, best, TOKIO, Goal::ByInterval(0.8));
        }
    }
}

/// Row 13: the same tick to all clients.
fn fan_out(rounds: usize) {
    let title = format!("{CLIENTS} clients, {TICK} B ticks");
    let mut cpu = Table::new(&format!("{title}: server CPU, ns per message"));
    for (burst, label) in [(8, "8 ticks a flush"), (1, "1 tick a flush")] {
        let names = peers::names(|c| c.sockets);
        let mut crowds: Vec<_> = names.into_iter().map(|name| Crowd::new(name, burst)).collect();
        for _ in 0..rounds {
            for crowd in &mut crowds {
                cpu.add(crowd.name, label, crowd.run());
            }
            crowds.rotate_left(1);
        }
        eprintln!("{title}: {label}");
    }
    cpu.print("raw");
    cpu.print_ratios("raw");
    cpu.print_ratios("floor");
    cpu.summarize(
        "13 fan-out, 8 ticks a flush: CPU",
        "8 ticks a flush",
        "raw",
        TOKIO,
        Goal::ByInterval(1.03),
    );
}

/// A server and all its clients.
struct Crowd {
    name: &'static str,
    server: Server,
    control: TcpStream,
    clients: Vec<TcpStream>,
    burst: usize,
    buf: Vec<u8>,
}

impl Crowd {
    fn new(name: &'static str, burst: usize) -> Self {
        let server = Server::start(&["fan-out", name, &burst.to_string()]);
        let control = server.connect();
        let clients = (0..CLIENTS).map(|_| open(&server)).collect();
        let mut crowd = Self { name, server, control, clients, burst, buf: Vec::new() };
        crowd.go(2);
        crowd
    }

    /// The server's processor time for a message, in ns.
    fn run(&mut self) -> f64 {
        self.go(1);
        let laps = if self.burst == 1 { 16 } else { 80 / self.burst as u32 };
        let cpu = self.server.cpu();
        self.go(laps);
        let messages = laps as usize * self.burst * self.clients.len();
        (self.server.cpu() - cpu) as f64 / messages as f64
    }

    /// So many laps over all clients.
    fn go(&mut self, laps: u32) {
        self.buf.resize(laps as usize * self.burst * frame_len(TICK, false), 0);
        self.control.write_all(&laps.to_be_bytes()).expect("the server reads");
        for io in &mut self.clients {
            io.read_exact(&mut self.buf).expect("the server sends");
        }
    }
}

/// Rows 14 and 15: one connection, one message at a time.
fn ping_pong(row: &str, title: &str, ours: &str, servers: &[(&str, Server)], rounds: usize) {
    let count = option("count", 400);
    let mut table = Table::new(&format!("{title}, 1 connection, 64 B: ns"));
    let new = || Histogram::<u64>::new(3).expect("three digits");
    let open = |(name, server)| (name, server, PingPong::new(server, 64, name == "raw"), new());
    let mut all: Vec<_> = servers.iter().map(|(name, server)| open((*name, server))).collect();
    for _ in 0..rounds {
        for (name, server, trips, times) in &mut all {
            let run = trips.run(server, count);
            table.add(name, "p50", run.times.value_at_quantile(0.5) as f64);
            table.add(name, "CPU", run.cpu);
            times.add(&run.times).expect("the same digits");
        }
        all.rotate_left(1);
    }
    for (name, _, _, times) in &all {
        for (label, q) in [("p99", 0.99), ("p99.9", 0.999)] {
            table.add(name, label, times.value_at_quantile(q) as f64);
        }
    }
    eprintln!("{title}");
    table.print("raw");
    table.print_ratios("raw");
    table.print_ratios("floor");
    for column in ["p50", "CPU"] {
        table.summarize(
            &format!("{row} {title}: {column}"),
            column,
            "raw",
            ours,
            Goal::ByInterval(1.01),
        );
    }
}

/// Row 14: the system calls of a round trip, as strace counts them.
fn calls() {
    let there = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    if !there {
        return println!("\nSystem calls were not counted: there is no strace here.");
    }
    let mut table = Table::new("Ping-pong, 1 connection, 64 B: system calls per message");
    let log = std::env::temp_dir().join(format!("tickwire-calls-{}", std::process::id()));
    let file = log.display().to_string();
    let strace = ["strace", "-f", "-c", "-U", "calls,name", "-o", &file];
    const COUNT: usize = 2000;
    for name in peers::names(|c| c.sockets) {
        let server = Server::start_under(&strace, &["echo", name, "once"]);
        let mut trips = PingPong::new(&server, 64, name == "raw");
        for _ in 0..COUNT {
            trips.trip();
        }
        drop(trips);
        server.wait();
        let report = std::fs::read_to_string(&log).unwrap_or_default();
        let of = |wanted: &[&str]| {
            let mut calls = 0.0;
            for line in report.lines() {
                let mut words = line.split_whitespace();
                if let (Some(n), Some(call)) = (words.next(), words.next())
                    && wanted.contains(&call)
                {
                    calls += n.parse().unwrap_or(0.0);
                }
            }
            calls / COUNT as f64
        };
        table.add(name, "reads", of(&["read", "readv", "recvfrom", "recvmsg"]));
        table.add(name, "writes", of(&["write", "writev", "sendto", "sendmsg"]));
        table.add(name, "waits", of(&["epoll_wait", "epoll_pwait", "epoll_pwait2"]));
    }
    let _ = std::fs::remove_file(&log);
    table.print("");
    table.summarize_values("14 reads, writes, waits a message: the most", TOKIO, 1.01);
}
