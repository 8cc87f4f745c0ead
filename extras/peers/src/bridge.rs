//! Streams of one kind as the other, so that the same code runs over both.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::peers::Io;

/// An asynchronous stream that is always ready, as one that blocks.
pub struct AsStd<S>(pub S);

fn ready<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(out) => out,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl<S: Io> Read for AsStd<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        ready(Pin::new(&mut self.0).poll_read(&mut context(), &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl<S: Io> Write for AsStd<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        ready(Pin::new(&mut self.0).poll_write(&mut context(), buf))
    }
    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        ready(Pin::new(&mut self.0).poll_write_vectored(&mut context(), bufs))
    }
    fn flush(&mut self) -> io::Result<()> {
        ready(Pin::new(&mut self.0).poll_flush(&mut context()))
    }
}

impl<S: Io> tickwire::blocking::Stream for AsStd<S> {
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read(buf)
    }

    fn try_write(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match bufs {
            [bytes] => self.write(bytes),
            _ => self.write_vectored(bufs),
        }
    }

    fn wait(
        &self,
        _: tickwire::blocking::Interest,
        _: Option<std::time::Duration>,
    ) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn writes_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

/// A stream that blocks, as an asynchronous one that is always ready.
pub struct AsAsync<S>(pub S);

impl<S: Read + Unpin> AsyncRead for AsAsync<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = self.0.read(buf.initialize_unfilled())?;
        buf.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl<S: Write + Unpin> AsyncWrite for AsAsync<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.write(buf))
    }
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.flush())
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
