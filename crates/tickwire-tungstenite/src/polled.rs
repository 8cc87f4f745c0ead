use futures_util::task::AtomicWaker;
use std::{
    borrow::Borrow,
    io::{self, IoSlice, Read, Write},
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// During one poll, or during a handshake. If the stream is pending, a call returns `WouldBlock`.
pub(crate) struct Polled<'a, S, W> {
    pub(crate) stream: S,
    /// On an open connection it wakes the tasks of both halves, and the stream gets it only for
    /// writing.
    pub(crate) waker: W,
    /// On an open connection: a place for a waker, and that of the polling task. A write first
    /// registers the waker in the place; a read hands it to the stream. `None` during a handshake,
    /// or if no task waits for the call.
    pub(crate) half: Option<(&'a AtomicWaker, &'a Waker)>,
}

impl<S: AsyncWrite + Unpin, W: Borrow<Waker>> Polled<'_, S, W> {
    fn poll_write<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        // Before the poll: otherwise a stream that another thread makes ready right after it would
        // wake nobody.
        if let Some((place, waker)) = self.half {
            place.register(waker);
        }
        let cx = &mut Context::from_waker(self.waker.borrow());
        would_block(poll(Pin::new(&mut self.stream), cx))
    }
}

fn would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<S: AsyncRead + Unpin, W: Borrow<Waker>> Read for Polled<'_, S, W> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // Only one half reads, so the stream gets the waker of its task.
        let waker = self.half.map_or(self.waker.borrow(), |(_, waker)| waker);
        let mut buf = ReadBuf::new(buf);
        let mut cx = Context::from_waker(waker);
        would_block(Pin::new(&mut self.stream).poll_read(&mut cx, &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl<S: AsyncWrite + Unpin, W: Borrow<Waker>> Write for Polled<'_, S, W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.poll_write(|stream, cx| stream.poll_write(cx, buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.poll_write(|stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.poll_write(|stream, cx| stream.poll_flush(cx))
    }
}
