//! The dialogue with a proxy, without I/O: it asks for a tunnel to the server, by HTTP's CONNECT or
//! by SOCKS5, before TLS to the server and the opening handshake.
//!
//! Its limits are those of an opening handshake: [`max_head`](Config::max_head) and the others on a
//! head apply to the proxy's answer, and [`handshake_timeout`](Config::handshake_timeout) counts
//! from the beginning of the dial.
//!
//! ```text
//! outgoing, advance      until all is written
//! spare_mut, commit --> step --> Partial   write what there is, then read more
//!                            --> Complete  the tunnel begins behind the answer
//!                            --> Err(e)    there is no tunnel
//! ```
#[cfg(test)]
mod tests;

use super::{Answer, ReadAnswer, http_connect, socks5};
use crate::proto::{
    config::Config,
    handshake::{
        HandshakeError, Progress, Reading,
        client::{Refusal, body::Body, response::Refuser},
    },
    role::Role,
    url::{Target, UrlError, check, known, split_scheme},
};
use core::fmt;
use std::vec::Vec;

/// The first bytes to send to a proxy, and what parses its answers.
type Begin = fn(Option<&[u8]>, &Target) -> Result<(Vec<u8>, ReadAnswer), HandshakeError>;

/// The address of a proxy, its protocol, and our credentials.
#[derive(Clone)]
pub struct Address {
    /// A function pointer, so that a program without a `Proxy` does not link the code of the
    /// protocols.
    begin: Begin,
    /// `secure` is set if the proxy's URL asks for TLS.
    pub(crate) target: Target,
}

impl Address {
    /// Parses a URL with the scheme `http`, `https`, `socks5` or `socks5h`. A URL without a scheme
    /// counts as `http`.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        check(url)?;
        let (scheme, rest) = split_scheme(url).unwrap_or(("http", url));
        let (secure, port, socks5) = match known(scheme) {
            Some("http") => (false, 80, false),
            Some("https") => (true, 443, false),
            Some("socks5" | "socks5h") => (false, 1080, true),
            _ => return Err(UrlError::NotProxy),
        };
        let target = Target::behind_scheme(rest, secure, port)?;
        if target.resource() != "/" {
            return Err(UrlError::NotProxy); // a proxy has no use for a path or a query
        }
        // Otherwise `socks5::begin` would silently leave out a login that SOCKS5 cannot carry.
        if socks5 && target.userinfo().is_some_and(|userinfo| socks5::login(userinfo).is_none()) {
            return Err(UrlError::BadUserinfo);
        }
        Ok(Self { begin: if socks5 { socks5::begin } else { http_connect::begin }, target })
    }
}

/// Hides the user and the password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

/// The exchange with a proxy, up to the tunnel.
pub struct Dialogue {
    /// The bytes received, and the deadline of the dialogue.
    pub reading: Reading,
    /// The bytes to write now.
    request: Vec<u8>,
    read_answer: ReadAnswer,
    refusal: Option<Body>,
}

impl Dialogue {
    /// Makes the dialogue that asks `proxy` for a tunnel to `server`. Only the proxy resolves the
    /// name of `server`.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Socks`] for a name that SOCKS5 cannot carry.
    pub fn new(proxy: &Address, server: &Target, config: &Config) -> Result<Self, HandshakeError> {
        let (request, read_answer) = (proxy.begin)(proxy.target.userinfo(), server)?;
        Ok(Self {
            reading: Reading::new(Role::Client, config),
            request,
            read_answer,
            refusal: None,
        })
    }

    /// The bytes to write before the next read.
    pub fn outgoing(&self) -> &[u8] {
        &self.request
    }

    /// Reports that the first `n` bytes of [`outgoing`](Self::outgoing) were written. If `outgoing`
    /// has fewer than `n` bytes, all of them count as written.
    pub fn advance(&mut self, n: usize) {
        self.request.drain(..n.min(self.request.len()));
    }

    /// Parses the committed bytes. After `Complete` or an error, further calls return the same
    /// result.
    ///
    /// # Errors
    ///
    /// The first fault found. An error is final: drop the stream.
    #[must_use = "once complete there is a tunnel, after an error there will be none"]
    pub fn step(&mut self) -> Result<Progress, HandshakeError> {
        if let Some(outcome) = self.reading.outcome() {
            return outcome;
        }
        let found = self.look();
        self.reading.conclude(found)
    }

    fn look(&mut self) -> Result<Progress, HandshakeError> {
        if let Some(body) = &mut self.refusal {
            return body.step(&mut self.reading);
        }
        // Bytes that have arrived by now cannot answer an unsent request.
        if !self.outgoing().is_empty() {
            return Ok(Progress::Partial);
        }
        match (self.read_answer)(&mut self.reading, &mut self.request)? {
            Answer::Partial => Ok(Progress::Partial),
            Answer::Tunnel => Ok(Progress::Complete),
            Answer::Refused(line) => {
                let body = Body::behind(&mut self.reading, line, Refuser::Proxy);
                self.refusal.insert(body).step(&mut self.reading)
            }
        }
    }

    /// Whether the proxy has refused, though its body may still arrive.
    pub fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// The response that refuses the tunnel, with the part of its body that has arrived.
    pub fn into_refusal(self) -> Option<Refusal> {
        self.refusal.map(|body| body.refusal)
    }
}

/// Shows the progress, but no bytes that were sent or received.
impl fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialogue")
            .field("state", self.reading.state())
            .field("unsent", &self.request.len())
            .finish_non_exhaustive()
    }
}
