//! What can be said on the command line.
use crate::{
    bus::Failure,
    over_jetstream::{JetStream, Keep},
    over_nats::Nats,
    over_redis::Redis,
    protocol,
};
use arguments::{Arguments, refuse};
use std::{env, fmt::Write, fs, net::SocketAddr, sync::Arc, time::Duration};
use tickwire::{CloseCode, handshake::client::Request};
use tickwire_parts::Overflow;

const HELP: &str = "\
WebSocket fan-out over Redis, NATS or JetStream: any number of these processes, publishers anywhere.

Usage: fan_out_bus [OPTION]...                     serves subscribers
       fan_out_bus publish CHANNEL [OPTION]...     numbered messages
       fan_out_bus client URL[,URL..] CHANNEL...   prints messages, publishes `CHANNEL PAYLOAD`
       fan_out_bus watch CHANNEL URL[,URL..]... [OPTION]...  subscribes at each server (the \
others take
                                                   over when it goes), shows rate and lag

  WORD...               what to do, as above
  --bus URL             redis://HOST:PORT, nats://HOST:PORT, or for NATS' log
                        jetstream://HOST:PORT [redis://127.0.0.1:6379]
  --user NAME           known to the broker; the password, or NATS' token, is in the environment as
                        BUS_PASSWORD, so that no list of processes shows it
  --tls                 to the broker: its certificate has to be for HOST
  --ca FILE             the same, and only certificates of this PEM file count (else the
                        system's)
  --threads N           that share one connection to the broker (else one a processor)
  --prefix TEXT         before each channel's name there (else feed: at Redis, feed. at NATS)
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
  --max-connections N   the most subscribers [10000]
  --max-per-address N   the most from one address, or from one /64 of IPv6 [100]; behind a balancer
                        as many as in all
publish:
  --count N             so many [1000]
  --rate N              so many a second (else all at once)
  --size BYTES          of each [64]
watch:
  --subscribers N       at each server [1]
  --seconds N           then sum up (else when interrupted)

  --help                this text
";

/// Goes before each channel's name at the broker, so that clients can ask for nothing else there:
/// not for another application's channels, nor for `__keyspace@0__:*` or `$JS.API.>`.
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

    /// The stream that keeps them. Prefixes that differ in `.` and `_` alone would have the same
    /// one, and the broker refuses the second.
    pub fn stream(&self) -> String {
        self.0.trim_end_matches('.').replace('.', "_")
    }
}

/// How a broker is to know us, and we the broker.
#[derive(Clone)]
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
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(format!("--bus {url}: no broker").into());
        };
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
            _ => Err(format!("--bus {url}: no broker").into()),
        }
    }
}

pub enum Mode {
    Serve(Serve),
    Publish { channel: String, count: u64, rate: Option<u64>, size: usize },
    Client { urls: String, channels: Vec<String> },
    Watch { channel: String, urls: Vec<String>, subscribers: usize, time: Option<Duration> },
}

pub struct Serve {
    pub listen: SocketAddr,
    pub stats: bool,
    pub slow: Overflow,
    pub max_behind: usize,
    pub tail: usize,
    pub max_memory: usize,
    pub max_channels: usize,
    pub max_connections: usize,
    pub max_per_address: usize,
}

pub struct Options {
    /// `None`: one a processor.
    pub threads: Option<usize>,
    pub broker: Broker,
    pub mode: Mode,
}

impl Options {
    pub fn read() -> Self {
        let args = Arguments::read(HELP);
        let size = |name, least, most| args.number(name, least..=most);
        let keep = Keep {
            time: Duration::from_secs(args.number("--keep", 1..=1 << 32)),
            bytes: args.number("--keep-bytes", 1..=1 << 50),
            replicas: size("--replicas", 1, 5),
        };
        let words = args.all("WORD");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mode = match words[..] {
            [] => Mode::Serve(Serve {
                listen: args.address("--listen"),
                stats: args.has("--stats"),
                slow: match args.one_of("--slow", &[("disconnect", true), ("drop", false)]) {
                    true => Overflow::Disconnect(CloseCode::TRY_AGAIN_LATER),
                    false => Overflow::DropOldest,
                },
                tail: size("--tail", 0, 1 << 40),
                max_memory: size("--max-memory", 1 << 20, 1 << 50),
                max_behind: size("--max-behind", 1024, 1 << 40),
                max_channels: size("--max-channels", 1, 1 << 20),
                max_connections: size("--max-connections", 1, 1 << 24),
                max_per_address: size("--max-per-address", 1, 1 << 24),
            }),
            ["publish", name] => Mode::Publish {
                channel: channel(name),
                count: args.number("--count", 1..=u64::MAX),
                rate: args.has("--rate").then(|| args.number("--rate", 1..=10_000_000)),
                size: size("--size", 0, 1 << 20),
            },
            ["client", urls, ref names @ ..] => Mode::Client {
                urls: servers(urls),
                channels: names.iter().map(|name| channel(name)).collect(),
            },
            ["watch", name, ref urls @ ..] if !urls.is_empty() => Mode::Watch {
                channel: channel(name),
                urls: urls.iter().map(|urls| servers(urls)).collect(),
                subscribers: size("--subscribers", 1, 1_000_000),
                time: args
                    .has("--seconds")
                    .then(|| Duration::from_secs(args.number("--seconds", 1..=1 << 32))),
            },
            _ => refuse(format_args!("{:?} is nothing to do", words.join(" "))),
        };
        let ca = args.optional("--ca").map(|file| {
            fs::read(&file).unwrap_or_else(|error| refuse(format_args!("--ca {file}: {error}")))
        });
        let (user, password) = (args.optional("--user"), env::var("BUS_PASSWORD").ok());
        let access = Access { user, password, tls: ca.is_some() || args.has("--tls"), ca };
        let prefix = args.optional("--prefix");
        let broker = Broker::new(&args.text("--bus"), prefix.as_deref(), keep, access);
        let threads = args.has("--threads").then(|| size("--threads", 1, 1024));
        Self { threads, broker: broker.unwrap_or_else(|error| refuse(error)), mode }
    }
}

fn channel(name: &str) -> String {
    match protocol::channel(name.as_bytes()) {
        Ok(name) => name.to_owned(),
        Err(bad) => refuse(format_args!("{name:?}: {bad}")),
    }
}

/// URLs separated by commas.
fn servers(urls: &str) -> String {
    for url in urls.split(',') {
        if let Err(error) = Request::new(url) {
            refuse(format_args!("{url:?}: {error}"));
        }
    }
    urls.to_owned()
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
