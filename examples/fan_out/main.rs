//! Fan-out to very many subscribers, some of whom have stopped reading: do the others notice?
//!
//! ```text
//! ulimit -n 20000
//! cargo run --release --example fan_out
//! ```
//!
//! A server and its subscribers, each in a process and on a thread of its own. Each tick is encoded
//! once and goes to all; the latency is from before it was encoded to when it was read, and so the
//! last of 10,000 subscribers waits for 9,999 writes. Measured first with all reading, then with
//! some stalled: those get what their outbox's policy leaves them, and the others' latency stays
//! what it was.
mod load;
mod server;

use arguments::{Arguments, Failure};
use server::Server;
use std::{env, error, net::SocketAddr, process::Stdio, time::Duration};
use tokio::process::Command;

const HELP: &str = "\
Fan-out to very many subscribers, without and with some who do not read.

Usage: fan_out [OPTION]...

  --subscribers N   how many [10000]; each process needs as many descriptors and a few
  --stalled PERCENT how many of them do not read, in the second run [1]
  --rate N          ticks a second, each to all [5]
  --seconds N       how long is measured, after 2 s that are not [10]
  --size BYTES      length of a tick, at least 16 [256]
  --rounds N        how often both runs are made [1]
  --load ADDR       be the process of the subscribers, with the server at ADDR
  --help            this text
";

/// Not measured: the stalled have to fill what the system buffers for them.
const WARM_UP: u64 = 2;

type Result<T> = std::result::Result<T, Box<dyn error::Error>>;

#[derive(Clone)]
struct Options {
    subscribers: usize,
    stalled: f64,
    rate: u64,
    seconds: u64,
    size: usize,
    rounds: usize,
    /// This is the process of the subscribers.
    load: Option<SocketAddr>,
}

fn options() -> Options {
    let args = Arguments::read(HELP);
    Options {
        subscribers: args.number("--subscribers", 1..=1_000_000),
        stalled: args.number("--stalled", 0.0..=99.0),
        rate: args.number("--rate", 1..=1_000_000),
        seconds: args.number("--seconds", 1..=86_400),
        size: args.number("--size", 16..=1 << 24),
        rounds: args.number("--rounds", 1..=1_000),
        load: args.has("--load").then(|| args.address("--load")),
    }
}

impl Options {
    fn ticks(&self) -> load::Measured {
        let first = WARM_UP * self.rate;
        load::Measured { first, last: first + self.seconds * self.rate }
    }

    fn stalled(&self, percent: f64) -> usize {
        (self.subscribers as f64 * percent / 100.0).round() as usize
    }
}

/// One run: starts the subscribers' process, publishes, prints a line.
async fn measure(options: &Options, percent: f64) -> Result<()> {
    let mut server = Server::bind()?;
    let load::Measured { last, .. } = options.ticks();
    let subscribers = Command::new(env::current_exe()?)
        .args(["--load", &server.address()?.to_string()])
        .args(["--subscribers", &options.subscribers.to_string()])
        .args(["--stalled", &percent.to_string()])
        .args(["--rate", &options.rate.to_string()])
        .args(["--seconds", &options.seconds.to_string()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = subscribers.wait_with_output();
    let publish = async {
        server.take(options.subscribers).await.map_err(|error| format!("server: {error}"))?;
        let every = Duration::from_secs(1) / u32::try_from(options.rate)?;
        server.publish(0, last, options.size, every).await;
        std::future::pending::<Result<()>>().await
    };
    let output = tokio::select! {
        output = output => output?,
        failed = publish => return failed,
    };
    let (slow, dropped) = server.end().await;
    let line = String::from_utf8(output.stdout)?;
    let numbers: Vec<u64> =
        line.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
    let [received, gaps, p50, p99, p999, max] = numbers[..] else {
        return Err("the process of the subscribers failed".into());
    };
    let stalled = options.stalled(percent);
    println!(
        "{stalled:>7} {received:>10} {gaps:>5} {slow:>8} {dropped:>8}   {:>8.1} {:>8.1} {:>8.1} {:>8.1}",
        p50 as f64 / 1e3,
        p99 as f64 / 1e3,
        p999 as f64 / 1e3,
        max as f64 / 1e3
    );
    Ok(())
}

async fn run(options: Options) -> Result<()> {
    if let Some(server) = options.load {
        let stalled = options.stalled(options.stalled);
        return load::run(server, options.subscribers, stalled, options.ticks()).await;
    }
    let Options { subscribers, rate, seconds, size, .. } = options;
    println!("{subscribers} subscribers, {rate} ticks of {size} bytes a second for {seconds} s");
    println!("\n                            too                latency of the others, ms");
    println!("stalled   received  gaps     slow  dropped        p50      p99    p99.9      max");
    for _ in 0..options.rounds {
        for percent in [0.0, options.stalled] {
            measure(&options, percent).await?;
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::result::Result<(), Failure> {
    let told = |error| format!("{error} (too many open files: ulimit -n 20000)");
    Ok(run(options()).await.map_err(told)?)
}
