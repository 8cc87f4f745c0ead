//! A WebSocket client for the terminal and for scripts: lines go out, what arrives is printed.
//!
//! ```text
//! cargo run --release --example client -- ws://127.0.0.1:9001
//! printf 'hi\n/binary c0ffee\n' | cargo run --release --example client -- ws://127.0.0.1:9001
//! ```
//!
//! Sending and receiving wait for different things, so each has a task or a thread and half of the
//! connection. When there are no more lines the client closes, and ends once the peer has closed
//! too: everything that was answered before that is printed. `--help` says the rest.
//!
//! Here are the options, the lines and the printing; the connection itself is in `on_tokio.rs`, and
//! once more in `on_threads.rs`, without tokio.
mod on_threads;
#[cfg(feature = "tokio")]
mod on_tokio;
mod tls;

use lexopt::{Arg, Parser, ValueExt};
use std::{
    error,
    fmt::{self, Write as _},
    io::{self, BufRead, Write},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use tickwire::{CloseCode, CloseFrame, Config, Error, Event, Message, handshake::client::Request};

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
  --help                this text

A line goes out as a text message, but for those that begin with a slash:

  //TEXT                the text /TEXT, with one slash less
  /binary HEX           a binary message
  /ping                 a Ping; its Pong is printed with the time it took
  /close CODE REASON    a Close, with a code of 1000 to 4999 and a reason, or neither
  /quit                 a Close 1000, as does the end of the input

Any other line that begins with a slash is an error, and is not sent.

Text is printed with its control characters escaped, so that a message is a line, binary messages
in hex behind `binary: `, the peer's Close behind `closed: `.

The exit status is 0 after a clean close, 1 after any error, 2 if the command line is wrong.
";

type Result<T> = std::result::Result<T, Box<dyn error::Error>>;

struct Options {
    request: Request,
    adapter: Adapter,
    config: Config,
    /// `None`: as the system has it.
    tls: Option<tls::Tls>,
}

#[derive(Clone, Copy)]
enum Adapter {
    Tokio,
    Blocking,
}

fn main() -> ExitCode {
    let options = match Options::from_args() {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("{error}; see --help"));
            return ExitCode::from(2);
        }
    };
    if let Err(error) = talk(&options) {
        complain(format_args!("{error}"));
        return ExitCode::FAILURE;
    }
    match BAD_LINES.load(Ordering::Relaxed) {
        false => ExitCode::SUCCESS,
        true => ExitCode::FAILURE,
    }
}

fn talk(options: &Options) -> Result<()> {
    match options.adapter {
        #[cfg(feature = "tokio")]
        Adapter::Tokio => on_tokio::talk(options),
        #[cfg(not(feature = "tokio"))]
        Adapter::Tokio => Err("the tokio adapter is not built in: add --features tokio".into()),
        Adapter::Blocking => on_threads::talk(options),
    }
}

#[cfg(feature = "deflate")]
fn compressing(config: Config) -> std::result::Result<Config, &'static str> {
    Ok(config.deflate(tickwire::deflate::Deflate::new()))
}

#[cfg(not(feature = "deflate"))]
fn compressing(_: Config) -> std::result::Result<Config, &'static str> {
    Err("--deflate: permessage-deflate is not built in: add --features deflate")
}

impl Options {
    /// `None` when help was asked for, and given.
    fn from_args() -> Result<Option<Self>> {
        let (mut url, mut adapter) = (None, Adapter::Tokio);
        let (mut headers, mut subprotocols) = (Vec::new(), Vec::new());
        let (mut ca, mut insecure) = (None, false);
        let mut deflate = false;
        let mut args = Parser::from_env();
        while let Some(arg) = args.next()? {
            match arg {
                Arg::Long("header") => headers.push(args.value()?.string()?),
                Arg::Long("subprotocol") => subprotocols.push(args.value()?.string()?),
                Arg::Long("adapter") => adapter = Adapter::named(&args.value()?.string()?)?,
                Arg::Long("ca") => ca = Some(args.value()?.string()?),
                Arg::Long("insecure") => insecure = true,
                Arg::Long("deflate") => deflate = true,
                Arg::Long("help") | Arg::Short('h') => {
                    let _ = io::stdout().write_all(HELP.as_bytes());
                    return Ok(None);
                }
                Arg::Value(value) if url.is_none() => url = Some(value.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        let url = url.ok_or("no URL to connect to")?;
        let mut request = Request::new(&url)?;
        for header in &headers {
            let (name, value) = header.split_once(':').ok_or("--header: not of the form 'K: V'")?;
            // The value may be a secret, which errors should not spread.
            let named = |error| format!("--header {name:?}: {error}");
            request = request.header(name, value.trim()).map_err(named)?;
        }
        request = request
            .subprotocols(&subprotocols)
            .map_err(|error| format!("--subprotocol: {error}"))?;
        let config = Config::default().max_message(64 << 20);
        let config = if deflate { compressing(config)? } else { config };
        let secure = request.target().secure();
        let tls = match (ca, insecure) {
            (None, false) => None,
            (Some(_), true) => return Err("--insecure: trusts anybody, so --ca is in vain".into()),
            (Some(_), _) if !secure => return Err("--ca: the URL is not of wss".into()),
            (_, true) if !secure => return Err("--insecure: the URL is not of wss".into()),
            (Some(file), false) => Some(tls::trust(&file)?),
            (None, true) => Some(tls::trust_anybody()?),
        };
        if insecure {
            warn(format_args!(
                "--insecure: whoever answers is taken for the server, and may read and change all \
                 that passes"
            ));
        }
        Ok(Some(Self { request, adapter, config, tls }))
    }

    /// Says where it was that something went wrong before there was a connection.
    fn not_connected(&self, error: &Error) -> String {
        let target = self.request.target();
        match error {
            Error::Refused(_) => error.to_string(), // says who speaks
            Error::NoTls => "wss:// needs TLS: add --features rustls".to_string(),
            _ => format!("{}: {error}", target.host_header()),
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

/// What a line of the input asks for.
#[derive(Debug)]
enum Command {
    Text(String),
    Binary(Vec<u8>),
    Ping,
    Close(Option<(CloseCode, String)>),
}

/// Whether a line of the input could not be understood, for the exit status.
static BAD_LINES: AtomicBool = AtomicBool::new(false);

/// The commands of the input, as its lines come; blocks meanwhile. The last is a Close.
///
/// A line that is wrong gets an error and is skipped: in front of a terminal somebody will want to
/// try again.
fn commands() -> impl Iterator<Item = Command> {
    let mut lines = io::stdin().lock().lines();
    let mut ended = false;
    std::iter::from_fn(move || {
        while !ended {
            let command = match lines.next() {
                None => Ok(Command::quit()),
                Some(Ok(line)) => Command::parse(line),
                Some(Err(error)) => {
                    // Beyond a line that is not UTF-8 there may be others.
                    ended = error.kind() != io::ErrorKind::InvalidData;
                    Err(format!("standard input: {error}"))
                }
            };
            match command {
                Ok(command) => {
                    ended = matches!(command, Command::Close(_));
                    return Some(command);
                }
                Err(error) => {
                    BAD_LINES.store(true, Ordering::Relaxed);
                    complain(format_args!("{error}"));
                    if ended {
                        return Some(Command::quit());
                    }
                }
            }
        }
        None
    })
}

impl Command {
    fn quit() -> Self {
        Self::Close(Some((CloseCode::NORMAL, String::new())))
    }

    fn parse(line: String) -> std::result::Result<Self, String> {
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "/binary" => from_hex(rest).map(Self::Binary),
            "/ping" => Ok(Self::Ping),
            "/quit" => Ok(Self::quit()),
            "/close" if rest.is_empty() => Ok(Self::Close(None)),
            "/close" => {
                let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                let number = code.parse().ok();
                let code = number
                    .and_then(CloseCode::new)
                    .ok_or_else(|| format!("/close: {code:?} is no code that may be sent"))?;
                if reason.len() > 123 {
                    return Err("/close: the reason is longer than 123 bytes".to_string());
                }
                Ok(Self::Close(Some((code, reason.to_string()))))
            }
            _ => match line.strip_prefix('/') {
                None => Ok(Self::Text(line)),
                Some(text) if text.starts_with('/') => Ok(Self::Text(text.to_string())),
                Some(_) => {
                    let word: String = word.chars().take(20).collect();
                    Err(format!("{word:?} is no command; for a text that begins with /, write //"))
                }
            },
        }
    }
}

/// The body of a Close.
fn close_frame(close: &Option<(CloseCode, String)>) -> Option<CloseFrame<'_>> {
    close.as_ref().map(|(code, reason)| CloseFrame::with_reason(*code, reason))
}

/// Digits in pairs, with blanks between them or not.
fn from_hex(text: &str) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut high = None;
    for digit in text.chars().filter(|c| !c.is_whitespace()) {
        let value = digit.to_digit(16).and_then(|value| u8::try_from(value).ok());
        let value = value.ok_or_else(|| format!("/binary: {digit:?} is no hexadecimal digit"))?;
        match high.take() {
            None => high = Some(value),
            Some(high) => bytes.push(high << 4 | value),
        }
    }
    match high {
        None => Ok(bytes),
        Some(_) => Err("/binary: an odd number of digits".to_string()),
    }
}

/// Prints what arrives, and knows how long a Pong took: its Ping said when it left.
#[derive(Clone, Copy)]
struct Printer {
    began: Instant,
}

impl Printer {
    fn new() -> Self {
        Self { began: Instant::now() }
    }

    /// The payload of a Ping that leaves now.
    fn stamp(&self) -> [u8; 8] {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX).to_be_bytes()
    }

    /// How long ago a Ping with this payload left; `None` if it cannot have been ours.
    fn since(&self, payload: &[u8]) -> Option<Duration> {
        let left = Duration::from_nanos(u64::from_be_bytes(payload.try_into().ok()?));
        self.began.elapsed().checked_sub(left)
    }

    fn event(&self, event: Event<'_>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match event {
            Event::Message(Message::Text(text)) => writeln!(out, "{}", Shown(text)),
            Event::Message(Message::Binary(bytes)) => writeln!(out, "binary: {}", Hex(bytes)),
            Event::Pong(payload) => match self.since(payload) {
                Some(took) => writeln!(out, "pong {:.1} ms", took.as_secs_f64() * 1e3),
                None => Ok(()), // nobody asked for it
            },
            Event::Ping(_) => Ok(()),  // answered already
            Event::Close(_) => Ok(()), // see `close`
        }
    }

    /// What the server chose of the subprotocols that it was offered.
    fn subprotocol(&self, name: &str) -> io::Result<()> {
        writeln!(io::stdout(), "subprotocol: {name}")
    }

    /// How the connection ended. `code` is 1005 for a Close with an empty body.
    fn close(&self, code: u16, frame: Option<CloseFrame<'_>>, clean: bool) -> Result<()> {
        if !clean {
            return Err("the connection failed before the peer's Close was answered".into());
        }
        let mut line = format!("closed: {code}");
        if let Some(frame) = frame.filter(|frame| !frame.reason.is_empty()) {
            write!(line, " {}", Shown(frame.reason))?;
        }
        Ok(writeln!(io::stdout(), "{line} (clean)")?)
    }
}

/// Text from a peer, with everything escaped that could move the cursor, start a line or reorder
/// what stands beside it.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_hostile(c)) {
            let (before, from) = rest.split_at(at);
            write!(f, "{before}{}", c.escape_default())?;
            rest = from.strip_prefix(c).unwrap_or_default();
        }
        f.write_str(rest)
    }
}

fn is_hostile(c: char) -> bool {
    let directs = matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
    c.is_control() || directs || matches!(c, '\u{2066}'..='\u{2069}')
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One line on standard error.
fn complain(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "error: {line}");
}

/// As [`complain`], of what is no error.
fn warn(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "warning: {line}");
}
