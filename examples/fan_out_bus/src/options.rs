//! What can be said on the command line.
use crate::{
    bus::Failure,
    over_jetstream::{JetStream, Keep},
    over_nats::Nats,
    over_redis::Redis,
    protocol,
};
use lexopt::{Arg, Parser, ValueExt};
use std::{
    env, fmt::Write, fs, ops::RangeInclusive, sync::Arc, thread::available_parallelism,
    time::Duration,
};
use tickwire::CloseCode;
use tickwire_parts::Overflow;

pub const HELP: &str = "\
WebSocket fan-out over Redis, NATS or JetStream: any number of these processes, publishers anywhere.

Usage: fan_out_bus [OPTION]...                     serves subscribers
       fan_out_bus publish CHANNEL [OPTION]...     each line of standard input, or --count
       fan_out_bus client URL[,URL..] CHANNEL...   prints messages, publishes `CHANNEL PAYLOAD`
       fan_out_bus watch CHANNEL URL[,URL..]... [OPTION]...  subscribes at each server (the others take
                                                   over when it goes), shows rate and lag

  --bus URL             redis://HOST:PORT, nats://HOST:PORT, or for NATS' log
                        jetstream://HOST:PORT [redis://127.0.0.1:6379]
  --user NAME           known to the broker; the password, or NATS' token, is in the environment as
                        BUS_PASSWORD, so that no list of processes shows it
  --tls                 to the broker: its certificate has to be for HOST
  --ca FILE             the same, and only certificates of this PEM file count [the system's]
  --threads N           that share one connection to NATS, and two to Redis [one a processor]
  --prefix TEXT         before each channel's name there [feed: at Redis, feed. at NATS]
with a log, when its stream does not exist yet:
  --keep SECONDS        what is older is deleted [3600]
  --keep-bytes N        so is the oldest of more [1073741824]
  --replicas N          on so many brokers of a cluster [1]
serving:
  --listen ADDR         with port 0 on any free port [127.0.0.1:9004]
  --stats               a line each second: rates, lag, gaps
  --slow POLICY         disconnect (with 1013) or drop (the oldest) [disconnect]
  --max-behind BYTES    what may wait for one subscriber [1048576]
  --tail BYTES          of its newest messages each channel keeps, for who comes back [1048576]
  --max-memory BYTES    all that waits for subscribers and is kept for them, together [1073741824]
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

/// Goes before each channel's name at the broker, so that clients can ask for nothing else there: not
/// for another application's channels, nor for `__keyspace@0__:*` or `$JS.API.>`.
#[derive(Clone)]
pub struct Prefix(Arc<str>);

impl Prefix {
    pub fn new(prefix: &str) -> Self {
        Self(prefix.into())
    }

    /// For Redis.
    pub fn of(&self, channel: &str) -> String {
        format!("{}{channel}", self.0)
    }

    pub fn strip<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&*self.0)
    }

    /// For NATS: one token, whatever it is called. Dots and wildcards mean something there.
    pub fn subject(&self, channel: &str) -> String {
        let mut subject = self.0.to_string();
        for byte in channel.bytes() {
            match byte {
                b'.' | b'*' | b'>' | b'%' => _ = write!(subject, "%{byte:02X}"),
                _ => subject.push(char::from(byte)),
            }
        }
        subject
    }

    /// Of all channels.
    pub fn all_subjects(&self) -> String {
        format!("{}*", self.0)
    }

    /// The stream that keeps them. Prefixes that differ in `.` and `_` alone would have the same one, and the broker
    /// refuses the second.
    pub fn stream(&self) -> String {
        self.0.trim_end_matches('.').replace('.', "_")
    }
}

/// How a broker is to know us, and we the broker.
#[derive(Clone, Default)]
pub struct Access {
    pub user: Option<String>,
    /// Without a user: NATS' token.
    pub password: Option<String>,
    pub tls: bool,
    /// The only certificates to trust, in PEM; else the system's.
    pub ca: Option<Vec<u8>>,
}

/// Which broker.
pub enum Broker {
    Redis(Redis),
    Nats(Nats),
    JetStream(JetStream),
}

impl Broker {
    fn new(url: &str, prefix: Option<&str>, keep: Keep, access: Access) -> Result<Self, Failure> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        if scheme.starts_with("redis") {
            let prefix = Prefix::new(prefix.unwrap_or("feed:"));
            return Ok(Self::Redis(Redis::new(url, prefix, access)?));
        }
        let prefix = prefix.unwrap_or("feed.");
        let visible = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let tokens = prefix.strip_suffix('.').filter(|prefix| prefix.bytes().all(visible));
        if tokens.is_none_or(|prefix| prefix.split('.').any(str::is_empty)) {
            return Err(format!("--prefix {prefix}: for NATS, words with a dot behind each").into());
        }
        let nats = Nats::new(format!("nats://{rest}"), Prefix::new(prefix), access);
        match scheme {
            "nats" => Ok(Self::Nats(nats)),
            "jetstream" => Ok(Self::JetStream(JetStream { nats, keep })),
            _ => Err(format!("--bus {url}: see --help").into()),
        }
    }
}

pub enum Mode {
    Serve(Serve),
    Publish { channel: String, count: Option<u64>, rate: Option<u64>, size: usize },
    Client { urls: String, channels: Vec<String> },
    Watch { channel: String, urls: Vec<String>, subscribers: usize, time: Option<Duration> },
}

pub struct Serve {
    pub listen: String,
    pub stats: bool,
    pub slow: Overflow,
    pub max_behind: usize,
    pub tail: usize,
    pub max_memory: usize,
    pub max_channels: usize,
    pub max_connections: usize,
}

pub struct Options {
    pub threads: usize,
    pub broker: Broker,
    pub mode: Mode,
}

impl Options {
    /// `None`: help was asked for.
    pub fn from_args() -> Result<Option<Self>, Failure> {
        let (mut bus, mut prefix) = ("redis://127.0.0.1:6379".to_owned(), None);
        let mut keep = Keep { time: Duration::from_secs(3600), bytes: 1 << 30, replicas: 1 };
        let mut serve = Serve {
            listen: "127.0.0.1:9004".to_owned(),
            stats: false,
            slow: Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER),
            max_behind: 1 << 20,
            tail: 1 << 20,
            max_memory: 1 << 30,
            max_channels: 64,
            max_connections: 10_000,
        };
        let (mut count, mut rate, mut size) = (None, None, 64);
        let (mut subscribers, mut time) = (1, None);
        let mut threads = available_parallelism()?.get();
        let password = env::var("BUS_PASSWORD").ok();
        let mut access = Access { password, ..Access::default() };
        let mut words = Vec::new();
        let mut args = Parser::from_env();
        while let Some(arg) = args.next()? {
            match arg {
                Arg::Long("bus") => bus = args.value()?.string()?,
                Arg::Long("user") => access.user = Some(args.value()?.string()?),
                Arg::Long("tls") => access.tls = true,
                Arg::Long("ca") => {
                    let file = args.value()?.string()?;
                    let read = fs::read(&file).map_err(|error| format!("--ca {file}: {error}"))?;
                    (access.tls, access.ca) = (true, Some(read));
                }
                Arg::Long("prefix") => prefix = Some(args.value()?.string()?),
                Arg::Long("keep") => keep.time = seconds(&mut args)?,
                Arg::Long("keep-bytes") => keep.bytes = number(&mut args, 1..=1 << 50)?,
                Arg::Long("replicas") => keep.replicas = number(&mut args, 1..=5)?,
                Arg::Long("listen") => serve.listen = args.value()?.string()?,
                Arg::Long("stats") => serve.stats = true,
                Arg::Long("slow") => {
                    serve.slow = match &*args.value()?.string()? {
                        "disconnect" => Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER),
                        "drop" => Overflow::DropOldest,
                        other => return Err(format!("--slow {other}: see --help").into()),
                    }
                }
                Arg::Long("max-behind") => serve.max_behind = number(&mut args, 1024..=1 << 40)?,
                Arg::Long("tail") => serve.tail = number(&mut args, 0..=1 << 40)?,
                Arg::Long("max-memory") => serve.max_memory = number(&mut args, 1 << 20..=1 << 50)?,
                Arg::Long("max-channels") => serve.max_channels = number(&mut args, 1..=1 << 20)?,
                Arg::Long("max-connections") => {
                    serve.max_connections = number(&mut args, 1..=1 << 24)?
                }
                Arg::Long("count") => count = Some(number(&mut args, 1..=u64::MAX)?),
                Arg::Long("rate") => rate = Some(number(&mut args, 1..=10_000_000)?),
                Arg::Long("size") => size = number(&mut args, 0..=1 << 20)?,
                Arg::Long("subscribers") => subscribers = number(&mut args, 1..=1_000_000)?,
                Arg::Long("seconds") => time = Some(seconds(&mut args)?),
                Arg::Long("threads") => threads = number(&mut args, 1..=1024)?,
                Arg::Long("help") | Arg::Short('h') => return Ok(None),
                Arg::Value(word) => words.push(word.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mode = match words[..] {
            [] => Mode::Serve(serve),
            ["publish", name] => Mode::Publish { channel: channel(name)?, count, rate, size },
            ["client", urls, ref names @ ..] => Mode::Client {
                urls: urls.to_owned(),
                channels: names.iter().map(|name| channel(name)).collect::<Result<_, _>>()?,
            },
            ["watch", name, ref urls @ ..] if !urls.is_empty() => Mode::Watch {
                channel: channel(name)?,
                urls: urls.iter().map(|url| (*url).to_owned()).collect(),
                subscribers,
                time,
            },
            _ => return Err(format!("{}: see --help", words.join(" ")).into()),
        };
        let broker = Broker::new(&bus, prefix.as_deref(), keep, access)?;
        Ok(Some(Self { threads, broker, mode }))
    }
}

fn channel(name: &str) -> Result<String, String> {
    protocol::channel(name.as_bytes()).map(str::to_owned).map_err(|bad| format!("{name:?}: {bad}"))
}

fn seconds(args: &mut Parser) -> Result<Duration, Failure> {
    number(args, 1..=1 << 32).map(Duration::from_secs)
}

fn number<N: TryFrom<u64>>(args: &mut Parser, within: RangeInclusive<u64>) -> Result<N, Failure> {
    let text = args.value()?.string()?;
    let number = text.parse().ok().filter(|n| within.contains(n));
    number.and_then(|n| n.try_into().ok()).ok_or_else(|| {
        format!("{text:?}: expected a number from {} to {}", within.start(), within.end()).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_one_token_at_nats() {
        let prefix = Prefix::new("feed.");
        for (channel, subject) in [
            ("EURUSD", "feed.EURUSD"),
            ("a.b", "feed.a%2Eb"),
            ("*", "feed.%2A"),
            (">", "feed.%3E"),
            ("a%2Eb", "feed.a%252Eb"),
        ] {
            assert_eq!(prefix.subject(channel), subject);
        }
    }
}
