//! The command line.
use crate::{Result, input::Input};
use arguments::{Arguments, refuse};
use std::fs;
use tickwire::{Config, Proxy, deflate::Deflate, handshake::client::Request, tls};

const HELP: &str = "\
A WebSocket client: lines from standard input go out, what arrives is printed.

Usage: client URL [OPTION]...

  URL                   of the server: ws://HOST:PORT/PATH, or wss
  --header 'K: V'       send this header too; again for more
  --subprotocol NAME    offer this subprotocol; again for more, best first
  --proxy URL           go through this proxy: http, https or socks5; env: as the environment says
  --ca FILE             for wss: trust the authorities in this file (PEM) too
  --deflate             offer permessage-deflate
  --send LINE           send this line instead of those of standard input; again for more
  --take N              close once N messages have arrived, and not at the end of the input
  --record FILE         record what passes, inside of TLS, for the example `replay`: secrets too
  --help, -h            this text

A line goes out as a text message, but for those that begin with a slash:

  //TEXT                the text /TEXT, with one slash less
  /binary HEX           a binary message
  /ping                 a Ping; its Pong is printed with the time it took
  /close CODE REASON    a Close, with a code of 1000 to 4999 and a reason, or neither
  /quit                 a Close 1000, as does the end of the input

Any other line that begins with a slash is an error, and is not sent.

Each message is one line. Text: control characters escaped. Binary: `binary: ` and hex. Close:
`closed: `.

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
    pub(crate) config: Config,
    pub(crate) proxy: Option<Proxy>,
    /// `None`: the default configuration, with the system's roots.
    pub(crate) tls: Option<tls::Client>,
    pub(crate) input: Input,
    /// The number of messages after which the client closes.
    pub(crate) take: Option<u64>,
    pub(crate) record: Option<String>,
}

impl Options {
    pub(crate) fn read() -> Self {
        let args = Arguments::read(HELP);
        Self::new(&args).unwrap_or_else(|error| refuse(error))
    }

    fn new(args: &Arguments) -> Result<Self> {
        let request = request(args)?;
        let ca = args.optional("--ca");
        if ca.is_some() && !request.target().secure() {
            return Err("--ca: the URL is not of wss".into());
        }
        let proxy = match args.optional("--proxy").as_deref() {
            Some(_) if args.has("--record") => return Err("--record: not through a proxy".into()),
            Some("env") => Proxy::from_env(request.target())?,
            url => url.map(Proxy::new).transpose()?,
        };
        let deflate = args.has("--deflate").then(Deflate::default);
        let config = Config { max_message: MAX_MESSAGE, deflate, ..Config::default() };
        let take = args.has("--take").then(|| args.number("--take", 1..=u64::MAX));
        Ok(Self {
            request,
            config,
            proxy,
            tls: ca.map(|file| trust(&file)).transpose()?,
            input: Input { lines: args.all("--send"), stays: take.is_some() },
            take,
            record: args.optional("--record"),
        })
    }
}

fn request(args: &Arguments) -> Result<Request> {
    let mut request = Request::new(&args.text("URL"))?;
    for header in args.all("--header") {
        let (name, value) = header.split_once(':').ok_or("--header: not of the form 'K: V'")?;
        // The error does not show the value, which may be a secret.
        let named = |error| format!("--header {name:?}: {error}");
        request = request.header(name, value.trim()).map_err(named)?;
    }
    let offered = request.subprotocols(&args.all("--subprotocol"));
    Ok(offered.map_err(|error| format!("--subprotocol: {error}"))?)
}

/// Trusts the authorities in a file in addition to the authorities that the system trusts.
fn trust(file: &str) -> Result<tls::Client> {
    let fail = |error: &dyn std::fmt::Display| format!("--ca {file:?}: {error}");
    let pem = fs::read(file).map_err(|error| fail(&error))?;
    Ok(tls::platform_config_and_roots(&pem).map_err(|error| fail(&error))?)
}
