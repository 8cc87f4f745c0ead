//! The command line.
use arguments::Arguments;
use feed_handler::{Pace, Plan};
use std::{ops::RangeInclusive, time::Duration};

const HELP: &str = "\
A feed handler: one thread follows many feeds over wss, merges the lines of each feed, and
rebuilds and checks the books. The program runs the exchange too. Without options, the
handler follows 200 feeds over two lines each for 10 seconds, while the exchange cuts each
connection every 2 seconds. At the end the program prints its load, the rate of ticks, how old a
tick was once it was in the book, and what the feeds lost.

Usage: feed_handler [OPTION]...

  --feeds N         the number of feeds [200]
  --seconds S       how long the handler follows the feeds [10]

  --uring           use io_uring in place of epoll (Linux 6.1): one system call receives the
                    bytes of many lines; fails if the kernel refuses io_uring

Options of the exchange:
  --lines N         the number of lines of each feed [2]
  --rate N          ticks a second, of all feeds together [10000]
  --cut-every S     cut each connection this often [2]; 0: never
  --life S          also cut each connection at this age; the handler replaces it earlier

  --help            this text

The exit code is 0 if nothing was lost, each book equals the exchange's book, and the handler
gave up no line. With 200 feeds, build the program with --release.
";

const SECONDS: RangeInclusive<f64> = 0.0..=86_400.0;

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) uring: bool,
    pub(crate) seconds: Duration,
    pub(crate) plan: Plan,
}

impl Options {
    pub(crate) fn read() -> Self {
        let args = Arguments::read(HELP);
        let seconds = |name| args.seconds(name, SECONDS);
        Self {
            uring: args.has("--uring"),
            seconds: seconds("--seconds"),
            plan: Plan {
                feeds: args.number("--feeds", 1..=10_000),
                lines: args.number("--lines", 1..=16),
                rate: args.number("--rate", 1..=1_000_000),
                pace: Pace::Timer,
                late: Duration::from_millis(4),
                cut_every: Some(seconds("--cut-every")).filter(|every| !every.is_zero()),
                life: args.has("--life").then(|| seconds("--life")),
            },
        }
    }
}
