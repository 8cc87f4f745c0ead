//! The options of the command line.
use crate::{bus::Failure, client::Hub, over_jetstream::JetStream, over_redis::Redis};
use arguments::{Arguments, refuse};
use std::{env, fmt::Write, net::SocketAddr, sync::Arc};

const HELP: &str = "\
WebSocket fan-out over Redis or NATS JetStream: any number of these processes, publishers anywhere.

Usage: fan_out_bus [OPTION]...                     serves subscribers
       fan_out_bus client URL[,URL..] CHANNEL...   prints messages

  WORD...               what to do, as above
  --bus URL             redis://HOST:PORT, or jetstream://HOST:PORT for NATS JetStream, which has
                        a log [redis://127.0.0.1:6379]
  --user NAME           known to the broker; the password, or NATS' token, is in the environment as
                        BUS_PASSWORD, so that no list of processes shows it
  --tls                 to the broker: its certificate has to be for HOST
  --ca FILE             the same, and only certificates of this PEM file count (else the
                        system's)
  --prefix WORD         before each channel's name there: WORD:CHANNEL at Redis, WORD.CHANNEL at
                        NATS, whose stream has this name [feed]
serving:
  --listen ADDR         with port 0 on any free port [127.0.0.1:9004]
  --max-behind BYTES    what may wait for one subscriber, which is else disconnected with 1013
                        [1048576]
  --tail BYTES          of its newest messages each channel keeps, for who comes back [1048576]
  --max-memory BYTES    all that waits for subscribers and is kept for them, together [1073741824]
  --max-channels N      of one connection [64]
  --max-connections N   the most subscribers [10000]
  --max-per-address N   the most from one address, or from one /64 of IPv6 [100]; behind a balancer
                        as many as in all

  --help                this text
";

/// The prefix of each channel's name at the broker. Because of it, clients can reach nothing else
/// at the broker: neither another application's channels, nor `__keyspace@0__:*` or `$JS.API.>`. At
/// NATS the prefix is also the stream's name.
#[derive(Clone)]
pub struct Prefix(pub Arc<str>);

impl Prefix {
    /// The name of a channel at Redis.
    pub fn of(&self, channel: &str) -> String {
        format!("{}:{channel}", self.0)
    }

    /// The channel of a name at Redis.
    pub fn strip<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&*self.0)?.strip_prefix(':')
    }

    /// The subject of a channel at NATS: one token, so dots and wildcards in its name have no
    /// meaning.
    pub fn subject(&self, channel: &str) -> String {
        let mut subject = format!("{}.", self.0);
        for byte in channel.bytes() {
            match byte {
                b'.' | b'*' | b'>' | b'%' => _ = write!(subject, "%{byte:02X}"),
                _ => subject.push(char::from(byte)),
            }
        }
        subject
    }
}

/// How the broker authenticates us, and how we authenticate the broker.
#[derive(Clone)]
pub struct Access {
    pub user: Option<String>,
    /// The user's password. Without a user, the token of NATS.
    pub password: Option<String>,
    pub tls: bool,
    /// A PEM file with the only certificates to trust. `None`: trust the system's certificates.
    pub ca: Option<String>,
}

/// Which broker.
pub enum Broker {
    Redis(Redis),
    JetStream(JetStream),
}

impl Broker {
    fn new(url: &str, prefix: Prefix, access: Access) -> Result<Self, Failure> {
        match url.split_once("://") {
            Some(("redis", _)) => Ok(Self::Redis(Redis::new(url, prefix, access)?)),
            Some(("jetstream", rest)) => {
                let url = format!("nats://{rest}");
                Ok(Self::JetStream(JetStream { url, access, prefix }))
            }
            _ => Err(format!("--bus {url}: no broker").into()),
        }
    }
}

pub enum Mode {
    Serve(Serve),
    Client(Hub),
}

pub struct Serve {
    pub listen: SocketAddr,
    pub max_behind: usize,
    pub tail: usize,
    pub max_memory: usize,
    pub max_channels: usize,
    pub max_connections: usize,
    pub max_per_address: usize,
}

pub fn read() -> (Broker, Mode) {
    let args = Arguments::read(HELP);
    let size = |name, least, most| args.number(name, least..=most);
    let ca = args.optional("--ca");
    let (user, password) = (args.optional("--user"), env::var("BUS_PASSWORD").ok());
    let access = Access { user, password, tls: ca.is_some() || args.has("--tls"), ca };
    let prefix = args.read_by("--prefix", |word| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let is_word = !word.is_empty() && word.bytes().all(fits);
        if is_word { Ok(Prefix(word.into())) } else { Err("expected letters, digits, - and _") }
    });
    let broker =
        Broker::new(&args.text("--bus"), prefix, access).unwrap_or_else(|error| refuse(error));
    let words = args.all("WORD");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mode = match words[..] {
        [] => Mode::Serve(Serve {
            listen: args.address("--listen"),
            tail: size("--tail", 0, 1 << 40),
            max_memory: size("--max-memory", 1 << 20, 1 << 50),
            max_behind: size("--max-behind", 1024, 1 << 40),
            max_channels: size("--max-channels", 1, 1 << 20),
            max_connections: size("--max-connections", 1, 1 << 24),
            max_per_address: size("--max-per-address", 1, 1 << 24),
        }),
        ["client", urls, ref channels @ ..] => {
            Mode::Client(Hub::new(urls, channels).unwrap_or_else(|error| refuse(error)))
        }
        _ => refuse(format_args!("{:?} is nothing to do", words.join(" "))),
    };
    (broker, mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_one_token_at_nats() {
        let prefix = Prefix("feed".into());
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
