//! What the tests of the tokio adapter share: connections without a handshake, and streams that
//! count, stutter and fail.
pub(crate) use super::{
    blocking::{conn, recv_error},
    polled::{Polled, polled},
    wire::{
        BINARY, BINARY_OPEN, CLOSE, CONT, CONT_OPEN, FIN, PING, PONG, TEXT, TEXT_OPEN, WireFrame,
        close_body, fed_in_every_way, feed_in_every_way, frame_to, frames, masked, product,
        role_of, sent, unmasked, whole_frames,
    },
};
use bytes::Buf as _;
use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
pub use testkit::tasks::bounded;
use tickwire::{Config, DataKind, Heartbeat, OwnedMessage, tokio::WebSocket};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    net::{TcpListener, TcpStream},
};

pub fn config() -> Config {
    Config::default()
}

/// With a Ping each 20 s, to be answered within 10 s.
pub fn beating() -> Config {
    let heartbeat = Some(Heartbeat::new(Duration::from_secs(20), Duration::from_secs(10)));
    Config { heartbeat, ..config() }
}

/// Uses up the task's budget, and checks that a receive then waits.
pub async fn recv_waits_without_budget<S: AsyncRead + AsyncWrite + Unpin>(ws: &mut WebSocket<S>) {
    std::future::poll_fn(|cx| {
        while let Poll::Ready(budget) = tokio::task::coop::poll_proceed(cx) {
            budget.made_progress();
        }
        let polled = std::future::Future::poll(std::pin::pin!(ws.recv()), cx);
        assert!(polled.is_pending(), "{polled:?}");
        Poll::Ready(())
    })
    .await;
}

pub fn server<S: AsyncRead + AsyncWrite + Unpin>(io: S, config: &Config) -> WebSocket<S> {
    WebSocket::from_parts(io, conn(true, config))
}

pub fn client<S: AsyncRead + AsyncWrite + Unpin>(io: S, config: &Config) -> WebSocket<S> {
    WebSocket::from_parts(io, conn(false, config))
}

/// Client and server over a pipe that holds `room` bytes each way.
pub fn pair(room: usize, config: &Config) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (near, far) = duplex(room);
    (client(near, config), server(far, config))
}

/// Runs a test, and fails instead of hanging.
pub fn run(test: impl Future<Output = ()>) {
    run_on(false, pin!(test));
}

/// The same under paused time.
pub fn run_paused(test: impl Future<Output = ()>) {
    run_on(true, pin!(test));
}

/// `dyn`, so that a runtime is compiled once, and not for each test.
fn run_on(paused: bool, test: Pin<&mut dyn Future<Output = ()>>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(paused).build().unwrap();
    runtime.block_on(bounded(test));
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

/// The data messages among `frames`.
pub fn messages(frames: &[WireFrame]) -> Vec<OwnedMessage> {
    let mut out = vec![];
    let mut open: Option<(DataKind, Vec<u8>)> = None;
    for frame in frames.iter().filter(|f| f.b0 | FIN < CLOSE) {
        let (kind, mut so_far) = match (frame.b0 | FIN, open.take()) {
            (CONT, Some(open)) => open,
            (TEXT, None) => (DataKind::Text, vec![]),
            (BINARY, None) => (DataKind::Binary, vec![]),
            (b0, open) => panic!("{b0:#x} with a message open: {}", open.is_some()),
        };
        so_far.extend_from_slice(&frame.payload);
        if frame.b0 & FIN != 0 {
            out.push(owned(kind, &so_far));
        } else {
            open = Some((kind, so_far));
        }
    }
    out
}

pub fn owned(kind: DataKind, payload: &[u8]) -> OwnedMessage {
    match kind {
        DataKind::Text => OwnedMessage::from(std::str::from_utf8(payload).unwrap()),
        DataKind::Binary => OwnedMessage::from(payload.to_vec()),
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

polled!(tokio: Counted<S>, S: AsyncRead + AsyncWrite + Unpin);
impl<S: AsyncRead + AsyncWrite + Unpin> Polled for Counted<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let ready = Pin::new(&mut self.io).poll_read(cx, buf);
        let mut calls = self.calls.lock().unwrap();
        if ready.is_ready() {
            calls.reads += 1;
        } else {
            calls.dry += 1;
        }
        ready
    }
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let some = &buf[..buf.len().min(self.most)];
        let written = Pin::new(&mut self.io).poll_write(cx, some);
        self.wrote(1, written)
    }
    fn poll_write_vectored(
        &mut self,
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
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.calls.lock().unwrap().flushes += 1;
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
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
    /// The shutdown stays pending.
    pub never_shut: bool,
    /// It stutters: a read or a write moves at most so many bytes, and every other poll of anything
    /// is pending, and woken at once.
    pub step: Option<usize>,
    stalled: [bool; 4],
    pub wakers: Vec<std::task::Waker>,
}

impl Script {
    fn stalls(&mut self, call: usize, cx: &Context<'_>) -> bool {
        let stalls = self.step.is_some() && !self.stalled[call];
        self.stalled[call] = stalls;
        if stalls {
            cx.waker().wake_by_ref();
        }
        stalls
    }
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
    pub fn frames(&self) -> Vec<WireFrame> {
        whole_frames(&self.0.lock().unwrap().output).0
    }
    /// The same, and the last of them is whole.
    pub fn all_frames(&self) -> Vec<WireFrame> {
        frames(&self.0.lock().unwrap().output)
    }
}

polled!(tokio: Scripted);
impl Polled for Scripted {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut s = self.0.lock().unwrap();
        if s.stalls(0, cx) {
            return Poll::Pending;
        }
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
        let n = s.input.len().min(buf.remaining()).min(s.step.unwrap_or(usize::MAX));
        s.input.copy_to_slice(buf.initialize_unfilled_to(n));
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut s = self.0.lock().unwrap();
        if s.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        assert!(!s.shut, "a write after the shutdown");
        if s.stalls(1, cx) {
            return Poll::Pending;
        }
        let n = buf.len().min(s.room).min(s.step.unwrap_or(usize::MAX));
        if n == 0 {
            s.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        s.room -= n;
        s.output.extend_from_slice(&buf[..n]);
        Poll::Ready(Ok(n))
    }
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        let most = if self.0.lock().unwrap().step.is_some() { 1 } else { bufs.len() };
        for buf in bufs.iter().filter(|buf| !buf.is_empty()).take(most) {
            match self.poll_write(cx, buf) {
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
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.lock().unwrap().stalls(2, cx) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut s = self.0.lock().unwrap();
        s.shut = !s.never_shut && !s.stalls(3, cx);
        if s.shut { Poll::Ready(Ok(())) } else { Poll::Pending }
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
