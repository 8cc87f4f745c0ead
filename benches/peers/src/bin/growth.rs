//! Growth: from 1 to 10,000 connections, server and load in two processes. What should stay flat:
//! CPU a message, memory a connection.

use std::time::Duration;

use tickwire_peers::load::{Pipeline, open};
use tickwire_peers::net::{Echo, Way};
use tickwire_peers::peers;
use tickwire_peers::proc::{self, Server};
use tickwire_peers::table::{TOKIO, Table};
use tickwire_peers::{option, rotated};

/// Messages of 64 B under way on each connection.
const DEPTH: usize = 16;
/// Connections besides, idle: with them comes what a server needs once, tickwire's pool of buffers
/// (4 MiB for each thread) included.
const FIRST: usize = 500;

fn main() {
    if let Some(args) = proc::serving() {
        proc::pin(proc::SERVER_CORE);
        return peers::with(&args[0], &mut Echo(Way::Batch));
    }
    let most = proc::raise_descriptors() as usize - 100;
    proc::pin(proc::CLIENT_CORE);
    let rounds = option("rounds", 5);
    let counts = [1, 100, 1_000, 10_000].map(|count: usize| count.min(most - FIRST));
    let few = ["raw", "floor", TOKIO, "tokio-tungstenite-4k", "tokio-websockets", "sockudo-ws"];
    let mut names = peers::names(|c| c.sockets);
    if option("peers", String::new()).is_empty() {
        names.retain(|name| few.contains(name));
    }
    let title = format!("{DEPTH} messages of 64 B under way on each of so many connections");
    let mut cpu = Table::new(&format!("{title}: server CPU, ns per message"));
    let mut memory = Table::new(&format!("{title}: server bytes per connection, after that"));
    for count in counts {
        let column = format!("{count}");
        for round in 0..rounds {
            for name in rotated(&names, round) {
                let server = Server::start(&[name]);
                let _first: Vec<_> = (0..FIRST).map(|_| open(&server)).collect();
                let before = server.settled_rss();
                let ios = (0..count).map(|_| open(&server)).collect();
                let mut load = Pipeline::new(ios, 64, DEPTH, *name == "raw");
                let time = Duration::from_millis(option("ms", 30));
                cpu.add(name, &column, load.run(&server, time).cpu);
                let grown = server.settled_rss().saturating_sub(before);
                if count > 1 {
                    memory.add(name, &column, grown as f64 / count as f64); // by pages
                }
            }
        }
        eprintln!("{column} connections");
    }
    cpu.print("raw");
    memory.print("raw");
}
