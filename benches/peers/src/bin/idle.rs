//! What an idle connection costs the server in resident memory: row 16 of the table of all rows.

use tickwire_peers::load::{Exchange, open};
use tickwire_peers::net::{Echo, Way};
use tickwire_peers::peers;
use tickwire_peers::proc::{self, Server};
use tickwire_peers::table::{TOKIO, Table};
use tickwire_peers::{option, rotated};

/// Connections whose cost is not counted: with them comes what a server needs once, tickwire's pool
/// of buffers (4 MiB for each thread) included.
const FIRST: usize = 500;

fn main() {
    if let Some(args) = proc::serving() {
        return peers::with(&args[0], &mut Echo(Way::Each));
    }
    let most = proc::raise_descriptors() as usize - 100;
    let rounds = option("rounds", 3);
    let conns = option("conns", 3000).min(most.saturating_sub(FIRST));
    let title = format!("Server KiB per idle connection, {conns} connections");
    let mut table = Table::new(&title);
    for round in 0..rounds {
        for name in rotated(&peers::names(|c| c.sockets), round) {
            let server = Server::start(&[name]);
            let mut ios: Vec<_> = (0..FIRST).map(|_| open(&server)).collect();
            let before = server.settled_rss();
            ios.extend((0..conns).map(|_| open(&server)));
            let mut see = |label: &str| {
                let grown = server.settled_rss().saturating_sub(before) as f64;
                table.add(name, label, grown / conns as f64 / 1024.0);
            };
            see("after the handshake");
            for (label, size) in [("after a 64 B echo", 64), ("after a 16 KiB echo", 16384)] {
                let mut exchange = Exchange::new(size, 1, *name == "raw");
                for io in &mut ios {
                    exchange.send(io);
                    exchange.receive(io);
                }
                see(label);
            }
            eprintln!("{name}");
        }
    }
    table.print("raw");
    table.summarize_values("16 KiB of an idle connection, after 16 KiB", TOKIO, 3.0);
}
