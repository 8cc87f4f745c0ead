//! The client's side of the opening handshake (RFC 6455 §4.1): write the request, check the
//! response, become a [`Connection`].
//!
//! ```text
//! outgoing, advance      until the request is written
//! spare_mut, commit --> step --> Ok(false)  read more
//!                            --> Ok(true)   the server agreed: into_connection()
//!                            --> Err(e)     it did not; Refused: into_refusal() says why
//! ```
//!
//! Every check of §4.1 is made here. Connecting, TLS, proxies, redirects and trying again are left
//! to the caller, who is told enough to do so.
#[cfg(feature = "deflate")]
use super::extensions::Extensions;
use super::{
    ACCEPT_LEN, Deadline, HandshakeError, HeaderError, KEY_LEN, accept_value, check_header, date,
    extensions,
    head::{self, Headers, ResponseHead, Scan},
    server,
};
#[cfg(feature = "deflate")]
use crate::proto::deflate::{Agreed, Offer};
use crate::proto::{
    config::{Config, Negotiated},
    connection::{Connection, RecvBuffer},
    entropy::Entropy,
    role::Role,
    shown::Shown,
    time::Time,
    trace,
    url::{Target, UrlError},
};
use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use core::{fmt, time::Duration};

const AUTHORIZATION: &str = "Authorization";
const ORIGIN: &str = "Origin";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";
const ACCEPT: &str = "Sec-WebSocket-Accept";

/// The longest line that begins a chunk, in bytes. Such a line is looked at again when more of it
/// comes, which the bound keeps cheap.
const MAX_CHUNK_LINE: usize = 256;

/// What to ask a server for. It can be asked for again: each [`Handshake`] has a nonce of its own.
///
/// ```
/// use tickwire::handshake::client::Request;
///
/// let request = Request::new("wss://example.com/feed")?
///     .subprotocols(&["ticks.v2", "ticks.v1"])?
///     .header("User-Agent", "desk/1.0")?;
/// assert_eq!(request.target().host(), "example.com");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Request {
    target: Target,
    /// Valid, and none of the handshake's own.
    headers: Vec<(String, String)>,
    /// Tokens, no two the same.
    subprotocols: Vec<String>,
    require_subprotocol: bool,
}

impl Request {
    /// For what is at a `ws` or `wss` URL. A user and a password in it become Basic authentication
    /// (RFC 7617), and are not sent otherwise.
    ///
    /// # Errors
    ///
    /// See [`UrlError`].
    pub fn new(url: &str) -> Result<Self, UrlError> {
        Target::parse(url).map(Self::from_target)
    }

    /// For a URL that was parsed before, as [`new`](Self::new).
    pub fn from_target(target: Target) -> Self {
        let headers = match target.userinfo() {
            Some(userinfo) => [(AUTHORIZATION.to_string(), basic(userinfo))].into(),
            None => Vec::new(),
        };
        Self { target, headers, subprotocols: Vec::new(), require_subprotocol: false }
    }

    /// One more header, behind those there are; Authorization and Origin replace theirs. Those of the
    /// handshake itself have methods of their own or follow from the URL, as Host does: to be sent
    /// another Host than the one dialed, make the request for that URL, dial yourself, and call
    /// `client`.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadName`], [`BadValue`](HeaderError::BadValue) or
    /// [`Reserved`](HeaderError::Reserved).
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, HeaderError> {
        check_header(name, value)?;
        if [AUTHORIZATION, ORIGIN].iter().any(|single| name.eq_ignore_ascii_case(single)) {
            self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        }
        self.headers.push((name.to_string(), value.to_string()));
        Ok(self)
    }

    /// The subprotocols to offer, best first (RFC 6455 §4.1 item 10). Replaces those there are.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadSubprotocol`] if one is empty or not a token,
    /// [`RepeatedSubprotocol`](HeaderError::RepeatedSubprotocol) if one is there twice.
    pub fn subprotocols<'a, T>(
        mut self,
        names: impl IntoIterator<Item = &'a T>,
    ) -> Result<Self, HeaderError>
    where
        T: AsRef<str> + ?Sized + 'a,
    {
        let mut checked: Vec<String> = Vec::new();
        for name in names.into_iter().map(AsRef::as_ref) {
            if !head::is_token(name.as_bytes()) {
                return Err(HeaderError::BadSubprotocol);
            }
            if checked.iter().any(|before| before == name) {
                return Err(HeaderError::RepeatedSubprotocol);
            }
            checked.push(name.into());
        }
        self.subprotocols = checked;
        Ok(self)
    }

    /// Fails the handshake with [`HandshakeError::NoSubprotocol`] if the server chooses none of
    /// the subprotocols offered, which RFC 6455 allows it to.
    pub fn require_subprotocol(mut self) -> Self {
        self.require_subprotocol = true;
        self
    }

    /// Basic authentication (RFC 7617), in UTF-8. Replaces what the URL said.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadCredentials`] if `user` has a colon in it, or either a control character.
    pub fn basic_auth(self, user: &str, password: &str) -> Result<Self, HeaderError> {
        let control = |text: &str| text.bytes().any(head::is_control);
        if user.contains(':') || control(user) || control(password) {
            return Err(HeaderError::BadCredentials);
        }
        let userinfo = [user.as_bytes(), b":", password.as_bytes()].concat();
        self.header(AUTHORIZATION, &basic(&userinfo))
    }

    /// The Origin (RFC 6454), `scheme://host[:port]`, as a browser would send it, which some
    /// servers demand. Scheme and host are sent in lower case, a default port not at all.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadOrigin`] if it is not of that form.
    pub fn origin(self, origin: &str) -> Result<Self, HeaderError> {
        self.header(ORIGIN, &server::normalise(origin)?)
    }

    /// Whom to dial.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The request as it goes onto the wire (RFC 6455 §4.1).
    fn encode(&self, key: &[u8; KEY_LEN], config: &Config) -> Vec<u8> {
        #[cfg(feature = "deflate")]
        let offer = config.deflate.as_ref().map(|ours| Offer::of(ours).to_string());
        #[cfg(not(feature = "deflate"))]
        let (offer, _) = (None::<String>, config);
        let mut text = String::with_capacity(512);
        let mut push = |parts: &[&str]| parts.iter().for_each(|part| text.push_str(part));
        push(&["GET ", self.target.resource(), " HTTP/1.1\r\nHost: ", self.target.host_header()]);
        push(&["\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"]);
        push(&["Sec-WebSocket-Key: ", head::text(key), "\r\n"]);
        for (i, name) in self.subprotocols.iter().enumerate() {
            push(&[if i == 0 { "Sec-WebSocket-Protocol: " } else { ", " }, name]);
        }
        if !self.subprotocols.is_empty() {
            push(&["\r\n"]);
        }
        if let Some(offer) = &offer {
            push(&[extensions::NAME, ": ", offer, "\r\n"]);
        }
        for (name, value) in &self.headers {
            push(&[name, ": ", value, "\r\n"]);
        }
        push(&["\r\n"]);
        text.into_bytes()
    }
}

/// Does not show the values of headers, nor subprotocols: both may be credentials.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("Request")
            .field("target", &self.target)
            .field("subprotocols", &self.subprotocols.len())
            .field("headers", &names)
            .finish()
    }
}

/// RFC 7617 §2.
fn basic(userinfo: &[u8]) -> String {
    let mut value = String::from("Basic ");
    STANDARD.encode_string(userinfo, &mut value);
    value
}

/// A request that is being written, and its response that is being read, in the buffer that
/// becomes the connection's.
///
/// The order of calls: write [`outgoing`](Self::outgoing), [`advance`](Self::advance), until it is
/// empty; [`spare_mut`](Self::spare_mut), a read, [`commit`](Self::commit) or
/// [`end_of_stream`](Self::end_of_stream), [`step`](Self::step), until that says more than
/// `Ok(false)`; beside it [`poll_timeout`](Self::poll_timeout) and
/// [`handle_timeout`](Self::handle_timeout).
pub struct Handshake {
    /// The request.
    request: Vec<u8>,
    /// How much of it was written. Invariant: `sent <= request.len()`.
    sent: usize,
    /// What proves that the server read our key.
    expected: [u8; ACCEPT_LEN],
    subprotocols: Vec<String>,
    require_subprotocol: bool,
    buf: RecvBuffer,
    config: Config,
    entropy: Box<dyn Entropy + Send + Sync>,
    state: State,
    /// A complete 101, at the front of `buf`.
    head: Option<ResponseHead>,
    /// What was kept of any other response.
    refusal: Option<Refusal>,
    /// Interim responses skipped so far.
    interim: u32,
    eof: bool,
    deadline: Deadline,
}

#[derive(Debug)]
enum State {
    Reading(Scan),
    /// The body of a refusal is being read. Invariant: there is a `refusal`.
    Body(Length),
    /// The response passed. Invariant: there is a `head`.
    Passed,
    Failed(HandshakeError),
}

/// How much of a body is still to come (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug)]
enum Length {
    /// So many bytes.
    Known(u64),
    /// So many bytes of the chunk under way, 0 for none, and then those of its line end.
    Chunked {
        data: u64,
        line_end: usize,
    },
    UntilEof,
}

impl Handshake {
    /// Encodes the request, with a nonce from `entropy`, from which the connection's masking keys
    /// will come too.
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
        let written = STANDARD.encode_slice(nonce, &mut key);
        debug_assert_eq!(written, Ok(KEY_LEN));
        Self {
            request: request.encode(&key, config),
            sent: 0,
            expected: accept_value(&key),
            subprotocols: request.subprotocols.clone(),
            require_subprotocol: request.require_subprotocol,
            buf: RecvBuffer::for_head(),
            entropy,
            state: State::Reading(Scan::response(config)),
            head: None,
            refusal: None,
            interim: 0,
            eof: false,
            deadline: Deadline::new(config.handshake_timeout),
            config: config.clone(),
        }
    }

    // Inputs.

    /// Says that the first `n` bytes of [`outgoing`](Self::outgoing) were written; more than there
    /// are count as all.
    pub fn advance(&mut self, n: usize) {
        self.sent += n.min(self.request.len() - self.sent);
    }

    /// Where to read the stream into; never empty.
    ///
    /// Once [`step`](Self::step) has returned `true`, what is read belongs to the connection and
    /// is kept for it, with no limit but the caller's. After an error it is a place to drain the
    /// stream into.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let wire = self.buf.wire().len();
        // Beyond a head it grows by doubling, or one who puts much here would copy it again and again.
        let limit = if wire < self.config.max_head { self.config.max_head } else { 2 * wire };
        self.buf.spare_mut(limit, 0)
    }

    /// Says that `n` bytes were read into [`spare_mut`](Self::spare_mut). After an error they are
    /// dropped.
    ///
    /// # Panics
    ///
    /// If there was no room for `n` bytes.
    pub fn commit(&mut self, n: usize) {
        if !matches!(self.state, State::Failed(_)) {
            self.buf.commit(n);
        }
    }

    /// Says that the stream ended: nothing follows what was committed.
    pub fn end_of_stream(&mut self) {
        self.eof = true;
    }

    /// Tells the time. Early and repeated calls are harmless; the first starts the clock.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Timeout`] when no response was complete within
    /// [`handshake_timeout`](Config::handshake_timeout); [`Refused`](HandshakeError::Refused) when
    /// only its body was not; any error there was before.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), HandshakeError> {
        match self.state {
            State::Failed(error) => Err(error),
            State::Reading(_) if self.deadline.passed(now) => {
                Err(self.fail(HandshakeError::Timeout))
            }
            State::Body(_) if self.deadline.passed(now) => Err(self.refused()),
            State::Reading(_) | State::Body(_) | State::Passed => Ok(()),
        }
    }

    // Outputs.

    /// What is left to write of the request. Nothing else may be written before
    /// [`step`](Self::step) has returned `true` (§4.1).
    pub fn outgoing(&self) -> &[u8] {
        self.request.get(self.sent..).unwrap_or_default()
    }

    /// Looks at what was committed: `true` once the response is a 101 that has passed every check
    /// of RFC 6455 §4.1, `false` when more is needed. Interim responses are skipped. Work is
    /// linear in the input, however it is cut; a repeated call repeats its answer.
    ///
    /// # Errors
    ///
    /// The first fault found. [`Refused`](HandshakeError::Refused) comes when the start of the body
    /// is in as well. Nothing comes after an error: drop the stream.
    #[must_use = "true means that the connection is open, an error that there will be none"]
    pub fn step(&mut self) -> Result<bool, HandshakeError> {
        loop {
            let scan = match &mut self.state {
                State::Passed => return Ok(true),
                State::Failed(error) => return Err(*error),
                State::Body(_) => return self.collect(),
                State::Reading(scan) => scan,
            };
            if let Err(error) = begins_well(self.buf.wire()) {
                return Err(self.fail(error));
            }
            let len = match scan.run(self.buf.wire()) {
                Ok(Some(len)) => len,
                Ok(None) if self.eof => return Err(self.fail(HandshakeError::UnexpectedEof)),
                Ok(None) => return Ok(false),
                Err(error) => return Err(self.fail(error)),
            };
            if let Err(error) = self.examine(len) {
                return Err(self.fail(error));
            }
        }
    }

    /// The response, once its head is complete: the 101, or a refusal. Interim ones are not shown.
    pub fn response(&self) -> Option<Response<'_>> {
        match (&self.refusal, self.head) {
            (Some(refusal), _) => Some(refusal.response()),
            (None, Some(ResponseHead { status, len, .. })) => {
                Some(Response { status, head: self.buf.wire().get(..len)? })
            }
            (None, None) => None,
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next: at once ([`Time::ZERO`]) if it
    /// was never called, since that starts the clock; `None` once there is an outcome.
    pub fn poll_timeout(&self) -> Option<Time> {
        matches!(self.state, State::Reading(_) | State::Body(_)).then(|| self.deadline.poll())
    }

    // Commands.

    /// Becomes the connection: its first input is what came behind the response.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Incomplete`] when there is no whole response; what [`step`](Self::step)
    /// returned when it did not pass.
    pub fn into_connection(mut self) -> Result<Connection, HandshakeError> {
        let passed = self.step()?;
        let (true, Some(response)) = (passed, self.response()) else {
            return Err(HandshakeError::Incomplete);
        };
        let negotiated = match response.header(PROTOCOL) {
            Some(name) => Negotiated::new().with_subprotocol(head::text(name)),
            None => Negotiated::new(),
        };
        #[cfg(feature = "deflate")]
        let negotiated = match self.chosen(response.headers())? {
            Some(agreed) => negotiated.with_deflate(agreed),
            None => negotiated,
        };
        let head_len = response.head.len();
        trace::opened(Role::Client, || self.path(), negotiated.subprotocol());
        self.buf.skip(head_len);
        let mut connection = Connection::client(&self.config, negotiated, self.entropy);
        connection.begin_with(self.buf, &[]);
        if self.eof {
            connection.end_of_stream();
        }
        Ok(connection)
    }

    /// What the server said instead of 101, with as much of the body as has come; `None` if it
    /// said no such thing.
    pub fn into_refusal(self) -> Option<Refusal> {
        self.refusal
    }

    /// The Sec-WebSocket-Accept that answers our key.
    #[cfg(feature = "http")]
    pub(super) fn expected(&self) -> &[u8] {
        &self.expected
    }

    /// The path asked for, out of the request's first line.
    fn path(&self) -> &str {
        let target = self.request.split(|&b| b == b' ').nth(1).unwrap_or_default();
        head::text(target.split(|&b| b == b'?').next().unwrap_or_default())
    }

    /// Looks at a complete head.
    fn examine(&mut self, len: usize) -> Result<(), HandshakeError> {
        let head = self.buf.wire().get(..len).unwrap_or_default();
        let parsed = ResponseHead::parse(head)?;
        match parsed.status {
            // An upgrade, and interim responses, are for HTTP/1.1 (RFC 9110 §7.8, §15.2).
            100..=199 if parsed.minor != 1 => return Err(HandshakeError::BadHttpVersion),
            101 => {
                self.head = Some(parsed);
                self.check(Headers::of(head))?;
                self.state = State::Passed;
            }
            100..=199 if self.interim == self.config.max_interim => {
                return Err(HandshakeError::TooManyInterim { limit: self.interim });
            }
            100..=199 => {
                self.interim += 1;
                self.buf.skip(len);
                self.state = State::Reading(Scan::response(&self.config));
            }
            status => {
                let refusal = Refusal { status, head: head.to_vec(), body: Vec::new() };
                self.buf.skip(len);
                self.state = State::Body(Length::of(&refusal));
                self.refusal = Some(refusal);
            }
        }
        Ok(())
    }

    /// The checks of RFC 6455 §4.1 on a 101.
    fn check(&self, headers: Headers<'_>) -> Result<(), HandshakeError> {
        if self.sent < self.request.len() {
            return Err(HandshakeError::EarlyResponse);
        }
        let (mut upgrade, mut connection, mut accept, mut subprotocol) = (None, false, None, None);
        let (mut offers, mut extension) = (0, false);
        for (name, value) in headers.clone() {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("Upgrade") {
                let fine = value.eq_ignore_ascii_case(b"websocket");
                upgrade = Some(fine && upgrade.unwrap_or(true));
            } else if is("Connection") {
                connection |= head::has_token(value, "upgrade");
            } else if is(ACCEPT) {
                if accept.replace(value).is_some() {
                    return Err(HandshakeError::RepeatedHeader(ACCEPT));
                }
            } else if is(PROTOCOL) {
                if subprotocol.replace(value).is_some() {
                    return Err(HandshakeError::RepeatedHeader(PROTOCOL));
                }
            } else if is(extensions::NAME) {
                offers += 1;
                if offers > 1 {
                    return Err(HandshakeError::RepeatedHeader(extensions::NAME));
                }
                extension = extensions::check(value)?;
            } else if is("Transfer-Encoding") || (is("Content-Length") && value != b"0") {
                // RFC 9110 §8.6, RFC 9112 §6.1: a 101 has neither. With one, what follows could be
                // read as a body or as frames; a length of 0, which servers do send, is harmless.
                return Err(HandshakeError::HasBody);
            }
        }
        // Items 2 and 3.
        if upgrade != Some(true) {
            return Err(HandshakeError::NotUpgrade);
        }
        if !connection {
            return Err(HandshakeError::NotConnectionUpgrade);
        }
        // Item 4: all of it, with regard to case.
        match accept {
            Some(value) if *value == self.expected => {}
            Some(_) => return Err(HandshakeError::BadAccept),
            None => return Err(HandshakeError::MissingHeader(ACCEPT)),
        }
        // Item 5.
        if extension {
            self.chosen(headers)?;
        }
        // Item 6.
        match subprotocol {
            Some(name) if !head::is_token(name) => Err(HandshakeError::BadHeader(PROTOCOL)),
            Some(name) if !self.subprotocols.iter().any(|ours| ours.as_bytes() == name) => {
                Err(HandshakeError::UnexpectedSubprotocol)
            }
            None if self.require_subprotocol => Err(HandshakeError::NoSubprotocol),
            Some(_) | None => Ok(()),
        }
    }

    /// What is agreed on by the extensions that the server chose.
    #[cfg(feature = "deflate")]
    fn chosen(&self, headers: Headers<'_>) -> Result<Option<Agreed>, HandshakeError> {
        extensions::agreed(Extensions::new(headers), self.config.deflate.as_ref())
    }

    /// The server chose an extension, and none was offered.
    #[cfg(not(feature = "deflate"))]
    fn chosen(&self, _: Headers<'_>) -> Result<(), HandshakeError> {
        Err(HandshakeError::UnexpectedExtension)
    }

    /// Takes what has come of the body of a refusal, and fails once that is enough.
    fn collect(&mut self) -> Result<bool, HandshakeError> {
        let (State::Body(length), Some(refusal)) = (&mut self.state, &mut self.refusal) else {
            return Ok(false);
        };
        loop {
            let wire = self.buf.wire();
            let room = self.config.max_refusal_body - refusal.body.len();
            let most = wire.len().min(room);
            if room == 0 || matches!(length, Length::Known(0)) {
                return Err(self.refused());
            }
            if wire.is_empty() {
                return if self.eof { Err(self.refused()) } else { Ok(false) };
            }
            let (taken, kept) = match length {
                Length::UntilEof => (most, most),
                Length::Known(left) => {
                    let n = at_most(most, *left);
                    *left -= n as u64;
                    (n, n)
                }
                Length::Chunked { data: 0, line_end: 0 } => {
                    match httparse::parse_chunk_size(wire) {
                        Ok(httparse::Status::Complete((n, data)))
                            if data > 0 && n <= MAX_CHUNK_LINE =>
                        {
                            *length = Length::Chunked { data, line_end: 2 };
                            (n, 0)
                        }
                        // No such line is that long. The bound also keeps looking again cheap.
                        Ok(httparse::Status::Partial) if wire.len() < 256 && !self.eof => {
                            return Ok(false);
                        }
                        _ => return Err(self.refused()),
                    }
                }
                Length::Chunked { data: 0, line_end } => {
                    let n = wire.len().min(*line_end);
                    *line_end -= n;
                    (n, 0)
                }
                Length::Chunked { data, .. } => {
                    let n = at_most(most, *data);
                    *data -= n as u64;
                    (n, n)
                }
            };
            refusal.body.extend_from_slice(wire.get(..kept).unwrap_or_default());
            self.buf.skip(taken);
        }
    }

    /// The server did not agree, and enough is known of what it said.
    fn refused(&mut self) -> HandshakeError {
        let status = self.refusal.as_ref().map_or(0, |refusal| refusal.status);
        self.fail(HandshakeError::Refused { status })
    }

    fn fail(&mut self, error: HandshakeError) -> HandshakeError {
        trace::refused(Role::Client, error, error.status());
        self.state = State::Failed(error);
        if self.head.is_none() {
            self.buf.skip(self.buf.wire().len()); // nobody will look at it
        }
        error
    }
}

/// Shows how far it is, neither what is sent nor what was received.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state: &dyn fmt::Debug = match &self.state {
            State::Reading(_) => &"reading",
            State::Body(_) => &"reading a refusal",
            State::Passed => &"passed",
            State::Failed(error) => error,
        };
        f.debug_struct("Handshake")
            .field("state", state)
            .field("unsent", &self.outgoing().len())
            .field("response", &self.response())
            .finish_non_exhaustive()
    }
}

impl Length {
    /// RFC 9112 §6.3. In doubt to the end of the stream: nothing else will come on it.
    fn of(refusal: &Refusal) -> Self {
        if matches!(refusal.status, 204 | 304) {
            return Self::Known(0);
        }
        let mut codings = refusal.headers().named("Transfer-Encoding").peekable();
        if codings.peek().is_some() {
            return match codings.any(|value| head::has_token(value, "chunked")) {
                true => Self::Chunked { data: 0, line_end: 0 },
                false => Self::UntilEof,
            };
        }
        let length = refusal.header("Content-Length").and_then(number);
        length.map_or(Self::UntilEof, Self::Known)
    }
}

/// The smaller of both.
fn at_most(n: usize, limit: u64) -> usize {
    usize::try_from(limit).map_or(n, |limit| n.min(limit))
}

/// Digits only.
fn number(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    head::text(value).parse().ok()
}

/// The server's response, borrowed from the handshake's buffer.
#[derive(Clone, Copy)]
pub struct Response<'a> {
    status: u16,
    /// From the status line to the blank line.
    head: &'a [u8],
}

impl<'a> Response<'a> {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first value of a header, without the blanks around it; its name matches without regard
    /// to case. For others see [`headers`](Self::headers).
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().named(name).next()
    }

    /// All headers, in the order of the wire.
    pub fn headers(&self) -> Headers<'a> {
        Headers::of(self.head)
    }
}

/// Shows the status and the names of the headers.
impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers())
            .finish()
    }
}

/// What a server said instead of agreeing: status, headers, and the start of the body, at most
/// [`max_refusal_body`](Config::max_refusal_body) bytes of it.
///
/// Redirects are not followed, and nothing here is to be trusted more than the connection it came
/// over. It can be shown and logged as it is: text from the server is escaped and cut.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    status: u16,
    /// From the status line to the blank line, validated.
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first value of a header, as [`Response::header`].
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.response().header(name)
    }

    /// All headers, in the order of the wire.
    pub fn headers(&self) -> Headers<'_> {
        Headers::of(&self.head)
    }

    /// The start of the body, without the framing of HTTP.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// How long the server asks to wait before another attempt (RFC 9110 §10.2.3): in seconds, or
    /// until a date, which is counted from the response's own Date, so that no clock is needed and
    /// none need be right. `None` if it does not say, or not in a form that servers send.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.header("Retry-After")?;
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let seconds = match number(value) {
            Some(seconds) => seconds,
            None if digits => u64::MAX, // RFC 9111 §1.2.2: too many are as many as can be
            None => {
                let now = date::seconds(self.header(date::NAME)?)?;
                date::seconds(value)?.saturating_sub(now)
            }
        };
        Some(Duration::from_secs(seconds))
    }

    fn response(&self) -> Response<'_> {
        Response { status: self.status, head: &self.head }
    }

    /// What is behind the status in the status line.
    fn reason(&self) -> &[u8] {
        let line = self.head.split(|&b| b == b'\r').next().unwrap_or_default();
        line.splitn(3, |&b| b == b' ').nth(2).unwrap_or_default()
    }
}

/// One line: status, reason, and how the body begins; escaped, and at most 64 bytes of each.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server answered {}", self.status)?;
        if !self.reason().is_empty() {
            write!(f, " {}", Shown(self.reason()))?;
        }
        match self.body.trim_ascii() {
            [] => Ok(()),
            body => write!(f, ": {}", Shown(body)),
        }
    }
}

/// Shows the names of the headers, not their values.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("status", &self.status)
            .field("reason", &Shown(self.reason()))
            .field("headers", &self.headers())
            .field("body", &Shown(&self.body))
            .finish()
    }
}

impl core::error::Error for Refusal {}

/// What does not begin as a status line will never be one: no need to wait for its end.
fn begins_well(wire: &[u8]) -> Result<(), HandshakeError> {
    const STATUS_LINE: &[u8] = b"HTTP/";
    let what = match wire.first() {
        Some(0x15 | 0x16) => "a TLS record, where plain HTTP is spoken",
        _ if wire.iter().zip(STATUS_LINE).all(|(got, want)| got == want) => return Ok(()),
        _ => "first line",
    };
    Err(HandshakeError::Malformed { what })
}
