//! A stream of tokio, with the calls of a stream that does not block.
use crate::wake::{Both, Side};
use std::{
    io::{self, IoSlice, Read, Write},
    pin::Pin,
    task::{Context, Poll, Waker},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream during one poll. While the stream is pending, a call returns `WouldBlock`.
pub(crate) struct Polled<'a, S> {
    pub(crate) stream: &'a mut S,
    /// The waker that the stream remembers for writing. It wakes both halves.
    pub(crate) waker: &'a Waker,
    /// The polling task's half and waker, if the connection is split.
    pub(crate) half: Option<(&'a Both, Side, &'a Waker)>,
}

impl<S: AsyncWrite + Unpin> Polled<'_, S> {
    fn poll_write<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        if let Some((both, side, waker)) = self.half {
            both.register(side, waker);
        }
        would_block(poll(Pin::new(self.stream), &mut Context::from_waker(self.waker)))
    }
}

fn would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<S: AsyncRead + Unpin> Read for Polled<'_, S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // Only one half reads, so the stream wakes its task directly.
        let waker = self.half.map_or(self.waker, |(_, _, waker)| waker);
        let mut buf = ReadBuf::new(buf);
        let mut cx = Context::from_waker(waker);
        would_block(Pin::new(&mut *self.stream).poll_read(&mut cx, &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl<S: AsyncWrite + Unpin> Write for Polled<'_, S> {
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
