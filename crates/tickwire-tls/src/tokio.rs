//! TLS over a tokio stream.
use super::{Client, Server};
use crate::{BARREN, Below, Session, TlsError};
use ::rustls::{Connection, pki_types::ServerName};
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use std::{
    boxed::Box,
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker, ready},
};

/// TLS over another stream, as a client or a server.
///
/// The TLS handshake happens during the first read, or during a client's first write. A server's
/// writes fail until the handshake is over, because there is no peer yet.
///
/// A write seals its data in the fewest records. The write gives these records to the stream below
/// at once, as far as that stream takes them. The next flush writes the rest. The stream below may
/// buffer, and may be a `TlsStream` itself. A flush also flushes the stream below. During the
/// handshake, the `TlsStream` flushes the stream below before it waits for the peer.
///
/// [`shutdown`](::tokio::io::AsyncWriteExt::shutdown) sends a close_notify first. If the peer has
/// sent its close_notify, the `TlsStream` sends ours on `shutdown`, or else when it is dropped. If
/// the stream below ends without the peer's close_notify, a read returns the error `UnexpectedEof`.
/// Neither a close_notify on drop nor an alert waits for the stream below. Each is written and
/// flushed as far as that stream takes bytes at once.
///
/// If you split a `TlsStream` with a lock, split it after the handshake. During the handshake both
/// halves would read the stream below, and that stream wakes only one half.
pub struct TlsStream<S> {
    io: S,
    session: Box<Session>,
    /// The waker of the task whose write or flush waits for the stream below.
    writer: Option<Waker>,
    below: Below,
    /// The function that `drop` calls to send our close_notify, if the peer has sent its own. A
    /// function pointer, because `Drop` cannot require that `S` can be written to.
    part: fn(&mut Self),
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream<S> {
    /// A stream as a client of the server `name`. The server's certificate has to be for that name,
    /// whatever address was dialed. ALPN asks for HTTP/1.1, whatever `config` says.
    /// [`platform_config`](crate::platform_config) is a configuration with the platform's roots.
    ///
    /// # Errors
    ///
    /// If `name` is not a valid server name for TLS.
    pub fn client(
        io: S,
        name: impl TryInto<ServerName<'static>>,
        config: impl Into<Client>,
    ) -> Result<Self, TlsError> {
        Ok(Self::of(io, Session::client(config, name)?))
    }

    /// A stream as a server. In the configuration, set `alpn_protocols` to `http/1.1` alone. To
    /// have records [in place](Session::in_place), also set `enable_secret_extraction`.
    ///
    /// # Errors
    ///
    /// If the configuration is inconsistent.
    pub fn server(io: S, config: impl Into<Server>) -> Result<Self, TlsError> {
        Ok(Self::of(io, Session::server(config)?))
    }

    /// A stream on a rustls connection that was made elsewhere and has read nothing yet.
    pub fn new(io: S, session: impl Into<Connection>) -> Self {
        Self::of(io, Session::new(session))
    }

    fn of(io: S, session: Session) -> Self {
        let session = Box::new(session);
        Self { io, session, writer: None, below: Below::default(), part: Self::part }
    }

    /// Completes the TLS handshake, so that the caller can inspect the [`session`](Self::session)
    /// before the first read. The handshake has no time limit.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`poll_read`](AsyncRead::poll_read).
    pub async fn handshake(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_handshake(cx)).await?;
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.is_handshaking() {
            self.check()?;
            ready!(self.poll_fill(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends the handshake's messages, then reads the stream below once. Returns the number of
    /// bytes read.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.session.is_opening() {
            // The result is ignored. A blocked stream wakes this task, and a stream that failed
            // also fails or ends the reads.
            self.send_to_read(cx);
        }
        let mut room = ReadBuf::new(self.session.spare_mut());
        let done = Pin::new(&mut self.io).poll_read(cx, &mut room);
        let len = room.filled().len();
        match (&done, len) {
            (Poll::Ready(Ok(())), 0) => self.session.end_of_stream(),
            (Poll::Ready(Ok(())), len) => self.session.commit(len),
            _ => self.session.commit(0),
        }
        done.map_ok(|()| len)
    }

    /// Checks that the session can go on. If TLS has failed, sends the alert.
    fn check(&mut self) -> io::Result<()> {
        self.session.check().inspect_err(|_| self.say_last())
    }

    /// Sends all ciphertext, as far as the stream takes it now.
    fn say_last(&mut self) {
        let waker = self.writer.clone().unwrap_or_else(|| Waker::noop().clone());
        let _ = self.poll_send(&mut Context::from_waker(&waker));
    }

    /// As [`poll_send`](Self::poll_send), for a task that reads. Another task that waits to write
    /// is still woken.
    fn send_to_read(&mut self, cx: &mut Context<'_>) {
        let sent = match self.writer.clone() {
            None => self.poll_send(cx),
            Some(writer) => {
                let both = Waker::from(Arc::new(Both(cx.waker().clone(), writer)));
                self.poll_send(&mut Context::from_waker(&both))
            }
        };
        if sent.is_ready()
            && let Some(writer) = self.writer.take()
        {
            writer.wake();
        }
    }

    /// As [`poll_drain`](Self::poll_drain), for a task that writes.
    #[inline]
    fn drain_to_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.below.check()?;
        let drained = self.poll_drain(cx);
        self.writes(drained, cx)
    }

    /// Returns `done`, the result for a task that writes. If `done` is pending, keeps the task's
    /// waker.
    fn writes<T>(&mut self, done: Poll<T>, cx: &Context<'_>) -> Poll<T> {
        self.writer = done.is_pending().then(|| cx.waker().clone());
        done
    }

    /// Writes all ciphertext, and flushes the stream below if that stream took ciphertext since its
    /// last flush.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.session.has_outgoing() {
            ready!(self.poll_drain(cx))?;
        }
        ready!(self.poll_flush_below(cx))?;
        self.session.flushed();
        Poll::Ready(Ok(()))
    }

    /// Flushes the stream below if that stream took ciphertext since its last flush.
    fn poll_flush_below(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.below.dirty {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                flushed => ready!(flushed)?,
            }
            self.below.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all ciphertext. A stream below that buffers has room again once it is flushed.
    #[inline]
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let out @ [_, ..] = self.session.outgoing() {
            match Pin::new(&mut self.io).poll_write(cx, out) {
                Poll::Pending if self.below.dirty => ready!(self.poll_flush_below(cx))?,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.session.advance(n);
                    self.below.took();
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.session.is_opening() {
            // The last messages of the handshake are written together with the first data.
            self.session.may_write()?;
            ready!(self.poll_handshake(cx))?;
        } else if self.session.has_outgoing() {
            ready!(self.drain_to_write(cx))?;
        }
        let mut taken = self.session.write_slices(from)?;
        if taken == 0 {
            // Either `from` is empty, or the outgoing buffer is full. The buffer is full only while
            // the last messages of the handshake wait in the buffer. These messages are written
            // first, because a write of 0 bytes would be an error.
            ready!(self.drain_to_write(cx))?;
            taken = self.session.write_slices(from)?;
        }
        self.below.begin();
        if let Poll::Ready(Err(error)) = self.drain_to_write(cx) {
            self.below.fail(error)?;
        }
        Poll::Ready(Ok(taken)) // the next flush writes the rest
    }

    fn part(&mut self) {
        if self.session.owes_close() {
            self.session.close();
            self.say_last();
        }
    }
}

impl<S> TlsStream<S> {
    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// The session, for example to read the version, the certificates, the server name, and whether
    /// this crate opens and seals the records ([`Session::in_place`]).
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Adds bytes that were read from the stream below before the `TlsStream` was made. Call this
    /// before the first read.
    pub fn begin_with(&mut self, ahead: &[u8]) {
        self.session.begin_with(ahead);
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut barren = 0;
        loop {
            match this.session.read_on(buf.initialize_unfilled()) {
                Ok(Some(n)) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Ok(None) if barren > BARREN => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(None) => barren += ready!(this.poll_fill(cx))?,
                Err(error) => {
                    this.say_last();
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_slices(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_slices(cx, bufs)
    }

    /// Always `true`: the slices of one write share records.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.below.check()?;
        this.below.dirty = true; // a flush is passed on even if nothing was written here
        let sent = this.poll_send(cx);
        this.writes(sent, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.session.close(); // only the first call has an effect
        ready!(this.drain_to_write(cx))?;
        let shut = Pin::new(&mut this.io).poll_shutdown(cx);
        this.below.dirty &= shut.is_pending(); // `poll_shutdown` also flushes
        this.writes(shut, cx)
    }
}

/// Wakes two tasks.
struct Both(Waker, Waker);

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
        self.1.wake_by_ref();
    }
}
