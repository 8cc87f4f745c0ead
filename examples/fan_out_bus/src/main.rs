//! WebSocket fan-out beyond one process: subscribers and publishers anywhere, a broker between
//! them.
//!
//! ```text
//! publisher --> broker --one connection a process--> fan_out_bus --> its subscribers
//!                     \----------------------------> fan_out_bus --> its subscribers
//!
//! redis-server &                            # or: nats-server; with a log: nats-server -js -sd DIR
//! cargo run --release -p fan_out_bus -- --listen 127.0.0.1:9004 --stats
//! cargo run --release -p fan_out_bus -- --listen 127.0.0.1:9005 --stats
//! cargo run --release -p fan_out_bus -- client ws://127.0.0.1:9005,ws://127.0.0.1:9004 EURUSD
//! redis-cli publish feed:EURUSD 1.0842      # anybody can; at NATS: nats pub feed.EURUSD 1.0842
//! cargo run --release -p fan_out_bus -- publish EURUSD --count 100000 --rate 10000
//! cargo run --release -p fan_out_bus -- watch EURUSD ws://127.0.0.1:9004 ws://127.0.0.1:9005
//! ```
//!
//! | `--bus` of all of them | delivery | after an outage |
//! |---|---|---|
//! | `redis://127.0.0.1:6379` | at most once | `gap` |
//! | `nats://127.0.0.1:4222` | at most once | `gap` |
//! | `jetstream://127.0.0.1:4222` | once, in the order of the log | what was missed, as long as it is kept |
//!
//! `PROTOCOL.md` has the words of clients, `clients` has three of them, and `docs/SCALING.md`
//! compares the brokers. There is no list of origins and no login: put in `open` of `server.rs`
//! what your application knows, before it is reachable by browsers.
mod bus;
mod channel;
#[path = "../clients/hub.rs"]
mod client;
mod follow;
mod hub;
mod memory;
mod options;
mod over_jetstream;
mod over_nats;
mod over_redis;
mod protocol;
mod publisher;
mod replay;
mod server;
mod stats;
mod tail;
mod watch;

use arguments::Failure;
use bus::Bus;
use options::{Broker, Mode, Options};
use publisher::Publisher;
use std::{
    error::Error,
    io::{self, Write},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines, Stdin},
    runtime,
    time::{Instant, sleep, sleep_until},
};

/// So many messages in one write to the broker.
const BATCH: u64 = 256;

fn main() -> Result<(), Failure> {
    let Options { threads, broker, mode } = Options::read();
    let mut runtime = runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        runtime.worker_threads(threads);
    }
    Ok(runtime.enable_all().build()?.block_on(run(broker, mode))?)
}

async fn run(broker: Broker, mode: Mode) -> Result<(), Box<dyn Error>> {
    match broker {
        Broker::Redis(redis) => over(redis, mode).await,
        Broker::Nats(nats) => over(nats, mode).await,
        Broker::JetStream(jetstream) => over(jetstream, mode).await,
    }
}

async fn over<B: Bus>(bus: B, mode: Mode) -> Result<(), Box<dyn Error>> {
    match mode {
        Mode::Serve(serve) => server::serve(bus, serve).await,
        Mode::Publish { ref channel, count, rate, size } => {
            numbered(Publisher::new(bus)?, channel, count, rate, size).await
        }
        Mode::Client { urls, channels } => converse(&urls, &channels).await,
        Mode::Watch { channel, urls, subscribers, time } => {
            watch::watch(&channel, &urls, subscribers, time).await
        }
    }
}

/// Prints each message, and publishes each line of standard input: `CHANNEL PAYLOAD`.
async fn converse(urls: &str, channels: &[String]) -> Result<(), Box<dyn Error>> {
    let mut hub = client::Hub::new(urls, channels)?;
    let (mut lines, mut more) = (BufReader::new(tokio::io::stdin()).lines(), true);
    loop {
        let ended = connection(&mut hub, &mut lines, &mut more).await;
        let Some(delay) = hub.delay(&ended) else { return Err("closed for good".into()) };
        sleep(delay).await;
    }
}

/// One connection, to its end: the close code.
async fn connection(
    hub: &mut client::Hub,
    lines: &mut Lines<BufReader<Stdin>>,
    more: &mut bool,
) -> Result<u16, tickwire::Error> {
    let mut ws = hub.open().await?;
    loop {
        let message = tokio::select! {
            line = lines.next_line(), if *more => {
                match line? {
                    Some(line) => ws.send(&*format!("pub {line}")).await?,
                    None => *more = false,
                }
                continue;
            }
            message = ws.recv() => message?,
        };
        let Some(message) = message else { break };
        let Some(told) = hub.heed(message.as_bytes()) else { continue };
        let (channel, payload) = (told.channel, String::from_utf8_lossy(told.payload));
        match told.word {
            "message" | "entry" => writeln!(io::stdout(), "{channel} {payload}")?,
            word => writeln!(io::stdout(), "# {word} {channel} {payload}")?,
        }
    }
    Ok(ws.closed().map_or(1006, |end| end.code))
}

/// Publishes messages that are their number, so many a second.
async fn numbered<B: Bus>(
    mut publisher: Publisher<B>,
    channel: &str,
    count: u64,
    rate: Option<u64>,
    size: usize,
) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let (mut done, mut failed) = (0, 0);
    while done < count {
        let mut due = count;
        if let Some(rate) = rate {
            sleep_until(began + Duration::from_secs_f64(done as f64 / rate as f64)).await;
            due = (began.elapsed().as_secs_f64() * rate as f64) as u64 + 1;
        }
        let last = due.clamp(done + 1, done + BATCH).min(count);
        let batch: Vec<String> = (done + 1..=last).map(|n| format!("{n:0size$}")).collect();
        if let Err(error) =
            publisher.publish(batch.iter().map(|payload| (channel, payload.as_bytes()))).await
        {
            if failed == 0 {
                eprintln!("not published: {error}");
            }
            failed += batch.len() as u64;
            sleep(Duration::from_millis(10)).await;
        }
        done += batch.len() as u64;
    }
    let took = began.elapsed().as_secs_f64();
    writeln!(
        io::stdout(),
        "published {} in {took:.2} s, {:.0}/s; {failed} failed",
        done - failed,
        done as f64 / took
    )?;
    if failed == 0 { Ok(()) } else { Err("not everything was published".into()) }
}
