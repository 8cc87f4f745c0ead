//! WebSocket fan-out beyond one process: subscribers anywhere, publishers anywhere, Redis Pub/Sub
//! between them.
//!
//! ```text
//! publisher --PUBLISH--> Redis --one connection a process--> redis_fanout --> its subscribers
//!                              \-----------------------------> redis_fanout --> its subscribers
//!
//! redis-server &
//! cargo run --release -p redis_fanout -- --listen 127.0.0.1:9004 --stats
//! cargo run --release -p redis_fanout -- --listen 127.0.0.1:9005 --stats
//! cargo run --release --example client -- ws://127.0.0.1:9005       # sub EURUSD
//! cargo run --release -p redis_fanout -- publish EURUSD             # lines of standard input
//! redis-cli publish feed:EURUSD 1.0842                              # anybody can
//! cargo run --release -p redis_fanout -- publish EURUSD --count 100000 --rate 10000
//! cargo run --release -p redis_fanout -- watch EURUSD ws://127.0.0.1:9004 ws://127.0.0.1:9005
//! ```
//!
//! - A process subscribes at Redis to what somebody of its own wants, once (`hub.rs`); each message is
//!   encoded once and pushed into the bounded outbox of each subscriber, in one order for all.
//! - Order is kept for each channel: Redis gives all processes the same order, and publishers number
//!   what they publish, so that nothing is missing unseen.
//! - **Pub/Sub delivers at most once.** What is published while a process has no connection to Redis
//!   is lost to its subscribers. They stay connected, and are told: `stale` when it happens, `gap` when
//!   it is over, and how many are missing once the next message's number shows it. Who needs them
//!   asks for a snapshot then; who cannot do without any needs a log, see `docs/SCALING.md`.
//! - Redis disconnects a process that does not read (`client-output-buffer-limit pubsub`), which is
//!   such a gap. A subscriber who does not read is disconnected with 1013, or loses the oldest.
//!
//! The words are in `protocol.rs`. There is no list of origins and no login: put in `session` of
//! `server.rs` what your application knows (`tickwire::tokio::Incoming` shows the request), before it
//! is reachable by browsers.
mod bus;
mod hub;
mod options;
mod protocol;
mod publisher;
mod server;
mod stats;
mod watch;

use options::{HELP, Mode, Options};
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

/// So many messages in one write to Redis.
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
            eprintln!("redis_fanout: {error}");
            return ExitCode::from(2);
        }
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("redis_fanout: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    match options.mode {
        Mode::Serve(serve) => server::serve(&options.redis, options.prefix, serve).await,
        Mode::Publish { ref channel, count, rate, size } => {
            let client = redis::Client::open(&*options.redis)?;
            let publisher = Publisher::new(client, options.prefix)?;
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
async fn lines(mut publisher: Publisher, channel: &str) -> Result<(), Box<dyn Error>> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if let Err(error) = publisher.publish([(channel, line.as_bytes())]).await {
            eprintln!("not published: {error}");
        }
    }
    Ok(())
}

/// Publishes messages that are their number, so many a second.
async fn numbered(
    mut publisher: Publisher,
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
    Ok(())
}
