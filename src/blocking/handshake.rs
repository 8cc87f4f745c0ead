//! The opening handshakes on a stream that blocks.
use super::{
    Stream, WebSocket,
    thread::{Thread, context},
};
use crate::{
    drive::{
        self, Timed,
        calls::{incoming, names::*},
        sync::Instant,
    },
    proto::{config::Config, handshake::client::Request},
};
use std::{future::poll_fn, pin::pin, task::Poll};

/// Sets TCP_NODELAY, if the stream has this option. Then reads an opening request, and accepts
/// it if it is valid. Use [`Incoming`] to look at the request first: at the path, at [who is
/// asking](crate::handshake::server#who-is-asking), at the
/// [origin](crate::handshake::server::Origins). A server that recognises users by cookies must
/// check the origin.
///
/// This call waits for the request for at most [`handshake_timeout`](Config::handshake_timeout). If
/// the stream has no room for the response, the call waits for up to
/// [`write_timeout`](Config::write_timeout) more. (A new socket has room.) After a bad request the
/// call waits for up to a second more. So call `accept` in a thread of its own, not in the loop
/// that accepts sockets. That loop must bound the number of these threads: see the example
/// `bounded`.
///
/// # Errors
///
/// The errors of [`Incoming::read`] and [`Incoming::accept`].
pub fn accept<S: Stream>(io: S, config: &Config) -> Result<WebSocket<S>, Error> {
    Incoming::read(io, config)?.accept(Accept::default())
}

/// Makes the opening handshake as a client, over the caller's stream, for example TLS, a Unix
/// socket or a tunnel. Sets TCP_NODELAY, if the stream has this option. Later, receiving calls may
/// change the stream's read timeout.
///
/// This call waits for at most [`handshake_timeout`](Config::handshake_timeout).
///
/// # Errors
///
/// [`Error::Io`] if the stream fails. [`Error::Handshake`] if the handshake fails.
/// [`Error::Refused`] for a status other than 101. [`Error::WouldBlock`] for a non-blocking stream:
/// make the stream blocking during the handshake, or use
/// [`client::Handshake`](crate::handshake::client::Handshake) and [`WebSocket::from_parts`].
#[cfg(feature = "client")]
pub fn client<S: Stream>(io: S, request: &Request, config: &Config) -> Result<WebSocket<S>, Error> {
    client_since(Instant::now(), io, request, config)
}

#[cfg(feature = "client")]
pub(crate) fn client_since<S: Stream>(
    began: Instant,
    io: S,
    request: &Request,
    config: &Config,
) -> Result<WebSocket<S>, Error> {
    wait(drive::client(Timed::opening(began, io), request, config))?.map(WebSocket)
}

/// A client's request, and the client's stream. Look at the request, then accept or reject it.
/// [Know who is asking](crate::guide::recipes::servers#know-who-is-asking) says what to check.
///
/// ```no_run
/// use tickwire::handshake::{HandshakeError, server::Accept};
/// use tickwire::{Config, Error, blocking::Incoming};
///
/// # fn serve(stream: std::net::TcpStream) -> Result<(), Error> {
/// let incoming = Incoming::read(stream, &Config::server())?;
/// if incoming.request().path() != "/feed" {
///     return incoming.reject(HandshakeError::NotFound);
/// }
/// let mut ws = incoming.accept(Accept::default().subprotocols(&["ticks.v2", "ticks.v1"]))?;
/// ws.send("welcome")
/// # }
/// ```
#[derive(Debug)]
pub struct Incoming<S>(drive::Incoming<Timed<S, Thread>>);

impl<S: Stream> Incoming<S> {
    /// Reads a request and makes all checks of RFC 6455 §4.2.1. If the request is bad, this call
    /// answers with the error's status and ends the stream.
    ///
    /// Sets TCP_NODELAY, if the stream has this option. Later, receiving calls may change the
    /// stream's read timeout.
    ///
    /// # Errors
    ///
    /// [`Error::Handshake`] if the request is bad, or is not complete within
    /// [`handshake_timeout`](Config::handshake_timeout). In both cases this call answers the
    /// request. [`Error::Io`] if the stream fails. [`Error::WouldBlock`] for a non-blocking stream:
    /// make the stream blocking until `accept` has returned, or use
    /// [`server::Handshake`](crate::handshake::server::Handshake) and [`WebSocket::from_parts`].
    pub fn read(io: S, config: &Config) -> Result<Self, Error> {
        let this = Self::read_any(io, config)?;
        let Some(error) = this.error() else { return Ok(this) };
        // The error of the request is the result, even if the answer cannot be written.
        let _ = this.reject(error);
        Err(error.into())
    }

    /// Like [`read`](Self::read), but also returns a request that fails the checks or is not
    /// complete in time: [`error`](Self::error) says what is wrong. Answer this request with
    /// [`reject`](Self::reject). Use this call in servers that also serve a web page.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the stream fails. [`Error::WouldBlock`] as for [`read`](Self::read).
    pub fn read_any(io: S, config: &Config) -> Result<Self, Error> {
        let mut this = drive::Incoming::new(Timed::opening(Instant::now(), io), config);
        let _ = wait(poll_fn(|cx| this.poll_request(cx)))??; // `error` repeats it
        Ok(Self(this))
    }

    incoming!(WebSocket<S>);

    /// Accepts the request, and writes the response before the call returns. Pass
    /// `Accept::default()` if there is nothing to choose.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the stream fails. [`Error::Recv`] if the stream took too few bytes for
    /// [`write_timeout`](Config::write_timeout). [`Error::WouldBlock`] on a non-blocking stream.
    /// [`Error::Handshake`] with the [`error`](Self::error) of a bad request, which then gets no
    /// answer.
    #[rustfmt::skip] // if a caller passes no argument, rustc shows the next line, with its hint
    pub fn accept(self, /* Accept::default() */ accept: Accept<'_>)
        -> Result<WebSocket<S>, Error> {
        let mut ws = self.accept_corked(accept)?;
        ws.flush()?;
        Ok(ws)
    }

    /// Rejects the request: writes the response, and ends the stream. A Date header is added if the
    /// response has none. After the response, this call discards input until the peer ends its side
    /// of the stream, for at most a second. Otherwise unread input could make the peer lose the
    /// response. If your thread has more to do, do it before this call.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the response could not be written. [`Error::Recv`] if writing took longer
    /// than [`write_timeout`](Config::write_timeout). [`Error::WouldBlock`] on a non-blocking
    /// stream.
    pub fn reject(mut self, rejection: impl Into<Rejection>) -> Result<(), Error> {
        wait(self.0.answer(rejection.into()))??;
        let _ = wait(self.0.linger()); // if the stream cannot wait, discards only what has arrived
        Ok(())
    }
}

/// By one poll, which itself waits, in `poll_wait`. If the stream is non-blocking or cannot wait,
/// drops the future and returns `WouldBlock`.
pub(crate) fn wait<F: Future>(future: F) -> Result<F::Output, Error> {
    match pin!(future).poll(&mut context()) {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => Err(Error::WouldBlock),
    }
}

impl<S: Stream> Timed<S, Thread> {
    pub(crate) fn opening(began: Instant, io: S) -> Self {
        let _ = io.set_nodelay(true); // if this fails, small writes may leave later
        Self::new(io, began)
    }
}
