//! What an idle connection costs the server in resident memory: row 16 of the table of all rows, or
//! with `--only=wss` row 19, over TLS.

use std::io::{Read, Write};

use tickwire_peers::load::{Exchange, open, open_tls};
use tickwire_peers::net::{Echo, Way};
use tickwire_peers::peers;
use tickwire_peers::proc::{self, Server};
use tickwire_peers::table::{TOKIO, Table};
use tickwire_peers::tls;
use tickwire_peers::{asked, option, rotated};

/// Connections whose cost is not counted: with them comes what a server needs once, tickwire's pool
/// of buffers (4 MiB for each thread) included.
const FIRST: usize = 500;

fn main() {
    if let Some(args) = proc::serving() {
        return match &args[..] {
            [name] => peers::with(name, &mut Echo(Way::Each)),
            [name, _wss] => tls::serve(name, Way::Each),
            _ => panic!("nothing serves {args:?}"),
        };
    }
    if asked("wss") {
        let config = tls::client(false);
        let open = |name: &str, server: &Server| open_tls(name, server, &config);
        let table = measure(&tls::names(), &["wss"], open);
        if let Some(least) = table.median("raw", LABELS[2]) {
            let goal = (least.value * 10.0).round() / 10.0 + 2.0;
            table.summarize_values("19 wss, KiB of an idle connection", TOKIO, goal);
        }
    } else {
        let table = measure(&peers::names(|c| c.sockets), &[], |_, server| open(server));
        table.summarize_values("16 KiB of an idle connection, after 16 KiB", TOKIO, 3.0);
    }
}

const LABELS: [&str; 3] = ["after the handshake", "after a 64 B echo", "after a 16 KiB echo"];

/// Over what `open` makes of servers that are started with these arguments.
fn measure<S: Read + Write>(
    names: &[&'static str],
    args: &[&str],
    open: impl Fn(&str, &Server) -> S,
) -> Table {
    let most = proc::raise_descriptors() as usize - 100;
    let rounds = option("rounds", 3);
    let conns = option("conns", 3000).min(most.saturating_sub(FIRST));
    let title = format!("Server KiB per idle connection, {conns} connections");
    let mut table = Table::new(&title);
    for round in 0..rounds {
        for name in rotated(names, round) {
            let server = Server::start(&[&[*name], args].concat());
            let mut ios: Vec<_> = (0..FIRST).map(|_| open(name, &server)).collect();
            let before = server.settled_rss();
            ios.extend((0..conns).map(|_| open(name, &server)));
            let mut see = |label: &str| {
                let grown = server.settled_rss().saturating_sub(before) as f64;
                table.add(name, label, grown / conns as f64 / 1024.0);
            };
            see(LABELS[0]);
            for (label, size) in [(LABELS[1], 64), (LABELS[2], 16384)] {
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
    table
}
