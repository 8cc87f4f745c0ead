//! How many round trips a second a server that echoes makes with one connection, and how long each
//! takes.
//!
//! ```text
//! cargo run --release --example round_trip -- ws://127.0.0.1:9001
//! cargo run --release --example round_trip -- ws://127.0.0.1:9001 \
//!     --adapter blocking --bytes 8192 --seconds 10
//! ```
//!
//! One message is on its way at a time.
use arguments::{Arguments, Failure, refuse};
use hdrhistogram::Histogram;
use std::{
    error::Error,
    time::{Duration, Instant},
};
use tickwire::{CloseCode, Config, Message, blocking, handshake::client::Request, tokio::connect};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HELP: &str = "\
How many round trips a second a server that echoes makes with one connection, and how long \
each takes.

Usage: round_trip [OPTION]... URL

  URL             the server's, such as ws://127.0.0.1:9001
  --adapter NAME  tokio or blocking [tokio]
  --bytes N       of each message [256]
  --seconds S     how long [5]
  --help          this text
";

/// How long the processor's clock, caches and branch predictors may take to settle.
const WARM_UP: u64 = 100;

struct Options {
    url: String,
    bytes: usize,
    duration: Duration,
    blocking: bool,
}

impl Options {
    fn read() -> Self {
        let args = Arguments::read(HELP);
        let url = args.text("URL");
        if let Err(error) = Request::new(&url) {
            refuse(error);
        }
        Self {
            url,
            bytes: args.number("--bytes", 0..=64 << 20),
            duration: args.seconds("--seconds", 0.0..=86_400.0),
            blocking: args.one_of("--adapter", &[("tokio", false), ("blocking", true)]),
        }
    }
}

/// The round trips so far.
struct Trips {
    began: Instant,
    sent: Instant,
    /// In nanoseconds.
    took: Histogram<u64>,
    left: u64,
}

impl Trips {
    fn begin() -> Result<Self> {
        let (now, took) = (Instant::now(), Histogram::new(3)?);
        Ok(Self { began: now, sent: now, took, left: WARM_UP })
    }

    /// Whether there is time for another one.
    fn back(&mut self, message: Option<Message<'_>>, options: &Options) -> Result<bool> {
        let same = matches!(message, Some(Message::Binary(bytes)) if bytes.len() == options.bytes);
        if !same {
            return Err("this server does not echo".into());
        }
        let now = Instant::now();
        match self.left.checked_sub(1) {
            Some(left) => (self.left, self.began) = (left, now),
            None => self.took.record(u64::try_from((now - self.sent).as_nanos())?)?,
        }
        self.sent = now; // the next one leaves at once
        Ok(now - self.began < options.duration)
    }

    fn print(&self) {
        let rate = self.took.len() as f64 / (self.sent - self.began).as_secs_f64();
        let at = |quantile| self.took.value_at_quantile(quantile) as f64 / 1000.0;
        println!("{rate:.0} round trips a second");
        println!("p50 {:.1} us, p99 {:.1}, p99.9 {:.1}", at(0.5), at(0.99), at(0.999));
    }
}

#[tokio::main(flavor = "current_thread")]
async fn on_tokio(options: &Options) -> Result<Trips> {
    let mut ws = connect(&options.url, &Config::default()).await?;
    let (payload, mut trips) = (vec![b'a'; options.bytes], Trips::begin()?);
    loop {
        ws.send(&payload).await?;
        if !trips.back(ws.recv().await?, options)? {
            break;
        }
    }
    ws.close(CloseCode::NORMAL).await?;
    Ok(trips)
}

fn on_threads(options: &Options) -> Result<Trips> {
    let mut ws = blocking::connect(&options.url, &Config::default())?;
    let (payload, mut trips) = (vec![b'a'; options.bytes], Trips::begin()?);
    loop {
        ws.send(&payload)?;
        if !trips.back(ws.recv()?, options)? {
            break;
        }
    }
    ws.close(CloseCode::NORMAL)?;
    Ok(trips)
}

fn main() -> std::result::Result<(), Failure> {
    let options = Options::read();
    let trips = if options.blocking { on_threads(&options)? } else { on_tokio(&options)? };
    trips.print();
    Ok(())
}
