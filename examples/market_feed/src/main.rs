//! A market feed: one server, many subscribers, small binary messages.
//!
//! Without arguments, the program serves eight order books, which walk at random, on a free port of
//! this machine. It subscribes to them 50 times, and prints what arrived and how late, over
//! WebSocket and over bare TCP. `--help` lists the other uses.
//!
//! ```text
//! cargo run --release -p market_feed
//! ```
//!
//! What to look at:
//!
//! | file            | what is there                                                            |
//! |-----------------|--------------------------------------------------------------------------|
//! | `over_tokio`    | the server's and the subscribers' use of `tickwire::tokio`               |
//! | `bare_tcp`      | the same without WebSocket                                               |
//! | `feed`          | encoded once for all; conflation: newest state, not an ever longer queue |
//! | `wire`          | the binary layout of ticks and snapshots, with its offsets               |
//! | `subscriber`    | what a careful subscriber checks                                         |
//! | `page.html`     | a subscriber in a browser, on the server's own address                   |
//! | `lines`         | the exchange of `feed_handler`: many feeds, each over several lines       |
//!
//! How it is measured: ticks are published every 5 ms, and each burst is one write for each
//! subscriber. The latency of a tick is the time from its encoding until a subscriber has decoded
//! it and updated its book. Server and subscribers have a thread each, as if they were two
//! programs. Nothing is left out as warm-up.
mod bare_tcp;
mod feed;
mod over_tokio;
mod report;
mod subscriber;

use arguments::{Arguments, Failure, cannot_listen, refuse, serve::socket};
use feed::{Feed, Market, SEND_BUFFER};
use market_feed::{BoxError, book, clock, page, source, wire}; // `feed_handler` uses them too
use report::{Outcome, grouped};
use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::Ordering::Relaxed,
    thread::{self, ScopedJoinHandle, sleep},
    time::Duration,
};
use tokio::runtime::Runtime;

const HELP: &str = "\
A market feed over WebSocket: one server, many subscribers.

Without options: 50 subscribers in this process, and the same over bare TCP.

Usage: market_feed [OPTIONS]

  --listen ADDR       only serve, at ADDR (such as 127.0.0.1:9000), until ctrl-c; browsers
                      find a page there that draws the feed. Nothing bounds how many peers
                      come: for the loopback. See the example `bounded`.
  --clients N         subscribers, without --listen [50]
  --rate N            ticks a second, each of which goes to every subscriber [1000]
  --seconds S         how long (else 3 for each run; with --listen, until ctrl-c)
  --help              this text
";

/// The length of a run that compares.
const SECONDS: Duration = Duration::from_secs(3);

/// WebSocket and bare TCP take turns, so that other work of the machine disturbs both.
const TURNS: u32 = 3;

/// The page that `--listen` serves to browsers.
const PAGE: &str = include_str!("page.html");

struct Options {
    listen: Option<SocketAddr>,
    clients: usize,
    rate: u32,
    seconds: Option<Duration>,
}

impl Options {
    fn read() -> Self {
        let args = Arguments::read(HELP);
        let listen = args.has("--listen").then(|| args.address("--listen"));
        if listen.is_some() && args.has("--clients") {
            refuse("--clients: nobody subscribes here");
        }
        Self {
            listen,
            clients: args.number("--clients", 1..=10_000),
            rate: args.number("--rate", 1..=1_000_000),
            seconds: args.has("--seconds").then(|| args.seconds("--seconds", 0.1..=86_400.0)),
        }
    }
}

fn main() -> Result<(), Failure> {
    let options = Options::read();
    let done = match options.listen {
        None => run(&options),
        Some(address) => listen(&options, address),
    };
    Ok(done.map_err(|error| error.to_string())?)
}

/// Compares the feed with bare TCP.
fn run(options: &Options) -> Result<(), BoxError> {
    let Options { clients, rate, .. } = *options;
    let length = options.seconds.unwrap_or(SECONDS);
    say(&format!(
        "{} subscribers, {} messages a second to each, for {} s; in turns over bare TCP\n",
        grouped(clients as u64),
        grouped(rate.into()),
        length.as_secs_f64(),
    ))?;
    let turn = |bare| measure(clients, rate, length / TURNS, bare);
    let (mut ours, mut bare) = (turn(false)?, turn(true)?);
    for _ in 1..TURNS {
        ours.add(&turn(false)?)?;
        bare.add(&turn(true)?)?;
    }
    say(&report::table(&ours, &bare))?;
    say(&report::shown(&ours, &bare))
}

/// Runs both ends in this process: the server on one thread, the subscribers on another.
fn measure(clients: usize, rate: u32, length: Duration, bare: bool) -> Result<Outcome, BoxError> {
    let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    let market = Market::new();
    let feed = Feed::new(rate, length, market.clone(), bare);
    let cpu = clock::cpu();
    let stats = thread::scope(|scope| {
        let server = scope.spawn(|| over_tokio::serve(listener, feed));
        let subscribers = scope.spawn(|| over_tokio::subscribe(address, clients, bare));
        let ended = || server.is_finished() || subscribers.is_finished();
        while !ended() && market.clients.load(Relaxed) < clients as u64 {
            sleep(Duration::from_millis(1));
        }
        market.go.store(true, Relaxed);
        let stats = join(subscribers);
        market.stop.store(true, Relaxed); // in case no subscriber stayed until the end
        join(server).and(stats)
    })?;
    let cpu = clock::cpu().zip(cpu).map(|(after, before)| after.saturating_sub(before));
    Outcome { sent: market.due.load(Relaxed), stats, cpu }.sound()
}

/// Serves until ctrl-c, or for `--seconds`.
fn listen(options: &Options, address: SocketAddr) -> Result<(), BoxError> {
    let listener = bind(address).map_err(cannot_listen(address))?;
    let at = listener.local_addr()?;
    let market = Market::new();
    market.stop_by_signal()?; // before any client can know of the server
    say(&format!("listening on ws://{at}\nopen http://{at} in a browser to watch\n"))?;
    market.go.store(true, Relaxed);
    let length = options.seconds.unwrap_or(Duration::MAX);
    let feed = Feed::new(options.rate, length, market.clone(), false);
    over_tokio::serve(listener, feed)?;
    let (clients, sent) = (market.clients.load(Relaxed), market.due.load(Relaxed));
    say(&format!("served {} subscribers, sent {} ticks\n", grouped(clients), grouped(sent)))
}

/// Listens, with a [`SEND_BUFFER`] for each connection.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    runtime()?.block_on(async {
        let socket = socket(address)?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(address)?;
        socket.listen(1024)?.into_std()
    })
}

/// A runtime for one thread.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T, BoxError>>) -> Result<T, BoxError> {
    thread.join().unwrap_or_else(|_| Err("a thread has panicked".into()))
}

/// Prints to stdout. A closed stdout is no error, because then nobody reads the text.
fn say(text: &str) -> Result<(), BoxError> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
