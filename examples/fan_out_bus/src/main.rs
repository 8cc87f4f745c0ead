//! WebSocket fan-out beyond one process: subscribers anywhere, publishers anywhere, a broker between
//! them. Which broker is chosen on the command line.
//!
//! ```text
//! publisher --> broker --one connection a process--> fan_out_bus --> its subscribers
//!                     \----------------------------> fan_out_bus --> its subscribers
//!
//! redis-server &                            # or: nats-server, or with a log: nats-server -js -sd DIR
//! cargo run --release -p fan_out_bus -- --listen 127.0.0.1:9004 --stats
//! cargo run --release -p fan_out_bus -- --listen 127.0.0.1:9005 --stats
//! cargo run --release --example client -- ws://127.0.0.1:9005       # sub EURUSD
//! cargo run --release -p fan_out_bus -- publish EURUSD              # lines of standard input
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
//! - A process subscribes at the broker to what somebody of its own wants, once (`hub.rs`); each message
//!   is encoded once and pushed into the bounded outbox of each subscriber, in one order for all.
//! - Order is kept for each publisher on each channel, and publishers number what they publish, so that
//!   nothing is missing unseen. Redis and JetStream give all processes the same order, too.
//! - **Redis Pub/Sub and NATS core deliver at most once.** During an outage of the broker, subscribers
//!   stay connected and are told `stale`, then `gap`, and then how many messages are missing.
//! - **JetStream keeps a log.** A subscriber comes back anywhere with the last number it has seen. The
//!   server sends what is missing out of the channel's tail (`tail.rs`), and reads the log once for all
//!   whom the tail does not reach (`replay.rs`). After an outage of the broker nothing is missing.
//! - A broker disconnects a process that does not read, which is such an outage. A subscriber who does not
//!   read is disconnected with 1013, or loses the oldest (`--slow drop`: not with a log, where the first
//!   means that it comes back for the rest).
//!
//! The words are in `protocol.rs`. There is no list of origins and no login: put in `session` of
//! `server.rs` what your application knows (`tickwire::tokio::Incoming` shows the request), before it
//! is reachable by browsers. The connections to brokers are plain TCP: for their own network.
mod bus;
mod channel;
mod follow;
mod hub;
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

use bus::Bus;
use options::{Broker, HELP, Mode, Options};
use publisher::Publisher;
use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::{Instant, sleep, sleep_until},
};

/// So many messages in one write to the broker.
const BATCH: u64 = 256;

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::from_args() {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = io::stdout().write_all(HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("fan_out_bus: {error}");
            return ExitCode::from(2);
        }
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fan_out_bus: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Options { broker, mode }: Options) -> Result<(), Box<dyn Error>> {
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
            let publisher = Publisher::new(bus)?;
            match count {
                Some(count) => numbered(publisher, channel, count, rate, size).await,
                None => lines(publisher, channel).await,
            }
        }
        Mode::Watch { channel, urls, subscribers, time } => {
            watch::watch(&channel, &urls, subscribers, time).await
        }
    }
}

/// Publishes each line of standard input.
async fn lines<B: Bus>(mut publisher: Publisher<B>, channel: &str) -> Result<(), Box<dyn Error>> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if let Err(error) = publisher.publish([(channel, line.as_bytes())]).await {
            eprintln!("not published: {error}");
        }
    }
    Ok(())
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
        let due = match rate {
            Some(rate) => {
                let due = (began.elapsed().as_secs_f64() * rate as f64) as u64 + 1;
                if due <= done {
                    sleep_until(began + Duration::from_secs_f64(done as f64 / rate as f64)).await;
                    continue;
                }
                due.min(count)
            }
            None => count,
        };
        let batch: Vec<String> =
            (done + 1..=due.min(done + BATCH)).map(|n| format!("{n:0size$}")).collect();
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
