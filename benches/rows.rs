//! The rows of the performance goals that need no socket, in one table: the core against the floor,
//! as a ratio, and what each adapter adds. All sides are run in turns, many times, and medians
//! shown: what criterion's separate runs cannot show on a machine that is shared.
//!
//! `cargo bench -p benches --bench rows [-- FILTER [ROUNDS]]`
mod floor;
mod sides;
#[allow(dead_code, unreachable_pub)]
use floor::Body::{Ascii, Binary, Mixed};
use sides::{
    Layout, Sides, Work, accepting, building, echoing, fanning_out, receiving, sending,
    sending_each, sharing, unmasking,
};
use std::time::Instant;
use testkit::alloc::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How long one turn takes, about, in nanoseconds.
const TURN: f64 = 1.5e6;

/// Nanoseconds for each of `n` messages, and allocations in all.
fn run(work: &mut Work, n: usize) -> (f64, u64) {
    let (begin, before) = (Instant::now(), allocations());
    work(n);
    (begin.elapsed().as_nanos() as f64 / n as f64, allocations() - before)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

struct Table {
    filter: Option<String>,
    rounds: usize,
}

impl Table {
    /// Runs all sides for many rounds, and prints a line. `goal`: for the core's ratio to the
    /// floor.
    fn row(&self, name: &str, goal: &str, sides: impl FnOnce() -> Sides) {
        if self.filter.as_ref().is_some_and(|filter| !name.contains(filter)) {
            return;
        }
        let mut works: Vec<Work> = sides().into_iter().map(|(_, work)| work).collect();
        let mut n = 64;
        while run(&mut works[0], n).0 * (n as f64) < TURN {
            n *= 2;
        }
        // Caches are warm then, and buffers as long as they will be.
        for _ in 0..4 {
            for work in &mut works {
                run(work, n);
            }
        }
        let mut times = vec![vec![]; works.len()];
        let mut counts = vec![0; works.len()];
        for round in 0..self.rounds {
            for turn in 0..works.len() {
                let side = (round + turn) % works.len();
                let (ns, allocated) = run(&mut works[side], n);
                times[side].push(ns);
                counts[side] += allocated;
            }
        }
        let each = |f: &dyn Fn(f64, f64) -> f64, a: usize, b: usize| {
            median(times[a].iter().zip(&times[b]).map(|(&a, &b)| f(a, b)).collect())
        };
        let (floor, core) = (median(times[0].clone()), median(times[1].clone()));
        let ratio = each(&|core, floor| core / floor, 1, 0);
        print!("{name:<36} {floor:>9.1} {core:>9.1} {ratio:>6.2} {goal:>6}");
        for adapter in 2..works.len() {
            print!(" {:>+9.1}", each(&|adapter, core| adapter - core, adapter, 1));
        }
        print!("{:1$}", "", (4 - works.len()) * 10 + 2);
        let messages = (self.rounds * n) as f64;
        for count in &counts[1..] {
            match count {
                0 => print!(" 0"),
                &count => print!(" {:.2}", count as f64 / messages),
            }
        }
        println!();
    }
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let (filter, rounds) = (args.next(), args.next().and_then(|n| n.parse().ok()));
    let table = Table { filter, rounds: rounds.unwrap_or(201) };
    let (server, client) = (false, true);
    println!(
        "{:<36} {:>9} {:>9} {:>6} {:>6} {:>9} {:>9}   allocations: core,",
        "ns for each message", "floor", "core", "ratio", "goal", "tokio", "blocking"
    );
    println!(
        "{:<36} {:>9} {:>9} {:>6} {:>6} {:>9} {:>9}   tokio, blocking",
        "", "", "", "", "", "adds", "adds"
    );
    let many = |len, body, client| move || receiving(len, body, client, false);
    let single = |client| move || receiving(64, Binary, client, true);
    table.row("1 receive masked 64 B", "1.15", many(64, Binary, server));
    table.row("2 receive masked 1 KiB", "1.1", many(1 << 10, Binary, server));
    table.row("2 receive masked 16 KiB", "1.05", many(16 << 10, Binary, server));
    table.row("- receive masked 1 MiB", "", many(1 << 20, Binary, server));
    table.row("3 receive unmasked 64 B", "1.3", many(64, Binary, client));
    table.row("- receive unmasked 1 KiB", "", many(1 << 10, Binary, client));
    table.row("- receive unmasked 16 KiB", "", many(16 << 10, Binary, client));
    table.row("- receive unmasked 1 MiB", "", many(1 << 20, Binary, client));
    table.row("4 one message a read 64 B, server", "1.05", single(server));
    table.row("4 one message a read 64 B, client", "1.05", single(client));
    table.row("5 send 64 B, server", "0.75", || sending(64, server));
    table.row("6 send 1 KiB, server", "1.1", || sending(1 << 10, server));
    table.row("6 send 16 KiB at once, server", "1.05", || sending_each(16 << 10, false));
    table.row("6 send 1 MiB at once, server", "1.05", || sending_each(1 << 20, server));
    table.row("6 send shared 16 KiB, server", "1.05", || sharing(16 << 10));
    table.row("6 send shared 1 MiB, server", "1.05", || sharing(1 << 20));
    table.row("7 send 64 B, client", "0.8", || sending(64, client));
    table.row("- send 64 B, client, 1 a write", "", || sending_each(64, client));
    table.row("- send 1 KiB, client", "", || sending(1 << 10, client));
    table.row("- build a tick, JSON", "1", || building(Layout::Json, server));
    table.row("- build a tick, JSON, client", "1", || building(Layout::Json, client));
    table.row("- build a tick, fixed layout", "1", || building(Layout::Fixed, server));
    table.row("- build a tick, fixed, client", "1", || building(Layout::Fixed, client));
    table.row("8 receive text 1 KiB, ASCII", "1.15", many(1 << 10, Ascii, server));
    table.row("8 receive text 1 KiB, mixed", "1.1", many(1 << 10, Mixed, server));
    table.row("8 receive text 200 B, client", "1.2", many(200, Ascii, client));
    table.row("8 receive text 1400 B, client", "1.15", many(1400, Ascii, client));
    table.row("- receive text 200 B, client, mixed", "", many(200, Mixed, client));
    table.row("9 unmask 1 KiB, to a copy", "1.11", || unmasking(1 << 10));
    table.row("11 server handshake", "1.2", accepting);
    table.row("12 echo 64 B, 16 a write", "", || echoing(64, 16));
    table.row("12 echo 1000 B, 16 a write", "", || echoing(1000, 16));
    table.row("13 fan-out 64 B, 8 a write", "", || fanning_out(64));
    table.row("14 echo 64 B, 1 a read and write", "", || echoing(64, 1));
}
