//! An echo server without a runtime: the core under a `mio` loop, on one thread.
//!
//! ```text
//! cargo run --release -p event_loop -- --listen 127.0.0.1:9001
//! cargo run --release -p event_loop -- --listen 127.0.0.1:9001 --tls-cert C.pem --tls-key K.pem
//! ```
//!
//! `server.rs` is the loop, `peer.rs` what each connection does in its turn, `socket.rs` its stream, plain or under TLS.
//! Connections share one buffer to receive into and one to send from, so one that waits holds neither; what TLS needs is the
//! thread's, as well. What it costs beside tokio is in `benches/README.md`.
#[cfg(test)]
mod held_tests;
mod options;
mod peer;
mod server;
mod socket;
#[cfg(test)]
mod start;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wss_tests;

use options::Options;
use server::Server;
use std::{io, process::ExitCode};
use tickwire::Config;

const USAGE: &str = "\
Usage: event_loop [--listen ADDRESS:PORT] [--tls-cert FILE --tls-key FILE]

Nothing bounds how many peers come: for the loopback. See the example `bounded`.";

fn serve(options: Options) -> io::Result<()> {
    let scheme = options.scheme();
    let mut server = Server::bind(options.listen, Config::default(), options.tls)?;
    println!("listening on {scheme}://{}", server.addr()?);
    server.run()
}

fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("event_loop: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("event_loop: {error}");
            ExitCode::FAILURE
        }
    }
}
