//! The command line.
use crate::lines::Pace;
use lexopt::{Arg::Long, Parser, ValueExt};
use market_feed::number::number;
use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};
use tickwire::url::Target;

pub(crate) const HELP: &str = "\
A market feed over WebSocket: one server, many subscribers, in one process or in two.

Without options: 50 subscribers in this process for 5 seconds, then the result, with
bare TCP beside it.

Usage: market_feed [OPTIONS]

What to do:
  --listen ADDR       only serve, at ADDR (such as 127.0.0.1:9000), until ctrl-c; browsers
                      find a page there that draws the feed. Nothing bounds how many peers
                      come: for the loopback. See the example `bounded`.
  --connect URL       only subscribe, to URL (such as ws://127.0.0.1:9000), until the
                      server ends the feed or --seconds have passed
  --record FILE.csv   write the generated ticks to a file that --replay reads
  --lines N           only serve, at N ports: feeds that are numbered each by itself, and
                      the same on each line; `feed_handler`, an example too, follows them

How:
  --clients N         subscribers (50; 1 with --connect)
  --rate N            ticks a second, each of which goes to every subscriber (10000)
  --seconds S         how long in all (5): one half over WebSocket, the other over TCP
  --adapter NAME      tokio or blocking (tokio): threads instead of tasks
  --replay FILE.csv   ticks from a file with the columns time, instrument, side, price,
                      size, at the times in it, or at --rate; over and over if short
  --json              the result as one JSON object, on the last line
  --help              this

With --lines:
  --feeds N           feeds (200); --rate is that of all together
  --pace NAME         when ticks are due: by the system's timers, each line up to 4 ms late
                      (timer), each at its own time (even), or all feeds' at once (bursts);
                      the last two keep a processor busy, and make no line late
  --cut-every S       each connection is cut after S seconds, by a Close and by a reset in
                      turn; the lines of a feed at different times
  --life S            each connection is cut at the age of S seconds
  --silence S         each connection is cut on which nothing was said for S seconds; `ping`
                      will do
  --tls               wss, with a certificate made for the occasion and printed, or with
                      that of --tls-cert FILE and --tls-key FILE (feature rustls)
  --listen ADDR       where the first line is; the next are at the ports above

What the result says:
  conflated           ticks left out for subscribers that were too slow for them; in their
                      place came a snapshot with the newest state, which says how many
  gaps                ticks that are missing without a word: there should be none
  CPU per tick        of both ends together; - below 100,000 ticks: it would be noise
  latency             from a tick's encoding to its being checked; it includes queueing
                      behind the writes to the other subscribers, so compare it with the
                      TCP column, which includes the same
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adapter {
    Tokio,
    Blocking,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Run,
    Listen(SocketAddr),
    Connect(String),
    Record(PathBuf),
    Help,
}

/// What goes with `--lines`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) lines: Option<usize>,
    pub(crate) feeds: Option<usize>,
    pub(crate) pace: Option<Pace>,
    pub(crate) cut_every: Option<Duration>,
    pub(crate) life: Option<Duration>,
    pub(crate) silence: Option<Duration>,
    pub(crate) tls: bool,
    pub(crate) cert: Option<String>,
    pub(crate) key: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    pub(crate) clients: Option<usize>,
    pub(crate) rate: Option<u32>,
    pub(crate) seconds: Option<Duration>,
    pub(crate) adapter: Adapter,
    pub(crate) replay: Option<PathBuf>,
    pub(crate) json: bool,
    pub(crate) lines: Lines,
}

impl Options {
    pub(crate) fn parse(mut parser: Parser) -> Result<Self, lexopt::Error> {
        let mut options = Self {
            mode: Mode::Run,
            clients: None,
            rate: None,
            seconds: None,
            adapter: Adapter::Tokio,
            replay: None,
            json: false,
            lines: Lines::default(),
        };
        while let Some(arg) = parser.next()? {
            match arg {
                Long("listen") => options.set_mode(Mode::Listen(address(&mut parser)?))?,
                Long("connect") => options.set_mode(Mode::Connect(url(&mut parser)?))?,
                Long("record") => options.set_mode(Mode::Record(parser.value()?.into()))?,
                Long("help") => return Ok(Self { mode: Mode::Help, ..options }),
                Long("clients") => {
                    options.clients = Some(number("clients", parser.value()?, 1..=10_000)?);
                }
                Long("rate") => {
                    options.rate = Some(number("rate", parser.value()?, 1..=1_000_000)?);
                }
                Long("seconds") => options.seconds = Some(seconds("seconds", &mut parser)?),
                Long("adapter") => options.adapter = adapter(&mut parser)?,
                Long("replay") => options.replay = Some(parser.value()?.into()),
                Long("json") => options.json = true,
                Long("lines") => {
                    options.lines.lines = Some(number("lines", parser.value()?, 1..=16)?)
                }
                Long("feeds") => {
                    options.lines.feeds = Some(number("feeds", parser.value()?, 1..=10_000)?)
                }
                Long("cut-every") => {
                    options.lines.cut_every = Some(seconds("cut-every", &mut parser)?)
                }
                Long("life") => options.lines.life = Some(seconds("life", &mut parser)?),
                Long("silence") => options.lines.silence = Some(seconds("silence", &mut parser)?),
                Long("pace") => options.lines.pace = Some(pace(&mut parser)?),
                Long("tls") => options.lines.tls = true,
                Long("tls-cert") => options.lines.cert = Some(parser.value()?.string()?),
                Long("tls-key") => options.lines.key = Some(parser.value()?.string()?),
                _ => return Err(arg.unexpected()),
            }
        }
        options.check()
    }

    fn set_mode(&mut self, mode: Mode) -> Result<(), lexopt::Error> {
        if self.mode != Mode::Run {
            return Err("only one of --listen, --connect and --record".into());
        }
        self.mode = mode;
        Ok(())
    }

    /// Refuses what would be ignored.
    fn check(mut self) -> Result<Self, lexopt::Error> {
        match self.mode {
            _ if self.lines.lines.is_none() && self.lines == Lines::default() => {}
            _ if self.lines.lines.is_none() => {
                return Err(
                    "--feeds, --pace, --cut-every, --life, --silence and --tls go with --lines"
                        .into(),
                );
            }
            _ if self.replay.is_some() || self.json => {
                return Err("--lines: not with --replay, nor --json".into());
            }
            Mode::Run => self.mode = Mode::Listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            Mode::Listen(_) => {}
            _ => return Err("--lines: goes with --listen, or on its own".into()),
        }
        if self.lines.cert.is_some() != self.lines.key.is_some() {
            return Err("--tls-cert and --tls-key belong together".into());
        }
        let subscribes = matches!(self.mode, Mode::Run | Mode::Connect(_));
        let publishes = !matches!(self.mode, Mode::Connect(_));
        if self.clients.is_some() && !subscribes {
            return Err("--clients: nobody subscribes here".into());
        }
        if self.rate.is_some() && !publishes {
            return Err("--rate: the server decides on the rate".into());
        }
        if self.replay.is_some() && (!publishes || matches!(self.mode, Mode::Record(_))) {
            return Err("--replay: goes with --listen, or on its own".into());
        }
        Ok(self)
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tokio => "tokio",
            Self::Blocking => "blocking",
        })
    }
}

fn seconds(name: &str, parser: &mut Parser) -> Result<Duration, lexopt::Error> {
    Ok(Duration::from_secs_f64(number(name, parser.value()?, 0.1..=86_400.0)?))
}

fn adapter(parser: &mut Parser) -> Result<Adapter, lexopt::Error> {
    let name = parser.value()?.string()?;
    let known = [Adapter::Tokio, Adapter::Blocking].into_iter().find(|a| a.to_string() == name);
    known.ok_or_else(|| format!("--adapter {name}: expected tokio or blocking").into())
}

fn pace(parser: &mut Parser) -> Result<Pace, lexopt::Error> {
    let name = parser.value()?.string()?;
    match name.as_str() {
        "timer" => Ok(Pace::Timer),
        "even" => Ok(Pace::Even),
        "bursts" => Ok(Pace::Bursts),
        _ => Err(format!("--pace {name}: expected timer, even or bursts").into()),
    }
}

fn address(parser: &mut Parser) -> Result<SocketAddr, lexopt::Error> {
    let text = parser.value()?.string()?;
    let found = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| format!("--listen {text}: expected an address and a port").into())
}

fn url(parser: &mut Parser) -> Result<String, lexopt::Error> {
    let url = parser.value()?.string()?;
    match url.parse::<Target>() {
        Ok(_) => Ok(url),
        Err(error) => Err(format!("--connect {url}: {error}").into()),
    }
}
