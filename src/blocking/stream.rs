//! The calls that the blocking adapter needs of a stream.
use super::sys;
use crate::socket::{AsSocket, sigpipe::writable, timestamped::Timestamped};
use std::{
    boxed::Box,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    net::{self, TcpStream},
    time::Duration,
};

/// A stream for a thread. Besides `Read` and `Write`, a `Stream` has calls that should never wait,
/// and one call that only waits.
///
/// The adapter writes by [`try_write`](Self::try_write), never by `write` or `write_vectored`. It
/// waits in [`wait`](Self::wait) for the stream or the next deadline. It usually reads by
/// [`try_read`](Self::try_read). [`read`](Read::read) may wait, so the adapter calls `read` only if
/// nothing is to be written, the WebSocket has no read timeout, and no deadline passes within the
/// timeout that the adapter has set with [`set_read_timeout`](Self::set_read_timeout).
///
/// The adapter repeats a failed read, write, flush or shutdown after the errors `WouldBlock` and
/// `Interrupted`, and after a `TimedOut` without an error number of the operating system. (On
/// Windows, the adapter also repeats a call after a `TimedOut` with an error number.)
///
/// A stream of your own must have at least the three calls `try_read`, `try_write` and `wait`. The
/// deadlines of [`Config`](crate::Config) depend on these calls. [`WithoutTimeouts`] makes a
/// `Stream` of any `Read + Write`, but cannot keep the deadlines. If your stream wraps a socket,
/// forward the calls to the socket. For example, this stream counts the bytes read:
///
/// ```
/// use std::{io::{self, IoSlice, Read, Write}, net::TcpStream, time::Duration};
/// use tickwire::blocking::{Interest, Stream};
///
/// struct Counted(TcpStream, u64);
///
/// impl Read for Counted {
///     fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
///         self.0.read(buf).inspect(|n| self.1 += *n as u64)
///     }
/// }
///
/// impl Write for Counted {
///     fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
///         self.0.write(buf)
///     }
///     fn flush(&mut self) -> io::Result<()> {
///         self.0.flush()
///     }
/// }
///
/// impl Stream for Counted {
///     fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
///         self.0.try_read(buf).inspect(|n| self.1 += *n as u64)
///     }
///     fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
///         self.0.try_write(bufs)
///     }
///     fn wait(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()> {
///         self.0.wait(interest, timeout)
///     }
///     fn set_nodelay(&self, yes: bool) -> io::Result<()> {
///         self.0.set_nodelay(yes)
///     }
///     fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
///         self.0.set_read_timeout(timeout)
///     }
///     fn shutdown(&mut self) -> io::Result<()> {
///         Stream::shutdown(&mut self.0)
///     }
/// }
/// ```
pub trait Stream: Read + Write {
    /// Reads the bytes that have arrived. If no bytes have arrived, fails with `WouldBlock`. This
    /// call must not wait, because no deadline would end that wait.
    ///
    /// `WouldBlock` shows that the peer is silent, so a deadline on its silence may then end the
    /// connection. If the call ends early for another reason, and there may be bytes, fail with
    /// `Interrupted`: the adapter checks its deadlines and calls again.
    ///
    /// # Errors
    ///
    /// The operating system's errors.
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes as many bytes as the stream accepts now. If the stream accepts no byte, fails with
    /// `WouldBlock`. This call must not wait, because no deadline would end that wait.
    ///
    /// # Errors
    ///
    /// The operating system's errors.
    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Flushes. Fails with `WouldBlock` if bytes are left. The default calls `flush`, which may
    /// wait.
    ///
    /// # Errors
    ///
    /// The operating system's errors.
    #[inline]
    fn try_flush(&mut self) -> io::Result<()> {
        self.flush()
    }

    /// Waits until the stream can be read or written, as `interest` says. May return `Ok` early,
    /// and returns `Ok` when `timeout` has passed; `None` sets no limit.
    ///
    /// # Errors
    ///
    /// The operating system's errors. `Unsupported` means that the stream cannot wait. `WouldBlock`
    /// means that the user wants no call to wait, for example on a socket that the user made
    /// non-blocking. In both cases a call of the WebSocket that would have to wait returns
    /// [`Error::WouldBlock`](crate::Error::WouldBlock). If `timeout` is zero, do not return
    /// `WouldBlock`, because zero only asks whether the stream can wait, or means that a deadline
    /// has passed. `Interrupted` counts as an early return. Any other error ends the call.
    fn wait(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()>;

    /// Sets how long a `read` may wait; `None` sets no limit. After this time the read fails with
    /// `WouldBlock` or `TimedOut`, and loses nothing. The adapter sets a timeout of at most a
    /// second before it first calls `read` while a deadline is running. After a split, the adapter
    /// sets a timeout once more, for the `Reader`.
    ///
    /// # Errors
    ///
    /// The operating system's errors; the default fails with `Unsupported`. After an error the
    /// adapter calls `read` only while there is no deadline, and never in a split connection.
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        let _ = timeout;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sets whether small writes leave at once (TCP_NODELAY). The default does nothing.
    ///
    /// # Errors
    ///
    /// The operating system's errors.
    fn set_nodelay(&self, yes: bool) -> io::Result<()> {
        let _ = yes;
        Ok(())
    }

    /// Shuts the stream down for writing: the peer then reads the end of the stream, but can go on
    /// sending. This call must not wait. The default only flushes.
    ///
    /// # Errors
    ///
    /// The operating system's errors.
    fn shutdown(&mut self) -> io::Result<()> {
        self.try_flush()
    }

    /// Makes another handle of the same stream, so that one thread can read while another writes. A
    /// split makes two more handles. All handles must share the bytes that the stream buffers.
    ///
    /// # Errors
    ///
    /// The operating system's errors; `Unsupported`, the default, if the stream cannot be cloned.
    fn try_clone(&self) -> io::Result<Self>
    where
        Self: Sized,
    {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether `try_write` writes more than the first slice. If `false` (the default), owned and
    /// prepared payloads of any length are copied, because otherwise a frame's header would need a
    /// write of its own.
    fn writes_vectored(&self) -> bool {
        false
    }
}

/// The events that [`Stream::wait`] waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Wait until the stream can be read.
    pub read: bool,
    /// Wait until the stream can be written.
    pub write: bool,
}

impl Interest {
    /// Wait for input.
    pub const READ: Self = Self { read: true, write: false };
    /// Wait until the stream accepts bytes.
    pub const WRITE: Self = Self { read: false, write: true };

    pub(crate) const fn with(self, other: Self) -> Self {
        Self { read: self.read || other.read, write: self.write || other.write }
    }
}

/// `TimedOut` without an error number comes from a caller's own stream, whose timeout has passed;
/// on Unix, with one, the peer is gone. Windows uses one number for both, so there only a deadline,
/// for example of the heartbeat, detects that the peer is gone.
pub(crate) fn in_vain(error: &io::Error) -> bool {
    let of_the_peer = !cfg!(windows) && error.raw_os_error().is_some();
    match error.kind() {
        io::ErrorKind::TimedOut => !of_the_peer,
        kind => kind == io::ErrorKind::WouldBlock,
    }
}

macro_rules! socket {
    ($socket:ty, |$this:ident, $yes:ident| $nodelay:expr) => {
        impl Stream for $socket {
            #[inline]
            fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                sys::try_read(self, buf)
            }

            #[inline]
            fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                sys::try_write(self, bufs)
            }

            fn wait(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()> {
                sys::wait(self, interest, timeout)
            }

            fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.set_read_timeout(timeout)
            }

            fn set_nodelay(&self, $yes: bool) -> io::Result<()> {
                let $this = self;
                $nodelay
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
    };
}

socket!(TcpStream, |tcp, yes| tcp.set_nodelay(yes));
#[cfg(unix)]
socket!(std::os::unix::net::UnixStream, |_unix, _yes| Ok(()));

/// The other calls read, write, shut down or clone the stream, and each wrapper has its own.
macro_rules! forwarded {
    ($this:ident => $to:expr) => {
        #[inline]
        fn try_flush(&mut self) -> std::io::Result<()> {
            let $this = self;
            ($to).try_flush()
        }

        fn wait(
            &self,
            interest: $crate::blocking::Interest,
            timeout: Option<std::time::Duration>,
        ) -> std::io::Result<()> {
            let $this = self;
            ($to).wait(interest, timeout)
        }

        fn set_read_timeout(&self, timeout: Option<std::time::Duration>) -> std::io::Result<()> {
            let $this = self;
            $crate::blocking::Stream::set_read_timeout(&$to, timeout)
        }

        fn set_nodelay(&self, yes: bool) -> std::io::Result<()> {
            let $this = self;
            $crate::blocking::Stream::set_nodelay(&$to, yes)
        }

        fn writes_vectored(&self) -> bool {
            let $this = self;
            ($to).writes_vectored()
        }
    };
}

impl<S: Stream + AsSocket> Stream for Timestamped<S> {
    forwarded!(this => this.io);

    #[inline]
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_as(buf, |io, buf| io.try_read(buf), false)
    }

    #[inline]
    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io.try_write(bufs)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown()
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self::wrap(self.io.try_clone()?)) // the kernel already stamps this socket's reads
    }
}

macro_rules! pointer {
    ($pointer:ty) => {
        /// `try_clone` fails, so the connection cannot be split.
        impl<S: Stream + ?Sized> Stream for $pointer {
            forwarded!(this => **this);

            #[inline]
            fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                (**self).try_read(buf)
            }

            #[inline]
            fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                (**self).try_write(bufs)
            }

            fn shutdown(&mut self) -> io::Result<()> {
                (**self).shutdown()
            }
        }
    };
}

pointer!(&mut S);
pointer!(Box<S>);

/// A [`Stream`] made of any `Read + Write`. Calls of the inner stream may wait. While a call waits,
/// the adapter notices no deadline of [`Config`](crate::Config). You cannot set timeouts, a
/// shutdown only flushes, and the connection cannot be split.
///
/// If the inner stream is non-blocking, a call that would block returns
/// [`Error::WouldBlock`](crate::Error::WouldBlock).
#[derive(Clone, Debug, Default)]
pub struct WithoutTimeouts<S>(pub S);

impl<S: Read + Write> Stream for WithoutTimeouts<S> {
    #[inline]
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read(buf)
    }

    #[inline]
    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match writable(bufs) {
            [bytes] => self.write(bytes),
            bufs => self.write_vectored(bufs),
        }
    }

    fn wait(&self, _: Interest, _: Option<Duration>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl<S: Read> Read for WithoutTimeouts<S> {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }

    #[inline]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(bufs)
    }
}

impl<S: Write> Write for WithoutTimeouts<S> {
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
