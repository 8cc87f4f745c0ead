//! A feed handler: one thread, many feeds over `wss`, two lines of each made one, books rebuilt and
//! checked. It runs the exchange itself, which cuts connections now and then, and says what was lost.
//!
//! ```text
//! cargo run --release -p feed_handler
//! ```
//!
//! The exchange may also be another process, here or elsewhere:
//!
//! ```text
//! cargo run --release --features rustls --example market_feed -- --tls --lines 2 --cut-every 5 > exchange.txt
//! cargo run --release -p feed_handler -- --root exchange.txt --connect wss://localhost:PORT --connect wss://localhost:PORT
//! ```
//!
//! What is to be looked at is in `lib.rs`; `--help` says what else it does.
mod options;

use feed_handler::{
    BoxError, Plan, exchange, exchange::Exchange, handler::Handler, report::Report,
};
use options::{Mode, Options};
use std::{
    fs,
    process::ExitCode,
    time::{Duration, Instant},
};

/// How long the handler may need to come level with an exchange that is quiet.
const LEVEL: Duration = Duration::from_secs(10);
/// To look at the clock.
const BEAT: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    let options = match Options::parse(lexopt::Parser::from_env()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("feed_handler: {error} (see --help)");
            return ExitCode::from(2);
        }
    };
    let done = match options.mode {
        Mode::Help => {
            print!("{}", options::HELP);
            Ok(true)
        }
        Mode::Run => run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("feed_handler: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Follows the feeds, of an exchange of our own or of another, and says what was lost.
fn run(options: &Options) -> Result<bool, BoxError> {
    let (mut handler, exchange) = if options.connect.is_empty() {
        let exchange = Exchange::start(options.plan)?;
        (
            Handler::new(&exchange.subscriptions(), exchange::trusting(exchange.root())?)?,
            Some(exchange),
        )
    } else {
        let tls = match &options.root {
            Some(root) => exchange::trusting(&fs::read_to_string(root)?)?,
            None => tickwire::tls::platform_config()?,
        };
        let Plan { feeds, .. } = options.plan;
        (Handler::new(&exchange::subscriptions(feeds, &options.connect), tls)?, None)
    };
    let until = Instant::now() + options.seconds;
    while Instant::now() < until {
        handler.turn(BEAT)?;
    }
    if let Some(exchange) = &exchange {
        exchange.quiet();
        let until = Instant::now() + LEVEL;
        while Instant::now() < until && !handler.feeds().iter().all(|feed| exchange.is_level(feed))
        {
            handler.turn(BEAT)?;
        }
    }
    let report = Report::new(&mut handler, exchange.as_ref());
    print!("{report}");
    Ok(report.is_sound())
}
