//! A client's message over TLS 1.3 (AES-128-GCM of ring; of aws-lc-rs by `checks/providers/run
//! bench`, except the floor), in memory, on one thread; the other end's cryptography is not timed.
//! In each round every side does the same, one after the other; the figures are medians.
//!
//! ```text
//! cargo bench -p benches --bench tls --features rustls           # 101 rounds
//! # so many, of rows with this in their name
//! cargo bench -p benches --bench tls --features rustls -- 21 'send 64'
//! ```
//!
//! | side | |
//! |---|---|
//! | `ws` | no TLS |
//! | `rustls` | a configuration that keeps its keys |
//! | `in place` | one that works in place |
//! | `floor` | records opened and sealed by ring, with no check, nothing but data, one copy |
//! | `blocking` | `in place` in the blocking adapter |
//! | `core` | `in place` without an adapter: `Session` and `Connection` in a loop |
//!
//! The last columns are the ratios of `in place`, `blocking` and `core` to the floor, round by
//! round.
#![allow(clippy::expect_used, clippy::panic)] // it stops the bench
mod floor;
mod sides;
mod wss;

use floor::Body::{Ascii, Binary};
use std::{
    pin::Pin,
    task::{Context, Waker},
    time::Instant,
};
use testkit::alloc::{Counting, allocations, live};
use tickwire::tls::rustls::ServerConnection;
use tokio::io::{AsyncRead, ReadBuf};
use wss::{Case, Does, Link, Pipe, Run, Setup, Side, connect};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIDES: [(&str, Side); 6] = [
    ("ws", Side::Plain),
    ("rustls", Side::Rustls),
    ("in place", Side::InPlace),
    ("floor", Side::Floor),
    ("blocking", Side::Blocking),
    ("core", Side::Core),
];

/// Nanoseconds and allocations a message.
fn timed(run: &Run, link: &mut Link, n: usize) -> [f64; 2] {
    run.fill(link, n);
    let (before, begin) = (allocations(), Instant::now());
    run.work(link, n);
    [begin.elapsed().as_nanos() as f64, (allocations() - before) as f64].map(|all| all / n as f64)
}

/// What a client's stream holds while it waits for data, in bytes.
fn idle(config: &tickwire::tls::Client, setup: &Setup) -> i64 {
    let one = || {
        let pipe = Pipe::default();
        pipe.keep(true);
        let mut server = ServerConnection::new(setup.server.clone()).expect("a server");
        let mut io = connect(config.clone(), &mut server, &pipe);
        let mut cx = Context::from_waker(Waker::noop());
        let mut room = [0; 100];
        assert!(Pin::new(&mut io).poll_read(&mut cx, &mut ReadBuf::new(&mut room)).is_pending());
        pipe.empty();
        io
    };
    drop(one()); // which leaves the thread its buffers
    let before = live();
    let io = one();
    let held = live() - before;
    drop(io);
    held
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let rounds = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(101);
    let wanted = args.iter().find(|arg| arg.parse::<usize>().is_err()).cloned().unwrap_or_default();
    let setup = wss::setup();
    let both = [setup.keeping.clone().into(), setup.in_place.clone()];
    let [rustls, in_place] = both.map(|config| idle(&config, &setup));
    println!("an idle stream holds: rustls {rustls} B, in place {in_place} B\n");
    print!("{:<32}", "ns a message (allocations)");
    SIDES.iter().for_each(|(name, _)| print!("{name:>16}"));
    println!("{:>10}{:>10}{:>10}", "to floor", "blocking", "core");
    let table = Table { wanted, rounds, setup };
    for (what, does) in [("receive", Does::Receive), ("send", Does::Send)] {
        for (size, body, batch) in [
            (64, Binary, 1),
            (64, Binary, 16),
            (200, Ascii, 1),
            (1024, Binary, 1),
            (1024, Binary, 8),
        ] {
            let text = if body == Ascii { "text" } else { "binary" };
            let name = format!("{what} {size} B {text}, {batch} a record");
            table.row(&name, Case { size, body, batch, does });
        }
    }
    for (name, size) in
        [("send 16 KiB at once, server", 16 << 10), ("send 1 MiB at once, server", 1 << 20)]
    {
        table.row(name, Case { size, body: Binary, batch: 1, does: Does::SendLarge });
    }
    for (name, size) in
        [("share 64 B, to one of many", 64), ("share 1 KiB, to one of many", 1 << 10)]
    {
        table.row(name, Case { size, body: Binary, batch: 1, does: Does::Share });
    }
}

struct Table {
    wanted: String,
    rounds: usize,
    setup: Setup,
}

impl Table {
    fn row(&self, name: &str, case: Case) {
        if !name.contains(&self.wanted) {
            return;
        }
        // Some milliseconds: short beside what else goes on in the machine.
        let n = ((2 << 20) / (case.size + 40).max(160)).next_multiple_of(case.batch * 16);
        let run = Run::new(case);
        let mut links = SIDES.map(|(_, side)| Link::new(side, &self.setup, &run.case));
        // Caches are warm then, and buffers as long as they will be.
        for link in &mut links {
            timed(&run, link, n);
        }
        let mut got = vec![(Vec::new(), Vec::new()); SIDES.len()];
        for round in 0..self.rounds {
            for i in 0..SIDES.len() {
                let i = (i + round) % SIDES.len();
                let [ns, allocations] = timed(&run, &mut links[i], n);
                got[i].0.push(ns);
                got[i].1.push(allocations);
            }
        }
        print!("{name:<32}");
        for (ns, allocations) in &got {
            let figure = format!("{:.1} ({:.2})", median(ns.clone()), median(allocations.clone()));
            print!("{figure:>16}");
        }
        let to_floor = |side: usize| {
            median(got[side].0.iter().zip(&got[3].0).map(|(ours, floor)| ours / floor).collect())
        };
        println!("{:>10.3}{:>10.3}{:>10.3}", to_floor(2), to_floor(4), to_floor(5));
    }
}
