//! TLS over a tokio stream.
use super::{Client, Server};
use crate::{
    Session, TlsError,
    stream::{self, BARREN, Carrier, Tls},
};
use ::rustls::{Connection, pki_types::ServerName};
use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker, ready},
};

/// TLS over another stream, as a client or a server.
///
/// The TLS handshake happens during the first read, or during a client's first write. Until the
/// handshake is over, a server's writes fail, so that a silent client cannot make the server wait.
///
/// A write seals its data in as few records as possible. The write gives these records to the
/// stream below at once, as far as that stream takes them. The next write or flush writes the rest.
/// The stream below may buffer, and may be a `TlsStream` itself. So a flush also flushes the stream
/// below.
/// During the handshake, the `TlsStream` flushes the stream below before it waits for the peer.
///
/// [`shutdown`](::tokio::io::AsyncWriteExt::shutdown) sends our close_notify, then shuts the stream
/// below. If the `TlsStream` is dropped without `shutdown`, it sends our close_notify only if the
/// peer has sent its own. If the stream below ends without the peer's close_notify, a read returns
/// the error `UnexpectedEof`. A close_notify on drop, or an alert, does not wait for the stream
/// below: it is written and flushed only as far as that stream takes bytes at once.
///
/// Split a `TlsStream`, for example with tokio's `split`, only after the handshake. During the
/// handshake, both halves would read the stream below, and that stream would wake only one half.
pub struct TlsStream<S> {
    io: S,
    tls: Box<Tls>,
    /// Wakes the task whose write or flush waits for the stream below.
    writer: Option<Waker>,
    /// Sends our close_notify in `drop`, if the peer has sent its own. A function pointer, because
    /// `Drop` cannot require that `S` can be written to.
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

    /// A stream as a server. In the configuration, set `alpn_protocols` to `http/1.1` alone.
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
        let tls = Box::new(Tls::new(session));
        let part = |stream: &mut Self| {
            // `stream::part` waits for nothing.
            stream::part(&mut stream.call(&mut Context::from_waker(Waker::noop())));
        };
        Self { io, tls, writer: None, part }
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
        poll_fn(|cx| stream::handshake(&mut self.call(cx))).await?;
        // Now: the caller's first data may come much later.
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await
    }

    fn call<'a, 'c>(&'a mut self, cx: &'a mut Context<'c>) -> Call<'a, 'c, S> {
        Call { stream: self, cx, write_blocked: false }
    }

    #[inline]
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        work: impl FnOnce(&mut Call<'_, '_, S>) -> Poll<T>,
    ) -> Poll<T> {
        let mut call = self.call(cx);
        let done = work(&mut call);
        // If this call is not blocked, no write waits any more.
        call.stream.writer = call.write_blocked.then(|| call.cx.waker().clone());
        done
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
        &self.tls.session
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
        let call = &mut self.get_mut().call(cx);
        let len = ready!(stream::read(call, buf.initialize_unfilled()))?;
        buf.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, |call| stream::write(call, bufs))
    }

    /// Always `true`: the slices of one write share records.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().write(cx, |call| stream::flush(call))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().write(cx, |call| {
            ready!(stream::close(call))?;
            let shut = Pin::new(&mut call.stream.io).poll_shutdown(call.cx);
            call.written(shut)
        })
    }
}

struct Call<'a, 'c, S> {
    stream: &'a mut TlsStream<S>,
    cx: &'a mut Context<'c>,
    /// The stream below has refused bytes, and keeps the waker of this call.
    write_blocked: bool,
}

impl<S> Call<'_, '_, S> {
    /// After a signal, `Pending`, and the task is woken to call again: a loop here would never end
    /// if the stream failed with `Interrupted` each time.
    #[inline]
    fn uninterrupted<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match done {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {
                self.cx.waker().wake_by_ref();
                Poll::Pending
            }
            done => done,
        }
    }

    #[inline]
    fn written<T>(&mut self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let done = self.uninterrupted(done);
        self.write_blocked = done.is_pending();
        done
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Carrier for Call<'_, '_, S> {
    #[inline]
    fn with<T>(&mut self, work: impl FnOnce(&mut Tls) -> T) -> T {
        work(&mut self.stream.tls)
    }

    fn poll_read(&mut self, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(room);
        let done = Pin::new(&mut self.stream.io).poll_read(self.cx, &mut room);
        self.uninterrupted(done).map_ok(|()| room.filled().len())
    }

    #[inline]
    fn poll_write(&mut self) -> Poll<io::Result<bool>> {
        let out @ [_, ..] = self.stream.tls.session.outgoing() else {
            return Poll::Ready(Ok(false));
        };
        let written = Pin::new(&mut self.stream.io).poll_write(self.cx, out);
        let len = ready!(self.written(written))?;
        Poll::Ready(self.stream.tls.wrote(len))
    }

    #[inline]
    fn poll_flush(&mut self) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream.io).poll_flush(self.cx);
        self.written(flushed)
    }

    /// Never `Pending`, whatever the argument is: a task reads even if the stream refuses bytes or
    /// fails. A stream that refuses bytes wakes the task later. If the stream fails, the read that
    /// follows returns a better error, for example the peer's alert.
    fn send_aside(&mut self, _: bool) -> Poll<()> {
        let Some(other) = self.stream.writer.clone() else {
            let _ = stream::send(self);
            return Poll::Ready(());
        };
        // A stream keeps only one waker for writing, and this call's would replace the writer's. So
        // it gets `both`.
        let both = Waker::from(Arc::new(Both(self.cx.waker().clone(), other)));
        // The `write_blocked` of the new `Call` is lost, which a read does not use. A write comes
        // here only during the handshake, and then no other task may use the stream, so no read can
        // replace the writer's waker.
        let sent = stream::send(&mut self.stream.call(&mut Context::from_waker(&both)));
        // The stream below is not blocked, so it will not wake the writer.
        if sent.is_ready()
            && let Some(writer) = self.stream.writer.take()
        {
            writer.wake();
        }
        Poll::Ready(())
    }

    fn go_on(&mut self, read: usize) -> Poll<()> {
        if read <= BARREN {
            return Poll::Ready(());
        }
        self.cx.waker().wake_by_ref(); // the task yields, but has to be polled again
        Poll::Pending
    }
}

struct Both(Waker, Waker);

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
        self.1.wake_by_ref();
    }
}
