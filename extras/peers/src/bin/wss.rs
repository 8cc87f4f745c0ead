//! In memory, one thread, a client over TLS 1.3: ns, allocations, reads and writes for each
//! message, beside tickwire without TLS. Row 17 of the table of all rows. The other end's work is
//! not counted.
//!
//! With `--count=instructions` those, by callgrind, on a machine that is busy: the program runs
//! itself twice for each count, the second time with more laps. valgrind hides AVX-512 and the wide
//! AES from all alike.

use std::hint::black_box;
use std::time::Duration;

use tickwire_peers::callgrind::callgrind;
use tickwire_peers::mem::{calls, now};
use tickwire_peers::peers::Conn;
use tickwire_peers::proc::{CLIENT_CORE, pin, thread_time};
use tickwire_peers::table::{Goal, TOKIO, Table};
use tickwire_peers::tls::memory::Far;
use tickwire_peers::tls::sides::{self, CASES, Case, Load, PROTOTYPE, Work};
use tickwire_peers::{alloc, option, rotated};

#[global_allocator]
static ALLOC: alloc::Counting = alloc::Counting;

/// Laps before those that count.
const WARM: usize = 2;

/// Of a message.
struct Cost {
    ns: f64,
    allocs: f64,
    calls: f64,
}

struct Run<'a> {
    load: &'a Load,
    time: Duration,
    check: bool,
}

impl Work for Run<'_> {
    type Out = Cost;
    fn work<C: Conn>(&mut self, mut conn: C, mut far: Option<Far>) -> Cost {
        let Run { load, check, .. } = *self;
        if check {
            load.check(&mut conn, far.as_mut());
        }
        let (mut time, mut count) = (Duration::ZERO, 0);
        let (mut allocs, mut all_calls) = (0, 0);
        let mut lap = 0;
        while time < self.time {
            if !load.case.sends {
                load.fill(far.as_mut());
            }
            let (a, (r, w), begin) = (alloc::counts().0, calls(), thread_time());
            counted(load, &mut conn);
            let (took, (r1, w1)) = (thread_time() - begin, calls());
            // What grows with the first messages has grown.
            lap += 1;
            if lap > WARM {
                time += took;
                count += load.messages.len();
                allocs += alloc::counts().0 - a;
                all_calls += r1 + w1 - r - w;
            }
        }
        let per_message = |n: u64| n as f64 / count as f64;
        Cost {
            ns: per_message(time.as_nanos() as u64),
            allocs: per_message(allocs),
            calls: per_message(all_calls),
        }
    }
}

/// So many laps.
struct Laps<'a>(&'a Load, usize);

impl Work for Laps<'_> {
    type Out = ();
    fn work<C: Conn>(&mut self, mut conn: C, mut far: Option<Far>) {
        let &mut Laps(load, laps) = self;
        for _ in 0..laps {
            if !load.case.sends {
                load.fill(far.as_mut());
            }
            counted(load, &mut conn);
        }
    }
}

/// All that is measured: callgrind looks for it by name.
#[inline(never)]
fn counted<C: Conn>(load: &Load, conn: &mut C) {
    now(load.lap(conn, |_, got| assert!(!black_box(got).is_empty())));
}

fn instructions() {
    const MORE: usize = 2;
    let title = format!("Client over TLS 1.3: instructions per message (× {PROTOTYPE})");
    let mut table = Table::new(&title);
    for case in CASES.iter().filter(|case| case.is_wanted()) {
        let messages = (MORE * Load::new(*case).messages.len()) as f64;
        for name in sides::names() {
            let run = |laps: usize| {
                let laps = ["laps", case.name, name, &laps.to_string()];
                callgrind(&["--toggle-collect=wss::counted*"], &laps).expect("it runs as ever")
            };
            table.add(name, case.name, (run(WARM + MORE) - run(WARM)) / messages);
        }
        eprintln!("{}", case.name);
    }
    table.print(PROTOTYPE);
}

fn main() {
    let args: Vec<_> = std::env::args().collect();
    if let [_, what, case, name, laps] = &args[..]
        && what == "laps"
    {
        let case = CASES.iter().find(|c| c.name == case).expect("its name was listed");
        let laps = laps.parse().expect("a number");
        return sides::with(name, &mut Laps(&Load::new(*case), laps));
    }
    if option("count", String::new()) == "instructions" {
        return instructions();
    }
    pin(CLIENT_CORE);
    let rounds = option("rounds", 21);
    let time = Duration::from_millis(option("ms", 4));
    for way in ["receive", "send"] {
        let title = format!("Client over TLS 1.3, {way}");
        let mut ns = Table::new(&format!("{title}: ns per message (× {PROTOTYPE})"));
        let mut allocs = Table::new(&format!("{title}: allocations per message"));
        let mut calls = Table::new(&format!("{title}: reads and writes per message"));
        let names = sides::names();
        let of_this = |case: &&Case| case.name.starts_with(way) && case.is_wanted();
        for case in CASES.iter().filter(of_this) {
            let load = Load::new(*case);
            for round in 0..rounds {
                for name in rotated(&names, round) {
                    let mut run = Run { load: &load, time, check: round == 0 };
                    let cost = sides::with(name, &mut run);
                    ns.add(name, case.name, cost.ns);
                    allocs.add(name, case.name, cost.allocs);
                    calls.add(name, case.name, cost.calls);
                }
            }
            eprintln!("{}", case.name);
            let row = format!("17 wss, {}", case.name);
            ns.summarize(&row, case.name, PROTOTYPE, TOKIO, Goal::ByMedian(1.08));
        }
        ns.print(PROTOTYPE);
        ns.print_ratios(PROTOTYPE);
        allocs.print("");
        calls.print("");
        // A connection has a buffer, once.
        allocs.summarize_values(&format!("17 wss, allocations a message: {way}"), TOKIO, 1e-3);
    }
}
