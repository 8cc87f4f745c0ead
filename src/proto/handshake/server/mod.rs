//! The server's side of the opening handshake (RFC 6455 §4.2). [`Handshake`] checks the request,
//! and becomes a [`Connection`] or makes the response that rejects the request.
//!
//! ```text
//! spare_mut, commit --> step --> Partial   read more
//!                            --> Complete  request() is an upgrade: accept(..) or reject(..)
//!                            --> Err(e)    write reject(e), shut for writing, drain, drop
//! ```
//!
//! This module checks every requirement of RFC 6455 on a request. The caller looks at
//! [`Handshake::request`] and decides which targets to serve and which origins and users to admit.
//! [`Origins`] checks origins. After a rejection, always end the stream, because bytes after a
//! rejected request must never be read as a second request or as frames.
//!
//! # Who is asking
//!
//! The same-origin policy does not apply to WebSockets. Any page may open a WebSocket to any
//! server. The browser then sends the user's cookies for that server, unless the cookies'
//! `SameSite` attribute forbids this. Some servers recognise a user by cookies, or trust every
//! request from a local network or a loopback address. These servers must check the Origin, which a
//! page cannot set (RFC 6455 §10.2). Otherwise every page that a user visits can act in the user's
//! name (cross-site WebSocket hijacking).
//!
//! ```
//! use tickwire::handshake::{HandshakeError, server::{Origins, Rejection, RequestHead}};
//!
//! fn admit(request: &RequestHead<'_>, ours: &Origins) -> Result<(), Rejection> {
//!     if !ours.allows(request) {
//!         return Err(HandshakeError::OriginNotAllowed.into()); // 403, and the stream ends
//!     }
//!     if request.headers().get("Origin").is_none() && request.headers().get("Cookie").is_some() {
//!         return Err(Rejection::new(403)); // a browser that sends cookies sends an Origin too
//!     }
//!     Ok(())
//! }
//! # let ours = Origins::new(["https://example.com"])?;
//! # let _ = (admit, ours);
//! # Ok::<(), tickwire::handshake::HeaderError>(())
//! ```
//!
//! A page cannot add headers, such as `Authorization`, to the request. But the page can send a
//! token as one of the subprotocols: `new WebSocket(url, ["ticks.v1", "bearer." + token])`. Let the
//! server choose `ticks.v1`. If the server chose the token, its response would repeat the token,
//! and events of `tracing` would show it.
//!
//! ```
//! use tickwire::handshake::server::{Accept, RequestHead};
//!
//! fn token<'a>(request: &RequestHead<'a>) -> Option<&'a str> {
//!     request.subprotocols().find_map(|name| name.strip_prefix("bearer."))
//! }
//!
//! let accept = Accept::default().subprotocols(&["ticks.v1"]);
//! # let _ = (token, accept);
//! ```
//!
//! Do not put a token in the URL's query, because proxies and servers log URLs. The example `auth`
//! shows cookies, tokens, `Authorization: Bearer` and `Basic`, and a comparison in constant time.
mod check;
mod origins;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub(super) use check::once;
pub use origins::Origins;
pub(super) use origins::normalise;
pub use request::RequestHead;
pub use response::{Accept, Rejection};

use super::{
    HandshakeError, KEY_LEN, Progress, accept_value, deflate, head::RequestLine, reading::Reading,
};
use crate::proto::{
    config::{Config, Negotiated},
    connection::Connection,
    role::Role,
    trace,
};
use alloc::{format, vec::Vec};
use core::fmt;

const HOST: &str = "Host";
pub(super) const ORIGIN: &str = "Origin";
const UPGRADE: &str = "Upgrade";
pub(super) const PROTOCOL: &str = "Sec-WebSocket-Protocol";

/// A request that is being read. Its buffer becomes the connection's buffer.
///
/// Call [`spare_mut`], read, call [`commit`] or [`end_of_stream`], then [`step`](Self::step).
/// Repeat this until `step` no longer returns [`Partial`](Progress::Partial). While you wait for
/// bytes, use [`poll_timeout`] and [`handle_timeout`]. All these calls except `step` are methods of
/// [`reading`](Self::reading).
///
/// ```
/// use std::{error::Error, io::{Read, Write}};
/// use tickwire::{Config, Connection, Time, handshake::{Progress, server::{Accept, Handshake}}};
///
/// fn accept<S: Read + Write>(
///     io: &mut S,
///     now: impl Fn() -> Time,
/// ) -> Result<Connection, Box<dyn Error>> {
///     let mut server = Handshake::new(&Config::server());
///     loop {
///         match server.step() {
///             Ok(Progress::Complete) => return Ok(server.accept(Accept::default())?),
///             Ok(Progress::Partial) if server.reading.handle_timeout(now()).is_ok() => {}
///             Ok(Progress::Partial) => continue, // too late: now `step` returns the error
///             Err(error) => {
///                 io.write_all(&server.reject(error.clone()))?; // then shut and drain
///                 return Err(error.into());
///             }
///         }
///         match io.read(server.reading.spare_mut())? {
///             0 => server.reading.end_of_stream(),
///             n => server.reading.commit(n),
///         }
///     }
/// }
/// ```
///
/// [`spare_mut`]: Reading::spare_mut
/// [`commit`]: Reading::commit
/// [`end_of_stream`]: Reading::end_of_stream
/// [`poll_timeout`]: Reading::poll_timeout
/// [`handle_timeout`]: Reading::handle_timeout
pub struct Handshake {
    /// The reading part of this handshake. Report to it the bytes read, the end of the stream, and
    /// the time.
    pub reading: Reading,
    config: Config,
    /// Of the request at the front of the buffer, once it is complete and well-formed.
    head: Option<RequestLine>,
    /// The key of a request that passed the checks.
    key: [u8; KEY_LEN],
    /// One empty line in front of the request, and no more, is skipped.
    skipped: bool,
}

impl Handshake {
    /// Makes a handshake that waits for a request, with the limits of `config`. Allocates no buffer
    /// yet.
    pub fn new(config: &Config) -> Self {
        Self {
            reading: Reading::new(Role::Server, config),
            config: config.clone(),
            head: None,
            key: [0; KEY_LEN],
            skipped: false,
        }
    }

    /// Checks the bytes committed. Returns [`Complete`](Progress::Complete) once the request is
    /// complete and has passed every check of RFC 6455 §4.2.1. The work is linear in the length of
    /// the input, even if the bytes arrive one by one. After [`Complete`](Progress::Complete) or an
    /// error, each call returns the same result.
    ///
    /// # Errors
    ///
    /// The first fault found. After an error, write the response of [`reject`](Self::reject), shut
    /// the stream for writing, drain it for a moment, and drop it.
    #[must_use = "a complete request waits for `accept`, and a faulty request for `reject`"]
    pub fn step(&mut self) -> Result<Progress, HandshakeError> {
        if let Some(outcome) = self.reading.outcome() {
            return outcome;
        }
        let found = self.look();
        self.reading.conclude(found)
    }

    fn look(&mut self) -> Result<Progress, HandshakeError> {
        let reading = &mut self.reading;
        // RFC 9112 §2.2: one empty line before a request is ignored.
        if !self.skipped && reading.buf.wire().starts_with(b"\r\n") {
            self.skipped = true;
            // No restart, even if the CR arrived alone: the scan passes a CR only together with the
            // LF, so it is still at index 0.
            reading.buf.skip(2);
        }
        let wire = reading.buf.wire();
        let (line, checked) = match RequestLine::parse_at_once(wire, &reading.scan, check::request)
        {
            Some(found) => found,
            None => {
                let parsed = match reading.head_len() {
                    Ok(Some(len)) => {
                        let head = reading.buf.wire().get(..len).unwrap_or_default();
                        RequestLine::parse(head, check::request)
                    }
                    Ok(None) => return Ok(Progress::Partial),
                    Err(error) => Err(error),
                };
                parsed.map_err(|error| unless_other_protocol(error, reading.buf.wire()))?
            }
        };
        // Before `checked?`, so that `request` also shows a request that failed the checks.
        self.head = Some(line);
        reading.has_head = true;
        self.key = *checked?;
        Ok(Progress::Complete)
    }

    /// The request, once it is complete and well-formed HTTP/1.1 or 1.0, even if it is not a valid
    /// upgrade. So a program can respond to plain HTTP itself. After this response, the program
    /// must end the stream. [`step`](Self::step) says whether the request passed the checks.
    pub fn request(&self) -> Option<RequestHead<'_>> {
        let line = self.head?;
        Some(RequestHead { line, head: self.reading.buf.wire().get(..line.len)? })
    }

    /// Becomes the connection. The connection's first output is the 101 response, and its first
    /// input is the bytes after the request.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Incomplete`] if the request is not complete. The error of
    /// [`step`](Self::step) if the request failed a check.
    pub fn accept(mut self, accept: Accept<'_>) -> Result<Connection, HandshakeError> {
        let (Progress::Complete, Some(request)) = (self.step()?, self.request()) else {
            return Err(HandshakeError::Incomplete);
        };
        let chosen = accept.choose(&request);
        let protocol = chosen.map(|name| format!("{PROTOCOL}: {name}\r\n")).unwrap_or_default();
        let config = accept.own_config().map_or(&self.config, |chosen| chosen);
        // A configuration in `accept` replaces the handshake's, for compression too.
        let (extension, deflate) = deflate::accept(request.headers(), config);
        let negotiated = Negotiated { subprotocol: chosen.map(Into::into), deflate };
        // §4.2.2 step 5.
        let value = accept_value(&self.key);
        let response: [&[u8]; 7] = [
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: ",
            &value,
            b"\r\n",
            protocol.as_bytes(),
            extension.as_bytes(),
            accept.lines.as_bytes(),
            b"\r\n",
        ];
        trace::opened(Role::Server, || request.path(), negotiated.subprotocol.as_deref());
        let head_len = request.head.len();
        let mut connection = Connection::server(config, negotiated);
        self.reading.end(head_len, &mut connection, &response);
        Ok(connection)
    }

    /// Returns the bytes of a response that rejects the request. The request may be valid or
    /// faulty. Write these bytes, shut the stream for writing, drain it for a moment, and drop it.
    /// The response to an error has the error's [`status`](HandshakeError::status) and says in
    /// plain text what is wrong, but repeats no text from the request.
    ///
    /// The response always has `Connection: close`. It has a Date if [`Rejection::date`] is set. It
    /// has a Content-Length, except with the status 204 or 304. A HEAD request gets no body.
    pub fn reject(&self, rejection: impl Into<Rejection>) -> Vec<u8> {
        let head_only = self.request().is_some_and(|request| request.method() == "HEAD");
        rejection.into().encode(head_only)
    }
}

/// Replaces the error of bytes that begin another protocol.
#[cold]
fn unless_other_protocol(error: HandshakeError, wire: &[u8]) -> HandshakeError {
    let what = match (error, wire) {
        // 0x16 begins a TLS handshake: a client has dialed `wss` to a port without TLS. The scan
        // always fails at 0x16, which is a control character.
        (_, [0x16, ..]) => "this is TLS, not HTTP",
        (HandshakeError::Malformed { .. }, [b'P', b'R', b'O', b'X', b'Y', b' ', ..]) => {
            "this is the PROXY protocol, not HTTP"
        }
        _ => return error,
    };
    HandshakeError::Malformed { what }
}

/// Shows the progress and the request, but neither the query nor the values of headers.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("state", self.reading.state())
            .field("request", &self.request())
            .finish()
    }
}
