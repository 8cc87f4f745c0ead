//! The command line.
use crate::lines::Pace;
use arguments::{Arguments, refuse};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tickwire::url::Target;

const HELP: &str = "\
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
  --lines N           only serve, at N ports: feeds that are numbered each by itself, and
                      the same on each line; `feed_handler`, an example too, follows them

How:
  --clients N         subscribers (else 50; 1 with --connect)
  --rate N            ticks a second, each of which goes to every subscriber (else 10000)
  --seconds S         how long in all (else 5): one half over WebSocket, the other over TCP
  --json              the result as one JSON object, on the last line
  --help              this

With --lines:
  --feeds N           feeds (else 200); --rate is that of all together
  --pace NAME         when ticks are due: by the system's timers, each line up to 4 ms late
                      (timer), each at its own time (even), or all feeds' at once (bursts);
                      the last two keep a processor busy, and make no line late
  --cut-every S       each connection is cut after S seconds, by a Close and by a reset in
                      turn; the lines of a feed at different times
  --life S            each connection is cut at the age of S seconds
  --silence S         each connection is cut on which nothing was said for S seconds; `ping`
                      will do
  --tls               wss, with a certificate made for the occasion and printed (feature
                      rustls)
  --tls-cert FILE     wss, with this certificate
  --tls-key FILE      and its private key
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Run,
    Listen(SocketAddr),
    Connect(String),
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
    pub(crate) json: bool,
    pub(crate) lines: Lines,
}

impl Options {
    pub(crate) fn read() -> Self {
        let args = Arguments::read(HELP);
        let modes = ["--listen", "--connect"].map(|mode| args.has(mode));
        let mode = match modes {
            [false, false] => Mode::Run,
            [true, false] => Mode::Listen(args.address("--listen")),
            [false, true] => Mode::Connect(
                args.read_by("--connect", |url| url.parse::<Target>().map(|_| url.to_owned())),
            ),
            _ => refuse("only one of --listen and --connect"),
        };
        let seconds = |name| args.has(name).then(|| args.seconds(name, 0.1..=86_400.0));
        let count = |name, most| args.has(name).then(|| args.number(name, 1..=most));
        let paces = [("timer", Pace::Timer), ("even", Pace::Even), ("bursts", Pace::Bursts)];
        let options = Self {
            mode,
            clients: count("--clients", 10_000),
            rate: args.has("--rate").then(|| args.number("--rate", 1..=1_000_000)),
            seconds: seconds("--seconds"),
            json: args.has("--json"),
            lines: Lines {
                lines: count("--lines", 16),
                feeds: count("--feeds", 10_000),
                pace: args.has("--pace").then(|| args.one_of("--pace", &paces)),
                cut_every: seconds("--cut-every"),
                life: seconds("--life"),
                silence: seconds("--silence"),
                tls: args.has("--tls"),
                cert: args.optional("--tls-cert"),
                key: args.optional("--tls-key"),
            },
        };
        options.check().unwrap_or_else(|error| refuse(error))
    }

    /// Refuses what would be ignored.
    fn check(mut self) -> Result<Self, &'static str> {
        match self.mode {
            _ if self.lines.lines.is_none() && self.lines == Lines::default() => {}
            _ if self.lines.lines.is_none() => {
                return Err(
                    "--feeds, --pace, --cut-every, --life, --silence and --tls go with --lines",
                );
            }
            _ if self.json => return Err("--lines: not with --json"),
            Mode::Run => self.mode = Mode::Listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            Mode::Listen(_) => {}
            _ => return Err("--lines: goes with --listen, or on its own"),
        }
        if self.lines.cert.is_some() != self.lines.key.is_some() {
            return Err("--tls-cert and --tls-key belong together");
        }
        let subscribes = matches!(self.mode, Mode::Run | Mode::Connect(_));
        let publishes = !matches!(self.mode, Mode::Connect(_));
        if self.clients.is_some() && !subscribes {
            return Err("--clients: nobody subscribes here");
        }
        if self.rate.is_some() && !publishes {
            return Err("--rate: the server decides on the rate");
        }
        Ok(self)
    }
}
