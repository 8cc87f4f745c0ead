//! An in-memory stream: reads serve a pre-encoded wire for ever, writes are copied once
//! (what the kernel would do) into a small ring and counted.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::Wire;

/// How reads are delivered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reads {
    /// At most this many bytes a read, across message boundaries; wraps for ever.
    Chunk(usize),
    /// A read never crosses the end of a message; wraps for ever.
    Message,
    /// So many messages, then pending until the next [`burst`]; wraps for ever.
    Burst(usize),
    /// The bytes once, then those of the next [`fill`]; pending while there are none (an open
    /// peer).
    Once,
}

const RING: usize = 256 * 1024;

static READS: AtomicU64 = AtomicU64::new(0);
static WRITES: AtomicU64 = AtomicU64::new(0);
/// Whether another burst is there.
static BURSTS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// When set, everything written is kept here too.
    static RECORD: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
    /// What streams that have nothing more read next.
    static NEXT: RefCell<Option<Arc<Wire>>> = const { RefCell::new(None) };
}
static RECORDING: AtomicU64 = AtomicU64::new(0);

/// Reads and writes (the would-be system calls) since the start.
pub fn calls() -> (u64, u64) {
    (READS.load(Relaxed), WRITES.load(Relaxed))
}

/// The next burst of messages has come.
pub fn burst() {
    BURSTS.store(1, Relaxed);
}

/// More for the stream that has read all it had.
pub fn fill(bytes: Vec<u8>) {
    NEXT.set(Some(Arc::new(Wire { bytes, ends: Vec::new() })));
}

/// Keep what `f` writes to any in-memory stream.
pub fn record<T>(f: impl FnOnce() -> T) -> (T, Vec<u8>) {
    RECORD.set(Some(Vec::new()));
    RECORDING.store(1, Relaxed);
    let out = f();
    RECORDING.store(0, Relaxed);
    (out, RECORD.take().unwrap())
}

pub struct Mem {
    wire: Arc<Wire>,
    reads: Reads,
    at: usize,
    message: usize,
    /// All of the burst was read.
    dry: bool,
    ring: Box<[u8]>,
    ring_at: usize,
}

impl Mem {
    pub fn new(wire: Arc<Wire>, reads: Reads) -> Self {
        let ring = vec![0; RING].into();
        let dry = matches!(reads, Reads::Burst(_));
        Mem { wire, reads, at: 0, message: 0, dry, ring, ring_at: 0 }
    }

    /// For handshakes: a stream whose making costs no large allocation.
    pub fn small(wire: Arc<Wire>) -> Self {
        let (reads, ring) = (Reads::Once, [].into());
        Mem { wire, reads, at: 0, message: 0, dry: false, ring, ring_at: 0 }
    }

    /// Over TLS, whose records nobody can read twice.
    pub fn filled() -> Self {
        Mem::new(Arc::new(Wire { bytes: Vec::new(), ends: Vec::new() }), Reads::Once)
    }

    /// One read.
    pub fn take(&mut self, room: usize) -> Option<&[u8]> {
        if self.reads == Reads::Once && self.at == self.wire.bytes.len() {
            self.wire = NEXT.take()?;
            self.at = 0;
        }
        if self.dry && BURSTS.swap(0, Relaxed) == 0 {
            return None;
        }
        self.dry = false;
        let (whole, ends) = (self.wire.bytes.len(), &self.wire.ends);
        let end = match self.reads {
            Reads::Chunk(n) => whole.min(self.at + n),
            Reads::Message => ends[self.message],
            Reads::Burst(n) => ends.get(self.message + n - 1).copied().unwrap_or(whole),
            Reads::Once => whole,
        };
        READS.store(READS.load(Relaxed) + 1, Relaxed);
        let from = self.at;
        let to = end.min(from + room);
        self.at = to;
        if to == end && self.reads != Reads::Once {
            self.message += if let Reads::Burst(n) = self.reads { n } else { 1 };
            self.dry = matches!(self.reads, Reads::Burst(_));
        }
        if to == whole && self.reads != Reads::Once {
            self.at = 0;
            self.message = 0;
        }
        Some(&self.wire.bytes[from..to])
    }

    fn put(&mut self, bytes: &[u8]) {
        if RECORDING.load(Relaxed) != 0 {
            RECORD.with_borrow_mut(|r| r.as_mut().unwrap().extend(bytes));
        }
        if self.ring.is_empty() {
            return;
        }
        for piece in bytes.chunks(RING) {
            if self.ring_at + piece.len() > RING {
                self.ring_at = 0;
            }
            self.ring[self.ring_at..][..piece.len()].copy_from_slice(piece);
            self.ring_at += piece.len();
        }
    }
}

impl AsyncRead for Mem {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.take(buf.remaining()) {
            Some(bytes) => {
                buf.put_slice(bytes);
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Mem {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        WRITES.store(WRITES.load(Relaxed) + 1, Relaxed);
        self.put(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        WRITES.store(WRITES.load(Relaxed) + 1, Relaxed);
        let mut n = 0;
        for buf in bufs {
            self.put(buf);
            n += buf.len();
        }
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Drive a future over in-memory streams to its end; `None` when it stays pending.
#[inline]
pub fn try_now<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..64 {
        if let Poll::Ready(out) = future.as_mut().poll(&mut cx) {
            return Some(out);
        }
    }
    None
}

#[inline]
pub fn now<F: Future>(future: F) -> F::Output {
    try_now(future).expect("an in-memory stream is always ready")
}
