//! The requirements of the blocking adapter on a stream.
use crate::socket::{Handle, Stamped};
use std::{
    boxed::Box,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    net::{self, TcpStream},
    time::Duration,
};

/// A stream that blocks: bytes both ways, and, where it has them, timeouts.
///
/// Everything except reading and writing has a default, for streams that lack it. Without
/// timeouts a deadline of [`Config`](crate::Config) is noticed only when a read or write returns
/// by itself, and so never if the peer stays silent. [`Untimed`] makes a `Stream` of any
/// other `Read + Write`.
pub trait Stream: Read + Write {
    /// Sets how long a read may block; `None`: for ever. A read that takes longer fails with
    /// `WouldBlock` or `TimedOut`, and loses nothing.
    ///
    /// # Errors
    ///
    /// The system's; `Unsupported`, the default, if the stream has no timeouts.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        let _ = timeout;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sets how long a write may block, as [`set_read_timeout`](Self::set_read_timeout). A write
    /// that has taken some bytes by then returns their number; a stream that cannot do that has
    /// [`room`](Self::room).
    ///
    /// # Errors
    ///
    /// As [`set_read_timeout`](Self::set_read_timeout).
    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        let _ = timeout;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether small writes leave at once (TCP_NODELAY). Does nothing by default.
    ///
    /// # Errors
    ///
    /// The system's.
    fn set_nodelay(&self, yes: bool) -> io::Result<()> {
        let _ = yes;
        Ok(())
    }

    /// Whether reads and writes that would block fail with `WouldBlock` instead, for
    /// [`Spin`](super::Spin).
    ///
    /// # Errors
    ///
    /// The system's; `Unsupported`, the default, if the stream has no such mode.
    fn set_nonblocking(&self, yes: bool) -> io::Result<()> {
        let _ = yes;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Ends writing: the peer reads the end of the stream, and may go on sending. Only flushes by
    /// default.
    ///
    /// # Errors
    ///
    /// The system's; after `WouldBlock` or `Interrupted` it is called again.
    fn shutdown(&mut self) -> io::Result<()> {
        self.flush()
    }

    /// Another handle of the same stream, so that one thread can read while another writes.
    ///
    /// # Errors
    ///
    /// The system's; `Unsupported`, the default, if the stream cannot be cloned.
    fn try_clone(&self) -> io::Result<Self>
    where
        Self: Sized,
    {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether `write_vectored` writes more than the first slice. The default is no: then large
    /// shared payloads are copied, so that no header travels alone.
    fn writes_vectored(&self) -> bool {
        false
    }

    /// Waits, as long as the write timeout lets a write wait, for a write to take bytes without waiting itself. Says
    /// how many it will take, 0 if none. It is called before each write, which then has no more bytes than that.
    ///
    /// It is for streams that do not tell how many bytes a write took that its timeout cut short, as TCP on Windows:
    /// they may have left, and bytes written twice would break the frames. If such a write fails with
    /// `TimedOut` all the same, the connection ends, with `ConnectionAborted`. The default, `usize::MAX`, is that
    /// writes wait, and tell.
    ///
    /// # Errors
    ///
    /// The system's.
    fn room(&self) -> io::Result<usize> {
        Ok(usize::MAX)
    }
}

impl Stream for TcpStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_write_timeout(timeout)
    }

    fn set_nodelay(&self, yes: bool) -> io::Result<()> {
        self.set_nodelay(yes)
    }

    fn set_nonblocking(&self, yes: bool) -> io::Result<()> {
        self.set_nonblocking(yes)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        (*self).shutdown(net::Shutdown::Write)
    }

    fn try_clone(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn writes_vectored(&self) -> bool {
        true
    }

    /// "If a send or receive operation times out on a socket, the socket state is indeterminate", Microsoft says of
    /// SO_SNDTIMEO. One that does not block waits here like another; in [`Untimed`] it does not.
    #[cfg(windows)]
    fn room(&self) -> io::Result<usize> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};

        let timeout = self.write_timeout()?.and_then(|timeout| Timespec::try_from(timeout).ok());
        let ready = poll(&mut [PollFd::new(self, PollFlags::OUT)], timeout.as_ref())?;
        Ok(if ready > 0 { crate::drive::TURN } else { 0 })
    }
}

#[cfg(unix)]
impl Stream for std::os::unix::net::UnixStream {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_write_timeout(timeout)
    }

    fn set_nonblocking(&self, yes: bool) -> io::Result<()> {
        self.set_nonblocking(yes)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        (*self).shutdown(net::Shutdown::Write)
    }

    fn try_clone(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn writes_vectored(&self) -> bool {
        true
    }
}

impl<S: Stream + Handle> Stream for Stamped<S> {
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
        self.io.shutdown()
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self::wrap(self.io.try_clone()?, self.is_on()))
    }

    fn writes_vectored(&self) -> bool {
        self.io.writes_vectored()
    }

    fn room(&self) -> io::Result<usize> {
        self.io.room()
    }
}

macro_rules! forward {
    ($pointer:ty) => {
        /// Cannot be cloned, and so not split.
        impl<S: Stream + ?Sized> Stream for $pointer {
            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                (**self).set_read_timeout(timeout)
            }

            fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                (**self).set_write_timeout(timeout)
            }

            fn set_nodelay(&self, yes: bool) -> io::Result<()> {
                (**self).set_nodelay(yes)
            }

            fn set_nonblocking(&self, yes: bool) -> io::Result<()> {
                (**self).set_nonblocking(yes)
            }

            fn shutdown(&mut self) -> io::Result<()> {
                (**self).shutdown()
            }

            fn writes_vectored(&self) -> bool {
                (**self).writes_vectored()
            }

            fn room(&self) -> io::Result<usize> {
                (**self).room()
            }
        }
    };
}

forward!(&mut S);
forward!(Box<S>);

/// Any `Read + Write` as a [`Stream`], with nothing else: no timeouts, no shutdown, no split.
///
/// It may be non-blocking: a call that would block returns
/// [`Error::WouldBlock`](crate::Error::WouldBlock).
#[derive(Clone, Debug, Default)]
pub struct Untimed<S>(pub S);

impl<S: Read + Write> Stream for Untimed<S> {}

impl<S: Read> Read for Untimed<S> {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }

    #[inline]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(bufs)
    }
}

impl<S: Write> Write for Untimed<S> {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    #[inline]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
