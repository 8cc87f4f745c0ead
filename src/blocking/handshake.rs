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
    proto::{
        config::Config,
        handshake::{HandshakeError, client::Request},
    },
};
use std::{pin::pin, task::Poll};

/// The result of a poll of this adapter. Its polls wait by themselves, so `Pending` means that the
/// stream does not block.
fn ready_or_would_block<T>(poll: Poll<T>) -> Result<T, Error> {
    match poll {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => Err(Error::WouldBlock),
    }
}

/// Reads an opening request and accepts any good one, with TCP_NODELAY on. Use [`Incoming`] to look
/// at the request first: at the path, at [who is asking](crate::handshake::server#who-is-asking),
/// at the [origin](crate::handshake::server::Origins). A server whose users have cookies must check
/// the origin.
///
/// It waits for at most [`handshake_timeout`](Config::handshake_timeout). Add
/// [`write_timeout`](Config::write_timeout) for a stream that refuses the answer (a socket accepts
/// it at once), and a second after a refusal. So call it in its own thread, not in the loop that
/// accepts. That loop must bound the number of these threads: see the example `bounded`.
///
/// # Errors
///
/// As [`Incoming::read`].
pub fn accept<S: Stream>(io: S, config: &Config) -> Result<WebSocket<S>, Error> {
    Incoming::read(io, config)?.accept(Accept::default())
}

/// The opening handshake as a client, over the caller's stream: TLS, a Unix socket, a tunnel.
/// Sets TCP_NODELAY, where the stream has it, and the stream's timeouts.
///
/// Waits for at most [`handshake_timeout`](Config::handshake_timeout).
///
/// # Errors
///
/// [`Error::Io`], [`Error::Handshake`], and [`Error::Refused`] for a status other than 101;
/// [`Error::WouldBlock`] for a non-blocking stream: make it block during the handshake, or use
/// [`client::Handshake`](crate::handshake::client::Handshake) and [`WebSocket::from_parts`].
pub fn client<S: Stream>(io: S, request: &Request, config: &Config) -> Result<WebSocket<S>, Error> {
    client_since(Instant::now(), io, request, config, &[])
}

/// [`client`] for a dialed stream. Its time began at `began`. `ahead` has the bytes that were read
/// from the stream before.
pub(crate) fn client_since<S: Stream>(
    began: Instant,
    io: S,
    request: &Request,
    config: &Config,
    ahead: &[u8],
) -> Result<WebSocket<S>, Error> {
    wait(drive::client(Timed::opening(began, io), request, config, ahead))?.map(WebSocket)
}

/// An opening request that was read. Accept or reject it when you are ready.
#[derive(Debug)]
pub struct Incoming<S>(drive::Incoming<Timed<S, Thread>>);

impl<S: Stream> Incoming<S> {
    incoming!(WebSocket<S>);

    /// Reads a request and makes all checks of RFC 6455 §4.2.1. If the request is bad, this answers
    /// with the error's status and ends the stream.
    ///
    /// Sets TCP_NODELAY, where the stream has it, and the stream's timeouts.
    ///
    /// # Errors
    ///
    /// [`Error::Handshake`] for a bad request, which this has answered, or for a request that is
    /// not complete within [`handshake_timeout`](Config::handshake_timeout). [`Error::Io`].
    /// [`Error::WouldBlock`] for a non-blocking stream: make it block until it is accepted, or use
    /// [`server::Handshake`](crate::handshake::server::Handshake) and [`WebSocket::from_parts`].
    pub fn read(io: S, config: &Config) -> Result<Self, Error> {
        let (this, checked) = Self::read_any(io, config)?;
        let Err(error) = checked else { return Ok(this) };
        // The error of the request is the result, even if the peer did not take the answer.
        let _ = this.reject(error);
        Err(error.into())
    }

    /// Like [`read`](Self::read), but also returns well-formed HTTP that is not a good opening
    /// request. Answer it with [`reject`](Self::reject). This is for servers that also show a page.
    /// The second value says what is wrong with the request.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::WouldBlock`].
    pub fn read_any(io: S, config: &Config) -> Result<(Self, Result<(), HandshakeError>), Error> {
        let mut this = drive::Incoming::new(Timed::opening(Instant::now(), io), config);
        let checked = ready_or_would_block(this.poll_request(&mut context()))??;
        Ok((Self(this), checked))
    }

    /// Accepts, and writes the response before it returns.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Recv`] if the stream took nothing for
    /// [`write_timeout`](Config::write_timeout); [`Error::WouldBlock`] on a stream that does not
    /// block; [`Error::Handshake`] for a request that [`read_any`](Self::read_any) found bad.
    pub fn accept(self, accept: Accept<'_>) -> Result<WebSocket<S>, Error> {
        let mut ws = self.accept_corked(accept)?;
        ws.flush()?;
        Ok(ws)
    }

    /// Rejects the request. It writes the response, with the date unless the response has one, and
    /// ends the stream. Then it waits up to a second for the peer to end its side, because unread
    /// input could cost the peer the response.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the response could not be written, [`Error::Recv`] if that took longer than
    /// [`write_timeout`](Config::write_timeout), [`Error::WouldBlock`] on a stream that does not
    /// block.
    pub fn reject(mut self, rejection: impl Into<Rejection>) -> Result<(), Error> {
        wait(self.0.answer(rejection.into()))??;
        let _ = wait(self.0.linger()); // a stream that does not block gives what it has
        Ok(())
    }
}

/// The result of a future whose polls wait by themselves.
pub(crate) fn wait<F: Future>(future: F) -> Result<F::Output, Error> {
    ready_or_would_block(pin!(future).poll(&mut context()))
}

impl<S: Stream> Timed<S, Thread> {
    /// For an opening handshake that began at `began`.
    pub(crate) fn opening(began: Instant, io: S) -> Self {
        let _ = io.set_nodelay(true); // if that fails, reading will too
        Self::new(io, began)
    }
}
