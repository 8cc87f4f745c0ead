//! The command line.
use arguments::{Arguments, refuse};
use feed_handler::{Pace, Plan};
use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

const HELP: &str = "\
A feed handler: one thread, many feeds over wss, the lines of each made one, books rebuilt
and checked. Without options it follows 200 feeds of its own exchange over two lines each
for 10 seconds, all of which are cut every 2 seconds, and says what each feed lost.

Usage: feed_handler [OPTION]...

  --feeds N         feeds [200]
  --seconds S       how long [10]

  --uring           by io_uring in place of epoll: many lines' bytes by one system call (Linux
                    6.1); the kernel's times are not told then

  --page ADDR       a page that draws it, at ADDR (such as 127.0.0.1:8080): for the
                    loopback; for an open port see the example `bounded`

Of its exchange:
  --lines N         lines of each feed [2]
  --rate N          ticks a second, of all feeds together [10000]
  --cut-every S     how often each connection is cut [2]; 0: never
  --life S          the age at which each connection is cut, besides --cut-every; the
                    handler replaces it before
  --silence S       how long nothing may be said on a connection [30]; the handler says
                    `ping` before

Figures, in place of all that, on a machine that does nothing else:
  --measure WHAT    even: 200 feeds beside one at 20,000 messages a second; bursts: of all
                    feeds at once
  --rounds N        how often [21]

  --help            this text

The exit code is 0 if nothing was lost, each book is the exchange's, and no line was given
up. 200 feeds want --release.
";

const SECONDS: RangeInclusive<f64> = 0.0..=86_400.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Even,
    Bursts,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The figures to measure, in place of following feeds.
    pub(crate) measure: Option<What>,
    pub(crate) rounds: usize,
    pub(crate) uring: bool,
    pub(crate) seconds: Duration,
    pub(crate) page: Option<SocketAddr>,
    pub(crate) plan: Plan,
}

impl Options {
    pub(crate) fn read() -> Self {
        let args = Arguments::read(HELP);
        let figures = [("even", What::Even), ("bursts", What::Bursts)];
        let measure = args.has("--measure").then(|| args.one_of("--measure", &figures));
        let uring = args.has("--uring");
        if uring && measure == Some(What::Even) {
            refuse("--uring: the kernel's times are not told then");
        }
        let seconds = |name| args.seconds(name, SECONDS);
        Self {
            measure,
            rounds: args.number("--rounds", 1..=1000),
            uring,
            seconds: seconds("--seconds"),
            page: args.has("--page").then(|| args.address("--page")),
            plan: Plan {
                feeds: args.number("--feeds", 1..=10_000),
                lines: args.number("--lines", 1..=16),
                rate: args.number("--rate", 1..=1_000_000),
                pace: Pace::Timer,
                late: Duration::from_millis(4),
                cut_every: Some(seconds("--cut-every")).filter(|every| !every.is_zero()),
                life: args.has("--life").then(|| seconds("--life")),
                silence: Some(seconds("--silence")),
            },
        }
    }
}
