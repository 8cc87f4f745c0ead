//! A feed handler: one thread follows many feeds over `wss`, merges the two lines of each feed, and
//! rebuilds and checks the books. The program runs the exchange too, which cuts each connection
//! again and again. At the end the program prints the load, the latency, and what was lost.
//!
//! ```text
//! cargo run --release -p feed_handler
//! ```
//!
//! With `--uring`, the handler uses io_uring in place of epoll. `lib.rs` lists the modules, and
//! `--help` describes the options. `feeds` in `extras/peers` compares the client with boomnet's.
mod options;

use arguments::Failure;
use feed_handler::{BoxError, exchange::Exchange, handler::Handler, report::Report};
use options::Options;
use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

/// How long the handler may take to catch up with an exchange that has become quiet.
const LEVEL: Duration = Duration::from_secs(10);
/// The longest round, after which the program looks at the clock.
const BEAT: Duration = Duration::from_millis(20);

fn main() -> Result<(), Failure> {
    Ok(run(&Options::read()).map_err(|error| error.to_string())?)
}

/// Follows the feeds, and says what was lost.
fn run(options: &Options) -> Result<(), BoxError> {
    let exchange = Exchange::start(options.plan)?;
    let (life, tls) = (options.plan.life, exchange.tls.clone());
    let mut handler = Handler::new(&exchange.followed(), life, options.uring, tls)?;
    let began = Instant::now();
    let until = began + options.seconds;
    while Instant::now() < until {
        handler.turn(BEAT)?;
    }
    let load = load(&handler, began.elapsed());
    exchange.quiet();
    let until = Instant::now() + LEVEL;
    while Instant::now() < until && !handler.feeds().iter().all(|feed| exchange.is_same(feed)) {
        handler.turn(BEAT)?;
    }
    let report = Report::new(&handler, &exchange);
    write!(io::stdout(), "{load}{report}")?;
    if report.failed.is_empty() { Ok(()) } else { Err("not all went well".into()) }
}

/// What the handler had to do, and how late it did it. The exchange runs in this process, so both
/// have one clock.
fn load(handler: &Handler, took: Duration) -> String {
    let lines = handler.lines().count();
    let feeds = handler.feeds().len();
    let delivered: u64 = handler.feeds().iter().map(|feed| feed.tally.delivered).sum();
    let duplicates: u64 = handler.feeds().iter().map(|feed| feed.tally.duplicates).sum();
    let seconds = took.as_secs_f64();
    let rate = |count: u64| count as f64 / seconds;
    let received = rate(delivered + duplicates);
    let ages = handler.ages();
    let age = |quantile| ages.value_at_quantile(quantile) as f64 / 1e6;
    format!(
        "{feeds} feeds over {lines} lines for {seconds:.1} s: {received:.0} ticks/s received, \
         {:.0} delivered\nfrom encoding to book: p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms, of \
         {} ticks sampled\n",
        rate(delivered),
        age(0.5),
        age(0.99),
        age(1.0),
        ages.len()
    )
}
