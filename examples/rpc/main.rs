//! Requests and answers of many tasks over one connection, which is lost now and then.
//!
//! ```text
//! cargo run --release --example rpc
//! ```
//!
//! `client.rs` is what a program needs: a handle to clone for each task, calls with a deadline, a
//! bound on those in flight, and an error that says whether the request may have been acted on. `server.rs`
//! answers in whatever order the work is done. Here half of the tasks ask, and ask again after any
//! failure. The others buy: they try again only where nothing can have been bought.
mod client;
#[path = "../ack/cutter.rs"]
mod cutter;
mod server;
mod wire;

use arguments::{Arguments, Failure};
use client::{CallError, Client};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tickwire::{Config, SystemEntropy, handshake::client::Request};
use tickwire_parts::Backoff;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

const TASKS: u64 = 50;
const CALLS: u64 = 200;
const CUTS: u32 = 50;
const IN_FLIGHT: usize = 32;
const WITHIN: Duration = Duration::from_secs(10);

const HELP: &str = "\
Requests and answers of many tasks over one connection, which is lost now and then.

Usage: rpc

  --help  this text
";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    Arguments::read(HELP);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    let bought = Arc::new(AtomicU64::new(0));
    let counted = bought.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let bought = bought.clone();
            tokio::spawn(server::serve(stream, move |request| work(request, bought.clone())));
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let request = Request::new(&format!("ws://{}", listener.local_addr()?))?;
    tokio::spawn(cutter::run(listener, server, CUTS, 10_000));

    println!("{} calls of {TASKS} tasks, over {CUTS} connections that break ..", TASKS * CALLS);
    let (client, driver) = Client::new(IN_FLIGHT);
    let mut backoff = Backoff::new(SystemEntropy::new()?);
    backoff.max_delay = Duration::from_millis(5);
    let driver =
        tokio::spawn(async move { driver.run(&request, &Config::default(), backoff).await });
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(desk(client.clone(), if task % 2 == 0 { "ask" } else { "buy" }));
    }
    drop(client);
    let mut sum = Tally::default();
    while let Some(tally) = tasks.join_next().await {
        let Tally { answered, again, unknown } = tally??;
        sum.answered += answered;
        sum.again += again;
        sum.unknown += unknown;
    }
    driver.await??;
    let Tally { answered, again, unknown } = sum;
    println!(
        "{answered} answered; {again} more attempts; of {unknown} it is not known whether they bought"
    );
    let (bought, most) = (counted.load(Relaxed), TASKS / 2 * CALLS);
    println!("{bought} bought, where {most} were wanted");
    if bought <= most { Ok(()) } else { Err("bought twice".into()) }
}

#[derive(Default)]
struct Tally {
    answered: u64,
    /// Attempts beyond the first.
    again: u64,
    /// Calls that were given up, since they may have been acted on.
    unknown: u64,
}

/// One task, and its calls one after the other.
async fn desk(client: Client, what: &str) -> Result<Tally, CallError> {
    let mut tally = Tally::default();
    for _ in 0..CALLS {
        loop {
            match client.call(what.into(), WITHIN).await {
                Ok(_) => tally.answered += 1,
                Err(CallError::Ended) => return Err(CallError::Ended),
                Err(CallError::Lost | CallError::TimedOut) if what == "buy" => tally.unknown += 1,
                Err(_) => {
                    tally.again += 1;
                    continue;
                }
            }
            break;
        }
    }
    Ok(tally)
}

/// Takes longer for some requests than for others.
async fn work(request: Vec<u8>, bought: Arc<AtomicU64>) -> Vec<u8> {
    if request == b"buy" {
        bought.fetch_add(1, Relaxed);
        sleep(Duration::from_millis(1)).await;
    }
    request
}
