//! A market feed: one server, many subscribers, small urgent binary messages.
//!
//! Without arguments it serves eight order books that walk at random on a free port of this
//! machine, subscribes to them 50 times, and says after 5 seconds what arrived and how fast; then
//! the same ticks over bare TCP, so that the price of WebSocket can be seen. `--help` lists what
//! else it does.
//!
//! ```text
//! cargo run --release --example market_feed
//! ```
//!
//! What to look at:
//!
//! | file            | what is there                                                            |
//! |-----------------|--------------------------------------------------------------------------|
//! | `over_tokio`    | the server's and the subscribers' use of `tickwire::tokio`               |
//! | `feed`          | encoded once for all; conflation: newest state, not an ever longer queue |
//! | `wire`          | the binary layout of ticks and snapshots, with its offsets               |
//! | `subscriber`    | what a careful subscriber checks                                         |
//! | `page.html`     | a subscriber in a browser, on the server's own address                   |
//! | `bare_tcp`      | the same feed without WebSocket                                          |
//! | `lines`         | another server: many feeds, each over several lines, that cut connections |
//!
//! How it is measured: ticks are produced at `--rate` and published every 5 ms, so they come in
//! bursts; each burst is one write for each subscriber. Latency is from a tick's encoding to when a
//! subscriber has decoded it and brought its book up to date, so it includes the wait behind the
//! other subscribers' writes: the last of 50 is written to last. CPU time is that of both ends, for
//! each tick received, once there are enough of them. Server and subscribers have a thread each.
//! `--seconds` is divided in two, half for each run. Nothing is left out as warm-up.
mod bare_tcp;
mod carrier;
mod feed;
mod options;
mod over_tokio;
mod report;
mod subscriber;

use arguments::cannot_listen;
use carrier::Carrier;
use feed::{Encoded, Feed, Market, SEND_BUFFER};
use lines::{Exchange, Pace, Plan};
use market_feed::{BoxError, book, clock, lines, page, source, tls, wire}; // `feed_handler` uses them too
use options::{Lines, Mode, Options};
use report::{Outcome, Progress, Report, grouped};
use source::{Ticks, Walk};
use std::{
    error::Error,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::ExitCode,
    sync::Arc,
    thread::{self, ScopedJoinHandle, sleep},
    time::{Duration, Instant},
};
use subscriber::Tally;
use tickwire::Prepared;
use tls::Tls;
use tokio::{
    net::TcpSocket,
    runtime::Runtime,
    select,
    time::{sleep as sleep_for, timeout},
};
use wire::TICK_LEN;

/// The default run: 500,000 messages a second, which two cores can bear with time to spare.
const CLIENTS: usize = 50;
const RATE: u32 = 10_000;
const SECONDS: Duration = Duration::from_secs(5);

const SEED: u64 = 6455;

/// With `--lines`: how many feeds, and how late a line may be.
const FEEDS: usize = 200;
const LATE: Duration = Duration::from_millis(4);

/// What `--listen` shows to browsers.
const PAGE: &str = include_str!("page.html");

/// A feed sends a snapshot at once. Who has sent none for so long, which is more than connecting may
/// take, is no feed.
const SILENCE: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let options = Options::read();
    let done = match &options.mode {
        Mode::Run => run(&options),
        Mode::Listen(address) => match options.lines.lines {
            None => listen(&options, *address),
            Some(lines) => listen_at_lines(&options, *address, lines),
        },
        Mode::Connect(url) => connect(&options, url),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Both ends in this process, over WebSocket and then over bare TCP.
fn run(options: &Options) -> Result<bool, BoxError> {
    let clients = options.clients.unwrap_or(CLIENTS);
    let length = options.seconds.unwrap_or(SECONDS) / 2;
    let ws = measure::<over_tokio::Ws>("WebSocket", clients, ticks(options), length)?;
    let bare = measure::<bare_tcp::Bare>("bare TCP", clients, ticks(options), length)?;
    report(options, &Report { clients, ws, bare: Some(bare) })
}

/// One run: the server on a thread, the subscribers on another, the progress display on this one.
fn measure<C: Carrier>(
    name: &'static str,
    clients: usize,
    ticks: Ticks,
    length: Duration,
) -> Result<Outcome, BoxError> {
    let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let target = C::target(listener.local_addr()?);
    let (market, tally) = (Arc::<Market>::default(), Arc::<Tally>::default());
    let feed = Feed::new(ticks, Some(length), market.clone());
    let cpu = clock::cpu();
    let stats = thread::scope(|scope| {
        let server = scope.spawn(|| C::serve(listener, feed));
        let subscribers = scope.spawn(|| C::subscribe(&target, clients, None, tally.clone()));
        let ended = || server.is_finished() || subscribers.is_finished();
        while !ended() && tally.joined() < clients as u64 {
            sleep(Duration::from_millis(1));
        }
        market.go();
        let mut progress = Progress::new(name, &tally);
        while !ended() {
            progress.show();
            sleep(Duration::from_millis(20));
        }
        let stats = join(subscribers);
        market.stop(); // should nobody have listened to its end
        join(server).and(stats)
    });
    let stats = stats.map_err(|error| {
        let trouble = market.trouble().map(|trouble| format!(" (server: {trouble})"));
        format!("{name}: {error}{}", trouble.unwrap_or_default())
    })?;
    let cpu = clock::cpu().zip(cpu).map(|(after, before)| after.saturating_sub(before));
    let bytes_per_tick = C::Tick::encode(&[0; TICK_LEN]).wire_len();
    Ok(Outcome { sent: market.due(), stats, bytes_per_tick, cpu })
}

/// Serves until ctrl-c, or for `--seconds`.
fn listen(options: &Options, address: SocketAddr) -> Result<bool, BoxError> {
    let listener = bind(address).map_err(cannot_listen(address))?;
    let at = listener.local_addr()?;
    let market = Arc::new(Market::verbose());
    market.stop_by_signal()?; // before anybody knows of the server
    say(&format!("listening on ws://{at}\nopen http://{at} in a browser to watch\n"))?;
    market.go();
    let feed = Feed::new(ticks(options), options.seconds, market.clone());
    over_tokio::Ws::serve(listener, feed)?;
    let (clients, sent) = (market.clients(), market.due());
    say(&if options.json {
        format!("{{\"clients\":{clients},\"sent\":{sent}}}\n")
    } else {
        format!("served {} subscribers, sent {} ticks\n", grouped(clients), grouped(sent))
    })?;
    Ok(true)
}

/// The same, for many feeds over several lines.
fn listen_at_lines(options: &Options, first: SocketAddr, lines: usize) -> Result<bool, BoxError> {
    let Lines { feeds, pace, cut_every, life, silence, tls, cert, key, .. } = &options.lines;
    let tls = match (cert, key) {
        (Some(cert), Some(key)) => Some(Tls::load(cert, key)?),
        _ => tls.then(Tls::make).transpose()?,
    };
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    let mut listeners = Vec::new();
    for line in 0..lines as u16 {
        let port = if first.port() == 0 { 0 } else { first.port().saturating_add(line) };
        let address = SocketAddr::new(first.ip(), port);
        let listener = bind(address).map_err(cannot_listen(address))?;
        say(&format!("line {line} listening on {scheme}://{}\n", listener.local_addr()?))?;
        listeners.push(listener);
    }
    say(tls.as_ref().and_then(Tls::root).unwrap_or_default())?;
    let (feeds, pace) = (feeds.unwrap_or(FEEDS), pace.unwrap_or_default());
    let plan = Plan {
        feeds,
        lines,
        rate: options.rate.unwrap_or(RATE),
        pace,
        late: if pace == Pace::Timer { LATE } else { Duration::ZERO },
        cut_every: *cut_every,
        life: *life,
        silence: *silence,
    };
    let exchange = Exchange::new(plan, tls);
    runtime()?.block_on(async {
        let mut serving = std::pin::pin!(exchange.clone().serve(listeners));
        select! {
            error = &mut serving => return Err(error),
            _ = tokio::signal::ctrl_c() => exchange.quiet(),
            () = sleep_for(options.seconds.unwrap_or(Duration::MAX)) => exchange.quiet(),
        }
        // What is still under way arrives.
        let _ = timeout(2 * LATE, serving).await;
        Ok(())
    })?;
    let sent = (0..feeds).filter_map(|feed| exchange.newest(feed)).map(|(newest, _)| newest).sum();
    let cuts = grouped(exchange.cuts());
    say(&format!("published {} ticks, cut {cuts} connections\n", grouped(sent)))?;
    Ok(true)
}

const NO_TICKS: &str = "no ticks received";

/// Subscribes to a server elsewhere.
fn connect(options: &Options, url: &str) -> Result<bool, BoxError> {
    let clients = options.clients.unwrap_or(1);
    let tally = Arc::<Tally>::default();
    let subscribers = {
        let (url, limit, tally) = (url.to_owned(), options.seconds, tally.clone());
        thread::spawn(move || over_tokio::Ws::subscribe(&url, clients, limit, tally))
    };
    let began = Instant::now();
    let mut progress = Progress::new("WebSocket", &tally);
    while !subscribers.is_finished() {
        if tally.joined() == 0 && began.elapsed() > SILENCE {
            return Err(NO_TICKS.into()); // and the end of the program is that of the thread
        }
        progress.show();
        sleep(Duration::from_millis(20));
    }
    drop(progress);
    let stats = subscribers.join().map_err(|_| PANICKED)?;
    let stats = stats.map_err(|error| format!("--connect {url}: {}", explained(&*error)))?;
    if stats.received + stats.conflated == 0 {
        return Err(NO_TICKS.into());
    }
    let bytes_per_tick = Prepared::encode(&[0; TICK_LEN]).wire_len();
    let ws = Outcome { sent: stats.due, stats, bytes_per_tick, cpu: None };
    report(options, &Report { clients, ws, bare: None })
}

fn report(options: &Options, report: &Report) -> Result<bool, BoxError> {
    if options.json {
        say(&format!("{}\n", report.json()))?;
    } else {
        say(&report.table())?;
    }
    if !report.is_sound() {
        eprintln!("error: ticks were lost or books differ");
    }
    Ok(report.is_sound())
}

/// The ticks of a run, the same each time.
fn ticks(options: &Options) -> Ticks {
    Box::new(source::paced(Walk::new(SEED), options.rate.unwrap_or(RATE)))
}

/// Listens, with a [`SEND_BUFFER`] for those who will connect.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    runtime()?.block_on(async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(cfg!(unix))?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(address)?;
        socket.listen(1024)?.into_std()
    })
}

/// For one thread: server and subscribers have one each, as if they were two programs.
fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

const PANICKED: &str = "a thread has panicked";

fn join<T>(thread: ScopedJoinHandle<'_, Result<T, BoxError>>) -> Result<T, BoxError> {
    thread.join().unwrap_or_else(|_| Err(PANICKED.into()))
}

/// An error as a user of this program, rather than of the crate, can make sense of it.
fn explained(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref() {
        Some(tickwire::Error::NoTls) => "wss:// needs TLS: add --features rustls".into(),
        _ => error.to_string(),
    }
}

/// Prints to stdout, which may be closed: then nobody wants to know.
fn say(text: &str) -> Result<(), BoxError> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
