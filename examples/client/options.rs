//! The command line.
use crate::{
    Result,
    input::Input,
    print::{Look, warn},
    tls,
};
use lexopt::{Arg, Parser, ValueExt};
use std::{
    ffi::OsString,
    io::{self, Write},
    str::FromStr,
};
use tickwire::{Config, handshake::client::Request};

const HELP: &str = "\
A WebSocket client: lines from standard input go out, what arrives is printed.

Usage: client URL [OPTION]...

  --header 'K: V'       send this header too; again for more
  --subprotocol NAME    offer this subprotocol; again for more, best first
  --adapter NAME        tokio or blocking [tokio]
  --ca FILE             for wss: trust the authorities in this file (PEM), instead of those that
                        the system trusts
  --insecure            for wss: trust anybody
  --deflate             offer permessage-deflate

  --send LINE           send this line instead of those of standard input; again for more. A - of
                        its own (`client URL --send LINE -`): and then those of standard input
  --count N             each message goes out N times [1]
  --rate R              at most R messages a second go out; fractions will do
  --take N              close once N messages have arrived, and not at the end of the input

  --verbose, -v         say on standard error what was agreed on, and how long resolving,
                        connecting, TLS, the handshake and a round trip took
  --quiet, -q           print no messages
  --view NAME           binary messages in hex: `line`, or `dump` with offsets and ASCII
                        [dump on a terminal, line elsewhere]
  --full                show all of a dump, not only its first 256 bytes
  --color WHEN          auto, always or never [auto: on a terminal, and NO_COLOR is not set]
  --record FILE         record what passes, inside of TLS, for the example `replay`: secrets too
  --help, -h            this text

A line goes out as a text message, but for those that begin with a slash:

  //TEXT                the text /TEXT, with one slash less
  /binary HEX           a binary message
  /ping                 a Ping; its Pong is printed with the time it took
  /close CODE REASON    a Close, with a code of 1000 to 4999 and a reason, or neither
  /quit                 a Close 1000, as does the end of the input

Any other line that begins with a slash is an error, and is not sent.

Text is printed with its control characters escaped, so that a message is a line, binary messages
in hex behind `binary: `, the peer's Close behind `closed: `. With --count or --rate a summary
follows; where the peer echoes, with how long echoes took, from when each message was due.

The exit status is

  0  the connection was closed, by either end
  1  it could not be made, or broke; or a line of the input was wrong
  2  the command line is wrong
  3  the server refused: it answered with another status than 101
  4  the peer closed, with another code than 1000, 1001 and none
  5  the connection was closed before as many messages came as --take wants
";

/// The longest message that is received, in bytes.
const MAX_MESSAGE: usize = 64 << 20;

pub(crate) struct Options {
    pub(crate) request: Request,
    pub(crate) adapter: Adapter,
    pub(crate) config: Config,
    /// `None`: as the system has it.
    pub(crate) tls: Option<tls::Tls>,
    pub(crate) input: Input,
    /// After how many messages to close.
    pub(crate) take: Option<u64>,
    /// Whether a summary is wanted.
    pub(crate) summary: bool,
    pub(crate) verbose: bool,
    pub(crate) look: Look,
    pub(crate) record: Option<OsString>,
}

#[derive(Clone, Copy)]
pub(crate) enum Adapter {
    Tokio,
    Blocking,
}

/// What the command line says, before it is known whether that makes sense together.
#[derive(Default)]
struct Given {
    url: Option<String>,
    headers: Vec<String>,
    subprotocols: Vec<String>,
    adapter: Option<Adapter>,
    ca: Option<String>,
    insecure: bool,
    deflate: bool,
    send: Vec<String>,
    stdin: bool,
    count: Option<u64>,
    rate: Option<f64>,
    take: Option<u64>,
    verbose: bool,
    quiet: bool,
    view: Option<String>,
    full: bool,
    color: Option<String>,
    record: Option<OsString>,
}

impl Options {
    /// `None` when help was asked for, and given.
    pub(crate) fn from_args() -> Result<Option<Self>> {
        match Given::from_args()? {
            Some(given) => given.options().map(Some),
            None => Ok(None),
        }
    }
}

impl Given {
    fn from_args() -> Result<Option<Self>> {
        let mut given = Self::default();
        let mut args = Parser::from_env();
        while let Some(arg) = args.next()? {
            match arg {
                Arg::Long("header") => given.headers.push(args.value()?.string()?),
                Arg::Long("subprotocol") => given.subprotocols.push(args.value()?.string()?),
                Arg::Long("adapter") => {
                    given.adapter = Some(Adapter::named(&args.value()?.string()?)?);
                }
                Arg::Long("ca") => given.ca = Some(args.value()?.string()?),
                Arg::Long("insecure") => given.insecure = true,
                Arg::Long("deflate") => given.deflate = true,
                Arg::Long("send") => given.send.push(args.value()?.string()?),
                Arg::Long("count") => given.count = Some(count("--count", args.value()?)?),
                Arg::Long("rate") => given.rate = Some(rate(args.value()?)?),
                Arg::Long("take") => given.take = Some(count("--take", args.value()?)?),
                Arg::Long("verbose") | Arg::Short('v') => given.verbose = true,
                Arg::Long("quiet") | Arg::Short('q') => given.quiet = true,
                Arg::Long("view") => given.view = Some(args.value()?.string()?),
                Arg::Long("full") => given.full = true,
                Arg::Long("color") => given.color = Some(args.value()?.string()?),
                Arg::Long("record") => given.record = Some(args.value()?),
                Arg::Long("help") | Arg::Short('h') => {
                    let _ = io::stdout().write_all(HELP.as_bytes());
                    return Ok(None);
                }
                Arg::Value(value) if value == "-" => given.stdin = true,
                Arg::Value(value) if given.url.is_none() => given.url = Some(value.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(given))
    }

    fn options(self) -> Result<Options> {
        let request = self.request()?;
        let tls = self.tls(request.target().secure())?;
        let config = Config { max_message: MAX_MESSAGE, ..Config::default() };
        let config = if self.deflate { compressing(config)? } else { config };
        let look = Look::new(self.view.as_deref(), self.color.as_deref(), self.full, self.quiet)?;
        if self.insecure {
            warn(format_args!(
                "--insecure: whoever answers is taken for the server, and may read and change all \
                 that passes"
            ));
        }
        let input = Input {
            stdin: self.stdin || self.send.is_empty(),
            lines: self.send,
            count: self.count.unwrap_or(1),
            rate: self.rate,
            stays: self.take.is_some(),
        };
        Ok(Options {
            request,
            adapter: self.adapter.unwrap_or(Adapter::Tokio),
            config,
            tls,
            input,
            take: self.take,
            summary: self.count.is_some() || self.rate.is_some(),
            verbose: self.verbose,
            look,
            record: self.record,
        })
    }

    fn request(&self) -> Result<Request> {
        let url = self.url.as_deref().ok_or("no URL to connect to")?;
        let mut request = Request::new(url)?;
        for header in &self.headers {
            let (name, value) = header.split_once(':').ok_or("--header: not of the form 'K: V'")?;
            // The value may be a secret, which errors should not spread.
            let named = |error| format!("--header {name:?}: {error}");
            request = request.header(name, value.trim()).map_err(named)?;
        }
        let offered = request.subprotocols(&self.subprotocols);
        Ok(offered.map_err(|error| format!("--subprotocol: {error}"))?)
    }

    fn tls(&self, secure: bool) -> Result<Option<tls::Tls>> {
        match (&self.ca, self.insecure) {
            (None, false) => Ok(None),
            (Some(_), true) => Err("--insecure: trusts anybody, so --ca is in vain".into()),
            (Some(_), _) if !secure => Err("--ca: the URL is not of wss".into()),
            (_, true) if !secure => Err("--insecure: the URL is not of wss".into()),
            (Some(file), false) => tls::trust(file).map(Some),
            (None, true) => tls::trust_anybody().map(Some),
        }
    }
}

impl Adapter {
    fn named(name: &str) -> std::result::Result<Self, String> {
        match name {
            "tokio" => Ok(Self::Tokio),
            "blocking" => Ok(Self::Blocking),
            _ => Err(format!("--adapter {name:?}: expected tokio or blocking")),
        }
    }
}

#[cfg(feature = "deflate")]
fn compressing(config: Config) -> std::result::Result<Config, &'static str> {
    Ok(Config { deflate: Some(tickwire::deflate::Deflate::default()), ..config })
}

#[cfg(not(feature = "deflate"))]
fn compressing(_: Config) -> std::result::Result<Config, &'static str> {
    Err("--deflate: permessage-deflate is not built in: add --features deflate")
}

fn count(option: &str, value: OsString) -> Result<u64> {
    let number = number(&value).filter(|number| *number > 0);
    Ok(number.ok_or_else(|| format!("{option} {value:?}: expected a number from 1"))?)
}

fn rate(value: OsString) -> Result<f64> {
    let number = number(&value).filter(|number| (0.001..=1e7).contains(number));
    Ok(number
        .ok_or_else(|| format!("--rate {value:?}: expected a number from 0.001 to 10000000"))?)
}

fn number<T: FromStr>(value: &OsString) -> Option<T> {
    value.to_str()?.parse().ok()
}
