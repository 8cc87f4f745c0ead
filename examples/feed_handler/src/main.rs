//! A feed handler: one thread, many feeds over `wss`, two lines of each made one, books rebuilt and
//! checked. It runs the exchange itself, which cuts connections now and then, and says what was
//! lost.
//!
//! ```text
//! cargo run --release -p feed_handler
//! ```
//!
//! With `--uring` over io_uring instead of epoll. A page that draws it, and the figures, for which
//! the machine has to do nothing else:
//!
//! ```text
//! cargo run --release -p feed_handler -- --seconds 600 --page 127.0.0.1:8080
//! cargo run --release -p feed_handler -- --measure even      # or bursts
//! ```
//!
//! What is to be looked at is in `lib.rs`; `--help` says what else it does. Beside boomnet's
//! client: `benches/peers`, the program `feeds`.
mod options;

use feed_handler::{
    BoxError, exchange, exchange::Exchange, handler::Handler, measure, page::Page, report::Report,
};
use options::{Options, What};
use std::{
    io::{self, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

/// How long the handler may need to come level with an exchange that is quiet.
const LEVEL: Duration = Duration::from_secs(10);
/// To look at the clock.
const BEAT: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    let options = Options::read();
    let done = match options.measure {
        None => run(&options),
        Some(what) => figures(what, &options).map(|figures| {
            print!("{figures}");
            true
        }),
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

fn figures(what: What, options: &Options) -> Result<String, BoxError> {
    match what {
        What::Even => measure::even(options.rounds),
        What::Bursts => measure::bursts(options.rounds, options.uring),
    }
}

/// Follows the feeds, and says what was lost.
fn run(options: &Options) -> Result<bool, BoxError> {
    let exchange = Exchange::start(options.plan)?;
    let tls = exchange::trusting(exchange.root())?;
    let rules = exchange.rules();
    let mut handler = Handler::new(&exchange.subscriptions(), rules, options.uring, tls)?;
    let mut page = options.page.map(Page::serve).transpose()?;
    if let Some(page) = &page {
        println!("open http://{} in a browser to watch", page.address());
    }
    let until = Instant::now() + options.seconds;
    while Instant::now() < until {
        handler.turn(BEAT)?;
        if let Some(page) = &mut page {
            page.show(&mut handler);
        }
    }
    exchange.quiet();
    let until = Instant::now() + LEVEL;
    while Instant::now() < until && !handler.feeds().iter().all(|feed| exchange.is_level(feed)) {
        handler.turn(BEAT)?;
    }
    let report = Report::new(&mut handler, &exchange);
    write!(io::stdout(), "{report}")?;
    Ok(report.is_sound())
}
