//! Row 20 of the table of all rows: messages of 1 KiB to 1 MiB without a pause over the loopback,
//! in both roles, received and sent, over ws and wss. The other end is raw: it writes encoded
//! frames, or reads what comes. What counts is the measured end's processor time; beside it stand
//! its reads or writes, and with the feature `copies` the bytes that it copies in memory.
//!
//! `--only=receive,send,shared,behind,turns`, the last only if named; `--roles=client,server`,
//! `--carriers=ws,wss`, and `--sizes=16384` choose among the others.

use tickwire_peers::peers::{Peer, raw::Raw};
use tickwire_peers::proc::{self, CLIENT_CORE, SERVER_CORE};
use tickwire_peers::table::{Goal, TOKIO, Table};
use tickwire_peers::traffic::load::{Behind, Row};
use tickwire_peers::traffic::turns::{self, turns};
use tickwire_peers::traffic::{self, NAMES, Role, Task, Way};
use tickwire_peers::{asked, chosen, copies, option, rotated, wanted};

const SIZES: [(&str, usize); 5] = [
    ("1 KiB", 1 << 10),
    ("4 KiB", 4 << 10),
    ("16 KiB", 16 << 10),
    ("64 KiB", 64 << 10),
    ("1 MiB", 1 << 20),
];
/// The bytes of a lap, and the most messages.
const LAP: usize = 32 << 20;
const MESSAGES: usize = 16 << 10;

fn main() {
    if let Some(args) = proc::serving() {
        proc::pin(SERVER_CORE);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let [name, way, role, tls, size, lap, port] = args[..] else { panic!("{args:?}") };
        return traffic::serve(name, [way, role, tls, size, lap], port.parse().expect("a port"));
    }
    proc::pin(CLIENT_CORE);
    let rounds = option("rounds", 21);
    for (name, way) in [("receive", Way::Receive), ("send", Way::Send), ("shared", Way::SendShared)]
    {
        if wanted(name) {
            for tls in [false, true].into_iter().filter(|tls| is_among("carriers", carrier(*tls))) {
                for role in [Role::Client, Role::Server] {
                    if is_among("roles", named(role)) {
                        table(name, way, role, tls, rounds);
                    }
                }
            }
        }
    }
    if wanted("behind") && !copies::COUNTS {
        behind(rounds);
    }
    if asked("turns") {
        in_turns(rounds);
    }
}

fn named(role: Role) -> &'static str {
    if role == Role::Client { "client" } else { "server" }
}

fn carrier(tls: bool) -> &'static str {
    if tls { "wss" } else { "ws" }
}

/// Whether `name` is among those of the option, or there is no such option.
fn is_among(list: &str, name: &str) -> bool {
    let list: String = option(list, String::new());
    list.is_empty() || list.split(',').any(|one| one == name)
}

/// Where the rows differ, in a column for each size.
fn table(name: &str, way: Way, role: Role, tls: bool, rounds: usize) {
    let title = format!("{}, {}, {name}, without a pause", carrier(tls), named(role));
    let call = if way == Way::Receive { "read" } else { "write" };
    let mut cpu = Table::new(&format!("{title}: CPU, ns per message"));
    let mut calls = Table::new(&format!("{title}: {call}s per message"));
    let mut bytes = Table::new(&format!("{title}: bytes a {call}"));
    let mut copied = Table::new(&format!("{title}: bytes copied in memory per message"));
    let mut filled = Table::new(&format!("{title}: bytes filled in memory per message"));
    for (label, size) in SIZES {
        if !is_among("sizes", &size.to_string()) {
            continue;
        }
        let task = Task { way, role, tls, size, lap: (LAP / size).min(MESSAGES) };
        let names = chosen(NAMES).into_iter().filter(|name| task.suits(name));
        let mut rows: Vec<_> = names.map(|name| Row::start(name, task)).collect();
        for row in &mut rows {
            let _ = row.run(); // what grows has grown
        }
        for _ in 0..rounds {
            for row in &mut rows {
                let lap = row.run();
                cpu.add(row.name, label, lap.cpu);
                if Task::counts(row.name) {
                    calls.add(row.name, label, lap.calls);
                    bytes.add(row.name, label, lap.bytes);
                    copied.add(row.name, label, lap.copied);
                    filled.add(row.name, label, lap.filled);
                }
            }
            rows.rotate_left(1);
        }
        eprintln!("{title}: {label}");
        if let Some(best) = cpu.best_peer(Raw::NAME, label) {
            let name = format!("20 {}, {}, {name} {label}: CPU", carrier(tls), named(role));
            cpu.summarize(&name, label, best, TOKIO, Goal::ByInterval(1.0));
        }
    }
    if copies::COUNTS {
        copied.print("");
        filled.print("");
        return;
    }
    cpu.print(Raw::NAME);
    cpu.print_ratios(TOKIO);
    calls.print("");
    bytes.print("");
}

/// What a short message waits behind long ones on another connection of its thread.
fn behind(rounds: usize) {
    let count = option("count", 400);
    let title = "64 B there and back behind a flood on another connection of the thread";
    let mut p50 = Table::new(&format!("{title}: p50, ns"));
    let mut p99 = Table::new(&format!("{title}: p99, ns"));
    for (label, size) in SIZES {
        let task = Task { way: Way::Behind, role: Role::Server, tls: false, size, lap: MESSAGES };
        let names = chosen(NAMES).into_iter().filter(|name| task.suits(name));
        let mut rows: Vec<_> = names.map(|name| Behind::start(name, task)).collect();
        for round in 0..=rounds {
            for row in &mut rows {
                let mut times: Vec<_> = (0..count).map(|_| row.trip().as_nanos() as f64).collect();
                row.rest();
                times.sort_by(f64::total_cmp);
                if round > 0 {
                    p50.add(row.name, label, times[count / 2]);
                    p99.add(row.name, label, times[count * 99 / 100]);
                }
            }
            rows.rotate_left(1);
        }
        eprintln!("{title}: {label}");
    }
    for table in [p50, p99] {
        table.print(traffic::FIXED);
        table.print_ratios(traffic::FIXED);
    }
}

/// A frame of 64 KiB a write, written and received in turn on one thread.
fn in_turns(rounds: usize) {
    let title = "64 KiB, server, written and received in turn";
    let mut table = Table::new(title);
    let names = chosen(turns::NAMES);
    for round in 0..rounds {
        for name in rotated(&names, round) {
            let turn = turns(name, 64 << 10);
            table.add(name, "receiving, ns", turn.received);
            table.add(name, "the write before, ns", turn.written);
            table.add(name, "both, ns", turn.received + turn.written);
            table.add(name, "reads", turn.reads);
            table.add(name, "acknowledgements while receiving", turn.acknowledged);
        }
    }
    table.print("");
    table.print_ratios(TOKIO);
}
