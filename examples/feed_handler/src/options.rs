//! The command line.
use feed_handler::{Pace, Plan};
use lexopt::{Arg::Long, Parser, ValueExt};
use market_feed::number::number;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub(crate) const HELP: &str = "\
A feed handler: one thread, many feeds over wss, the lines of each made one, books rebuilt
and checked. Without options it follows 200 feeds of its own exchange over two lines each
for 10 seconds, all of which are cut every 2 seconds, and says what each feed lost.

Usage: feed_handler [OPTIONS]

  --feeds N         feeds (200), no more than the exchange has
  --seconds S       how long (10)
  --connect URL     a line of another exchange, such as `market_feed --tls --lines 2`; once
                    for each line
  --root FILE       the certificates to trust there, in PEM; else the platform's

  --uring           by io_uring in place of epoll: many lines' bytes by one system call (Linux
                    6.1); the kernel's times are not told then

  --page ADDR       a page that draws it, at ADDR (such as 127.0.0.1:8080): for the
                    loopback; for an open port see the example `bounded`

Of its own exchange; the last two also of the other:
  --lines N         lines of each feed (2)
  --rate N          ticks a second, of all feeds together (10000)
  --cut-every S     how often each connection is cut (2); 0: never
  --life S          the age at which each connection is cut, besides --cut-every; the handler replaces it before
  --silence S       how long nothing may be said on a connection (30); the handler says
                    `ping` before

Figures, in place of all that, on a machine that does nothing else:
  --measure WHAT    even: 200 feeds beside one at 20,000 messages a second; bursts: of all
                    feeds at once; isolation: feeds that stall, flood, drip and send garbage
                    beside those that do not
  --rounds N        (21)
  --help            this

The exit code is 0 if nothing was lost, each book is the exchange's, and no line was given
up. Of another exchange's books only the checksums are known, and a line of each feed has to
be open at the end. 200 feeds want --release.
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Run,
    Measure(What),
    Help,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Even,
    Bursts,
    Isolation,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    pub(crate) rounds: usize,
    pub(crate) uring: bool,
    pub(crate) seconds: Duration,
    pub(crate) connect: Vec<String>,
    pub(crate) root: Option<PathBuf>,
    pub(crate) page: Option<SocketAddr>,
    pub(crate) plan: Plan,
}

impl Options {
    pub(crate) fn parse(mut parser: Parser) -> Result<Self, lexopt::Error> {
        let mut options = Self {
            mode: Mode::Run,
            rounds: 21,
            uring: false,
            seconds: Duration::from_secs(10),
            connect: Vec::new(),
            root: None,
            page: None,
            plan: Plan {
                feeds: 200,
                lines: 2,
                rate: 10_000,
                pace: Pace::Timer,
                late: Duration::from_millis(4),
                cut_every: Some(Duration::from_secs(2)),
                life: None,
                silence: Some(Duration::from_secs(30)),
            },
        };
        while let Some(arg) = parser.next()? {
            let plan = &mut options.plan;
            match arg {
                Long("feeds") => plan.feeds = number("feeds", parser.value()?, 1..=10_000)?,
                Long("lines") => plan.lines = number("lines", parser.value()?, 1..=16)?,
                Long("rate") => plan.rate = number("rate", parser.value()?, 1..=1_000_000)?,
                Long("cut-every") => {
                    let every = seconds("cut-every", &mut parser)?;
                    plan.cut_every = Some(every).filter(|every| !every.is_zero());
                }
                Long("life") => plan.life = Some(seconds("life", &mut parser)?),
                Long("silence") => plan.silence = Some(seconds("silence", &mut parser)?),
                Long("seconds") => options.seconds = seconds("seconds", &mut parser)?,
                Long("connect") => options.connect.push(parser.value()?.string()?),
                Long("root") => options.root = Some(parser.value()?.into()),
                Long("uring") => options.uring = true,
                Long("page") => options.page = Some(parser.value()?.parse()?),
                Long("measure") => options.mode = Mode::Measure(what(&parser.value()?.string()?)?),
                Long("rounds") => options.rounds = number("rounds", parser.value()?, 1..=1000)?,
                Long("help") => return Ok(Self { mode: Mode::Help, ..options }),
                _ => return Err(arg.unexpected()),
            }
        }
        match options.mode {
            Mode::Measure(What::Even | What::Isolation) if options.uring => {
                Err("--uring: the kernel's times are not told then".into())
            }
            _ => Ok(options),
        }
    }
}

fn what(name: &str) -> Result<What, lexopt::Error> {
    match name {
        "even" => Ok(What::Even),
        "bursts" => Ok(What::Bursts),
        "isolation" => Ok(What::Isolation),
        _ => Err(format!("--measure {name}: expected even, bursts or isolation").into()),
    }
}

fn seconds(name: &str, parser: &mut Parser) -> Result<Duration, lexopt::Error> {
    Ok(Duration::from_secs_f64(number(name, parser.value()?, 0.0..=86_400.0)?))
}
