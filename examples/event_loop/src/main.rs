//! An echo server without a runtime: the core under a `mio` loop, on one thread.
//!
//! ```text
//! cargo run --release -p event_loop -- --listen 127.0.0.1:9001
//! ```
//!
//! `server.rs` is the loop, `peer.rs` what each connection does in its turn. Its connections share one buffer to receive into and one to send from,
//! so one that waits holds neither. What it costs beside tokio is in `benches/README.md`.
mod peer;
mod server;
#[cfg(test)]
mod start;
#[cfg(test)]
mod tests;

use server::Server;
use std::{env, io, net::SocketAddr, process::ExitCode};
use tickwire::Config;

fn listen(addr: SocketAddr) -> io::Result<()> {
    let mut server = Server::bind(addr, Config::default())?;
    println!("listening on ws://{}", server.addr()?);
    server.run()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let addr = match &arguments[..] {
        [] => Some(SocketAddr::from(([127, 0, 0, 1], 9001))),
        [option, addr] if option == "--listen" => addr.parse().ok(),
        _ => None,
    };
    let Some(addr) = addr else {
        eprintln!(
            "Usage: event_loop [--listen ADDRESS:PORT]\n\nNothing bounds how many peers come: for the loopback. See the example `bounded`."
        );
        return ExitCode::from(2);
    };
    match listen(addr) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("event_loop: {error}");
            ExitCode::FAILURE
        }
    }
}
