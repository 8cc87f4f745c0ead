//! Measures round trips with an echo server over one connection: how many a second, how long each.
//!
//! ```text
//! cargo run --release --all-features --example round_trip -- ws://127.0.0.1:9001
//! cargo run --release --all-features --example round_trip -- ws://127.0.0.1:9001 --bytes 8192
//! ```
//!
//! One thread sends a message and waits for its echo, so only one message is on its way at a time.
use arguments::{Arguments, Failure, refuse};
use hdrhistogram::Histogram;
use std::{
    error::Error,
    time::{Duration, Instant},
};
use tickwire::{CloseCode, Config, Message, blocking::connect, handshake::client::Request};

const HELP: &str = "\
How many round trips a second a server that echoes makes with one connection, and how long \
each takes.

Usage: round_trip [OPTION]... URL

  URL             the server's, such as ws://127.0.0.1:9001
  --bytes N       of each message [256]
  --seconds S     how long [5]
  --help          this text
";

/// The number of round trips in which the processor's clock, caches and branch predictors settle.
const WARM_UP: u64 = 100;

fn main() -> Result<(), Failure> {
    let args = Arguments::read(HELP);
    let url = args.text("URL");
    if let Err(error) = Request::new(&url) {
        refuse(error);
    }
    let payload = vec![b'a'; args.number("--bytes", 0..=64 << 20)];
    Ok(measure(&url, &payload, args.seconds("--seconds", 0.0..=86_400.0))?)
}

fn measure(url: &str, payload: &[u8], duration: Duration) -> Result<(), Box<dyn Error>> {
    let mut ws = connect(url, &Config::default())?;
    let mut took = Histogram::<u64>::new(3)?; // in nanoseconds
    let (mut began, mut sent) = (Instant::now(), Instant::now());
    for trip in 0.. {
        ws.send(payload)?;
        let (back, now) = (ws.recv()?, Instant::now());
        if back != Some(Message::Binary(payload)) {
            return Err("this server does not echo".into());
        }
        match trip < WARM_UP {
            true => began = now,
            false => took.record(u64::try_from((now - sent).as_nanos())?)?,
        }
        sent = now; // the next message leaves at once
        if now - began >= duration {
            break;
        }
    }
    ws.close(CloseCode::NORMAL)?;
    let rate = took.len() as f64 / (sent - began).as_secs_f64();
    let at = |quantile| took.value_at_quantile(quantile) as f64 / 1000.0;
    println!("{rate:.0} round trips a second");
    println!("p50 {:.1} us, p99 {:.1}, p99.9 {:.1}", at(0.5), at(0.99), at(0.999));
    Ok(())
}
