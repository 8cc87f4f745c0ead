//! Unix sockets that read and write a few bytes at a time, or hold back what they took until a
//! flush, as streams of all three adapters.
use crate::support::polled::{Polled, polled};
use std::{
    io::{self, IoSlice, Read, Write},
    os::unix::net::UnixStream,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    task::{Context, Poll, ready},
    time::Duration,
};
use tickwire::blocking;
use tokio::io::ReadBuf;

/// What is odd about a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    /// The most that one call reads or writes.
    pub(crate) most: usize,
    /// What was written leaves with a flush.
    pub(crate) holds: bool,
    /// Or with the next write, which takes nothing before: as TLS does.
    pub(crate) tight: bool,
    /// Writes from many places at once, and says so where one can.
    pub(crate) vectored: bool,
    /// Told what passes.
    pub(crate) watch: Option<&'static Watch>,
}

/// The passing of bytes over a line, whose halves may be elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// How many were read.
    pub(crate) read: AtomicUsize,
    /// How many had been read when the first were written.
    pub(crate) read_before_writing: AtomicUsize,
    wrote: AtomicUsize,
    /// How many that were held have left.
    pub(crate) passed: AtomicUsize,
}

impl How {
    pub(crate) const PLAIN: Self =
        Self { most: usize::MAX, holds: false, tight: false, vectored: true, watch: None };
    pub(crate) const FLAT: Self = Self { vectored: false, ..Self::PLAIN };
    pub(crate) const BYTEWISE: Self = Self { most: 1, ..Self::PLAIN };
    pub(crate) const HOLDS: Self = Self { holds: true, ..Self::FLAT };
}

pub(crate) struct Line<S> {
    io: S,
    how: How,
    held: Vec<u8>,
}

/// A socket, whoever waits for it.
pub(crate) trait Bare: Unpin {
    fn poll_in(&mut self, buf: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>>;
    fn poll_out(&mut self, bufs: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>>;
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl<S: Bare> Line<S> {
    pub(crate) fn new(io: S, how: How) -> Self {
        Self { io, how, held: vec![] }
    }

    fn read(&mut self, buf: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let n = buf.len().min(self.how.most);
        let read = ready!(self.io.poll_in(&mut buf[..n], cx));
        if let (Some(watch), Ok(n)) = (self.how.watch, &read) {
            watch.read.fetch_add(*n, SeqCst);
        }
        Poll::Ready(read)
    }
}

polled!(tokio: Line<S>, S: Bare);
polled!(futures: Line<S>, S: Bare);
impl<S: Bare> Polled for Line<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let n = ready!(self.read(buf.initialize_unfilled(), cx))?;
        buf.advance(n);
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(watch) = self.how.watch
            && watch.wrote.fetch_add(1, SeqCst) == 0
        {
            watch.read_before_writing.store(watch.read.load(SeqCst), SeqCst);
        }
        if self.how.vectored && self.how.most == usize::MAX {
            return self.io.poll_out(bufs, cx);
        }
        let buf = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        let buf = &buf[..buf.len().min(self.how.most)];
        if self.how.holds {
            if self.how.tight {
                ready!(self.poll_flush(cx))?;
            }
            self.held.extend(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        self.io.poll_out(&[IoSlice::new(buf)], cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.how.vectored
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let n = ready!(self.io.poll_out(&[IoSlice::new(&self.held)], cx))?;
            self.held.drain(..n);
            if let Some(watch) = self.how.watch {
                watch.passed.fetch_add(n, SeqCst);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What is not flushed by now is lost.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.held.clear();
        self.io.poll_end(cx)
    }
}

// For tokio.

impl Bare for tokio::net::UnixStream {
    fn poll_in(&mut self, buf: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        let read = tokio::io::AsyncRead::poll_read(Pin::new(self), cx, &mut buf);
        read.map_ok(|()| buf.filled().len())
    }
    fn poll_out(&mut self, bufs: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write_vectored(Pin::new(self), cx, bufs)
    }
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(self), cx)
    }
}

// For futures-io.

impl Bare for async_net::unix::UnixStream {
    fn poll_in(&mut self, buf: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        futures_io::AsyncRead::poll_read(Pin::new(self), cx, buf)
    }
    fn poll_out(&mut self, bufs: &[IoSlice<'_>], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        futures_io::AsyncWrite::poll_write_vectored(Pin::new(self), cx, bufs)
    }
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_close(Pin::new(self), cx)
    }
}

// For threads.

impl Bare for UnixStream {
    fn poll_in(&mut self, buf: &mut [u8], _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Poll::Ready(blocking::Stream::try_read(self, buf))
    }
    fn poll_out(&mut self, bufs: &[IoSlice<'_>], _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Poll::Ready(blocking::Stream::try_write(self, bufs))
    }
    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(blocking::Stream::shutdown(self))
    }
}

/// What a call that has waited says.
fn done<T>(call: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<T>>) -> io::Result<T> {
    match call(&mut Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("a socket that blocks"),
    }
}

impl Read for Line<UnixStream> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        blocking::Stream::wait(&self.io, blocking::Interest::READ, Some(Duration::from_secs(1)))?;
        done(|cx| Line::read(self, buf, cx))
    }
}

impl Write for Line<UnixStream> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        done(|cx| self.poll_write(cx, buf))
    }
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        done(|cx| self.poll_write_vectored(cx, bufs))
    }
    fn flush(&mut self) -> io::Result<()> {
        done(|cx| self.poll_flush(cx))
    }
}

impl blocking::Stream for Line<UnixStream> {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.io.set_read_timeout(timeout)
    }
    fn shutdown(&mut self) -> io::Result<()> {
        done(|cx| self.poll_shutdown(cx))
    }
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        done(|cx| Line::read(self, buf, cx))
    }
    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        done(|cx| self.poll_write_vectored(cx, bufs))
    }
    fn wait(&self, interest: blocking::Interest, timeout: Option<Duration>) -> io::Result<()> {
        blocking::Stream::wait(&self.io, interest, timeout)
    }
    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self::new(self.io.try_clone()?, self.how))
    }
    fn writes_vectored(&self) -> bool {
        self.how.vectored
    }
}
