//! Orders over a line that stalls: which message overtakes which, and what is known after a cut.
//!
//! ```text
//! cargo run --release --all-features --example order_entry
//! ```
//!
//! - `on_tokio.rs`: quotes queue up behind a peer that does not read. A cancel overtakes all quotes
//!   whose writing has not begun (`feed_first`). When the line is cut, `is_written` tells which
//!   orders may have left. Only orders that cannot have left may be sent again.
//! - `on_threads.rs`: one thread sends orders, and another thread receives the answers, spinning.
//! - `order.rs`: an order is built in the send buffer, without an allocation or a copy.
mod on_threads;
mod on_tokio;
mod order;

use arguments::{Arguments, Failure};

const HELP: &str = "\
Orders over a line that stalls and is cut, under tokio; then over two threads, one of which spins.
The times of the last line mean something only with three free cores: for the thread that sends,
for the thread that spins, and for the exchange. With fewer, the program says so.

Usage: order_entry [OPTION]

  --quotes N  so many are queued when the cancel comes [1000]
  --orders N  so many are sent over two threads [1000]
  --help      this text
";

fn main() -> Result<(), Failure> {
    let args = Arguments::read(HELP);
    let (quotes, orders) =
        (args.number("--quotes", 200..=10_000), args.number("--orders", 1..=1 << 20));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(on_tokio::stalled_and_cut(quotes))?;
    on_threads::spinning(orders)
}
