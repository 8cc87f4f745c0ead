//! The client's side of the opening handshake (RFC 6455 §4.1). [`Handshake`] encodes the request,
//! checks the response, and becomes a [`Connection`].
//!
//! ```text
//! outgoing, advance      until the request is written
//! spare_mut, commit --> step --> Partial   read more
//!                            --> Complete  the server agreed: into_connection()
//!                            --> Err(e)    it did not; Refused: into_refusal() says why
//! ```
//!
//! This module makes every check of §4.1. The caller handles connecting, TLS, proxies, redirects
//! and retries.
pub(crate) mod body;
mod challenge;
mod check;
mod date;
mod request;
pub(crate) mod response;

pub use request::Request;
pub use response::Refusal;

use super::{
    ACCEPT_LEN, HandshakeError, KEY_LEN, Progress, accept_value, deflate,
    head::{self, Headers, StatusLine},
    reading::Reading,
    server::PROTOCOL,
};
use crate::proto::{
    config::{Config, Negotiated},
    connection::Connection,
    entropy::Entropy,
    outlined::Outlined,
    role::Role,
    trace,
};
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use base64::{Engine, engine::general_purpose::STANDARD};
use body::Body;
use core::fmt;
use request::OnResponse;
use response::Refuser;

/// A request that is being written, or its response that is being read. The buffer of the response
/// becomes the connection's buffer.
///
/// First write [`outgoing`](Self::outgoing) and call [`advance`](Self::advance), until `outgoing`
/// is empty. Then call [`spare_mut`], read, call [`commit`] or [`end_of_stream`], and
/// [`step`](Self::step), until `step` no longer returns [`Partial`](Progress::Partial). While you
/// wait for bytes, use [`poll_timeout`] and [`handle_timeout`]. The calls for reading and for the
/// time are methods of the field [`reading`](Self::reading).
///
/// ```
/// use std::{error::Error, io::{Read, Write}};
/// use tickwire::{Connection, Time, handshake::{Progress, client::Handshake}};
///
/// fn open<S: Read + Write>(
///     io: &mut S,
///     mut client: Handshake,
///     now: impl Fn() -> Time,
/// ) -> Result<Connection, Box<dyn Error>> {
///     while !client.outgoing().is_empty() {
///         let n = io.write(client.outgoing())?;
///         client.advance(n);
///     }
///     while client.step()? == Progress::Partial {
///         client.reading.handle_timeout(now())?;
///         match io.read(client.reading.spare_mut())? {
///             0 => client.reading.end_of_stream(),
///             n => client.reading.commit(n),
///         }
///     }
///     Ok(client.into_connection()?)
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
    entropy: Box<dyn Entropy + Send + Sync>,
    request: Vec<u8>,
    /// Invariant: `sent <= request.len()`.
    sent: usize,
    /// The value that answers our key.
    expected: [u8; ACCEPT_LEN],
    subprotocols: Vec<String>,
    require_subprotocol: bool,
    on_response: Option<Arc<OnResponse>>,
    /// The status line of a complete 101 at the front of the buffer.
    head: Option<StatusLine>,
    /// A final response other than a 101, with what has come of its body.
    refusal: Outlined<Option<Body>>,
}

impl Handshake {
    /// Encodes the request, with a nonce from `entropy`. The connection takes its masking keys from
    /// `entropy` too.
    pub fn new(
        request: &Request,
        config: &Config,
        entropy: impl Entropy + Send + Sync + 'static,
    ) -> Self {
        let mut entropy: Box<dyn Entropy + Send + Sync> = Box::new(entropy);
        // §4.1 item 7: 16 bytes, fresh for each connection.
        let mut nonce = [0; 16];
        entropy.fill(&mut nonce);
        let mut key = [0; KEY_LEN];
        let written = STANDARD.encode_slice(nonce, &mut key); // The base64 of 16 bytes fills `key`.
        debug_assert_eq!(written, Ok(KEY_LEN));
        Self {
            reading: Reading::new(Role::Client, config),
            config: config.clone(),
            entropy,
            request: request.encode(&key, config),
            sent: 0,
            expected: accept_value(&key),
            subprotocols: request.subprotocols.clone(),
            require_subprotocol: request.require_subprotocol,
            on_response: request.on_response.clone(),
            head: None,
            refusal: Outlined::default(),
        }
    }

    /// The part of the request that is still to be written. Nothing else may be written before the
    /// handshake is [`Complete`](Progress::Complete) (§4.1).
    pub fn outgoing(&self) -> &[u8] {
        self.request.get(self.sent..).unwrap_or_default()
    }

    /// Reports that the first `n` bytes of [`outgoing`](Self::outgoing) were written. A larger `n`
    /// counts as the length of `outgoing`. Until the whole request is reported as written,
    /// [`step`](Self::step) refuses a 101.
    pub fn advance(&mut self, n: usize) {
        self.sent += n.min(self.request.len() - self.sent);
    }

    /// Checks the bytes committed. Returns [`Complete`](Progress::Complete) once the response is a
    /// 101 that has passed every check of RFC 6455 §4.1. Interim responses are skipped. The work is
    /// linear in the length of the input, even if the bytes arrive one by one. After
    /// [`Complete`](Progress::Complete) or an error, each call returns the same result.
    ///
    /// # Errors
    ///
    /// The first fault found. [`Refused`](HandshakeError::Refused) is returned as soon as the body
    /// or all that is [kept](Refusal::body) of it has arrived, a chunk of the body is invalid, the
    /// stream has ended, or `handle_timeout` has ended the wait for the body (at most a second).
    /// [`response`](Self::response) returns status and headers as soon as the head is complete. An
    /// error is final: drop the stream, unless it is a refusal after which you [ask
    /// again](crate::guide::recipes::feeds#log-in-by-digest).
    #[must_use = "`Complete` means that the connection is open; an error means that it never opens"]
    pub fn step(&mut self) -> Result<Progress, HandshakeError> {
        if let Some(outcome) = self.reading.outcome() {
            return outcome;
        }
        let found = self.look();
        self.reading.conclude(found)
    }

    fn look(&mut self) -> Result<Progress, HandshakeError> {
        if self.refusal.is_none() {
            let Some(line) = self.reading.final_response()? else {
                return Ok(Progress::Partial);
            };
            if line.status == 101 {
                // Only HTTP/1.1 can be upgraded (RFC 9110 §7.8).
                if line.minor != 1 {
                    return Err(HandshakeError::BadHttpVersion);
                }
                // Before the check, so that `response` also shows a 101 that fails it.
                self.head = Some(line);
                self.reading.has_head = true;
                self.check(Headers::of(self.reading.wire().get(..line.len).unwrap_or_default()))?;
                return Ok(Progress::Complete);
            }
            *self.refusal = Some(Body::behind(&mut self.reading, line, Refuser::Server));
        }
        match &mut *self.refusal {
            Some(body) => body.step(&mut self.reading),
            None => Ok(Progress::Partial), // This never happens: `refusal` is set above.
        }
    }

    /// The status and headers of the 101 or of a refusal, once the head is complete. Interim
    /// responses are not shown.
    pub fn response(&self) -> Option<(u16, Headers<'_>)> {
        if let Some(Body { refusal, .. }) = &*self.refusal {
            return Some((refusal.status, refusal.headers()));
        }
        let StatusLine { status, len, .. } = self.head?;
        Some((status, Headers::of(self.reading.wire().get(..len)?)))
    }

    /// Becomes the connection. The connection's first input is the bytes after the response.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Incomplete`] if the response is not complete. The error of
    /// [`step`](Self::step) if the response failed a check.
    pub fn into_connection(mut self) -> Result<Connection, HandshakeError> {
        let (Progress::Complete, Some(StatusLine { len, .. })) = (self.step()?, self.head) else {
            return Err(HandshakeError::Incomplete);
        };
        let headers = Headers::of(self.reading.buf.wire().get(..len).unwrap_or_default());
        let name = headers.get(PROTOCOL);
        let negotiated = Negotiated {
            subprotocol: name.map(|name| head::text(name).into()),
            deflate: deflate::agree(headers.clone(), &self.config)?,
        };
        if let Some(hook) = &self.on_response {
            hook(headers);
        }
        trace::opened(Role::Client, || self.path(), negotiated.subprotocol.as_deref());
        let mut connection =
            Connection::new(Role::Client, &self.config, negotiated, Some(self.entropy));
        self.reading.end(len, &mut connection, &[]);
        Ok(connection)
    }

    /// The server's response, if it is a refusal, with the part of the body that has arrived.
    /// Otherwise `None`.
    pub fn into_refusal(mut self) -> Option<Refusal> {
        self.refusal.take().map(|body| body.refusal)
    }

    fn path(&self) -> &str {
        let target = self.request.split(|&b| b == b' ').nth(1).unwrap_or_default();
        head::text(target.split(|&b| b == b'?').next().unwrap_or_default())
    }
}

/// Shows the progress, but no bytes sent or received.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("state", self.reading.state())
            .field("unsent", &self.outgoing().len())
            .field("response", &self.response())
            .finish_non_exhaustive()
    }
}
