//! A wire tap: [`Tap`] records what passes over a stream, [`Recording`] replays it into the core.
//! For bug reports, and for tests made of what happened once.
//!
//! A recording is text, a line for each read and write: the time in seconds, the direction, the
//! bytes in hexadecimal. **Everything is in it**, cookies, tokens and payloads too: look before you
//! pass it on. Under TLS put the tap around the TLS stream, so that it sees what is inside.
//!
//! ```
//! use tickwire::{Config, tap::Recording};
//!
//! # fn look() -> Result<(), Box<dyn std::error::Error>> {
//! let recording = Recording::parse(&std::fs::read_to_string("session.tap")?)?;
//! let end = recording.replay(&Config::default(), |time, event| println!("{time:?} {event:?}"))?;
//! println!("{:?}", end.closed());
//! # Ok(())
//! # }
//! # let _ = look;
//! ```
use crate::proto::{
    config::Config,
    connection::{Connection, Step},
    entropy::Entropy,
    handshake::{HandshakeError, Headers, Progress, client, input::Input, server},
    message::Event,
    role::Role,
    time::Time,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Buf;
use std::{
    boxed::Box,
    fmt, format,
    io::{self, IoSlice, Read, Write},
    string::String,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
    vec::Vec,
};

/// The first line of a recording.
const TITLE: &str = "tickwire tap 1";
/// What is looked at of a head that was written, so that a recording of somebody else's making
/// cannot make replaying it take for ever.
const MAX_HEAD: usize = 64 << 10;

/// A stream, and a record of what passes over it. For either adapter; when a connection is split,
/// or the stream cloned, both halves write to the one record.
///
/// ```
/// use tickwire::{Config, tap::{Recording, Tap}};
/// # use std::io::{Read, Write};
/// # struct Deaf;
/// # impl Read for Deaf { fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> { Ok(0) } }
/// # impl Write for Deaf {
/// #     fn write(&mut self, from: &[u8]) -> std::io::Result<usize> { Ok(from.len()) }
/// #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
/// # }
/// # impl tickwire::blocking::Stream for Deaf {}
/// # let stream = Deaf;
/// let path = std::env::temp_dir().join(format!("tickwire-doc-{}.tap", std::process::id()));
/// let tap = Tap::new(stream, std::fs::File::create(&path)?);
/// let ended = tickwire::blocking::accept(tap, &Config::default());
/// # assert!(ended.is_err());
/// let recording = Recording::parse(&std::fs::read_to_string(&path)?)?;
/// # std::fs::remove_file(path)?;
/// # let _ = recording;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tap<S> {
    io: S,
    log: Arc<Mutex<Log>>,
}

struct Log {
    to: Box<dyn Write + Send>,
    began: Instant,
    failed: Option<io::Error>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Log {
    fn line(&mut self, direction: char, bytes: Option<&[u8]>) {
        if self.failed.is_some() {
            return;
        }
        let mut line = format!("{:.6} {direction} ", self.began.elapsed().as_secs_f64());
        match bytes {
            Some(bytes) => push_hex(&mut line, bytes),
            None => line.push_str("end"),
        }
        line.push('\n');
        self.failed = self.to.write_all(line.as_bytes()).err();
    }
}

impl<S> Tap<S> {
    /// Records from now on into `to`: a file, or whatever takes bytes without keeping a runtime
    /// waiting. Each read and each write becomes one call of its `write`.
    ///
    /// Where `to` fails, recording ends and the stream goes on; [`failed`](Self::failed) tells.
    pub fn new(io: S, to: impl Write + Send + 'static) -> Self {
        let mut log = Log { to: Box::new(to), began: Instant::now(), failed: None };
        log.failed = log.to.write_all(format!("{TITLE}\n").as_bytes()).err();
        Self { io, log: Arc::new(Mutex::new(log)) }
    }

    /// The stream.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// The stream; what passes over it directly is not recorded.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.io
    }

    /// The stream, no longer recorded.
    pub fn into_inner(self) -> S {
        self.io
    }

    /// Whether the record is incomplete, since what it was written to failed.
    pub fn failed(&self) -> bool {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).failed.is_some()
    }

    fn log(&self, direction: char, bytes: Option<&[u8]>) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).line(direction, bytes);
    }

    fn log_read(&self, bytes: &[u8]) {
        self.log('<', Some(bytes).filter(|bytes| !bytes.is_empty()));
    }

    /// The first `n` bytes of these slices were written, in one write. A stream that took none is
    /// none of a recording.
    fn log_written(&self, bufs: &[IoSlice<'_>], n: usize) {
        if n == 0 {
            return;
        }
        let mut written = Vec::with_capacity(n);
        for buf in bufs {
            let rest = n - written.len();
            written.extend_from_slice(buf.get(..rest).unwrap_or(buf));
        }
        self.log('>', Some(&written));
    }
}

impl<S: Read> Read for Tap<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.io.read(buf)?;
        if !buf.is_empty() {
            self.log_read(buf.get(..n).unwrap_or_default());
        }
        Ok(n)
    }
}

impl<S: Write> Write for Tap<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.io.write(buf)?;
        self.log_written(&[IoSlice::new(buf)], n);
        Ok(n)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let n = self.io.write_vectored(bufs)?;
        self.log_written(bufs, n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.io.flush()
    }
}

impl<S: crate::blocking::Stream> crate::blocking::Stream for Tap<S> {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.io.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.io.set_write_timeout(timeout)
    }

    fn set_nodelay(&self, yes: bool) -> io::Result<()> {
        self.io.set_nodelay(yes)
    }

    fn set_nonblocking(&self, yes: bool) -> io::Result<()> {
        self.io.set_nonblocking(yes)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown()?;
        self.log('>', None);
        Ok(())
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { io: self.io.try_clone()?, log: self.log.clone() })
    }

    fn writes_vectored(&self) -> bool {
        self.io.writes_vectored()
    }
}

#[cfg(feature = "tokio")]
mod on_tokio {
    use super::Tap;
    use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    use std::{
        io::{self, IoSlice},
        pin::Pin,
        task::{Context, Poll, ready},
    };

    impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let (before, asked) = (buf.filled().len(), buf.remaining() > 0);
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            if asked {
                self.log_read(buf.filled().get(before..).unwrap_or_default());
            }
            Poll::Ready(Ok(()))
        }
    }

    impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
            self.log_written(&[IoSlice::new(buf)], n);
            Poll::Ready(Ok(n))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let n = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
            self.log_written(bufs, n);
            Poll::Ready(Ok(n))
        }

        fn is_write_vectored(&self) -> bool {
            self.io.is_write_vectored()
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.io).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.log('>', None);
            Poll::Ready(Ok(()))
        }
    }
}

/// What passed over a stream, in order.
///
/// Replayed, it gives the events that the connection gave then: in the same cuts, at the same
/// times. What the application sent is not sent again, and what the core answers goes nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    passed: Vec<Passed>,
}

/// One line of a [`Recording`].
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passed {
    /// When, since the tap was set.
    pub at: Time,
    /// Whether it was read from the stream; else it was written to it.
    pub received: bool,
    /// What; empty for the end of the stream.
    pub bytes: Vec<u8>,
}

/// Shows how many bytes, not which.
impl fmt::Debug for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.received { "<" } else { ">" };
        write!(f, "{:?} {direction} {} bytes", self.at.since_epoch(), self.bytes.len())
    }
}

/// Not a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("line {line} is not a line of a recording")]
pub struct BadRecording {
    /// Which line, from 1.
    pub line: usize,
}

impl Recording {
    /// Reads what a [`Tap`] has written. A last line that was cut short is left out.
    ///
    /// # Errors
    ///
    /// [`BadRecording`] for the first line that is none.
    pub fn parse(text: &str) -> Result<Self, BadRecording> {
        let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
        let mut lines = whole.lines().enumerate();
        if lines.next().is_none_or(|(_, title)| title != TITLE) {
            return Err(BadRecording { line: 1 });
        }
        let parsed = lines.map(|(i, line)| Passed::parse(line).ok_or(BadRecording { line: i + 1 }));
        Ok(Self { passed: parsed.collect::<Result<_, _>>()? })
    }

    /// All that passed.
    pub fn passed(&self) -> &[Passed] {
        &self.passed
    }

    /// Which end was recorded, if the recording begins with the opening handshake.
    pub fn role(&self) -> Option<Role> {
        let first = self.passed.first()?;
        match first.bytes.starts_with(b"GET ".get(..first.bytes.len().min(4))?) {
            true if first.bytes.is_empty() => None,
            true if first.received => Some(Role::Server),
            true => Some(Role::Client),
            false => None,
        }
    }

    /// Replays all of it, the opening handshake first, and shows each event. Returns the
    /// connection as it was in the end, to be asked for its [error](Connection::error) and its
    /// [close code](Connection::close_code).
    ///
    /// `config` should be that of then: a limit that differs shows, and permessage-deflate is
    /// agreed on only where it says so.
    ///
    /// # Errors
    ///
    /// What the handshake fails with; [`HandshakeError::Incomplete`] where there is no whole one.
    /// For a tap that was set behind it see [`replay_into`](Self::replay_into).
    pub fn replay(
        &self,
        config: &Config,
        see: impl FnMut(Time, Event<'_>),
    ) -> Result<Connection, HandshakeError> {
        let (mut connection, rest) = match self.role() {
            Some(Role::Server) => self.replay_server(config)?,
            Some(Role::Client) => self.replay_client(config)?,
            None => return Err(HandshakeError::Incomplete),
        };
        replay(&mut connection, rest, see);
        Ok(connection)
    }

    /// Replays all of it into a connection whose handshake is done, and shows each event.
    pub fn replay_into(&self, connection: &mut Connection, see: impl FnMut(Time, Event<'_>)) {
        replay(connection, &self.passed, see);
    }

    fn replay_server(&self, config: &Config) -> Result<(Connection, &[Passed]), HandshakeError> {
        let mut handshake = server::Handshake::new(config);
        for (i, passed) in self.passed.iter().enumerate().filter(|(_, passed)| passed.received) {
            match passed.bytes.is_empty() {
                true => handshake.end_of_stream(),
                false => handshake.put(&passed.bytes),
            }
            if let Progress::Complete = handshake.step()? {
                let answer = self.head();
                let chosen: Vec<&str> = named(&answer, PROTOCOL).collect();
                let connection = handshake.accept(server::Accept::new().subprotocols(chosen))?;
                return Ok((connection, self.passed.get(i + 1..).unwrap_or_default()));
            }
        }
        Err(HandshakeError::Incomplete)
    }

    fn replay_client(&self, config: &Config) -> Result<(Connection, &[Passed]), HandshakeError> {
        let head = self.head();
        let request = asked(&head).ok_or(HandshakeError::Incomplete)?;
        let nonce = Nonce(named(&head, KEY).next().and_then(|key| STANDARD.decode(key).ok()));
        let mut handshake = client::Handshake::new(&request, config, nonce);
        let all = handshake.outgoing().len();
        handshake.advance(all);
        for (i, passed) in self.passed.iter().enumerate().filter(|(_, passed)| passed.received) {
            match passed.bytes.is_empty() {
                true => handshake.end_of_stream(),
                false => handshake.put(&passed.bytes),
            }
            if let Progress::Complete = handshake.step()? {
                let connection = handshake.into_connection()?;
                return Ok((connection, self.passed.get(i + 1..).unwrap_or_default()));
            }
        }
        Err(HandshakeError::Incomplete)
    }

    /// The head that was written first, as far as it is there and no longer than a head is.
    fn head(&self) -> Vec<u8> {
        let mut head = Vec::new();
        for passed in self.passed.iter().filter(|passed| !passed.received) {
            let from = head.len().saturating_sub(3);
            let room = MAX_HEAD.saturating_sub(head.len()).min(passed.bytes.len());
            head.extend_from_slice(passed.bytes.get(..room).unwrap_or_default());
            let new = head.get(from..).unwrap_or_default();
            if let Some(end) = new.windows(4).position(|four| four == b"\r\n\r\n") {
                head.truncate(from + end + 4);
                break;
            }
            if head.len() == MAX_HEAD {
                break;
            }
        }
        head
    }
}

const KEY: &str = "Sec-WebSocket-Key";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";

/// The request whose head this is.
fn asked(head: &[u8]) -> Option<client::Request> {
    let line = core::str::from_utf8(head.split(|&b| b == b'\r').next()?).ok()?;
    let target = line.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
    let host = named(head, "Host").next()?;
    let request = client::Request::new(&format!("ws://{host}{target}")).ok()?;
    let offered = named(head, PROTOCOL).flat_map(|names| names.split(',').map(str::trim));
    let offered: Vec<&str> = offered.collect();
    request.subprotocols(offered).ok()
}

/// The values of a header that are text.
fn named<'h>(head: &'h [u8], name: &'static str) -> impl Iterator<Item = &'h str> {
    let values = Headers::of(head).filter(move |(known, _)| known.eq_ignore_ascii_case(name));
    values.filter_map(|(_, value)| core::str::from_utf8(value).ok())
}

/// The nonce of then, for the handshake; the masking keys behind it are used for nothing.
struct Nonce(Option<Vec<u8>>);

impl Entropy for Nonce {
    fn fill(&mut self, dest: &mut [u8]) {
        dest.fill(0);
        if let Some(nonce) = self.0.take().filter(|nonce| nonce.len() == dest.len()) {
            dest.copy_from_slice(&nonce);
        }
    }
}

fn replay(connection: &mut Connection, passed: &[Passed], mut see: impl FnMut(Time, Event<'_>)) {
    let mut now = Time::ZERO;
    step(connection, now, &mut see); // what came behind the head
    for passed in passed {
        now = passed.at;
        if connection.poll_timeout().is_some_and(|at| at <= now) {
            let _ = connection.handle_timeout(now); // kept, and shown by `step`
        }
        match passed.bytes.is_empty() {
            _ if !passed.received => {}
            true => connection.receiver_mut().end_of_stream(),
            false => {
                connection.put(&passed.bytes);
                connection.receiver_mut().commit_at(0, now); // when all of it was there
            }
        }
        step(connection, now, &mut see);
    }
}

/// Shows what is at hand, and lets the answers go nowhere.
fn step(connection: &mut Connection, now: Time, see: &mut impl FnMut(Time, Event<'_>)) {
    loop {
        match connection.step() {
            Ok(Step::NeedInput | Step::Closed) | Err(_) => break,
            Ok(_) => {
                if let Some(event) = connection.receiver().event() {
                    see(now, event);
                }
            }
        }
    }
    let mut outgoing = connection.sender_mut().outgoing();
    let all = outgoing.remaining();
    outgoing.advance(all);
}

impl Passed {
    fn parse(line: &str) -> Option<Self> {
        let (at, rest) = line.split_once(' ')?;
        let (seconds, micros) = at.split_once('.')?;
        if micros.len() != 6 || !at.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return None;
        }
        let at = Duration::new(seconds.parse().ok()?, micros.parse::<u32>().ok()? * 1_000);
        let (direction, hex) = rest.split_once(' ')?;
        let received = match direction {
            "<" => true,
            ">" => false,
            _ => return None,
        };
        let bytes = match hex {
            "end" => Vec::new(),
            hex => from_hex(hex).filter(|bytes| !bytes.is_empty())?,
        };
        Some(Self { at: Time::new(at), received, bytes })
    }
}

fn push_hex(line: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    line.reserve(2 * bytes.len());
    for byte in bytes {
        line.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
    let digit = |b: u8| char::from(b).to_digit(16);
    pairs.iter().map(|&[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8)).collect()
}
