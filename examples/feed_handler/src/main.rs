//! A feed handler: one thread follows many feeds over `wss`, merges the two lines of each feed, and
//! rebuilds and checks the books. The program runs the exchange too, which cuts each connection
//! again and again. At the end the program prints what was lost.
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
    let until = Instant::now() + options.seconds;
    while Instant::now() < until {
        handler.turn(BEAT)?;
    }
    exchange.quiet();
    let until = Instant::now() + LEVEL;
    while Instant::now() < until && !handler.feeds().iter().all(|feed| exchange.is_same(feed)) {
        handler.turn(BEAT)?;
    }
    let report = Report::new(&handler, &exchange);
    write!(io::stdout(), "{report}")?;
    if report.failed.is_empty() { Ok(()) } else { Err("not all went well".into()) }
}
