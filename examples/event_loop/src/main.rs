//! An echo server on `tickwire-loop`: thousands of connections on one thread, or on a few.
//!
//! ```text
//! cargo run --release -p event_loop -- --listen 127.0.0.1:9001
//! cargo run --release -p event_loop -- --io-uring --threads 2
//! cargo run --release -p event_loop -- --tls-cert C.pem --tls-key K.pem
//! ```
#[path = "../../echo_server/scale.rs"]
mod scale;
#[path = "../../echo_server/tls.rs"]
mod tls;

use arguments::{Arguments, Failure, cannot_listen};
use event_loop::{Service, bind, echo};
use std::{process, thread};
use tickwire::tls::Server;

const HELP: &str = "\
An echo server: thousands of WebSocket connections on one thread, or on a few.

Usage: event_loop [OPTION]...

  --listen ADDR     where to listen [127.0.0.1:9001]; with port 0 on any free port
  --threads N       run a loop in each of N threads, all on one port [1]; on Windows only 1
  --scale N         serve nobody: with 1 to N threads, print what they do under a load of
                    messages of 64 bytes, 16 in flight on each of 16 connections a thread
  --io-uring        use io_uring in place of epoll (Linux 6.1); if the kernel refuses
                    io_uring, the program says so and uses epoll
  --tls-cert FILE   speak TLS, with this certificate and those up to its authority (PEM)
  --tls-key FILE    the certificate's private key (PEM)
  --help            this text

Each loop serves up to 65,536 connections. All of them may have the same address, and all
of them may be in their handshake, because a load generator needs that. These limits are
for the loopback. On an open port, set lower ones, as the example `bounded` does.

SIGINT and SIGTERM end the program at once: no connection gets a Close.
";

/// Serves until a loop fails.
fn main() -> Result<(), Failure> {
    let args = Arguments::read(HELP);
    if args.has("--scale") {
        return Ok(scale::run(&args)?);
    }
    let (listen, threads) = (args.address("--listen"), args.number("--threads", 1..=1024));
    // In place, where rustls would copy each record twice.
    let tls = tls::given(&args).map(|tls| Server::from(tls).in_place());
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    let io_uring = args.has("--io-uring");
    let service = Service { tls, io_uring, shares_port: threads > 1 };
    // The other loops share the port that the first loop got.
    let (mut net, address) = bind(listen, &service).map_err(cannot_listen(listen))?;
    if io_uring && !net.net().uses_io_uring() {
        eprintln!("event_loop: the kernel refuses io_uring, so this uses epoll");
    }
    for _ in 1..threads {
        let (mut net, _) = bind(address, &service).map_err(cannot_listen(address))?;
        thread::spawn(move || {
            if let Err(error) = net.run(echo) {
                eprintln!("event_loop: {error}");
                process::exit(1);
            }
        });
    }
    println!("listening on {scheme}://{address}");
    Ok(net.run(echo)?)
}
