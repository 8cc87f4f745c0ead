//! An echo server without a runtime: the core under a `mio` loop, on one thread.
//!
//! ```text
//! cargo run --release -p event_loop -- --listen 127.0.0.1:9001
//! cargo run --release -p event_loop -- --listen 127.0.0.1:9001 --tls-cert C.pem --tls-key K.pem
//! ```
//!
//! What it is made of is in `lib.rs`.
mod options;

use event_loop::server::Server;
use options::Options;
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
