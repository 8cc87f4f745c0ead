//! What the tests of the tokio adapter share: connections without a handshake, a wire builder and
//! parser, streams that count, stutter and fail.
use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use tickwire::{
    Config, Connection, DataKind, Negotiated, OwnedMessage, SystemEntropy,
    frame::{Header, OpCode},
    tokio::WebSocket,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    net::{TcpListener, TcpStream},
};

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;

pub fn server_conn(config: &Config) -> Connection {
    Connection::server(config, Negotiated::new())
}

pub fn client_conn(config: &Config) -> Connection {
    Connection::client(config, Negotiated::new(), SystemEntropy::new().unwrap())
}

pub fn conn(server: bool, config: &Config) -> Connection {
    if server { server_conn(config) } else { client_conn(config) }
}

pub fn server<S: AsyncRead + AsyncWrite + Unpin>(io: S, config: &Config) -> WebSocket<S> {
    WebSocket::from_parts(io, server_conn(config))
}

pub fn client<S: AsyncRead + AsyncWrite + Unpin>(io: S, config: &Config) -> WebSocket<S> {
    WebSocket::from_parts(io, client_conn(config))
}

/// Client and server over a pipe that holds `room` bytes each way.
pub fn pair(room: usize, config: &Config) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (near, far) = duplex(room);
    (client(near, config), server(far, config))
}

/// Both ends of a TCP connection over loopback.
pub async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (near, (far, _)) = (near.unwrap(), far.unwrap());
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

/// Fails instead of hanging. Under paused time an idle runtime gets here at once, so it is longer
/// than any deadline under test.
pub async fn bounded<F: Future>(future: F) -> F::Output {
    let long = Duration::from_secs(100_000);
    let real = Duration::from_secs(60);
    let paused = {
        let before = tokio::time::Instant::now();
        let std = std::time::Instant::now();
        std::thread::sleep(Duration::from_micros(50));
        before.elapsed().is_zero() && !std.elapsed().is_zero()
    };
    tokio::time::timeout(if paused { long } else { real }, future).await.expect("the test hangs")
}

// The wire.

/// One frame; masked as a client's if `masked`.
pub fn frame(masked: bool, fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut header =
        Header::new(OpCode::from_bits(opcode).expect("an opcode"), payload.len() as u64);
    header.fin = fin;
    header.masking_key = masked.then_some(key);
    let (bytes, n) = header.encode();
    let mut wire = bytes[..n].to_vec();
    wire.extend(payload.iter().enumerate().map(|(i, b)| if masked { b ^ key[i % 4] } else { *b }));
    wire
}

/// The body of a Close.
pub fn close_body(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// A frame as it was found on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    pub opcode: u8,
    pub masked: bool,
    pub payload: Vec<u8>,
}

/// All frames of `wire`, and what is left over.
pub fn frames(mut wire: &[u8]) -> (Vec<Frame>, &[u8]) {
    let mut found = vec![];
    while let Ok(Some((header, n))) = Header::parse(wire) {
        let Some(payload) = wire[n..].get(..header.payload_len as usize) else {
            break;
        };
        let mut payload = payload.to_vec();
        wire = &wire[n + payload.len()..];
        if let Some(key) = header.masking_key {
            for (i, byte) in payload.iter_mut().enumerate() {
                *byte ^= key[i % 4];
            }
        }
        found.push(Frame {
            fin: header.fin,
            opcode: header.opcode as u8,
            masked: header.masking_key.is_some(),
            payload,
        });
    }
    (found, wire)
}

/// All frames of `wire`, which has to end with one.
pub fn whole_frames(wire: &[u8]) -> Vec<Frame> {
    let (found, rest) = frames(wire);
    assert!(rest.is_empty(), "the wire ends inside a frame: {} bytes left", rest.len());
    found
}

/// The data messages among `frames`.
pub fn messages(frames: &[Frame]) -> Vec<OwnedMessage> {
    let mut out = vec![];
    let mut open: Option<(DataKind, Vec<u8>)> = None;
    for frame in frames.iter().filter(|f| f.opcode < CLOSE) {
        let (kind, mut so_far) = match (frame.opcode, open.take()) {
            (CONTINUATION, Some(open)) => open,
            (TEXT, None) => (DataKind::Text, vec![]),
            (BINARY, None) => (DataKind::Binary, vec![]),
            (opcode, open) => panic!("opcode {opcode} with a message open: {}", open.is_some()),
        };
        so_far.extend_from_slice(&frame.payload);
        if frame.fin {
            out.push(owned(kind, &so_far));
        } else {
            open = Some((kind, so_far));
        }
    }
    out
}

pub fn owned(kind: DataKind, payload: &[u8]) -> OwnedMessage {
    match kind {
        DataKind::Text => OwnedMessage::text(std::str::from_utf8(payload).unwrap()),
        DataKind::Binary => OwnedMessage::binary(payload.to_vec()),
    }
}

// Streams.

/// The calls that would be system calls.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    /// Reads that gave something.
    pub reads: usize,
    /// Reads that would have waited.
    pub dry: usize,
    /// The length of each write that took something.
    pub writes: Vec<usize>,
    /// How many slices each of those had.
    pub slices: Vec<usize>,
    /// Writes that would have waited.
    pub full: usize,
    pub flushes: usize,
}

/// Counts calls. With `vectored` off, it is like a stream that knows no vectored writes, and takes
/// `most` bytes at a time.
pub struct Counted<S> {
    pub io: S,
    pub calls: Arc<Mutex<Calls>>,
    pub vectored: bool,
    pub most: usize,
}

impl<S> Counted<S> {
    pub fn new(io: S) -> (Self, Arc<Mutex<Calls>>) {
        let calls = Arc::new(Mutex::new(Calls::default()));
        (Self { io, calls: calls.clone(), vectored: true, most: usize::MAX }, calls)
    }
}

/// What was counted since the last look.
pub fn counted(calls: &Mutex<Calls>) -> Calls {
    std::mem::take(&mut calls.lock().unwrap())
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ready = Pin::new(&mut self.io).poll_read(cx, buf);
        let mut calls = self.calls.lock().unwrap();
        if ready.is_ready() {
            calls.reads += 1;
        } else {
            calls.dry += 1;
        }
        ready
    }
}

impl<S> Counted<S> {
    fn wrote(&self, slices: usize, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let mut calls = self.calls.lock().unwrap();
        match &written {
            Poll::Ready(Ok(n)) => {
                calls.writes.push(*n);
                calls.slices.push(slices);
            }
            _ => calls.full += 1,
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let some = &buf[..buf.len().min(self.most)];
        let written = Pin::new(&mut self.io).poll_write(cx, some);
        self.wrote(1, written)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.vectored {
            // As the default of tokio has it.
            let first = bufs.iter().find(|b| !b.is_empty()).map_or(&[][..], |b| &**b);
            return self.poll_write(cx, first);
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(bufs.len(), written)
    }
    fn is_write_vectored(&self) -> bool {
        self.vectored
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.calls.lock().unwrap().flushes += 1;
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Every other poll of anything is pending (and woken at once); a read or write moves at most
/// `step` bytes. After `input` the stream ends, or is silent.
#[derive(Debug, Default)]
pub struct Stutter {
    pub input: Vec<u8>,
    pub at: usize,
    pub step: usize,
    pub silent_at_end: bool,
    pub output: Vec<u8>,
    pub shut: bool,
    flips: [bool; 4],
}

impl Stutter {
    pub fn new(input: Vec<u8>, step: usize) -> Self {
        Self { input, step, ..Self::default() }
    }
    fn stall(&mut self, which: usize, cx: &Context<'_>) -> bool {
        self.flips[which] = !self.flips[which];
        if self.flips[which] {
            cx.waker().wake_by_ref();
        }
        self.flips[which]
    }
}

impl AsyncRead for Stutter {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stall(0, cx) || (self.silent_at_end && self.at == self.input.len()) {
            return Poll::Pending;
        }
        let n = self.step.min(self.input.len() - self.at).min(buf.remaining());
        buf.put_slice(&self.input[self.at..self.at + n]);
        self.at += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stutter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        assert!(!self.shut, "a write after the shutdown");
        if self.stall(1, cx) {
            return Poll::Pending;
        }
        let n = self.step.min(buf.len());
        self.output.extend_from_slice(&buf[..n]);
        Poll::Ready(Ok(n))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stall(2, cx) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stall(3, cx) {
            return Poll::Pending;
        }
        self.shut = true;
        Poll::Ready(Ok(()))
    }
}

/// A `Stutter` of which the test keeps another handle.
#[derive(Clone, Debug)]
pub struct Remote(Arc<Mutex<Stutter>>);

impl Remote {
    pub fn new(io: Stutter) -> Self {
        Self(Arc::new(Mutex::new(io)))
    }
    pub fn with<T>(&self, f: impl FnOnce(&mut Stutter) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }
}

impl AsyncRead for Remote {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|io| Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Remote {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|io| Pin::new(io).poll_write(cx, buf))
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|io| Pin::new(io).poll_flush(cx))
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|io| Pin::new(io).poll_shutdown(cx))
    }
}

/// What the far end of a `Scripted` stream does, changed by the test as it goes.
#[derive(Debug, Default)]
pub struct Script {
    /// To be read; then as `at_end` says.
    pub input: std::collections::VecDeque<u8>,
    pub at_end: AtEnd,
    pub output: Vec<u8>,
    /// How many bytes may still be written before writing blocks.
    pub room: usize,
    /// Writing fails.
    pub broken: bool,
    pub shut: bool,
    pub wakers: Vec<std::task::Waker>,
}

#[derive(Clone, Copy, Debug, Default)]
pub enum AtEnd {
    #[default]
    Silence,
    Eof,
    Reset,
}

/// A stream of which a test holds the other end in its hand.
#[derive(Clone, Debug, Default)]
pub struct Scripted(pub Arc<Mutex<Script>>);

impl Scripted {
    pub fn new(input: &[u8]) -> Self {
        let this = Self::default();
        this.with(|s| {
            s.input.extend(input);
            s.room = usize::MAX;
        });
        this
    }
    /// Changes something, and wakes whoever waits.
    pub fn with<T>(&self, f: impl FnOnce(&mut Script) -> T) -> T {
        let (out, wakers) = {
            let mut script = self.0.lock().unwrap();
            let out = f(&mut script);
            (out, std::mem::take(&mut script.wakers))
        };
        wakers.into_iter().for_each(std::task::Waker::wake);
        out
    }
    /// The frames written so far.
    pub fn frames(&self) -> Vec<Frame> {
        frames(&self.0.lock().unwrap().output).0
    }
}

impl AsyncRead for Scripted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut s = self.0.lock().unwrap();
        if s.input.is_empty() {
            return match s.at_end {
                AtEnd::Silence => {
                    s.wakers.push(cx.waker().clone());
                    Poll::Pending
                }
                AtEnd::Eof => Poll::Ready(Ok(())),
                AtEnd::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            };
        }
        let n = s.input.len().min(buf.remaining());
        for byte in s.input.drain(..n) {
            buf.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut s = self.0.lock().unwrap();
        if s.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = buf.len().min(s.room);
        if n == 0 {
            s.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        s.room -= n;
        s.output.extend_from_slice(&buf[..n]);
        Poll::Ready(Ok(n))
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
            match self.as_mut().poll_write(cx, buf) {
                Poll::Ready(Ok(n)) => written += n,
                other if written == 0 => return other,
                _ => break,
            }
        }
        Poll::Ready(Ok(written))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().shut = true;
        Poll::Ready(Ok(()))
    }
}

/// A small generator of numbers for shuffling, the same each time.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Polls a fresh future for every poll, until one is ready.
macro_rules! fresh {
    ($call:expr) => {{
        let mut polls = 0;
        loop {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            match std::future::Future::poll(std::pin::pin!($call), &mut cx) {
                std::task::Poll::Ready(ready) => break ready,
                std::task::Poll::Pending => {
                    polls += 1;
                    assert!(polls < 10_000_000, "never ready");
                }
            }
        }
    }};
}

/// One poll of a fresh future.
macro_rules! once {
    ($call:expr) => {{
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        std::future::Future::poll(std::pin::pin!($call), &mut cx)
    }};
}

pub(crate) use {fresh, once};
