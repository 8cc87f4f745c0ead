//! The server's side of the opening handshake (RFC 6455 §4.2): read the request, check it, accept
//! or refuse it, become a [`Connection`].
//!
//! ```text
//! spare_mut, commit --> step --> Ok(false)  read more
//!                            --> Ok(true)   request() is an upgrade: accept(..) or refuse(..)
//!                            --> Err(e)     write refusal(e), shut for writing, drain, drop
//! ```
//!
//! All that the RFC demands of a request is checked here. Which targets are served and which
//! origins and users are welcome is left to the caller, who looks at [`Handshake::request`]; for
//! origins there is [`Origins`]. A refusal always ends the stream: what is behind a refused request
//! must never be read as another one, nor as frames.
//!
//! # Who is asking
//!
//! The same-origin policy does not hold for WebSockets: any page may open one to any server, and the
//! browser sends the user's cookies for that server along. A server that knows its users by cookies,
//! or by where they are (a local network, a loopback address), has to look at the Origin, which the
//! page cannot set (RFC 6455 §10.2), or each page its users visit can act in their name: cross-site
//! WebSocket hijacking.
//!
//! ```
//! use tickwire::handshake::{HandshakeError, server::{Origins, Refuse, Request}};
//!
//! fn admit(request: &Request<'_>, ours: &Origins) -> Result<(), Refuse> {
//!     if !ours.allows(request) {
//!         return Err(HandshakeError::OriginNotAllowed.into()); // 403, and the stream ends
//!     }
//!     if request.origin().is_none() && request.header("Cookie").is_some() {
//!         return Err(Refuse::new(403)); // cookies are for pages, and these have an origin
//!     }
//!     Ok(())
//! }
//! # let ours = Origins::new(["https://example.com"])?;
//! # let _ = (admit, ours);
//! # Ok::<(), tickwire::handshake::HeaderError>(())
//! ```
//!
//! A page cannot set headers either. Where there is no cookie it can bring a token among the
//! subprotocols, `new WebSocket(url, ["ticks.v1", "bearer." + token])`; agree on the other name, never
//! on the token, which would be repeated in the response:
//!
//! ```
//! use tickwire::handshake::server::{Accept, Request};
//!
//! fn token<'a>(request: &Request<'a>) -> Option<&'a str> {
//!     request.subprotocols().find_map(|name| name.strip_prefix("bearer."))
//! }
//!
//! let accept = Accept::new().subprotocols(&["ticks.v1"]);
//! # let _ = (token, accept);
//! ```
//!
//! Not in the query of the URL: URLs are logged by whatever passes them on. The example `auth` has
//! these, `Authorization: Bearer` and `Basic`, and a comparison that takes as long however much of
//! a credential is right.
use super::{
    Deadline, HandshakeError, HeaderError, KEY_LEN, accept_value, check_value, date,
    extensions::{self, Extensions},
    head::{self, Headers, RequestHead, Scan},
    push_header,
};
#[cfg(feature = "deflate")]
use crate::proto::deflate::Agreed;
use crate::proto::{
    config::{Config, Negotiated},
    connection::{Connection, RecvBuffer},
    role::Role,
    shown::Shown,
    time::Time,
    trace,
    url::Authority,
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, time::Duration};

/// The most subprotocols a client may offer. No two may be the same, and comparing each with each
/// must not become work worth an attack.
const MAX_SUBPROTOCOLS: usize = 128;

/// A request that is being read, in the buffer that becomes the connection's.
///
/// The order of calls: [`spare_mut`](Self::spare_mut), a read, [`commit`](Self::commit) or
/// [`end_of_stream`](Self::end_of_stream), [`step`](Self::step), until that says more than
/// `Ok(false)`; beside it [`poll_timeout`](Self::poll_timeout) and
/// [`handle_timeout`](Self::handle_timeout).
pub struct Handshake {
    buf: RecvBuffer,
    config: Config,
    state: State,
    /// The request, at the front of `buf`, once it is complete and well-formed.
    head: Option<RequestHead>,
    /// One empty line before the request was dropped.
    skipped: bool,
    eof: bool,
    deadline: Deadline,
}

#[derive(Debug)]
enum State {
    Reading(Scan),
    /// The request passed; this is its Sec-WebSocket-Key. Invariant: there is a `head`.
    Passed([u8; KEY_LEN]),
    Failed(HandshakeError),
}

impl Handshake {
    /// Waits for a request, with the limits of `config`. Allocates nothing yet.
    pub fn new(config: &Config) -> Self {
        Self {
            buf: RecvBuffer::for_head(),
            state: State::Reading(Scan::request(config)),
            head: None,
            skipped: false,
            eof: false,
            deadline: Deadline::new(config.handshake_timeout),
            config: config.clone(),
        }
    }

    // Inputs.

    /// Where to read the stream into; never empty.
    ///
    /// Once [`step`](Self::step) has returned `true`, what is read belongs to the connection and
    /// is kept for it, with no limit but the caller's: accept or refuse first, then read on. After
    /// an error it is a place to drain the stream into.
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
    /// [`HandshakeError::Timeout`] when the request was not complete within
    /// [`handshake_timeout`](Config::handshake_timeout); any error there was before.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), HandshakeError> {
        match self.state {
            State::Failed(error) => Err(error),
            State::Reading(_) if self.deadline.passed(now) => {
                Err(self.fail(HandshakeError::Timeout))
            }
            State::Reading(_) | State::Passed(_) => Ok(()),
        }
    }

    // Outputs.

    /// Looks at what was committed: `true` once the request is complete and has passed every
    /// check of RFC 6455 §4.2.1, `false` when more is needed. Work is linear in the input,
    /// however it is cut; a repeated call repeats its answer.
    ///
    /// # Errors
    ///
    /// The first fault found. Nothing comes after it: write [`refusal`](Self::refusal), shut the
    /// stream for writing, drain it for a moment, drop it.
    #[must_use = "on true the request waits for an answer, on an error for a refusal"]
    pub fn step(&mut self) -> Result<bool, HandshakeError> {
        let scan = match &mut self.state {
            State::Passed(_) => return Ok(true),
            State::Failed(error) => return Err(*error),
            State::Reading(scan) => scan,
        };
        // RFC 9112 §2.2: one empty line before a request is ignored.
        if !self.skipped && self.buf.wire().starts_with(b"\r\n") {
            self.skipped = true;
            self.buf.skip(2);
        }
        match scan.run(self.buf.wire()) {
            Ok(None) if self.eof => Err(self.fail(HandshakeError::UnexpectedEof)),
            Ok(None) => Ok(false),
            Ok(Some(len)) => match self.examine(len) {
                Ok(key) => {
                    self.state = State::Passed(key);
                    Ok(true)
                }
                Err(error) => Err(self.fail(error)),
            },
            // The common mistake of a client that dials `wss` where there is no TLS.
            Err(_) if self.buf.wire().starts_with(&[0x16]) => {
                Err(self.fail(HandshakeError::Malformed { what: "this is TLS, not HTTP" }))
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next: at once ([`Time::ZERO`]) if it
    /// was never called, since that starts the clock; `None` once there is an outcome.
    pub fn poll_timeout(&self) -> Option<Time> {
        matches!(self.state, State::Reading(_)).then(|| self.deadline.poll())
    }

    /// The request, as soon as it is complete and well-formed HTTP/1.1; also when it is no valid
    /// upgrade, so that a server can answer plain HTTP itself (and then has to end the stream).
    /// That it passed the checks is for [`step`](Self::step) to say.
    pub fn request(&self) -> Option<Request<'_>> {
        let head = self.head?;
        Some(Request { parsed: head, head: self.buf.wire().get(..head.len)? })
    }

    // Commands.

    /// Becomes the connection: its first output is the 101 response, its first input what came
    /// behind the request.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Incomplete`] when the request is not complete; what
    /// [`step`](Self::step) returned when it did not pass.
    pub fn accept(mut self, accept: Accept<'_>) -> Result<Connection, HandshakeError> {
        let passed = self.step()?;
        let (State::Passed(key), true, Some(request)) = (&self.state, passed, self.request())
        else {
            return Err(HandshakeError::Incomplete);
        };
        let chosen = accept.choose(&request);
        let (name, name_end) = match chosen {
            Some(_) => ("Sec-WebSocket-Protocol: ", "\r\n"),
            None => ("", ""),
        };
        #[cfg(feature = "deflate")]
        let (extension, deflate) = accept_deflate(&request, &self.config);
        #[cfg(not(feature = "deflate"))]
        let extension = "";
        // §4.2.2 step 5.
        let value = accept_value(key);
        let response: [&[u8]; 9] = [
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: ",
            &value,
            b"\r\n",
            name.as_bytes(),
            chosen.unwrap_or_default().as_bytes(),
            name_end.as_bytes(),
            extension.as_bytes(),
            accept.lines.as_bytes(),
            b"\r\n",
        ];
        let negotiated = match chosen {
            Some(name) => Negotiated::new().with_subprotocol(name),
            None => Negotiated::new(),
        };
        #[cfg(feature = "deflate")]
        let negotiated = match deflate {
            Some(agreed) => negotiated.with_deflate(agreed),
            None => negotiated,
        };
        trace::opened(Role::Server, || request.path(), negotiated.subprotocol());
        let head_len = request.head.len();
        self.buf.skip(head_len);
        let mut connection = Connection::server(&self.config, negotiated);
        connection.begin_with(self.buf, &response);
        if self.eof {
            connection.end_of_stream();
        }
        Ok(connection)
    }

    /// The bytes that refuse the request, whether it passed the checks or not: write them, shut
    /// the stream for writing, drain it for a moment, drop it.
    ///
    /// They always say `Connection: close` and, unless the status forbids it, Content-Length; when it
    /// is, if [`Refuse::date`] was told. A HEAD request gets no body.
    pub fn refuse(&self, refuse: &Refuse) -> Vec<u8> {
        refuse.encode(self.request().is_some_and(|request| request.method() == "HEAD"))
    }

    /// The bytes that answer an error: its [`status`](HandshakeError::status), and in a sentence of
    /// plain text what was wrong. Nothing from the request is repeated in them. Where there is a clock,
    /// [`refuse`](Self::refuse) `Refuse::from(error)` with its [`date`](Refuse::date) instead.
    pub fn refusal(&self, error: HandshakeError) -> Vec<u8> {
        self.refuse(&Refuse::from(error))
    }

    /// Another configuration, for what comes behind the head.
    #[cfg(feature = "http")]
    pub(super) fn set_config(&mut self, config: &Config) {
        self.config = config.clone();
    }

    /// Parses a complete head and checks what is in it.
    fn examine(&mut self, len: usize) -> Result<[u8; KEY_LEN], HandshakeError> {
        let head = self.buf.wire().get(..len).unwrap_or_default();
        let found = RequestHead::parse(head, |parsed, request| (parsed, check(request)));
        let (parsed, verdict) = found?;
        self.head = Some(parsed);
        verdict
    }

    fn fail(&mut self, error: HandshakeError) -> HandshakeError {
        trace::refused(Role::Server, error, error.status());
        self.state = State::Failed(error);
        if self.head.is_none() {
            self.buf.skip(self.buf.wire().len()); // nobody will look at it
        }
        error
    }
}

/// Shows how far it is, not what was received.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state: &dyn fmt::Debug = match &self.state {
            State::Reading(_) => &"reading",
            State::Passed(_) => &"passed",
            State::Failed(error) => error,
        };
        f.debug_struct("Handshake").field("state", state).field("request", &self.request()).finish()
    }
}

/// The line of the response that accepts permessage-deflate, with its end, and what it agrees on.
#[cfg(feature = "deflate")]
fn accept_deflate(request: &Request<'_>, config: &Config) -> (String, Option<Agreed>) {
    let ours = config.deflate.as_ref();
    match ours.and_then(|ours| extensions::accept(request.extensions(), ours)) {
        Some((answer, agreed)) => (format!("{}: {answer}\r\n", extensions::NAME), Some(agreed)),
        None => (String::new(), None),
    }
}

/// The checks of RFC 6455 §4.2.1 on a request of HTTP/1.1. Returns its Sec-WebSocket-Key.
fn check(request: &httparse::Request<'_, '_>) -> Result<[u8; KEY_LEN], HandshakeError> {
    // §4.2.1 item 1.
    if request.method != Some("GET") {
        return Err(HandshakeError::BadMethod);
    }
    let (mut host, mut origin, mut upgrade, mut version, mut key) = (None, None, None, None, None);
    let (mut connection, mut body, mut offered) = (false, false, None);
    for &httparse::Header { name, value } in &*request.headers {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is(HOST) {
            once(&mut host, value, HOST)?;
        } else if is("Connection") {
            connection |= head::has_token(value, "upgrade");
        } else if is(UPGRADE) {
            // A list may be written in several lines, but two lines that differ are two readings.
            match upgrade {
                Some(other) if !value.eq_ignore_ascii_case(other) => {
                    return Err(HandshakeError::RepeatedHeader(UPGRADE));
                }
                _ => upgrade = Some(value),
            }
        } else if is(KEY) {
            once(&mut key, value, KEY)?;
        } else if is(VERSION) {
            once(&mut version, value, VERSION)?;
        } else if is(ORIGIN) {
            once(&mut origin, value, ORIGIN)?;
        } else if is(PROTOCOL) {
            offered.get_or_insert_with(Offered::new).add(value)?;
        } else if is(extensions::NAME) {
            extensions::check(value)?;
        } else if is("Content-Length") {
            body |= value != b"0";
        } else if is("Transfer-Encoding") {
            body = true;
        }
    }
    // §4.2.1 item 2; RFC 9112 §3.2.
    let host = host.ok_or(HandshakeError::MissingHeader(HOST))?;
    let authority = core::str::from_utf8(host).ok().and_then(|host| Authority::parse(host).ok());
    let authority = authority.ok_or(HandshakeError::BadHeader(HOST))?;
    match request.path.and_then(Form::of) {
        Some(Form::Origin) => {}
        // RFC 9112 §3.2.2: such a target goes before the Host header, which has to agree.
        Some(Form::Absolute { secure, authority: target, .. }) => match Authority::parse(target) {
            Ok(target) if target.same(&authority, secure) => {}
            Ok(_) => return Err(HandshakeError::HostMismatch),
            Err(_) => return Err(HandshakeError::Malformed { what: "request target" }),
        },
        None => return Err(HandshakeError::Malformed { what: "request target" }),
    }
    if body {
        return Err(HandshakeError::HasBody);
    }
    // §4.2.1 items 3 and 4.
    if !upgrade.is_some_and(|value| head::has_token(value, "websocket")) {
        return Err(HandshakeError::NotUpgrade);
    }
    if !connection {
        return Err(HandshakeError::NotConnectionUpgrade);
    }
    // §4.2.1 item 6, §4.4.
    match version {
        Some(b"13") => {}
        Some(_) => return Err(HandshakeError::UnsupportedVersion),
        None => return Err(HandshakeError::MissingVersion),
    }
    // §4.2.1 item 5: base64 of 16 bytes. Bits that encode nothing may have any value.
    let key = key.ok_or(HandshakeError::MissingHeader(KEY))?;
    let key: [u8; KEY_LEN] = key.try_into().map_err(|_| HandshakeError::BadHeader(KEY))?;
    match key.split_last_chunk() {
        Some((digits, b"==")) if digits.iter().all(|&b| is_base64(b)) => {}
        _ => return Err(HandshakeError::BadHeader(KEY)),
    }
    Ok(key)
}

const HOST: &str = "Host";
const ORIGIN: &str = "Origin";
const UPGRADE: &str = "Upgrade";
const KEY: &str = "Sec-WebSocket-Key";
const VERSION: &str = "Sec-WebSocket-Version";
const PROTOCOL: &str = "Sec-WebSocket-Protocol";

/// Notes the value of a header that may be there only once.
fn once<'a>(
    slot: &mut Option<&'a [u8]>,
    value: &'a [u8],
    name: &'static str,
) -> Result<(), HandshakeError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(HandshakeError::RepeatedHeader(name)),
    }
}

/// RFC 4648 §4, without the padding.
fn is_base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'+' || b == b'/'
}

/// The subprotocols of the header lines so far: tokens, no two the same (RFC 6455 §4.1 item 10).
struct Offered<'a> {
    names: [&'a [u8]; MAX_SUBPROTOCOLS],
    /// How many of `names` there are.
    len: usize,
}

impl<'a> Offered<'a> {
    fn new() -> Self {
        Self { names: [&[]; MAX_SUBPROTOCOLS], len: 0 }
    }

    fn add(&mut self, value: &'a [u8]) -> Result<(), HandshakeError> {
        for name in head::list(value) {
            let (before, free) = self.names.split_at_mut_checked(self.len).unwrap_or_default();
            match free.first_mut() {
                Some(slot) if head::is_token(name) && !before.contains(&name) => *slot = name,
                _ => return Err(HandshakeError::BadHeader(PROTOCOL)),
            }
            self.len += 1;
        }
        Ok(())
    }
}

/// The forms of a request target that lead to a resource (RFC 9112 §3.2).
enum Form<'a> {
    /// A path, and a query if need be.
    Origin,
    Absolute {
        secure: bool,
        authority: &'a str,
        resource: &'a str,
    },
}

impl<'a> Form<'a> {
    fn of(target: &'a str) -> Option<Self> {
        if target.starts_with('/') {
            return Some(Self::Origin);
        }
        let (scheme, rest) = target.split_once("://")?;
        let is = |known: &str| scheme.eq_ignore_ascii_case(known);
        let secure = match () {
            () if is("ws") || is("http") => false,
            () if is("wss") || is("https") => true,
            () => return None,
        };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, resource) = rest.split_at_checked(at)?;
        Some(Self::Absolute { secure, authority, resource })
    }
}

/// A request for an upgrade, borrowed from the handshake's buffer.
///
/// Header values are bytes, as HTTP has them; only what the handshake itself needs is text.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// From the request line to the blank line.
    head: &'a [u8],
    parsed: RequestHead,
}

impl<'a> Request<'a> {
    /// What an adapter shows where no request was understood.
    #[cfg(any(feature = "std", feature = "http"))]
    pub(crate) const NONE: Self =
        Self { head: &[], parsed: RequestHead { method: 0, target: 0, len: 0 } };

    /// The method: `GET` if it passed the checks.
    pub fn method(&self) -> &'a str {
        self.parsed.parts(self.head).0
    }

    /// The request target as written, visible ASCII without a `#`.
    pub fn target(&self) -> &'a str {
        self.parsed.parts(self.head).1
    }

    /// The path of the target, as written; `/` where a target with a host in it has none.
    pub fn path(&self) -> &'a str {
        let resource = self.resource();
        match resource.split_once('?').map_or(resource, |(path, _)| path) {
            "" => "/",
            path => path,
        }
    }

    /// The query of the target, as written, without its question mark.
    pub fn query(&self) -> Option<&'a str> {
        self.resource().split_once('?').map(|(_, query)| query)
    }

    /// Host and port asked for, as written: from the target if it names a host, else from the Host
    /// header. Always there if it passed the checks.
    pub fn host(&self) -> Option<&'a str> {
        match Form::of(self.target()) {
            Some(Form::Absolute { authority, .. }) => Some(authority),
            _ => core::str::from_utf8(self.header(HOST)?).ok(),
        }
    }

    /// The first value of a header, without the blanks around it; its name matches without regard
    /// to case. For others see [`headers`](Self::headers).
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().named(name).next()
    }

    /// All headers, in the order of the wire.
    pub fn headers(&self) -> Headers<'a> {
        self.parsed.headers(self.head)
    }

    /// The Origin (RFC 6454 §7) as written, which browsers always send and nobody else needs to;
    /// see [`Origins`]. There is at most one if it passed the checks.
    pub fn origin(&self) -> Option<&'a [u8]> {
        self.header(ORIGIN)
    }

    /// The subprotocols that the client offers, in its order of preference (RFC 6455 §4.1 item
    /// 10), all header lines joined. No two are the same if it passed the checks.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        let elements = self.headers().named(PROTOCOL).flat_map(head::list);
        elements.filter(|element| head::is_token(element)).map(head::text)
    }

    /// The extensions that the client offers, in its order of preference (§9.1).
    pub fn extensions(&self) -> Extensions<'a> {
        Extensions::new(self.headers())
    }

    /// Whether it asks for an upgrade to WebSocket, by the headers Upgrade and Connection, whatever
    /// else may be wrong with it: if not, it is plain HTTP.
    pub fn is_upgrade(&self) -> bool {
        let names = |name, token| {
            self.headers().named(name).any(|value: &[u8]| head::has_token(value, token))
        };
        names(UPGRADE, "websocket") && names("Connection", "upgrade")
    }

    fn resource(&self) -> &'a str {
        match Form::of(self.target()) {
            Some(Form::Absolute { resource, .. }) => resource,
            _ => self.target(),
        }
    }
}

/// Shows method, path and the names of the headers: queries and values may be secret.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &Shown(self.method().as_bytes()))
            .field("path", &Shown(self.path().as_bytes()))
            .field("headers", &self.headers())
            .finish()
    }
}

/// How to accept a request.
///
/// ```
/// use tickwire::handshake::server::Accept;
///
/// let accept = Accept::new().subprotocols(&["ticks.v2", "ticks.v1"]).header("Server", "feed")?;
/// # let _ = accept;
/// # Ok::<(), tickwire::handshake::HeaderError>(())
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Accept<'a> {
    subprotocols: Vec<&'a str>,
    /// Encoded headers, each with its line end.
    lines: String,
}

impl<'a> Accept<'a> {
    /// With nothing but what the protocol demands.
    pub fn new() -> Self {
        Self::default()
    }

    /// The subprotocols spoken here, best first (RFC 6455 §4.2.2): the first that the client
    /// offers too, with regard to case, is agreed on; if there is none, none is.
    pub fn subprotocols<T>(mut self, names: impl IntoIterator<Item = &'a T>) -> Self
    where
        T: AsRef<str> + ?Sized + 'a,
    {
        self.subprotocols = names.into_iter().map(AsRef::as_ref).collect();
        self
    }

    /// One more header of the response, behind those there are.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadName`], [`BadValue`](HeaderError::BadValue) or
    /// [`Reserved`](HeaderError::Reserved).
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, HeaderError> {
        push_header(&mut self.lines, name, value)?;
        Ok(self)
    }

    /// Ours that the client offers too.
    fn choose(&self, request: &Request<'_>) -> Option<&'a str> {
        let offered = |ours: &&str| request.subprotocols().any(|theirs| theirs == *ours);
        self.subprotocols.iter().copied().find(offered)
    }
}

/// Does not show the values of headers.
impl fmt::Debug for Accept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept")
            .field("subprotocols", &self.subprotocols)
            .field("headers", &Headers::new(self.lines.as_bytes()))
            .finish()
    }
}

/// How to refuse a request: any response but a 101.
///
/// ```
/// use tickwire::handshake::server::Refuse;
///
/// let refuse = Refuse::new(503).header("Retry-After", "30")?.body("back in half a minute\n");
/// # let _ = refuse;
/// # Ok::<(), tickwire::handshake::HeaderError>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Refuse {
    status: u16,
    /// `None` for the one that RFC 9110 §15 suggests.
    reason: Option<String>,
    /// Encoded headers, each with its line end.
    lines: String,
    /// Since 1970.
    date: Option<Duration>,
    body: Vec<u8>,
}

impl Refuse {
    /// With this HTTP status, of 200 to 599. Any other could not end the exchange, and is taken
    /// for 500.
    pub fn new(status: u16) -> Self {
        let status = if (200..=599).contains(&status) { status } else { 500 };
        Self { status, reason: None, lines: String::new(), date: None, body: Vec::new() }
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase behind the status; by default the one that RFC 9110 suggests.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadValue`] if it has a control character in it.
    pub fn reason(mut self, reason: &str) -> Result<Self, HeaderError> {
        check_value(reason)?;
        self.reason = Some(reason.to_string());
        Ok(self)
    }

    /// One more header of the response, behind those there are. Without a Content-Type a body is
    /// `text/plain; charset=utf-8`.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadName`], [`BadValue`](HeaderError::BadValue) or
    /// [`Reserved`](HeaderError::Reserved).
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, HeaderError> {
        push_header(&mut self.lines, name, value)?;
        Ok(self)
    }

    /// When the response is made, since the first second of 1970 in UTC: sent as Date, which whoever
    /// has a clock owes (RFC 9110 §6.6.1), unless there is a [`header`](Self::header) of that name. The
    /// adapters tell the time themselves where nothing was told. After 9999 there is no date to send.
    ///
    /// ```
    /// use std::time::UNIX_EPOCH;
    /// use tickwire::handshake::server::Refuse;
    ///
    /// let refuse = Refuse::new(503).date(UNIX_EPOCH.elapsed()?);
    /// # let _ = refuse;
    /// # Ok::<(), std::time::SystemTimeError>(())
    /// ```
    pub fn date(mut self, since_1970: Duration) -> Self {
        self.date = Some(since_1970);
        self
    }

    /// With the date of now, if none was told and the system's clock is right enough to have one.
    #[cfg(feature = "std")]
    pub(crate) fn dated(mut self) -> Self {
        self.date = self.date.or_else(|| std::time::UNIX_EPOCH.elapsed().ok());
        self
    }

    /// The body; by default empty. Not sent with the statuses that have none, 204, 205 and 304.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(super) fn encode(&self, head_only: bool) -> Vec<u8> {
        let has = |name: &str| {
            Headers::new(self.lines.as_bytes()).any(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        let reason = self.reason.as_deref().unwrap_or(reason(self.status));
        let mut text = format!("HTTP/1.1 {} {reason}\r\nConnection: close\r\n", self.status);
        match self.status {
            // RFC 9110 §7.8: who sends Upgrade has to name it in Connection.
            426 => text.push_str(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            ),
            405 if !has("Allow") => text.push_str("Allow: GET\r\n"),
            _ => {}
        }
        let body: &[u8] = if matches!(self.status, 204 | 205 | 304) { &[] } else { &self.body };
        // RFC 9110 §8.6: not in a 204; a 304 would have to say what a 200 would have had.
        if !matches!(self.status, 204 | 304) {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        if !body.is_empty() && !has("Content-Type") {
            text.push_str("Content-Type: text/plain; charset=utf-8\r\n");
        }
        let date =
            self.date.filter(|_| !has(date::NAME)).and_then(|date| date::text(date.as_secs()));
        if let Some(date) = date {
            text.push_str(&format!("{}: {date}\r\n", date::NAME));
        }
        text.push_str(&self.lines);
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        if !head_only {
            bytes.extend_from_slice(body);
        }
        bytes
    }
}

/// What [`Handshake::refusal`] sends.
impl From<HandshakeError> for Refuse {
    fn from(error: HandshakeError) -> Self {
        let hint = match error {
            HandshakeError::NotUpgrade => ": this is an endpoint for WebSocket clients (RFC 6455)",
            _ => "",
        };
        let mut refuse = Self::new(error.status()).body(format!("{error}{hint}\n"));
        if error == HandshakeError::MissingVersion {
            refuse.lines.push_str("Sec-WebSocket-Version: 13\r\n"); // §4.4
        }
        refuse
    }
}

/// Does not show the values of headers, nor the body.
impl fmt::Debug for Refuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refuse")
            .field("status", &self.status)
            .field("reason", &self.reason)
            .field("headers", &Headers::new(self.lines.as_bytes()))
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish()
    }
}

/// What RFC 9110 §15 and RFC 6585 call a status; nothing where they do not know it.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// The origins (RFC 6454) whose pages may connect, against cross-site hijacking (RFC 6455 §10.2):
/// a browser sends a user's cookies along with whatever page asks.
///
/// An origin is allowed if it equals one of these, scheme, host and port; scheme and host without
/// regard to case. No prefix, suffix or wildcard counts, and `null` never does.
///
/// ```
/// use tickwire::handshake::{HandshakeError, server::{Handshake, Origins}};
///
/// fn look(handshake: &Handshake, origins: &Origins) -> Result<(), HandshakeError> {
///     match handshake.request() {
///         Some(request) if !origins.allows(&request) => Err(HandshakeError::OriginNotAllowed),
///         _ => Ok(()),
///     }
/// }
///
/// let origins = Origins::new(["https://example.com", "http://localhost:8080"])?;
/// # let _ = (look, origins);
/// # Ok::<(), tickwire::handshake::HeaderError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    /// In lower case, without a port that is the scheme's default: as browsers send it.
    allowed: Vec<String>,
    required: bool,
}

impl Origins {
    /// Allows these origins, each of the form `scheme://host[:port]`, and nothing behind it. The
    /// default port of http and https may be there or not.
    ///
    /// # Errors
    ///
    /// [`HeaderError::BadOrigin`] if one is not of that form.
    pub fn new<I>(origins: I) -> Result<Self, HeaderError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let allowed = origins.into_iter().map(|origin| normalise(origin.as_ref()));
        Ok(Self { allowed: allowed.collect::<Result<_, _>>()?, required: false })
    }

    /// Refuses requests without an Origin too. They come from programs other than browsers, which
    /// could claim any origin, and so are allowed by default.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Whether the request comes from an origin that is allowed, or from none. Two Origin headers
    /// are never allowed.
    pub fn allows(&self, request: &Request<'_>) -> bool {
        let mut origins = request.headers().named(ORIGIN);
        match (origins.next(), origins.next()) {
            (None, _) => !self.required,
            (Some(origin), None) => {
                self.allowed.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(origin))
            }
            (Some(_), Some(_)) => false,
        }
    }
}

/// An origin as browsers write it (RFC 6454 §6.2).
pub(super) fn normalise(origin: &str) -> Result<String, HeaderError> {
    let (scheme, authority) = origin.split_once("://").ok_or(HeaderError::BadOrigin)?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(legal) {
        return Err(HeaderError::BadOrigin);
    }
    let parsed = Authority::parse(authority).map_err(|_| HeaderError::BadOrigin)?;
    let default = match &*scheme.to_ascii_lowercase() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let host = match authority.rsplit_once(':') {
        // The last colon is the port's, if it is not inside the brackets of an address.
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    };
    let mut normal = format!("{scheme}://{host}");
    if let Some(port) = parsed.port.filter(|_| parsed.port != default) {
        normal.push_str(&format!(":{port}"));
    }
    normal.make_ascii_lowercase();
    Ok(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    // A63 on this side: a peer that goes on after it was refused fills nothing.
    #[test]
    fn what_comes_after_an_error_is_not_kept() {
        for (bytes, kept) in [(&b"\0"[..], 0), (b"GET / HTTP/1.1\r\n\r\n", 18)] {
            let mut handshake = Handshake::new(&Config::default());
            handshake.spare_mut()[..bytes.len()].copy_from_slice(bytes);
            handshake.commit(bytes.len());
            assert!(handshake.step().is_err());
            for _ in 0..100 {
                let n = handshake.spare_mut().len();
                handshake.commit(n);
                assert_eq!(handshake.buf.wire().len(), kept);
            }
            assert_eq!(handshake.request().is_some(), kept > 0);
        }
    }
}
