use super::{AsSocket, arrival, kernel};
use crate::proto::message::Arrival;
use std::io::{self, IoSlice, Read, Write};

/// A TCP stream of `std` or mio whose reads also get the kernel's time of arrival
/// (SO_TIMESTAMPING). Without the feature `stamps`, and on systems other than Linux, this type only
/// forwards each call.
///
/// With [`Config::stamp_reads`](crate::Config::stamp_reads) set,
/// [`Info::arrived`](crate::Info::arrived) has the time of arrival of each message. A server calls
/// `new` on the accepted stream. A client calls `new` in the connector that it gives to
/// [`Dial::blocking_connect_with`](crate::Dial::blocking_connect_with).
///
/// Other streams may contain a `Timestamped`: [`Spin`](crate::blocking::Spin), a TLS stream of this
/// or another crate, the halves of a stream. Over TLS, a message has the time of the read that
/// completed the record with the message's last byte. Messages that TLS decrypted together have the
/// same time. [`Arrival`] describes the time.
///
/// No time is available over other kinds of streams, or on systems other than Linux. Bytes read
/// during the opening handshake have no time. Bytes that arrived before the kernel began to stamp
/// have no time either. If no other socket of the machine asks for stamps, the kernel may begin to
/// stamp some milliseconds after `new`.
///
/// A stamped read calls `recvmsg` with memory for a `cmsg`, instead of `read`. A stamped read
/// allocates nothing. A stamped read that does not wait takes about 8 % longer than `read`
/// (`benches/RESULTS.md`). The inner stream must be a plain socket, so put streams that encrypt or
/// buffer around the `Timestamped`.
///
/// In an event loop of your own, read the stream, pass [`arrived`](Self::arrived) to
/// [`Receiver::set_read`](crate::Receiver::set_read), and then commit the bytes that were read.
#[derive(Debug)]
pub struct Timestamped<S> {
    pub(crate) io: S,
    arrived: Option<Arrival>,
}

impl<S> Timestamped<S> {
    pub(crate) fn wrap(io: S) -> Self {
        Self { io, arrived: None }
    }

    /// The inner stream.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// The time of arrival of the last read's bytes, if the kernel gave a time.
    pub fn arrived(&self) -> Option<Arrival> {
        self.arrived
    }
}

impl<S: AsSocket> Timestamped<S> {
    /// Wraps a stream, and asks the kernel to stamp its reads. On systems other than Linux, and
    /// without the feature `stamps`, no read is stamped.
    ///
    /// ```no_run
    /// # #[cfg(all(feature = "blocking", feature = "stamps"))]
    /// # fn serve() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{net::TcpListener, time::{SystemTime, UNIX_EPOCH}};
    /// use tickwire::{Config, Timestamped, blocking::accept};
    ///
    /// let (stream, _) = TcpListener::bind("127.0.0.1:0")?.accept()?;
    /// let config = Config { stamp_reads: true, ..Config::server() };
    /// let mut ws = accept(Timestamped::new(stream)?, &config)?;
    /// while let Some((_, info)) = ws.recv_with_info()? {
    ///     if let Some(arrived) = info.arrived {
    ///         let arrived = UNIX_EPOCH + arrived.software;
    ///         println!("{:?} after it arrived", SystemTime::now().duration_since(arrived));
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The error with which the operating system refuses SO_TIMESTAMPING.
    pub fn new(io: S) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), std::format!("SO_TIMESTAMPING: {error}"))
        };
        kernel::stamp_reads(&io).map_err(named)?;
        Ok(Self::wrap(io))
    }

    /// Stamped if the kernel can, otherwise `plain`. `waits`: a stamped read of a blocking stream
    /// waits for bytes.
    #[inline]
    pub(crate) fn read_as(
        &mut self,
        buf: &mut [u8],
        plain: impl FnOnce(&mut S, &mut [u8]) -> io::Result<usize>,
        waits: bool,
    ) -> io::Result<usize> {
        if !kernel::STAMPS {
            return plain(&mut self.io, buf);
        }
        let (n, arrived) = kernel::read(&self.io, buf, waits)?;
        // `self.arrived` is for a caller's own loop. An adapter may see only a stream around this
        // one, so it takes the time that `leave` stores.
        self.arrived = arrived;
        arrival::leave(arrived);
        Ok(n)
    }
}

impl<S: Read + AsSocket> Read for Timestamped<S> {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_as(buf, |io, buf| io.read(buf), true)
    }
}

impl<S: Write> Write for Timestamped<S> {
    #[inline]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.io.write(buf)
    }

    #[inline]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io.write_vectored(bufs)
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        self.io.flush()
    }
}
