//! An echo server: every message goes back as it came, text as text, binary as binary.
//!
//! ```text
//! cargo run --release --example echo_server -- --listen 127.0.0.1:9001
//! cargo run --release --example echo_server --features rustls -- --tls-cert C.pem --tls-key K.pem
//! ```
//!
//! The first line on standard output is `listening on ws://ADDR`, or `wss://ADDR`, with the port
//! that was really taken, for programs that asked for port 0. SIGTERM and SIGINT say goodbye to
//! every peer with Close 1001 and wait a few seconds for theirs. `--help` lists the options.
//!
//! With `--stats` the last lines tell what each thread did, and what processor time it took, by
//! itself: that of the load is not in it. `cargo bench -p benches --bench threads` compares 1 thread with 2.
//!
//! Here are the options and whom to let in; the server itself is in `on_tokio.rs`, and
//! once more in `on_threads.rs`, without tokio.
mod on_threads;
#[cfg(feature = "tokio")]
mod on_tokio;
mod tls;

use arguments::{Arguments, cannot_listen, refuse};
use std::{
    fmt, fs,
    io::{self, Write},
    net::SocketAddr,
    ops::RangeInclusive,
    process::ExitCode,
    time::Duration,
};
use tickwire::{
    Config,
    handshake::{
        HandshakeError,
        server::{Origins, Rejection, RequestHead},
    },
};

const HELP: &str = "\
An echo server for WebSocket clients.

Usage: echo_server [OPTION]...

  --listen ADDR         where to listen [127.0.0.1:9001]; with port 0 on any free port
  --adapter NAME        tokio or blocking [tokio]
  --threads N           tokio: threads, each with a listener and a runtime of its own;
                        blocking: threads that accept [1]
  --subprotocol NAME    agree to this subprotocol; again for more, best first
  --origin ORIGIN       allow browsers this origin only, such as https://example.com;
                        again for more (else all)
  --tls-cert FILE       speak TLS, with this certificate and those up to its authority (PEM)
  --tls-key FILE        the certificate's private key (PEM)
  --max-message BYTES   the longest message [67108864]
  --max-frame BYTES     the longest frame (else as --max-message)
  --deflate             agree to permessage-deflate
  --stats               at the end, print connections, messages and processor time:
                        tokio: of each thread; blocking: of all
  --help                this text

Nothing bounds how many peers come: for the loopback. See the example `bounded`.
";

const THREADS: RangeInclusive<usize> = 1..=1024;

/// Of a message or a frame.
const BYTES: RangeInclusive<usize> = 1..=u32::MAX as usize;

/// How long peers have to answer our Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to leave off accepting when the system would not: out of file descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

struct Options {
    listen: SocketAddr,
    adapter: Adapter,
    threads: usize,
    subprotocols: Vec<String>,
    /// `None`: all are welcome.
    origins: Option<Origins>,
    tls: Option<tls::Tls>,
    stats: bool,
    config: Config,
}

#[derive(Clone, Copy)]
enum Adapter {
    Tokio,
    Blocking,
}

fn main() -> ExitCode {
    match serve(Options::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(format_args!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(options: Options) -> io::Result<()> {
    match options.adapter {
        #[cfg(feature = "tokio")]
        Adapter::Tokio => on_tokio::serve(options),
        #[cfg(not(feature = "tokio"))]
        Adapter::Tokio => {
            Err(io::Error::other("the tokio adapter is not built in: add --features tokio"))
        }
        Adapter::Blocking => on_threads::serve(options),
    }
}

#[cfg(feature = "deflate")]
fn compressing(config: Config) -> std::result::Result<Config, &'static str> {
    Ok(Config { deflate: Some(tickwire::deflate::Deflate::default()), ..config })
}

#[cfg(not(feature = "deflate"))]
fn compressing(_: Config) -> std::result::Result<Config, &'static str> {
    Err("--deflate: permessage-deflate is not built in: add --features deflate")
}

impl Options {
    fn read() -> Self {
        let args = Arguments::read(HELP);
        let origins = args.has("--origin").then(|| {
            let origins = Origins::new(args.all("--origin"));
            origins.unwrap_or_else(|error| refuse(format_args!("--origin: {error}")))
        });
        let tls = match (args.optional("--tls-cert"), args.optional("--tls-key")) {
            (None, None) => None,
            (Some(cert), Some(key)) => {
                tls::load(&cert, &key).map(Some).unwrap_or_else(|error| refuse(error))
            }
            (Some(_), None) => refuse("--tls-cert: needs --tls-key"),
            (None, Some(_)) => refuse("--tls-key: needs --tls-cert"),
        };
        let max_frame = ["--max-message", "--max-frame"][usize::from(args.has("--max-frame"))];
        let config = Config {
            max_message: args.number("--max-message", BYTES),
            max_frame: Some(args.number(max_frame, BYTES)),
            close_timeout: CLOSE_TIMEOUT,
            ..Config::default()
        };
        Self {
            listen: args.address("--listen"),
            adapter: args
                .one_of("--adapter", &[("tokio", Adapter::Tokio), ("blocking", Adapter::Blocking)]),
            threads: args.number("--threads", THREADS),
            subprotocols: args.all("--subprotocol"),
            origins,
            tls,
            stats: args.has("--stats"),
            config: match args.has("--deflate") {
                true => compressing(config).unwrap_or_else(|why| refuse(why)),
                false => config,
            },
        }
    }

    /// Where the server is.
    fn url(&self, address: SocketAddr) -> String {
        format!("{}://{address}", if self.tls.is_some() { "wss" } else { "ws" })
    }

    /// Whether to accept a request, given what the handshake itself made of it.
    fn admit(
        &self,
        request: RequestHead<'_>,
        checked: Result<(), HandshakeError>,
    ) -> Result<(), HandshakeError> {
        checked?;
        match &self.origins {
            Some(origins) if !origins.allows(&request) => Err(HandshakeError::OriginNotAllowed),
            _ => Ok(()),
        }
    }
}

/// What to say to a request that was not admitted. Most plain HTTP comes from people who opened
/// the address in a browser, and should be told what this is.
fn refusal(error: HandshakeError, url: &str) -> Rejection {
    match error {
        HandshakeError::NotUpgrade => Rejection::new(error.status()).body(format!(
            "This is an echo server for WebSocket clients: what you send comes back. Try\n\n    \
             cargo run --release --example client -- {url}\n"
        )),
        _ => Rejection::from(error),
    }
}

/// The line that programs wait for, and which may go into a pipe.
fn announce(url: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "listening on {url}")?;
    out.flush()
}

/// What one thread did, or several together.
#[derive(Default)]
struct Served {
    connections: u64,
    /// Received, and sent back.
    messages: u64,
    /// Where the system tells.
    processor: Option<Duration>,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections, {} messages", self.connections, self.messages)?;
        let Some(took) = self.processor.map(|took| took.as_secs_f64()) else {
            return Ok(());
        };
        write!(f, ", {took:.3} s of processor time")?;
        match self.messages {
            0 => Ok(()),
            n => write!(f, ", {:.3} us a message", took * 1e6 / n as f64),
        }
    }
}

/// The processor time that the calling thread has taken so far, user's and system's together, where
/// the system tells: on Linux.
fn processor_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// One line on standard output of what was done; that nobody reads it is no error.
fn report(who: fmt::Arguments<'_>, served: &Served) {
    let _ = writeln!(io::stdout(), "{who}: {served}");
}

/// One line on standard error; that nobody reads it must not stop the server.
///
/// What the crate's errors show is safe to print: text that came from a peer is escaped and cut.
fn log(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}
