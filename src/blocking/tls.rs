//! TLS over a stream that blocks, in handles for two threads. They share the state of TLS behind
//! one lock, which no thread holds during I/O, so a thread that waits for the stream keeps no other
//! waiting.
use super::{Interest, Stream, stream::in_vain};
use crate::{
    drive::sync::{Mutex, lock},
    error::Error,
    tls::Session,
};
use std::{
    fmt,
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, ready},
    time::{Duration, Instant},
};
use tickwire_tls::{
    Client, Server,
    rustls::{Connection, pki_types::ServerName},
    stream::{self, BARREN, Carrier, Tls},
};

/// TLS over another stream, as a client or a server. `connect` uses this type for `wss`. A server
/// can use this type or any other TLS stream. For example,
/// [`WithoutTimeouts`](crate::blocking::WithoutTimeouts) accepts a `StreamOwned` of rustls, but has
/// no timeouts and no split.
///
/// The TLS handshake takes place with the first read, or with a client's first write. So
/// [`Config::handshake_timeout`](crate::Config::handshake_timeout) bounds the TLS handshake
/// together with the opening handshake. A server's writes fail with `NotConnected` until the TLS
/// handshake is over, so that a silent client cannot make a server wait.
///
/// `read` and `write` wait in the stream below; `try_read` and `try_write` do not wait. One `read`
/// waits for the stream at most once. If no whole record with data has arrived after this wait, the
/// `read` fails with `Interrupted`. Then call `read` again, as std's own loops do. With this limit,
/// no peer can keep a thread in one call by sending a record byte by byte, or records without data.
///
/// A write goes to the stream below at once, in as few records as possible. If that stream refuses
/// bytes, the next write or flush writes them. The stream below may buffer, and may be a
/// `TlsStream` itself. So a flush also flushes the stream below. The stream below is also flushed
/// after handshake messages, an alert and a close_notify. While another handle writes, a flush may
/// fail with `Interrupted`: call it again.
///
/// [`shutdown`](Stream::shutdown) first sends a close_notify, then shuts down the stream below. If
/// the peer has sent its close_notify, the handle that is dropped last sends ours, unless ours was
/// sent before. A drop sends by [`try_write`](Stream::try_write) of the stream below. So a drop
/// does not wait, unless this `try_write` waits, as `try_write` of a `WithoutTimeouts` may. If the
/// stream ends without the peer's close_notify, somebody may have cut the stream off, so a read
/// fails with `UnexpectedEof`.
///
/// [`try_clone`](Stream::try_clone) makes a second handle of the same session, so that one thread
/// reads while another writes.
///
/// ```no_run
/// use std::{net::TcpListener, sync::Arc};
/// use tickwire::{Config, blocking::{TlsStream, accept}, tls::rustls::ServerConfig};
///
/// # fn serve(tls: Arc<ServerConfig>) -> Result<(), Box<dyn std::error::Error>> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let (stream, _) = listener.accept()?;
/// let mut ws = accept(TlsStream::server(stream, tls)?, &Config::server())?;
/// while let Some(received) = ws.recv_to_reply()? {
///     received.sender.feed(received.message)?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct TlsStream<S = TcpStream> {
    io: S,
    shared: Arc<Shared>,
    /// The read timeout of this handle; each has its own.
    read_timeout: Mutex<Option<Duration>>,
    /// For `drop`: in the last handle, sends our close_notify if the session still owes it. A
    /// function pointer, because `Drop` cannot require that `S` is a `Stream`.
    part: fn(&mut Self),
}

/// What all handles of one stream share.
struct Shared {
    tls: Mutex<Tls>,
    /// The last handle sends a close_notify in `drop` if the session still owes one.
    handles: AtomicUsize,
}

impl<S: Stream> TlsStream<S> {
    /// Makes a client's stream to the server `name`, which can be a [`Request::target`]. The
    /// server's certificate must be for that name, whatever address was dialed. ALPN always asks
    /// for HTTP/1.1. [`platform_config`](crate::tls::platform_config) returns a `config` with the
    /// platform's roots.
    ///
    /// [`Request::target`]: crate::handshake::client::Request::target
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] for a `name` that is neither a DNS name nor an IP address.
    pub fn client(
        io: S,
        name: impl TryInto<ServerName<'static>>,
        config: impl Into<Client>,
    ) -> Result<Self, Error> {
        Ok(Self::of(io, Session::client(config, name)?))
    }

    /// Makes a server's stream. In the configuration, set `alpn_protocols` to `http/1.1` alone,
    /// because the opening handshake needs HTTP/1.1: see "Serve wss" in the recipes.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] for an inconsistent configuration.
    pub fn server(io: S, config: impl Into<Server>) -> Result<Self, Error> {
        Ok(Self::of(io, Session::server(config)?))
    }

    /// Makes a stream with a session of rustls that was made elsewhere and has read nothing yet.
    pub fn new(io: S, session: impl Into<Connection>) -> Self {
        Self::of(io, Session::new(session))
    }

    fn of(io: S, session: Session) -> Self {
        let shared = Shared { tls: Mutex::new(Tls::new(session)), handles: AtomicUsize::new(1) };
        let part = |stream: &mut Self| {
            // Not `Arc::strong_count`: two drops at the same time could both see 2, and neither
            // would send. The handles of the caller's stream `S` may share state; `AcqRel` makes
            // the last one see all changes of it by others.
            if stream.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
                stream::part(&mut stream.carrier(false));
            }
        };
        Self { io, shared: Arc::new(shared), read_timeout: Mutex::default(), part }
    }

    /// Completes the TLS handshake, so that you can inspect the [session](Self::with_session)
    /// before you read. If a read timeout is set on this stream (`Stream::set_read_timeout`), the
    /// reads of the whole handshake take at most twice that timeout, even if the peer sends byte by
    /// byte. The read timeout does not bound writes. For writes, the stream below may have a
    /// timeout of its own.
    ///
    /// # Errors
    ///
    /// The errors of the stream. An error of TLS is inside the `io::Error`. If you convert this
    /// `io::Error` into an [`Error`], the result is an [`Error::Tls`]. After `WouldBlock` or
    /// `TimedOut` call this again.
    pub fn handshake(&mut self) -> io::Result<()> {
        let began = Instant::now();
        let limit = *lock(&self.read_timeout);
        loop {
            let agreed = self.call(true, Interest::READ, |call| stream::handshake(call));
            // `stream::handshake` leaves our last handshake messages to this flush.
            match agreed.and_then(|()| self.flush()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    if limit.is_some_and(|limit| began.elapsed() >= limit) {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                }
                done => return done,
            }
        }
    }

    fn carrier(&mut self, waits: bool) -> Call<'_, S> {
        Call { io: &mut self.io, tls: &self.shared.tls, waits, put_off: None }
    }

    #[inline]
    fn call<T>(
        &mut self,
        waits: bool,
        interest: Interest,
        work: impl FnOnce(&mut Call<'_, S>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let mut call = self.carrier(waits);
        match work(&mut call) {
            Poll::Ready(done) => done,
            Poll::Pending => Err(call.put_off.unwrap_or_else(|| self.blocked(waits, interest))),
        }
    }

    /// Of a call that is `Pending` although the stream below gave no error: another handle is
    /// reading or writing, and may be waiting for the stream. So a call that may wait also waits
    /// for it, at most for the read timeout, even in a write, because the other handle may take the
    /// awaited bytes, and then the stream may stay silent. After the wait it is `Interrupted`, so
    /// the caller checks its deadlines, and calls again.
    #[cold]
    fn blocked(&self, waits: bool, interest: Interest) -> io::Error {
        match waits.then(|| self.io.wait(interest, *lock(&self.read_timeout))) {
            None => io::ErrorKind::WouldBlock.into(),
            Some(Ok(())) => io::ErrorKind::Interrupted.into(),
            Some(Err(error)) => error,
        }
    }
}

impl<S> TlsStream<S> {
    /// The stream below TLS.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// Calls `f` with the session. It knows the protocol version, the certificates, the name that
    /// the client asked for, and whether records are opened in place. Reads and writes of all
    /// handles of the stream wait until `f` returns. So `f` must not read or write, and must take
    /// no lock: either may cause a deadlock.
    pub fn with_session<Out>(&self, f: impl FnOnce(&Session) -> Out) -> Out {
        f(&lock(&self.shared.tls).session)
    }
}

impl<S> Drop for TlsStream<S> {
    fn drop(&mut self) {
        (self.part)(self);
    }
}

impl<S: fmt::Debug> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("io", &self.io).finish_non_exhaustive()
    }
}

/// What one call of a `TlsStream` hands to the functions of `tickwire_tls::stream`, which do its
/// work.
struct Call<'a, S> {
    io: &'a mut S,
    tls: &'a Mutex<Tls>,
    /// Uses `read`, `write` and `flush` of the stream below, which may wait, in place of
    /// `try_read`, `try_write` and `try_flush`.
    waits: bool,
    /// The last error after which the call can be repeated, of the stream below or `go_on`. A
    /// `Pending` call returns it, so that its caller learns of a timeout or a signal.
    put_off: Option<io::Error>,
}

impl<S: Stream> Call<'_, S> {
    #[inline]
    fn polled<T>(&mut self, done: io::Result<T>) -> Poll<io::Result<T>> {
        match done {
            Err(error) if is_passing(&error) => {
                self.put_off = Some(error);
                Poll::Pending
            }
            done => Poll::Ready(done),
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    in_vain(error) || error.kind() == io::ErrorKind::Interrupted
}

impl<S: Stream> Carrier for Call<'_, S> {
    #[inline]
    fn with<T>(&mut self, work: impl FnOnce(&mut Tls) -> T) -> T {
        work(&mut lock(self.tls))
    }

    fn poll_read(&mut self, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = if self.waits { self.io.read(room) } else { self.io.try_read(room) };
        self.polled(read)
    }

    #[inline]
    fn poll_write(&mut self) -> Poll<io::Result<bool>> {
        let bytes = ready!(self.with(Tls::lend_output));
        if bytes.is_empty() {
            return Poll::Ready(Ok(false)); // another handle wrote the bytes
        }
        let written = match self.waits {
            true => self.io.write(bytes.filled()),
            false => self.io.try_write(&[IoSlice::new(bytes.filled())]),
        };
        let written = self.polled(written);
        // Back first, because `wrote` drops the written bytes in `tls`.
        self.with(|tls| {
            tls.restore_output(bytes);
            written.map(|len| tls.wrote(len?))
        })
    }

    #[inline]
    fn poll_flush(&mut self) -> Poll<io::Result<()>> {
        let flushed = if self.waits { self.io.flush() } else { self.io.try_flush() };
        self.polled(flushed)
    }

    /// If the stream refuses bytes, returns `Pending` in a call that may wait, so that the call
    /// does not read. Otherwise the read would wait for the peer, while the peer may wait for the
    /// refused bytes. In a call that must not wait, always returns `Ready`.
    fn send_aside(&mut self, last: bool) -> Poll<()> {
        let waits = self.waits;
        self.waits &= !last; // if `last`, the call ends after this send, so it must not wait
        let sent = stream::send(self);
        self.waits = waits;
        if waits { sent.map(drop) } else { Poll::Ready(()) }
    }

    /// A call that may wait reads only once. Other calls stop after `BARREN` bytes without data.
    fn go_on(&mut self, read: usize) -> Poll<()> {
        if read <= if self.waits { 0 } else { BARREN } {
            return Poll::Ready(());
        }
        self.put_off = Some(io::ErrorKind::Interrupted.into());
        Poll::Pending
    }
}

impl<S: Stream> Read for TlsStream<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.call(true, Interest::READ, |call| stream::read(call, buf))
    }
}

impl<S: Stream> Write for TlsStream<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.call(true, Interest::WRITE, |call| stream::write(call, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.call(true, Interest::WRITE, |call| stream::flush(call))
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.call(false, Interest::READ, |call| stream::read(call, buf))
    }

    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.call(false, Interest::WRITE, |call| stream::write(call, bufs))
    }

    fn try_flush(&mut self) -> io::Result<()> {
        self.call(false, Interest::WRITE, |call| stream::flush(call))
    }

    /// Adapts `interest` to the handshake. During the handshake, reading and writing both need
    /// input. While handshake messages are unsent, reading and writing also need a stream that
    /// accepts bytes.
    fn wait(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()> {
        let tls = lock(&self.shared.tls);
        let handshaking = tls.session.is_handshaking();
        let write = tls.session.is_opening() && tls.has_output();
        drop(tls); // other handles may go on while this one waits
        let interest = match handshaking {
            true => Interest { read: true, write },
            false => Interest { write: interest.write || write, ..interest },
        };
        self.io.wait(interest, timeout)
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.io.set_read_timeout(timeout)?;
        *lock(&self.read_timeout) = timeout;
        Ok(())
    }

    fn set_nodelay(&self, yes: bool) -> io::Result<()> {
        self.io.set_nodelay(yes)
    }

    /// Sends a close_notify, then shuts the stream down for writing, even if the session or the
    /// stream has failed. But after `WouldBlock`, `TimedOut` or `Interrupted` the close_notify may
    /// still be unsent: call this again.
    fn shutdown(&mut self) -> io::Result<()> {
        match self.call(false, Interest::WRITE, |call| stream::close(call)) {
            Err(error) if is_passing(&error) => Err(error),
            drained => self.io.shutdown().and(drained),
        }
    }

    /// Fails with `NotConnected` until the TLS handshake is over, because until then a write waits
    /// for input, which a reading thread would take away.
    fn try_clone(&self) -> io::Result<Self> {
        if self.with_session(|session| session.is_handshaking()) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let io = self.io.try_clone()?; // if this fails, the new handle must not be counted
        self.shared.handles.fetch_add(1, Ordering::AcqRel);
        let shared = self.shared.clone();
        let read_timeout = Mutex::default();
        Ok(Self { io, shared, read_timeout, part: self.part })
    }

    /// Returns `true`, because one record can hold the bytes of several slices.
    fn writes_vectored(&self) -> bool {
        true
    }
}
