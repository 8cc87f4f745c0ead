//! What the kernel's time of arrival costs a read on the loopback: `read` beside a `Timestamped`
//! stream's `recvmsg` with its control message, bare and in `blocking`, which then looks at the
//! clock too.
//!
//! In a turn each of 64 connections has one message waiting, and is read once; only that is timed.
//! A round is 15 turns of each of the two, one after the other, in changing order, and what it says
//! of each is the median turn, so that a turn in which something else had the processor does not
//! count. Shown are the medians, and the median of the ratios within a round with its 95 % interval
//! (of order statistics, no distribution assumed). As the first socket that asks has the kernel
//! stamp every segment of the machine, what that costs it is on both sides.
//!
//! Instructions are of this program alone, counted by callgrind (`apt-get install valgrind`), and
//! those of sending are on both sides.
//!
//! `cargo bench -p benches --bench stamps --features stamps [-- ROUNDS]`
#![allow(clippy::expect_used, clippy::panic)] // it stops the bench

use std::{
    hint::black_box,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};
use tickwire::{Config, Connection, Negotiated, SystemEntropy, Timestamped, blocking};

const CONNECTIONS: usize = 64;
const TURNS: usize = 15;
/// A binary message of 64 bytes from a server.
const WIRE: [u8; 66] = {
    let mut wire = [7; 66];
    (wire[0], wire[1]) = (0x82, 64);
    wire
};

/// One end of each connection, read by one of the sides.
enum Near {
    Plain(Vec<TcpStream>),
    Timestamped(Vec<Timestamped<TcpStream>>),
    Blocking(Vec<blocking::WebSocket<TcpStream>>),
    BlockingStamped(Vec<blocking::WebSocket<Timestamped<TcpStream>>>),
}

/// By their names, without and with.
const SIDES: [&str; 2] = ["bare", "blocking"];

struct Side {
    near: Near,
    far: Vec<TcpStream>,
}

fn stamped<S: std::os::fd::AsFd>(io: S) -> Timestamped<S> {
    Timestamped::new(io).expect("a socket")
}

impl Side {
    fn new(name: &str, stamps: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (near, far): (Vec<_>, Vec<_>) = (0..CONNECTIONS)
            .map(|_| {
                let near = TcpStream::connect(address).expect("a listener");
                let (far, _) = listener.accept().expect("a client");
                far.set_nodelay(true).expect("a socket");
                (near, far)
            })
            .unzip();
        let conn = || {
            let config = Config { stamp_reads: stamps, ..Config::default() };
            let entropy = SystemEntropy::new().expect("a system");
            Connection::client(&config, Negotiated::default(), entropy)
        };
        let each = near.into_iter();
        let near = match (name, stamps) {
            ("bare", false) => Near::Plain(each.collect()),
            ("bare", true) => Near::Timestamped(each.map(stamped).collect()),
            ("blocking", false) => {
                let open = |tcp| blocking::WebSocket::from_parts(tcp, conn());
                Near::Blocking(each.map(open).collect())
            }
            _ => {
                let open = |tcp| blocking::WebSocket::from_parts(stamped(tcp), conn());
                Near::BlockingStamped(each.map(open).collect())
            }
        };
        Self { near, far }
    }

    fn send(&mut self) {
        for far in &mut self.far {
            far.write_all(&WIRE).expect("a peer");
        }
    }

    /// Reads what was sent; returns how many were stamped.
    fn receive(&mut self) -> usize {
        macro_rules! each {
            ($all:expr) => {{
                let mut stamped = 0;
                for ws in $all {
                    let received = ws.recv_to_reply().expect("no error");
                    let received = received.expect("a message");
                    stamped += usize::from(black_box(received.info()).arrived.is_some());
                }
                stamped
            }};
        }
        let mut buf = [0; 16 << 10];
        match &mut self.near {
            Near::Plain(all) => {
                for tcp in all {
                    assert_eq!(black_box(tcp.read(&mut buf)).expect("no error"), WIRE.len());
                }
                0
            }
            Near::Timestamped(all) => {
                let mut stamped = 0;
                for tcp in all {
                    assert_eq!(black_box(tcp.read(&mut buf)).expect("no error"), WIRE.len());
                    stamped += usize::from(black_box(tcp.arrived()).is_some());
                }
                stamped
            }
            Near::Blocking(all) => each!(all),
            Near::BlockingStamped(all) => each!(all),
        }
    }

    /// Nanoseconds a read, in one turn.
    fn turn(&mut self, stamps: bool) -> f64 {
        self.send();
        let begin = Instant::now();
        let stamped = self.receive();
        let took = begin.elapsed();
        assert_eq!(stamped, if stamps { CONNECTIONS } else { 0 });
        took.as_nanos() as f64 / CONNECTIONS as f64
    }

    /// Turns until the kernel stamps.
    fn warm(&mut self, stamps: bool) {
        for _ in 0..50 {
            self.send();
            if self.receive() == CONNECTIONS || !stamps {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the kernel stamps nothing");
    }
}

/// The median, and between which two of the sorted values it lies with 95 %.
fn interval(mut all: Vec<f64>) -> [f64; 3] {
    all.sort_by(f64::total_cmp);
    let n = all.len() as f64;
    let away = (1.96 * n.sqrt() / 2.0).ceil();
    let at = |i: f64| all[(i.max(0.0) as usize).min(all.len() - 1)];
    [at(n / 2.0), at(n / 2.0 - away), at(n / 2.0 + away)]
}

/// Instructions a message, of a turn of each length.
fn instructions(name: &str, stamps: bool) -> Option<f64> {
    let run = |turns: usize| -> Option<u64> {
        let found = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().ok()?)
            .args(["--work", name, &stamps.to_string(), &turns.to_string()])
            .output()
            .ok()?;
        let found = String::from_utf8(found.stderr).ok()?;
        let line = found.lines().find_map(|line| line.split_once("Collected : "));
        line?.1.trim().parse().ok()
    };
    let (few, many) = (run(20)?, run(120)?);
    Some((many - few) as f64 / (100 * CONNECTIONS) as f64)
}

fn measure(name: &str, rounds: usize) {
    let mut sides = [false, true].map(|stamps| Side::new(name, stamps));
    for (side, stamps) in sides.iter_mut().zip([false, true]) {
        side.warm(stamps);
    }
    let (mut times, mut ratios) = ([vec![], vec![]], vec![]);
    for round in 0..rounds + rounds / 10 {
        let mut turns = [vec![], vec![]];
        for turn in 0..2 * TURNS {
            let stamps = (turn + round) % 2;
            turns[stamps].push(sides[stamps].turn(stamps == 1));
        }
        let took = turns.map(|turns| interval(turns)[0]);
        if round >= rounds / 10 {
            ratios.push(took[1] / took[0]);
            times[0].push(took[0]);
            times[1].push(took[1]);
        }
    }
    let [ratio, low, high] = interval(ratios);
    let [[off, ..], [on, ..]] = times.map(interval);
    print!("{name:<10}{off:>8.0} ns {on:>8.0} ns   {ratio:.3} ({low:.3} .. {high:.3})");
    match (instructions(name, false), instructions(name, true)) {
        (Some(off), Some(on)) => println!("   {off:>6.0} {on:>6.0} instructions"),
        _ => println!("   instructions: NOT COUNTED, there is no valgrind"),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["--work", name, stamps, turns] = args[..] {
        let (stamps, turns) = (stamps == "true", turns.parse().expect("a number"));
        let mut side = Side::new(name, stamps);
        side.warm(stamps);
        for _ in 0..turns {
            side.send();
            side.receive();
        }
        return;
    }
    let rounds = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(101);
    println!("{rounds} rounds; a read without stamps, with them, their ratio");
    for name in SIDES {
        measure(name, rounds);
    }
}
