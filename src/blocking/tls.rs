//! TLS over a stream that blocks, in handles for two threads.
//!
//! The handles share three locks. A thread that waits for the stream holds no lock that the other
//! thread has to wait for:
//!
//! - `session` is TLS itself: a handle locks it to encrypt or decrypt, and never holds this lock
//!   during I/O.
//! - `input` is the right to read the stream. A reader that waits for input holds no other lock, so
//!   that another thread can write during this wait.
//! - `output` is the right to write the stream and to flush it, with the ciphertext to be written.
//!   A holder that has written everything checks, with `session` locked, that the session has
//!   nothing more to write. Then the holder releases `output` before `session`, so that no
//!   ciphertext is left without a writer. A writer waits for `output`. But a reader with ciphertext
//!   to write never waits for `output`. Otherwise it could wait for ever: the writer that holds
//!   `output` may be waiting until the peer reads, and the peer until this reader reads.
mod output;

use self::output::{Shared, is_passing, lock};
use super::{Interest, Stream};
use crate::{
    drive::Error,
    proto::url::Target,
    tls::{self, Session},
};
use std::{
    fmt,
    io::{self, IoSlice, Read, Write},
    net::TcpStream,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering},
    time::{Duration, Instant},
};
use tickwire_tls::{
    BARREN, Client, Server,
    rustls::{Connection, pki_types::ServerName},
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
/// `read` and `write` wait in the stream below; `try_read` and `try_write` do not. One `read` waits
/// for the stream at most once. If no whole record with data has arrived by then, the `read` fails
/// with `Interrupted`. Call `read` again, as std's own loops do. So a peer that sends a record byte
/// by byte, or records without data, cannot keep a thread in one call.
///
/// A write goes to the stream below at once, in as few records as possible. If that stream refuses
/// bytes, the next write or flush writes them. The stream below may buffer, and may be a
/// `TlsStream` itself. So a flush also flushes the stream below. The stream below is also flushed
/// after handshake messages, an alert and a close_notify.
///
/// [`shutdown`](Stream::shutdown) sends a close_notify first. If the peer has sent its
/// close_notify, the last dropped handle sends ours, unless ours was sent before. A drop sends by
/// [`try_write`](Stream::try_write), so it does not wait unless the stream below has no such call
/// of its own. If the stream ends without the peer's close_notify, somebody may have cut the stream
/// off, so a read fails with `UnexpectedEof`.
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
/// let mut ws = accept(TlsStream::server(stream, tls)?, &Config::default())?;
/// while let Some(received) = ws.recv_to_reply()? {
///     received.sender.feed(received.message)?;
/// }
/// # Ok(())
/// # }
/// ```
pub struct TlsStream<S = TcpStream> {
    io: S,
    shared: Arc<Shared>,
    /// The read timeout of this handle.
    read_timeout: Mutex<Option<Duration>>,
    /// The function that `drop` calls. In the last handle, this function sends our close_notify if
    /// the session still owes it. The field is a function pointer, because `Drop` cannot require
    /// that `S` is a `Stream`.
    part: fn(&mut Self),
}

impl<S: Stream> TlsStream<S> {
    /// Makes a client's stream to the server `name`, for example [`Request::target`]. The server's
    /// certificate must be for that name, whatever address was dialed. ALPN always asks for
    /// HTTP/1.1. [`platform_config`](tls::platform_config) returns a `config` with the platform's
    /// roots.
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
    /// because the opening handshake needs HTTP/1.1. To open and seal records [in
    /// place](Session::in_place), also set `enable_secret_extraction`: see "Serve wss" in the
    /// recipes.
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
        Self { io, shared: Shared::new(session), read_timeout: Mutex::default(), part: Self::part }
    }

    /// Completes the TLS handshake, so that you can inspect the [`session`](Self::session) before
    /// you read. The read timeout set on this stream (`Stream::set_read_timeout`) also bounds the
    /// whole handshake, to at most twice the timeout, even if the peer sends byte by byte. It does
    /// not bound writes. For writes, the stream below may have a timeout of its own.
    ///
    /// # Errors
    ///
    /// The errors of the stream. An error of TLS is inside the `io::Error`; converted into
    /// [`Error`], it is [`Error::Tls`]. After `WouldBlock` or `TimedOut` call this again.
    pub fn handshake(&mut self) -> io::Result<()> {
        let (began, limit) = (Instant::now(), *lock(&self.read_timeout));
        loop {
            match self.agree(true).and_then(|()| self.flush()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    if limit.is_some_and(|limit| began.elapsed() >= limit) {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                }
                done => return done,
            }
        }
    }

    /// Completes the handshake, but does not send the last handshake messages of this end. They
    /// leave together with the first data.
    fn agree(&mut self, waits: bool) -> io::Result<()> {
        let mut waited = false;
        loop {
            let session = self.shared.session();
            if !session.is_handshaking() {
                return Ok(());
            }
            let checked = session.check();
            drop(session);
            if let Err(error) = checked {
                let _ = self.shared.try_send(&mut self.io, false);
                return Err(error);
            }
            if waited {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.fill(waits)?;
            waited = waits;
        }
    }

    /// Sends the handshake messages that are waiting, then reads the stream once. Returns the
    /// number of bytes read.
    fn fill(&mut self, waits: bool) -> io::Result<usize> {
        // After the handshake only the writer sends, so a reader does not lock `output`.
        if self.shared.session().is_opening() {
            self.shared.try_send(&mut self.io, waits)?;
        }
        let mut wire = self.shared.session().lend();
        let done = match waits {
            true => self.io.read(wire.room()),
            false => self.io.try_read(wire.room()),
        };
        let mut session = self.shared.session();
        session.restore(wire);
        match done {
            Ok(0) => session.end_of_stream(),
            Ok(len) => session.commit(len),
            Err(_) => session.commit(0),
        }
        done
    }

    fn read_slice(&mut self, buf: &mut [u8], waits: bool) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let shared = self.shared.clone(); // so that `fill` can borrow `self` under this lock
        let _input = lock(&shared.input);
        let (mut waited, mut barren) = (false, 0);
        loop {
            let read = shared.session().read_on(buf);
            match read {
                Ok(Some(n)) => return Ok(n),
                Ok(None) if waited || barren > BARREN => {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                Ok(None) => barren += self.fill(waits)?,
                Err(error) => {
                    let _ = shared.try_send(&mut self.io, false);
                    return Err(error);
                }
            }
            waited = waits;
        }
    }

    fn write_slices(&mut self, from: &[IoSlice<'_>], waits: bool) -> io::Result<usize> {
        loop {
            match self.shared.write(&mut self.io, from, waits)? {
                Some(taken) => return Ok(taken),
                None => self.agree(waits)?,
            }
        }
    }

    fn part(&mut self) {
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let mut session = self.shared.session();
        if session.owes_close() {
            session.close();
            drop(session);
            // Does not wait: the peer may never read.
            let _ = self.shared.try_send(&mut self.io, false);
        }
    }
}

impl<S> TlsStream<S> {
    /// The stream below TLS.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// The session. It knows the protocol version, the certificates, the name that the client asked
    /// for, and whether records are opened in place. While the returned guard lives, no handle of
    /// the stream can read or write.
    pub fn session(&self) -> impl Deref<Target = Session> {
        self.held()
    }

    /// Like [`session`](Self::session), with a return type that can be named.
    pub(crate) fn held(&self) -> MutexGuard<'_, Session> {
        self.shared.session()
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

impl<S: Stream> Read for TlsStream<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_slice(buf, true)
    }
}

impl<S: Stream> Write for TlsStream<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_slices(&[IoSlice::new(buf)], true)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_slices(bufs, true)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.shared.flush(&mut self.io, true)
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_slice(buf, false)
    }

    fn try_write(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write_slices(bufs, false)
    }

    fn try_flush(&mut self) -> io::Result<()> {
        self.shared.flush(&mut self.io, false)
    }

    /// Adapts `interest` to the handshake. During the handshake, reading and writing both need
    /// input. While handshake messages are unsent, reading and writing also need a stream that
    /// accepts bytes.
    fn wait(&self, interest: Interest, timeout: Option<Duration>) -> io::Result<()> {
        let session = self.shared.session();
        let (handshaking, opening) = (session.is_handshaking(), session.is_opening());
        let unsent = session.has_outgoing();
        drop(session);
        let write = opening && (unsent || self.shared.holds_output());
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

    /// Sends a close_notify, then shuts the stream down for writing. After `WouldBlock`, `TimedOut`
    /// or `Interrupted` the close_notify may still be unsent: call this again.
    fn shutdown(&mut self) -> io::Result<()> {
        self.shared.session().close(); // a second call changes nothing
        match self.shared.flush(&mut self.io, false) {
            Err(error) if is_passing(&error) => Err(error),
            drained => self.io.shutdown().and(drained),
        }
    }

    /// Fails with `NotConnected` until the TLS handshake is over.
    fn try_clone(&self) -> io::Result<Self> {
        if self.shared.session().is_handshaking() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let io = self.io.try_clone()?;
        self.shared.handles.fetch_add(1, Ordering::AcqRel);
        let (shared, read_timeout) = (self.shared.clone(), Mutex::default());
        Ok(Self { io, shared, read_timeout, part: self.part })
    }

    /// Returns `true`, because one record can hold the bytes of several slices.
    fn writes_vectored(&self) -> bool {
        true
    }
}

/// Makes a client's TLS stream. `ahead` has the bytes that were read from the stream before.
pub(crate) fn client<S: Stream>(
    io: S,
    target: &Target,
    config: tls::Client,
    ahead: &[u8],
) -> Result<TlsStream<S>, Error> {
    let stream = TlsStream::client(io, target, config)?;
    stream.shared.session().begin_with(ahead);
    Ok(stream)
}
