//! An echo server: it sends every message back unchanged, text as text and binary as binary.
//!
//! ```text
//! cargo run --release --all-features --example echo_server -- --listen 127.0.0.1:9001
//! ```
//!
//! The first line on standard output is `listening on ws://ADDR`, or `wss://ADDR`, with the real
//! port, for programs that asked for port 0. After SIGTERM or SIGINT, the server sends Close 1001
//! to every peer, and waits a few seconds for the peers' Closes. `--help` lists the options.
//!
//! This file has the options and the output. The server itself is in `server.rs`.
mod scale;
mod server;
mod tls;

use arguments::{Arguments, cannot_listen, log, refuse};
use std::{
    io::{self, Write},
    net::SocketAddr,
    ops::RangeInclusive,
    process::{self, ExitCode},
    time::Duration,
};
use tickwire::{
    Config,
    deflate::Deflate,
    handshake::{HandshakeError, server::Rejection},
    tls::Server,
};

const HELP: &str = "\
An echo server for WebSocket clients.

Usage: echo_server [OPTION]...

  --listen ADDR         where to listen [127.0.0.1:9001]; with port 0 on any free port
  --threads N           threads, each with a listener and a runtime of its own [1]
  --scale N             serve nobody: with 1 to N threads, print what they do under a load of
                        messages of 64 bytes, 16 in flight on each of 16 connections a thread
  --subprotocol NAME    agree to this subprotocol; again for more, best first
  --tls-cert FILE       speak TLS, with this certificate and those up to its authority (PEM)
  --tls-key FILE        the certificate's private key (PEM)
  --deflate             agree to permessage-deflate
  --help                this text

Nothing bounds how many peers come: for the loopback. See the example `bounded`.
";

const THREADS: RangeInclusive<usize> = 1..=1024;

/// The longest message, in bytes.
const MAX_MESSAGE: usize = 64 << 20;

/// How long peers have to answer our Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to pause after `accept` has failed, for example because no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

struct Options {
    listen: SocketAddr,
    threads: usize,
    subprotocols: Vec<String>,
    tls: Option<Server>,
    config: Config,
}

fn main() -> ExitCode {
    match server::serve(Options::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn read() -> Self {
        let args = Arguments::read(HELP);
        if args.has("--scale") {
            process::exit(scale::run(&args).map_or_else(|error| refuse(error), |()| 0));
        }
        Self {
            listen: args.address("--listen"),
            threads: args.number("--threads", THREADS),
            subprotocols: args.all("--subprotocol"),
            // In place, where rustls would copy each record twice.
            tls: tls::given(&args).map(|tls| Server::from(tls).in_place()),
            config: Config {
                max_message: MAX_MESSAGE,
                deflate: args.has("--deflate").then(Deflate::default),
                close_timeout: CLOSE_TIMEOUT,
                ..Config::server()
            },
        }
    }

    /// The server's URL.
    fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "wss" } else { "ws" }, self.listen)
    }
}

/// The response to a request that was refused. Most plain HTTP comes from people who opened the
/// address in a browser, so the response tells them what this server is.
fn refusal(error: HandshakeError, url: String) -> Rejection {
    match error {
        HandshakeError::NotUpgrade => Rejection::new(error.status()).body(format!(
            "This is an echo server for WebSocket clients: what you send comes back. Try\n\n    \
             cargo run --release --all-features --example client -- {url}\n"
        )),
        _ => Rejection::from(error),
    }
}

/// Prints the line that other programs wait for. It may go into a pipe.
fn announce(url: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "listening on {url}")?;
    out.flush()
}
