//! A WebSocket client for the terminal and for scripts. It sends lines and prints messages.
//!
//! ```text
//! cargo run --release --all-features --example client -- ws://127.0.0.1:9001
//! printf 'hi\n/binary c0ffee\n' | target/release/examples/client ws://127.0.0.1:9001
//! ```
//!
//! Sending and receiving wait for different things, so each has half of the connection. When there
//! are no more lines, the client sends a Close, and ends once the peer has closed too. It prints
//! everything that arrives before. `--help` describes the rest.
//!
//! The command line is in `options.rs`, the lines in `input.rs`.
mod input;
mod options;

use input::{Command, Input};
use options::Options;
use std::{
    cell::Cell,
    convert::Infallible,
    error, fmt,
    fs::{File, OpenOptions},
    future::pending,
    io::{self, Write},
    process::ExitCode,
    thread,
    time::Instant,
};
use tickwire::{
    CloseFrame, Closed, Dial, Error, Event, Message,
    tls::BadCertificate,
    tokio::{Reader, TlsStream, WebSocket, Writer, client},
};
use tickwire_tap::Tap;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    select,
    sync::mpsc,
};

type Result<T> = std::result::Result<T, Box<dyn error::Error>>;
type Commands = mpsc::Sender<Command>;
type Todo = mpsc::Receiver<Command>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::read();
    match talk(&options).await {
        Ok(0) if input::had_bad_lines() => ExitCode::FAILURE,
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            if kind != Some(io::ErrorKind::BrokenPipe) {
                complain(format_args!("{error}")); // else nobody reads, as with `| head -1`
            }
            let refused = matches!(error.downcast_ref(), Some(Error::Refused(_)));
            ExitCode::from(if refused { 3 } else { 1 })
        }
    }
}

/// One line on standard error.
fn complain(line: fmt::Arguments<'_>) {
    arguments::log(format_args!("error: {line}"));
}

async fn talk(options: &Options) -> Result<u8> {
    let fail = |error| -> Box<dyn error::Error> {
        match error {
            Error::Refused(_) => Box::new(error), // its text says "server"
            _ => {
                let (name, mut text) = (options.request.target().host_header(), error.to_string());
                if let Error::Tls(tls) = error
                    && tls.certificate() == Some(BadCertificate::NotTrusted)
                {
                    text += "; here, by --ca FILE";
                }
                // An error of dialing has the address, which may be all that the URL has.
                if text.contains(name) { text } else { format!("{name}: {text}") }.into()
            }
        }
    };
    let Some(file) = &options.record else {
        let dial = Dial::new(&options.request).proxy(options.proxy.clone());
        let dial = options.tls.iter().fold(dial, |dial, tls| dial.tls(tls.clone()));
        return converse(dial.connect(&options.config).await.map_err(fail)?, options).await;
    };
    // These are the steps of `connect`, one by one, because the tap has to be inside TLS.
    let (record, target) = (Recorder::create(file)?, options.request.target());
    let tcp = TcpStream::connect((target.host(), target.port())).await;
    let tcp = tcp.map_err(|error| fail(error.into()))?;
    tcp.set_nodelay(true)?;
    if !target.secure() {
        let ws = client(Tap::new(tcp, record), &options.request, &options.config).await;
        return converse(ws.map_err(fail)?, options).await;
    }
    let tls = options.tls.clone().map_or_else(tickwire::tls::platform_config, Ok);
    let tls = tls.and_then(|tls| TlsStream::client(tcp, target, tls));
    let secure = Tap::new(tls.map_err(|error| fail(error.into()))?, record);
    let ws = client(secure, &options.request, &options.config).await;
    converse(ws.map_err(fail)?, options).await
}

/// A connection in conversation, as both halves see it.
struct Session {
    began: Instant,
    /// How many messages may still come before the client closes.
    left: Cell<Option<u64>>,
    /// The code of our own Close, or 0 before our Close.
    said: Cell<u16>,
}

async fn converse<S>(ws: WebSocket<S>, options: &Options) -> Result<u8>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some(name) = ws.connection().negotiated().subprotocol.as_deref() {
        print(format_args!("subprotocol: {name}"))?;
    }
    let (began, left) = (Instant::now(), Cell::new(options.take));
    let session = Session { began, left, said: Cell::new(0) };
    let (commands, todo) = mpsc::channel(16);
    read_input(options.input.clone(), commands.clone())?;
    let (mut reader, writer) = ws.into_split();
    let received = select! {
        received = receive(&mut reader, &session, &commands) => received,
        never = send(writer, todo, &session) => match never {},
    };
    ended(received, reader.closed(), &session)
}

/// Reads the input on a thread of its own, because reading standard input blocks and cannot be
/// cancelled. The thread reads a few lines ahead, and ends with the program.
fn read_input(input: Input, commands: Commands) -> io::Result<()> {
    thread::Builder::new()
        .spawn(move || input.each(|command| commands.blocking_send(command).is_ok()))?;
    Ok(())
}

/// Prints what arrives, until the connection has ended.
async fn receive<R, W>(
    reader: &mut Reader<R, W>,
    session: &Session,
    commands: &Commands,
) -> Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    while let Some(event) = reader.recv_event().await? {
        match event {
            Event::Message(_) if session.left.get() == Some(0) => {} // sent before our Close came
            Event::Message(message) => {
                session.left.set(session.left.get().map(|left| left - 1));
                match message {
                    Message::Text(text) => print(format_args!("{}", Shown(text)))?,
                    Message::Binary(bytes) => print(format_args!("binary: {}", hex(bytes)))?,
                }
                if session.left.get() == Some(0) {
                    let _ = commands.try_send(Command::quit()); // `send` looks too
                }
            }
            // A Pong to another Ping, or without a Ping, does not have this length.
            Event::Pong(payload) => {
                if let Ok(left) = payload.try_into().map(u128::from_be_bytes)
                    && let Some(took) = session.began.elapsed().as_nanos().checked_sub(left)
                {
                    print(format_args!("pong {:.1} ms", took as f64 / 1e6))?;
                }
            }
            Event::Ping(_) | Event::Close(_) => {} // answered already; see `ended`
        }
    }
    Ok(())
}

/// Sends what the input asks for. Never returns: the receiving side reports how the connection
/// ended, because a connection that accepts nothing more soon ends.
async fn send<W>(mut writer: Writer<W>, mut todo: Todo, session: &Session) -> Infallible
where
    W: AsyncWrite + Unpin,
{
    while let Some(command) = todo.recv().await {
        let enough = session.left.get() == Some(0);
        let sent = match if enough { Command::quit() } else { command } {
            Command::Text(text) => writer.send(&text).await,
            Command::Binary(bytes) => writer.send(&bytes).await,
            Command::Ping => {
                let now = session.began.elapsed().as_nanos().to_be_bytes();
                match writer.with_sender(|tx| tx.ping(&now)) {
                    Ok(()) => writer.flush().await,
                    Err(error) => Err(error.into()),
                }
            }
            Command::Close(frame) => {
                session.said.set(frame.as_ref().map_or(1005, |frame| frame.code.get()));
                let _ = writer.close(frame.as_ref().map(CloseFrame::from)).await;
                break;
            }
        };
        if sent.is_err() {
            break;
        }
    }
    pending().await
}

/// The exit status, after an end that may be clean or an error.
fn ended(received: Result<()>, closed: Option<Closed<'_>>, session: &Session) -> Result<u8> {
    received?;
    let Some(Closed { code, reason, .. }) = closed.filter(|end| end.clean) else {
        return Err("the connection failed before the peer's Close was answered".into());
    };
    let blank = if reason.is_empty() { "" } else { " " };
    print(format_args!("closed: {code}{blank}{} (clean)", Shown(reason)))?;
    // The answer to a Close has its code.
    let fine = matches!(code, 1000 | 1001 | 1005) || code == session.said.get();
    Ok(match (fine, session.left.get()) {
        (true, None | Some(0)) => 0,
        (true, Some(_)) => 5,
        (false, _) => 4,
    })
}

/// One line on standard output.
fn print(line: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text from a peer, with escapes for characters that move the cursor, start a line or reorder.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => hidden(c, f),
            '\u{2066}'..='\u{2069}' => hidden(c, f),
            _ if c.is_control() => hidden(c, f),
            _ => fmt::Write::write_char(f, c),
        })
    }
}

fn hidden(c: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}", c.escape_default())
}

/// The file of a recording, which only its owner may read. If writing fails, it reports this once,
/// because the tap only remembers the failure.
struct Recorder {
    file: File,
    name: String,
}

impl Recorder {
    fn create(name: &str) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(name).map_err(|error| format!("--record {name:?}: {error}"))?;
        Ok(Self { file, name: name.to_owned() })
    }
}

impl Write for Recorder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).inspect_err(|error| {
            complain(format_args!("--record {:?}: {error}; nothing more is recorded", self.name));
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
