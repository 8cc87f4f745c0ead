//! What can be said on the command line.
use crate::protocol;
use lexopt::{Arg, Parser, ValueExt};
use std::{error::Error, ops::RangeInclusive, sync::Arc, time::Duration};
use tickwire::{CloseCode, TooSlow};

pub const HELP: &str = "\
WebSocket fan-out over Redis Pub/Sub: any number of these processes, publishers anywhere.

Usage: redis_fanout [OPTION]...                     serves subscribers
       redis_fanout publish CHANNEL [OPTION]...     each line of standard input, or --count
       redis_fanout watch CHANNEL URL... [OPTION]...  subscribes at each server, shows rate and lag

  --redis URL           [redis://127.0.0.1:6379]
  --prefix TEXT         before each channel's name at Redis [feed:]
serving:
  --listen ADDR         with port 0 on any free port [127.0.0.1:9004]
  --stats               a line each second: rates, lag, gaps
  --slow POLICY         disconnect (with 1013) or drop (the oldest) [disconnect]
  --max-behind BYTES    what may wait for one subscriber [1048576]
  --max-channels N      of one connection [64]
  --max-connections N   more wait to be accepted [10000]; nothing bounds those of one address:
                        for the loopback, or behind a balancer. See the example `bounded`.
publish:
  --count N             so many numbered messages
  --rate N              so many a second [all at once]
  --size BYTES          of each [64]
watch:
  --subscribers N       at each server [1]
  --seconds N           then sum up [until interrupted]
";

/// Goes before each channel's name at Redis, so that clients can ask for nothing else there: not
/// for another application's channels, nor for `__keyspace@0__:*`.
#[derive(Clone)]
pub struct Prefix(Arc<str>);

impl Prefix {
    pub fn new(prefix: &str) -> Self {
        Self(prefix.into())
    }

    pub fn of(&self, channel: &str) -> String {
        format!("{}{channel}", self.0)
    }

    pub fn all(&self, channels: &[Arc<str>]) -> Vec<String> {
        channels.iter().map(|channel| self.of(channel)).collect()
    }

    pub fn strip<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&*self.0)
    }
}

pub enum Mode {
    Serve(Serve),
    Publish { channel: String, count: Option<u64>, rate: Option<u64>, size: usize },
    Watch { channel: String, urls: Vec<String>, subscribers: usize, time: Option<Duration> },
}

pub struct Serve {
    pub listen: String,
    pub stats: bool,
    pub slow: TooSlow,
    pub max_behind: usize,
    pub max_channels: usize,
    pub max_connections: usize,
}

pub struct Options {
    pub redis: String,
    pub prefix: Prefix,
    pub mode: Mode,
}

impl Options {
    /// `None`: help was asked for.
    pub fn from_args() -> Result<Option<Self>, Box<dyn Error>> {
        let (mut redis, mut prefix) = ("redis://127.0.0.1:6379".to_owned(), "feed:".to_owned());
        let mut serve = Serve {
            listen: "127.0.0.1:9004".to_owned(),
            stats: false,
            slow: TooSlow::Disconnect(CloseCode::TRY_AGAIN_LATER),
            max_behind: 1 << 20,
            max_channels: 64,
            max_connections: 10_000,
        };
        let (mut count, mut rate, mut size) = (None, None, 64);
        let (mut subscribers, mut time) = (1, None);
        let mut words = Vec::new();
        let mut args = Parser::from_env();
        while let Some(arg) = args.next()? {
            match arg {
                Arg::Long("redis") => redis = args.value()?.string()?,
                Arg::Long("prefix") => prefix = args.value()?.string()?,
                Arg::Long("listen") => serve.listen = args.value()?.string()?,
                Arg::Long("stats") => serve.stats = true,
                Arg::Long("slow") => {
                    serve.slow = match &*args.value()?.string()? {
                        "disconnect" => TooSlow::Disconnect(CloseCode::TRY_AGAIN_LATER),
                        "drop" => TooSlow::DropOldest,
                        other => return Err(format!("--slow {other}: see --help").into()),
                    }
                }
                Arg::Long("max-behind") => {
                    serve.max_behind = number(&mut args, 1024..=1 << 40)? as usize
                }
                Arg::Long("max-channels") => {
                    serve.max_channels = number(&mut args, 1..=1 << 20)? as usize
                }
                Arg::Long("max-connections") => {
                    serve.max_connections = number(&mut args, 1..=1 << 24)? as usize
                }
                Arg::Long("count") => count = Some(number(&mut args, 1..=u64::MAX)?),
                Arg::Long("rate") => rate = Some(number(&mut args, 1..=10_000_000)?),
                Arg::Long("size") => size = number(&mut args, 0..=1 << 20)? as usize,
                Arg::Long("subscribers") => {
                    subscribers = number(&mut args, 1..=1_000_000)? as usize
                }
                Arg::Long("seconds") => {
                    time = Some(Duration::from_secs(number(&mut args, 1..=1 << 32)?))
                }
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                Arg::Value(word) => words.push(word.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mode = match words[..] {
            [] => Mode::Serve(serve),
            ["publish", name] => Mode::Publish { channel: channel(name)?, count, rate, size },
            ["watch", name, ref urls @ ..] if !urls.is_empty() => Mode::Watch {
                channel: channel(name)?,
                urls: urls.iter().map(|url| (*url).to_owned()).collect(),
                subscribers,
                time,
            },
            _ => return Err(format!("{}: see --help", words.join(" ")).into()),
        };
        Ok(Some(Self { redis, prefix: Prefix::new(&prefix), mode }))
    }
}

fn channel(name: &str) -> Result<String, String> {
    protocol::channel(name.as_bytes()).map(str::to_owned).map_err(|bad| format!("{name:?}: {bad}"))
}

fn number(args: &mut Parser, within: RangeInclusive<u64>) -> Result<u64, Box<dyn Error>> {
    let text = args.value()?.string()?;
    text.parse().ok().filter(|n| within.contains(n)).ok_or_else(|| {
        format!("{text:?}: expected a number from {} to {}", within.start(), within.end()).into()
    })
}
